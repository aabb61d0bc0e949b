"""Language models as readers, against transformers' own hidden states of the whole model."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from saeindex import FeatureIndex, FeatureSpace, Record, fit_reader, open_encoder
from saeindex.encoders import opened_as
from saeindex.encoders.causal import CausalReader
from saeindex.errors import EncoderError, InvalidInputError
from saeindex.sae.training_config import TrainingConfig
from saeindex.types import Scale
from tests.samples import all_points, sample_records

TEXTS = ["A violin concerto.", "", "Rain in the mountains, and then snow again; " * 30, "x"]
LAYERS, SIZE, LENGTH = 4, 32, 64


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small model of random weights, with a tokenizer of byte pairs and a token in front."""
    from tokenizers import ByteLevelBPETokenizer
    from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

    place = tmp_path_factory.mktemp("model") / "small-llama"
    pairs = ByteLevelBPETokenizer()
    pairs.train_from_iterator([record.text for record in sample_records(100)], 400, special_tokens=["<s>"])
    fast: Any = PreTrainedTokenizerFast
    fast(tokenizer_object=pairs._tokenizer, bos_token="<s>").save_pretrained(place)
    torch.manual_seed(0)
    sizes: dict[str, Any] = {"hidden_size": SIZE, "intermediate_size": 48, "num_hidden_layers": LAYERS}
    config = LlamaConfig(
        vocab_size=400, num_attention_heads=4, max_position_embeddings=LENGTH, bos_token_id=0, **sizes
    )
    LlamaForCausalLM(config).save_pretrained(place)
    return place


def read(reader: CausalReader, texts: list[str]) -> list[np.ndarray[Any, Any]]:
    found: dict[int, Any] = {}

    def seen(rows: Any, tokens: torch.Tensor, counts: Any) -> None:
        found.update(zip(rows, torch.split(tokens, list(counts)), strict=True))

    reader.read_document(texts, seen)
    return [found[row].numpy() for row in range(len(texts))]


@pytest.mark.parametrize("scale", ["none", "unit", "layer"])
@pytest.mark.parametrize("layer", [1, 3])
def test_tokens_are_the_hidden_states_of_the_whole_model(folder: Path, layer: int, scale: Scale) -> None:
    from transformers import AutoModelForCausalLM, AutoTokenizer

    reader = CausalReader(folder, layer, scale=scale, precision="fp32", device="cpu", batch_tokens=128)
    tokenizer, whole = AutoTokenizer.from_pretrained(folder), AutoModelForCausalLM.from_pretrained(folder)
    for text, own in zip(TEXTS, read(reader, TEXTS), strict=True):
        ids = [0, *tokenizer(text, add_special_tokens=False)["input_ids"]][:LENGTH]
        with torch.inference_mode():
            states = whole(torch.tensor([ids]), output_hidden_states=True).hidden_states[layer][0, 1:]
        expected = states - states.mean(1, keepdim=True) if scale == "layer" else states
        if scale != "none":
            expected = torch.nn.functional.normalize(expected, dim=1)
        np.testing.assert_allclose(own, expected.numpy(), atol=2e-5)
        assert len(own) == min(len(reader.token_spans(text)), reader.max_tokens)
        if text:
            np.testing.assert_allclose(reader.read_query(text), own, atol=2e-5)
    assert not any("lm_head" in name for name, _ in reader._model.named_parameters())
    assert len(reader._model.layers) == layer


def test_it_is_opened_again_by_its_identity(folder: Path) -> None:
    reader = CausalReader(folder, 2, max_length=32)
    assert opened_as(reader.identity) is reader
    other = opened_as(reader.identity, precision="fp32")
    assert other is not reader
    assert other.identity == reader.identity
    np.testing.assert_allclose(np.linalg.norm(reader.encode_document(TEXTS[:1]), axis=1), 1, atol=1e-5)


def test_what_it_cannot_read_is_said(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(InvalidInputError, match="the model has 4 layers"):
        CausalReader(folder, LAYERS + 1)
    with pytest.raises(InvalidInputError, match="64 positions"):
        CausalReader(folder, 1, max_length=LENGTH + 1)
    with pytest.raises(EncoderError, match="language model"):
        CausalReader(tmp_path / "none", 1)


def test_an_index_of_another_encoder_has_its_features(
    folder: Path, tmp_path: Path, space: FeatureSpace
) -> None:
    reader, encoder = CausalReader(folder, 2, precision="fp32"), open_encoder()
    config = TrainingConfig(
        n_features=64, k=4, steps=40, selection="batchtopk", refined_phase=0.0, refine_steps=0, batch_size=256
    )
    made = fit_reader([record.text for record in sample_records(150, seed=4)], reader, config, name="small")
    assert made.pool == "max"
    with FeatureIndex(tmp_path / "a.idx", space=space, encoder=encoder, reader=made) as index:
        index.upsert([*sample_records(20), Record("violin", "A violin concerto.")])
        dense = encoder.encode_document(["A violin concerto."])[0]
        (point,) = [one for one in all_points(index) if one.payload["record_id"] == "violin"]
        stored: Any = point.vectors["reader"]
        tokens = torch.from_numpy(reader.read_query("A violin concerto."))
        strengths = torch.relu((tokens - made.sae.bias) @ made.sae.encoder.T + made.sae.encoder_bias)
        strengths *= strengths > (0 if made.sae.threshold is None else made.sae.threshold)
        expected = strengths.max(0).values.numpy()
        own = np.zeros(64, np.float32)
        own[stored.indices] = stored.values
        np.testing.assert_allclose(own, expected, atol=1e-3)
        np.testing.assert_allclose(np.asarray(point.vectors["dense"]), dense, atol=1e-2)
        asked = made.asked(encoder, "A violin").vector
        score = float(own[asked.indices] @ asked.values)
        hits = {hit.id: hit.score for hit in index.search("A violin", using="reader", limit=21)}
        assert hits["violin"] == pytest.approx(score, abs=1e-4)
    with FeatureIndex(tmp_path / "a.idx") as again:
        found = again.search("A violin", using="reader", limit=21)
        assert {hit.id: hit.score for hit in found} == pytest.approx(hits, abs=1e-5)
