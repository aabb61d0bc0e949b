"""Faults of Qdrant Edge without EdgeStore: values, errors and searches (hazards 1 to 4).

One test or more for each hazard; EdgeStore must remove it. Hazards 5 to 9 are in test_edge_process_hazards.
"""

from __future__ import annotations

import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from qdrant_client import models

from saeindex.errors import DamageError, InvalidPointError, StorageError
from saeindex.protocols import Layout, Point, SearchRequest, SparseVector
from saeindex.stores import edge
from saeindex.stores.edge import EdgeStore
from saeindex.stores.point_checks import CheckedPoint
from tests.stores.conftest import ONES


def _sparse(indices: list[int], values: list[float]) -> SparseVector:
    return SparseVector(np.array(indices, dtype=np.int32), np.array(values, dtype=np.float32))


# 1. After a malformed sparse vector a shard can never be opened again.


def test_1_a_malformed_sparse_vector_never_reaches_the_engine(store: EdgeStore, index_path: Path) -> None:
    store.upsert([Point(1, {"dense": ONES})])
    with pytest.raises(InvalidPointError, match=r"point 2.*2 indices and 1 values"):
        store.upsert([Point(2, {"sae": _sparse([1, 2], [1.0])})])
    store.close()
    with EdgeStore.open(index_path / "index") as again:
        assert again.count() == 1


# 2. Errors are bare exceptions; panics are not of type Exception, and leave the shard undefined.


def test_2_a_panic_becomes_a_storage_error_and_the_store_stops(store: EdgeStore, index_path: Path) -> None:
    store.upsert([Point(1, {"dense": ONES})])
    store.flush()
    malformed = CheckedPoint(2, {"sae": ([1, 2], [1.0])}, {}, 0)
    with pytest.raises(StorageError, match="crashed"):
        store._run("upsert", lambda: store._upsert([malformed]))
    with pytest.raises(StorageError, match="open it again"):
        store.count()
    store.close()
    with pytest.raises(DamageError, match=r"Restore it from a backup"):
        EdgeStore.open(index_path / "index")


def test_2_a_bare_exception_becomes_a_storage_error(
    store: EdgeStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise Exception("Service runtime error: something\nwith a second line")

    monkeypatch.setattr(edge, "_counted", fail)
    with pytest.raises(StorageError, match="the engine refused: Service runtime error: something"):
        store.count()


def test_2_deliberate_python_exceptions_pass_through(
    store: EdgeStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(edge, "_counted", interrupt)
        with pytest.raises(KeyboardInterrupt):
            store.count()
    assert store.count() == 0


# 3. Every call holds the GIL.


def test_3_the_documentation_says_that_calls_hold_the_gil() -> None:
    text = EdgeStore.__doc__ or ""
    assert "GIL" in text
    assert "worker process" in text


# 4. With HNSW, filtered searches lose results silently.


def _filtered_ids(store: EdgeStore, query: Any, group: int, exact: bool) -> list[Any]:
    has = models.FieldCondition(key="group", match=models.MatchValue(value=group))
    wanted = models.Filter(must=[has])
    return [hit.id for hit in store.search(SearchRequest(query, query_filter=wanted, exact=exact))]


def test_4_filtered_searches_equal_brute_force_with_an_hnsw_graph(
    index_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(edge, "INDEXING_THRESHOLD_KB", 1)
    rng = np.random.default_rng(4)
    vectors = rng.standard_normal((1500, 32)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    with EdgeStore.create(index_path / "hnsw", Layout({"dense": 32}, (), {"group": "integer"})) as store:
        store.upsert([Point(n, {"dense": vectors[n]}, {"group": n % 50}) for n in range(1500)])
        assert store.optimize()
        assert store._shard.info().indexed_vectors_count > 0
        for group in range(10):
            query = rng.standard_normal(32).astype(np.float32)
            scores = vectors @ query
            members = [n for n in range(1500) if n % 50 == group]
            best = sorted(members, key=lambda n: -scores[n])[:10]
            assert _filtered_ids(store, query, group, exact=False) == best


def test_4_no_graph_is_ever_built(store: EdgeStore) -> None:
    rng = np.random.default_rng(5)
    store.upsert([Point(n, {"dense": rng.standard_normal(4, np.float32)}) for n in range(3000)])
    store.delete(list(range(0, 3000, 2)))
    store.optimize()
    assert store._shard.info().indexed_vectors_count == 0
    assert store.count() == 1500


def test_4_searches_request_an_exact_scan(store: EdgeStore, monkeypatch: pytest.MonkeyPatch) -> None:
    import qdrant_edge

    exact_values: list[bool] = []
    parameters = qdrant_edge.SearchParams

    def recorded(exact: bool, **others: Any) -> Any:
        exact_values.append(exact)
        return parameters(exact=exact, **others)

    monkeypatch.setattr(qdrant_edge, "SearchParams", recorded)
    store.search(SearchRequest(ONES))
    store.search(SearchRequest(ONES, exact=False))
    _filtered_ids(store, ONES, 1, exact=False)
    assert exact_values == [True, False, True]


# Another one, found later: Edge reads Python's True as the integer 1.


def test_a_filter_on_true_does_not_find_1(store: EdgeStore) -> None:
    store.upsert([Point(1, {}, {"flag": True}), Point(2, {}, {"flag": 1})])
    for value, found in ((True, [1]), (1, [2]), (False, [])):
        has = models.FieldCondition(key="flag", match=models.MatchValue(value=value))
        assert [point.id for point in store.scroll(models.Filter(must=[has])).points] == found


# An assumption of facets: the engine's approximate counts are exact on one shard.


def test_facets_are_correct_after_segments_deletes_and_rewrites(store: EdgeStore, index_path: Path) -> None:
    rng = np.random.default_rng(6)
    groups: dict[int, list[int]] = {}

    def write(numbers: range) -> None:
        points = []
        for number in numbers:
            groups[number] = sorted({int(group) for group in rng.integers(0, 200, 12)})
            points.append(
                Point(number, {"dense": rng.standard_normal(4, np.float32)}, {"group": groups[number]})
            )
        store.upsert(points)

    def check(opened: EdgeStore) -> None:
        counts = Counter(group for values in groups.values() for group in values)
        expected = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
        assert opened.facet("group", limit=1000) == expected
        assert opened.facet("group", limit=7) == expected[:7]

    write(range(3000))
    store.delete(list(range(1500)))
    for number in range(1500):
        del groups[number]
    assert store.optimize()
    check(store)
    write(range(1000, 2000))
    check(store)
    store.close()
    with EdgeStore.open(index_path / "index") as again:
        check(again)


# Another one: after `optimize` and a kill, the log was replayed over the new files, and facets counted twice.


def test_a_kill_after_making_files_leaves_facets_right(tmp_path: Path) -> None:
    program = """
import os, sys
import numpy as np
from saeindex.protocols import Layout, Point
from saeindex.stores.edge import EdgeStore
vectors = np.random.default_rng(0).standard_normal((15_000, 384)).astype(np.float32)
store = EdgeStore.create(sys.argv[1], Layout({"dense": 384}, payload_indexes={"group": "integer"}))
for at in range(0, len(vectors), 1_000):
    store.upsert([Point(n, {"dense": vectors[n]}, {"group": n % 5}) for n in range(at, at + 1_000)])
assert store.optimize()
os._exit(9)
"""
    done = subprocess.run([sys.executable, "-c", program, str(tmp_path / "index")], check=False)
    assert done.returncode == 9
    with EdgeStore.open(tmp_path / "index") as store:
        assert store.facet("group") == [(group, 3_000) for group in range(5)]
