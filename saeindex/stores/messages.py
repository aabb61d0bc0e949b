"""Messages between a store and the process of its engine: msgpack, with our types as extensions.

A message can only name the types listed here, so reading one runs no code of its sender.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import fields
from typing import IO, Any
from uuid import UUID

import msgpack
import numpy as np

from saeindex.errors import InvalidInputError, kind_of
from saeindex.protocols import Layout, OrderBy, Page, Point, SparseVector
from saeindex.stores.engine import Fetch, NearestIds, NearestSearch
from saeindex.stores.point_checks import CheckedPoint

_TUPLE, _FILTER, _POINTS, _MATRIX, _FIRST_TYPE = 0, 1, 4, 5, 10
_ARRAYS = {2: "<f4", 3: "<i4"}
_ARRAY_CODES = {kind: code for code, kind in _ARRAYS.items()}
_TYPES: tuple[type, ...] = (
    Point, SparseVector, CheckedPoint, Page, NearestSearch, NearestIds, Fetch, OrderBy, Layout,
)  # fmt: skip
_CODES = {kind: code for code, kind in enumerate(_TYPES, _FIRST_TYPE)}
_NAMES: dict[type, tuple[str, ...]] = {kind: tuple(one.name for one in fields(kind)) for kind in _TYPES}
_PLAIN: dict[type, Callable[[Any], Any]] = {
    np.generic: np.generic.item, str: str.__str__, int: int, float: float, list: list, Mapping: dict,
    UUID: str,
}  # fmt: skip
_SIZE_BYTES = 8


def send(stream: IO[bytes], message: bytes) -> None:
    """Write a packed message."""
    stream.write(len(message).to_bytes(_SIZE_BYTES, "little"))
    stream.write(message)
    stream.flush()


def receive(stream: IO[bytes]) -> Any:
    """Read a message and unpack it; EOFError if the sender has ended."""
    return unpacked(received(stream))


def received(stream: IO[bytes]) -> bytes:
    """Read a message as it was packed; EOFError if the sender has ended."""
    return _exactly(stream, int.from_bytes(_exactly(stream, _SIZE_BYTES), "little"))


def _exactly(stream: IO[bytes], size: int) -> bytes:
    read = stream.read(size)
    if len(read) < size:
        raise EOFError
    return read


def packed(value: object) -> bytes:
    """Return a value as bytes; InvalidInputError if it has a part of a type that engines do not know."""
    message: bytes = msgpack.packb(
        value, default=_extension, strict_types=True, unicode_errors="surrogatepass"
    )
    return message


def unpacked(message: bytes) -> Any:
    """Return the value of :func:`packed`."""
    return msgpack.unpackb(
        message, ext_hook=_of_extension, strict_map_key=False, unicode_errors="surrogatepass"
    )


def compact(value: object) -> object:
    """Return an answer in the form that is sent fastest: a list of points as its columns."""
    if isinstance(value, Page):
        return Page(compact(value.points), value.cursor)  # type: ignore[arg-type]
    if not (isinstance(value, list) and value and isinstance(value[0], Point)):
        return value
    columns = [[getattr(point, name) for point in value] for name in _NAMES[Point]]
    return msgpack.ExtType(_POINTS, packed(columns))


def _extension(value: Any) -> Any:
    kind = type(value)
    if code := _CODES.get(kind):
        return msgpack.ExtType(code, packed([getattr(value, name) for name in _NAMES[kind]]))
    if isinstance(value, np.ndarray) and value.ndim == 2:
        return msgpack.ExtType(_MATRIX, packed([value.shape[1], np.ascontiguousarray(value).ravel()]))
    if isinstance(value, np.ndarray):
        return msgpack.ExtType(_ARRAY_CODES[value.dtype.str], value.tobytes())
    if isinstance(value, tuple):
        return msgpack.ExtType(_TUPLE, packed(list(value)))
    if hasattr(value, "model_dump"):
        return msgpack.ExtType(
            _FILTER, packed(value.model_dump(mode="json", by_alias=True, exclude_none=True))
        )
    return _plain(value)


def _plain(value: Any) -> Any:
    """Return the plain form of an enumeration, a number of numpy or a mapping that is no dict."""
    if plain := next((plain for kind, plain in _PLAIN.items() if isinstance(value, kind)), None):
        return plain(value)
    found = f"it has {kind_of(value)} in it"
    raise InvalidInputError("what is sent to the engine", found, "Use text, numbers, lists and objects.")


def _of_extension(code: int, data: bytes) -> Any:
    if code >= _FIRST_TYPE:
        return _TYPES[code - _FIRST_TYPE](*unpacked(data))
    if code in _ARRAYS:
        return np.frombuffer(bytearray(data), _ARRAYS[code])
    if code == _MATRIX:
        width, flat = unpacked(data)
        return flat.reshape(-1, width)
    if code == _TUPLE:
        return tuple(unpacked(data))
    if code == _POINTS:
        return [Point(*row) for row in zip(*unpacked(data), strict=True)]
    from qdrant_client.models import Filter

    return Filter.model_validate(unpacked(data))
