"""Faults of Qdrant Edge without EdgeStore: disk, batches and processes (hazards 5 to 9).

One test or more for each hazard; EdgeStore must remove it.
"""

from __future__ import annotations

import multiprocessing
import os
import shutil
import signal
import subprocess
import sys
from collections import namedtuple
from pathlib import Path
from typing import Any

import pytest

from saeindex.errors import IndexLockedError, InvalidPointError, StorageError
from saeindex.protocols import Point, SearchRequest
from saeindex.stores import edge
from saeindex.stores.edge import EdgeStore
from tests.stores.conftest import LAYOUT, ONES


def _run(script: str, *arguments: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", script, *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)


# 5. A full disk kills the process with SIGBUS.


def test_5_a_batch_that_may_not_fit_on_the_disk_is_refused(
    store: EdgeStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage(2**40, 2**40 - 2**20, 2**20))
    with pytest.raises(StorageError, match=r"1 MiB free .*Free some space"):
        store.upsert([Point(1, {"dense": ONES})])
    with pytest.raises(StorageError, match="free"):
        store.delete([1])
    with pytest.raises(StorageError, match="free"):
        EdgeStore.create(store._directory.root.parent / "other", LAYOUT)
    monkeypatch.undo()
    assert store.count() == 0
    EdgeStore.create(store._directory.root.parent / "other", LAYOUT).close()


# 6. Data that is not flushed can be lost.


KILLED = """
import os, signal, sys
from saeindex.protocols import Layout, Point
from saeindex.stores.edge import EdgeStore
store = EdgeStore.create(sys.argv[1], Layout({"dense": 4}, ("sae",), {"group": "integer"}))
points = [Point(n, {"dense": [1.0, n, 0.0, 1.0]}, {"group": n % 7}) for n in range(300)]
for start in range(0, 300, 100):
    store.upsert(points[start : start + 100])
store.delete([0, 1])
store.write_manifest({"acknowledged": 300})
print("acknowledged", flush=True)
os.kill(os.getpid(), signal.SIGKILL)
"""


def test_6_acknowledged_writes_survive_kill_9_and_the_lock_does_not(index_path: Path) -> None:
    ended = _run(KILLED, index_path / "index")
    assert ended.stdout == "acknowledged\n", ended.stderr
    assert ended.returncode == -signal.SIGKILL
    with EdgeStore.open(index_path / "index") as store:
        assert store.count() == 298
        assert store.read_manifest() == {"acknowledged": 300}
        assert [point.id for point in store.scroll(limit=1000).points] == list(range(2, 300))
        assert sum(number for _, number in store.facet("group")) == 298


def test_6_the_data_that_a_power_cut_could_lose_is_bounded(
    store: EdgeStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    flushed: list[int] = []
    flush = store._flush

    def recorded() -> None:
        flushed.append(store._unflushed)
        flush()

    monkeypatch.setattr(store, "_flush", recorded)
    monkeypatch.setattr(edge, "FLUSH_EVERY", 50)
    monkeypatch.setattr(edge, "CHUNK_POINTS", 20)
    store.upsert([Point(n, {"dense": ONES}) for n in range(130)])
    assert flushed == [60, 60]
    store.close()
    assert flushed == [60, 60, 10]


# 7. A batch that fails is half written.


def test_7_a_batch_with_one_bad_point_writes_nothing(store: EdgeStore) -> None:
    points = [Point(n, {"dense": ONES}) for n in range(100)]
    with pytest.raises(InvalidPointError, match="point 100"):
        store.upsert([*points, Point(100, {"dense": ONES[:3]})])
    assert store.count() == 0


# 8. After a fork the child hangs.


def _in_child(store: EdgeStore, answers: Any) -> None:
    for call in (store.count, lambda: store.upsert([Point(1)]), lambda: store.search(SearchRequest(ONES))):
        try:
            call()
            answers.put("it worked")
        except StorageError as error:
            answers.put(str(error))
    store.close()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork here")
def test_8_a_forked_child_is_refused_and_the_parent_continues(store: EdgeStore, index_path: Path) -> None:
    store.upsert([Point(1, {"dense": ONES})])
    context = multiprocessing.get_context("fork")
    answers = context.Queue()
    child = context.Process(target=_in_child, args=(store, answers))
    child.start()
    found = [answers.get(timeout=30) for _ in range(3)]
    child.join(30)
    assert child.exitcode == 0
    assert all("forked" in text and "spawn" in text for text in found)
    store.upsert([Point(2, {"dense": ONES})])
    with pytest.raises(IndexLockedError):
        EdgeStore.open(index_path / "index")
    store.close()
    with EdgeStore.open(index_path / "index") as again:
        assert again.count() == 2


FORKED = """
import os, sys
from saeindex.protocols import Layout, Point
from saeindex.stores.edge import EdgeStore
store = EdgeStore.create(sys.argv[1], Layout({"dense": 4}))
store.upsert([Point(1, {"dense": [1.0, 0.0, 0.0, 0.0]})])
if os.fork() == 0:
    sys.exit(0)  # a full interpreter shutdown, with the store still referenced
os.wait()
print(store.count())
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork here")
def test_8_a_forked_child_that_has_the_store_can_exit(index_path: Path) -> None:
    ended = _run(FORKED, index_path / "index")
    assert (ended.returncode, ended.stdout) == (0, "1\n"), ended.stderr


# 9. The engine reports its lock as an error of its log.


OPENED = """
import sys
from saeindex.errors import IndexLockedError
from saeindex.stores.edge import EdgeStore
try:
    EdgeStore.open(sys.argv[1])
except IndexLockedError as error:
    print(error)
"""


def test_9_the_error_in_a_second_process_names_the_owner_of_the_index(
    store: EdgeStore, index_path: Path
) -> None:
    ended = _run(OPENED, index_path / "index")
    assert f"process {os.getpid()} has it open" in ended.stdout, ended.stderr


def test_9_a_second_open_in_the_same_process_is_refused(store: EdgeStore, index_path: Path) -> None:
    with pytest.raises(IndexLockedError, match="this process has it open"):
        EdgeStore.open(index_path / "index")
    assert store.count() == 0
    store.close()
    EdgeStore.open(index_path / "index").close()
