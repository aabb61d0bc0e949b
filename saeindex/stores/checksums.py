"""Checksums of stored points: one for each payload field and vector, kept in the payload.

A point is written with the payload field ``checksums``: ``{"payload": {field: number}, "vectors": {name:
number}}``. A field that is replaced later has its own ``<field>_checksum`` beside it, because an engine
replaces single fields atomically. Each number depends on the point's id too, so a payload under another id
is seen.
"""

from __future__ import annotations

import json
import zlib
from array import array
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from saeindex.errors import DamageError, repair_of
from saeindex.protocols import Damage, Point, PointId, SparseVector

if TYPE_CHECKING:
    from saeindex.protocols import Vector

CHECKSUMS = "checksums"
PAYLOAD, VECTORS = "payload", "vectors"
NAMED = 5
# The part that is damaged where a point has no checksums.
MISSING = "no checksums, as if another program wrote it"
# Engines may change the last bits of a float in a payload: floats count to this number of digits, and one
# that is at the limit of two roundings is tried with both.
_DIGITS = ".12g"
_NUDGES = (0.0, 2.0**-50, -(2.0**-50))


def checksums_of(
    point_id: PointId, payload: Mapping[str, Any], vectors: Mapping[str, Any]
) -> dict[str, dict[str, int]]:
    """Return the checksums of a new point."""
    start = _start(point_id)
    return {
        PAYLOAD: {key: _of_written(value, start) for key, value in payload.items()},
        VECTORS: {name: _of_vector(vector, start) for name, vector in vectors.items()},
    }


def checksums_of_fields(point_id: PointId, payload: Mapping[str, Any]) -> dict[str, int]:
    """Return the checksums, as payload fields, of fields that are replaced."""
    start = _start(point_id)
    return {own_key(key): _of_written(value, start) for key, value in payload.items()}


def own_key(field: str) -> str:
    """Return the payload field of a replaced field's checksum."""
    return f"{field}_checksum"


@dataclass(frozen=True, slots=True)
class Checker:
    """Checks points that were read with some payload fields and vectors, and removes their checksums.

    ``is_complete`` says that every point was written with checksums, ``has_exact_vectors`` that the engine
    returns dense vectors unchanged, ``is_shared`` that other programs may add payload fields of their own.
    """

    fields: bool | Sequence[str]
    vectors: Sequence[str]
    is_complete: bool
    has_exact_vectors: bool
    is_shared: bool

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
                if not _is_as_written(found[field], number, start):
                    yield field
            elif asked is True or (asked and field in asked):
                yield field
        if len(found) > len(known) and not self.is_shared:
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


def damage_error(damaged: Sequence[Damage], name: str, is_on_server: bool) -> DamageError:
    """Return the error for points of the collection ``name`` that are damaged."""
    first = "; ".join(map(str, damaged[:NAMED]))
    more = f" and {len(damaged) - NAMED} more" if len(damaged) > NAMED else ""
    found = f"what is stored is not what was written: {first}{more}"
    return DamageError(f"reading {name!r}", found, f"Run {repair_of(name, is_on_server)}.")


def _json_encoder() -> Callable[[Any], str]:
    """Return a function that writes JSON with sorted keys.

    ``JSONEncoder`` makes its C encoder anew for each value, which takes longer than to encode metadata. So it
    is made once, where this Python has it in the known form.
    """
    with suppress(AttributeError, TypeError):
        encoder: Any = json.encoder
        options = (None, None, encoder.encode_basestring_ascii, None, ":", ",", True, False, False)
        encode = encoder.c_make_encoder(*options)
        return lambda value: "".join(encode(value, 0))
    return json.JSONEncoder(sort_keys=True, separators=(",", ":"), check_circular=False).encode


_as_json = _json_encoder()


def _start(point_id: PointId) -> int:
    return zlib.crc32(str(point_id).encode())


def _of_written(value: Any, start: int) -> int:
    """Return the checksum of a JSON value that is written."""
    return _of_value(_rounded(value, 0.0), start)


def _of_value(value: Any, start: int) -> int:
    """Return the checksum of a value whose floats are rounded; with all parts of a hit: microseconds."""
    kind = type(value)
    if kind is str:
        return zlib.crc32(value.encode("utf-8", "surrogatepass"), start)
    if kind is list:
        with suppress(TypeError, OverflowError):  # codes: a third of the time of their JSON
            return zlib.crc32(array("q", value).tobytes(), start)
    return zlib.crc32((b"%d" % value) if kind is int else _as_json(value).encode(), start)


def _is_as_written(value: Any, number: object, start: int) -> bool:
    """Return whether a value that was read has this checksum, if need be with other last bits of floats."""
    if _of_value(value, start) == number:  # floats are short in most payloads
        return True
    return any(_of_value(_rounded(value, nudge), start) == number for nudge in _NUDGES)


def _rounded(value: Any, nudge: float) -> Any:
    """Return a value in plain Python with rounded floats, each multiplied by 1 + ``nudge`` before."""
    if isinstance(value, bool) or value is None:
        return value
    if isinstance(value, Mapping):
        return {key: _rounded(one, nudge) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [_rounded(one, nudge) for one in value]
    if isinstance(value, float):
        return float(format(value * (1 + nudge) + 0.0, _DIGITS))
    return str.__str__(value) if isinstance(value, str) else int(value)


def _of_vector(vector: Any, start: int) -> int:
    """Return the checksum of a dense vector, of a sparse one, or of indices and values."""
    if isinstance(vector, SparseVector):
        return zlib.crc32(vector.values.data, zlib.crc32(vector.indices.data, start))
    if isinstance(vector, tuple):
        indices, values = vector
        return zlib.crc32(_bytes(values, "<f4"), zlib.crc32(_bytes(indices, "<i4"), start))
    return zlib.crc32(_bytes(vector, "<f4"), start)


def _bytes(values: Any, kind: str) -> bytes:
    return np.asarray(values, kind).tobytes()
