"""Validation of payloads: JSON that every engine stores and returns unchanged."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from saeindex.errors import kind_of

# Maximum depth of JSON: some parsers refuse deeper JSON, and filters cannot use it.
MAX_DEPTH = 32
# Maximum bytes of a payload: a server accepts requests up to 32 MB, in which a point must fit.
MAX_BYTES = 8 * 1024 * 1024
# Range of integers: the engine stores u64, but its indexes and filters, and gRPC, use i64.
MIN_INT, MAX_INT = -(2**63), 2**63 - 1

_PLAIN = frozenset({str, float, bool, type(None)})


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
