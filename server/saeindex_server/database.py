"""The server's database: keys and jobs, in one SQLite file."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

from saeindex.errors import MismatchError, StorageError

FILE, FORMAT = "server.db", 2
SCHEMA = """
CREATE TABLE IF NOT EXISTS keys (
    id TEXT PRIMARY KEY, name TEXT NOT NULL, salt BLOB NOT NULL, digest BLOB NOT NULL, scopes TEXT NOT NULL,
    indexes TEXT NOT NULL, condition TEXT, created TEXT NOT NULL, expires TEXT, revoked TEXT
);
CREATE TABLE IF NOT EXISTS jobs (
    number INTEGER PRIMARY KEY AUTOINCREMENT, id TEXT NOT NULL UNIQUE, kind TEXT NOT NULL,
    state TEXT NOT NULL,
    index_name TEXT NOT NULL, key TEXT NOT NULL, condition TEXT, asked TEXT NOT NULL, read INTEGER NOT NULL,
    total INTEGER, report TEXT, error TEXT, created TEXT NOT NULL, started TEXT, finished TEXT,
    bytes INTEGER NOT NULL
);
CREATE INDEX IF NOT EXISTS jobs_by_state ON jobs (state);
"""


class Database:
    """One connection that writes, and one for each read; every transaction is synced to the disk.

    Readers do not wait for a writer: they see what was committed before their statement began.
    """

    def __init__(self, folder: Path) -> None:
        """Open the database in a folder, which is created for its owner only."""
        self._path = folder / FILE
        self._writing, self._is_closed = threading.Lock(), False
        try:
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._path.touch(mode=0o600, exist_ok=True)
            self._writer = self._connected()
            self._writer.execute("PRAGMA journal_mode = WAL")
            self._writer.execute("PRAGMA synchronous = FULL")
            self._writer.executescript(SCHEMA)
            found = self._writer.execute("PRAGMA user_version").fetchone()[0]
            if found == 0:
                self._writer.execute(f"PRAGMA user_version = {FORMAT}")
        except (OSError, sqlite3.Error) as error:
            do = "Check the path, its permissions and the disk; or name another folder with --state."
            raise StorageError(f"the server's state in {str(folder)!r}", str(error), do) from error
        if found not in (0, FORMAT):
            asked = f"the server's state in {str(folder)!r}"
            do = "Use the version that wrote it, or another folder."
            raise MismatchError(asked, f"it has format {found}, and this version writes {FORMAT}", do)

    @contextmanager
    def transaction(self) -> Iterator[sqlite3.Connection]:
        """Run statements that are all written, or none. What they wrote is read by them alone until then.

        StorageError where the disk does not take them.
        """
        with self._writing:
            try:
                self._writer.execute("BEGIN IMMEDIATE")
                yield self._writer
                self._writer.execute("COMMIT")
            except BaseException as error:
                if self._writer.in_transaction:  # a full disk has ended it already
                    self._writer.execute("ROLLBACK")
                if isinstance(error, sqlite3.OperationalError):
                    raise _failed("a write to the server's state", error) from error
                raise

    def rows(self, statement: str, *values: Any) -> list[sqlite3.Row]:
        """Return what a question finds."""
        if self._is_closed:
            raise sqlite3.ProgrammingError("the database is closed")
        try:
            with closing(self._connected()) as connection:
                connection.execute("PRAGMA query_only = ON")
                return connection.execute(statement, values).fetchall()
        except sqlite3.OperationalError as error:
            raise _failed("a read of the server's state", error) from error

    def row(self, statement: str, *values: Any) -> sqlite3.Row | None:
        """Return the first row of what a question finds."""
        return next(iter(self.rows(statement, *values)), None)

    def close(self) -> None:
        """Close the file."""
        self._is_closed = True
        with self._writing:
            self._writer.close()

    def _connected(self) -> sqlite3.Connection:
        connection = sqlite3.connect(self._path, check_same_thread=False, isolation_level=None, timeout=10)
        connection.row_factory = sqlite3.Row
        return connection


def _failed(asked: str, error: sqlite3.OperationalError) -> StorageError:
    is_busy = getattr(error, "sqlite_errorcode", None) == sqlite3.SQLITE_BUSY
    do = "Ask again." if is_busy else "Make room on the disk of the server's state folder."
    return StorageError(asked, str(error), do)
