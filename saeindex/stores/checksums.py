"""Checksums of stored points: one for each payload field and vector, kept in the payload.

A point is written with the payload field ``checksums``: ``{"payload": {field: number}, "vectors": {name:
number}}``. A field that is replaced later has its own ``<field>_checksum`` beside it, because an engine
replaces single fields atomically. Each number depends on the point's id too, so a payload under another id
is seen.
"""

from __future__ import annotations

import zlib
from array import array
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from saeindex.errors import DamageError
from saeindex.protocols import Damage, Point, PointId, SparseVector

if TYPE_CHECKING:
    from saeindex.protocols import Vector

CHECKSUMS = "checksums"
PAYLOAD, VECTORS = "payload", "vectors"
NAMED = 5
# The part that is damaged where a point has no checksums.
MISSING = "its checksums"
# Engines may change the last bits of a float in a payload: floats count to this number of digits, and one
# that is at the limit of two roundings is tried with both.
_DIGITS = ".12g"
_NUDGES = (2.0**-50, -(2.0**-50))


def checksums_of(
    point_id: PointId, payload: Mapping[str, Any], vectors: Mapping[str, Any]
) -> dict[str, dict[str, int]]:
    """Return the checksums of a new point."""
    start = _start(point_id)
    return {
        PAYLOAD: {key: _of_value(value, start) for key, value in payload.items()},
        VECTORS: {name: _of_vector(vector, start) for name, vector in vectors.items()},
    }


def checksums_of_fields(point_id: PointId, payload: Mapping[str, Any]) -> dict[str, int]:
    """Return the checksums, as payload fields, of fields that are replaced."""
    start = _start(point_id)
    return {own_key(key): _of_value(value, start) for key, value in payload.items()}


def own_key(field: str) -> str:
    """Return the payload field of a replaced field's checksum."""
    return f"{field}_checksum"


@dataclass(frozen=True, slots=True)
class Checker:
    """Checks points that were read with some payload fields and vectors, and removes their checksums.

    ``is_complete`` says that every point was written with checksums, ``has_exact_vectors`` that the engine
    returns dense vectors unchanged.
    """

    fields: bool | Sequence[str]
    vectors: Sequence[str]
    is_complete: bool
    has_exact_vectors: bool

    def examine(self, point: Point) -> Point | Damage:
        """Return the point without its checksums, or its damage; its payload is changed in place."""
        payload: Any = point.payload
        kept = payload.pop(CHECKSUMS, None)
        try:
            fields, vectors = kept[PAYLOAD], kept[VECTORS]
            is_other = not payload.keys() <= fields.keys() or not isinstance(vectors, dict)
        except (TypeError, KeyError, AttributeError):
            return Damage(point, (MISSING,)) if self.is_complete or kept is not None else point
        if is_other:
            fields, vectors = dict(fields), vectors if isinstance(vectors, dict) else {}
            for field in dict.fromkeys((*fields, *payload)):
                if own_key(field) in payload:
                    fields[field] = payload.pop(own_key(field))
        start = _start(point.id)
        parts = (
            *self._differing_fields(payload, fields, start),
            *(f"vector {name}" for name in self._differing_vectors(point.vectors, vectors, start)),
        )
        return Damage(point, parts) if parts else point

    def _differing_fields(
        self, found: Mapping[str, Any], known: Mapping[str, Any], start: int
    ) -> Iterator[str]:
        asked = self.fields
        for field, number in known.items():
            if field in found:
                value = found[field]
                if _of_value(value, start) != number and not _is_nearly(value, number, start):
                    yield field
            elif asked is True or (asked and field in asked):
                yield field
        if len(found) > len(known):
            yield from (field for field in found if field not in known)

    def _differing_vectors(
        self, found: Mapping[str, Vector], known: Mapping[str, Any], start: int
    ) -> Iterator[str]:
        for name in self.vectors:
            vector = found.get(name)
            if vector is None or name not in known:
                if vector is not None or name in known:
                    yield name
            elif not isinstance(vector, SparseVector) and not self.has_exact_vectors:
                continue
            elif _of_vector(vector, start) != known[name]:
                yield name


def damage_error(damaged: Sequence[Damage], name: str) -> DamageError:
    """Return the error for points of the collection ``name`` that are damaged."""
    first = "; ".join(map(str, damaged[:NAMED]))
    more = f" and {len(damaged) - NAMED} more" if len(damaged) > NAMED else ""
    found = f"what is stored is not what was written: {first}{more}"
    return DamageError(f"reading {name!r}", found, f"Run `saeindex doctor {name} --repair`.")


def _start(point_id: PointId) -> int:
    return zlib.crc32(str(point_id).encode())


def _of_value(value: Any, start: int, nudge: float = 0.0) -> int:
    """Return the checksum of a JSON value; with all parts of a hit it must take microseconds."""
    of_kind = _OF_KINDS.get(type(value))
    if of_kind is None:  # an enumeration, a number of numpy, a mapping proxy
        of_kind = next(of_kind for kind, of_kind in _OF_KINDS.items() if isinstance(value, kind))
    return of_kind(value, start, nudge)


def _of_text(value: str, start: int, _: float) -> int:
    return zlib.crc32(value.encode("utf-8", "surrogatepass"), start)


def _of_atom(value: bool | None, start: int, _: float) -> int:
    return zlib.crc32(b"is" + repr(value).encode(), start)


def _of_int(value: int, start: int, _: float) -> int:
    return zlib.crc32(b"int%d" % value, start)


def _of_float(value: float, start: int, nudge: float) -> int:
    return zlib.crc32(b"float" + format(value * (1 + nudge) + 0.0, _DIGITS).encode(), start)


def _of_object(value: Mapping[str, Any], start: int, nudge: float) -> int:
    for key in sorted(value):
        start = _of_value(value[key], zlib.crc32(key.encode("utf-8", "surrogatepass") + b":", start), nudge)
    return zlib.crc32(b"}", start)


def _of_list(values: Sequence[Any], start: int, nudge: float) -> int:
    with suppress(TypeError, OverflowError):  # the usual case, whole numbers, in one step
        return zlib.crc32(array("q", values).tobytes(), start)
    for value in values:
        start = _of_value(value, zlib.crc32(b",", start), nudge)
    return zlib.crc32(b"]", start)


# In the order of their checks: a truth value is an int, too.
_OF_KINDS: dict[type, Callable[[Any, int, float], int]] = {
    str: _of_text,
    bool: _of_atom,
    type(None): _of_atom,
    int: _of_int,
    float: _of_float,
    dict: _of_object,
    list: _of_list,
    tuple: _of_list,
    Mapping: _of_object,
}


def _is_nearly(value: object, number: object, start: int) -> bool:
    """Return whether a value has this checksum if the last bits of its floats were others."""
    return any(_of_value(value, start, nudge) == number for nudge in _NUDGES)


def _of_vector(vector: Any, start: int) -> int:
    """Return the checksum of a dense vector, of a sparse one, or of indices and values."""
    if isinstance(vector, SparseVector):
        vector = (vector.indices, vector.values)
    if isinstance(vector, tuple):
        indices, values = vector
        return zlib.crc32(_bytes(values, "<f4"), zlib.crc32(_bytes(indices, "<i4"), start))
    return zlib.crc32(_bytes(vector, "<f4"), start)


def _bytes(values: Any, kind: str) -> bytes:
    return np.asarray(values, kind).tobytes()
