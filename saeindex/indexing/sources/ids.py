"""Ids of rows: which column has them, and the id that is made where none has."""

from __future__ import annotations

import hashlib
import json
import re
import sqlite3
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from saeindex.errors import InvalidRecordError
from saeindex.indexing.sources.values import checked_id

# Columns of these names are ids, also where a row lacks one or two have the same: such rows are rejected.
DECLARED = ("id", "_id", "record_id", "uuid", "guid")
# Columns that are ids if they are unique and without gaps: of these names, or of names with these last words.
WHOLE = ("doc_id", "document_id", "docid")
WORDS = ("id", "uuid", "guid", "key", "url", "uri", "link", "permalink")
_WORDS = re.compile(r"[\W_]+|(?<=[a-z0-9])(?=[A-Z])")


def words_of(name: object) -> list[str]:
    """Return the words of a column's name in lower case: ``ticket``, ``id`` of ``ticketId``."""
    return [word.casefold() for word in _WORDS.split(str(name)) if word]


def last_word(name: object) -> str:
    """Return the last word of a column's name in lower case."""
    return (words_of(name) or [""])[-1]


def declared_id(rows: Sequence[Mapping[str, Any]]) -> str | None:
    """Return the column that is the id by its name alone; those with a string or an integer come first."""
    found = {
        (not isinstance(value, str | int | float), DECLARED.index(name.casefold()), name)
        for row in rows
        for name, value in row.items()
        if isinstance(name, str) and name.casefold() in DECLARED
    }
    return min(found)[2] if found else None


def likely_ids(
    rows: Sequence[Mapping[str, Any]], first: Sequence[str] = (), is_whole: bool = True
) -> list[str]:
    """Return the columns that may be the id, the likeliest first, as far as ``rows`` do not rule them out.

    ``first`` are columns that come before all others. Unless the whole table will be looked through
    (``is_whole``), only usual names count.
    """
    names = list(dict.fromkeys(name for row in rows for name in row))

    def rank(name: str) -> int | None:
        if name in first:
            return -2
        if str(name).casefold() in WHOLE:
            return -1
        word = last_word(name)
        return WORDS.index(word) if is_whole and word in WORDS else None

    ranked = sorted((place, at, name) for at, name in enumerate(names) if (place := rank(name)) is not None)
    likely = [name for _, _, name in ranked]
    return unique_columns(likely, rows)


def unique_columns(names: Sequence[str], rows: Iterable[Mapping[str, Any]]) -> list[str]:
    """Return those of the columns in which each row has an id of its own; memory is bounded."""
    seen = {name: SeenIds() for name in names}
    for row in rows:
        if not seen:
            break
        for name in [*seen]:
            try:
                is_new = seen[name].add(checked_id(row.get(name))) is None
            except InvalidRecordError:
                is_new = False
            if not is_new:
                seen.pop(name).close()
    for one in seen.values():
        one.close()
    return [*seen]


class MadeIds:
    """Makes ids for the rows of one reading of a source that has none.

    An id is made of the source's name, the row and, among equal rows, its number: a row that is inserted
    elsewhere changes no other, and a second reading gives the same ids.
    """

    def __init__(self, source: str) -> None:
        """``source`` is the name of the source: equal rows of two sources are two records."""
        self._source, self._seen = source, SeenIds()

    def close(self) -> None:
        """Forget what was counted."""
        self._seen.close()

    def __call__(self, fields: Mapping[str, Any]) -> str:
        """Return the id of the next row."""
        named = {str(name): value for name, value in fields.items()}
        row = json.dumps([self._source, named], sort_keys=True, default=str)
        digest = hashlib.sha256(row.encode()).hexdigest()[:32]
        if (number := self._seen.count(digest)) > 1:
            digest = hashlib.sha256(f"{digest}:{number}".encode()).hexdigest()[:32]
        return f"sha256:{digest}"


class SeenIds:
    """A set of ids with the position of each, in a private temporary database."""

    def __init__(self) -> None:
        """Open the database; sqlite removes it when it is closed, or when the process dies."""
        self.position = 0
        self._database = sqlite3.connect("")
        self._database.execute("CREATE TABLE seen (id BLOB PRIMARY KEY, position INTEGER) WITHOUT ROWID")

    def add(self, record_id: str) -> int | None:
        """Add the next record; return the position (from 1) of an earlier one with its id, or None."""
        self.position += 1
        return self.add_further(record_id)

    def add_further(self, record_id: str) -> int | None:
        """Add a further id of the record at this position; return as :meth:`add` does."""
        digest = _short(record_id)
        added = self._database.execute("INSERT OR IGNORE INTO seen VALUES (?, ?)", (digest, self.position))
        if added.rowcount:
            return None
        row = self._database.execute("SELECT position FROM seen WHERE id = ?", (digest,)).fetchone()
        return int(row[0])

    def count(self, record_id: str) -> int:
        """Add an id, and return how often it was added with this method."""
        counted = "INSERT INTO seen VALUES (?, 1) ON CONFLICT DO UPDATE SET position = position + 1"
        self._database.execute(counted, (digest := _short(record_id),))
        row = self._database.execute("SELECT position FROM seen WHERE id = ?", (digest,)).fetchone()
        return int(row[0])

    def close(self) -> None:
        """Forget all."""
        self._database.close()


def _short(record_id: str) -> bytes:
    return hashlib.blake2b(record_id.encode(), digest_size=16).digest()
