"""Ids that a run has met, on disk rather than in memory: memory must not grow with the corpus."""

from __future__ import annotations

import hashlib
import sqlite3
from types import TracebackType
from typing import Self


class SeenIds:
    """A set of ids with the position of each, in a private temporary database."""

    def __init__(self) -> None:
        """Open the database; sqlite removes it when it is closed, or when the process dies."""
        self.position = 0
        self._database = sqlite3.connect("")
        self._database.execute("CREATE TABLE seen (id BLOB PRIMARY KEY, position INTEGER) WITHOUT ROWID")

    def add(self, record_id: str) -> int | None:
        """Count one more record; return the position (from 1) where its id stood before, if it did."""
        self.position += 1
        digest = hashlib.blake2b(record_id.encode(), digest_size=16).digest()
        added = self._database.execute("INSERT OR IGNORE INTO seen VALUES (?, ?)", (digest, self.position))
        if added.rowcount:
            return None
        row = self._database.execute("SELECT position FROM seen WHERE id = ?", (digest,)).fetchone()
        return int(row[0])

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None
    ) -> None:
        self._database.close()
