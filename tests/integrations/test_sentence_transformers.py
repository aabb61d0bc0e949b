"""A space as a SparseEncoder: the codes of an index, saved, read again and evaluated."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from sentence_transformers import SparseEncoder
from sentence_transformers.sparse_encoder.evaluation import SparseInformationRetrievalEvaluator

from saeindex import FeatureSpace, open_encoder
from saeindex.errors import InvalidInputError
from saeindex.integrations.sentence_transformers import SaeSparseEncoder
from saeindex.samples import speeches

TEXTS = [one.text for one in speeches()[100:160]]


@pytest.fixture(scope="module")
def space() -> FeatureSpace:
    return FeatureSpace.load("minilm-concepts")


@pytest.fixture(scope="module")
def model(space: FeatureSpace) -> SaeSparseEncoder:
    return SaeSparseEncoder.of(space, device="cpu")


def test_its_codes_are_those_of_an_index(model: SaeSparseEncoder, space: FeatureSpace) -> None:
    wanted = space.sae.encode(open_encoder(precision="fp32").encode_document(TEXTS)).to_csr().toarray()
    for encode in (model.encode_document, model.encode_query, model.encode):
        found = encode(TEXTS)
        assert found.is_sparse
        np.testing.assert_allclose(found.to_dense().numpy(), wanted, atol=2e-3)
    one = model.encode(TEXTS[0], max_active_dims=5).to_dense().numpy()
    assert sorted(one[one > 0]) == pytest.approx(sorted(wanted[0])[-5:], abs=2e-3)
    assert model.encode([]).shape[0] == 0


def test_it_names_concepts(model: SaeSparseEncoder) -> None:
    decoded: Any = model.decode(model.encode_query("inflation and high prices"))
    names = dict(decoded)
    assert {"price", "currency"} <= names.keys()
    assert list(names.values()) == sorted(names.values(), reverse=True)
    sparse: Any = model.decode(model.encode_document(TEXTS[:2]), top_k=3)
    dense: Any = model.decode(model.encode_document(TEXTS[:2], convert_to_sparse_tensor=False), top_k=3)
    assert [len(one) for one in sparse] == [3, 3]
    assert [[name for name, _ in one] for one in sparse] == [[name for name, _ in one] for one in dense]


def test_saved_and_read_it_is_the_same(model: SaeSparseEncoder, tmp_path: Path) -> None:
    model.save(str(tmp_path / "model"))
    encoded = model.encode_document(TEXTS[:8]).to_dense()
    read = SaeSparseEncoder(str(tmp_path / "model"), device="cpu")
    assert torch.equal(read.encode_document(TEXTS[:8]).to_dense(), encoded)
    assert read.decode(encoded[0], top_k=3) == model.decode(encoded[0], top_k=3)
    plain = SparseEncoder(str(tmp_path / "model"), device="cpu", trust_remote_code=True)
    assert torch.equal(plain.encode_document(TEXTS[:8]).to_dense(), encoded)
    with pytest.raises(ValueError, match="trust_remote_code"):
        SparseEncoder(str(tmp_path / "model"), device="cpu")


def test_evaluators_run_on_it(model: SaeSparseEncoder) -> None:
    corpus = {str(number): text for number, text in enumerate(TEXTS)}
    queries = {key: " ".join(text.split()[:12]) for key, text in corpus.items()}
    evaluated = SparseInformationRetrievalEvaluator(
        queries, corpus, {key: {key} for key in corpus}, name="own", write_csv=False
    )(model)
    assert evaluated["own_dot_ndcg@10"] > 0.7


def test_another_kind_of_encoder_is_an_error(space: FeatureSpace) -> None:
    other = replace(space, encoder=replace(space.encoder, kind="openai"))
    with pytest.raises(InvalidInputError, match="it is of openai"):
        SaeSparseEncoder.of(other)
