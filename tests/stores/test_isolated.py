"""The engine in a process of its own: what would end its caller is an error, and no write is lost."""

from __future__ import annotations

import enum
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
import pytest
from qdrant_client import models

from saeindex.errors import EngineDiedError, IndexLockedError, InvalidInputError, StorageError
from saeindex.protocols import Layout, Point, SearchRequest
from saeindex.stores import open_store
from saeindex.stores.edge import EdgeStore
from saeindex.stores.engine_process import packed, unpacked
from saeindex.stores.isolated import IsolatedStore
from saeindex.testing.sample_filters import sample_conditions
from tests.stores.conftest import LAYOUT, ONES

WIDE = Layout({"dense": 256}, ("sae",), {"group": "integer"})


@pytest.fixture
def isolated(index_path: Path) -> Iterator[IsolatedStore]:
    store = IsolatedStore.create(index_path / "index", LAYOUT)
    store.upsert([Point(n, {"dense": ONES}, {"group": n % 3}) for n in range(30)])
    yield store
    store.close()


def _run(script: str, *arguments: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", script, *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)


def _until_free(path: Path) -> EdgeStore:
    for _ in range(100):
        try:
            return EdgeStore.open(path)
        except IndexLockedError:
            time.sleep(0.1)
    raise AssertionError("the index stays locked")


# Death ------------------------------------------------------------------------------------------------


def test_a_killed_engine_is_a_typed_error_and_what_was_acknowledged_is_there(
    isolated: IsolatedStore, index_path: Path
) -> None:
    os.kill(isolated.pid, signal.SIGKILL)
    with pytest.raises(EngineDiedError, match=r"search in .*died of SIGKILL.*Open it again") as caught:
        isolated.search(SearchRequest(ONES))
    assert isinstance(caught.value, StorageError)
    with pytest.raises(EngineDiedError, match=r"crashed in an earlier call.*open it again"):
        isolated.count()
    isolated.close()
    with IsolatedStore.open(index_path / "index") as again:
        assert again.count() == 30


def test_a_file_that_is_cut_off_under_the_engine_is_an_error_and_ends_an_engine_in_this_process(
    index_path: Path,
) -> None:
    rng = np.random.default_rng(0)
    path = index_path / "index"
    with IsolatedStore.create(path, WIDE) as store:
        store.upsert([Point(n, {"dense": row}) for n, row in enumerate(rng.normal(size=(3000, 256)))])
        store.flush()
        _cut_off_vectors(path)
        with pytest.raises(EngineDiedError, match="died of SIGBUS: the disk is full, or a file"):
            store.search(SearchRequest(np.ones(256, np.float32)))
    script = f"""
import numpy as np
from saeindex.protocols import Layout, Point, SearchRequest
from saeindex.stores.edge import EdgeStore
from pathlib import Path
from tests.stores.test_isolated import WIDE, _cut_off_vectors
path = Path({str(index_path / "other")!r})
store = EdgeStore.create(path, WIDE)
rng = np.random.default_rng(0)
store.upsert([Point(n, {{"dense": row}}) for n, row in enumerate(rng.normal(size=(3000, 256)))])
store.flush()
_cut_off_vectors(path)
store.search(SearchRequest(np.ones(256, np.float32)))
"""
    assert _run(script).returncode == -signal.SIGBUS


def _cut_off_vectors(path: Path) -> None:
    for file in path.glob("points/segments/*/vector_storage*/**/*"):
        if file.is_file() and file.stat().st_size > 2**20:
            os.truncate(file, 4096)


# Processes --------------------------------------------------------------------------------------------


def test_the_lock_names_the_process_that_opened_the_index(isolated: IsolatedStore, index_path: Path) -> None:
    with pytest.raises(IndexLockedError, match="this process has it open"):
        EdgeStore.open(index_path / "index")
    with pytest.raises(IndexLockedError, match="this process has it open"):
        IsolatedStore.open(index_path / "index")
    assert isolated.count() == 30


ABANDONED = """
import os, signal, sys
from saeindex.protocols import Layout, Point
from saeindex.stores.isolated import IsolatedStore
store = IsolatedStore.create(sys.argv[1], Layout({"dense": 4}))
store.upsert([Point(1, {"dense": [1.0, 0.0, 0.0, 0.0]})])
if sys.argv[2] == "forks" and os.fork() == 0:
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    os.dup2(1, 2)
    import time
    time.sleep(30)
if sys.argv[2] != "ends":
    os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.mark.parametrize("how", ["ends", "is killed", "forks"])
def test_an_engine_ends_with_the_process_that_opened_it(index_path: Path, how: str) -> None:
    ended = _run(ABANDONED, index_path / "index", how)
    assert ended.returncode == (0 if how == "ends" else -signal.SIGKILL), ended.stderr
    with _until_free(index_path / "index") as store:
        assert store.count() == 1


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork here")
def test_a_forked_child_is_refused_and_the_parent_continues(isolated: IsolatedStore) -> None:
    reading, writing = os.pipe()
    if (child := os.fork()) == 0:
        try:
            isolated.count()
        except StorageError as error:
            os.write(writing, str(error).encode())
        finally:
            isolated.close()
            os._exit(0)
    os.waitpid(child, 0)
    assert b"forked" in os.read(reading, 1000)
    assert isolated.count() == 30


def test_an_interrupt_ends_the_wait_and_the_next_answer_is_the_right_one(isolated: IsolatedStore) -> None:
    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGALRM, interrupt)
    os.kill(isolated.pid, signal.SIGSTOP)
    try:
        signal.setitimer(signal.ITIMER_REAL, 0.2)
        with pytest.raises(KeyboardInterrupt):
            isolated.get([1, 2, 3])
    finally:
        signal.signal(signal.SIGALRM, before)
        os.kill(isolated.pid, signal.SIGCONT)
    assert isolated.get([5])[0].payload == {"group": 2}


def test_a_server_needs_no_isolation() -> None:
    with pytest.raises(InvalidInputError, match="process of its own already"):
        open_store("papers", url="http://127.0.0.1:1", isolated=True)


# Messages ---------------------------------------------------------------------------------------------


class _Colour(enum.StrEnum):
    RED = "red"


@pytest.mark.parametrize(
    ("value", "read"),
    [
        ((1, (2.5, None)), (1, (2.5, None))),
        ({"a": [True, "\udcff"]}, {"a": [True, "\udcff"]}),
        (_Colour.RED, "red"),
        (np.float32(0.5), 0.5),
        (np.int64(7), 7),
        (MappingProxyType({"a": 1}), {"a": 1}),
        (2**64 - 1, 2**64 - 1),
        (float("inf"), float("inf")),
    ],
)
def test_a_message_is_read_as_it_was_sent(value: Any, read: Any) -> None:
    found = unpacked(packed(value))
    assert (found, type(found)) == (read, type(read))


@pytest.mark.parametrize("name", sorted(sample_conditions()))
def test_a_filter_is_read_as_it_was_sent(name: str) -> None:
    one = sample_conditions()[name]
    few = models.MinShould(conditions=[one, _is(True), _is(1), _is("1")], min_count=2)
    sent = models.Filter(must=[one, models.Filter(min_should=few)], must_not=[one])
    assert unpacked(packed(sent)).model_dump(mode="json") in (
        sent.model_dump(mode="json"),
        json.loads(
            sent.model_dump_json().replace('"2024-02-01"', '"2024-02-01T00:00:00"')
        ),  # a date is its start
    )


def _is(value: bool | int | str) -> models.FieldCondition:
    return models.FieldCondition(key="e", match=models.MatchValue(value=value))


def test_a_message_has_no_other_types() -> None:
    with pytest.raises(InvalidInputError, match="a set"):
        packed({"a": {1, 2}})
