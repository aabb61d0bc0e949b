"""Copies of an index: whole, as of one moment, and independent of the index."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest
from qdrant_client import QdrantClient

from saeindex import FeatureIndex, FeatureSpace, Record
from saeindex.errors import IndexLockedError, InvalidInputError, MismatchError, StorageError
from saeindex.files import size_on_disk
from saeindex.stores import directory
from tests.cli.test_cli import call, called
from tests.samples import RecordingEncoder, sample_records

COUNT = 120


@pytest.fixture
def index(tmp_path: Path, space: FeatureSpace, session_encoder: RecordingEncoder) -> FeatureIndex:
    made = FeatureIndex.create(tmp_path / "notes.idx", space, encoder=session_encoder)
    made.add(sample_records(COUNT))
    return made


def test_a_copy_of_an_open_index_answers_the_same(
    index: FeatureIndex, tmp_path: Path, session_encoder: RecordingEncoder
) -> None:
    index.diff("metadata.year < 2005")  # writes a cache, which is not copied
    with index:
        index.copy(tmp_path / "backup" / "copy.idx")
        before = [(hit.id, hit.score) for hit in index.search("rain", limit=20)]
        index.upsert([Record("later", "written after the copy")])
        with FeatureIndex.open(tmp_path / "backup" / "copy.idx", encoder=session_encoder) as copied:
            assert (len(copied), len(index)) == (COUNT, COUNT + 1)
            assert not copied.get(["later"])
            assert [(hit.id, hit.score) for hit in copied.search("rain", limit=20)] == before
            copied.upsert([Record("own", "written to the copy")])
            assert not index.get(["own"])
    names = {path.name for path in (tmp_path / "backup" / "copy.idx").iterdir()}
    assert names >= {"layout.json", "manifest.json", "points", "space"}
    assert "cache" not in names
    assert [path.name for path in (tmp_path / "backup").iterdir()] == ["copy.idx"]


def test_writes_wait_for_a_copy(
    index: FeatureIndex, tmp_path: Path, session_encoder: RecordingEncoder
) -> None:
    """A copy that is made while records are deleted and added has a state between two writes."""
    ids = [record.id for record in sample_records(COUNT)]

    def delete_one_by_one() -> None:
        for one in ids:
            index.delete([one])

    with index:
        writer = threading.Thread(target=delete_one_by_one)
        writer.start()
        for number in range(3):
            index.copy(tmp_path / f"{number}.idx")
        writer.join()
    for number in range(3):
        with FeatureIndex.open(tmp_path / f"{number}.idx", encoder=session_encoder) as copied:
            left = {hit.id for hit in copied.search("", where='NOT record_id = "x"', limit=COUNT)}
            assert left == set(ids[COUNT - len(left) :])


def test_a_copy_replaces_nothing(
    index: FeatureIndex, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with index:
        with pytest.raises(MismatchError, match="it is already an index"):
            index.copy(tmp_path / "notes.idx")
        (tmp_path / "full").mkdir()
        (tmp_path / "full" / "mine.txt").write_text("mine")
        with pytest.raises(InvalidInputError, match=r"other files, such as 'mine\.txt'"):
            index.copy(tmp_path / "full")
        monkeypatch.setattr(directory, "RESERVE_BYTES", 10**15)
        with pytest.raises(StorageError, match="MiB free"):
            index.copy(tmp_path / "large.idx")
        assert not (tmp_path / "large.idx").exists()


def test_an_index_on_a_server_is_not_copied(space: FeatureSpace, session_encoder: RecordingEncoder) -> None:
    client = QdrantClient(":memory:")
    with (
        FeatureIndex.create("notes", space, client=client, encoder=session_encoder) as index,
        pytest.raises(InvalidInputError, match="snapshot of the collection"),
    ):
        index.copy("never.idx")


def test_the_command_copies_a_closed_index(index: FeatureIndex, tmp_path: Path) -> None:
    source, target = str(tmp_path / "notes.idx"), str(tmp_path / "again.idx")
    locked = call("copy", source, target)
    assert locked.returncode == 3 and "this process has it open" in locked.stderr
    with pytest.raises(IndexLockedError):
        FeatureIndex.open(source)
    index.close()
    assert called("copy", source, target)["records"] == COUNT
    assert called("info", target)["records"] == COUNT
    assert call("copy", source, target).returncode == 3


def test_a_copy_takes_no_more_of_the_disk_than_the_index(index: FeatureIndex, tmp_path: Path) -> None:
    with index:
        index.copy(tmp_path / "copy.idx")
    assert size_on_disk(tmp_path / "copy.idx") < 1.5 * size_on_disk(tmp_path / "notes.idx")


def test_nothing_is_written_into_an_index_by_name(index: FeatureIndex, tmp_path: Path) -> None:
    before = {path.name for path in (tmp_path / "notes.idx").iterdir()}
    with index:
        with pytest.raises(InvalidInputError, match="inside the index"):
            index.copy(tmp_path / "notes.idx" / "points" / ".." / "inner")
        with pytest.raises(InvalidInputError, match="inside the index"):
            index.export(tmp_path / "notes.idx" / "export.jsonl")
        assert {path.name for path in (tmp_path / "notes.idx").iterdir()} == before
