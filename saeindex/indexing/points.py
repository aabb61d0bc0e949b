"""Records to points: ids, content hashes and payloads of the storage layout."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING
from uuid import uuid5

import numpy as np

from saeindex.config import CONCEPTS, DENSE, PASSAGES, POINT_NAMESPACE, RECORD_CONCEPTS, SAE
from saeindex.protocols import Point, SparseVector

if TYPE_CHECKING:
    from saeindex.features import Calibration
    from saeindex.protocols import Vector
    from saeindex.types import FloatArray, Record, SparseCode


def point_id(record_id: str, passage: int = 0) -> str:
    """Return the UUIDv5 of a record's passage: indexing the same record again replaces it."""
    return str(uuid5(POINT_NAMESPACE, f"{record_id}\n{passage}"))


def content_hash(record: Record) -> str:
    """Return a hash of text and metadata; a record whose hash is stored is not encoded again."""
    content = json.dumps([record.text, record.metadata], sort_keys=True, ensure_ascii=False)
    return hashlib.sha256(content.encode()).hexdigest()[:32]


def build_points(
    records: Sequence[tuple[Record, str, Sequence[str]]],
    vectors: FloatArray,
    code: SparseCode,
    calibration: Calibration,
) -> Iterator[Point]:
    """Yield the points of records, each with its content hash and passages.

    ``vectors`` (m, d) and ``code`` hold the passages of all records, in order. The first passage of a
    record comes last: it carries the content hash that marks the record as wholly written.
    """
    row = 0
    for record, digest, passages in records:
        points = []
        union: set[int] = set()
        for number, text in enumerate(passages):
            indices, values = code.row(row)
            concepts = calibration.concept_codes(indices, values).tolist()
            union.update(concepts)
            payload = {
                "record_id": record.id,
                "passage": number,
                "text": text,
                "metadata": dict(record.metadata),
                "content_hash": digest,
                CONCEPTS: concepts,
            }
            named: dict[str, Vector] = {DENSE: np.asarray(vectors[row]), SAE: SparseVector(indices, values)}
            points.append(Point(point_id(record.id, number), named, payload))
            row += 1
        if len(points) > 1:
            first = {**points[0].payload, PASSAGES: len(points), RECORD_CONCEPTS: sorted(union)}
            points[0] = Point(points[0].id, points[0].vectors, first)
        yield from reversed(points)
