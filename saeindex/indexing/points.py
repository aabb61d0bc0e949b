"""Conversion of records to points: ids, content hashes and payloads of the storage layout."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING
from uuid import uuid5

import numpy as np

from saeindex.config import CONCEPTS, DENSE, PASSAGES, POINT_NAMESPACE, RECORD_CONCEPTS, SAE, TEXT, suffixed
from saeindex.errors import InvalidInputError
from saeindex.protocols import Point, SparseVector
from saeindex.types import SparseCode

if TYPE_CHECKING:
    from saeindex.features import Calibration
    from saeindex.protocols import Vector
    from saeindex.types import FloatArray, Record

NO_CODE = SparseVector(np.zeros(0, np.int32), np.zeros(0, np.float32))
_NAME = re.compile(r"[a-z][a-z0-9_]*")


def point_id(record_id: str, passage: int = 0) -> str:
    """Return the UUIDv5 of a record's passage: indexing the same record again replaces it."""
    return str(uuid5(POINT_NAMESPACE, f"{record_id}\n{passage}"))


def code_of(point: Point, field: str = "") -> SparseVector:
    """Return the sparse code that a point was fetched with; empty if it has none."""
    found = point.vectors.get(suffixed(SAE, field))
    return found if isinstance(found, SparseVector) else NO_CODE


def codes_of(points: Sequence[Point], n_features: int) -> SparseCode:
    """Return the codes that points were fetched with, as a batch."""
    codes = [code_of(point) for point in points]
    ends = np.cumsum([0, *(len(code.indices) for code in codes)], dtype=np.int64)
    indices = np.concatenate([NO_CODE.indices, *(code.indices for code in codes)])
    return SparseCode(
        ends, indices, np.concatenate([NO_CODE.values, *(code.values for code in codes)]), n_features
    )


def content_hash(record: Record) -> str:
    """Return a hash of texts and metadata; a record whose hash is stored is not encoded again."""
    # Without further fields the hash equals that of earlier versions, which had none.
    further = [dict(record.fields)] if record.fields else []
    content = json.dumps([record.text, record.metadata, *further], sort_keys=True, ensure_ascii=False)
    return hashlib.sha256(content.encode()).hexdigest()[:32]


def texts_of(record: Record, passages: Sequence[str], fields: Sequence[str]) -> list[str]:
    """Return the texts of a record to encode: its passages, then its whole further texts in field order."""
    return [*passages, *(record.fields[name] for name in fields if name in record.fields)]


def build_points(
    records: Sequence[tuple[Record, str, Sequence[str]]],
    vectors: FloatArray,
    code: SparseCode,
    calibration: Calibration,
    fields: Sequence[str] = (),
) -> Iterator[Point]:
    """Yield the points of records, each with its content hash and passages.

    ``vectors`` (m, d) and ``code`` are of the texts of all records, in the order of :func:`texts_of`. The
    first passage of a record comes last: it has the content hash, which marks the record as complete. Only
    the first passage has the further texts.
    """
    coded = Coded(vectors, code, calibration)
    row = 0
    for record, digest, passages in records:
        points = [_passage(record, digest, n, text, coded, row + n) for n, text in enumerate(passages)]
        union = sorted({concept for point in points for concept in point.payload[CONCEPTS]})
        row += len(points)
        named, payload = dict(points[0].vectors), dict(points[0].payload)
        if len(points) > 1:
            payload |= {PASSAGES: len(points), RECORD_CONCEPTS: union}
        for name in fields:
            if name in record.fields:
                named |= coded.vectors_of(row, name)
                payload |= {suffixed(TEXT, name): record.fields[name]}
                payload |= {suffixed(CONCEPTS, name): coded.concepts(row)}
                row += 1
        points[0] = Point(points[0].id, named, payload)
        yield from reversed(points)


@dataclass(frozen=True, slots=True)
class Coded:
    """Encoded texts, row by row."""

    dense: FloatArray
    code: SparseCode
    calibration: Calibration

    def vectors_of(self, row: int, field: str = "") -> dict[str, Vector]:
        """Return both vectors of a row, under the names of a text field."""
        code = SparseVector(*self.code.row(row))
        return {suffixed(DENSE, field): np.asarray(self.dense[row]), suffixed(SAE, field): code}

    def concepts(self, row: int) -> list[int]:
        """Return the level codes of a row."""
        concepts: list[int] = self.calibration.concept_codes(*self.code.row(row)).tolist()
        return concepts


def _passage(record: Record, digest: str, number: int, text: str, coded: Coded, row: int) -> Point:
    payload = {
        "record_id": record.id,
        "passage": number,
        TEXT: text,
        "metadata": dict(record.metadata),
        "content_hash": digest,
        CONCEPTS: coded.concepts(row),
    }
    return Point(point_id(record.id, number), coded.vectors_of(row), payload)


# Names of the storage layout, which a further text field must not have.
RESERVED = frozenset(
    {"id", "record_id", "passage", "metadata", "content_hash", "reader"}
    | {CONCEPTS, DENSE, PASSAGES, RECORD_CONCEPTS, SAE, TEXT}
)  # fmt: skip


def checked_field_names(names: Sequence[str]) -> tuple[str, ...]:
    """Return the names of further text fields; InvalidInputError for a name that an index cannot have."""
    if isinstance(names, str):
        raise InvalidInputError(
            "further text fields", f"the string {names!r}", f"Give a tuple: ({names!r},)."
        )
    for name in names:
        if not isinstance(name, str) or not _NAME.fullmatch(name):
            found, do = "not a name", "Use lower-case letters, digits and _, and start with a letter."
        elif name in RESERVED:
            found, do = "a name of the storage layout", "Choose another name."
        elif names.count(name) > 1:
            found, do = "named twice", "Name each field once."
        else:
            continue
        raise InvalidInputError(f"further text field {name!r}", found, do)
    return tuple(names)
