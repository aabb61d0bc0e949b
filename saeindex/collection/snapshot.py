"""Records as columns: what an analysis needs of an index, read once and kept in memory-mapped files."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from dataclasses import field as made
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy.sparse import csr_matrix

from saeindex.collection.rows import Rows, concept_parts, tokens, word_parts
from saeindex.errors import InvalidInputError, NotFoundError
from saeindex.language.ast import path_of
from saeindex.language.evaluate import found_at

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from saeindex.features import FeatureSpace
    from saeindex.types import FloatArray, JsonObject, LevelName

ReadTexts = Callable[[Sequence[str]], list[str]]


@dataclass(frozen=True, eq=False)
class Snapshot:
    """The records of an index in random order, one row each, seen through one text field.

    ``vectors`` (m, d) are unit embeddings, ``activations`` (m, n) those of the features; of a record with
    several passages the mean direction, and the strongest activation. ``words`` (m, v) has a 1 where a
    record has a word of ``vocabulary``, ``lengths`` (m,) counts each record's words. ``metadata`` holds a
    JSON object per record, as text. A record without the field has neither features nor words.
    """

    space: FeatureSpace
    field: str
    ids: Sequence[str]
    vectors: FloatArray
    activations: csr_matrix
    words: csr_matrix
    vocabulary: Sequence[str]
    lengths: NDArray[np.int32]
    metadata: Sequence[str]
    read_texts: ReadTexts
    _levels: dict[str, csr_matrix] = made(default_factory=dict)
    _columns: dict[str, Column] = made(default_factory=dict)

    @classmethod
    def in_memory(
        cls,
        space: FeatureSpace,
        ids: Sequence[str],
        vectors: FloatArray,
        activations: csr_matrix,
        texts: Sequence[str],
        metadata: Sequence[JsonObject],
        field: str = "",
    ) -> Snapshot:
        """Make a snapshot of records that are no index."""
        found = [sorted(tokens(text)) for text in texts]
        vocabulary = sorted({word for words in found for word in words})
        place = {word: column for column, word in enumerate(vocabulary)}
        columns = [[place[word] for word in words] for words in found]
        text_of = dict(zip(ids, texts, strict=True))
        return cls(
            space,
            field,
            tuple(ids),
            vectors,
            activations,
            ones_at(columns, len(vocabulary)),
            tuple(vocabulary),
            np.array([len(text.split()) for text in texts], np.int32),
            [json.dumps(dict(one), ensure_ascii=False) for one in metadata],
            lambda wanted: [text_of[one] for one in wanted],
        )

    def __len__(self) -> int:
        return len(self.ids)

    def at(self, level: LevelName) -> csr_matrix:
        """Return a matrix (m, n) float32 with a 1 where a feature is at least as active as ``level``."""
        if level not in self._levels:
            self._levels[level] = self._at(level)
        return self._levels[level]

    def column(self, name: str) -> Column:
        """Return a field of the records, such as ``metadata.year``; NotFoundError where none has it."""
        if name not in self._columns:
            found = column_of(self.metadata, path_of(name))
            if not found.values:
                raise NotFoundError(
                    f"the field {name!r}", self._fields_found(), "Name a field of the records' metadata."
                )
            self._columns[name] = found
        return self._columns[name]

    def membership(self, name: str) -> tuple[tuple[Any, ...], csr_matrix]:
        """Return the values of a field, and which records have each (m, v): a list counts as its elements."""
        return membership_of(self.column(name))

    def texts(self, rows: Iterable[int]) -> list[str]:
        """Return the texts of rows (the first passage, where there are several), read from the store."""
        return self.read_texts([self.ids[row] for row in rows])

    def rows_of(self, ids: Iterable[str]) -> NDArray[np.int64]:
        """Return where records stand; NotFoundError names those that are not there."""
        wanted = [str(one) for one in ids]
        missing = [one for one in wanted if one not in self._places]
        if missing:
            absent = f"no record {', '.join(map(repr, missing[:5]))}"
            raise NotFoundError(f"{len(wanted)} records by id", absent, "Give ids of records in the index.")
        return np.fromiter((self._places[one] for one in wanted), np.int64, len(wanted))

    def take(self, rows: NDArray[np.int64]) -> Snapshot:
        """Return the snapshot of some records, in this order."""
        return replace(
            self,
            ids=tuple(self.ids[row] for row in rows.tolist()),
            vectors=self.vectors[rows],
            activations=self.activations[rows],
            words=self.words[rows],
            lengths=self.lengths[rows],
            metadata=[self.metadata[row] for row in rows.tolist()],
            _levels={},
            _columns={},
        )

    @cached_property
    def fields(self) -> tuple[str, ...]:
        """The metadata fields of the first records, as the where language writes them."""
        known: dict[str, None] = {}
        for line in self.metadata[:1_000]:
            known |= dict.fromkeys(f"metadata.{name}" for name in json.loads(line))
        return tuple(known)

    @cached_property
    def _places(self) -> dict[str, int]:
        return {record: row for row, record in enumerate(self.ids)}

    def _at(self, level: LevelName) -> csr_matrix:
        from scipy.sparse import csr_matrix

        calibration = self.space.calibration
        least = {"present": None, "typical": calibration.median, "strong": calibration.p90}
        if level not in least:
            raise InvalidInputError(f"level {level!r}", "no such level", f"Use one of {sorted(least)}.")
        a = self.activations
        bound = least[level]
        taken = np.ones(len(a.indices), bool) if bound is None else a.data >= bound[a.indices]
        starts = np.concatenate([[0], np.cumsum(taken)])[a.indptr]
        indices = a.indices[taken]
        return csr_matrix((np.ones(len(indices), np.float32), indices, starts), shape=a.shape)

    def _fields_found(self) -> str:
        return f"the records have {', '.join(self.fields[:12]) or 'no metadata'}"


def ones_at(columns: Sequence[Sequence[int]], width: int) -> csr_matrix:
    """Return a matrix (m, width) float32 with a 1 at each row's columns."""
    from scipy.sparse import csr_matrix

    starts = np.cumsum([0, *(len(row) for row in columns)], dtype=np.int64)
    indices = np.fromiter((column for row in columns for column in row), np.int32, int(starts[-1]))
    return csr_matrix((np.ones(len(indices), np.float32), indices, starts), shape=(len(columns), width))


@dataclass(frozen=True, eq=False)
class Column:
    """``values`` of a field, in order where they are of one kind; ``codes`` (m,) says which, -1 for none."""

    values: tuple[Any, ...]
    codes: NDArray[np.int32]

    @cached_property
    def counts(self) -> NDArray[np.int64]:
        """How many records have each value."""
        return np.bincount(self.codes[self.codes >= 0], minlength=len(self.values))

    @property
    def is_numeric(self) -> bool:
        """Say whether all values are numbers."""
        return all(isinstance(one, int | float) and not isinstance(one, bool) for one in self.values)

    def take(self, rows: NDArray[np.int64]) -> Column:
        """Return the column of some records."""
        return Column(self.values, self.codes[rows])


def column_of(metadata: Sequence[str], path: Sequence[str]) -> Column:
    """Return what records (JSON objects as text) have at a path below the payload."""
    inside = path[1:] if path and path[0] == "metadata" else path
    known: dict[str, int] = {}
    found: list[Any] = []
    codes = np.full(len(metadata), -1, np.int32)
    for row, line in enumerate(metadata):
        value = found_at(json.loads(line), inside)
        if value is None or value == []:
            continue
        key = json.dumps(value, sort_keys=True, ensure_ascii=False)
        if key not in known:
            known[key] = len(found)
            found.append(value)
        codes[row] = known[key]
    return _ordered(found, codes)


def membership_of(column: Column) -> tuple[tuple[Any, ...], csr_matrix]:
    """Return the single values of a column, and which records have each (m, v); lists by their elements."""
    from scipy.sparse import csr_matrix

    elements = [value if isinstance(value, list) else [value] for value in column.values]
    known = {json.dumps(one, sort_keys=True): one for each in elements for one in each}
    values = _sorted(list(known.values()))
    place = {json.dumps(one, sort_keys=True): number for number, one in enumerate(values)}
    rows, columns = [], []
    by_code = [sorted({place[json.dumps(one, sort_keys=True)] for one in each}) for each in elements]
    for row, code in enumerate(column.codes.tolist()):
        if code >= 0:
            rows += [row] * len(by_code[code])
            columns += by_code[code]
    held = np.ones(len(rows), np.float32)
    return tuple(values), csr_matrix((held, (rows, columns)), shape=(len(column.codes), len(values)))


def _ordered(found: list[Any], codes: NDArray[np.int32]) -> Column:
    values = _sorted(found)
    place = {id(value): number for number, value in enumerate(values)}
    moved = np.array([place[id(value)] for value in found] + [-1], np.int32)
    return Column(tuple(values), moved[codes])


def _sorted(values: list[Any]) -> list[Any]:
    """Return values in their own order where they can be compared, else as they came."""
    try:
        return sorted(values)
    except TypeError:
        return values


def rows_of_snapshot(snapshot: Snapshot, rows: NDArray[np.int64], columns: NDArray[np.int64]) -> Rows:
    """Return rows of a snapshot with the words of these columns, as inference takes them."""
    x = np.asarray(snapshot.vectors[rows], np.float32)
    words = word_parts(snapshot.words[rows])[:, columns]
    if not len(columns):
        words = csr_matrix((len(rows), 1), dtype=np.float32)
    return Rows(tuple(rows.tolist()), x, concept_parts(snapshot.activations[rows], snapshot.space), words)
