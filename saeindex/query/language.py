"""Parsing of where and steer texts; errors point at the column and say what was expected."""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import cache
from importlib import resources
from typing import Any

from lark import Lark, Token, Transformer, UnexpectedInput, v_args
from lark.exceptions import UnexpectedCharacters, UnexpectedToken, VisitError
from pydantic import ValidationError

from saeindex.config import MAX_STRENGTH
from saeindex.errors import InvalidInputError, QuerySyntaxError
from saeindex.query.ast import And, Expression, FeatureTerm, Not, Or, Phrase
from saeindex.types import Steer

MAX_CHARS = 10_000
MAX_DEPTH = 50
_QUOTED = re.compile(r'"(?:[^"\\]|\\.)+"')
EXAMPLES = {
    "where": '"dark matter" AND NOT ("simulation" OR #1041)',
    "steer": '+theory:0.5 -astronomy +"dark matter":0.3 -#1041:1',
}
EXPECTED = {
    "QUOTED": 'a "quoted phrase"',
    "FEATURE": "#id",
    "LPAR": "(",
    "RPAR": ")",
    "SIGN": "+ or -",
    "WORD": "a word",
    "STRENGTH": "a number",
    "COLON": ":",
}


def parse_where(text: str) -> Expression:
    """Return the expression of a where text; raises QuerySyntaxError with the column."""
    expression: Expression = _parse("where", text, _WhereBuilder())
    return expression


def parse_steer(steer: str | Sequence[Steer] | Sequence[str]) -> tuple[Steer, ...]:
    """Return steers from text, from several texts, or from :class:`Steer` objects, checked."""
    if isinstance(steer, str):
        steer = [steer]
    steers: list[Steer] = []
    for entry in steer:
        if isinstance(entry, Steer):
            steers.append(entry)
        elif entry.strip():
            steers.extend(_parse("steer", entry, _SteerBuilder()))
    for entry in steers:
        if not -MAX_STRENGTH <= entry.strength <= MAX_STRENGTH:
            raise InvalidInputError(
                f"steer {entry.target!r} by {entry.strength}",
                f"strengths go from {-MAX_STRENGTH:g} to {MAX_STRENGTH:g}",
                "1.0 is as present as in a typical record that has the concept.",
            )
    return tuple(steers)


def _parse(grammar: str, text: str, builder: Transformer[Token, Any]) -> Any:
    unquoted = _QUOTED.sub("", text)
    depth = max(unquoted.count("("), unquoted.upper().count("NOT"))
    if len(text) > MAX_CHARS or depth > MAX_DEPTH:
        raise QuerySyntaxError(
            f"a {grammar} text of {len(text)} characters",
            f"the limits are {MAX_CHARS} characters and {MAX_DEPTH} parentheses or negations",
            "Split it, or use query_filter.",
        )
    try:
        return builder.transform(_parser(grammar).parse(text))
    except UnexpectedInput as error:
        raise QuerySyntaxError(
            f"{grammar} {text!r}", _what_was_found(text, error), f"For example: {EXAMPLES[grammar]}"
        ) from error
    except VisitError as error:
        if not isinstance(error.orig_exc, ValidationError):
            raise
        raise QuerySyntaxError(
            f"a {grammar} text", f"a phrase in it: {error.orig_exc.errors()[0]['msg']}", "Correct the phrase."
        ) from error


def _what_was_found(text: str, error: UnexpectedInput) -> str:
    expected: set[str] = set()
    at_end = False
    if isinstance(error, UnexpectedCharacters):
        expected = error.allowed or set()
    elif isinstance(error, UnexpectedToken):
        expected, at_end = error.accepts or error.expected, error.token.type == "$END"
    names = sorted({EXPECTED.get(name, name) for name in expected if name != "$END"})
    column = len(text) + 1 if at_end else (error.pos_in_stream or 0) + 1
    what = "the text ends" if at_end else f"{text[column - 1 : column + 14]!r}"
    return f"at column {column} {what}, where {' or '.join(names) or 'the end'} could stand"


@cache
def _parser(grammar: str) -> Lark:
    source = resources.files("saeindex.query").joinpath(f"{grammar}.lark").read_text()
    return Lark(source, parser="lalr", maybe_placeholders=True)


def _unquoted(token: Token) -> str:
    """Drop the quotes and the backslashes before quotes and backslashes."""
    return str(token)[1:-1].replace('\\"', '"').replace("\\\\", "\\")


@v_args(inline=True)
class _WhereBuilder(Transformer[Token, Expression]):
    def feature(self, token: Token) -> Expression:
        return FeatureTerm(feature=int(token[1:]))

    def phrase(self, token: Token) -> Expression:
        return Phrase(text=_unquoted(token))

    def negation(self, part: Expression) -> Expression:
        return Not(part=part)

    def and_expr(self, *parts: Expression) -> Expression:
        return And(parts=parts)

    def or_expr(self, *parts: Expression) -> Expression:
        return Or(parts=parts)


@v_args(inline=True)
class _SteerBuilder(Transformer[Token, Any]):
    def target(self, token: Token) -> str:
        return _unquoted(token) if token.type == "QUOTED" else str(token)

    def steer(self, sign: Token, target: str, strength: Token | None) -> Steer:
        amount = 1.0 if strength is None else float(strength)
        return Steer(target, amount if sign == "+" else -amount)

    def start(self, *steers: Steer) -> list[Steer]:
        return list(steers)
