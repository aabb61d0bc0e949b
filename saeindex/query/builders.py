"""From parse trees to expressions and steers. Without recursion: the depth of a text is its writer's."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from lark import Token, Tree, v_args
from lark.visitors import Transformer_NonRecursive

from saeindex.query.ast import (
    And,
    AtLeast,
    Between,
    Compare,
    ConceptTerm,
    Date,
    Exists,
    Expression,
    FamilyTerm,
    FeatureTerm,
    Not,
    OneOf,
    Or,
    Phrase,
    Value,
)
from saeindex.types import Steer

if TYPE_CHECKING:
    _Builder = Transformer_NonRecursive[Token, Any]
else:
    _Builder = Transformer_NonRecursive

_ESCAPED = re.compile(r'\\(["\\])')
_MOST_DIGITS = 25


def where_of(tree: Tree[Token]) -> Expression:
    """Return the expression of a parsed where text; lark's VisitError holds what a node refused."""
    expression: Expression = _WhereBuilder().transform(tree)
    return expression


def steers_of(tree: Tree[Token]) -> list[Steer]:
    """Return the steers of a parsed steer text; lark's VisitError holds what was refused."""
    steers: list[Steer] = _SteerBuilder().transform(tree)
    return steers


@v_args(inline=True)
class _WhereBuilder(_Builder):
    """Builds the expression of a where text."""

    def feature(self, token: Token) -> Expression:
        return FeatureTerm(feature=int(token[1:]))

    def phrase(self, token: Token) -> Expression:
        return Phrase(text=_unquoted(token))

    def family(self, name: Token) -> Expression:
        return FamilyTerm(name=_text_of(name))

    def leveled(self, level: Token, concept: ConceptTerm) -> Expression:
        return concept.model_copy(update={"level": level.lower()})

    def negation(self, part: Expression) -> Expression:
        return Not(part=part)

    def and_expr(self, *parts: Expression) -> Expression:
        return And(parts=parts)

    def or_expr(self, *parts: Expression) -> Expression:
        return Or(parts=parts)

    def at_least(self, count: Token, *parts: Expression) -> Expression:
        return AtLeast(count=int(count), parts=parts)

    def compare(self, field: Token, operator: Token, value: Value) -> Expression:
        # As JSON: the node reads a text as a date where the comparison needs one, and checks the operator.
        return Compare.model_validate(
            {"field": str(field), "op": operator.replace("==", "="), "value": value}
        )

    def one_of(self, field: Token, *values: Value) -> Expression:
        return OneOf(field=str(field), values=values)

    def none_of(self, field: Token, *values: Value) -> Expression:
        return Not(part=OneOf(field=str(field), values=values))

    def between(self, field: Token, low: Value, high: Value) -> Expression:
        return Between.model_validate({"field": str(field), "low": low, "high": high})

    def outside(self, field: Token, low: Value, high: Value) -> Expression:
        return Not(part=self.between(field, low, high))

    def exists(self, field: Token) -> Expression:
        return Exists(field=str(field))

    def value(self, token: Token) -> Value:
        if token.type == "BOOLEAN":
            return token.lower() == "true"
        if token.type == "DATE":
            return Date(date=str(token))
        if token.type == "QUOTED":
            return _unquoted(token)
        return _number(token)


@v_args(inline=True)
class _SteerBuilder(_Builder):
    """Builds the steers of a steer text."""

    def target(self, token: Token) -> str:
        return _text_of(token)

    def value(self, token: Token) -> str:
        return _text_of(token)

    def against(self, *values: str) -> tuple[str, ...]:
        return values

    def steer(
        self, sign: Token, target: str, against: tuple[str, ...] | None, strength: Token | None
    ) -> Steer:
        amount = 1.0 if strength is None else float(strength)
        return Steer(target, amount if sign == "+" else -amount, against or ())

    def start(self, *steers: Steer) -> list[Steer]:
        return list(steers)


def _text_of(token: Token) -> str:
    """Return a token's text without quotes, also those within ``family:"dark matter"``."""
    if token.type == "NAMED":
        kind, _, name = token.partition(":")
        bare = _unquoted(name) if name.startswith('"') else name
        return f"{kind}:{bare}"
    text = _unquoted(token) if token.type == "QUOTED" else str(token)
    if not text:
        raise ValueError("an empty name")
    return text


def _number(text: str) -> int | float:
    if re.search(r"[.eE]", text):
        return float(text)
    # Python refuses to read thousands of digits, and the node all beyond 64 bits.
    return int(text) if len(text) <= _MOST_DIGITS else 10**_MOST_DIGITS


def _unquoted(text: str) -> str:
    """Drop the quotes and the backslashes before quotes and backslashes."""
    return _ESCAPED.sub(r"\1", text[1:-1])
