"""Pages of a query are parts of one ranking: together they equal one long page."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
import pytest
from qdrant_client import QdrantClient
from qdrant_client.models import FieldCondition, Filter, MatchValue

from saeindex import FeatureIndex, FeatureSpace, Record
from saeindex.errors import InvalidInputError, QueryTimeoutError, StorageError
from saeindex.indexing.points import code_of
from saeindex.protocols import Point, SearchRequest
from saeindex.search.explain import Explanation
from saeindex.search.hits import Hit
from saeindex.search.retrieval import Rescored
from saeindex.stores.tracing import Deadline
from saeindex.types import Part
from tests.samples import RecordingEncoder, all_points, prepared, sample_records

ASTRONOMY = Filter(must=[FieldCondition(key="metadata.topic", match=MatchValue(value="astronomy"))])
MODES: dict[str, dict[str, Any]] = {
    "dense": {"using": "dense"},
    "steered": {"steer": "+#7:2"},
    "sparse": {"using": "sae"},
    "fused": {"using": "fused"},
    "fused explained": {"using": "fused", "explain": True},
    "diverse": {"diversity": 0.5},
    "diverse and fused": {"diversity": 0.5, "using": "fused"},
    "filtered": {"query_filter": ASTRONOMY},
}
TEXT = "the price of copper"


@pytest.fixture(scope="module", params=["edge", "memory"])
def notes_index(
    request: pytest.FixtureRequest,
    tmp_path_factory: pytest.TempPathFactory,
    space: FeatureSpace,
    session_encoder: RecordingEncoder,
) -> Iterator[FeatureIndex]:
    """Documents of one to three records, many of which are equal, on every store in turn."""
    client = QdrantClient(":memory:") if request.param == "memory" else None
    short = sample_records(12, seed=5)
    records = [
        Record(f"note-{i}", " ".join(r.text for r in (short[i % 12 :] + short)[: 1 + i % 3]), {"n": i % 4})
        for i in range(60)
    ]
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(tmp_path_factory.mktemp("notes"))
        with FeatureIndex.create("notes", space, client=client, encoder=session_encoder) as index:
            index.upsert(records, split=24)
            assert index.state.store.count() > 90
            yield index


def keys(hits: Iterable[Hit]) -> list[tuple[str, str | None]]:
    return [(hit.id, hit.document) for hit in hits]


def scores(hits: Iterable[Hit]) -> Any:
    # Scores of the client's local mode vary in the last bit between calls, like numpy's products.
    return pytest.approx([hit.score for hit in hits], abs=5e-6)


@pytest.mark.parametrize("mode", MODES)
def test_pages_are_parts_of_one_ranking(any_papers: FeatureIndex, mode: str) -> None:
    whole = any_papers.search(TEXT, limit=60, **MODES[mode])
    assert len({hit.id for hit in whole}) == len(whole) > 20
    paged = [
        hit for at in range(0, 63, 7) for hit in any_papers.search(TEXT, limit=7, offset=at, **MODES[mode])
    ]
    assert keys(paged)[:60] == keys(whole)
    assert [hit.score for hit in paged][:60] == scores(whole)


@pytest.mark.parametrize("mode", [mode for mode in MODES if mode != "filtered"])
def test_pages_of_documents_are_parts_of_one_ranking(notes_index: FeatureIndex, mode: str) -> None:
    options: dict[str, Any] = {**MODES[mode], "group_by": {"field": "document", "size": 1}}
    whole = notes_index.search(TEXT, limit=60, **options)
    assert len({hit.document for hit in whole}) == len(whole) > 30
    paged = [hit for at in range(0, 63, 7) for hit in notes_index.search(TEXT, limit=7, offset=at, **options)]
    assert keys(paged)[:60] == keys(whole)
    assert [hit.score for hit in paged][:60] == scores(whole)
    best: dict[str | None, float] = {}
    for hit in notes_index.search(TEXT, limit=200, **MODES[mode]):
        best.setdefault(hit.document, hit.score)
    assert [best[hit.document] for hit in whole] == scores(whole)


def test_a_query_that_only_selects_lists_records_in_id_order(any_papers: FeatureIndex) -> None:
    matching = [
        point.payload["record_id"]
        for point in all_points(any_papers)
        if point.payload["metadata"]["topic"] == "astronomy"
    ]
    whole = any_papers.search(query_filter=ASTRONOMY, limit=100)
    assert [hit.id for hit in whole] == matching
    assert {hit.score for hit in whole} == {0.0}
    paged = [any_papers.search(query_filter=ASTRONOMY, limit=4, offset=at) for at in range(0, 100, 4)]
    assert [hit.id for page in paged for hit in page] == matching
    assert len(any_papers.search(query_filter=ASTRONOMY, score_threshold=0.1)) == 0
    assert len(any_papers.search(query_filter=ASTRONOMY, score_threshold=0.0, limit=3)) == 3


# The second pass --------------------------------------------------------------------------------------


class ByLength:
    """A rescorer: the number of active features, in two parts; records without any are dropped."""

    def __init__(self, vector: np.ndarray) -> None:
        self.vector = vector

    def requests(self, limit: int) -> SearchRequest:
        return SearchRequest(self.vector, limit=limit, with_payload=["record_id"], with_vectors=["sae"])

    def scores(self, points: list[Point]) -> np.ndarray:
        sizes = np.array([len(code_of(point).indices) for point in points], float)
        sizes[sizes == 0] = np.nan
        return sizes

    def explain(self, point: Point) -> Explanation:
        size = float(len(code_of(point).indices))
        parts = (Part("word", None, "half", size / 2), Part("word", None, "other half", size / 2))
        return Explanation(parts, size)


def test_a_second_pass_ranks_its_candidates_by_its_own_scores(any_papers: FeatureIndex) -> None:
    vector = prepared(any_papers, TEXT).vector
    request = SearchRequest(vector, query_filter=ASTRONOMY, score_threshold=20.0)
    rescored = Rescored(any_papers.state.store, ByLength(vector), request)  # type: ignore[arg-type]
    points = [p for p in all_points(any_papers) if p.payload["metadata"]["topic"] == "astronomy"]
    wanted = {p.id: len(code_of(p).indices) for p in points if len(code_of(p).indices) >= 20}
    best = rescored.best(100, vectors=("dense", "sae"))
    assert {point.id: point.score for point in best} == wanted
    order = [(-(point.score or 0.0), point.id) for point in best]
    assert order == sorted(order, key=lambda item: (item[0], str(item[1])))
    assert [p.id for at in (0, 3, 6) for p in rescored.best(3, at, payload=False)] == [p.id for p in best[:9]]
    for point in best:
        assert rescored.explain(point).total == point.score
    outside = next(p for p in all_points(any_papers) if p.payload["metadata"]["topic"] != "astronomy")
    assert rescored.explain(outside).total == len(code_of(outside).indices)


# Time -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("mode", ["dense", "fused", "diverse"])
def test_a_search_that_takes_too_long_raises_a_timeout(any_papers: FeatureIndex, mode: str) -> None:
    with pytest.raises(QueryTimeoutError, match="Raise the timeout"):
        any_papers.search(TEXT, timeout=1e-9, **MODES[mode])
    plain = any_papers.search(TEXT, **MODES[mode])
    assert list(any_papers.search(TEXT, timeout=60.0, **MODES[mode])) == list(plain)


@pytest.mark.parametrize("timeout", [0, -1.0, float("nan"), float("inf"), "soon"])
def test_an_invalid_timeout_is_refused(papers: FeatureIndex, timeout: Any) -> None:
    with pytest.raises(InvalidInputError, match="timeout"):
        papers.search(TEXT, timeout=timeout)


def test_only_a_server_timeout_is_reported_as_a_timeout() -> None:
    failure = StorageError("a search", "the server gave up", "Repeat")
    with pytest.raises(QueryTimeoutError), Deadline(1e-9).stage("the search"):
        raise failure
    with pytest.raises(StorageError), Deadline(60).stage("the search"):
        raise failure
    deadline = Deadline(60)
    assert deadline.left is not None
    assert 59 < deadline.left <= 60
    assert Deadline(None).left is None
