"""The checks of all points and query vectors before they reach an engine.

If an engine refuses a point, the batch is partly written, and after a malformed sparse vector an Edge shard
cannot be opened again. So whole batches are checked here and converted to plain Python that every engine
accepts. Dense vectors are normalised here too: the engine does not normalise vectors shorter than about 3e-4,
which would make their cosine scores wrong.
"""

from __future__ import annotations

import json
import re
import uuid
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from struct import Struct
from typing import Any, TypeAlias, cast

import numpy as np
from numpy.typing import NDArray

from saeindex.errors import InvalidInputError, InvalidPointError, kind_of
from saeindex.protocols import Layout, Point, PointId, SparseVector, Vector

# Maximum depth of JSON: some parsers refuse deeper JSON, and filters cannot use it.
MAX_DEPTH = 32
# Maximum bytes of a payload: a server accepts requests up to 32 MB, in which a point must fit.
MAX_BYTES = 8 * 1024 * 1024
# Range of integers: the engine stores u64, but its indexes and filters, and gRPC, use i64.
MIN_INT, MAX_INT = -(2**63), 2**63 - 1

_PLAIN = frozenset({str, float, bool, type(None)})
MAX_ID = 2**64 - 1
MAX_INDEX = 2**31 - 1
_CANONICAL_UUID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")
PlainSparse: TypeAlias = tuple[list[int], list[float]]
PlainVector: TypeAlias = "list[float] | list[list[float]] | PlainSparse"
MAX_COUNT = 2**31 - 1


@dataclass(frozen=True, slots=True)
class CheckedPoint(Point):
    """A point in plain Python: canonical id, lists of unit vectors, sparse (indices, values), JSON payload.

    ``size`` is the estimated number of bytes in a request and in the log.
    """

    vectors: dict[str, PlainVector]  # type: ignore[assignment]
    payload: dict[str, Any]
    size: int = 0


def of_same_payload(points: Sequence[CheckedPoint], within: str | None) -> Iterable[tuple[list[Any], Any]]:
    """Return ids and payloads of points; those of equal objects ``within`` their payloads are together."""
    if within is None:
        return (([point.id], point.payload) for point in points)
    found: dict[str, tuple[list[Any], Any]] = {}
    written: dict[int, str] = {}
    for point in points:
        one = point.payload[within]
        if id(one) not in written:
            written[id(one)] = json.dumps(one, sort_keys=True)
        found.setdefault(written[id(one)], ([], one))[0].append(point.id)
    return found.values()


class _BadRowError(ValueError):
    """Row ``row`` of a batch of vectors cannot be stored."""

    def __init__(self, row: int, why: str) -> None:
        super().__init__(why)
        self.row, self.why = row, why


def canonical_id(value: object) -> PointId:
    """Return an int from 0 to 2**64 - 1, or a UUID in its lower-case hyphened form; else raise.

    Raises:
        InvalidInputError: ``value`` is neither; this includes ``True``, which would become the id 1.
    """
    if type(value) is str:
        if _CANONICAL_UUID.fullmatch(value):
            return value
        try:
            return str(uuid.UUID(value))
        except ValueError:
            found = "the text is not a UUID"
    elif isinstance(value, int) and not isinstance(value, bool):
        if 0 <= value <= MAX_ID:
            return int(value)
        found = "the number is not between 0 and 2**64 - 1"
    else:
        found = f"it is of type {type(value).__name__}"
    raise InvalidInputError(f"point id {value!r:.80}", found, "Use an int from 0 up, or a UUID as text.")


def id_order(value: PointId) -> tuple[bool, Any]:
    """Return the sort key of an id in the engines' order: integers ascending, then UUIDs."""
    return isinstance(value, str), value


def check_points(points: Sequence[Point], layout: Layout) -> list[CheckedPoint]:
    """Return ``points`` in checked form, of equal ids the last; raise before anything is written.

    Points that this function returned for the same layout are not checked again.

    Raises:
        InvalidPointError: a point is bad; the error has its id and the reason.
    """
    done = [point for point in points if isinstance(point, CheckedPoint)]
    if len(done) == len(points):
        return done
    ids = [_checked_id(point) for point in points]
    vectors: list[dict[str, PlainVector]] = [{} for _ in points]
    of_payloads: dict[int, int] = {}  # one that several points have is checked once
    for point in points:
        if id(point.payload) not in of_payloads:
            of_payloads[id(point.payload)] = _checked_payload(point)
    sizes = [of_payloads[id(point.payload)] for point in points]
    known = set(layout.names)
    for point in points:
        if not point.vectors.keys() <= known:
            raise _refusal(point, f"it has no vector named {min(point.vectors.keys() - known)!r}")
    for name, dimension in layout.dense.items():
        _fill_rows(points, name, dimension, vectors, sizes, is_multi=False)
    for name, dimension in layout.multi.items():
        _fill_rows(points, name, dimension, vectors, sizes, is_multi=True)
    for name in layout.sparse:
        _fill_sparse(points, name, vectors, sizes)
    rows = zip(ids, vectors, points, sizes, strict=True)
    checked = (CheckedPoint(id_, named, dict(point.payload), size=size) for id_, named, point, size in rows)
    return list({point.id: point for point in checked}.values())


def check_vector(vector: object, using: str, layout: Layout) -> PlainVector:
    """Return a checked query vector: a unit dense list, or sparse (indices, values).

    Raises:
        InvalidInputError: the vector name is unknown, or the vector has the wrong kind or invalid values.
    """
    try:
        if using in layout.dense or using in layout.multi:
            dimension, is_multi = {**layout.dense, **layout.multi}[using], using in layout.multi
            rows = _rows_of(vector, dimension, is_multi)
            if not len(rows):
                raise _BadRowError(0, "there is no row")
            plain = _unit_rows([rows], dimension).tolist()
            return cast("list[list[float]]", plain) if is_multi else cast("list[float]", plain[0])
        if using in layout.sparse:
            return _sparse_rows([vector])[0]
    except _BadRowError as error:
        raise InvalidInputError(
            f"a search by {using!r}", f"of the query vector, {error.why}", "Correct the vector."
        ) from None
    raise InvalidInputError(
        f"a search by {using!r}",
        f"the collection has the vectors {sorted(layout.names)}",
        "Use one of them.",
    )


def _checked_id(point: Point) -> PointId:
    try:
        return canonical_id(point.id)
    except InvalidInputError as error:
        raise InvalidPointError(error.asked, error.found, error.do) from None


def _checked_payload(point: Point) -> int:
    try:
        return payload_size(point.payload)
    except UnsafePayloadError as error:
        raise _refusal(point, str(error)) from None


def _refusal(point: Point, why: str) -> InvalidPointError:
    return InvalidPointError(f"point {point.id!r:.80}", why, "Correct the point; nothing was written.")


def _fill_rows(
    points: Sequence[Point],
    name: str,
    dimension: int,
    vectors: list[dict[str, PlainVector]],
    sizes: list[int],
    is_multi: bool,
) -> None:
    owners, parts = [i for i, point in enumerate(points) if name in point.vectors], list[Any]()
    try:
        parts += (_rows_of(points[i].vectors[name], dimension, is_multi) for i in owners)
        plain = _unit_rows(parts, dimension).tolist()
    except _BadRowError as error:
        # What is no vector is the first part that is missing.
        ends = np.cumsum([len(part) for part in parts])
        bad = len(parts) if len(parts) < len(owners) else int(np.searchsorted(ends, error.row, side="right"))
        raise _refusal(points[owners[bad]], f"of its vector {name!r}, {error.why}") from None
    at = 0
    for i, part in zip(owners, parts, strict=True):
        if len(part):
            vectors[i][name] = plain[at : at + len(part)] if is_multi else plain[at]
            sizes[i] += 20 * dimension * len(part)  # a float32 takes up to 20 characters in JSON
            at += len(part)


def _fill_sparse(
    points: Sequence[Point], name: str, vectors: list[dict[str, PlainVector]], sizes: list[int]
) -> None:
    rows = [i for i, point in enumerate(points) if name in point.vectors]
    try:
        plain = _sparse_rows([points[i].vectors[name] for i in rows])
    except _BadRowError as error:
        raise _refusal(points[rows[error.row]], f"of its vector {name!r}, {error.why}") from None
    for i, entries in zip(rows, plain, strict=True):
        # Engines treat an empty sparse vector differently (has_vector counts it on Edge): leave it out.
        if entries[0]:
            vectors[i][name] = entries
            sizes[i] += 32 * len(entries[0])


def _unit_rows(parts: Sequence[NDArray[np.float32]], dimension: int) -> NDArray[np.float32]:
    """Return the rows of all parts as unit vectors (n, dimension); those that are, do not change."""
    matrix = np.concatenate([np.zeros((0, dimension), np.float32), *parts])
    norms = np.sqrt(np.einsum("ij,ij->i", matrix, matrix, dtype=np.float64))
    # Squares of finite float32 fit in float64: a norm is finite exactly where all its values are.
    _refuse(~np.isfinite(norms), "a value is not a finite float32")
    _refuse(norms == 0.0, "all values are zero, so it has no direction")
    off = np.flatnonzero(np.abs(norms - 1.0) > 4e-7)
    matrix[off] = (matrix[off] / norms[off, None]).astype(np.float32)
    return matrix


def _rows_of(vector: object, dimension: int, is_multi: bool) -> NDArray[np.float32]:
    """Return a dense vector as a row (1, dimension), or those (k, dimension) of a multivector."""
    if isinstance(vector, SparseVector):
        raise _BadRowError(0, "sparse entries were given where the vector is dense")
    try:
        array = np.asarray(vector)
    except ValueError:
        raise _BadRowError(0, "the values are not an array of numbers") from None
    if is_multi and array.ndim and not len(array):
        return np.zeros((0, dimension), np.float32)
    if array.dtype.kind not in "fiu":
        raise _BadRowError(0, f"the values are of type {array.dtype}, not numbers")
    row = array.shape[1:] if is_multi and array.ndim == 2 else array.shape
    if row != (dimension,):
        raise _BadRowError(0, f"the shape is {row} where the collection has ({dimension},)")
    with np.errstate(over="ignore"):
        return array.astype(np.float32, copy=False).reshape(-1, dimension)


def _sparse_rows(rows: Sequence[object]) -> list[PlainSparse]:
    """Check all rows in one concatenated array, with a few numpy calls per batch."""
    if not rows:
        return []
    pairs = [_sparse_row(row, vector) for row, vector in enumerate(rows)]
    ends = np.cumsum([len(indices) for indices, _ in pairs])
    indices = np.concatenate([indices for indices, _ in pairs])
    with np.errstate(over="ignore"):
        values = np.concatenate([values for _, values in pairs]).astype(np.float32)
    owners = np.repeat(np.arange(len(pairs)), np.diff(ends, prepend=0))
    _refuse(~np.isfinite(values), "a value is not a finite float32", owners)
    _refuse((indices < 0) | (indices > MAX_INDEX), f"an index is not in 0…{MAX_INDEX}", owners)
    inside = owners[1:] == owners[:-1]
    _refuse(inside & (indices[1:] <= indices[:-1]), "the indices are not ascending", owners[1:])
    flat_indices, flat_values, start, plain = indices.tolist(), values.tolist(), 0, []
    for end in ends.tolist():
        plain.append((flat_indices[start:end], flat_values[start:end]))
        start = end
    return plain


def _sparse_row(row: int, vector: object) -> tuple[NDArray[Any], NDArray[Any]]:
    if not isinstance(vector, SparseVector):
        raise _BadRowError(row, "a plain array was given where the vector is sparse")
    indices, values = np.asarray(vector.indices), np.asarray(vector.values)
    if indices.ndim != 1 or indices.shape != values.shape:
        raise _BadRowError(row, f"there are {indices.size} indices and {values.size} values")
    if not indices.size:
        return np.zeros(0, dtype=np.int64), np.zeros(0, dtype=np.float32)
    if indices.dtype.kind not in "iu" or values.dtype.kind not in "fiu":
        raise _BadRowError(row, f"indices are of type {indices.dtype} and values of type {values.dtype}")
    return indices, values


def _refuse(bad: NDArray[np.bool_], why: str, owners: NDArray[np.intp] | None = None) -> None:
    """Raise an error if a row is bad, or an entry, of the row that is its owner."""
    if bad.any():
        raise _BadRowError(int(bad.argmax() if owners is None else owners[bad.argmax()]), why)


def to_point(row: Any, score: float | None = None) -> Point:
    """Return the point of a row of Edge or of qdrant-client."""
    if not row.vector and not row.payload:
        return Point(to_id(row.id), score=score)
    vectors = row.vector if isinstance(row.vector, Mapping) else {}
    return Point(
        id=to_id(row.id),
        vectors={name: _vector(value) for name, value in vectors.items()},
        payload=row.payload or {},
        score=score,
    )


def to_id(value: Any) -> PointId:
    """Return an id in our form: an int, or a UUID as text."""
    return value if isinstance(value, int) else str(value)


def _vector(value: Any) -> Vector:
    # A quarter of the time of np.array, which is most of the time of reading a vector.
    if isinstance(value, list) and value and isinstance(value[0], list):
        rows = bytearray().join([_floats(len(row)).pack(*row) for row in value])
        return np.frombuffer(rows, np.float32).reshape(len(value), -1)
    if isinstance(value, list):
        return np.frombuffer(bytearray(_floats(len(value)).pack(*value)), np.float32)
    return SparseVector(np.array(value.indices, dtype=np.int32), np.array(value.values, dtype=np.float32))


@cache
def _floats(count: int) -> Struct:
    return Struct(f"{count}f")


def check_count(asked: str, name: str, value: object, minimum: int) -> None:
    """Raise InvalidInputError unless ``value`` is an int from ``minimum`` to ``MAX_COUNT``."""
    if isinstance(value, bool) or not isinstance(value, int) or not minimum <= value <= MAX_COUNT:
        raise InvalidInputError(
            asked, f"{name} is {value!r:.80}", f"Use an int from {minimum} to {MAX_COUNT}."
        )


# Payloads ---------------------------------------------------------------------------------------------


class UnsafePayloadError(ValueError):
    """A part of a payload cannot be stored, with the reason; never leaves this package."""


def payload_size(payload: Mapping[str, Any]) -> int:
    """Return the bytes of ``payload`` as JSON; raise UnsafePayloadError if it is not safe to store."""
    if type(payload) is not dict:
        if not isinstance(payload, Mapping):
            raise UnsafePayloadError(f"the payload is of type {type(payload).__name__}, not an object")
        payload = dict(payload)
    _check_object(payload, 1)
    try:
        size = len(json.dumps(payload, allow_nan=False, ensure_ascii=False, check_circular=False).encode())
    except (ValueError, TypeError) as error:
        raise UnsafePayloadError(_culprit(payload, error)) from None
    if size > MAX_BYTES:
        raise UnsafePayloadError(f"the payload is {size:,} bytes as JSON, more than {MAX_BYTES:,}")
    return size


def _culprit(payload: Mapping[str, Any], error: Exception) -> str:
    """Return a message with the field that the JSON encoder refused, which its error does not name."""
    for key, value in payload.items():
        try:
            json.dumps([key, value], allow_nan=False, ensure_ascii=False).encode()
        except UnicodeEncodeError:
            return f"the payload field {key!r} holds a lone surrogate, which is not Unicode text"
        except ValueError:
            return f"the payload field {key!r} holds NaN or an infinity, which JSON does not have"
        except TypeError as inner:
            return f"the payload field {key!r} is not JSON: {inner}"
    return f"the payload is not JSON: {error}"


def _check_object(value: Mapping[Any, Any], depth: int) -> None:
    if depth > MAX_DEPTH:
        raise UnsafePayloadError(f"the payload is nested more than {MAX_DEPTH} levels deep")
    for key, item in value.items():
        if not isinstance(key, str):
            raise UnsafePayloadError(f"the payload key {key!r} is of type {type(key).__name__}, not str")
        if type(item) not in _PLAIN:
            _check_value(item, depth)


def _check_value(value: Any, depth: int) -> None:
    if isinstance(value, bool | str | float) or value is None:
        return
    if isinstance(value, int):
        _check_integers((value,))
    elif isinstance(value, dict):
        _check_object(value, depth + 1)
    elif isinstance(value, list | tuple):
        _check_array(value, depth + 1)
    else:
        raise UnsafePayloadError(f"the payload holds {kind_of(value)}, which is not a JSON value")


def _check_array(value: list[Any] | tuple[Any, ...], depth: int) -> None:
    if depth > MAX_DEPTH:
        raise UnsafePayloadError(f"the payload is nested more than {MAX_DEPTH} levels deep")
    # One pass in C, since indexes have many long arrays: concepts and tags.
    kinds = set(map(type, value))
    if kinds == {int}:
        _check_integers((min(value), max(value)))
    elif not kinds <= _PLAIN:
        for item in value:
            _check_value(item, depth)


def _check_integers(values: tuple[int, ...]) -> None:
    for value in values:
        if not MIN_INT <= value <= MAX_INT:
            raise UnsafePayloadError(f"the payload holds the integer {_shortened(value)}, outside 64 bits")


def _shortened(value: int) -> str:
    """Return an integer as text, or its number of bits if it is too long to print."""
    return str(value) if value.bit_length() < 200 else f"of {value.bit_length()} bits"
