"""A store under test beside the reference, holding the same points."""

from __future__ import annotations

from collections.abc import Callable

from saeindex.protocols import Layout, VectorStore
from saeindex.testing.reference_store import ReferenceStore
from saeindex.testing.sample_points import LAYOUT, sample_id, sample_points

MakeStore = Callable[[Layout], VectorStore]


def store_and_reference(make_store: MakeStore, seed: int, count: int) -> tuple[VectorStore, ReferenceStore]:
    """Return a store and the reference, with the same points, some of them rewritten and deleted."""
    store, reference = make_store(LAYOUT), ReferenceStore(LAYOUT)
    for target in (store, reference):
        target.upsert(sample_points(seed + 1, count))
        target.delete([sample_id(number) for number in range(0, count, 9)])
        target.upsert(sample_points(seed, count)[: count // 2])
    return store, reference
