"""Validation of records: the limits on ids, texts and metadata, and the conversion of values to JSON.

Every function here raises ``InvalidRecordError``, whose ``found`` becomes the reason of the reject.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from datetime import date, time, timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, Any
from uuid import UUID

import numpy as np

from saeindex.errors import InvalidRecordError, kind_of
from saeindex.language.speech import readable
from saeindex.types import Record, whole

if TYPE_CHECKING:
    from saeindex.indexing.known import Known
    from saeindex.types import FloatArray

MAX_ID_CHARACTERS = 512
MAX_TEXT_CHARACTERS = 10 * 2**20
MAX_METADATA_BYTES = 2**20
MAX_METADATA_DEPTH = 16
CONVERT = "convert the file, for example with `iconv -f CP1252 -t UTF-8`"
# A byte of a table that is not UTF-8, as it is decoded.
_BAD_BYTE = re.compile(r"[\udc80-\udcff]")
_INT64 = range(-(2**63), 2**63)


class Cell(str):
    """A cell of a column of numbers or truth values: a string as text or id, and its value as metadata."""

    __slots__ = ()

    def value(self) -> int | float | bool:
        """Return the number or truth value."""
        if self.casefold() in ("true", "false"):
            return self.casefold() == "true"
        return whole(float(self)) if "." in self else int(self)


def checked_record(
    record_id: Any,
    text: Any,
    metadata: Mapping[str, Any],
    fields: Mapping[str, Any] | None = None,
    document: Any = None,
    vector: Any = None,
    known: Known | None = None,
) -> Record:
    """Return a record with validated parts, its metadata as plain JSON values."""
    for part, value in (("metadata", metadata), ("fields", fields or {})):
        if not isinstance(value, Mapping):
            raise _refused(part, f"the {part} is {_kind(value)}, not an object")
    return Record(
        checked_id(record_id),
        checked_text(text),
        json_metadata(metadata),
        checked_fields(fields or {}),
        None if document is None else checked_id(document, "document"),
        None if vector is None else checked_vector(vector),
        known,
    )


def checked_id(value: Any, part: str = "id") -> str:
    """Return a str or int id as str, and a float that is a whole number (a column with gaps) as that.

    Other floats and booleans are refused, since they may change when stored.
    """
    value = whole(float(value)) if isinstance(value, np.floating) else whole(value)
    if isinstance(value, bool) or not isinstance(value, str | int | np.integer):
        raise _refused(part, f"the {part} is {_kind(value)}, not a string or an integer")
    if isinstance(value, int) and value not in _INT64:
        raise _refused(part, f"the {part} is an integer of more than 64 bits")
    record_id = str(value)
    if not record_id.strip():
        raise _refused(part, f"the {part} is empty")
    if len(record_id) > MAX_ID_CHARACTERS:
        raise _refused(part, f"the {part} has {len(record_id)} characters, above {MAX_ID_CHARACTERS}")
    return _without_surrogates(record_id, part)


def checked_vector(value: Any) -> FloatArray:
    """Return a list or array of numbers as a unit vector (d,)."""
    try:
        found = np.asarray(value, np.float64)
    except (ValueError, TypeError):
        raise _refused("vector", f"the vector is {_kind(value)}, not a list of numbers") from None
    if found.ndim != 1 or not len(found) or not np.isfinite(found).all():
        raise _refused("vector", "the vector is not a list of finite numbers")
    if not (largest := np.abs(found).max()):
        raise _refused("vector", "the vector is zero")
    found /= largest  # else squares of large numbers are infinite
    return np.asarray(found / np.linalg.norm(found), np.float32)


def checked_text(value: Any, part: str = "text") -> str:
    """Return the text unchanged; NUL and other control characters are allowed."""
    if not isinstance(value, str | None):
        raise _refused(part, f"the {part} is {_kind(value)}, not a string")
    if not value or value.isspace():
        raise _refused(part, f"the {part} is empty")
    if not readable(value).strip():
        raise _refused(part, f"the {part} is markup alone, or a signature")
    if len(value) > MAX_TEXT_CHARACTERS:
        raise _refused(part, f"the {part} has {len(value)} characters, above {MAX_TEXT_CHARACTERS}")
    return _without_surrogates(str(value), part)


def checked_fields(fields: Mapping[str, Any]) -> dict[str, str]:
    """Return the further texts without those that are null or blank."""
    present = {
        name: text
        for name, text in fields.items()
        if text is not None and not (isinstance(text, str) and (not text or text.isspace()))
    }
    return {name: checked_text(text, f"field {name!r}") for name, text in present.items()}


def json_metadata(metadata: Mapping[str, Any]) -> dict[str, Any]:
    """Return the metadata as JSON values: dates as ISO strings, non-finite numbers as null."""
    converted: dict[str, Any] = _json_value(metadata, "metadata", 1)
    size = len(json.dumps(converted, ensure_ascii=False).encode())
    if size > MAX_METADATA_BYTES:
        raise _refused("metadata", f"the metadata has {size} bytes, above {MAX_METADATA_BYTES}")
    return converted


def _json_value(value: Any, path: str, depth: int) -> Any:
    if isinstance(value, Mapping | list | tuple):
        return _json_container(value, path, depth)
    if isinstance(value, np.ndarray | np.generic):
        return _json_numpy(value, path, depth)
    return _json_scalar(value, path)


def _json_scalar(value: Any, path: str) -> str | int | float | bool | None:
    if isinstance(value, str):
        return value.value() if isinstance(value, Cell) else _without_surrogates(str(value), path)
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, int | float | Decimal):
        return _json_number(value, path)
    if isinstance(value, timedelta):
        return value.total_seconds()
    if isinstance(value, date | time):
        # pandas' NaT is a datetime that is unequal to itself, like NaN.
        return value.isoformat() if value == value else None  # noqa: PLR0124
    if not isinstance(value, UUID):
        raise _refused("metadata", f"{path} is {_kind(value)}, which JSON cannot represent")
    return str(value)


def _json_container(value: Mapping[Any, Any] | list[Any] | tuple[Any, ...], path: str, depth: int) -> Any:
    if depth > MAX_METADATA_DEPTH:
        raise _refused("metadata", f"the metadata is nested deeper than {MAX_METADATA_DEPTH} levels")
    if not isinstance(value, Mapping):
        return [_json_value(item, f"{path}[{i}]", depth + 1) for i, item in enumerate(value)]
    for key in value:
        if not isinstance(key, str):
            raise _refused("metadata", f"{path} has a key that is {_kind(key)}, not a string")
    return {
        _without_surrogates(key, path): _json_value(item, f"{path}.{key}", depth + 1)
        for key, item in value.items()
    }


def _json_number(value: float | Decimal, path: str) -> int | float | None:
    if isinstance(value, Decimal):
        if not value.is_finite():
            return None
        value = int(value) if value.adjusted() < 19 and value == value.to_integral_value() else float(value)
    if isinstance(value, float):
        return float(value) if math.isfinite(value) else None
    if value not in _INT64:
        raise _refused("metadata", f"{path} is an integer of more than 64 bits")
    return int(value)


def _json_numpy(value: Any, path: str, depth: int) -> Any:
    if value.dtype.kind != "M":
        return _json_value(value.tolist(), path, depth)
    if isinstance(value, np.ndarray):
        return _json_value(list(value), path, depth)
    return None if np.isnat(value) else str(np.datetime_as_string(value))


def _without_surrogates(value: str, part: str) -> str:
    try:
        value.encode()
    except UnicodeEncodeError:
        found = f"the {part} is not valid Unicode (half a surrogate pair)"
        if _BAD_BYTE.search(value):
            found = f"the {part} is not UTF-8: {CONVERT}"
        raise _refused(part, found) from None
    return value


def _kind(value: Any) -> str:
    return "null" if value is None else kind_of(value)


def _refused(part: str, reason: str) -> InvalidRecordError:
    return InvalidRecordError(f"{part} of a record", reason, "Repair the record, or choose other fields.")
