"""Names of fields: how they are written in expressions, options and results, and what they mean.

A field is ``record_id``, ``document``, or a path such as ``metadata.year`` or ``metadata."my group".name``.
A name of other characters than letters, digits, ``_`` and ``-`` is in double quotes or in backticks; within
these, a quote is doubled. Each field has one form: the engines' key where they have one, else a form with
backticks. ``metadata.reviews[].stars`` has the stars of all objects in a list.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from saeindex.config import DOCUMENT
from saeindex.errors import InvalidInputError, kind_of

RECORD_ID, METADATA = "record_id", "metadata"
# What stands in a path for each element of a list, written as ``[]``: a name may be "[]", too.
EACH = "\0[]"
# The fields that every record may have: its id, and the document that it is a piece of.
NAMES = (RECORD_ID, DOCUMENT)
MAX_FIELD_CHARS = 300
# The engines' syntax of keys: names with other characters are in double quotes, without escapes.
_PLAIN = re.compile(r"[A-Za-z_][A-Za-z0-9_-]*")
NAME = r'\w[\w-]*|"(?:[^"]|"")+"|`(?:[^`]|``)+`'
_FIELD = re.compile(rf"{METADATA}(?:\.(?:{NAME})(?:\[\])?)+")
_SEGMENT = re.compile(rf"{NAME}|\[\]")


def canonical_field(field: str) -> str:
    """Return the form of a field that is compared and printed; ValueError if it is none."""
    if field in NAMES:
        return field
    if len(field) > MAX_FIELD_CHARS:
        raise ValueError(f"a field of {len(field)} characters, more than {MAX_FIELD_CHARS}")
    if not _FIELD.fullmatch(field):
        raise ValueError(
            f"{field!r} is not a field: use record_id, document, metadata.name or metadata.`odd name`"
        )
    return field_at(_names(field))


def field_at(path: Sequence[str]) -> str:
    """Return the canonical field of a path: ``("metadata", "my group")`` is ``metadata."my group"``."""
    return path[0] + "".join("[]" if name == EACH else f".{_written(name)}" for name in path[1:])


def list_in(field: str) -> tuple[str, str]:
    """Return the list of a field of objects in it, and the field in one of them; "" if it is in no list."""
    path = path_of(field)
    at = max((place for place, name in enumerate(path) if name == EACH), default=0)
    return (field_at(path[:at]), field_at(("", *path[at + 1 :]))[1:]) if at else ("", field)


def path_of(field: str) -> tuple[str, ...]:
    """Return the path of a field as names: ``("metadata", "a", "odd name")``.

    A field that is not in the syntax of fields is read as one odd name: ``metadata.my group``.
    """
    if not isinstance(field, str):
        raise InvalidInputError(f"field {field!r:.80}", kind_of(field), 'Give its name: "metadata.year".')
    if field in NAMES or _FIELD.fullmatch(field):
        return _names(field)
    return as_one_name(field)


def as_one_name(field: str) -> tuple[str, ...]:
    """Return the path of a field whose name, after ``metadata.``, holds dots or other characters."""
    first, _, rest = field.partition(".")
    return (first, rest) if rest else (first,)


def is_addressable(field: str) -> bool:
    """Return whether engines can find a canonical field: no name holds a double quote or a backslash."""
    return "`" not in re.sub(r'"[^"]*"', "", field)


def shown_fields(fields: Iterable[str], limit: int = 12) -> str:
    """Return names of fields for an error."""
    known = list(fields)
    more = f" and {len(known) - limit} more" if len(known) > limit else ""
    return (", ".join(known[:limit]) or "no metadata") + more


def _names(field: str) -> tuple[str, ...]:
    return tuple(EACH if name == "[]" else _bare(name) for name in _SEGMENT.findall(field))


def _bare(name: str) -> str:
    quote = name[0]
    return name[1:-1].replace(quote * 2, quote) if quote in '"`' else name


def _written(name: str) -> str:
    if _PLAIN.fullmatch(name):
        return name
    if '"' in name or "\\" in name:
        doubled = name.replace("`", "``")
        return f"`{doubled}`"
    return f'"{name}"'
