"""The directory of an embedded index: creating and opening with any existing content."""

from __future__ import annotations

import errno
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from saeindex.errors import DamageError, InvalidInputError, MismatchError, NotFoundError, StorageError
from saeindex.files import with_checksum
from saeindex.protocols import Layout, Point
from saeindex.stores import directory, edge
from saeindex.stores.edge import EdgeStore

ONES = np.ones(4, dtype=np.float32)
LAYOUT = Layout({"dense": 4}, ("sae",), {"concepts": "integer"})


def test_an_index_has_the_files_that_are_documented(index_path: Path) -> None:
    with EdgeStore.create(index_path / "a" / "b", LAYOUT) as store:
        store.write_manifest({"x": 1})
        assert {path.name for path in (index_path / "a" / "b").iterdir()} == {
            "layout.json",
            "lock",
            "manifest.json",
            "points",
        }
    with EdgeStore.open(index_path / "a" / "b") as store:
        assert store.layout == LAYOUT


def test_creating_over_an_index_is_refused(index_path: Path) -> None:
    EdgeStore.create(index_path, LAYOUT).close()
    with pytest.raises(MismatchError, match="already an index"):
        EdgeStore.create(index_path, LAYOUT)


def test_creating_over_other_files_is_refused_and_leaves_them(index_path: Path) -> None:
    (index_path / "thesis.tex").write_text("x")
    with pytest.raises(InvalidInputError, match=r"thesis\.tex"):
        EdgeStore.create(index_path, LAYOUT)
    with pytest.raises(InvalidInputError, match="a file"):
        EdgeStore.create(index_path / "thesis.tex", LAYOUT)
    assert [path.name for path in index_path.iterdir()] == ["thesis.tex"]


def test_opening_an_empty_folder_reports_what_is_missing(index_path: Path) -> None:
    with pytest.raises(NotFoundError, match="no such directory"):
        EdgeStore.open(index_path / "absent")
    with pytest.raises(NotFoundError, match="there is no index"):
        EdgeStore.open(index_path)
    assert list(index_path.iterdir()) == []


@pytest.mark.parametrize("moment", ["before the shard", "before the indexes", "before the layout"])
def test_an_interrupted_creation_is_completed_by_creating_again(
    index_path: Path, monkeypatch: pytest.MonkeyPatch, moment: str
) -> None:
    def fail(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        if moment == "before the shard":
            patched.setattr(edge, "create_shard", fail)
        elif moment == "before the indexes":
            patched.setattr(edge, "_index_of", fail)
        else:
            patched.setattr(edge, "write_json", fail)
        with pytest.raises(KeyboardInterrupt):
            EdgeStore.create(index_path, LAYOUT)
    with pytest.raises(NotFoundError):
        EdgeStore.open(index_path)
    with EdgeStore.create(index_path, LAYOUT) as store:
        store.upsert([Point(1, {"dense": ONES}, {"concepts": [1]})])
        assert store.facet("concepts") == [(1, 1)]


def test_points_without_a_layout_are_not_deleted(index_path: Path) -> None:
    with EdgeStore.create(index_path, LAYOUT) as store:
        store.upsert([Point(1, {"dense": ONES})])
    kept = (index_path / "layout.json").read_bytes()
    (index_path / "layout.json").unlink()
    with pytest.raises(MismatchError, match=r"1 points, but no layout\.json.*Restore it"):
        EdgeStore.create(index_path, LAYOUT)
    (index_path / "layout.json").write_bytes(kept)
    with EdgeStore.open(index_path) as store:
        assert store.count() == 1


def test_a_newer_format_and_broken_files_are_errors(index_path: Path) -> None:
    EdgeStore.create(index_path, LAYOUT).close()
    layout = index_path / "layout.json"
    kept = json.loads(layout.read_text())
    for text, error in (("{", StorageError), ("[]", StorageError)):
        layout.write_text(text)
        with pytest.raises(error, match="Restore it from a backup"):
            EdgeStore.open(index_path)
    layout.write_text(json.dumps({**kept, "dense": {"dense": 5}}))
    with pytest.raises(DamageError, match="not what was written"):
        EdgeStore.open(index_path)
    bare = {key: value for key, value in kept.items() if key != "checksum"}
    layout.write_text(json.dumps(with_checksum({**bare, "format": 2})))
    with pytest.raises(MismatchError, match="format is 2"):
        EdgeStore.open(index_path)
    layout.write_text(json.dumps(kept))
    EdgeStore.open(index_path).close()


def test_an_interrupted_write_leaves_the_old_manifest(
    index_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with EdgeStore.create(index_path, LAYOUT) as store:
        store.write_manifest({"version": 1})

        def fail(*_: object) -> None:
            raise KeyboardInterrupt

        with monkeypatch.context() as patched:
            patched.setattr(os, "fsync", fail)
            with pytest.raises(KeyboardInterrupt):
                store.write_manifest({"version": 2})
        assert store.read_manifest() == {"version": 1}
        with pytest.raises(InvalidInputError, match="JSON"):
            store.write_manifest({"version": {1, 2}})
        assert store.read_manifest() == {"version": 1}


@pytest.mark.parametrize(
    "layout",
    [
        Layout({}),
        Layout({"dense": 0}),
        Layout({"dense": True}),
        Layout({"dense": 70_000}),
        Layout({"a/b": 4}),
        Layout({"": 4}),
        Layout({"a": 4}, ("a",)),
        Layout({"a": 4}, (), {"x": "integers"}),  # type: ignore[dict-item]
    ],
)
def test_impossible_layouts_are_refused_before_anything_is_written(index_path: Path, layout: Layout) -> None:
    with pytest.raises(InvalidInputError):
        EdgeStore.create(index_path / "new", layout)
    assert list(index_path.iterdir()) == []


SEARCH_PROGRAM = """
import sys
from saeindex.protocols import SearchRequest
from saeindex.stores.edge import EdgeStore
assert not {"qdrant_client", "qdrant_edge"} & set(sys.modules)
with EdgeStore.open(sys.argv[1]) as store:
    assert len(store.search(SearchRequest([1.0, 1.0, 1.0, 1.0]))) == 1
    assert len(store.scroll().points) == store.count() == 1
    store.facet("concepts"), store.get([1])
assert "qdrant_client" not in sys.modules
"""


def test_searching_without_a_filter_does_not_import_the_client(index_path: Path) -> None:
    with EdgeStore.create(index_path, LAYOUT) as store:
        store.upsert([Point(1, {"dense": ONES})])
    ended = subprocess.run(
        [sys.executable, "-c", SEARCH_PROGRAM, str(index_path)], capture_output=True, text=True, check=False
    )
    assert ended.returncode == 0, ended.stderr


@pytest.mark.parametrize("number", [errno.EACCES, errno.EROFS])
def test_a_directory_that_cannot_be_written_says_how_to_open_it(
    index_path: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    EdgeStore.create(index_path, LAYOUT).close()

    def refuse(path: Path, *_: object, **__: object) -> None:
        raise OSError(number, os.strerror(number), str(path))

    monkeypatch.setattr(Path, "open", refuse)
    with pytest.raises(StorageError, match=r"you cannot write there.*copy the directory to a place"):
        EdgeStore.open(index_path)


def test_an_index_is_not_opened_on_a_full_disk(index_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    EdgeStore.create(index_path, LAYOUT).close()
    with monkeypatch.context() as patched:
        patched.setattr(directory, "OPENING_BYTES", 10**15)
        with pytest.raises(StorageError, match=r"opening .* MiB are needed"):
            EdgeStore.open(index_path)
    EdgeStore.open(index_path).close()


def test_a_lock_whose_file_the_garbage_collector_closed_first_is_released(index_path: Path) -> None:
    store = EdgeStore.create(index_path, LAYOUT)
    assert store._lock._file is not None
    store._lock._file.close()
    store.close()
    EdgeStore.open(index_path).close()
