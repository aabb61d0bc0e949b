"""Files and folders are replaced atomically; remains of a killed process are harmless."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from saeindex import files
from saeindex.errors import InvalidInputError
from saeindex.files import (
    former,
    is_draft,
    replacing,
    replacing_folder,
    writable,
)


class Interrupted(BaseException):
    """The exception of a signal during a write."""


def test_a_failed_write_leaves_the_old_file(tmp_path: Path) -> None:
    target = tmp_path / "deep" / "kept.txt"
    with replacing(target) as draft:
        assert is_draft(draft)
        draft.write_text("first")
    with pytest.raises(Interrupted), replacing(target, durable=True) as draft:
        draft.write_text("half")
        raise Interrupted
    assert target.read_text() == "first"
    assert list(target.parent.iterdir()) == [target]


def test_a_folder_is_replaced_completely(tmp_path: Path) -> None:
    target = tmp_path / "space"
    for name in ("old", "new"):
        with replacing_folder(target, durable=True) as draft:
            (draft / "deep").mkdir()
            (draft / "deep" / name).write_text(name)
    assert [path.name for path in (target / "deep").iterdir()] == ["new"]
    assert list(tmp_path.iterdir()) == [target]


def test_a_failed_write_leaves_the_old_folder(tmp_path: Path) -> None:
    target = tmp_path / "space"
    with replacing_folder(target) as draft:
        (draft / "kept").write_text("kept")
    with pytest.raises(Interrupted), replacing_folder(target) as draft:
        (draft / "half").write_text("half")
        raise Interrupted
    assert [path.name for path in target.iterdir()] == ["kept"]
    assert list(tmp_path.iterdir()) == [target]


def test_a_folder_is_restored_if_the_second_rename_fails(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    target = tmp_path / "space"
    with replacing_folder(target) as draft:
        (draft / "kept").write_text("kept")
    rename = Path.rename

    def failing(path: Path, to: Path) -> Path:
        if is_draft(path):
            raise OSError("refused")
        return rename(path, to)

    monkeypatch.setattr(Path, "rename", failing)
    with pytest.raises(OSError, match="refused"), replacing_folder(target) as draft:
        (draft / "half").write_text("half")
    assert [path.name for path in target.iterdir()] == ["kept"]
    assert not former(target).exists()


def test_durable_writes_aresynced_with_their_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    synced: list[Path] = []
    sync = files.sync

    def record(path: Path) -> None:
        synced.append(path)
        sync(path)

    monkeypatch.setattr(files, "sync", record)
    with replacing(tmp_path / "a") as draft:
        draft.write_text("a")
    assert not synced
    with replacing(tmp_path / "a", durable=True) as draft:
        draft.write_text("b")
    assert synced == [draft, tmp_path]
    synced.clear()
    with replacing_folder(tmp_path / "folder", durable=True) as draft:
        (draft / "b").write_text("b")
    assert synced == [draft / "b", draft, tmp_path]


def test_drafts_of_dead_processes_are_removed_and_others_kept(tmp_path: Path) -> None:
    stale, young, other = (tmp_path / f".{name}.0f0f0f0f.draft" for name in ("kept", "kept.1", "other"))
    fresh = tmp_path / ".kept.aaaaaaaa.draft"
    for path in (stale, young, other, fresh):
        path.write_text("half")
    for path in (stale, other):
        os.utime(path, (1, 1))
    with replacing(tmp_path / "kept") as draft:
        draft.write_text("whole")
    assert not stale.exists()
    assert all(path.exists() for path in (young, other, fresh))


@pytest.mark.parametrize("name", ["found", "found.pdf"])
def test_file_suffixes_are_checked(name: str) -> None:
    with pytest.raises(InvalidInputError, match=r"Use \.csv or \.parquet"):
        files.checked_suffix(Path(name), (".csv", ".parquet"), "table")


def test_a_place_where_nothing_can_be_written_is_an_error_of_ours(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("kept")
    for target in (tmp_path / "file" / "below.csv", tmp_path):
        with pytest.raises(InvalidInputError, match="Choose a place where you can write"):
            writable(target)
        with pytest.raises(InvalidInputError, match="Choose a place"), replacing(target) as draft:
            draft.write_text("x")
    with pytest.raises(InvalidInputError, match="does not exist"):
        writable(tmp_path / "new" / "table.csv")
    writable(tmp_path / "file")
    assert [path.name for path in tmp_path.iterdir()] == ["file"]
    assert (tmp_path / "file").read_text() == "kept"


def test_a_folder_without_permission_is_refused_before_the_work(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "access", lambda *_: False)  # tests may run as root, who may write everywhere
    with pytest.raises(InvalidInputError, match="you cannot write in"):
        writable(tmp_path / "table.csv")
