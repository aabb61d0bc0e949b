"""The checks before a write: valid points, normalisation, and messages."""

from __future__ import annotations

import uuid
from types import MappingProxyType
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from saeindex.errors import InvalidInputError, InvalidPointError
from saeindex.protocols import Layout, Point, PointId, SparseVector
from saeindex.stores.point_checks import (
    MAX_BYTES,
    MAX_DEPTH,
    CheckedPoint,
    canonical_id,
    check_points,
    check_vector,
    id_order,
    payload_size,
)
from saeindex.testing.sample_points import LAYOUT, bad_points, sample_points
from saeindex.types import runs

json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**63 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)


@given(st.uuids())
def test_every_spelling_of_a_uuid_is_one_id(value: uuid.UUID) -> None:
    spellings = [str(value), str(value).upper(), value.hex, value.urn, f"{{{value}}}"]
    assert {canonical_id(spelling) for spelling in spellings} == {str(value)}


@given(st.integers(0, 2**64 - 1))
def test_unsigned_64_bit_integers_are_ids(value: int) -> None:
    assert canonical_id(value) == value


@pytest.mark.parametrize("value", [True, False, -1, 2**64, 1.0, "", "1", "abc", None, b"1", np.int64(1)])
def test_other_ids_are_refused(value: object) -> None:
    with pytest.raises(InvalidInputError):
        canonical_id(value)


def test_integers_come_before_uuids() -> None:
    ids: list[PointId] = [str(uuid.UUID(int=5)), 10, str(uuid.UUID(int=3)), 9]
    assert sorted(ids, key=id_order) == [9, 10, str(uuid.UUID(int=3)), str(uuid.UUID(int=5))]


@pytest.mark.parametrize("name", bad_points())
def test_the_error_names_the_point(name: str) -> None:
    bad = bad_points()[name]
    good = sample_points(1, 5)
    with pytest.raises(InvalidPointError) as caught:
        check_points([*good, bad, *good], LAYOUT)
    assert f"{bad.id!r:.80}" in str(caught.value)


def test_the_error_names_the_invalid_part() -> None:
    messages = {}
    for name, bad in bad_points().items():
        with pytest.raises(InvalidPointError) as caught:
            check_points([bad], LAYOUT)
        messages[name] = caught.value.found
    assert "not a finite float32" in messages["vector: beyond float32"]
    assert "'dense'" in messages["vector: zero dense"]
    assert "(7,)" in messages["vector: wrong dimension"]
    assert "2 indices and 1 values" in messages["vector: more indices than values"]
    assert "ascending" in messages["vector: duplicate indices"]
    assert "'text' holds a lone surrogate" in messages["payload: lone surrogate"]
    assert "9223372036854775808" in messages["payload: huge integer"]
    assert "'n' holds NaN" in messages["payload: NaN"]


@given(st.dictionaries(st.text(), json_values, max_size=4))
def test_every_json_object_is_a_payload(payload: dict[str, object]) -> None:
    try:
        payload_size(payload)
    except ValueError as error:
        assert "surrogate" in str(error) or "levels" in str(error)


def test_payload_limits() -> None:
    deep: dict[str, object] = {}
    for _ in range(MAX_DEPTH - 1):
        deep = {"x": deep}
    assert payload_size(deep)
    with pytest.raises(ValueError, match="levels"):
        payload_size({"x": deep})
    assert payload_size({"x": "a" * (MAX_BYTES - 20)})
    with pytest.raises(ValueError, match="bytes"):
        payload_size({"x": "é" * (MAX_BYTES // 2)})


def test_payloads_may_be_mappings_tuples_and_numpy_floats() -> None:
    payload = MappingProxyType({"a": (1, 2), "b": np.float64(0.5)})
    (checked,) = check_points([Point(1, {}, payload)], LAYOUT)
    assert checked.payload.items() >= {"a": (1, 2), "b": 0.5}.items()


@given(arrays(np.float32, (3, 5), elements=st.floats(-(2.0**100), 2.0**100, width=32)))
def test_dense_vectors_become_unit_vectors(rows: np.ndarray) -> None:
    layout = Layout({"dense": 5})
    points = [Point(n, {"dense": row}) for n, row in enumerate(rows) if row.any()]
    for point, checked in zip(points, check_points(points, layout), strict=True):
        exact = np.asarray(point.vectors["dense"], dtype=np.float64)
        np.testing.assert_allclose(checked.vectors["dense"], exact / np.linalg.norm(exact), atol=1e-7)


def test_unit_vectors_stay_bit_for_bit() -> None:
    rng = np.random.default_rng(1)
    rows = rng.standard_normal((50, 384)).astype(np.float32)
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    checked = check_points([Point(n, {"dense": row}) for n, row in enumerate(rows)], Layout({"dense": 384}))
    assert [point.vectors["dense"] for point in checked] == rows.tolist()


def test_a_checked_point_does_not_share_the_callers_arrays() -> None:
    values = np.full(8, 3.0, dtype=np.float32)
    check_points([Point(1, {"dense": values})], LAYOUT)
    check_vector(values, "dense", LAYOUT)
    assert (values == 3.0).all()


def test_queries_are_checked_like_points() -> None:
    sparse = SparseVector(np.array([1, 5], dtype=np.int32), np.array([-1.0, 2.0], dtype=np.float32))
    assert check_vector(sparse, "sae", LAYOUT) == ([1, 5], [-1.0, 2.0])
    assert check_vector([2.0] + [0.0] * 7, "dense", LAYOUT) == [1.0] + [0.0] * 7
    with pytest.raises(InvalidInputError, match="vectors"):
        check_vector(sparse, "other", LAYOUT)
    with pytest.raises(InvalidInputError, match="dense"):
        check_vector(sparse, "dense", LAYOUT)
    with pytest.raises(InvalidInputError, match="sparse"):
        check_vector([1.0] * 8, "sae", LAYOUT)


def test_runs_keep_order_and_limits() -> None:
    points = [CheckedPoint(n, {}, {}, size=size) for n, size in enumerate([5, 5, 5, 50, 1, 1, 1, 1])]
    assert [[point.id for point in run] for run in runs(points, lambda one: one.size, 10, 3)] == [
        [0, 1],
        [2],
        [3],
        [4, 5, 6],
        [7],
    ]
    assert list(runs([], len, 10, 3)) == []


@pytest.mark.parametrize("empty", [[], np.zeros((0, 3), np.float32)], ids=["a list", "an array"])
def test_a_multivector_without_rows_is_left_out(empty: Any) -> None:
    (checked,) = check_points([Point(1, {"many": empty})], Layout({}, multi={"many": 3}))
    assert checked.vectors == {}
