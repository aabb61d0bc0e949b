"""One suite for every vector store: subclass :class:`VectorStoreConformance` in your tests.

class TestMyStore(VectorStoreConformance):
    @pytest.fixture
    def make_store(self, tmp_path):
        stores = []

        def make(layout):
            stores.append(MyStore.create(tmp_path / str(len(stores)), layout))
            return stores[-1]

        yield make
        for store in stores:
            store.close()

    @pytest.fixture
    def reopen(self):
        def again(store):
            store.close()
            return MyStore.open(store.path)

        return again
"""

# ruff: noqa: S101, D102 - a suite of tests: asserts are its point, and names tell the behaviour

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from saeindex.protocols import SearchRequest, VectorStore
from saeindex.testing.comparison import (
    ROWS_TOLERANCE,
    MakeStore,
    Reopen,
    all_points,
    assert_identical_ranking,
    assert_same_points,
    assert_same_ranking,
)
from saeindex.testing.conformance_reads import FACETED, ReadConformance
from saeindex.testing.conformance_writes import WriteConformance
from saeindex.testing.reference_store import ReferenceStore
from saeindex.testing.sample_filters import sample_filter
from saeindex.testing.sample_points import (
    LAYOUT,
    sample_dense,
    sample_id,
    sample_point,
    sample_rows,
    sample_sparse,
)

NUMBERS = 40


class VectorStoreConformance(WriteConformance, ReadConformance):
    """The requirements of every :class:`saeindex.protocols.VectorStore`."""

    @pytest.fixture
    def make_store(self) -> Any:
        """Return a function from a layout to an empty store; override it."""
        raise NotImplementedError("override the fixture make_store")

    @pytest.fixture
    def reopen(self) -> Any:
        """Return a function that closes a store and opens it again; override it."""
        raise NotImplementedError("override the fixture reopen")

    @pytest.mark.parametrize("seed", [41, 42, 43])
    def test_random_operations_leave_what_the_reference_holds(
        self, make_store: MakeStore, reopen: Reopen, seed: int
    ) -> None:
        rng = np.random.default_rng(seed)
        store, reference = make_store(LAYOUT), ReferenceStore(LAYOUT)
        for step in range(50):
            _change(rng, (store, reference))
            _compare(rng, store, reference)
            if step % 25 == 24:
                store = reopen(store)
        assert_same_points(all_points(store), all_points(reference))


def _change(rng: np.random.Generator, targets: tuple[VectorStore, ReferenceStore]) -> None:
    """Do the same random write to both."""
    draw = rng.random()
    points = [sample_point(rng, int(rng.integers(NUMBERS))) for _ in range(rng.integers(1, 9))]
    ids = [sample_id(int(number)) for number in rng.integers(NUMBERS, size=3)]
    wanted = sample_filter(rng, depth=0)
    for target in targets:
        if draw < 0.6:
            target.upsert(points)
        elif draw < 0.7:
            target.set_payload({point.id: point.payload for point in points})
        elif draw < 0.9:
            target.delete(ids)
        else:
            target.delete(query_filter=wanted)


def _compare(rng: np.random.Generator, store: VectorStore, reference: ReferenceStore) -> None:
    """Check one random read, and the count."""
    wanted = sample_filter(rng, depth=1) if rng.random() < 0.5 else None
    assert store.count(wanted) == reference.count(wanted)
    match rng.integers(5):
        case 0:
            assert_identical_ranking(store, reference, SearchRequest(sample_sparse(rng), "sae", 7, 1, wanted))
        case 1:
            assert_same_ranking(store, reference, SearchRequest(sample_dense(rng), "dense", 7, 1, wanted))
        case 2:
            rows = sample_rows(rng, int(rng.integers(1, 3)))
            for query in (rows, rows[0]):
                request = SearchRequest(query, "sentences", 7, 1, wanted)
                assert_same_ranking(store, reference, request, ROWS_TOLERANCE)
        case 3:
            key = FACETED[int(rng.integers(len(FACETED)))]
            assert store.facet(key, wanted, 4) == reference.facet(key, wanted, 4)
        case _:
            ids = [sample_id(int(number)) for number in rng.integers(NUMBERS, size=5)]
            found, expected = (each.get(ids, with_vectors=True) for each in (store, reference))
            assert_same_points(found, expected)
