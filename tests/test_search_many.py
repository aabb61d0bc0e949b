"""Many queries at once and one by one give bitwise equal results."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import pytest

from saeindex import FeatureIndex, FeatureSpace, Query, Record, open_encoder
from saeindex.collection.state import KEPT, IndexState, QueryVectors
from saeindex.errors import InvalidInputError, SaeIndexError, UnknownConceptError
from saeindex.search.searcher import Searcher
from tests.samples import RecordingEncoder, sample_records

if TYPE_CHECKING:
    from saeindex.types import FloatArray

LONG = "A report on " + "copper, tin and a little zinc; " * 12
TEXTS = [record.text for record in sample_records(30, seed=51)] + ["tin", "dark matter", LONG]


@pytest.fixture(scope="module")
def uncached_index(
    tmp_path_factory: pytest.TempPathFactory, space: FeatureSpace, records: list[Record]
) -> FeatureIndex:
    """An index whose encoder has no cache."""
    path = tmp_path_factory.mktemp("real") / "real.idx"
    with FeatureIndex.create(path, space) as index:
        index.upsert(records[:60])
    return FeatureIndex.open(path)


def test_many_searches_equal_single_ones_bit_for_bit(uncached_index: FeatureIndex) -> None:
    steered, texts = Query("copper", using="fused", explain=True, steer="+#7:1"), TEXTS[3:]
    queries: list[str | Query] = [*texts, steered]
    many = uncached_index.search_many(queries, limit=5)
    state = uncached_index.state
    vectors = [state.encode(text).tobytes() for text in [*texts, "copper"]]
    state.encode._kept._kept.clear()
    for query, hits, vector in zip(queries, many, vectors, strict=True):
        alone = uncached_index.search(query, limit=5)
        assert state.encode(query if isinstance(query, str) else query.text).tobytes() == vector
        assert list(alone) == list(hits)


def test_of_many_more_texts_they_do_so_up_to_rounding(uncached_index: FeatureIndex) -> None:
    texts = [f"{text} {number}" for number, text in enumerate(2 * TEXTS)]
    for text, hits in zip(texts, uncached_index.search_many(texts, limit=5), strict=True):
        uncached_index.state.encode._kept._kept.clear()
        alone = uncached_index.search(text, limit=5)
        assert {hit.id: hit.score for hit in alone} == pytest.approx(
            {hit.id: hit.score for hit in hits}, abs=1e-5
        )


def test_a_query_s_vector_does_not_depend_on_its_batch() -> None:
    encoder = open_encoder()
    together = encoder.encode_query(TEXTS)
    alone = np.concatenate([encoder.encode_query([text]) for text in TEXTS])
    assert together.tobytes() == alone.tobytes()


def test_texts_are_encoded_in_one_batch(papers: FeatureIndex, encoder: RecordingEncoder) -> None:
    batches: list[int] = []

    def encode(texts: Sequence[str]) -> FloatArray:
        batches.append(len(texts))
        return encoder.encode_query(texts)

    vectors = QueryVectors(encode)
    state = IndexState(papers.state.store, papers.state.manifest, papers.space, vectors, lambda: encoder)
    Searcher(state).search_many([Query(text) for text in [*TEXTS, *TEXTS]])
    assert batches == [len(TEXTS)]


def test_no_query_is_run_if_one_is_wrong(papers: FeatureIndex, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also if only its plan shows what is wrong: a syntax error, a concept that there is not."""
    searched: list[object] = []
    monkeypatch.setattr(papers.state.store, "search", searched.append)
    for wrong in ('NOT ("copper"', "#999999"):
        with pytest.raises(SaeIndexError, match="query 3 of 4"):
            papers.search_many(["copper", "tin", Query("copper", where=wrong), "zinc"])
    assert not searched


def test_an_error_names_its_query(papers: FeatureIndex) -> None:
    with pytest.raises(InvalidInputError, match="query 2 of 3: limit=0"):
        papers.search_many(["copper", {"text": "copper", "limit": 0}, "tin"])  # type: ignore[list-item]
    with pytest.raises(UnknownConceptError, match="query 3 of 3"):
        papers.search_many(["copper", "tin", Query("copper", where="#999999")])
    assert papers.search_many([]) == []


def test_only_the_latest_vectors_are_cached() -> None:
    encoded: list[str] = []

    def encode(texts: Sequence[str]) -> FloatArray:
        encoded.extend(texts)
        return np.full((len(texts), 2), len(encoded), np.float32)

    vectors = QueryVectors(encode)
    first = vectors("a")
    assert vectors("a") is first
    assert not first.flags.writeable
    vectors.warm([f"text {i}" for i in range(KEPT)])
    vectors("text 1")
    vectors("a")
    assert encoded.count("a") == 2
    assert encoded.count("text 1") == 1
