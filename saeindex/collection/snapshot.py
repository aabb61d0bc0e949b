"""Records as columns: the data of an index for analyses.

Nothing is read of the index when there is a snapshot: it stays what it is while records are written.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from dataclasses import field as made
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from saeindex.collection.sample import (
    CollectionSample,
    Rows,
    concept_parts,
    frequent,
    word_parts,
)
from saeindex.config import DOCUMENT, LEVELS, LEVELS_OF
from saeindex.errors import InvalidInputError, NotFoundError
from saeindex.features.evidence import Mention
from saeindex.indexing.points import POSSIBLE
from saeindex.language.evaluate import found_at
from saeindex.language.fields import METADATA, as_one_name, field_at, path_of, shown_fields
from saeindex.report.numbers import counted
from saeindex.types import LevelName

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from scipy.sparse import csc_matrix, csr_matrix

    from saeindex.features import FeatureSpace
    from saeindex.types import FloatArray, Ints

ReadTexts = Callable[[Sequence[str]], list[str]]
# A level has a bit each; above them are the evidence in percent, and the sentence that gives it.
OF_LEVELS, OF_PERCENT = LEVELS, 7
MEASURED: tuple[LevelName, ...] = ("present", "typical", "strong")
_IS_POSSIBLE = 1 << POSSIBLE


@dataclass(frozen=True, eq=False)
class Snapshot:
    """The records of an index in random order, one row each, with the data of one text field.

    ``vectors`` (m, d) are unit embeddings, ``activations`` (m, n) the features' activations. ``reached``
    (m, n) int32 has the bits of the levels that a record reaches with each feature, its evidence and the
    number of the sentence that gives it. ``words`` (m, v) is 1 where a record has a word of ``vocabulary``,
    ``lengths`` (m,) is each record's number of words.
    ``metadata`` has a JSON object per record, as text, ``documents`` the document that each is a piece of. A
    record without the field has no features or words. ``lists_unnamed`` says that analyses also look among
    the features that have no name to show.
    """

    space: FeatureSpace
    field: str
    ids: Sequence[str]
    vectors: FloatArray
    activations: csr_matrix
    reached: csr_matrix
    words: csr_matrix
    vocabulary: Sequence[str]
    lengths: NDArray[np.int32]
    metadata: Sequence[str]
    read_texts: ReadTexts
    documents: Sequence[str | None] = ()
    lists_unnamed: bool = False
    _levels: dict[str, csr_matrix] = made(default_factory=dict, init=False)
    _columns: dict[str, Column] = made(default_factory=dict, init=False)
    # The clusters of all records, by their seed: comparisons of their groups look at the same ones.
    clusters: dict[int, tuple[Sequence[str], csr_matrix]] = made(default_factory=dict, init=False)

    def __len__(self) -> int:
        return len(self.ids)

    def at(self, level: LevelName) -> csr_matrix:
        """Return a matrix (m, n) float32 with a 1 where a feature is at ``level`` or above."""
        if level not in self._levels:
            self._levels[level] = self._at(level)
        return self._levels[level]

    @cached_property
    def listed(self) -> Ints:
        """The features that analyses look among."""
        every = np.arange(self.space.n_features)
        return every if self.lists_unnamed else every[self.space.is_named]

    def listed_at(self, level: LevelName) -> csr_matrix:
        """Return :meth:`at` with the features that analyses look among; the columns of others are empty."""
        from scipy.sparse import diags

        kept = np.zeros(self.space.n_features, np.float32)
        kept[self.listed] = 1.0
        found: csr_matrix = (self.at(level) @ diags(kept)).tocsr()
        found.eliminate_zeros()
        return found

    @cached_property
    def has_evidence(self) -> bool:
        """Whether the levels of named concepts are those of evidence: of what sentences say."""
        return bool((self.reached.data & _IS_POSSIBLE).any())

    def mentions(self, row: int) -> list[Mention]:
        """Return the evidence of a record, ascending by feature."""
        own = slice(self.reached.indptr[row], self.reached.indptr[row + 1])
        packed, features = self.reached.data[own], self.reached.indices[own]
        is_said = packed & _IS_POSSIBLE > 0
        percents = (packed[is_said] >> OF_LEVELS) & ((1 << OF_PERCENT) - 1)
        sentences = packed[is_said] >> (OF_LEVELS + OF_PERCENT)
        found = zip(features[is_said].tolist(), percents.tolist(), sentences.tolist(), strict=True)
        return [Mention(feature, percent / 100, sentence) for feature, percent, sentence in found]

    def strength(self, rows: Ints, feature: int) -> FloatArray:
        """Return how sure records (r,) speak of a feature's concept; how active it is, if nothing says so.

        Of a feature of tokens, how many levels they reach.
        """
        evidence, own = self.space.evidence, self.space.of_reader
        if own.start <= feature < own.stop:
            levels = [self.at(one)[rows][:, feature].toarray().ravel() for one in MEASURED]
            return np.asarray(np.sum(levels, 0), np.float32)
        if not self.has_evidence or evidence is None or feature not in evidence.features:
            return np.asarray(self.activations[rows][:, feature].toarray().ravel(), np.float32)
        found: FloatArray = self.percents([feature])[rows, 0].astype(np.float32)
        return found

    def percents(self, features: Sequence[int]) -> NDArray[np.int32]:
        """Return the evidence in percent of features' concepts (m, f), 0 where there is none."""
        packed: NDArray[np.int32] = self._by_feature[:, list(features)].toarray()
        return (packed >> OF_LEVELS) & ((1 << OF_PERCENT) - 1)

    @cached_property
    def _by_feature(self) -> csc_matrix:
        """What is reached, by feature: analyses ask for some features of all records, many times."""
        return self.reached.tocsc()

    def column(self, name: str) -> Column:
        """Return a field of the records, such as ``metadata.year``; NotFoundError if no record has it."""
        return self._columns[self.resolved(name)]

    def resolved(self, name: str) -> str:
        """Return the canonical form of a field, also of one that is named without quotes.

        Raises:
            NotFoundError: no record has it.
        """
        if name == DOCUMENT and self.has_documents:
            if name not in self._columns:
                self._columns[name] = column_of_values(self.documents)
            return name
        for path in dict.fromkeys((path_of(name), as_one_name(name))):
            field = field_at(path)
            if field not in self._columns:
                inside = path[1:] if path[0] == METADATA else path
                values = [found_at(json.loads(line), inside) for line in self.metadata]
                self._columns[field] = column_of_values(values)
            if self._columns[field].values:
                return field
        found = f"the records have {shown_fields(self.fields)}"
        raise NotFoundError(f"the field {name!r}", found, "Name a field of the records' metadata.")

    def membership(self, name: str) -> tuple[tuple[Any, ...], csr_matrix]:
        """Return the values of a field, and their presence in records (m, v); lists count by element."""
        from scipy.sparse import csr_matrix

        column = self.column(name)
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
        shape, present = (len(column.codes), len(values)), np.ones(len(rows), np.float32)
        return tuple(values), csr_matrix((present, (rows, columns)), shape=shape)

    def texts(self, rows: Iterable[int]) -> list[str]:
        """Return the texts of rows."""
        return self.read_texts([self.ids[row] for row in rows])

    def rows_of(self, ids: Iterable[str]) -> Ints:
        """Return the rows of records by id; NotFoundError names the missing records."""
        wanted = [str(one) for one in ids]
        missing = [one for one in wanted if one not in self._places]
        if missing:
            absent = f"no record {', '.join(map(repr, missing[:5]))}"
            raise NotFoundError(
                f"{counted(len(wanted), 'record')} by id", absent, "Give ids of records in the index."
            )
        return np.fromiter((self._places[one] for one in wanted), np.int64, len(wanted))

    def take(self, rows: Ints) -> Snapshot:
        """Return the snapshot of some records, in this order."""
        return replace(
            self,
            ids=tuple(self.ids[row] for row in rows.tolist()),
            vectors=self.vectors[rows],
            activations=self.activations[rows],
            reached=self.reached[rows],
            words=self.words[rows],
            lengths=self.lengths[rows],
            metadata=[self.metadata[row] for row in rows.tolist()],
            documents=[self.documents[row] for row in rows.tolist()] if self.documents else (),
        )

    def without_terms(self) -> Snapshot:
        """Return the snapshot without the terms of the collection, for comparisons with another one."""
        space = self.space.without_terms()
        if space is self.space:
            return self
        n = space.n_features
        own = {"activations": self.activations[:, :n], "reached": self.reached[:, :n]}
        return replace(self, space=space, **own)

    @cached_property
    def has_documents(self) -> bool:
        """Whether some records are pieces of documents."""
        return any(one is not None for one in self.documents)

    @cached_property
    def fields(self) -> tuple[str, ...]:
        """The metadata fields that have a value in the first records, as the where language writes them."""
        known: dict[str, None] = {}
        for line in self.metadata[:1_000]:
            values = json.loads(line).items()
            known |= dict.fromkeys(
                field_at((METADATA, name)) for name, value in values if name and value not in (None, [])
            )
        return tuple(known)

    @cached_property
    def _places(self) -> dict[str, int]:
        return {record: row for row, record in enumerate(self.ids)}

    def _at(self, level: LevelName) -> csr_matrix:
        from scipy.sparse import csr_matrix

        if level not in LEVELS_OF:
            raise InvalidInputError(f"level {level!r}", "no such level", f"Use {', '.join(LEVELS_OF)}.")
        taken = self.reached.data & sum(1 << number for number in LEVELS_OF[level]) > 0
        starts = np.concatenate([[0], np.cumsum(taken)])[self.reached.indptr]
        indices = self.reached.indices[taken]
        return csr_matrix((np.ones(len(indices), np.float32), indices, starts), shape=self.reached.shape)


@dataclass(frozen=True, eq=False)
class Column:
    """``values`` of a field, sorted if comparable; ``codes`` (m,) is each record's value, -1 for none."""

    values: tuple[Any, ...]
    codes: NDArray[np.int32]

    @cached_property
    def counts(self) -> Ints:
        """The number of records with each value."""
        return np.bincount(self.codes[self.codes >= 0], minlength=len(self.values))

    def take(self, rows: Ints) -> Column:
        """Return the column of some records."""
        return Column(self.values, self.codes[rows])


def column_of_values(values: Sequence[Any]) -> Column:
    """Return the column of the records' values, None for none."""
    known: dict[str, int] = {}
    found: list[Any] = []
    codes = np.full(len(values), -1, np.int32)
    for row, value in enumerate(values):
        if value is None or value == []:
            continue
        key = json.dumps(value, sort_keys=True, ensure_ascii=False)
        if key not in known:
            known[key] = len(found)
            found.append(value)
        codes[row] = known[key]
    ordered = _sorted(found)
    place = {id(value): number for number, value in enumerate(ordered)}
    moved = np.array([place[id(value)] for value in found] + [-1], np.int32)
    return Column(tuple(ordered), moved[codes])


def _sorted(values: list[Any]) -> list[Any]:
    """Return the values sorted if they can be compared, else unchanged."""
    try:
        return sorted(values)
    except TypeError:
        return values


def rows_of_snapshot(snapshot: Snapshot, rows: Ints, columns: Ints) -> Rows:
    """Return rows of a snapshot with the words of these columns, in the form that inference needs."""
    x = np.asarray(snapshot.vectors[rows], np.float32)
    parts = concept_parts(snapshot.activations[rows], snapshot.space)
    return Rows(tuple(rows.tolist()), x, parts, word_parts(snapshot.words[rows], columns))


def sample_of(snapshot: Snapshot, rows: Ints, cache: Path | None = None) -> CollectionSample:
    """Return rows of a snapshot as the collection that inference looks at, with their frequent words."""
    columns = frequent(snapshot.words[rows], snapshot.vocabulary)
    places = {snapshot.vocabulary[column]: place for place, column in enumerate(columns.tolist())}
    return CollectionSample(
        snapshot.space, rows_of_snapshot(snapshot, rows, columns), places, len(rows), cache
    )


def columns_of(snapshot: Snapshot, sample: CollectionSample) -> Ints:
    """Return the columns of a snapshot with the words of a sample (v,), in their order."""
    column = {word: place for place, word in enumerate(snapshot.vocabulary)}
    return np.array([column[word] for word in sample.places], np.int64)
