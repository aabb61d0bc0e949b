"""The server's database: keys, jobs and answers to repeated writes, in one SQLite file."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from saeindex.errors import MismatchError, StorageError

FILE, FORMAT = "server.db", 1
SCHEMA = """
CREATE TABLE IF NOT EXISTS keys (
    id TEXT PRIMARY KEY, name TEXT NOT NULL, salt BLOB NOT NULL, digest BLOB NOT NULL, scopes TEXT NOT NULL,
    indexes TEXT NOT NULL, condition TEXT, created TEXT NOT NULL, expires TEXT, revoked TEXT
);
CREATE TABLE IF NOT EXISTS jobs (
    number INTEGER PRIMARY KEY AUTOINCREMENT, id TEXT NOT NULL UNIQUE, kind TEXT NOT NULL,
    state TEXT NOT NULL,
    index_name TEXT NOT NULL, key TEXT NOT NULL, condition TEXT, asked TEXT NOT NULL, read INTEGER NOT NULL,
    total INTEGER, report TEXT, error TEXT, created TEXT NOT NULL, started TEXT, finished TEXT, bytes INTEGER
);
CREATE INDEX IF NOT EXISTS jobs_by_state ON jobs (state);
CREATE TABLE IF NOT EXISTS answers (
    key TEXT NOT NULL, token TEXT NOT NULL, digest BLOB NOT NULL, at TEXT NOT NULL, status INTEGER,
    body TEXT, PRIMARY KEY (key, token)
);
"""


class Database:
    """One connection that threads use in turn; every transaction is synced to the disk."""

    def __init__(self, folder: Path) -> None:
        """Open the database in a folder, which is created for its owner only."""
        try:
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            path = folder / FILE
            path.touch(mode=0o600, exist_ok=True)
            self._connection = sqlite3.connect(
                path, check_same_thread=False, isolation_level=None, timeout=10
            )
            self._connection.row_factory = sqlite3.Row
            self._connection.execute("PRAGMA journal_mode = WAL")
            self._connection.execute("PRAGMA synchronous = FULL")
            self._connection.executescript(SCHEMA)
        except (OSError, sqlite3.Error) as error:
            do = "Check the path, its permissions and the disk; or name another folder with --state."
            raise StorageError(f"the server's state in {str(folder)!r}", str(error), do) from error
        self._lock = threading.RLock()
        found = self._connection.execute("PRAGMA user_version").fetchone()[0]
        if found not in (0, FORMAT):
            raise MismatchError(
                f"the server's state in {str(folder)!r}",
                f"it has format {found}, and this version writes {FORMAT}",
                "Use the version that wrote it, or another folder.",
            )
        self._connection.execute(f"PRAGMA user_version = {FORMAT}")

    @contextmanager
    def transaction(self) -> Iterator[sqlite3.Connection]:
        """Run statements that are all written, or none."""
        with self._lock:
            self._connection.execute("BEGIN IMMEDIATE")
            try:
                yield self._connection
            except BaseException:
                self._connection.execute("ROLLBACK")
                raise
            self._connection.execute("COMMIT")

    def rows(self, statement: str, *values: Any) -> list[sqlite3.Row]:
        """Return what a question finds."""
        with self._lock:
            return self._connection.execute(statement, values).fetchall()

    def row(self, statement: str, *values: Any) -> sqlite3.Row | None:
        """Return the first row of what a question finds."""
        with self._lock:
            found: sqlite3.Row | None = self._connection.execute(statement, values).fetchone()
            return found

    def close(self) -> None:
        """Close the file."""
        with self._lock:
            self._connection.close()
