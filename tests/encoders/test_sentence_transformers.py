"""The encoder compared with sentence-transformers, and conditions that must not change a vector."""

from __future__ import annotations

import json
import shutil
import warnings
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Literal

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from sentence_transformers import SentenceTransformer
from threadpoolctl import threadpool_info, threadpool_limits

from saeindex import FeatureSpace, open_encoder
from saeindex.devices import choose_device, choose_dtype, one_blas_thread
from saeindex.encoders.bert import BertConfig, BertInNumpy
from saeindex.encoders.bert_torch import BertEncoder, BertInOneCall
from saeindex.encoders.library import LibraryBackend
from saeindex.encoders.sentence_transformers import (
    NUMPY_QUERIES,
    SentenceTransformerEncoder,
    _BertBackend,
    find_model,
    prompts_of,
)
from saeindex.errors import EncoderError, InvalidInputError, MismatchError
from saeindex.files import CACHE_VARIABLE
from saeindex.types import SparseCode
from tests.samples import RandomEncoder, sample_records

TEXTS = [
    "Dark matter halos and the rotation curves of spiral galaxies",
    "a",
    ".",
    "   leading and trailing space   ",
    "\n\t\n",
    "",
    "Größe, naïveté, coöperation, façade",
    "第二の銀河団 и тёмная материя",
    "emoji 😀👩‍🚀 and zero\u200bwidth and nul\0 and \u202eright-to-left",
    "MiXeD CaSe and punctuation!?;:— “quotes”",
    "word " * 2_000,
    "supercalifragilistic" * 100,
    *[record.text for record in sample_records(20, seed=30)],
]
# float32 sums in another order: far too little to change a ranking.
FP32_TOLERANCE = 1e-5


@pytest.fixture(scope="module")
def fp32_encoder() -> SentenceTransformerEncoder:
    return SentenceTransformerEncoder(precision="fp32", device="cpu")


@pytest.fixture(scope="module")
def library() -> SentenceTransformer:
    folder, _ = find_model("minilm", None)
    return SentenceTransformer(str(folder), device="cpu", local_files_only=True)


@pytest.fixture(scope="module")
def vectors(fp32_encoder: SentenceTransformerEncoder) -> np.ndarray:
    return fp32_encoder.encode_document(TEXTS)


def test_vectors_equal_those_of_sentence_transformers(
    vectors: np.ndarray, library: SentenceTransformer
) -> None:
    expected = library.encode(TEXTS, normalize_embeddings=True, convert_to_numpy=True)
    np.testing.assert_allclose(vectors, expected, atol=FP32_TOLERANCE)
    assert vectors.dtype == np.float32
    assert vectors.shape == (len(TEXTS), 384)
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-6)


def test_order_is_kept_and_vectors_do_not_depend_on_the_batch(
    fp32_encoder: SentenceTransformerEncoder, vectors: np.ndarray
) -> None:
    shuffled = np.random.default_rng(0).permutation(len(TEXTS))
    again = fp32_encoder.encode_document([TEXTS[i] for i in shuffled])
    np.testing.assert_allclose(again, vectors[shuffled], atol=FP32_TOLERANCE)
    for i in (0, 5, 7, 10):
        np.testing.assert_allclose(fp32_encoder.encode_query([TEXTS[i]])[0], vectors[i], atol=FP32_TOLERANCE)


def test_small_batches_give_the_same_vectors(vectors: np.ndarray) -> None:
    small = SentenceTransformerEncoder(precision="fp32", device="cpu", batch_tokens=64)
    np.testing.assert_allclose(small.encode_document(TEXTS), vectors, atol=FP32_TOLERANCE)


def test_the_same_batch_gives_bitwise_equal_vectors(
    fp32_encoder: SentenceTransformerEncoder, vectors: np.ndarray
) -> None:
    assert fp32_encoder.encode_document(TEXTS).tobytes() == vectors.tobytes()


def test_bf16_agrees_to_a_cosine_of_0_999(vectors: np.ndarray) -> None:
    half = SentenceTransformerEncoder(precision="bf16", device="cpu").encode_document(TEXTS)
    assert (half * vectors).sum(1).min() >= 0.999


def test_a_query_s_vector_in_numpy_equals_that_of_torch(
    fp32_encoder: SentenceTransformerEncoder, vectors: np.ndarray
) -> None:
    np.testing.assert_allclose(fp32_encoder.encode_query(TEXTS), vectors, atol=FP32_TOLERANCE)


def test_a_query_s_vector_does_not_depend_on_the_queries_that_it_is_embedded_with(
    vectors: np.ndarray,
) -> None:
    encoder = SentenceTransformerEncoder(device="cpu")
    together = encoder.encode_query_in_rows(TEXTS)
    np.testing.assert_allclose(together, vectors, atol=FP32_TOLERANCE)
    order = np.random.default_rng(1).permutation(len(TEXTS))
    assert np.array_equal(encoder.encode_query_in_rows([TEXTS[i] for i in order]), together[order])
    for i in range(len(TEXTS)):
        assert np.array_equal(encoder.encode_query_in_rows([TEXTS[i]])[0], together[i])


@pytest.mark.parametrize("approximate", ["none", "tanh"])
def test_the_numpy_forward_pass_equals_torch(approximate: Literal["none", "tanh"]) -> None:
    folder, _ = find_model("minilm", None)
    config = replace(BertConfig.read(folder), approximate=approximate)
    ids = np.random.default_rng(0).integers(0, 30_000, 40)
    in_torch = BertEncoder(folder, config, torch.float32, "cpu")
    with torch.inference_mode():
        expected = in_torch(torch.from_numpy(ids[None]), None)[0].numpy()
    np.testing.assert_allclose(BertInNumpy(folder, config)(ids.tolist()), expected, atol=1e-4)


def test_no_texts_give_an_empty_matrix(fp32_encoder: SentenceTransformerEncoder) -> None:
    assert fp32_encoder.encode_document([]).shape == (0, 384)
    assert fp32_encoder.encode_query([]).dtype == np.float32


def test_max_length_truncates_texts_and_is_part_of_the_identity(
    fp32_encoder: SentenceTransformerEncoder, vectors: np.ndarray, library: SentenceTransformer
) -> None:
    short = SentenceTransformerEncoder(precision="fp32", device="cpu", max_length=16)
    published = library.max_seq_length
    library.max_seq_length = 16
    expected = library.encode(TEXTS, normalize_embeddings=True, convert_to_numpy=True)
    library.max_seq_length = published
    np.testing.assert_allclose(short.encode_document(TEXTS), expected, atol=FP32_TOLERANCE)
    assert short.identity == replace(fp32_encoder.identity, max_length=16)
    assert np.abs(short.encode_document(TEXTS) - vectors).max() > 0.01


@pytest.mark.parametrize("max_length", [-1, 0, 2, 513])
def test_a_length_above_that_of_the_model_is_refused(max_length: int) -> None:
    with pytest.raises(InvalidInputError, match="positions"):
        SentenceTransformerEncoder(max_length=max_length, device="cpu")
    with pytest.raises(InvalidInputError, match="positions"):
        LibraryBackend(find_model("minilm", None)[0], torch.float32, "cpu", max_length)


@given(text=st.text(st.sampled_from("aé中\u0301\n\t \u00a0\u3000\x1c\x85'’-.,;👩\u200d🚀İßﬁ日คไ")))
def test_tokens_are_counted_by_word_as_there_are_spans(
    fp32_encoder: SentenceTransformerEncoder, text: str
) -> None:
    for one in (text, f"The unbelievability of {text} reconsidered, {text}."):
        assert fp32_encoder.count_tokens(one) == len(fp32_encoder.token_spans(one))


def test_token_spans_cover_everything_except_whitespace(fp32_encoder: SentenceTransformerEncoder) -> None:
    for text in TEXTS:
        spans = fp32_encoder.token_spans(text)
        covered = {i for begin, stop in spans for i in range(begin, stop)}
        # The tokenizer drops control and format characters.
        kept = {i for i, c in enumerate(text) if c.isalnum()}
        assert kept <= covered
        assert list(spans) == sorted(spans)
    assert len(fp32_encoder.token_spans("word " * 2_000)) == 2_000


def test_prompts_are_put_before_the_texts(fp32_encoder: SentenceTransformerEncoder) -> None:
    prompted = SentenceTransformerEncoder(
        precision="fp32", device="cpu", query_prompt="query: ", document_prompt="passage: "
    )
    text = TEXTS[0]
    for found, expected in [
        (prompted.encode_query([text]), fp32_encoder.encode_query([f"query: {text}"])),
        (prompted.encode_document([text]), fp32_encoder.encode_document([f"passage: {text}"])),
    ]:
        np.testing.assert_allclose(found, expected, atol=FP32_TOLERANCE)
    assert (prompted.identity.query_prompt, prompted.identity.document_prompt) == ("query: ", "passage: ")


@pytest.mark.parametrize(
    ("name", "published", "wanted"),
    [
        ("intfloat/multilingual-e5-small", {}, ("query: ", "passage: ")),
        ("bge-small-en-v1.5", {}, ("Represent this sentence for searching relevant passages: ", "")),
        ("bge-m3", {}, ("", "")),
        ("my-e5-small", {"query": "ask: "}, ("ask: ", "")),
        ("other", {"query": "q: ", "passage": "p: "}, ("q: ", "p: ")),
        ("other", {"query": "", "document": ""}, ("", "")),
    ],
)
def test_prompts_are_those_that_a_model_has_or_those_of_its_family(
    tmp_path: Path, name: str, published: dict[str, str], wanted: tuple[str, str]
) -> None:
    (tmp_path / "config_sentence_transformers.json").write_text(json.dumps({"prompts": published}))
    assert prompts_of(tmp_path, name) == wanted


def test_the_first_numbers_of_vectors_are_an_encoder_of_its_own(vectors: np.ndarray) -> None:
    shorter = SentenceTransformerEncoder(precision="fp32", device="cpu", dimensions=64)
    assert shorter.identity.dimension == 64
    first = vectors[:, :64] / np.linalg.norm(vectors[:, :64], axis=1, keepdims=True)
    for encode in (shorter.encode_document, shorter.encode_query, shorter.encode_query_in_rows):
        np.testing.assert_allclose(encode(TEXTS), first, atol=2 * FP32_TOLERANCE)
    assert shorter.encode_document([]).shape == (0, 64)
    with pytest.raises(InvalidInputError, match="the model gives 384"):
        SentenceTransformerEncoder(dimensions=512, device="cpu")


def test_a_copy_of_a_model_has_its_folder_s_name_and_is_found_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, space: FeatureSpace
) -> None:
    monkeypatch.setenv(CACHE_VARIABLE, str(tmp_path / "cache"))
    folder = tmp_path / "our-model"
    shutil.copytree(find_model("minilm", None)[0], folder)
    (folder / "pytorch_model.bin").write_bytes(b"the same weights in another form")
    opened = open_encoder(str(folder))
    assert opened.identity == replace(space.encoder, model="our-model")
    own = replace(space, encoder=opened.identity)
    assert own.open_encoder().identity == opened.identity
    shutil.rmtree(folder)
    with pytest.raises(EncoderError, match="our-model"):
        own.open_encoder()


def test_a_static_model_is_run_by_the_library(tmp_path: Path) -> None:
    from sentence_transformers.models import StaticEmbedding
    from tokenizers import Tokenizer, models, pre_tokenizers

    tokenizer = Tokenizer(models.WordLevel({"[UNK]": 0, "war": 1, "peace": 2}, "[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    weights = np.random.default_rng(0).standard_normal((3, 8)).astype(np.float32)
    SentenceTransformer(modules=[StaticEmbedding(tokenizer, weights)]).save(str(tmp_path / "static"))
    encoder = SentenceTransformerEncoder(tmp_path / "static", device="cpu", precision="fp32")
    found = encoder.encode_document(["war peace", "war"])
    both = weights[[1, 2]].mean(0)
    np.testing.assert_allclose(found[0], both / np.linalg.norm(both), atol=FP32_TOLERANCE)
    assert encoder.token_spans("war peace") == [(0, 3), (4, 9)]
    assert encoder.max_tokens > 1_000
    assert encoder.identity.pooling == "StaticEmbedding"


def test_a_model_of_sparse_vectors_is_refused(tmp_path: Path) -> None:
    kind = "sentence_transformers.sparse_encoder.models.SpladePooling"
    (tmp_path / "modules.json").write_text(json.dumps([{"idx": 0, "name": "0", "path": "", "type": kind}]))
    (tmp_path / "model.safetensors").write_bytes(b"")
    with pytest.raises(EncoderError, match="sparse vectors alone"):
        SentenceTransformerEncoder(tmp_path)


def test_the_fallback_to_the_library_agrees(
    vectors: np.ndarray, fp32_encoder: SentenceTransformerEncoder
) -> None:
    folder, _ = find_model("minilm", None)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        backend = LibraryBackend(folder, torch.float32, "cpu", None)
    fallback = SentenceTransformerEncoder(precision="fp32", device="cpu")
    fallback._backend = backend
    np.testing.assert_allclose(fallback.encode_document(TEXTS), vectors, atol=FP32_TOLERANCE)
    assert (backend.dimension, backend.max_length) == (384, fp32_encoder.identity.max_length)
    for text in TEXTS[:3]:
        assert list(fallback.token_spans(text)) == list(fp32_encoder.token_spans(text))
    fallback._backend = LibraryBackend(folder, torch.float32, "cpu", 16)
    shorter = SentenceTransformerEncoder(precision="fp32", device="cpu", max_length=16)
    np.testing.assert_allclose(fallback.encode_query(TEXTS), shorter.encode_query(TEXTS), atol=FP32_TOLERANCE)


def test_a_model_with_our_forward_pass_is_not_loaded_by_the_library(
    fp32_encoder: SentenceTransformerEncoder,
) -> None:
    assert isinstance(fp32_encoder._backend, _BertBackend)
    assert fp32_encoder.identity.pooling == "mean"


def test_an_encoder_of_another_identity_is_refused(
    space: FeatureSpace, fp32_encoder: SentenceTransformerEncoder
) -> None:
    space.check_encoder(fp32_encoder)
    space.check_encoder(RandomEncoder(replace(space.encoder, model="a copy of the same weights")))
    for change in (
        {"max_length": 128},
        {"revision": "sha256:0"},
        {"query_prompt": "query: "},
        {"dimension": 3},
    ):
        with pytest.raises(MismatchError, match=next(iter(change))):
            space.check_encoder(RandomEncoder(replace(space.encoder, **change)))
    opened = space.open_encoder(precision="fp32")
    assert opened.identity == space.encoder


@pytest.mark.parametrize("name", ["no/such-model", "/no/such/folder", "two//slashes"])
def test_a_missing_model_raises_a_saeindex_error(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(EncoderError, match="needs no network"):
        open_encoder(name)


def test_an_option_of_another_kind_of_encoder_is_refused() -> None:
    with pytest.raises(InvalidInputError, match="Did you mean precision"):
        open_encoder(presision="fp32")  # type: ignore[call-arg]
    with pytest.raises(InvalidInputError, match="no option 'timeout'"):
        open_encoder(timeout=5.0)
    with pytest.raises(InvalidInputError, match="no option 'device'"):
        open_encoder("openai:text-embedding-3-small", device="cpu")


def test_an_unknown_precision_is_refused() -> None:
    with pytest.raises(InvalidInputError, match="fp8"):
        choose_dtype("fp8", "cpu")
    assert choose_dtype("fp32", "cpu") == torch.float32
    assert choose_device("cpu") == "cpu"


def test_encoders_of_one_model_share_its_weights(fp32_encoder: SentenceTransformerEncoder) -> None:
    assert SentenceTransformerEncoder(precision="fp32", device="cpu")._backend is fp32_encoder._backend
    other = SentenceTransformerEncoder(precision="fp32", device="cpu", max_length=64)
    assert other._backend is not fp32_encoder._backend


def test_weights_that_give_nan_are_reported() -> None:
    # Of a length of its own, so that no other encoder shares the weights.
    broken = SentenceTransformerEncoder(precision="fp32", device="cpu", max_length=67)
    assert isinstance(broken._backend, _BertBackend)
    broken._backend._model.positions = torch.full_like(broken._backend._model.positions, torch.nan)
    with pytest.raises(EncoderError, match="NaN"):
        broken.encode_document(["x"])
    broken._backend._numpy_model._positions = np.full((512, 384), np.nan, np.float32)
    with pytest.raises(EncoderError, match="NaN"):
        broken.encode_query(["x"])


def test_codes_in_bf16_mostly_equal_those_in_fp32(space: FeatureSpace, vectors: np.ndarray) -> None:
    half = SentenceTransformerEncoder(precision="bf16", device="cpu").encode_document(TEXTS)

    def features(code: SparseCode) -> list[set[int]]:
        return [set(indices.tolist()) for indices, _ in code.rows()]

    pairs = zip(features(space.sae.encode(half)), features(space.sae.encode(vectors)), strict=True)
    assert np.mean([len(a & b) / len(a | b) for a, b in pairs]) > 0.85


def test_blas_has_one_thread_during_embedding_and_is_restored_afterwards() -> None:
    def threads() -> set[int]:
        found = threadpool_info()
        return {library["num_threads"] for library in found if library["user_api"] == "blas"}

    limit = one_blas_thread()
    with threadpool_limits(2, "blas"):  # the tests have one
        with limit, ThreadPoolExecutor(1) as other:
            other.submit(limit.__enter__).result()
            assert threads() == {1}
            limit.__exit__()
            assert threads() == {1}  # the other thread is still embedding
            limit.__enter__()
            other.submit(limit.__exit__).result()
        assert threads() == {2}


def test_one_call_for_each_shape_gives_the_model_s_states_bit_for_bit() -> None:
    folder, _ = find_model("minilm", None)
    model = BertEncoder(folder, BertConfig.read(folder), torch.float32, "cpu")
    in_one_call, rng = BertInOneCall(model), np.random.default_rng(0)
    with torch.inference_mode():
        for length in (16, 32, 16):
            ids = torch.from_numpy(rng.integers(0, 30_000, (4, length)))
            mask = torch.arange(length)[None] < torch.tensor([[3], [length], [9], [1]])
            assert torch.equal(in_one_call(ids, mask), model(ids, mask))


def test_many_queries_are_those_of_few(fp32_encoder: SentenceTransformerEncoder) -> None:
    texts = [f"query {number}" for number in range(NUMPY_QUERIES + 1)]
    many = fp32_encoder.encode_query(texts)
    np.testing.assert_allclose(many[:9], fp32_encoder.encode_query(texts[:9]), atol=1e-5)
