"""Evaluation of a where expression on a record in Python; and what kinds of values a field holds."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from math import inf, nextafter
from operator import ge, gt, le, lt
from typing import Any

from saeindex.config import CONCEPTS, TEXT
from saeindex.language import ast
from saeindex.language.fields import EACH, RECORD_ID, path_of
from saeindex.language.literal import is_said
from saeindex.language.to_filter import FeaturesOf, FoundRecords, level_codes, level_of
from saeindex.language.to_text import to_text
from saeindex.types import LevelName, cut

_ORDERS: Mapping[str, Callable[[Any, Any], bool]] = {"<": lt, "<=": le, ">": gt, ">=": ge}


@dataclass(frozen=True, slots=True)
class Clause:
    """A leaf of an expression, with the NOT that applies to it, evaluated on a record.

    ``features`` are the concept's features that the record has at the required level: those that made a
    concept match, or a negated concept fail.
    """

    text: str
    matched: bool
    features: tuple[int, ...] = ()


def clauses(expression: ast.Expression) -> tuple[ast.Expression, ...]:
    """Return the different leaves of an expression in order, negated under an odd number of NOTs."""
    ast.check_limits(expression)
    signed: Sequence[tuple[ast.Leaf, bool]] = ast.folded(
        expression,
        lambda leaf: [(leaf, True)],
        lambda part: [(leaf, not is_positive) for leaf, is_positive in part],
        lambda _, parts: [leaf for part in parts for leaf in part],
    )
    different = (leaf if is_positive else ast.Not(part=leaf) for leaf, is_positive in signed)
    return tuple({to_text(clause): clause for clause in different}.values())


def matched_clauses(
    expression: ast.Expression,
    payload: Mapping[str, Any],
    features_of: FeaturesOf,
    level: LevelName | None = None,
) -> list[Clause]:
    """Return each clause of ``expression`` with whether the record of ``payload`` satisfies it.

    ``level`` is that of the query, as in :func:`~saeindex.language.to_filter.compile_where`.
    """
    record = _Record(payload, features_of, level)
    found = []
    for clause in clauses(expression):
        leaf = clause.part if isinstance(clause, ast.Not) else clause
        features = record.features(leaf) if isinstance(leaf, ast.ConceptTerm) else ()
        found.append(Clause(to_text(clause), record.holds(clause), features))
    return found


def matches(
    expression: ast.Expression,
    payload: Mapping[str, Any],
    features_of: FeaturesOf,
    level: LevelName | None = None,
) -> bool:
    """Return whether the record of ``payload`` satisfies ``expression``; the compiled filter agrees."""
    ast.check_limits(expression)
    return _Record(payload, features_of, level).holds(expression)


class _Record:
    def __init__(self, payload: Mapping[str, Any], features_of: FeaturesOf, level: LevelName | None) -> None:
        self._payload, self._features_of, self._level = payload, features_of, level
        self._codes = frozenset(payload.get(CONCEPTS, ()))

    def holds(self, node: ast.Expression) -> bool:
        return ast.folded(
            node,
            self._leaf_holds,
            lambda is_true: not is_true,
            lambda of, is_true: sum(is_true) >= ast.required(of),
        )

    def _leaf_holds(self, leaf: ast.Leaf) -> bool:
        if isinstance(leaf, ast.Says):
            return is_said(leaf.text, self._payload[TEXT])
        if not isinstance(leaf, ast.ConceptTerm):
            return condition_holds(leaf, found_at(self._payload, path_of(leaf.field)))
        found = self._features_of(leaf)
        if isinstance(found, FoundRecords):
            return self._payload.get(RECORD_ID) in found.at(level_of(leaf, self._level))
        return bool(self.features(leaf))

    def features(self, node: ast.ConceptTerm) -> tuple[int, ...]:
        """Return the features of a concept that the record has at the required level."""
        wanted, reached = self._features_of(node), self._codes.intersection
        if isinstance(wanted, FoundRecords):
            return ()
        return tuple(one for one in dict.fromkeys(wanted) if reached(level_codes(node, [one], self._level)))


def condition_holds(node: ast.Condition, found: Any) -> bool:
    """Return whether a condition is true for a record whose field has the value ``found`` (None: missing)."""
    if isinstance(node, ast.Exists):
        return found not in (None, [])
    # A list counts as its elements.
    values = found if isinstance(found, list) else [found]
    if isinstance(node, ast.Between):
        bounds = ((">=", node.low), ("<=", node.high))
        return any(all(_ordered(value, *bound) for bound in bounds) for value in values)
    if isinstance(node, ast.Holds | ast.Nested):
        holds = _has_text if isinstance(node, ast.Holds) else _fulfils
        return any(holds(value, node) for value in values)
    if isinstance(node, ast.OneOf):
        return any(_equal(value, wanted) for value in values for wanted in node.values)
    if node.op in ("=", "!="):
        return any(_equal(value, node.value) for value in values) == (node.op == "=")
    return any(_ordered(value, node.op, node.value) for value in values)


def _has_text(value: Any, node: Any) -> bool:
    text, asked = value.casefold() if isinstance(value, str) else "", node.text.casefold()
    return asked in text if node.op == "contains" else text.startswith(asked)


def _fulfils(element: Any, node: Any) -> bool:
    """Return whether one element of a list fulfils conditions on its own fields."""
    inside = len(path_of(node.field)) + 1

    def holds(leaf: Any) -> bool:
        return condition_holds(leaf, found_at(element, path_of(leaf.field)[inside:]))

    return isinstance(element, Mapping) and ast.folded(
        node.part,
        holds,
        lambda is_true: not is_true,
        lambda of, is_true: sum(is_true) >= ast.required(of),
    )


def predicate(node: ast.Condition) -> Callable[[Any], bool]:
    """Return :func:`condition_holds` of ``node`` as a function that is fast for long lists of values."""
    if not isinstance(node, ast.OneOf) or not all(type(value) in (str, int, bool) for value in node.values):
        return partial(condition_holds, node)
    wanted = {(type(value), value) for value in node.values}

    def takes(found: Any) -> bool:
        values = found if isinstance(found, list) else [found]
        return any((type(v), v) in wanted for v in values if isinstance(v, str | int))

    return takes


def found_at(payload: Any, path: Sequence[str]) -> Any:
    """Return the value of a field, None if it is missing; those in elements of a list are a list."""
    for place, name in enumerate(path):
        if name == EACH:
            rest, found = path[place + 1 :], list[Any]()
            for one in payload if isinstance(payload, list) else ():
                value = found_at(one, rest)
                found += value if isinstance(value, list) else [] if value is None else [value]
            return found or None
        if not isinstance(payload, Mapping):
            return None
        payload = payload.get(name)
    return payload


def _equal(value: Any, wanted: ast.Value) -> bool:
    if isinstance(wanted, float):  # engines may change one in its last digit
        low, high = nextafter(wanted, -inf), nextafter(wanted, inf)
        return _ordered(value, ">=", low) and _ordered(value, "<=", high)
    if isinstance(wanted, ast.Date):
        return _ordered(value, ">=", wanted) and _ordered(value, "<=", wanted)
    return type(value) is type(wanted) and value == wanted


def _ordered(value: Any, operator: str, bound: ast.Bound | ast.Value) -> bool:
    """Compare numbers, and texts that are dates, nothing else."""
    if isinstance(bound, ast.Date):
        moment = ast.moment_in(value) if isinstance(value, str) else None
        if moment is None:
            return False
        if bound.end is not None and operator in (">", "<="):
            return (moment >= bound.end) == (operator == ">")
        return _ORDERS[operator](moment, bound.start)
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return is_number and isinstance(bound, int | float) and _ORDERS[operator](value, bound)


SHOWN_CHARS = 40


def mismatch(node: ast.Condition, values: Iterable[Any]) -> str | None:
    """Return what a field holds, if a condition asks for none of that: ``metadata.stars holds text: "5"``.

    ``values`` are different values of the field; None and empty lists do not count.
    """
    wanted = _wanted(node)
    held: dict[str, Any] = {}
    for value in values:
        for each in value if isinstance(value, list) else [value]:
            if "dates" in wanted and isinstance(each, str) and ast.moment_in(each):
                return None
            if each is not None:
                held.setdefault(kind_of_value(each), each)
    if not held or not wanted or wanted & held.keys():
        return None
    written = ((kind, json.dumps(value, ensure_ascii=False)) for kind, value in held.items())
    return f"{node.field} holds {' and '.join(f'{kind}: {cut(text, SHOWN_CHARS)}' for kind, text in written)}"


def _wanted(node: ast.Condition) -> set[str]:
    """Return the kinds of values that a condition can be true of; none where it is true of all."""
    match node:
        case ast.Exists() | ast.Nested() | ast.Compare(op="!="):
            return set()
        case ast.Holds():
            return {"text"}
        case ast.OneOf():
            return {kind_of_value(value) for value in node.values}
        case ast.Between():
            return {kind_of_value(node.low)}
        case ast.Compare():
            return {kind_of_value(node.value)}


def kind_of_value(value: Any) -> str:
    """Return what kind of value it is, in the plural."""
    if isinstance(value, bool):
        return "true or false"
    if isinstance(value, int | float):
        return "numbers"
    if isinstance(value, ast.Date):
        return "dates"
    return "text" if isinstance(value, str) else "objects"
