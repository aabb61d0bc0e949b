"""The part of the conformance suite that filters, counts, facets and orders, against brute force."""

# ruff: noqa: S101, D102 - a suite of tests: asserts are its point, and names tell the behaviour

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any, Literal

import numpy as np
import pytest
from qdrant_client import models

from saeindex.errors import InvalidInputError
from saeindex.protocols import Layout, OrderBy, SearchRequest, VectorStore
from saeindex.testing.comparison import all_points, store_and_reference
from saeindex.testing.sample_filters import sample_conditions, sample_filter
from saeindex.testing.sample_points import (
    DIMENSION,
    LAYOUT,
    sample_points,
)

MakeStore = Callable[[Layout], VectorStore]
FusionMethod = Literal["rrf", "dbsf"]

AXIS = np.eye(DIMENSION, dtype=np.float32)
FACETED = ("tag", "concepts", "year", "flag")


class SelectionConformance:
    """Filters, counts, facets and scrolls; ``make_store`` comes from the subclass."""

    def test_every_kind_of_condition_selects_what_brute_force_selects(self, make_store: MakeStore) -> None:
        store, reference = store_and_reference(make_store, 11, 80)
        for name, condition in sample_conditions().items():
            for clause in ("must", "must_not", "should"):
                clauses: dict[str, Any] = {clause: [condition]}
                wanted = models.Filter(**clauses)
                found = [point.id for point in store.scroll(wanted, limit=100).points]
                expected = [point.id for point in reference.scroll(wanted, limit=100).points]
                assert found == expected, f"{clause}: {name}"
                assert store.count(wanted) == len(expected), f"{clause}: {name}"

    def test_random_trees_of_clauses_select_what_brute_force_selects(self, make_store: MakeStore) -> None:
        store, reference = store_and_reference(make_store, 12, 60)
        rng = np.random.default_rng(12)
        for _ in range(60):
            wanted = sample_filter(rng)
            found = [point.id for point in store.scroll(wanted, limit=100).points]
            expected = [point.id for point in reference.scroll(wanted, limit=100).points]
            assert found == expected, wanted.model_dump_json(exclude_none=True)

    def test_filters_that_engines_read_differently_are_refused(self, make_store: MakeStore) -> None:
        store = make_store(LAYOUT)
        match = models.MatchValue(value=1)
        deep = models.Filter(must=[models.FieldCondition(key="year", match=match)])
        for _ in range(40):
            deep = models.Filter(must=[deep])
        several = models.FieldCondition(key="year", match=match, range=models.Range(gte=1))
        none = models.MinShould(conditions=[several], min_count=0)
        nan = models.FieldCondition(key="year", range=models.Range(gte=float("nan")))
        bad: list[Any] = [
            deep,
            models.Filter(must=[several]),
            models.Filter(must=[models.FieldCondition(key="year")]),
            models.Filter(min_should=none),
            models.Filter(must=[nan]),
            models.Filter(must=[models.HasIdCondition(has_id=["abc"])]),
            {"must": []},
        ]
        for wanted in bad:
            calls: list[Callable[[Any], object]] = [
                store.count,
                store.scroll,
                lambda each: store.facet("tag", each),
                lambda each: store.delete(query_filter=each),
                lambda each: store.search(SearchRequest(AXIS[0], query_filter=each)),
            ]
            for call in calls:
                with pytest.raises(InvalidInputError):
                    call(wanted)

    def test_facets_are_true_counts_filtered_and_after_deletes(self, make_store: MakeStore) -> None:
        store, reference = store_and_reference(make_store, 31, 150)
        wanted: list[models.Filter | None] = [None]
        wanted += [models.Filter(must=[each]) for each in list(sample_conditions().values())[::4]]
        for key in FACETED:
            for query_filter in wanted:
                for limit in (1, 3, 1000):
                    found = store.facet(key, query_filter, limit)
                    assert found == reference.facet(key, query_filter, limit), (key, query_filter, limit)

    def test_facets_add_up_to_filtered_counts(self, make_store: MakeStore) -> None:
        store, _ = store_and_reference(make_store, 32, 150)
        for value, number in store.facet("concepts", limit=1000):
            has = models.FieldCondition(key="concepts", match=models.MatchValue(value=value))
            assert store.count(models.Filter(must=[has])) == number

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
        for descending in (False, True):
            for query_filter in (None, models.Filter(must=[flagged])):
                for limit in (1, 2, 5, 13, 40, 200):
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
        failures: list[BaseException] = []

        def write() -> None:
            try:
                for start in range(0, 200, 20):
                    store.upsert(points[start : start + 20])
            except BaseException as error:
                failures.append(error)

        writer = threading.Thread(target=write)
        writer.start()
        while writer.is_alive():
            store.search(SearchRequest(AXIS[0], limit=3))
            store.count()
        writer.join()
        assert not failures
        assert store.count() == 200
