"""The part of the conformance suite that searches, against brute force."""

# ruff: noqa: S101, D102 - a suite of tests: asserts are its point, and names tell the behaviour

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal

import numpy as np
import pytest
from qdrant_client import models

from saeindex.errors import InvalidInputError
from saeindex.protocols import Fusion, Layout, Point, SearchRequest, SparseVector, VectorStore
from saeindex.testing.comparison import (
    ROWS_TOLERANCE,
    assert_identical_ranking,
    assert_same_ranking,
    store_and_reference,
)
from saeindex.testing.reference_store import ReferenceStore
from saeindex.testing.sample_filters import sample_conditions
from saeindex.testing.sample_points import (
    DIMENSION,
    LAYOUT,
    sample_dense,
    sample_id,
    sample_points,
    sample_rows,
    sample_sparse,
)

MakeStore = Callable[[Layout], VectorStore]
FusionMethod = Literal["rrf", "dbsf"]

AXIS = np.eye(DIMENSION, dtype=np.float32)
FACETED = ("tag", "concepts", "year", "flag")


def _sparse(indices: Any, values: Any) -> SparseVector:
    return SparseVector(np.array(indices, dtype=np.int32), np.array(values, dtype=np.float32))


class SearchConformance:
    """Searches, thresholds, ties and fusion; ``make_store`` comes from the subclass."""

    def test_dense_search_is_brute_force(self, make_store: MakeStore) -> None:
        store, reference = store_and_reference(make_store, 21, 120)
        rng = np.random.default_rng(21)
        conditions = list(sample_conditions().values())
        for number in range(40):
            query_filter = models.Filter(must=[conditions[number % len(conditions)]]) if number % 2 else None
            threshold = float(rng.uniform(-0.5, 0.5)) if number % 3 == 0 else None
            limit, offset = int(rng.integers(1, 30)), int(rng.integers(0, 12))
            request = SearchRequest(sample_dense(rng), "dense", limit, offset, query_filter, threshold)
            assert_same_ranking(store, reference, request)

    def test_max_sim_is_brute_force_and_points_without_rows_are_no_hits(self, make_store: MakeStore) -> None:
        store, reference = store_and_reference(make_store, 24, 120)
        rng = np.random.default_rng(24)
        tagged = models.FieldCondition(key="tag", match=models.MatchAny(any=["a", "b"]))
        for number in range(30):
            query = sample_rows(rng, number % 3) if number % 3 else sample_dense(rng)
            query_filter = models.Filter(must=[tagged]) if number % 2 else None
            limit, offset = int(rng.integers(1, 30)), int(rng.integers(0, 12))
            request = SearchRequest(query, "sentences", limit, offset, query_filter)
            assert_same_ranking(store, reference, request, ROWS_TOLERANCE)
        among = SearchRequest(sample_dense(rng), "dense", 20)
        staged = SearchRequest(sample_rows(rng, 2), "sentences", 5, prefetch=(among,))
        assert_same_ranking(store, reference, staged, ROWS_TOLERANCE)
        with_rows = {point.id for point in reference.search(SearchRequest(AXIS[0], "sentences", 10**6))}
        assert {point.id for point in store.search(SearchRequest(AXIS[0], "sentences", 1_000))} == with_rows

    def test_a_point_is_written_again_with_other_rows(self, make_store: MakeStore) -> None:
        store = make_store(LAYOUT)
        store.upsert([Point(1, {"sentences": AXIS[:3]}), Point(2, {"sentences": AXIS[4]})])
        store.upsert([Point(1, {"sentences": AXIS[3:5]})])
        (first, second) = store.get([1, 2], with_vectors=["sentences"])
        np.testing.assert_allclose(first.vectors["sentences"], AXIS[3:5], atol=ROWS_TOLERANCE)  # type: ignore[arg-type]
        np.testing.assert_allclose(second.vectors["sentences"], AXIS[4:5], atol=ROWS_TOLERANCE)  # type: ignore[arg-type]
        scores = {p.id: p.score for p in store.search(SearchRequest(AXIS[:2], "sentences"))}
        assert scores == pytest.approx({1: 0.0, 2: 0.0}, abs=2 * ROWS_TOLERANCE)
        store.upsert([Point(1, {"dense": AXIS[0]})])
        assert [p.id for p in store.search(SearchRequest(AXIS[4], "sentences"))] == [2]

    def test_sparse_search_is_brute_force_ties_and_negative_weights_included(
        self, make_store: MakeStore
    ) -> None:
        store, reference = store_and_reference(make_store, 22, 120)
        rng = np.random.default_rng(22)
        conditions = list(sample_conditions().values())
        for number in range(60):
            query_filter = models.Filter(must=[conditions[number % len(conditions)]]) if number % 2 else None
            threshold = float(rng.integers(-3, 4)) if number % 3 == 0 else None
            limit, offset = int(rng.integers(1, 30)), int(rng.integers(0, 12))
            using = LAYOUT.sparse[number % 2]
            request = SearchRequest(sample_sparse(rng), using, limit, offset, query_filter, threshold)
            assert_identical_ranking(store, reference, request)

    def test_a_zero_dot_product_is_no_hit(self, make_store: MakeStore) -> None:
        store = make_store(LAYOUT)
        cancelling, other, hit = _sparse([1, 2], [1, -1]), _sparse([3], [1]), _sparse([1], [-1])
        store.upsert([Point(1, {"sae": cancelling}), Point(2, {"sae": other}), Point(3, {"sae": hit})])
        request = SearchRequest(_sparse([1, 2], [2, 2]), using="sae")
        assert [(point.id, point.score) for point in store.search(request)] == [(3, -2.0)]
        assert store.search(SearchRequest(_sparse([], []), using="sae")) == []

    def test_thresholds_are_inclusive(self, make_store: MakeStore) -> None:
        store = make_store(LAYOUT)
        dense = np.array([[1, 0], [3, 4], [0, 1]]) @ AXIS[:2]
        sparse = [_sparse([1], [value]) for value in (3, 2, 1)]
        store.upsert([Point(n, {"dense": dense[n], "sae": sparse[n]}) for n in range(3)])
        for using, query in (("dense", AXIS[0]), ("sae", _sparse([1], [0.1]))):
            hits = store.search(SearchRequest(query, using=using))
            middle = hits[1].score
            assert middle is not None
            above = float(np.nextafter(np.float32(middle), np.float32(9)))
            requests = [
                SearchRequest(query, using=using, score_threshold=threshold)
                for threshold in (middle, above, middle - 1e-9)
            ]
            kept = [len(store.search(request)) for request in requests]
            assert kept == [2, 1, 2], using

    def test_equal_scores_come_in_id_order_and_are_cut_by_it(self, make_store: MakeStore) -> None:
        store, reference = make_store(LAYOUT), ReferenceStore(LAYOUT)
        numbers = np.random.default_rng(23).permutation(50)
        vectors = {"dense": AXIS[1], "sae": _sparse([1, 4], [1, 2])}
        better = {"dense": AXIS[0], "sae": _sparse([1, 4], [2, 2])}
        points = [Point(sample_id(int(n)), better if n % 10 == 3 else vectors) for n in numbers]
        for target in (store, reference):
            target.upsert(points)
        for limit, offset in ((1, 0), (5, 0), (6, 0), (7, 3), (20, 20), (44, 0), (50, 0), (99, 0), (9, 60)):
            dense = SearchRequest(AXIS[0], "dense", limit, offset)
            sparse = SearchRequest(_sparse([1], [1]), "sae", limit, offset)
            assert_identical_ranking(store, reference, dense)
            assert_identical_ranking(store, reference, sparse)

    def test_a_search_returns_the_parts_asked_for(self, make_store: MakeStore) -> None:
        store = make_store(LAYOUT)
        vectors = {"dense": AXIS[0], "sae": _sparse([1], [1])}
        store.upsert([Point(n, vectors, {"tag": "a", "year": 1990}) for n in range(9)])
        stages = (SearchRequest(AXIS[0]), SearchRequest(_sparse([1], [1]), "sae"))
        for query, prefetch in ((AXIS[0], ()), (Fusion(), stages)):
            for limit in (3, 9):  # with and without a tie at the cut
                plain = store.search(SearchRequest(query, limit=limit, prefetch=prefetch))
                assert plain[0].payload == {"tag": "a", "year": 1990}
                assert plain[0].vectors == {}
                request = SearchRequest(
                    query, limit=limit, prefetch=prefetch, with_payload=["year"], with_vectors=["sae"]
                )
                for hit in store.search(request):
                    assert hit.payload == {"year": 1990}
                    assert set(hit.vectors) == {"sae"}
                bare = SearchRequest(query, limit=limit, prefetch=prefetch, with_payload=False)
                assert {(len(hit.payload), len(hit.vectors)) for hit in store.search(bare)} == {(0, 0)}

    @pytest.mark.parametrize("method", ["rrf", "dbsf"])
    def test_fusion_is_brute_force(self, make_store: MakeStore, method: FusionMethod) -> None:
        store, reference = store_and_reference(make_store, 24, 100)
        rng = np.random.default_rng(24)
        conditions = list(sample_conditions().values())
        for number in range(15):
            one, other = (conditions[int(rng.integers(len(conditions)))] for _ in range(2))
            inner = models.Filter(should=[one]) if number % 2 else None
            outer = models.Filter(should=[other]) if number % 3 == 0 else None
            stages = (
                SearchRequest(sample_sparse(rng), "sae", 9, query_filter=inner),
                SearchRequest(sample_sparse(rng), "reader", 12, 1, score_threshold=1.0),
            )
            threshold = 0.4 if number % 5 == 0 else None
            request = SearchRequest(Fusion(method), "", 8, number % 3, outer, threshold, stages)
            assert_same_ranking(store, reference, request)

    def test_stages_nest(self, make_store: MakeStore) -> None:
        store, reference = store_and_reference(make_store, 25, 100)
        rng = np.random.default_rng(25)
        for _ in range(10):
            sparse = SearchRequest(sample_sparse(rng), "sae", 15)
            other = SearchRequest(sample_sparse(rng), "reader", 15)
            fused = SearchRequest(Fusion(), limit=12, prefetch=(sparse, other))
            rescored = SearchRequest(sample_dense(rng), limit=5, prefetch=(fused,))
            assert_same_ranking(store, reference, rescored)
            again = SearchRequest(Fusion("rrf"), limit=7, prefetch=(fused, sparse))
            assert_same_ranking(store, reference, again)

    def test_impossible_searches_are_refused(self, make_store: MakeStore) -> None:
        store = make_store(LAYOUT)
        store.upsert(sample_points(26, 5))
        assert store.search(SearchRequest(AXIS[0], limit=0)) == []
        deep = SearchRequest(AXIS[0])
        for _ in range(12):
            deep = SearchRequest(Fusion(), prefetch=(deep,))
        bad = [
            SearchRequest(AXIS[0], limit=-1),
            SearchRequest(AXIS[0], offset=-1),
            SearchRequest(AXIS[0], limit=True),
            SearchRequest(AXIS[0], using="other"),
            SearchRequest(AXIS[0], score_threshold=float("nan")),
            SearchRequest(Fusion()),
            SearchRequest(Fusion("other"), prefetch=(SearchRequest(AXIS[0]),)),  # type: ignore[arg-type]
            deep,
        ]
        for request in bad:
            with pytest.raises(InvalidInputError):
                store.search(request)
