"""The part of the conformance suite that filters, counts, orders and searches, against brute force."""

# ruff: noqa: S101, D102 - a suite of tests: asserts are its point, and names tell the behaviour

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from itertools import product
from typing import Any

import numpy as np
import pytest
from qdrant_client import models

from saeindex.errors import InvalidInputError
from saeindex.protocols import Fusion, OrderBy, Point, SearchRequest, VectorStore
from saeindex.stores.point_checks import to_id
from saeindex.testing.comparison import (
    ROWS_TOLERANCE,
    MakeStore,
    all_points,
    assert_identical_ranking,
    assert_same_ranking,
    store_and_reference,
)
from saeindex.testing.reference_store import ReferenceStore
from saeindex.testing.sample_filters import sample_conditions, sample_filter
from saeindex.testing.sample_points import (
    AXIS,
    LAYOUT,
    sample_dense,
    sample_id,
    sample_points,
    sample_rows,
    sample_sparse,
    sparse_vector,
)

FACETED = ("tag", "concepts", "year", "flag")


class ReadConformance:
    """Filters, counts, facets, scrolls and searches; ``make_store`` comes from the subclass."""

    def test_every_kind_of_condition_selects_what_brute_force_selects(self, make_store: MakeStore) -> None:
        store, reference = store_and_reference(make_store, 11, 80)
        for name, condition in sample_conditions().items():
            for clause in ("must", "must_not", "should"):
                clauses: dict[str, Any] = {clause: [condition]}
                _assert_same_selection(store, reference, models.Filter(**clauses), f"{clause}: {name}")

    def test_random_trees_of_clauses_select_what_brute_force_selects(self, make_store: MakeStore) -> None:
        store, reference = store_and_reference(make_store, 12, 60)
        rng = np.random.default_rng(12)
        for _ in range(60):
            wanted = sample_filter(rng)
            _assert_same_selection(store, reference, wanted, wanted.model_dump_json(exclude_none=True))

    def test_filters_that_engines_read_differently_are_refused(self, make_store: MakeStore) -> None:
        store = make_store(LAYOUT)
        match = models.MatchValue(value=1)
        deep = models.Filter(must=[models.FieldCondition(key="year", match=match)])
        for _ in range(40):
            deep = models.Filter(must=[deep])
        several = models.FieldCondition(key="year", match=match, range=models.Range(gte=1))
        none = models.MinShould(conditions=[several], min_count=0)
        nan = models.FieldCondition(key="year", range=models.Range(gte=float("nan")))
        conditions: list[Any] = [
            deep,
            several,
            models.FieldCondition(key="year"),
            nan,
            models.HasIdCondition(has_id=["abc"]),
        ]
        bad: list[Any] = [models.Filter(must=[one]) for one in conditions]
        calls: list[Callable[[Any], object]] = [
            store.count,
            store.scroll,
            lambda each: store.facet("tag", each),
            lambda each: store.delete(query_filter=each),
            lambda each: store.search(SearchRequest(AXIS[0], query_filter=each)),
        ]
        for wanted, call in product([*bad, models.Filter(min_should=none), {"must": []}], calls):
            with pytest.raises(InvalidInputError):
                call(wanted)

    def test_facets_are_true_counts_filtered_and_after_deletes(self, make_store: MakeStore) -> None:
        store, reference = store_and_reference(make_store, 31, 150)
        wanted: list[models.Filter | None] = [None]
        wanted += [models.Filter(must=[each]) for each in list(sample_conditions().values())[::4]]
        for asked in product(FACETED, wanted, (1, 3, 1000)):
            assert store.facet(*asked) == reference.facet(*asked), asked

    def test_a_facet_needs_an_index(self, make_store: MakeStore) -> None:
        store = make_store(LAYOUT)
        for key in ("plain", "price", "day", "text"):
            with pytest.raises(InvalidInputError, match="index"):
                store.facet(key)
        with pytest.raises(InvalidInputError, match="limit"):
            store.facet("tag", limit=0)

    def test_scrolling_pages_through_everything_once(self, make_store: MakeStore) -> None:
        store, reference = store_and_reference(make_store, 33, 50)
        expected = [point.id for point in all_points(reference)]
        for page in (1, 7, 49, 50, 51, 1000):
            assert [point.id for point in all_points(store, page)] == expected
        middle = expected[20]
        assert store.scroll(cursor=middle, limit=1).points[0].id == middle
        store.delete([middle])
        assert store.scroll(cursor=middle, limit=1).points[0].id == expected[21]
        with pytest.raises(InvalidInputError, match="limit"):
            store.scroll(limit=0)

    @pytest.mark.parametrize("key", ["year", "price", "day"])
    def test_ordered_scrolls_are_brute_force_ties_by_id(self, make_store: MakeStore, key: str) -> None:
        store, reference = store_and_reference(make_store, 34, 90)
        flagged = models.FieldCondition(key="flag", match=models.MatchValue(value=True))
        wanted = (None, models.Filter(must=[flagged]))
        for descending, query_filter, limit in product((False, True), wanted, (1, 2, 5, 13, 40, 200)):
            order = OrderBy(key, descending)
            found = store.scroll(query_filter, limit, order_by=order)
            expected = reference.scroll(query_filter, limit, order_by=order)
            assert [point.id for point in found.points] == [point.id for point in expected.points]
            assert found.cursor is None

    def test_an_ordered_scroll_needs_a_range_index_and_no_cursor(self, make_store: MakeStore) -> None:
        store = make_store(LAYOUT)
        for key in ("plain", "concepts", "tag"):
            with pytest.raises(InvalidInputError, match="index"):
                store.scroll(order_by=OrderBy(key))
        with pytest.raises(InvalidInputError, match="cursor"):
            store.scroll(order_by=OrderBy("year"), cursor=1)

    def test_a_writer_and_a_reader_may_share_a_store(self, make_store: MakeStore) -> None:
        store = make_store(LAYOUT)
        points = sample_points(35, 200)

        def write() -> None:
            for start in range(0, 200, 20):
                store.upsert(points[start : start + 20])

        with ThreadPoolExecutor(1) as threads:
            writing = threads.submit(write)
            while not writing.done():
                store.search(SearchRequest(AXIS[0], limit=3))
                store.count()
            writing.result()
        assert store.count() == 200

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
        cancelling = sparse_vector([1, 2], [1, -1])
        other, hit = sparse_vector([3], [1]), sparse_vector([1], [-1])
        store.upsert([Point(1, {"sae": cancelling}), Point(2, {"sae": other}), Point(3, {"sae": hit})])
        request = SearchRequest(sparse_vector([1, 2], [2, 2]), using="sae")
        assert [(point.id, point.score) for point in store.search(request)] == [(3, -2.0)]
        assert store.search(SearchRequest(sparse_vector([], []), using="sae")) == []

    def test_a_search_among_points_scores_these_alone(self, make_store: MakeStore) -> None:
        store, _ = store_and_reference(make_store, 27, 80)
        rng = np.random.default_rng(27)
        tagged = models.Filter(must=[models.FieldCondition(key="tag", match=models.MatchAny(any=["a", "b"]))])
        for number in range(20):
            using = ("dense", "sae", "sentences")[number % 3]
            query = sample_sparse(rng) if using == "sae" else sample_dense(rng)
            request = SearchRequest(query, using, 200, query_filter=tagged if number % 2 else None)
            some = tuple(sample_id(int(n)) for n in rng.choice(100, size=12, replace=False))
            wanted = [point for point in store.search(request) if point.id in some]
            found = store.search(replace(request, among=some))
            assert [point.id for point in found] == [point.id for point in wanted]
            assert [p.score for p in found] == pytest.approx([p.score for p in wanted], abs=1e-6)
            own = store.scores(request)
            every = {point.id: point.score for point in store.search(request)}
            assert {to_id(one): score for one, score in own.items()} == pytest.approx(every, abs=1e-6)
            among = tuple(one for one in own if to_id(one) in some)
            assert store.scores(replace(request, among=among)).keys() == {*among}
            assert len(store.scores(replace(request, limit=3))) == min(3, len(own))
            staged = SearchRequest(sample_dense(rng), "dense", 50, prefetch=(replace(request, among=some),))
            assert {point.id for point in store.search(staged)} <= {*some}
            assert store.search(replace(request, among=())) == []
        with pytest.raises(InvalidInputError):
            store.search(SearchRequest(AXIS[0], among=("no id",)))

    def test_thresholds_are_inclusive(self, make_store: MakeStore) -> None:
        store = make_store(LAYOUT)
        dense = np.array([[1, 0], [3, 4], [0, 1]]) @ AXIS[:2]
        sparse = [sparse_vector([1], [value]) for value in (3, 2, 1)]
        store.upsert([Point(n, {"dense": dense[n], "sae": sparse[n]}) for n in range(3)])
        for using, query in (("dense", AXIS[0]), ("sae", sparse_vector([1], [0.1]))):
            hits = store.search(SearchRequest(query, using=using))
            middle = hits[1].score
            assert middle is not None
            above = float(np.nextafter(np.float32(middle), np.float32(9)))
            thresholds = middle, above, middle - 1e-9
            requests = [SearchRequest(query, using=using, score_threshold=one) for one in thresholds]
            kept = [len(store.search(request)) for request in requests]
            assert kept == [2, 1, 2], using

    def test_equal_scores_come_in_id_order_and_are_cut_by_it(self, make_store: MakeStore) -> None:
        store, reference = make_store(LAYOUT), ReferenceStore(LAYOUT)
        numbers = np.random.default_rng(23).permutation(50)
        vectors = {"dense": AXIS[1], "sae": sparse_vector([1, 4], [1, 2])}
        better = {"dense": AXIS[0], "sae": sparse_vector([1, 4], [2, 2])}
        points = [Point(sample_id(int(n)), better if n % 10 == 3 else vectors) for n in numbers]
        for target in (store, reference):
            target.upsert(points)
        for limit, offset in ((1, 0), (5, 0), (6, 0), (7, 3), (20, 20), (44, 0), (50, 0), (99, 0), (9, 60)):
            dense = SearchRequest(AXIS[0], "dense", limit, offset)
            sparse = SearchRequest(sparse_vector([1], [1]), "sae", limit, offset)
            assert_identical_ranking(store, reference, dense)
            assert_identical_ranking(store, reference, sparse)

    def test_a_search_returns_the_parts_asked_for(self, make_store: MakeStore) -> None:
        store = make_store(LAYOUT)
        vectors = {"dense": AXIS[0], "sae": sparse_vector([1], [1])}
        store.upsert([Point(n, vectors, {"tag": "a", "year": 1990}) for n in range(9)])
        stages = (SearchRequest(AXIS[0]), SearchRequest(sparse_vector([1], [1]), "sae"))
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

    def test_fusion_is_brute_force(self, make_store: MakeStore) -> None:
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
            request = SearchRequest(Fusion(), "", 8, number % 3, outer, threshold, stages)
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
            again = SearchRequest(Fusion(), limit=7, prefetch=(fused, sparse))
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
            deep,
        ]
        for request in bad:
            with pytest.raises(InvalidInputError):
                store.search(request)


def _assert_same_selection(
    store: VectorStore, reference: ReferenceStore, wanted: models.Filter, said: str
) -> None:
    found, expected = (store.scroll(wanted, limit=100), reference.scroll(wanted, limit=100))
    assert [point.id for point in found.points] == [point.id for point in expected.points], said
    assert store.count(wanted) == len(expected.points), said
    some = [point.id for point in expected.points[::2]]
    assert store.count(wanted, [*some, 999_999]) == len(some), said
