"""Records as they are stored: read by id or by condition, and exported to files."""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from importlib import import_module
from itertools import chain, islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeAlias, get_args

import numpy as np

from saeindex.collection.records import record_ids
from saeindex.config import DENSE, PASSAGES, SAE, TEXT, suffixed
from saeindex.errors import InvalidInputError
from saeindex.features.labels import telling_order
from saeindex.files import checked_suffix, replacing
from saeindex.indexing.points import point_id
from saeindex.protocols import SparseVector
from saeindex.report.result import installed
from saeindex.stores.base import pages
from saeindex.types import Activation

if TYPE_CHECKING:
    from qdrant_client.models import Filter

    from saeindex.features import FeatureSpace
    from saeindex.protocols import Point, VectorStore
    from saeindex.types import FloatArray, JsonObject

# What an export has besides ids, texts and metadata.
RecordPart: TypeAlias = Literal["concepts", "vectors"]
PARTS: tuple[RecordPart, ...] = get_args(RecordPart)
# Records that are read at once.
PAGE = 256
FORMATS = (".jsonl", ".parquet")


@dataclass(frozen=True, slots=True, eq=False)
class StoredRecord:
    """A record of an index: its text (of a split record all passages, which overlap), metadata and fields.

    ``concepts`` are the active features of the text, the best named first, each at its strongest passage;
    ``dense`` (p, d) and ``sae`` are the stored vectors of the passages.
    """

    id: str
    passages: tuple[str, ...]
    metadata: JsonObject
    fields: Mapping[str, str] = field(default_factory=dict)
    concepts: tuple[Activation, ...] = ()
    dense: tuple[FloatArray, ...] = ()
    sae: tuple[SparseVector, ...] = ()

    @property
    def text(self) -> str:
        """The text; of a split record, its passages line by line."""
        return "\n".join(self.passages)

    def to_json(self, parts: Collection[RecordPart] = PARTS) -> dict[str, Any]:
        """Return the record as a JSON object, with these ``parts``."""
        found: dict[str, Any] = {"id": self.id, "text": self.text, "metadata": dict(self.metadata)}
        if len(self.passages) > 1:
            found["passages"] = list(self.passages)
        if self.fields:
            found["fields"] = dict(self.fields)
        if "concepts" in parts:
            found["concepts"] = [
                {"id": one.id, "label": one.label, "activation": one.activation} for one in self.concepts
            ]
        if "vectors" in parts:
            found["dense"] = [vector.tolist() for vector in self.dense]
            found["sae"] = [
                {"indices": code.indices.tolist(), "values": code.values.tolist()} for code in self.sae
            ]
        return found


class StoredRecords:
    """Reads the records of a store."""

    def __init__(
        self, store: VectorStore, space: FeatureSpace, fields: Sequence[str] = (), has_passages: bool = False
    ) -> None:
        """``fields`` are the names of the index's further texts; ``has_passages`` if texts may be split."""
        self._store, self._space, self._fields = store, space, tuple(fields)
        self._has_passages = has_passages

    def get(self, ids: Sequence[str], parts: Collection[RecordPart] = PARTS) -> list[StoredRecord]:
        """Return the records that exist, in the order of ``ids``."""
        checked_parts(parts)
        wanted = [str(one) for one in ids]
        found: list[StoredRecord] = []
        for start in range(0, len(wanted), PAGE):
            firsts = self._points([(one, 0) for one in wanted[start : start + PAGE]], parts)
            further = [
                (str(point.payload["record_id"]), number)
                for point in firsts
                for number in range(1, point.payload.get(PASSAGES, 1))
            ]
            later: dict[str, list[Point]] = {}
            for point in self._points(further, parts):
                later.setdefault(point.payload["record_id"], []).append(point)
            found += [self._record([p, *later.get(p.payload["record_id"], ())], parts) for p in firsts]
        return found

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
        from qdrant_client.models import FieldCondition, Filter, MatchValue

        first_passages = FieldCondition(key="passage", match=MatchValue(value=0))
        if condition is None or not self._has_passages:
            wanted = Filter(must=[first_passages] if condition is None else [first_passages, condition])
            found = self._store.scroll(wanted, limit, after, with_payload=["record_id"])
            ids = [point.payload["record_id"] for point in found.points]
            return self.get(ids, parts), None if found.cursor is None else str(found.cursor)
        later = sorted(one for one in record_ids(self._store, condition) if after is None or one > after)
        return self.get(later[:limit], parts), later[limit - 1] if len(later) > limit else None

    def matching(
        self, condition: Filter | None, parts: Collection[RecordPart] = PARTS
    ) -> Iterator[StoredRecord]:
        """Yield all records, or those with a passage that matches."""
        waiting = iter(self._ids(condition))
        while ids := list(islice(waiting, PAGE)):
            yield from self.get(ids, parts)

    def export(self, condition: Filter | None, path: Path, parts: Collection[RecordPart]) -> int:
        """Write the records that match to a file; return their number."""
        return export_records(self.matching(condition, checked_parts(parts)), path, parts)

    def _ids(self, condition: Filter | None) -> Iterable[str]:
        if condition is not None:
            return sorted(record_ids(self._store, condition))
        rows = (point.payload for page in pages(self._store, None, PAGE, ["record_id", "passage"])
                for point in page.points)  # fmt: skip
        return (row["record_id"] for row in rows if not row.get("passage"))

    def _points(self, places: Sequence[tuple[str, int]], parts: Collection[RecordPart]) -> list[Point]:
        payload = ["record_id", "metadata", PASSAGES, TEXT, *(suffixed(TEXT, name) for name in self._fields)]
        vectors = [SAE, DENSE] if "vectors" in parts else [SAE] if "concepts" in parts else False
        return self._store.get([point_id(*place) for place in places], payload, vectors)

    def _record(self, points: Sequence[Point], parts: Collection[RecordPart]) -> StoredRecord:
        first = points[0].payload
        codes = tuple(c for point in points if isinstance(c := point.vectors.get(SAE), SparseVector))
        dense = tuple(v for point in points if (v := point.vectors.get(DENSE)) is not None)
        with_vectors = "vectors" in parts
        return StoredRecord(
            first["record_id"],
            tuple(str(point.payload.get(TEXT) or "") for point in points),
            first.get("metadata") or {},
            {name: first[key] for name in self._fields if (key := suffixed(TEXT, name)) in first},
            self._concepts(codes) if "concepts" in parts else (),
            dense if with_vectors else (),  # type: ignore[arg-type]
            codes if with_vectors else (),
        )

    def _concepts(self, codes: Sequence[SparseVector]) -> tuple[Activation, ...]:
        strongest: dict[int, float] = {}
        for code in codes:
            for feature, value in zip(code.indices.tolist(), code.values.tolist(), strict=True):
                strongest[feature] = max(value, strongest.get(feature, 0.0))
        labels, calibration = self._space.labels, self._space.calibration
        features = np.array(sorted(strongest), np.int32)
        values = np.array([strongest[feature] for feature in features.tolist()], np.float32)
        order = telling_order(labels, calibration, features, values)
        return tuple(
            Activation(feature, labels[feature].name, strongest[feature], labels[feature].is_weak)
            for feature in features[order].tolist()
        )


def checked_parts(parts: Collection[str]) -> tuple[RecordPart, ...]:
    """Return the parts of an export; InvalidInputError for a name that is none."""
    if isinstance(parts, str) or not all(one in PARTS for one in parts):
        raise InvalidInputError(
            f"parts of records {parts!r:.80}",
            "no such parts",
            f"Use some of {' and '.join(PARTS)}, in a list.",
        )
    return tuple(one for one in PARTS if one in parts)


def export_records(records: Iterable[StoredRecord], path: Path, parts: Collection[RecordPart]) -> int:
    """Write records to a ``.jsonl`` or ``.parquet`` file, which appears when it is complete.

    Return their number. Of no records nothing is written, and a file of that name stays.
    """
    write: Callable[[Iterable[StoredRecord], Path, Collection[RecordPart]], int]
    suffix = checked_suffix(path, FORMATS, "an export")
    write = _write_parquet if suffix == ".parquet" else _write_jsonl
    if not path.parent.is_dir():
        found = "its folder does not exist"
        raise InvalidInputError(f"an export to {str(path)!r}", found, "Create the folder.")
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
    columns = {"id": arrow.string(), "text": arrow.string(), "passages": arrow.list_(arrow.string()),
               "metadata": arrow.string(), "fields": arrow.string()}  # fmt: skip
    columns |= {"concepts": arrow.list_(concept)} if "concepts" in parts else {}
    if "vectors" in parts:
        columns |= {"dense": arrow.list_(arrow.list_(arrow.float32())), "sae": arrow.list_(code)}
    schema, waiting, count = arrow.schema(columns), iter(records), 0
    with parquet.ParquetWriter(path, schema) as writer:
        while page := list(islice(waiting, PAGE)):
            count += len(page)
            writer.write_table(arrow.Table.from_pylist([_row(one, parts) for one in page], schema))
    return count


def _row(record: StoredRecord, parts: Collection[RecordPart]) -> dict[str, Any]:
    """Return a row of a Parquet file: objects of any shape are JSON texts."""
    texts = {name: json.dumps(dict(value), ensure_ascii=False)
             for name, value in (("metadata", record.metadata), ("fields", record.fields))}  # fmt: skip
    return record.to_json(parts) | texts | {"passages": list(record.passages)}
