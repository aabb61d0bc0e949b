"""Counting conditions: a bounded form is equal to its condition, and costs little."""

from __future__ import annotations

import itertools
import time
from typing import Any

import numpy as np
import pytest
from qdrant_client import models

from saeindex.errors import InvalidInputError
from saeindex.protocols import Point
from saeindex.stores.edge import EdgeStore
from saeindex.stores.filters import MAX_COST, bounded, cost
from saeindex.testing.reference_store import matches
from tests.stores.conftest import ONES


def has(value: int) -> models.FieldCondition:
    return models.FieldCondition(key="group", match=models.MatchValue(value=value))


def at_least(count: int, conditions: list[Any]) -> models.Filter:
    return models.Filter(min_should=models.MinShould(conditions=conditions, min_count=count))


def having(groups: Any) -> Point:
    return Point(1, {}, {"group": [int(group) for group in groups]})


@pytest.mark.parametrize(("count", "n"), [(k, n) for n in (1, 4, 7, 9) for k in range(1, n + 2)])
def test_a_bounded_form_matches_the_same_records(count: int, n: int) -> None:
    given = at_least(count, [has(value) for value in range(n)])
    form = bounded(given)
    for size in range(n + 1):
        for groups in itertools.combinations(range(n), size):
            assert matches(form, having(groups)) == matches(given, having(groups)) == (size >= count)


def test_other_clauses_and_nested_counts_stay() -> None:
    rng = np.random.default_rng(0)
    inner = at_least(3, [has(value) for value in range(8)])
    outer = at_least(2, [inner, has(8), models.Filter(must_not=[has(9)]), has(10), has(11), has(12)])
    given = models.Filter(
        must=[outer], should=[has(1), has(13)], must_not=has(14), min_should=inner.min_should
    )
    form = bounded(given)
    drawn = [having(np.flatnonzero(rng.random(15) < 0.5)) for _ in range(2_000)]
    assert 20 < sum(matches(given, point) for point in drawn) < 1_980
    assert all(matches(form, point) == matches(given, point) for point in drawn)


def test_twelve_of_twenty_four_cost_the_engine_little(store: EdgeStore) -> None:
    rng = np.random.default_rng(1)
    sets = [np.flatnonzero(rng.random(24) < 0.5) for _ in range(500)]
    rows = [Point(i, {"dense": ONES}, {"group": own.tolist()}) for i, own in enumerate(sets)]
    store.upsert(rows)
    started = time.perf_counter()
    found = store.count(at_least(12, [has(value) for value in range(24)]))
    assert found == sum(len(own) >= 12 for own in sets)
    # In the engine's own form: 28 seconds, and 4.7 GB.
    assert time.perf_counter() - started < 3


def test_what_has_no_cheap_form_is_refused_at_once(store: EdgeStore) -> None:
    started = time.perf_counter()
    for count, n in ((15, 30), (50, 100), (500, 1_000), (900, 2_000)):
        with pytest.raises(InvalidInputError, match=f"at least {count} of {n} conditions"):
            store.count(at_least(count, [has(value) for value in range(n)]))
    assert time.perf_counter() - started < 3


def test_heavy_conditions_count_as_many() -> None:
    many = models.FieldCondition(key="group", match=models.MatchAny(any=list(range(1_000))))
    assert cost(20, 10) <= MAX_COST
    with pytest.raises(InvalidInputError):
        bounded(at_least(10, [many] * 20))
    inner = at_least(8, [has(value) for value in range(16)])
    with pytest.raises(InvalidInputError):
        bounded(at_least(5, [inner] * 10))
