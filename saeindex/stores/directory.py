"""The files of an embedded index: their paths, atomic writes, the lock of their owner; stores of one.

``layout.json`` is written last when an index is created: a directory without it is incomplete.
"""

from __future__ import annotations

import errno
import gc
import json
import os
import shutil
import sys
import threading
import weakref
from abc import abstractmethod
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from saeindex.errors import (
    DamageError,
    EngineDiedError,
    IndexLockedError,
    InvalidInputError,
    MismatchError,
    NotFoundError,
    StorageError,
)
from saeindex.files import is_draft, replacing, without_checksum
from saeindex.stores.base import BaseStore, closed_error
from saeindex.stores.waiting import OwnTurns

if TYPE_CHECKING:
    from saeindex.protocols import Layout

# Free bytes that a write must leave: on a full disk the engine dies of SIGBUS, because it writes through
# memory maps. It grows its files in pages of 32 MB, so there must be room for a page of each.
RESERVE_BYTES = 256 * 1024 * 1024
# Free bytes to open an index: a segment of its log, and a page of each file that it puts in order.
OPENING_BYTES = 96 * 1024 * 1024
RESTORE = "Restore it from a backup, or index the records again at another path."
# Bytes on disk per byte of a batch: log, vectors, payload and indexes each store a part.
GROWTH = 4
if sys.platform == "win32":  # pragma: no cover
    import msvcrt

    def _try_lock(file: IO[str]) -> bool:
        # Lock a byte far beyond the text, so that other processes can still read the pid.
        file.seek(1 << 20)
        try:
            msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)
        except OSError:
            return False
        return True

    def _unlock(file: IO[str]) -> None:
        file.seek(1 << 20)
        msvcrt.locking(file.fileno(), msvcrt.LK_UNLCK, 1)

else:
    import fcntl

    def _try_lock(file: IO[str]) -> bool:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True

    def _unlock(file: IO[str]) -> None:
        fcntl.flock(file, fcntl.LOCK_UN)


class IndexDirectory:
    """The paths and the state of an index directory.

    ``points`` has the engine's own files, ``layout`` marks a complete index, and ``manifest`` is the JSON
    object that is stored with it.
    """

    def __init__(self, root: Path) -> None:
        """Bind the path of the directory, which may be absent."""
        self.root, self.points = root, root / "points"
        self.layout, self.manifest = root / "layout.json", root / "manifest.json"

    def check_complete(self) -> None:
        """Raise NotFoundError unless the directory has a complete index."""
        if self.layout.is_file():
            return
        asked = f"opening the index {str(self.root)!r}"
        if self.manifest.is_file():
            raise NotFoundError(asked, "its file layout.json is missing", RESTORE)
        if self.points.exists():
            raise NotFoundError(asked, "its creation was interrupted", "Create it again at the same path.")
        if self.root.is_file():
            raise NotFoundError(asked, "it is a file", "Give the directory of an index.")
        found = "there is no index" if self.root.is_dir() else "there is no such directory"
        do = f"Create it first (`saeindex index FILES --into {self.root}`), or correct the path."
        raise NotFoundError(asked, found, do)

    def check_free_for_index(self) -> None:
        """Raise unless the directory is empty, absent or left by an interrupted creation."""
        asked = f"creating an index at {str(self.root)!r}"
        if not self.root.exists():
            return
        if not self.root.is_dir():
            raise InvalidInputError(asked, "it is a file", "Use the path of a directory.")
        names = {entry.name for entry in self.root.iterdir() if not is_draft(entry)}
        if self.layout.name in names:
            raise MismatchError(asked, "it is already an index", "Open it, or choose another path.")
        if self.manifest.name in names:
            found = "it is an index whose layout.json is missing"
            raise MismatchError(asked, found, f"{RESTORE} Or choose another path.")
        foreign = sorted(names - {"lock", "points"})
        if foreign:
            found = f"the directory has other files, such as {foreign[0]!r}"
            raise InvalidInputError(asked, found, "Use a new or empty directory.")


def check_outside(root: Path | None, target: Path, what: str) -> None:
    """Raise InvalidInputError if a file or folder to be written would be inside an index (at ``root``)."""
    if root is not None and target.resolve().is_relative_to(root.resolve()):
        where = "is" if target.resolve() == root.resolve() else "is inside"
        found = f"it {where} the index {str(root)!r}"
        raise InvalidInputError(f"{what} at {str(target)!r}", found, "Choose a place outside.")


def write_json(path: Path, value: Mapping[str, Any], sync_folder: bool = True) -> None:
    """Replace ``path`` by ``value`` as JSON: after a crash it has the old or the new text.

    Without ``sync_folder`` it may have the old one again after a power cut.
    """
    try:
        text = json.dumps(value, allow_nan=False, ensure_ascii=False, indent=1).encode()
    except (ValueError, TypeError) as error:
        found = f"it is not JSON: {error}"
        raise InvalidInputError(
            f"writing {path.name}", found, "Use text, finite numbers and lists."
        ) from None
    with replacing(path, durable=True, sync_folder=sync_folder) as draft:
        draft.write_bytes(text)


def read_json(path: Path) -> dict[str, Any]:
    """Return the JSON object in ``path``; {} if there is no file; DamageError if it is no JSON object."""
    try:
        value = json.loads(path.read_bytes())
    except FileNotFoundError:
        return {}
    except (ValueError, RecursionError) as error:
        raise damaged_file(path, f"it is not JSON: {error}") from None
    if not isinstance(value, dict):
        raise damaged_file(path, "it is not a JSON object")
    return value


def read_checked_json(path: Path) -> dict[str, Any]:
    """Return a JSON object that was written with a checksum; DamageError if it is not as written."""
    value = without_checksum(read_json(path))
    if value is None:
        raise damaged_file(path, "it is not what was written")
    return value


def damaged_file(path: Path, found: str) -> DamageError:
    """Return the error for a file of an index that is damaged."""
    return DamageError(f"reading {str(path)!r}", found, RESTORE)


def require_space(directory: Path, size: int | None) -> None:
    """Raise StorageError unless the disk has room for ``size`` more bytes and a reserve.

    Without a size, for what the engine writes when it is opened.
    """
    action, needed = "opening", OPENING_BYTES
    if size is not None:
        action, needed = "writing to", RESERVE_BYTES + GROWTH * size
    free = shutil.disk_usage(directory).free
    if free < needed:
        raise StorageError(
            f"{action} {str(directory)!r}",
            f"the disk has {free / 2**20:,.0f} MiB free where {needed / 2**20:,.0f} MiB are needed",
            "Free some space and repeat; what was acknowledged is safe.",
        )


def _opened(path: Path) -> IO[str]:
    try:
        return path.open("a+", encoding="ascii")
    except OSError as error:
        if error.errno not in (errno.EACCES, errno.EPERM, errno.EROFS):
            raise
        asked, found = f"opening {str(path.parent)!r}", f"you cannot write there: {error.strerror}"
        do = "The engine writes to open it: copy the directory to a place where you can write, and open that."
        raise StorageError(asked, found, do) from error


class DirectoryLock:
    """An exclusive lock on the file ``directory/lock``, which contains the owner's pid.

    The operating system releases the lock when the process ends in any way. The file stays, because after
    deleting it two processes could lock two different files of the same name.
    """

    def __init__(self, directory: Path, owner: int | None = None) -> None:
        """Take the lock for ``owner`` (else this process); raise IndexLockedError if another has it."""
        self._path = directory / "lock"
        self._file: IO[str] | None = _opened(self._path)
        is_ours = False
        if not (is_locked := _try_lock(self._file)):
            self._file.seek(0)
            holder = self._file.read().strip()
            is_ours = holder == str(owner or os.getpid())
            if is_ours:
                gc.collect()  # an index that only garbage refers to, such as the frames of an exception
                is_locked = _try_lock(self._file)
        if not is_locked:
            self._file.close()
            whose = "this process" if is_ours else f"process {holder or '(unknown)'}"
            raise IndexLockedError(
                f"opening {str(directory)!r}",
                f"{whose} has it open",
                "Close it there (`close()`, or a `with` block). If it is `saeindex serve`, ask that by "
                "saeindex.Client, also for a backup.",
            )
        self._file.truncate(0)
        self._file.write(str(owner or os.getpid()))
        self._file.flush()

    def release(self) -> None:
        """Release the lock; a second call does nothing."""
        if self._file is not None and not self._file.closed:  # the garbage collector may close it first
            self._file.truncate(0)
            # Unlock explicitly: a forked child shares the lock, and closing our copy would not release it.
            _unlock(self._file)
            self.abandon()

    def abandon(self) -> None:
        """Close this process's copy without unlocking, for a forked child: the parent keeps the lock."""
        if self._file is not None:
            self._file.close()
            self._file = None


class EmbeddedStore(BaseStore):
    """A collection in a directory, with an engine of its own."""

    def __init__(self, layout: Layout, path: Path) -> None:
        """Store the layout and the path, and refuse all calls in children that are forked from now on."""
        super().__init__(layout)
        self.turns = OwnTurns()
        self._path = path
        self.written = 0  # points so far, where it is for their writer to call :meth:`optimize`
        self._pid = os.getpid()
        self._refusal: Callable[[str], StorageError] | None = None
        _OPEN_STORES.add(self)

    @property
    def name(self) -> str:
        """The path of the directory."""
        return str(self._path)

    @property
    def prefers_postfilter(self) -> bool:
        """Whether ``SearchRequest.postfilter`` can make a search faster: the engine filters slowly."""
        return True

    @abstractmethod
    def optimize(self) -> bool:
        """Reclaim the space of deleted points; return whether anything changed."""

    def close(self) -> None:
        """Flush and release the directory; a second call, or a call in a forked child, does nothing."""
        if self._pid != os.getpid() or self._refusal is closed_error:
            return
        with self._mutex:
            try:
                if self._refusal is None:
                    self._shut()
            finally:
                self._refusal = closed_error
                _OPEN_STORES.discard(self)
                self._release()

    @abstractmethod
    def _shut(self) -> None:
        """Flush and close an engine that has not crashed."""

    @abstractmethod
    def _release(self) -> None:
        """Let go of what the store holds, also after a crash."""

    @abstractmethod
    def _abandon(self) -> None:
        """Let go of the engine in a forked child, without any effect on the parent's."""

    def _check_open(self, action: str) -> None:
        if self._refusal is not None:
            raise self._refusal(action)

    def _refuse_in_child(self) -> None:
        self._refusal, self._mutex, self.turns = _forked, threading.RLock(), OwnTurns()
        self._abandon()


def engine_died(action: str) -> StorageError:
    """Return the error for a call after the one in which the engine crashed."""
    found = "its engine crashed in an earlier call"
    return EngineDiedError(f"{action} on a store", found, "Close the store and open it again.")


def _forked(action: str) -> StorageError:
    return StorageError(
        f"{action} on a store",
        "this process was forked from the one that opened it, and the engine does not survive a fork",
        "Use the 'spawn' start method and open the store where it is used.",
    )


_OPEN_STORES: weakref.WeakSet[EmbeddedStore] = weakref.WeakSet()


def _refuse_all() -> None:
    for store in list(_OPEN_STORES):
        store._refuse_in_child()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_refuse_all)
