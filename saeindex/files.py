"""Atomic replacement of files and folders: a reader finds the old or the new content, never a part.

A draft is written beside the target and renamed over it. ``durable`` also calls fsync on the content and on
the parent folder, for data that must survive a power loss. A durable target has one writer at a time, so its
draft has a fixed name, and the draft of a killed process is overwritten.
"""

from __future__ import annotations

import errno
import json
import os
import shutil
import time
import uuid
import zlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from saeindex.errors import InvalidInputError, kind_of

# Names the folder of what can be made again: embeddings, replies, measurements of the processor.
CACHE_VARIABLE = "SAEINDEX_CACHE"
DRAFT = ".draft"
# Key of a JSON object's own checksum.
CHECKSUM = "checksum"
# Age in seconds from which a draft counts as left by a killed process.
STALE_AFTER = 3_600.0
# Errors of the system that say that nothing can be written at a path, whatever is written.
NOT_THERE = (
    errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOTDIR, errno.EISDIR, errno.EEXIST, errno.ENAMETOOLONG,
)  # fmt: skip


def cache_folder() -> Path:
    """Return ``$SAEINDEX_CACHE``, else ``~/.cache/saeindex``; nothing is sure to be readable there."""
    return Path(os.environ.get(CACHE_VARIABLE) or os.path.expanduser("~/.cache/saeindex"))  # noqa: PTH111


@contextmanager
def replacing(target: Path, durable: bool = False, sync_folder: bool = True) -> Iterator[Path]:
    """Yield the path of a draft in the folder of ``target``; without an error it then replaces ``target``.

    Without ``sync_folder`` a power cut may undo a durable replacement.

    Raises:
        InvalidInputError: nothing can be written there.
    """
    with _placing(target):
        draft = _draft_of(target, durable)
        draft.touch()
    try:
        yield draft
        draft.chmod(0o644)
        if durable:
            sync(draft)
        with _placing(target):
            draft.replace(target)
    except BaseException:
        draft.unlink(missing_ok=True)
        raise
    if durable and sync_folder:
        sync(target.parent)


@contextmanager
def replacing_folder(target: Path, durable: bool = False) -> Iterator[Path]:
    """Yield an empty folder beside ``target``; without an error it then replaces ``target``.

    If the process is killed between the two renames, the former folder is at :func:`former`.
    """
    draft = _draft_of(target, durable)
    try:
        shutil.rmtree(draft, ignore_errors=True)
        draft.mkdir()
        yield draft
        if durable:
            for path in (*draft.rglob("*"), draft):
                sync(path)
        _swap(draft, target)
    except BaseException:
        shutil.rmtree(draft, ignore_errors=True)
        raise
    if durable:
        sync(target.parent)


@contextmanager
def _placing(target: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        if error.errno not in NOT_THERE:
            raise
        asked, do = f"writing {str(target)!r}", "Choose a place where you can write."
        raise InvalidInputError(asked, error.strerror or type(error).__name__, do) from error


def writable(given: object) -> Path:
    """Return a path; InvalidInputError unless a file can be made or replaced there, before work is done."""
    if not isinstance(given, str | os.PathLike):
        raise InvalidInputError("a file to write", kind_of(given), "Give its path.")
    target = Path(os.path.expanduser(given))  # noqa: PTH111 (which does not fail without a home)
    folder = target.absolute().parent
    found = "it is a folder" if target.is_dir() else ""
    if not folder.exists():
        found, do = f"the folder {str(folder)!r} does not exist", "Create the folder, or choose another."
        raise InvalidInputError(f"writing {str(target)!r}", found, do)
    if not folder.is_dir():
        found = f"{str(folder)!r} is a file"
    elif not os.access(folder, os.W_OK | os.X_OK):
        found = f"you cannot write in {str(folder)!r}"
    if found:
        raise InvalidInputError(f"writing {str(target)!r}", found, "Choose a place where you can write.")
    return target


def size_on_disk(folder: Path) -> int:
    """Return the bytes that the files of a folder take on the disk: less than their lengths with holes."""
    return sum(file.stat().st_blocks * 512 for file in folder.rglob("*") if file.is_file())


def former(target: Path) -> Path:
    """Return the path that the old folder of ``target`` has during the replacement."""
    return target.with_name(f".{target.name}.old")


def is_draft(path: Path) -> bool:
    """Return whether a file or folder is a draft: being written, or left by a killed process."""
    return path.name.startswith(".") and path.name.endswith(DRAFT)


def with_checksum(value: Mapping[str, Any]) -> dict[str, Any]:
    """Return a JSON object with a checksum of all else in it; ValueError or TypeError if it is not JSON."""
    return {**value, CHECKSUM: _checksum_of(value)}


def without_checksum(value: Mapping[str, Any]) -> dict[str, Any] | None:
    """Return the object that was given to :func:`with_checksum`; None if it is not what was written."""
    bare = {key: each for key, each in value.items() if key != CHECKSUM}
    is_sound = CHECKSUM not in value or value[CHECKSUM] == _checksum_of(bare)
    return bare if is_sound else None


def _checksum_of(value: Mapping[str, Any]) -> int:
    return zlib.crc32(json.dumps(value, allow_nan=False, ensure_ascii=False, sort_keys=True).encode())


def checksums_of_files(folder: Path, without: str) -> dict[str, int]:
    """Return a checksum of each file in a folder, except the file ``without``."""
    paths = sorted(path for path in folder.iterdir() if path.is_file() and path.name != without)
    return {path.name: _checksum_of_file(path) for path in paths}


def changed_files(folder: Path, known: Mapping[str, int]) -> list[str]:
    """Return the names of files that are missing or have another content than when they were ``known``."""
    return [
        name
        for name, checksum in known.items()
        if not (folder / name).is_file() or _checksum_of_file(folder / name) != checksum
    ]


def _checksum_of_file(path: Path) -> int:
    checksum = 0
    with path.open("rb", buffering=0) as file:
        while block := file.read(1 << 20):
            checksum = zlib.crc32(block, checksum)
    return checksum


def checked_suffix(path: Path, known: Sequence[str], what: str) -> str:
    """Return a file's suffix in lower case; raise InvalidInputError unless it is one of ``known``."""
    suffix = path.suffix.lower()
    if suffix not in known:
        found = f"a name that ends in {path.suffix!r}" if path.suffix else "a name without an ending"
        raise InvalidInputError(f"{what} in {path}", found, f"Use {' or '.join(known)}.")
    return suffix


def _draft_of(target: Path, has_one_writer: bool) -> Path:
    """Return the path of a draft of ``target``; remove stale drafts where it has many writers."""
    target.parent.mkdir(parents=True, exist_ok=True)
    if has_one_writer:
        return target.with_name(f".{target.name}{DRAFT}")
    for left in target.parent.glob(f".{target.name}.*{DRAFT}"):
        if time.time() - left.stat().st_mtime > STALE_AFTER:
            shutil.rmtree(left, ignore_errors=True) if left.is_dir() else left.unlink(missing_ok=True)
    return target.with_name(f".{target.name}.{uuid.uuid4().hex[:8]}{DRAFT}")


def _swap(draft: Path, target: Path) -> None:
    """Replace ``target`` by ``draft``; if that fails, ``target`` stays as it was."""
    old = former(target)
    if target.exists():
        shutil.rmtree(old, ignore_errors=True)
        target.rename(old)
    try:
        draft.rename(target)
    except OSError:
        if old.exists():
            old.rename(target)
        raise
    shutil.rmtree(old, ignore_errors=True)


def sync(path: Path) -> None:
    """Call fsync on a file's content, or on the entries of a folder."""
    if path.is_dir() and os.name != "posix":
        return  # Windows has no file descriptors of folders
    descriptor = os.open(path, os.O_RDONLY if path.is_dir() else os.O_RDWR)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
