"""Field paths and dates of the where language, as text that has one spelling each."""

from __future__ import annotations

import datetime as dt
import re

RECORD_ID = "record_id"
MAX_FIELD_CHARS = 300
# As the engines write a key: names with other characters stand in double quotes. They know no escapes.
_PLAIN_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_-]*")
_NAME = r'\w[\w-]*|"[^"]+"|`[^`]+`'
_FIELD = re.compile(rf"metadata(?:\.(?:{_NAME}))+")
_SEGMENT = re.compile(_NAME)
_DATE = re.compile(
    r"\d{4}-\d\d-\d\d(?:[Tt ]\d\d:\d\d(?::\d\d(?:\.\d{1,6})?)?(?:[Zz]|[+-]\d\d:\d\d)?)?", re.ASCII
)
# What engines read as a date in a payload: more than people should write, but not all that Python reads.
_STORED_DATE = re.compile(r"\d{4}-\d\d-\d\d(?:[Tt ]\d\d:\d\d.*)?", re.ASCII)
_DAY_CHARS = len("2015-03-01")
_FEATURE_ID = re.compile(r"#[0-9]{1,9}")
# A zone, or the end of a day, must not lead out of what a datetime can hold.
_YEARS = range(2, 9_999)


def canonical_field(field: str) -> str:
    """Return ``record_id`` or ``metadata.a."odd name"`` as the engines' key; ValueError where it is none."""
    if field == RECORD_ID:
        return field
    if len(field) > MAX_FIELD_CHARS:
        raise ValueError(f"a field of {len(field)} characters, more than {MAX_FIELD_CHARS}")
    if not _FIELD.fullmatch(field):
        raise ValueError(f"{field!r} is no field: use record_id, metadata.name or metadata.`odd name`")
    names = path_of(field)[1:]
    for name in names:
        if '"' in name or "\\" in name:
            raise ValueError(f'the engines cannot address a field whose name holds " or \\: {name!r}')
    written = [name if _PLAIN_NAME.fullmatch(name) else f'"{name}"' for name in names]
    return ".".join(["metadata", *written])


def path_of(field: str) -> tuple[str, ...]:
    """Return the names on the way to a field: ``("metadata", "a", "odd name")``."""
    return tuple(name.strip('"`') if name[0] in '"`' else name for name in _SEGMENT.findall(field))


def canonical_date(date: str) -> str:
    """Return a day, or a moment in RFC 3339 with ``T`` and ``Z``; ValueError where it is neither.

    A moment without a zone is UTC, as on a Qdrant server.
    """
    if not _DATE.fullmatch(date):
        raise ValueError(f"{date[:40]!r} is no date such as 2015-03-01 or 2015-03-01T12:00:00Z")
    written = date.upper().replace(" ", "T")
    try:
        moment = dt.datetime.fromisoformat(written)
    except ValueError as error:
        raise ValueError(f"{date!r} is no date: {error}") from None
    if moment.year not in _YEARS:
        raise ValueError(f"{date!r} is no date from the year {_YEARS[0]} to {_YEARS[-1]}")
    return written


def span_of(date: str) -> tuple[dt.datetime, dt.datetime | None]:
    """Return the start of a canonical date, and where it is a whole day the start of the next one."""
    start = dt.datetime.fromisoformat(date)
    start = start if start.tzinfo else start.replace(tzinfo=dt.UTC)
    return start, (start + dt.timedelta(days=1) if len(date) == _DAY_CHARS else None)


def moment_in(text: str) -> dt.datetime | None:
    """Return the moment that a payload's text is, without a zone in UTC; None where it is no date."""
    if not _STORED_DATE.fullmatch(text):
        return None
    try:
        moment = dt.datetime.fromisoformat(text.upper().removesuffix(" UTC"))
    except ValueError:
        return None
    return moment if moment.tzinfo else moment.replace(tzinfo=dt.UTC)


def is_feature_id(text: str) -> bool:
    """Say whether a text is ``#id``, which both languages read without quotes."""
    return _FEATURE_ID.fullmatch(text) is not None
