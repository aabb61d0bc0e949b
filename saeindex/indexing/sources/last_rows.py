"""The rows of a source of which none comes after with the same id: the last of two wins."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Collection, Iterator
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from saeindex.indexing.known import Known
from saeindex.indexing.sources.columns import short_id
from saeindex.protocols import RecordSource, Rejected
from saeindex.types import Record

if TYPE_CHECKING:
    from typing import Self


class LastRows:
    """The rows of a source, with their positions from 1, and the last position of each id.

    The source is read twice, or once if no two of its ids are equal; what can be read only once is kept
    meanwhile, in a private temporary database.
    """

    def __init__(self, source: RecordSource, fields: Collection[str]) -> None:
        """Read the source once; a record with a text that is in none of the ``fields`` replaces nothing."""
        self._source: RecordSource = source
        self._failure: Exception | None = None
        self.has_all_ids = True
        """Whether the id of each row is known, also of those that are rejected."""
        self._is_kept = bool(getattr(source, "is_one_shot", False))
        # sqlite removes the database when it is closed, or when the process dies.
        self._database = sqlite3.connect("", check_same_thread=False)
        self._database.execute("CREATE TABLE last (id BLOB PRIMARY KEY, position INTEGER) WITHOUT ROWID")
        self._database.execute("CREATE TABLE rows (position INTEGER PRIMARY KEY, row TEXT)")
        known = set(fields)
        last = "INSERT INTO last VALUES (?, ?) ON CONFLICT DO UPDATE SET position = excluded.position"
        try:
            is_unique = getattr(source, "has_unique_ids", False)
            for position, entry in enumerate(() if is_unique else source, 1):
                if isinstance(entry, Record) and entry.fields.keys() <= known:
                    self._database.execute(last, (short_id(entry.id), position))
                elif entry.id is not None:
                    self._database.execute("INSERT OR IGNORE INTO last VALUES (?, 0)", (short_id(entry.id),))
                else:
                    self.has_all_ids = False
                if self._is_kept:
                    self._database.execute("INSERT INTO rows VALUES (?, ?)", (position, _row(entry)))
        except Exception as error:  # what came before is indexed first; other sources fail again
            self._failure = error if self._is_kept else None

    def __iter__(self) -> Iterator[Record | Rejected | None]:
        """Yield the rows; None in place of one that a later row replaces."""
        last = "SELECT position FROM last WHERE id = ?"
        for position, entry in enumerate(self._rows(), 1):
            if isinstance(entry, Record):
                found = self._database.execute(last, (short_id(entry.id),)).fetchone()
                yield None if found is not None and found[0] > position else entry
            else:
                yield entry
        if self._failure is not None:
            raise self._failure

    def _rows(self) -> Iterator[Record | Rejected]:
        if not self._is_kept:
            yield from self._source
            return
        for (row,) in self._database.execute("SELECT row FROM rows ORDER BY position"):
            kind, *parts = json.loads(row)
            yield _record(parts) if kind else Rejected(*parts)

    def owner(self, record_id: str, position: int) -> int | None:
        """Return the position of another row that has an id, None if the one at ``position`` may have it."""
        self._database.execute("INSERT OR IGNORE INTO last VALUES (?, ?)", (short_id(record_id), position))
        own = self._database.execute("SELECT position FROM last WHERE id = ?", (short_id(record_id),))
        found = int(own.fetchone()[0])
        return found if found not in {0, position} else None

    def gives(self, record_id: str) -> bool:
        """Return whether a row has an id, be it rejected."""
        asked = "SELECT 1 FROM last WHERE id = ?"
        return self._database.execute(asked, (short_id(record_id),)).fetchone() is not None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._failure = None
        self._database.close()


def _row(entry: Record | Rejected) -> str:
    if isinstance(entry, Rejected):
        return json.dumps([0, entry.position, entry.reason, entry.id], ensure_ascii=False)
    vector = None if entry.vector is None else entry.vector.tolist()
    known = None if entry.known is None else entry.known.to_json()
    parts = entry.id, entry.text, dict(entry.metadata), dict(entry.fields), entry.document, vector, known
    return json.dumps([1, *parts], ensure_ascii=False)


def _record(parts: list[Any]) -> Record:
    vector, known = parts[5:]
    own = None if vector is None else np.array(vector, np.float32)
    made = Record(*parts[:5])
    return replace(made, vector=own, known=None if known is None else Known.from_json(known))
