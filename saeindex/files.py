"""Writing files and folders so that what is there is the old or the new, never a half.

A draft is written beside the target and takes its place by a rename. ``durable`` also asks the disk to keep
it (fsync of the content and of the folder that names it): for what a caller was promised. What is durable has
one writer at a time, so its draft has one name, and what a killed process left of it is written over.
"""

from __future__ import annotations

import os
import shutil
import time
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from saeindex.errors import InvalidInputError

DRAFT = ".draft"
# Seconds after which a draft is taken for what a killed process left.
STALE_AFTER = 3_600.0


@contextmanager
def replacing(target: Path, durable: bool = False) -> Iterator[Path]:
    """Give the name of a draft in the folder of ``target``; it takes its place when all went well."""
    draft = _draft_of(target, durable)
    try:
        draft.touch()
        yield draft
        draft.chmod(0o644)
        if durable:
            _sync(draft)
        draft.replace(target)
    except BaseException:
        draft.unlink(missing_ok=True)
        raise
    if durable:
        _sync(target.parent)


@contextmanager
def replacing_folder(target: Path, durable: bool = False) -> Iterator[Path]:
    """Give an empty folder beside ``target``; it takes its place when all went well.

    Where the process is killed between the two renames, the former folder is at :func:`former`.
    """
    draft = _draft_of(target, durable)
    try:
        shutil.rmtree(draft, ignore_errors=True)
        draft.mkdir()
        yield draft
        if durable:
            for path in (*draft.rglob("*"), draft):
                _sync(path)
        _swap(draft, target)
    except BaseException:
        shutil.rmtree(draft, ignore_errors=True)
        raise
    if durable:
        _sync(target.parent)


def former(target: Path) -> Path:
    """Return where the folder that ``target`` replaces stands until it is replaced."""
    return target.with_name(f".{target.name}.old")


def is_draft(path: Path) -> bool:
    """Say whether a file or folder is a draft, being written or left by a killed process."""
    return path.name.startswith(".") and path.name.endswith(DRAFT)


def checked_suffix(path: Path, known: Sequence[str], what: str) -> str:
    """Return how a file's name ends, in lower case; InvalidInputError names what is ``known``."""
    suffix = path.suffix.lower()
    if suffix not in known:
        found = f"a name that ends in {path.suffix!r}" if path.suffix else "a name without an ending"
        raise InvalidInputError(f"{what} in {path}", found, f"Use {' or '.join(known)}.")
    return suffix


def _draft_of(target: Path, has_one_writer: bool) -> Path:
    """Return the name of a draft of ``target``; where it is a new one, remove those that were left."""
    target.parent.mkdir(parents=True, exist_ok=True)
    if has_one_writer:
        return target.with_name(f".{target.name}{DRAFT}")
    for left in target.parent.glob(f".{target.name}.*{DRAFT}"):
        if time.time() - left.stat().st_mtime > STALE_AFTER:
            shutil.rmtree(left, ignore_errors=True) if left.is_dir() else left.unlink(missing_ok=True)
    return target.with_name(f".{target.name}.{uuid.uuid4().hex[:8]}{DRAFT}")


def _swap(draft: Path, target: Path) -> None:
    """Put ``draft`` in the place of ``target``; where that fails, ``target`` is as it was."""
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


def _sync(path: Path) -> None:
    """Ask the disk to keep a file's content, or the names in a folder."""
    if path.is_dir() and os.name != "posix":
        return  # Windows has no handles of folders
    descriptor = os.open(path, os.O_RDONLY if path.is_dir() else os.O_RDWR)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
