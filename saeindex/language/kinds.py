"""Kinds of values: what a field holds, said where a condition can be true of none of it."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

from saeindex.language.ast import Between, Compare, Condition, Date, Exists, OneOf, moment_in

SHOWN_CHARS = 40


def mismatch(node: Condition, values: Iterable[Any]) -> str | None:
    """Return what a field holds, if a condition asks for none of that: ``metadata.stars holds text: "5"``.

    ``values`` are different values of the field; None and empty lists do not count.
    """
    wanted = _wanted(node)
    held: dict[str, Any] = {}
    for value in values:
        for each in value if isinstance(value, list) else [value]:
            if each is not None:
                held.setdefault(kind_of_value(each), each)
    if not held or not wanted or wanted & held.keys():
        return None
    if "dates" in wanted and "text" in held and moment_in(held["text"]):
        return None
    shown = " and ".join(f"{kind}: {_shown(value)}" for kind, value in held.items())
    return f"{node.field} holds {shown}"


def _wanted(node: Condition) -> set[str]:
    """Return the kinds of values that a condition can be true of; none where it is true of all."""
    match node:
        case Exists() | Compare(op="!="):
            return set()
        case OneOf():
            return {kind_of_value(value) for value in node.values}
        case Between():
            return {kind_of_value(node.low)}
        case Compare():
            return {kind_of_value(node.value)}


def kind_of_value(value: Any) -> str:
    """Return what kind of value it is, in the plural."""
    if isinstance(value, bool):
        return "true or false"
    if isinstance(value, int | float):
        return "numbers"
    if isinstance(value, Date):
        return "dates"
    return "text" if isinstance(value, str) else "objects"


def _shown(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= SHOWN_CHARS else f"{text[:SHOWN_CHARS]}…"
