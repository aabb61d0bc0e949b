"""Backups of an index while it is written, and what a restored one has."""

from __future__ import annotations

import gzip
import io
import json
import os
import tarfile
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from qdrant_client import QdrantClient

from saeindex import FeatureIndex, FeatureSpace, Record, drop_index, restore_index
from saeindex.collection import backup
from saeindex.errors import DamageError, IndexLockedError, InvalidInputError, MismatchError, NotFoundError
from saeindex.files import size_on_disk
from tests.cli.test_cli import call
from tests.samples import RandomEncoder, contents, sample_records

RECORDS = sample_records(40)


@pytest.fixture(params=[False, True], ids=["here", "isolated"])
def index(request: pytest.FixtureRequest, tmp_path: Path, space: FeatureSpace) -> Iterator[FeatureIndex]:
    encoder = RandomEncoder(space.encoder)
    with FeatureIndex.create(tmp_path / "a.idx", space, encoder=encoder, isolated=request.param) as made:
        made.upsert(RECORDS)
        yield made


def test_a_backup_is_the_index_at_one_revision(
    index: FeatureIndex, tmp_path: Path, space: FeatureSpace
) -> None:
    index.concepts.rename(7, "my own name")
    before, revision = contents(index), index.state.revision
    made = index.backup(tmp_path / "b.tar.gz")
    index.delete([RECORDS[0].id])
    assert (made.records, made.revision) == (40, revision) and 0 < made.paused < 5
    assert made.bytes == (tmp_path / "b.tar.gz").stat().st_size
    assert restore_index(made.file, tmp_path / "c.idx") == 40
    assert size_on_disk(tmp_path / "c.idx") < 2 * size_on_disk(Path(index.name)) + 2**20  # with its holes
    with FeatureIndex.open(tmp_path / "c.idx", encoder=RandomEncoder(space.encoder)) as restored:
        assert contents(restored) == before and len(restored) == 40
        assert restored.concepts.find("my own name")[0].id == 7
        assert restored.state.revision == revision
        restored.upsert([Record("x", "One more.")])
    assert [one.name for one in tmp_path.iterdir() if one.name.startswith((".", "tmp"))] == []


def test_backups_while_records_come_are_each_of_one_revision(tmp_path: Path, space: FeatureSpace) -> None:
    encoder, stop, failed = RandomEncoder(space.encoder), threading.Event(), list[BaseException]()
    with FeatureIndex.create(tmp_path / "a.idx", space, encoder=encoder) as index:

        def write() -> None:
            number = 0
            try:
                while not stop.is_set():
                    own = [Record(f"{number}-{n}", f"Part {n} of {number}.") for n in range(7)]
                    index.upsert(own, learn_terms=False)
                    number += 1
            except BaseException as error:
                failed.append(error)

        writer = threading.Thread(target=write)
        writer.start()
        files = [index.backup(tmp_path / f"{n}.tar.gz") for n in range(4)]
        stop.set()
        writer.join()
        assert not failed
    for number, made in enumerate(files):
        restored = tmp_path / f"{number}.idx"
        assert restore_index(made.file, restored) == made.records
        with FeatureIndex.open(restored, encoder=encoder) as found:
            ids = {one.id for one in found}
            assert len(ids) == made.records == found.count() and made.records % 7 == 0
            assert not found.state.manifest.is_being_written


def test_a_restoring_that_is_killed_leaves_nothing(
    index: FeatureIndex, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made, target = index.backup(tmp_path / "b.tar.gz"), tmp_path / "c.idx"
    copied, calls = backup._copied, list[int]()

    def killed(source: Any, file: Any) -> Any:
        calls.append(1)
        if len(calls) == 3:
            os._exit(9)
        return copied(source, file)

    monkeypatch.setattr(backup, "_copied", killed)
    if (child := os.fork()) == 0:
        restore_index(made.file, target)
        os._exit(0)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 9
    assert not target.exists()
    monkeypatch.undo()
    assert restore_index(made.file, target) == 40  # beside what the kill left
    with FeatureIndex.open(target) as restored:
        assert len(restored) == 40
    with pytest.raises(MismatchError, match="already an index"):
        restore_index(made.file, target)


def changed(file: Path, change: Any) -> Path:
    """Return a backup whose files are what ``change`` makes of them, by name."""
    with tarfile.open(file) as packed:
        members = {one.name: packed.extractfile(one).read() for one in packed}  # type: ignore[union-attr]
    target = file.with_name("changed.tar.gz")
    with tarfile.open(target, "w:gz") as packed:
        for name, content in change(members).items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            packed.addfile(info, io.BytesIO(content))
    return target


def test_what_is_no_whole_backup_is_refused(index: FeatureIndex, tmp_path: Path) -> None:
    made, target = Path(index.backup(tmp_path / "b.tar.gz").file), tmp_path / "c.idx"
    listing = backup.LISTING

    def listed(given: dict[str, bytes], **fields: Any) -> dict[str, bytes]:
        return {**given, listing: json.dumps({**json.loads(given[listing]), **fields}).encode()}

    def escaping(files: dict[str, bytes]) -> dict[str, bytes]:
        names = json.loads(files[listing])["files"]
        return {**listed(files, files={**names, "../x": names["layout.json"]}), "../x": files["layout.json"]}

    for change, says in (
        (lambda files: {**files, "layout.json": files["layout.json"] + b" "}, "'layout.json' is not what"),
        (lambda files: {name: one for name, one in files.items() if name != "layout.json"}, "is missing"),
        (lambda files: {**files, "more": b""}, "'more' does not belong"),
        (escaping, "does not belong"),
        (lambda files: listed(files, format=2), "its format is 2"),
        (lambda files: {"a": b"b"}, "no backup"),
        (lambda files: {listing: b"[]"}, "not a whole backup"),
    ):
        with pytest.raises(DamageError, match=says):
            restore_index(changed(made, change), target)
    for content in (b"", b"no archive", made.read_bytes()[:-2_000], gzip.compress(b"x" * 5_000)):
        (tmp_path / "cut.tar.gz").write_bytes(content)
        with pytest.raises(DamageError):
            restore_index(tmp_path / "cut.tar.gz", target)
    with pytest.raises(NotFoundError):
        restore_index(tmp_path / "none.tar.gz", target)
    assert not target.exists() and not (tmp_path / "x").exists()


def test_where_no_backup_is_made(index: FeatureIndex, tmp_path: Path, space: FeatureSpace) -> None:
    with pytest.raises(InvalidInputError, match="inside the index"):
        index.backup(tmp_path / "a.idx" / "b.tar.gz")
    encoder = RandomEncoder(space.encoder)
    remote = FeatureIndex.create("notes", space, client=QdrantClient(":memory:"), encoder=encoder)
    with remote, pytest.raises(InvalidInputError, match="a collection on a server"):
        remote.backup(tmp_path / "b.tar.gz")


def test_an_index_is_dropped_unless_it_is_open(
    index: FeatureIndex, tmp_path: Path, space: FeatureSpace
) -> None:
    with pytest.raises(IndexLockedError, match="saeindex serve"):
        drop_index(index.name)
    index.close()
    (tmp_path / "other").mkdir()
    with pytest.raises(NotFoundError):
        drop_index(tmp_path / "other")
    (link := tmp_path / "link.idx").symlink_to(index.name)
    with pytest.raises(InvalidInputError, match="a link to an index"):
        drop_index(link)
    link.unlink()
    drop_index(index.name)
    assert [one.name for one in tmp_path.iterdir()] == ["other"]
    client = QdrantClient(":memory:")
    FeatureIndex.create("notes", space, client=client).close()
    drop_index("notes", client=client)
    assert not client.collection_exists("notes")
    with pytest.raises(NotFoundError):
        drop_index("notes", client=client)


def test_the_commands(tmp_path: Path, space: FeatureSpace) -> None:
    path = str(tmp_path / "a.idx")
    with FeatureIndex.create(path, space, encoder=RandomEncoder(space.encoder)) as index:
        index.upsert(RECORDS, learn_terms=False)
    native = json.dumps({"must": [{"key": "metadata.topic", "match": {"value": "music"}}]})
    music = sum(one.metadata["topic"] == "music" for one in RECORDS)

    def said(*arguments: str, code: int = 0) -> str:
        done = call(*arguments)
        assert done.returncode == code, done.stderr
        return done.stdout + done.stderr

    assert said("count", path, "--query-filter", native).strip() == str(music)
    assert said("count", path, "--where", "metadata.year > 1980", "--json").strip() == '{"count": 40}'
    backed_up = said("backup", path, "--to", str(tmp_path / "b.tar.gz"))
    assert "40 records" in backed_up and "writes waited" in backed_up
    said("export", path, "--to", str(tmp_path / "x.jsonl"), "--query-filter", native)
    assert len((tmp_path / "x.jsonl").read_text().splitlines()) == music
    assert f"{music} records updated" in said("update", path, "--query-filter", native, "--set", "a=1")
    assert f"{music} records deleted" in said("delete", path, "--query-filter", native, "--yes")
    assert "not JSON" in said("delete", path, "--query-filter", "{", "--yes", code=2)
    assert "40 records" in said("restore", str(tmp_path / "b.tar.gz"), "--to", str(tmp_path / "c.idx"))
    said("drop", path, code=2)  # nobody to confirm it
    said("drop", path, "--yes")
    assert not Path(path).exists()
