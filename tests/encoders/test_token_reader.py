"""Token vectors that encoders give beside those of texts, by both backends."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch
from sentence_transformers import SentenceTransformer

from saeindex.encoders import sentence_transformers as module
from saeindex.encoders.bert import BertConfig
from saeindex.encoders.sentence_transformers import SentenceTransformerEncoder, find_model

if TYPE_CHECKING:
    from saeindex.types import FloatArray

TEXTS = ["Dark matter halos of spiral galaxies.", "", "a", "word " * 600, "Größe 第二 emoji 😀"]
BACKENDS = ("own", "library")


@pytest.fixture(scope="module", params=BACKENDS)
def encoder(request: pytest.FixtureRequest) -> SentenceTransformerEncoder:
    """MiniLM by our own forward pass, and by that of the library."""
    with pytest.MonkeyPatch.context() as patch:
        if request.param == "library":
            patch.setattr(module, "_IN_USE", {})
            patch.setattr(BertConfig, "is_supported", staticmethod(lambda _: False))
        return SentenceTransformerEncoder(precision="fp32", device="cpu")


def read(encoder: SentenceTransformerEncoder, texts: Sequence[str]) -> tuple[FloatArray, list[FloatArray]]:
    """Return the vectors of texts, and the tokens of each."""
    found = dict[int, "FloatArray"]()

    def seen(rows: Sequence[int], tokens: torch.Tensor, counts: Sequence[int]) -> None:
        assert len(tokens) == sum(counts)
        parts = torch.split(tokens, list(counts))
        found.update((row, own.numpy()) for row, own in zip(rows, parts, strict=True))

    vectors = encoder.read_document(texts, seen)
    return vectors, [found[row] for row in range(len(texts))]


def test_tokens_are_those_of_the_library_without_special_ones(encoder: SentenceTransformerEncoder) -> None:
    model = SentenceTransformer(str(find_model("minilm", None)[0]), device="cpu")
    vectors, tokens = read(encoder, TEXTS)
    np.testing.assert_allclose(vectors, encoder.encode_document(TEXTS), atol=1e-6)
    for text, own in zip(TEXTS, tokens, strict=True):
        (wanted,) = model.encode([text], output_value="token_embeddings", show_progress_bar=False)
        states = torch.nn.functional.normalize(wanted[1:-1], dim=-1).numpy()
        np.testing.assert_allclose(own, states, atol=2e-6)
        spans = encoder.token_spans(text)
        assert len(own) == min(len(spans), encoder.max_tokens)


def test_a_text_has_the_same_tokens_alone_in_a_batch_and_as_a_query(
    encoder: SentenceTransformerEncoder,
) -> None:
    _, tokens = read(encoder, TEXTS)
    for text, own in zip(TEXTS, tokens, strict=True):
        np.testing.assert_allclose(read(encoder, [text])[1][0], own, atol=2e-6)
        np.testing.assert_allclose(encoder.read_query(text), own, atol=2e-6)


def test_prompts_are_read_and_not_among_the_tokens() -> None:
    told = SentenceTransformerEncoder(
        precision="fp32", query_prompt="query: ", document_prompt="text of a passage: "
    )
    plain = SentenceTransformerEncoder(precision="fp32", query_prompt="", document_prompt="")
    text = "Dark matter halos"
    (own,), (bare,) = read(told, [text])[1], read(plain, [text])[1]
    assert len(own) == len(told.read_query(text)) == len(bare) == len(told.token_spans(text))
    assert not np.allclose(own, bare, atol=1e-3)
    prompted = plain.read_query("query: " + text)
    np.testing.assert_allclose(told.read_query(text), prompted[-len(bare) :], atol=1e-6)
