"""One process owns a directory: a lock that dies with its holder and says who that is."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import IO

from saeindex.errors import IndexLockedError


class DirectoryLock:
    """An exclusive lock on ``directory/lock``, holding the owner's pid.

    The operating system drops the lock when the process ends, however it ends; the file stays, because
    deleting it would let two processes lock two different files of one name.
    """

    def __init__(self, directory: Path) -> None:
        """Take the lock, or raise IndexLockedError naming the process that has it."""
        self._path = directory / "lock"
        self._file: IO[str] | None = self._path.open("a+", encoding="ascii")
        if not _try_lock(self._file):
            self._file.seek(0)
            owner = self._file.read().strip()
            self._file.close()
            whose = "this process" if owner == str(os.getpid()) else f"process {owner or '(unknown)'}"
            raise IndexLockedError(
                f"opening {str(directory)!r}",
                f"{whose} has it open",
                "Close it there, or search through the server that owns it",
            )
        self._file.truncate(0)
        self._file.write(str(os.getpid()))
        self._file.flush()

    def release(self) -> None:
        """Give the directory up; a second call does nothing."""
        if self._file is not None:
            self._file.truncate(0)
            # Unlock explicitly: a forked child shares the lock, and closing our copy would leave it held.
            _unlock(self._file)
            self.abandon()

    def abandon(self) -> None:
        """Close this process's copy without unlocking, for a forked child: the parent keeps the lock."""
        if self._file is not None:
            self._file.close()
            self._file = None


if sys.platform == "win32":  # pragma: no cover
    import msvcrt

    def _try_lock(file: IO[str]) -> bool:
        # A byte far beyond the text, so that others can still read the pid.
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
