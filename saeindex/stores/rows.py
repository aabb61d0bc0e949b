"""What both engines return, as points: they name the fields of a row alike."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from saeindex.protocols import Point, PointId, SparseVector, Vector


def to_point(row: Any, score: float | None = None) -> Point:
    """Return the point of a row of Edge or of qdrant-client."""
    vectors = row.vector if isinstance(row.vector, Mapping) else {}
    return Point(
        id=to_id(row.id),
        vectors={name: _vector(value) for name, value in vectors.items()},
        payload=row.payload or {},
        score=score,
    )


def to_id(value: Any) -> PointId:
    """Return an id as we give it out: an int, or a UUID as text."""
    return value if isinstance(value, int) else str(value)


def _vector(value: Any) -> Vector:
    if isinstance(value, list):
        return np.array(value, dtype=np.float32)
    return SparseVector(np.array(value.indices, dtype=np.int32), np.array(value.values, dtype=np.float32))
