"""Records as columns: the data of an index for analyses, read once into memory-mapped files.

One scroll over the points appends to the columns page by page, so only one page is in memory. Nothing is read
of the index afterwards: a snapshot stays what it is while records are written.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from dataclasses import field as made
from functools import cached_property
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import IO, TYPE_CHECKING, Any

import numpy as np

from saeindex.collection.sample import (
    MAX_WORDS,
    MIN_RECORDS,
    CollectionSample,
    Rows,
    Words,
    concept_parts,
    word_parts,
)
from saeindex.config import (
    CONCEPTS,
    DENSE,
    DOCUMENT,
    EVIDENCE,
    LEVEL_STRIDE,
    LEVELS,
    LEVELS_OF,
    SAE,
    SPEAKING,
    TEXT,
    suffixed,
)
from saeindex.errors import InvalidInputError, NotFoundError
from saeindex.features.evidence import Mention
from saeindex.files import (
    changed_files,
    checksums_of_files,
    replacing_folder,
    with_checksum,
    without_checksum,
)
from saeindex.indexing.points import POSSIBLE, integers, numbers_in
from saeindex.language.evaluate import found_at
from saeindex.language.fields import METADATA, as_one_name, field_at, path_of, shown_fields
from saeindex.protocols import Point, PointId, SparseVector
from saeindex.report.numbers import counted
from saeindex.stores.base import pages
from saeindex.stores.point_checks import id_order

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from scipy.sparse import csc_matrix, csr_matrix

    from saeindex.features import FeatureSpace
    from saeindex.protocols import VectorStore
    from saeindex.types import FloatArray, JsonObject, LevelName

ReadTexts = Callable[[Sequence[str]], list[str]]
FORMAT = 6
PAGE = 2_000
ARRAYS = {
    "keys": "S18",
    "vectors": "<f4",
    "sizes": "<i4",
    "indices": "<i4",
    "values": "<f4",
    "level_sizes": "<i4",
    "level_indices": "<i4",
    "levels": "<i4",
    "word_sizes": "<i4",
    "word_indices": "<i4",
    "lengths": "<i4",
    "text_sizes": "<i4",
}
# A level has a bit each; above them are the evidence in percent, and the sentence that gives it.
_OF_LEVELS, _OF_PERCENT = LEVELS, 7
_IS_POSSIBLE = 1 << POSSIBLE
LINES = ("ids", "documents", "metadata")
TEXTS, VOCABULARY = "texts", "vocabulary.json"
# The columns that have several entries a row, by the column that has their number.
RAGGED = {
    "sizes": ("indices", "values"),
    "level_sizes": ("level_indices", "levels"),
    "word_sizes": ("word_indices",),
    "text_sizes": (TEXTS,),
}


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
    _levels: dict[str, csr_matrix] = made(default_factory=dict)
    _columns: dict[str, Column] = made(default_factory=dict)

    def __len__(self) -> int:
        return len(self.ids)

    def at(self, level: LevelName) -> csr_matrix:
        """Return a matrix (m, n) float32 with a 1 where a feature is at ``level`` or above."""
        if level not in self._levels:
            self._levels[level] = self._at(level)
        return self._levels[level]

    @cached_property
    def listed(self) -> NDArray[np.int64]:
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
        percents = (packed[is_said] >> _OF_LEVELS) & ((1 << _OF_PERCENT) - 1)
        sentences = packed[is_said] >> (_OF_LEVELS + _OF_PERCENT)
        found = zip(features[is_said].tolist(), percents.tolist(), sentences.tolist(), strict=True)
        return [Mention(feature, percent / 100, sentence) for feature, percent, sentence in found]

    def strength(self, rows: NDArray[np.int64], feature: int) -> FloatArray:
        """Return how sure records (r,) speak of a feature's concept; how active it is, if nothing says so."""
        evidence = self.space.evidence
        if not self.has_evidence or evidence is None or feature not in evidence.features:
            return np.asarray(self.activations[rows][:, feature].toarray().ravel(), np.float32)
        found: FloatArray = self.percents([feature])[rows, 0].astype(np.float32)
        return found

    def percents(self, features: Sequence[int]) -> NDArray[np.int32]:
        """Return the evidence in percent of features' concepts (m, f), 0 where there is none."""
        packed: NDArray[np.int32] = self._by_feature[:, list(features)].toarray()
        return (packed >> _OF_LEVELS) & ((1 << _OF_PERCENT) - 1)

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
        return membership_of(self.column(name))

    def texts(self, rows: Iterable[int]) -> list[str]:
        """Return the texts of rows."""
        return self.read_texts([self.ids[row] for row in rows])

    def rows_of(self, ids: Iterable[str]) -> NDArray[np.int64]:
        """Return the rows of records by id; NotFoundError names the missing records."""
        wanted = [str(one) for one in ids]
        missing = [one for one in wanted if one not in self._places]
        if missing:
            absent = f"no record {', '.join(map(repr, missing[:5]))}"
            raise NotFoundError(
                f"{counted(len(wanted), 'record')} by id", absent, "Give ids of records in the index."
            )
        return np.fromiter((self._places[one] for one in wanted), np.int64, len(wanted))

    def take(self, rows: NDArray[np.int64]) -> Snapshot:
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
            _levels={},
            _columns={},
        )

    def without_terms(self) -> Snapshot:
        """Return the snapshot without the terms of the collection, for comparisons with another one."""
        space = self.space.without_terms()
        if space is self.space:
            return self
        n = space.n_features
        own = {"activations": self.activations[:, :n], "reached": self.reached[:, :n]}
        return replace(self, space=space, _levels={}, _columns={}, **own)

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
    def counts(self) -> NDArray[np.int64]:
        """The number of records with each value."""
        return np.bincount(self.codes[self.codes >= 0], minlength=len(self.values))

    def take(self, rows: NDArray[np.int64]) -> Column:
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
    return _ordered(found, codes)


def membership_of(column: Column) -> tuple[tuple[Any, ...], csr_matrix]:
    """Return the different values of a column, and their presence in records (m, v); lists by element."""
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
    present = np.ones(len(rows), np.float32)
    return tuple(values), csr_matrix((present, (rows, columns)), shape=(len(column.codes), len(values)))


def _ordered(found: list[Any], codes: NDArray[np.int32]) -> Column:
    values = _sorted(found)
    place = {id(value): number for number, value in enumerate(values)}
    moved = np.array([place[id(value)] for value in found] + [-1], np.int32)
    return Column(tuple(values), moved[codes])


def _sorted(values: list[Any]) -> list[Any]:
    """Return the values sorted if they can be compared, else unchanged."""
    try:
        return sorted(values)
    except TypeError:
        return values


def rows_of_snapshot(snapshot: Snapshot, rows: NDArray[np.int64], columns: NDArray[np.int64]) -> Rows:
    """Return rows of a snapshot with the words of these columns, in the form that inference needs."""
    x = np.asarray(snapshot.vectors[rows], np.float32)
    parts = concept_parts(snapshot.activations[rows], snapshot.space)
    return Rows(tuple(rows.tolist()), x, parts, word_parts(snapshot.words[rows], columns))


def sample_of(snapshot: Snapshot, rows: NDArray[np.int64], cache: Path | None = None) -> CollectionSample:
    """Return rows of a snapshot as the collection that inference looks at, with their frequent words."""
    counts = np.asarray(snapshot.words[rows].sum(0)).ravel()
    ranked = np.argsort(-counts, kind="stable")[:MAX_WORDS]
    columns = np.sort(ranked[counts[ranked] >= MIN_RECORDS]).astype(np.int64)
    places = {snapshot.vocabulary[column]: place for place, column in enumerate(columns.tolist())}
    return CollectionSample(
        snapshot.space, rows_of_snapshot(snapshot, rows, columns), places, len(rows), cache
    )


def columns_of(snapshot: Snapshot, sample: CollectionSample) -> NDArray[np.int64]:
    """Return the columns of a snapshot with the words of a sample (v,), in their order."""
    column = {word: place for place, word in enumerate(snapshot.vocabulary)}
    return np.array([column[word] for word in sample.places], np.int64)


def take_snapshot(
    store: VectorStore,
    space: FeatureSpace,
    revisions: tuple[str, str | None],
    cache: Path | None,
    field: str = "",
    changed: Collection[PointId] = (),
) -> Snapshot:
    """Return a snapshot of the points of a revision; a cached one is used if it is of this revision.

    If it is of the second, earlier one of the ``revisions``, only the points that ``changed`` since are read.
    ``cache`` is a folder of the index; without one the files live as long as the snapshot.
    """
    wanted, earlier = (_fingerprint(space, revision) for revision in revisions)
    kept = None if cache is None else cache / f"snapshot{'-' + field if field else ''}"
    if kept is None:
        temporary = TemporaryDirectory(prefix="saeindex-")
        _write(Path(temporary.name), store, space, field, wanted)
        return _opened(Path(temporary.name), space, field, temporary)
    described = _described(kept)
    if described.get("fingerprint") != wanted or changed_files(kept, described["files"]):
        with replacing_folder(kept) as draft:  # mapped files stay readable until they are released
            if described.get("fingerprint") == earlier:
                _write_again(draft, kept, store, space, field, wanted, changed)
            else:
                _write(draft, store, space, field, wanted)
    return _opened(kept, space, field)


def _fingerprint(space: FeatureSpace, revision: str | None) -> str:
    return hashlib.sha256(json.dumps([FORMAT, space.fingerprint, revision]).encode()).hexdigest()[:24]


def _described(folder: Path) -> JsonObject:
    """Return what a folder's snapshot says of itself; {} where there is none that is as it was written."""
    try:
        described = _json(folder / "snapshot.json")
        return without_checksum(described) or {}
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return {}


def _write(folder: Path, store: VectorStore, space: FeatureSpace, field: str, fingerprint: str) -> None:
    """Write a snapshot of all points."""
    read = (page.points for page in pages(store, None, PAGE, *_read_of(field)))
    words = Words()
    count = _write_columns(folder, read, space, field, words)
    _describe(folder, space, fingerprint, count, words)


def _write_again(
    folder: Path,
    former: Path,
    store: VectorStore,
    space: FeatureSpace,
    field: str,
    fingerprint: str,
    changed: Collection[PointId],
) -> None:
    """Write a snapshot of which only some points differ from a former one: what is as it was is copied."""
    words = Words(_json(former / VOCABULARY))
    points = sorted(store.get(list(changed), *_read_of(field)), key=lambda point: id_order(point.id))
    with TemporaryDirectory(dir=folder) as fresh:
        _write_columns(Path(fresh), [points], space, field, words)
        folders = former, Path(fresh)
        keys = [_mapped(one / "keys.bin", ARRAYS["keys"]) for one in folders]
        stay = np.flatnonzero(~np.isin(keys[0], np.array([_key(one) for one in changed], ARRAYS["keys"])))
        places = np.searchsorted(keys[0][stay], keys[1])
        rows = np.insert(stay, places, np.arange(len(keys[1])))
        source = np.insert(np.zeros(len(stay), np.int64), places, 1)
        begins = np.flatnonzero((np.diff(rows, prepend=-2) != 1) | (np.diff(source, prepend=0) != 0))
        ends = np.append(begins[1:], len(rows))
        runs = [(source[a], rows[a], rows[b - 1] + 1) for a, b in zip(begins, ends, strict=True)]
        for name in (*(f"{name}.bin" for name in (*ARRAYS, TEXTS)), *(f"{name}.jsonl" for name in LINES)):
            parts = [_mapped(one / name, "u1") for one in folders]
            starts = [_starts(one, name, space.sae.dimension) for one in folders]
            with (folder / name).open("wb") as file:
                for one, first, last in runs:
                    file.write(parts[one][starts[one][first] : starts[one][last]])
    _describe(folder, space, fingerprint, len(rows), words)


def _starts(folder: Path, name: str, dimension: int) -> NDArray[np.int64]:
    """Return where each row of a column begins, and the last ends, in bytes."""
    column, _, kind = name.partition(".")
    if kind == "jsonl":
        lines = np.flatnonzero(_mapped(folder / name, "u1") == ord("\n"))
        return np.concatenate([[0], lines + 1])
    width = np.dtype(ARRAYS.get(column, "u1")).itemsize
    if sizes := next((sizes for sizes, ragged in RAGGED.items() if column in ragged), None):
        counts = _mapped(folder / f"{sizes}.bin", ARRAYS[sizes])
        return np.concatenate([[0], np.cumsum(counts, dtype=np.int64) * width])
    width *= dimension if column == "vectors" else 1
    return np.arange(0, (folder / name).stat().st_size + 1, width)


def _read_of(field: str) -> tuple[bool, list[str]]:
    """Return the payload and the vectors to read; a whole payload takes the engine half of the time."""
    return True, [suffixed(name, field) for name in (DENSE, SAE)]


def _write_columns(
    folder: Path,
    read: Iterable[Sequence[Point]],
    space: FeatureSpace,
    field: str,
    words: Words,
) -> int:
    """Write points as columns, and number further words as they come; return the number of points."""
    text, as_json, count = suffixed(TEXT, field), json.JSONEncoder(ensure_ascii=False).encode, 0
    with ExitStack() as opened:
        files: dict[str, IO[Any]] = {
            name: opened.enter_context((folder / f"{name}.bin").open("wb")) for name in (*ARRAYS, TEXTS)
        }
        lines = {
            name: opened.enter_context((folder / f"{name}.jsonl").open("w", encoding="utf-8"))
            for name in LINES
        }
        for points in read:
            count += len(points)
            arrays = _arrays(points, field, space, words)
            arrays |= level_columns([point.payload for point in points], field)
            for name, array in arrays.items():
                files[name].write(array.astype(ARRAYS[name]).tobytes())
            for point in points:
                metadata = point.payload.get(METADATA) or {}
                row = point.payload["record_id"], point.payload.get(DOCUMENT), metadata
                for name, value in zip(LINES, row, strict=True):
                    lines[name].write(as_json(value) + "\n")
                files[TEXTS].write((point.payload.get(text) or "").encode())
    return count


def _describe(folder: Path, space: FeatureSpace, fingerprint: str, count: int, words: Words) -> None:
    """Write the words, and last what the snapshot is of, and how to tell that its files are as written."""
    (folder / VOCABULARY).write_text(json.dumps(list(words.numbers), ensure_ascii=False), "utf-8")
    described = {
        "format": FORMAT,
        "fingerprint": fingerprint,
        "points": count,
        "dimension": space.sae.dimension,
        "n_features": space.n_features,
        "files": checksums_of_files(folder, without="snapshot.json"),
    }
    (folder / "snapshot.json").write_text(json.dumps(with_checksum(described)), "utf-8")


def _key(point_id: PointId) -> bytes:
    """Return an id as bytes whose order is that of ids: integers first."""
    kind, digits = (2, point_id.replace("-", "")) if isinstance(point_id, str) else (1, f"{point_id:032x}")
    return bytes([kind, *bytes.fromhex(digits), 46])


def _arrays(
    points: Sequence[Point], field: str, space: FeatureSpace, words: Words
) -> dict[str, np.ndarray[Any, Any]]:
    """Return a page of points as columns."""
    dense, sae, text = (suffixed(name, field) for name in (DENSE, SAE, TEXT))
    none = np.zeros(space.sae.dimension, np.float32)
    codes = [point.vectors.get(sae) for point in points]
    rows = [code for code in codes if isinstance(code, SparseVector)]
    texts = [point.payload.get(text) or "" for point in points]
    word_sizes, word_indices = words.of(texts)
    return {
        "keys": np.array([_key(point.id) for point in points], ARRAYS["keys"]),
        "vectors": np.array([point.vectors.get(dense, none) for point in points], np.float32),
        "sizes": np.array([len(code.indices) if isinstance(code, SparseVector) else 0 for code in codes]),
        "indices": np.concatenate([np.zeros(0, np.int32), *(code.indices for code in rows)]),
        "values": np.concatenate([np.zeros(0, np.float32), *(code.values for code in rows)]),
        "word_sizes": word_sizes,
        "word_indices": word_indices,
        "lengths": np.array([len(one.split()) for one in texts]),
        "text_sizes": np.array([len(one.encode()) for one in texts]),
    }


def level_columns(payloads: Sequence[JsonObject], field: str) -> dict[str, np.ndarray[Any, Any]]:
    """Return the features that records reach, with their levels and evidence in one number each."""
    listed = [payload.get(suffixed(CONCEPTS, field)) or () for payload in payloads]
    owners = np.repeat(np.arange(len(payloads)), [len(own) for own in listed])
    features, levels = np.divmod(integers(listed), LEVEL_STRIDE)
    bits = 1 << levels
    kept = [suffixed(name, field) for name in (EVIDENCE, SPEAKING)]
    has_evidence = np.array([kept[0] in payload for payload in payloads], bool)
    is_said = (levels == POSSIBLE) & has_evidence[owners]
    for key, shift in zip(kept, (_OF_LEVELS, _OF_LEVELS + _OF_PERCENT), strict=True):
        bits[is_said] |= numbers_in(payload[key] for payload in payloads if key in payload) << shift
    most = int(features.max(initial=0)) + 1
    reached = owners * most + features
    order = np.argsort(reached, kind="stable")
    firsts = np.flatnonzero(np.diff(reached[order], prepend=-1))
    reached = reached[order][firsts]
    sizes = np.bincount(reached // most, minlength=len(payloads))
    packed = np.bitwise_or.reduceat(bits[order], firsts)
    return {"level_sizes": sizes, "level_indices": reached % most, "levels": packed}


def reached_of(levels: Mapping[str, np.ndarray[Any, Any]], n_features: int) -> csr_matrix:
    """Return what :func:`level_columns` found as a matrix (m, n), as :class:`Snapshot` has it."""
    from scipy.sparse import csr_matrix

    sizes, indices, packed = (levels[name] for name in ("level_sizes", "level_indices", "levels"))
    starts = np.concatenate([[0], np.cumsum(sizes, dtype=np.int64)])
    return csr_matrix((packed, indices, starts), shape=(len(sizes), n_features))


def _opened(folder: Path, space: FeatureSpace, field: str, owner: object = None) -> Snapshot:
    from scipy.sparse import csr_matrix

    described = _json(folder / "snapshot.json")
    found = {name: _mapped(folder / f"{name}.bin", kind) for name, kind in ARRAYS.items()}
    vocabulary = _json(folder / VOCABULARY)
    count = described["points"]
    starts, word_starts, text_starts = (
        np.concatenate([[0], np.cumsum(found[name], dtype=np.int64)])
        for name in ("sizes", "word_sizes", "text_sizes")
    )
    shape = count, described["n_features"]
    words = np.ones(int(word_starts[-1]), np.float32)
    ids, documents = (
        json.loads(f"[{','.join(_lines(folder / name))}]") for name in ("ids.jsonl", "documents.jsonl")
    )
    texts, places = _mapped(folder / f"{TEXTS}.bin", "u1"), dict[str, int]()

    def read_texts(wanted: Sequence[str]) -> list[str]:
        _ = owner  # a reference, so that the temporary files exist as long as this reader
        if not places:
            places.update({record: row for row, record in enumerate(ids)})
        rows = [places[one] for one in wanted]
        return [texts[text_starts[row] : text_starts[row + 1]].tobytes().decode() for row in rows]

    return Snapshot(
        space,
        field,
        tuple(ids),
        found["vectors"].reshape(count, described["dimension"]),
        csr_matrix((found["values"], found["indices"], starts), shape=shape),
        reached_of(found, described["n_features"]),
        csr_matrix((words, found["word_indices"], word_starts), shape=(count, max(1, len(vocabulary)))),
        tuple(vocabulary),
        found["lengths"],
        _lines(folder / "metadata.jsonl"),
        read_texts,
        documents,
    )


def _json(path: Path) -> Any:
    return json.loads(path.read_text("utf-8"))


def _mapped(path: Path, kind: str) -> np.ndarray[Any, Any]:
    return np.memmap(path, kind, "r") if path.stat().st_size else np.zeros(0, kind)


def _lines(path: Path) -> list[str]:
    return path.read_text("utf-8").split("\n")[:-1]
