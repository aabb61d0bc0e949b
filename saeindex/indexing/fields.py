"""Further text fields of a record: what they may be called, and what they are called in a collection."""

from __future__ import annotations

import re
from collections.abc import Sequence

from saeindex.config import CONCEPTS, DENSE, PASSAGES, RECORD_CONCEPTS, SAE, TEXT
from saeindex.errors import InvalidInputError

# Names of the layout, and of what a second feature space is called in it.
RESERVED = frozenset(
    {"id", "record_id", "passage", "metadata", "content_hash", "reader"}
    | {CONCEPTS, DENSE, PASSAGES, RECORD_CONCEPTS, SAE, TEXT}
)  # fmt: skip
_NAME = re.compile(r"[a-z][a-z0-9_]*")


def checked_field_names(names: Sequence[str]) -> tuple[str, ...]:
    """Return the names of further text fields; InvalidInputError for one that an index cannot have."""
    if isinstance(names, str):
        raise InvalidInputError(
            "further text fields", f"the string {names!r}", f"Give a tuple: ({names!r},)."
        )
    for name in names:
        if not isinstance(name, str) or not _NAME.fullmatch(name):
            found, do = "not a name", "Use lower-case letters, digits and _, a letter first."
        elif name in RESERVED:
            found, do = "a name of the storage layout", "Give it another name."
        elif names.count(name) > 1:
            found, do = "named twice", "Name each field once."
        else:
            continue
        raise InvalidInputError(f"further text field {name!r}", found, do)
    return tuple(names)
