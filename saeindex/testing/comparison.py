"""Comparison of a store's results with the expected results."""

# ruff: noqa: S101 - assertions for tests

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np

from saeindex.protocols import Layout, Point, SearchRequest, SparseVector, VectorStore
from saeindex.stores.base import pages
from saeindex.testing.reference_store import ReferenceStore
from saeindex.testing.sample_points import LAYOUT, sample_id, sample_points

# Tolerance of float32 sums of 8 products, or of thousands of products in any order.
TOLERANCE = 2e-6
# That of multivectors, which engines keep in a byte a number.
ROWS_TOLERANCE = 1e-2
MakeStore = Callable[[Layout], VectorStore]
Reopen = Callable[[VectorStore], VectorStore]


def all_points(store: VectorStore, page: int = 17) -> list[Point]:
    """Return every point with all its parts, in the store's id order."""
    return [point for found in pages(store, None, page, with_vectors=True) for point in found.points]


def assert_same_points(found: Sequence[Point], expected: Sequence[Point]) -> None:
    """Check that the points and their order are the same, with vectors equal up to rounding."""
    assert [point.id for point in found] == [point.id for point in expected]
    for one, other in zip(found, expected, strict=True):
        assert one.payload == other.payload, one.id
        assert set(one.vectors) == set(other.vectors), one.id
        for name, vector in one.vectors.items():
            wanted = other.vectors[name]
            if isinstance(vector, SparseVector):
                assert isinstance(wanted, SparseVector)
                assert (str(vector.indices.dtype), str(vector.values.dtype)) == ("int32", "float32")
                np.testing.assert_array_equal(vector.indices, wanted.indices)
                np.testing.assert_array_equal(vector.values, wanted.values)
            else:
                assert vector.dtype == np.float32
                tolerance = ROWS_TOLERANCE if vector.ndim == 2 else TOLERANCE
                np.testing.assert_allclose(vector, np.asarray(wanted), atol=tolerance)


def assert_same_ranking(
    store: VectorStore, reference: ReferenceStore, request: SearchRequest, tolerance: float = TOLERANCE
) -> None:
    """Check a search: number of hits, scores, order with ties by id, and that no better hit is missing.

    Where float32 rounding may swap two scores, both orders are accepted.
    """
    hits = store.search(request)
    every = reference.search(replace(request, limit=10**6, offset=0))
    scores = {point.id: point.score or 0.0 for point in every}
    expected = reference.search(request)
    assert len(hits) == len(expected)
    for hit, wanted in zip(hits, expected, strict=True):
        assert hit.score is not None
        assert wanted.score is not None
        assert abs(hit.score - scores[hit.id]) <= tolerance * max(1.0, abs(hit.score))
        assert abs(hit.score - wanted.score) <= tolerance * max(1.0, abs(hit.score))
    keys = [(-(hit.score or 0.0), isinstance(hit.id, str), hit.id) for hit in hits]
    assert keys == sorted(keys)
    assert len({hit.id for hit in hits}) == len(hits)


def assert_identical_ranking(store: VectorStore, reference: ReferenceStore, request: SearchRequest) -> None:
    """Check a search whose scores are exact in float32: the same ids in the same order."""
    found, expected = store.search(request), reference.search(request)
    assert [(hit.id, hit.score) for hit in found] == [(hit.id, hit.score) for hit in expected]
    assert [hit.payload for hit in found] == [hit.payload for hit in expected]


def store_and_reference(make_store: MakeStore, seed: int, count: int) -> tuple[VectorStore, ReferenceStore]:
    """Return a store and the reference with the same points, some of them rewritten or deleted."""
    store, reference = make_store(LAYOUT), ReferenceStore(LAYOUT)
    for target in (store, reference):
        target.upsert(sample_points(seed + 1, count))
        target.delete([sample_id(number) for number in range(0, count, 9)])
        target.upsert(sample_points(seed, count)[: count // 2])
    return store, reference
