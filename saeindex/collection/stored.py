"""Records as they are stored: read by id or by condition, and exported to files."""

from __future__ import annotations

import csv
import json
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from importlib import import_module
from itertools import chain, islice
from pathlib import Path
from tempfile import TemporaryFile
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Required, TypeAlias, get_args

import numpy as np
from typing_extensions import TypedDict

from saeindex.collection.records import records_of
from saeindex.config import DENSE, DOCUMENT, SAE, TEXT, suffixed
from saeindex.errors import InvalidInputError, installed
from saeindex.files import checked_suffix, replacing, writable
from saeindex.indexing.known import Known, vectors_kept
from saeindex.indexing.points import (
    NO_CODE,
    PRESENT,
    PROVING,
    code_of,
    mentions_of,
    of_documents,
    point_id,
    shown_features,
    stored_record,
)
from saeindex.indexing.sources.tables import json_cell
from saeindex.indexing.split import document_in, piece_number
from saeindex.language.fields import RECORD_ID
from saeindex.protocols import Include, Point, SparseVector
from saeindex.stores.base import pages
from saeindex.stores.point_checks import canonical_id
from saeindex.types import Activation, Record

if TYPE_CHECKING:
    from qdrant_client.models import Filter

    from saeindex.collection.state import IndexState
    from saeindex.protocols import VectorStore
    from saeindex.types import FloatArray, JsonObject

# What an export has besides ids, texts and metadata.
RecordPart: TypeAlias = Literal["concepts", "vectors", "known"]
PARTS: tuple[RecordPart, ...] = get_args(RecordPart)
# Records that are read at once.
PAGE = 256
FORMATS = (".jsonl", ".parquet", ".csv")


class CodeJson(TypedDict):
    """A sparse code in JSON."""

    indices: list[int]
    values: list[float]


class RecordJson(TypedDict, total=False):
    """A record in JSON: what it has, and what was asked for."""

    id: Required[str]
    text: Required[str]
    metadata: Required[dict[str, Any]]
    document: str
    fields: dict[str, str]
    concepts: list[Activation]
    dense: list[float]
    sae: CodeJson
    known: dict[str, Any]


@dataclass(frozen=True, slots=True, eq=False)
class StoredRecord:
    """A record of an index: its text as it was given, metadata, further fields, and its ``document``.

    ``concepts`` are the active features of the text, the best named first; ``dense`` (d,) and ``sae`` are its
    stored vectors, and ``known`` is all that another index need not compute, if they were asked for.
    """

    id: str
    text: str
    metadata: JsonObject
    fields: Mapping[str, str] = field(default_factory=dict)
    document: str | None = None
    concepts: tuple[Activation, ...] = ()
    dense: FloatArray | None = field(default=None, repr=False)
    sae: SparseVector | None = field(default=None, repr=False)
    known: Known | None = field(default=None, repr=False)
    json_kind: ClassVar = RecordJson

    def to_json(self, parts: Collection[RecordPart] = PARTS) -> dict[str, Any]:
        """Return the record as a JSON object, with these ``parts``, as far as it has them."""
        found: dict[str, Any] = {"id": self.id, "text": self.text, "metadata": dict(self.metadata)}
        if self.document is not None:
            found["document"] = self.document
        if self.fields:
            found["fields"] = dict(self.fields)
        if "concepts" in parts and self.concepts:
            found["concepts"] = [asdict(one) for one in self.concepts]
        if "vectors" in parts and self.dense is not None:
            code = NO_CODE if self.sae is None else self.sae
            found["dense"] = self.dense.tolist()
            found["sae"] = {"indices": code.indices.tolist(), "values": code.values.tolist()}
        if "known" in parts and self.known is not None:
            found["known"] = self.known.to_json()
        return found

    @classmethod
    def from_json(cls, given: Mapping[str, Any]) -> StoredRecord:
        """Return the record that :meth:`to_json` described."""
        found = dict(given)
        if (concepts := found.get("concepts")) is not None:
            found["concepts"] = tuple(Activation(**one) for one in concepts)
        if (dense := found.get("dense")) is not None:
            found["dense"], code = np.asarray(dense, np.float32), found["sae"]
            indices, values = np.asarray(code["indices"], np.int32), np.asarray(code["values"], np.float32)
            found["sae"] = SparseVector(indices, values)
        if (known := found.get("known")) is not None:
            found["known"] = Known.from_json(known)
        return cls(**found)


class StoredRecords:
    """Reads the records of a state."""

    def __init__(self, state: IndexState) -> None:
        """Read the records that a state is of."""
        self._store, self._space, self._fields = state.store, state.space, state.manifest.fields

    def get(self, ids: Sequence[str], parts: Collection[RecordPart] = PARTS) -> list[StoredRecord]:
        """Return the records that exist, in the order of ``ids``."""
        checked_parts(parts)
        payload, vectors = self._fetched(parts)
        found: list[StoredRecord] = []
        for start in range(0, len(ids), PAGE):
            wanted = [point_id(str(one)) for one in ids[start : start + PAGE]]
            found += [self._record(point, parts) for point in self._store.get(wanted, payload, vectors)]
        return found

    def of_documents(
        self, documents: Sequence[str], parts: Collection[RecordPart] = PARTS
    ) -> list[StoredRecord]:
        """Return all records of documents, document by document, each in the order of its pieces."""
        found = self.matching(records_of(documents), parts)
        place = {str(name): number for number, name in enumerate(documents)}
        return sorted(found, key=lambda one: (place[str(one.document)], _piece_order(one.id)))

    def page(
        self,
        condition: Filter | None,
        limit: int = 100,
        after: str | None = None,
        parts: Collection[RecordPart] = (),
    ) -> tuple[list[StoredRecord], str | None]:
        """Return a page of the records that match, and the cursor of the next page, None at the end.

        ``after`` is the cursor of this page. Records that are added meanwhile may be missed, no other ones.
        """
        checked_parts(parts)
        try:
            start = None if after is None else canonical_id(after)
        except InvalidInputError:
            found, do = "no page has this offset", "Use the one that came with the page before."
            raise InvalidInputError(f"offset={after!r:.80}", found, do) from None
        page = self._store.scroll(condition, limit, start, None, *self._fetched(parts))
        cursor = None if page.cursor is None else str(page.cursor)
        return [self._record(point, parts) for point in page.points], cursor

    def sample(
        self, condition: Filter | None, size: int, seed: int, parts: Collection[RecordPart] = ()
    ) -> list[StoredRecord]:
        """Return so many of the records that match, each set of them as likely as any other."""
        checked_parts(parts)
        ids = [point.id for page in pages(self._store, condition, PAGE, False) for point in page.points]
        drawn = np.random.default_rng(seed).permutation(len(ids))[:size].tolist()
        points = self._store.get([ids[one] for one in drawn], *self._fetched(parts))
        return [self._record(point, parts) for point in points]

    def matching(
        self, condition: Filter | None, parts: Collection[RecordPart] = PARTS
    ) -> Iterator[StoredRecord]:
        """Yield all records, or those that match."""
        for page in pages(self._store, condition, PAGE, *self._fetched(parts)):
            yield from (self._record(point, parts) for point in page.points)

    def export(self, condition: Filter | None, path: Path, parts: Collection[str]) -> int:
        """Write the records that match to a file; return their number."""
        checked = checked_parts(parts)
        return export_records(self.matching(condition, checked), path, checked)

    def _fetched(self, parts: Collection[RecordPart]) -> tuple[Include, list[str]]:
        if "known" in parts:
            return True, [SAE, *vectors_kept(self._store)]
        payload = ["record_id", "metadata", DOCUMENT, TEXT, *(suffixed(TEXT, name) for name in self._fields)]
        payload += PROVING if "concepts" in parts else ()
        return payload, [SAE, DENSE] if "vectors" in parts else [SAE] if "concepts" in parts else []

    def _record(self, point: Point, parts: Collection[RecordPart]) -> StoredRecord:
        own = stored_record(point.payload, self._fields)
        asked: dict[str, Any] = {}
        if "concepts" in parts:
            said = mentions_of(point.payload, least=PRESENT)
            asked["concepts"] = shown_features(point, self._space, said)
        if "vectors" in parts:
            asked |= {"dense": point.vectors.get(DENSE), "sae": code_of(point)}
        if "known" in parts:
            asked["known"] = Known.of(point, self._space, self._fields)
        return StoredRecord(own.id, own.text, own.metadata, own.fields, own.document, **asked)


class StoredRows:
    """The records of a state as a source, with what is known of them."""

    has_unique_ids = True

    def __init__(self, name: str, state: IndexState, without: VectorStore | None = None) -> None:
        """Read all, or all ``without`` the texts that another store has, whole or in pieces."""
        self.name, self._store, self._space = name, state.store, state.space
        self._fields, self._without = state.manifest.fields, without

    @property
    def total(self) -> int:
        """The number of records."""
        return self._store.count()

    def __iter__(self) -> Iterator[Record]:
        for page in pages(self._store, None, PAGE, True, vectors_kept(self._store)):
            for point in page.points if self._without is None else _absent(page.points, self._without):
                record = stored_record(point.payload, self._fields)
                yield replace(record, known=Known.of(point, self._space, self._fields))


def _absent(points: Sequence[Point], store: VectorStore) -> Iterator[Point]:
    """Yield the points of texts that a store has neither whole nor in pieces."""
    texts = [_text_of(point.payload) for point in points]
    ids = [*map(point_id, texts), *(point.id for point in points)]
    there = {one.payload[RECORD_ID] for one in store.get(ids, [RECORD_ID])}
    if store.facet(DOCUMENT, limit=1, approximate=True):
        own = pages(store, of_documents({*texts}), with_payload=[RECORD_ID, DOCUMENT])
        there |= {_text_of(one.payload) for page in own for one in page.points}
    for point, text in zip(points, texts, strict=True):
        if there.isdisjoint({text, point.payload[RECORD_ID]}):
            yield point


def _text_of(payload: JsonObject) -> str:
    """Return the id of a text, of whose pieces a record may be one."""
    own: str = payload[RECORD_ID]
    named = document_in(own)
    return own if named is None or named != payload.get(DOCUMENT) else named


def _piece_order(record_id: str) -> tuple[int, str]:
    """Return the sort key of a record of a document: pieces by number, others before them by id."""
    return (piece_number(record_id) if document_in(record_id) is not None else -1), record_id


def checked_parts(parts: Collection[str]) -> tuple[RecordPart, ...]:
    """Return the parts of an export, which may be "all"; InvalidInputError for a name that is none."""
    if parts == "all":
        return PARTS
    if not isinstance(parts, Collection) or isinstance(parts, str) or not all(one in PARTS for one in parts):
        raise InvalidInputError(
            f"parts of records {parts!r:.80}",
            "no such parts",
            f"Use some of {', '.join(PARTS)} in a list, or 'all'.",
        )
    return tuple(one for one in PARTS if one in parts)


def export_records(records: Iterable[StoredRecord], given: str | Path, parts: Collection[RecordPart]) -> int:
    """Write records to a ``.jsonl``, ``.parquet`` or ``.csv`` file, which appears when it is complete.

    Return their number. A ``.csv`` has texts and metadata only. Of no records nothing is written, and a file
    of that name stays.
    """
    path = writable(given)
    write = _WRITERS[checked_suffix(path, FORMATS, "an export")]
    if parts and write is _write_csv:
        found, do = "a CSV file has texts and metadata only", "Use .jsonl or .parquet, or leave them out."
        raise InvalidInputError(f"an export of {' and '.join(parts)} to {str(path)!r}", found, do)
    waiting = iter(records)
    if (first := next(waiting, None)) is None:
        return 0
    with replacing(path) as draft:
        return write(chain([first], waiting), draft, parts)


def _write_jsonl(records: Iterable[StoredRecord], path: Path, parts: Collection[RecordPart]) -> int:
    count = 0
    with path.open("w", encoding="utf-8") as file:
        for count, record in enumerate(records, 1):  # noqa: B007
            file.write(json.dumps(record.to_json(parts), ensure_ascii=False, allow_nan=False) + "\n")
    return count


def _write_parquet(records: Iterable[StoredRecord], path: Path, parts: Collection[RecordPart]) -> int:
    arrow = installed("pyarrow", f"Parquet file {path.name}", "parquet")
    parquet = import_module("pyarrow.parquet")
    concept = arrow.struct({"id": arrow.int32(), "label": arrow.string(), "activation": arrow.float32()})
    code = arrow.struct({"indices": arrow.list_(arrow.int32()), "values": arrow.list_(arrow.float32())})
    columns = {"id": arrow.string(), "document": arrow.string(), "text": arrow.string(),
               "metadata": arrow.string(), "fields": arrow.string()}  # fmt: skip
    columns |= {"concepts": arrow.list_(concept)} if "concepts" in parts else {}
    if "vectors" in parts:
        columns |= {"dense": arrow.list_(arrow.float32()), "sae": code}
    columns |= {"known": arrow.string()} if "known" in parts else {}
    schema, waiting, count = arrow.schema(columns), iter(records), 0
    with parquet.ParquetWriter(path, schema) as writer:
        while page := list(islice(waiting, PAGE)):
            count += len(page)
            writer.write_table(arrow.Table.from_pylist([_row(one, parts) for one in page], schema))
    return count


def _write_csv(records: Iterable[StoredRecord], path: Path, parts: Collection[RecordPart]) -> int:
    """Write a column for each metadata field; the fields are known when all records were read once."""
    metadata: dict[str, None] = {}
    fields: dict[str, None] = {}
    count = 0
    with TemporaryFile("w+") as kept, path.open("w", newline="", encoding="utf-8") as file:
        for record in records:
            metadata |= dict.fromkeys(record.metadata)
            fields |= dict.fromkeys(record.fields)
            kept.write(json.dumps(record.to_json(parts)) + "\n")
        kept.seek(0)
        writer = csv.writer(file)
        writer.writerow(["id", DOCUMENT, TEXT, *fields, *(f"metadata.{name}" for name in metadata)])
        for count, one in enumerate(map(json.loads, kept), 1):  # noqa: B007
            own, texts = one["metadata"], one.get("fields", {})
            cells = [json_cell(own[name]) if name in own else "" for name in metadata]
            texts_of = [texts.get(name, "") for name in fields]
            writer.writerow([one["id"], one.get(DOCUMENT, ""), one["text"], *texts_of, *cells])
    return count


_WRITERS = {".jsonl": _write_jsonl, ".parquet": _write_parquet, ".csv": _write_csv}


def _row(record: StoredRecord, parts: Collection[RecordPart]) -> dict[str, Any]:
    """Return a row of a Parquet file: objects of any shape are JSON texts."""
    found = record.to_json(parts) | {"fields": dict(record.fields)}
    objects = ("metadata", "fields", "known")
    return found | {name: json.dumps(found[name], ensure_ascii=False) for name in objects if name in found}
