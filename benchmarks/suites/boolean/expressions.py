"""Random where expressions: every kind of node, every level, values that occur and values that do not."""

from __future__ import annotations

import datetime as dt
import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from saeindex.language.ast import (
    And,
    AtLeast,
    Between,
    Compare,
    Exists,
    Expression,
    FamilyTerm,
    FeatureTerm,
    Not,
    OneOf,
    Or,
    Phrase,
)

LEVELS = (None, "possible", "present", "typical", "strong")
ORDERS = ("<", "<=", ">", ">=")


@dataclass(frozen=True, slots=True)
class Vocabulary:
    """The parts of expressions: concepts, and the values that occur in each metadata field.

    ``dates`` names the fields of dates; a field may also be compared with a value of another field.
    """

    features: Sequence[int]
    phrases: Sequence[str]
    families: Sequence[str]
    values: Mapping[str, Sequence[Any]]
    dates: frozenset[str]
    ids: Sequence[str]


class ExpressionGenerator:
    """Generates random expressions, the same for the same seed."""

    def __init__(self, vocabulary: Vocabulary, seed: int) -> None:
        self._known, self._rng = vocabulary, random.Random(seed)

    def expression(self, depth: int = 3) -> Expression:
        """Return an expression with at most ``depth`` nodes above each leaf."""
        if depth == 0 or self._rng.random() < 0.2:
            return self._leaf()
        kind = self._rng.choices(("not", "and", "or", "at_least"), (2, 3, 3, 2))[0]
        if kind == "not":
            return Not(part=self.expression(depth - 1))
        max_parts = 5 if kind == "at_least" else 3
        parts = tuple(self.expression(depth - 1) for _ in range(self._rng.randint(2, max_parts)))
        if kind == "at_least":
            return AtLeast(count=self._rng.randint(1, len(parts)), parts=parts)
        return And(parts=parts) if kind == "and" else Or(parts=parts)

    def _leaf(self) -> Expression:
        generators: dict[Callable[[], Expression], int] = {
            self._feature: 4,
            self._phrase: 4,
            self._family: 2,
            self._equality: 3,
            self._order: 4,
            self._membership: 3,
            self._interval: 3,
            self._existence: 2,
            self._record: 1,
        }
        return self._rng.choices(list(generators), list(generators.values()))[0]()

    def _feature(self) -> Expression:
        return FeatureTerm(feature=self._rng.choice(self._known.features), level=self._level())

    def _phrase(self) -> Expression:
        return Phrase(text=self._rng.choice(self._known.phrases), level=self._level())

    def _family(self) -> Expression:
        return FamilyTerm(name=self._rng.choice(self._known.families), level=self._level())

    def _level(self) -> Any:
        return self._rng.choice(LEVELS)

    def _equality(self) -> Expression:
        field = self._field()
        op = self._rng.choice(("=", "!="))
        return Compare.model_validate({"field": field, "op": op, "value": self._value(field)})

    def _order(self) -> Expression:
        field, low, _ = self._bounds()
        return Compare.model_validate({"field": field, "op": self._rng.choice(ORDERS), "value": low})

    def _interval(self) -> Expression:
        field, low, high = self._bounds()
        return Between(field=field, low=low, high=high)

    def _membership(self) -> Expression:
        field = self._field()
        others = [
            self._field() if self._rng.random() < 0.1 else field for _ in range(self._rng.randint(1, 6))
        ]
        return OneOf(field=field, values=tuple(self._value(other) for other in others))

    def _existence(self) -> Expression:
        return Exists(field=self._field())

    def _record(self) -> Expression:
        ids = tuple(self._rng.sample(self._known.ids, self._rng.randint(1, 40)))
        if len(ids) == 1:
            return Compare(field="record_id", op=self._rng.choice(("=", "!=")), value=ids[0])
        return OneOf(field="record_id", values=ids)

    def _field(self) -> str:
        return self._rng.choice(list(self._known.values))

    def _value(self, field: str) -> Any:
        """Return a value that records have in ``field``; sometimes another field's, or in upper case."""
        source = self._field() if self._rng.random() < 0.08 else field
        value = self._rng.choice(self._known.values[source])
        if isinstance(value, str):
            if source in self._known.dates and self._rng.random() < 0.7:
                return {"date": value}
            return value.upper() if self._rng.random() < 0.05 else value
        return value if isinstance(value, bool) or self._rng.random() < 0.7 else float(value)

    def _bounds(self) -> tuple[str, Any, Any]:
        """Return a field with ordered values, and two of these, the lower first."""
        ordered = {
            field: [value for value in values if field in self._known.dates or type(value) in (int, float)]
            for field, values in self._known.values.items()
        }
        field = self._rng.choice([field for field, values in ordered.items() if values])
        is_date = field in self._known.dates
        ends = self._rng.choices(ordered[field], k=2)
        low, high = sorted((self._shortened(end) if is_date else end for end in ends), key=sort_key)
        return (field, {"date": low}, {"date": high}) if is_date else (field, low, high)

    def _shortened(self, date: str) -> str:
        """Return a date text, or only its day."""
        return date[:10] if self._rng.random() < 0.5 else date


def sort_key(value: Any) -> Any:
    """Return the sort key of numbers, and of dates as text."""
    if not isinstance(value, str):
        return value
    moment = dt.datetime.fromisoformat(value)
    return moment if moment.tzinfo else moment.replace(tzinfo=dt.UTC)
