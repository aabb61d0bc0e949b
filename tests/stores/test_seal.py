"""The seal of an index: damage to files that no record's checksum covers is seen when it is opened."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from saeindex.errors import DamageError
from saeindex.protocols import Layout, Point
from saeindex.stores.directory import IndexDirectory
from saeindex.stores.edge import EdgeStore
from saeindex.stores.seal import Seal

LAYOUT = Layout({"dense": 4}, ("sae",), {"tag": "keyword"})


@pytest.fixture
def path(index_path: Path) -> Path:
    with EdgeStore.create(index_path, LAYOUT) as store:
        store.upsert([_point(n) for n in range(30)])
    return index_path


def _point(n: int) -> Point:
    return Point(n, {"dense": np.array([n, 1, 0, 0], np.float32)}, {"tag": f"t{n % 3}"})


def _file(path: Path, name: str) -> Path:
    return next(one for one in sorted((path / "points").rglob("*.dat")) if name in str(one))


def _flip(file: Path, at: int = 0) -> None:
    content = bytearray(file.read_bytes())
    content[at] ^= 4
    file.write_bytes(content)


@pytest.mark.parametrize("name", ["tag-map/page_0", "tag-map/tracker.dat", "payload_storage/bitmask"])
def test_a_flipped_bit_is_seen_when_an_index_is_opened(path: Path, name: str) -> None:
    _flip(_file(path, name))
    with pytest.raises(DamageError, match=rf"{name}.* other content.*doctor .* --repair"):
        EdgeStore.open(path)


def test_a_flipped_bit_in_an_empty_block_is_seen(path: Path) -> None:
    file = _file(path, "tag-map/page_0")
    _flip(file, file.stat().st_size - 1)
    with pytest.raises(DamageError, match="other content"):
        EdgeStore.open(path)


@pytest.mark.parametrize("name", ["tag-map/page_0", "payload_storage/page_0", "store/tracker"])
def test_a_file_that_was_cut_off_is_seen_before_the_engine_maps_it(path: Path, name: str) -> None:
    file = _file(path, name)
    os.truncate(file, file.stat().st_size // 2)
    with pytest.raises(DamageError, match=rf"{name}.* bytes instead of"):
        EdgeStore.open(path)


def test_a_missing_file_is_seen(path: Path) -> None:
    _file(path, "tag-map/tracker.dat").unlink()
    with pytest.raises(DamageError, match="is missing"):
        EdgeStore.open(path)


def test_holes_that_a_copy_has_filled_are_no_damage(path: Path) -> None:
    for file in (path / "points").rglob("*.dat"):
        file.write_bytes(file.read_bytes())
    EdgeStore.open(path).close()


def test_reading_changes_no_file_once_the_index_is_settled(path: Path) -> None:
    directory = IndexDirectory(path)
    assert not Seal.read(directory).is_settled
    for _ in range(3):
        with EdgeStore.open(path) as store:
            assert store.count() == 30
            store.flush()
        seal = Seal.read(directory)
        assert seal.is_settled and seal.files
        assert list(seal.broken()) == []


def test_a_write_breaks_the_seal_until_the_index_is_closed(path: Path) -> None:
    writes: list[Callable[[EdgeStore], object]] = [
        lambda store: store.upsert([_point(99)]),
        lambda store: store.set_payload({1: {"tag": "new"}}),
        lambda store: store.delete([2]),
        lambda store: store.optimize(),
    ]
    for write in writes:
        with EdgeStore.open(path) as store:
            write(store)
            assert not (path / "seal.json").exists()
        assert (path / "seal.json").exists()
    with EdgeStore.open(path) as store:
        assert store.count() == 30


def test_a_killed_writer_leaves_no_seal_and_an_index_that_opens(path: Path) -> None:
    code = f"""
import os, signal
from saeindex.stores.edge import EdgeStore
store = EdgeStore.open({str(path)!r})
store.delete([1])
os.kill(os.getpid(), signal.SIGKILL)
"""
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == -signal.SIGKILL
    assert not (path / "seal.json").exists()
    for _ in range(2):
        with EdgeStore.open(path) as store:
            assert store.count() == 29
    assert (path / "seal.json").exists()


def test_a_copy_of_an_open_index_opens(path: Path, tmp_path: Path) -> None:
    with EdgeStore.open(path) as store:
        store.copy(tmp_path / "read.idx")
        store.upsert([_point(99)])
        store.copy(tmp_path / "written.idx")
    for name, count in (("read.idx", 30), ("written.idx", 31)):
        with EdgeStore.open(tmp_path / name) as store:
            assert store.count() == count


def test_a_damaged_seal_is_an_error(path: Path) -> None:
    seal = path / "seal.json"
    seal.write_text(seal.read_text().replace('"is_settled": false', '"is_settled": true'))
    with pytest.raises(DamageError, match=r"seal\.json.*not what was written"):
        EdgeStore.open(path)
