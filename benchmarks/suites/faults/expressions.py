"""Random conditions in every form: where texts, where objects and native filters, whole and mutilated."""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from typing import Any

FIELDS = (
    *("metadata.year", "metadata.stars", "metadata.tags", "metadata.product name", 'metadata."a b".c'),
    *("record_id", "metadata.größe", "metadata.none", "year", "metadata", "concepts", "metadata.a.b", "👋"),
)
LONG, WIDE = "x" * 1_200, "ü" * 40
WORDS = ("price", "dark matter", "a", "", " ", "NOT", "galaxy\n", 'say "so"', WIDE, "\u202e", LONG, "{", "#5")
LEVELS = ("possible", "present", "typical", "strong", "loud", None)
NUMBERS = (0, 1, -1, 2015, 3.5, -0.0, 1e308, -1e309, 2**63, 2**64, 10**30, 5e-324)
DATES = ("2020-01-01", "2020-02-30", "2020-01-01T12:30:00Z", "0001-01-01", "9999-12-31", "yesterday", "2020")
# Texts that a mutilation inserts.
BITS = (
    *(
        "(",
        ")",
        '"',
        "AND",
        "OR",
        "NOT",
        "AT LEAST 3 OF",
        ",",
        "#",
        "\\",
        "\x00",
        "🙂",
        "-",
        ".",
        "1e9",
        "NaN",
    ),
    *("IN (", "BETWEEN", "EXISTS", "'", "`", "[", "]", "{", "}", ":", ";", "$", "%", "*", "\u2028", "\ud800"),
)
HUGE = 40
# The share of forms, before mutilation, of which all parts are valid.
TAME = 0.7
TAME_VALUES = ("price", "x", 0, 1, 2015, -3.5, True, "2020-01-01")


class Conditions:
    """A stream of random conditions; ``next`` returns the kind of form and the form."""

    def __init__(self, seed: int, n_features: int) -> None:
        """``n_features`` is the number of features that exist."""
        self._random, self._n, self._is_tame = random.Random(seed), n_features, True
        self._forms: tuple[tuple[str, Callable[[], Any]], ...] = (
            ("text", self.text),
            ("mutilated text", lambda: self.mutilated(self.text())),
            ("object", self.object),
            ("mutilated object", lambda: self._mutilated_object(self.object())),
            ("filter", self.native),
            ("mutilated filter", lambda: self._mutilated_object(self.native())),
        )

    def next(self) -> tuple[str, Any]:
        """Return a form of a random kind."""
        kind, make = self._random.choice(self._forms)
        self._is_tame = self._random.random() < TAME
        return kind, make()

    # Texts ---------------------------------------------------------------------------------------------

    def text(self, depth: int = 0) -> str:
        """Return a where text that is mostly valid."""
        draw = self._random.random()
        if depth > self._random.choice((0, 1, 2, 3, 8)) or draw < 0.25:
            return self._leaf_text()
        parts = [self.text(depth + 1) for _ in range(self._width(depth))]
        if draw < 0.4:
            return f"NOT ({parts[0]})"
        if draw < 0.6:
            return f"AT LEAST {self._count(len(parts))} OF ({', '.join(parts)})"
        return "(" + f" {self._random.choice(('AND', 'OR'))} ".join(parts) + ")"

    def _leaf_text(self) -> str:
        one, field = self._random.choice, self._field()
        values = ", ".join(self._value_text() for _ in range(self._random.randint(1, 5)))
        return one((
            lambda: f"#{self._feature()}",
            lambda: json.dumps(self._word(), ensure_ascii=False),
            lambda: f'{one(self._levels())}("{self._word()}")',
            lambda: f"strong(#{self._feature()})",
            lambda: f'family("{self._word()}")',
            lambda: f"{field} {one(('=', '!='))} {self._value_text()}",
            lambda: f"{field} {one(('<', '<=', '>', '>='))} {self._number()}",
            lambda: f"{field} IN ({values})",
            lambda: f"{field} BETWEEN 1 AND {self._number()}",
            lambda: f"EXISTS({field})",
        ))()  # fmt: skip

    def _value_text(self) -> str:
        return json.dumps(self._value(), ensure_ascii=False)

    def mutilated(self, text: str) -> str:
        """Return a text with some characters removed, doubled or inserted."""
        for _ in range(self._random.randint(1, 4)):
            at = self._random.randrange(len(text) + 1)
            draw = self._random.random()
            if draw < 0.4:
                text = text[:at] + self._random.choice(BITS) + text[at:]
            elif draw < 0.7:
                text = text[:at] + text[at + self._random.randint(1, 6) :]
            elif draw < 0.99:
                text = text[:at] + text[at : at + 9] * self._random.choice((2, 3, 50)) + text[at:]
            else:
                text = text[:at] + self._random.choice('("[{') * self._random.choice((60, 12_000)) + text[at:]
        return text

    # Objects -------------------------------------------------------------------------------------------

    def object(self, depth: int = 0) -> Any:
        """Return a where object (JSON) that is mostly valid."""
        if depth > self._random.choice((0, 1, 2, 3, 30)) or self._random.random() < 0.25:
            return self._leaf_object()
        parts = [self.object(depth + 1) for _ in range(self._width(depth))]
        return self._random.choice((
            {"kind": "and", "parts": parts},
            {"kind": "or", "parts": parts},
            {"kind": "not", "part": parts[0]},
            {"kind": "at_least", "count": self._count(len(parts)), "parts": parts},
        ))  # fmt: skip

    def _leaf_object(self) -> Any:
        one, field, level = self._random.choice, self._field(), self._random.choice(self._levels())
        values = [self._value() for _ in range(one((1, 3) if self._is_tame else (0, 1, 3, 1_200)))]
        return one((
            {"kind": "feature", "feature": self._feature(), "level": level},
            {"kind": "phrase", "text": self._word(), "level": level},
            {"kind": "family", "name": self._word()},
            {"kind": "compare", "field": field, "op": one(("=", "!=")), "value": self._value()},
            {"kind": "compare", "field": field, "op": one(("<", ">=")), "value": self._number()},
            {"kind": "in", "field": field, "values": values},
            {"kind": "between", "field": field, "low": -5, "high": self._number()},
            {"kind": "exists", "field": field},
        ))  # fmt: skip

    # Native filters ------------------------------------------------------------------------------------

    def native(self, depth: int = 0) -> Any:
        """Return a filter as Qdrant's JSON that is mostly valid."""
        made: dict[str, Any] = {}
        for clause in self._random.sample(
            ("must", "should", "must_not", "min_should"), self._random.randint(1, 2)
        ):
            parts = [self._native_part(depth) for _ in range(self._width(depth))]
            is_counted = clause == "min_should"
            made[clause] = (
                {"conditions": parts, "min_count": self._count(len(parts))} if is_counted else parts
            )
        return made

    def _native_part(self, depth: int) -> Any:
        if depth < self._random.choice((1, 2, 3, 34)) and self._random.random() < 0.4:
            return self.native(depth + 1)
        one, field = self._random.choice, self._field()
        code = {"key": "concepts", "match": {"value": self._feature() * 4}}
        tame = (
            code,
            code,
            {"key": field, "match": {"value": one(("a", 1, True))}},
            {"key": field, "match": {"any": [1, 2, 3]}},
            {"key": field, "match": {"except": ["a"]}},
            {"key": field, "match": {"text": self._word()}},
            {"key": field, "range": {one(("gt", "gte", "lt", "lte")): self._number()}},
            {"key": field, "values_count": {"gte": one((0, 1))}},
            {"is_empty": {"key": field}},
            {"is_null": {"key": field}},
            {"has_id": [one((1, "6f1d7c1e-52a5-5a0b-9c8e-3d1f0a5e7b42"))]},
            {"has_vector": one(("dense", "sae"))},
            {"nested": {"key": field, "filter": {"must": [{"key": "a", "match": {"value": 1}}]}}},
        )
        wild = (
            {"key": field, "match": {"value": self._value()}},
            {"key": field, "match": {"any": [self._value() for _ in range(3)]}},
            {"key": field, "values_count": {"gte": one((-1, 2**70))}},
            {
                "key": field,
                "geo_radius": {"center": {"lon": one((0, 500)), "lat": 0}, "radius": one((1, -1))},
            },
            {"has_id": [one((-1, 2**64, "no uuid", True))]},
            {"has_vector": one(("none", ""))},
        )
        return one(tame if self._is_tame else (*tame, *wild))

    def _mutilated_object(self, value: Any) -> Any:
        """Return an object of which a part was replaced by something else, or is nested far too deep."""
        draw = self._random.random()
        if draw < 0.03:
            key = self._random.choice(("part", "parts", "must", "must_not", "nested"))
            for _ in range(self._random.choice((60, 3_000))):
                value = {"kind": "not", key: value} if draw < 0.015 else {"kind": "and", key: [value]}
            return value
        if isinstance(value, dict) and value and draw < 0.8:
            key = self._random.choice(list(value))
            changed = self._mutilated_object(value[key]) if draw < 0.6 else value[key]
            return {**value, self._random.choice((key, key, "typ", "must", "")): changed}
        if isinstance(value, list) and value and draw < 0.8:
            at = self._random.randrange(len(value))
            return [*value[:at], self._mutilated_object(value[at]), *value[at + 1 :]]
        return self._random.choice(
            (None, [], {}, "", 5, -1, True, 1e400, float("nan"), "#5", {"kind": "and"}, [[]], b"x")
        )

    # Parts ---------------------------------------------------------------------------------------------

    def _width(self, depth: int) -> int:
        """Return a number of parts: mostly few, sometimes as many as break a careless engine."""
        return HUGE if depth < 2 and self._random.random() < 0.03 else self._random.choice((1, 2, 2, 3, 3, 4))

    def _count(self, parts: int) -> int:
        halves = (max(1, parts // 2), max(1, parts // 2), 1, parts)
        return self._random.choice(halves if self._is_tame else (*halves, -1, 0, parts + 1))

    def _feature(self) -> int:
        is_wild = not self._is_tame and self._random.random() < 0.2
        return (
            self._random.choice((-1, self._n, 10**9, 2**63)) if is_wild else self._random.randrange(self._n)
        )

    def _value(self) -> Any:
        wild = (*NUMBERS, *DATES, *WORDS, True, False)
        return self._random.choice(TAME_VALUES if self._is_tame else wild)

    def _levels(self) -> tuple[str | None, ...]:
        return LEVELS[:4] if self._is_tame else LEVELS

    def _field(self) -> str:
        return self._random.choice(FIELDS[:6] if self._is_tame else FIELDS)

    def _word(self) -> str:
        return self._random.choice(WORDS[:3] if self._is_tame else WORDS)

    def _number(self) -> Any:
        return self._random.choice((0, 1, 2015, -3.5) if self._is_tame else (*NUMBERS, *DATES, *WORDS))
