"""Filters that the conformance suite does not cover: locations, limits, and what Edge lacks."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from qdrant_client import QdrantClient, models

from saeindex.errors import InvalidInputError
from saeindex.protocols import Layout, Point
from saeindex.stores.base import BaseStore
from saeindex.stores.edge import EdgeStore
from saeindex.stores.filters import as_filter, restricts
from saeindex.stores.qdrant import QdrantStore

LAYOUT = Layout({"dense": 2}, (), {"tag": "keyword"})
PLACES = {1: (13.4, 52.5), 2: (2.35, 48.85), 3: (-179.9, 10.0), 4: (179.9, 10.0)}


@pytest.fixture(params=["edge", "local"])
def store(request: pytest.FixtureRequest, index_path: Path) -> Iterator[BaseStore]:
    opened: BaseStore
    if request.param == "edge":
        opened = EdgeStore.create(index_path, LAYOUT)
    else:
        opened = QdrantStore.create(QdrantClient(":memory:"), "c", LAYOUT, owns_client=True)
    opened.upsert(
        [
            Point(n, {}, {"place": {"lon": lon, "lat": lat}, "tag": f"tag-{n}"})
            for n, (lon, lat) in PLACES.items()
        ]
    )
    yield opened
    opened.close()


def _ids(store: BaseStore, **test: Any) -> list[Any]:
    wanted = models.Filter(must=[models.FieldCondition(**test)])
    return [point.id for point in store.scroll(wanted).points]


def _point(lon: float, lat: float) -> models.GeoPoint:
    return models.GeoPoint(lon=lon, lat=lat)


def test_results_name_the_conditions_of_a_filter(store: BaseStore) -> None:
    box = models.GeoBoundingBox(top_left=_point(0, 50), bottom_right=_point(10, 40))
    pacific = models.GeoBoundingBox(top_left=_point(170, 20), bottom_right=_point(-170, 0))
    circle = models.GeoRadius(center=_point(13.0, 52.0), radius=100_000)
    ring = [_point(0, 40), _point(20, 40), _point(20, 60), _point(0, 60), _point(0, 40)]
    hole = [_point(10, 50), _point(15, 50), _point(15, 55), _point(10, 55), _point(10, 50)]
    polygon = models.GeoPolygon(
        exterior=models.GeoLineString(points=ring), interiors=[models.GeoLineString(points=hole)]
    )
    assert _ids(store, key="place", geo_bounding_box=box) == [2]
    assert _ids(store, key="place", geo_bounding_box=pacific) == [3, 4]
    assert _ids(store, key="place", geo_radius=circle) == [1]
    assert _ids(store, key="place", geo_polygon=polygon) == [2]


@pytest.mark.skipif(not hasattr(models, "MatchPrefix"), reason="this client has no such match")
def test_prefix_and_substring(store: BaseStore) -> None:
    assert _ids(store, key="tag", match=models.MatchPrefix(prefix="tag-")) == [1, 2, 3, 4]
    assert _ids(store, key="tag", match=models.MatchPrefix(prefix="ag-")) == []
    assert _ids(store, key="tag", match=models.MatchSubstring(substring="g-3")) == [3]


def test_a_clause_may_be_a_single_condition(store: BaseStore) -> None:
    has = models.FieldCondition(key="tag", match=models.MatchValue(value="tag-2"))
    assert store.count(models.Filter(must=has)) == 1
    assert store.count(models.Filter(must_not=has)) == 3
    assert store.count(models.Filter(should=has)) == 1
    assert store.count(models.Filter()) == 4
    assert store.count(models.Filter(must=[], should=[], must_not=[])) == 4


def test_a_condition_with_two_tests_is_refused(store: BaseStore) -> None:
    both = models.FieldCondition(key="tag", match=models.MatchValue(value="tag-1"), is_empty=True)
    with pytest.raises(InvalidInputError, match=r"2 tests.*its own FieldCondition"):
        store.count(models.Filter(must=[both]))


def test_values_that_no_engine_accepts_are_invalid_input(store: BaseStore) -> None:
    if isinstance(store, QdrantStore):
        pytest.skip("local mode accepts them")
    for test in (
        {"key": "a[", "match": models.MatchValue(value=1)},
        {"key": "a", "match": models.MatchValue(value=2**63)},
        {"key": "a", "match": models.MatchValue(value="\ud800")},
        {"key": "a", "geo_radius": models.GeoRadius(center=_point(500, 0), radius=1.0)},
    ):
        with pytest.raises(InvalidInputError):
            _ids(store, **test)


@pytest.mark.skipif(not hasattr(models, "SliceCondition"), reason="this client has no such condition")
def test_conditions_that_edge_lacks_are_reported(index_path: Path) -> None:
    part = models.SliceCondition(slice=models.Slice(total=2, index=0))
    with (
        EdgeStore.create(index_path, LAYOUT) as store,
        pytest.raises(InvalidInputError, match="SliceCondition"),
    ):
        store.count(models.Filter(must=[part]))


def test_json_that_is_too_deep_or_too_large_is_refused_before_it_is_validated() -> None:
    deep: dict[str, Any] = {"must": [{"is_empty": {"key": "a"}}]}
    for _ in range(5_000):
        deep = {"must": [deep]}
    wide = {"must": [{"key": "a", "match": {"valu": n}} for n in range(100_000)]}
    for given in (deep, wide):
        started = time.process_time()
        with pytest.raises(
            InvalidInputError, match=r"nested more than 32 levels deep, or has more than 2,000"
        ):
            as_filter(given)
        assert time.process_time() - started < 1


def test_a_filter_with_many_values_is_no_large_filter() -> None:
    found = as_filter({"must": [{"key": "a", "match": {"any": list(range(100_000))}}]})
    assert found is not None


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({"must": [{}, {"key": "n", "match": {"value": 1}}]}, True),
        ({"must_not": [{}]}, True),  # of no point
        ({"should": [{"key": "n", "match": {"value": 1}}, {"key": "m", "match": {"value": 1}}]}, True),
        ({"min_should": {"conditions": [{}, {"key": "n", "match": {"value": 1}}], "min_count": 2}}, True),
        ({"min_should": {"conditions": [{}, {"key": "n", "match": {"value": 1}}], "min_count": 1}}, False),
        ({"should": []}, False),
        ({"must": {"should": []}}, False),
    ],
)
def test_what_a_filter_can_leave_out_is_told(given: dict[str, Any], expected: bool) -> None:
    assert restricts(as_filter(given)) is expected
