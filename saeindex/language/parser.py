"""Parsing of where and steer texts; errors give the column, the expected input and what may be meant."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from difflib import get_close_matches
from functools import cache
from importlib import resources
from itertools import accumulate
from numbers import Real
from typing import TYPE_CHECKING, Any, TypeVar

from lark import Lark, Token, Tree, UnexpectedInput, v_args
from lark.exceptions import UnexpectedToken, VisitError
from lark.visitors import Transformer_NonRecursive
from pydantic import ValidationError

from saeindex.config import MAX_STRENGTH
from saeindex.errors import InvalidInputError, QuerySyntaxError, first_fault, kind_of
from saeindex.language import ast
from saeindex.language.ast import MAX_DEPTH, MAX_NODES, Expression
from saeindex.schema import adapter, check_kind
from saeindex.types import Steer, is_larger

Built = TypeVar("Built")
MAX_CHARS = 10_000
# Limits of JSON input: a node is an object in a list of its parent, with few objects and lists of its own.
_MAX_JSON_DEPTH, _MAX_JSON_PARTS = 2 * MAX_DEPTH + 4, 4 * MAX_NODES
_SHOWN_CHARS, _EXCERPT = 80, 15
_QUOTED = re.compile(r'"(?:[^"\\]|\\.)*"|`[^`]*`', re.DOTALL)
EXAMPLES = {
    "where": '"dark matter" AND NOT (strong("simulation") OR #1041) AND metadata.year >= 2015',
    "json": '{"kind": "phrase", "text": "dark matter", "level": "strong"}',
    "steer": '+theory:0.5 -astronomy +"dark matter":0.3 -#1041:1',
}
# Names of terminals in errors, in the order of the list; other terminals are keywords, and come last.
EXPECTED = {
    "$END": "the end",
    "SIGN": "+ or -",
    "QUOTED": 'a "quoted phrase"',
    "FEATURE": "#id",
    "WORD": "a word",
    "NAMED": "family:NAME or profile:NAME",
    "FIELD": "metadata.field",
    "NUMBER": "a number",
    "COUNT": "a number",
    "STRENGTH": "a number",
    "DATE": "a date",
    "MOVING": "a date",
    "BOOLEAN": "true or false",
    "OPERATOR": "a comparison",
    "LPAR": "(",
    "RPAR": ")",
    "COMMA": ",",
    "COLON": ":",
    "LEVEL": "possible(…), present(…), typical(…), strong(…)",
    "_FAMILY": "family(…)",
    "_STARTS": "STARTS WITH",
    "_EXISTS": "EXISTS(…)",
    "_NESTED": "NESTED(…)",
    "_SAYS": "says(…)",
    "_AT": "AT LEAST k OF (…)",
}
if TYPE_CHECKING:
    _Builder = Transformer_NonRecursive[Token, Any]
else:
    _Builder = Transformer_NonRecursive
_ESCAPED = re.compile(r'\\(["\\])')
_MAX_DIGITS = 25


def parse_where(where: str | Expression | Mapping[str, Any]) -> Expression:
    """Return the expression of a text, of a JSON object, or the given expression, within the limits.

    Raises:
        QuerySyntaxError: it does not parse, with the column; or it is too deep or too large.
        InvalidInputError: it has another type.
    """
    if isinstance(where, str):
        expression: Expression = _parse("where", where, _WhereBuilder().transform)
    elif isinstance(where, Mapping):
        if where.keys() & {"must", "should", "must_not", "min_should"}:
            raise InvalidInputError("where", "a filter of Qdrant", "Give it as query_filter.")
        expression = _from_json(where)
    elif isinstance(where, ast.Node):
        expression = where
    else:
        do = "Give a text, an expression or its JSON object."
        raise InvalidInputError(f"where={where!r:.80}", kind_of(where), do)
    ast.check_limits(expression)
    return expression


def parse_steer(steer: str | Sequence[Steer] | Sequence[str]) -> tuple[Steer, ...]:
    """Return steers from text, from several texts, or from :class:`Steer` objects, checked."""
    if isinstance(steer, str | Steer) or not isinstance(steer, Sequence):
        steer = [steer]
    steers: list[Steer] = []
    for entry in steer:
        if isinstance(entry, Steer):
            _check_steer(entry)
            steers.append(entry)
        elif not isinstance(entry, str):
            do = 'Write "+theory:0.5", or a Steer.'
            raise InvalidInputError(f"steer={entry!r:.80}", kind_of(entry), do)
        elif entry.strip():
            steers.extend(_parse("steer", entry, _SteerBuilder().transform))
    for entry in steers:
        if not -MAX_STRENGTH <= entry.strength <= MAX_STRENGTH:
            asked = f"steer {entry.target!r} by {entry.strength}"
            do = "Use a smaller strength: 1.0 adds as much as a typical record that has the concept."
            raise InvalidInputError(asked, f"strengths go from {-MAX_STRENGTH:g} to {MAX_STRENGTH:g}", do)
    return tuple(steers)


def _check_steer(steer: Steer) -> None:
    """Raise InvalidInputError for a field of another type."""
    asked = f"steer {steer.target!r:.80}"
    check_kind(f"target={steer.target!r:.80}", steer.target, str, "Give a text.")
    wanted = "Give a number."
    check_kind(f"{asked}, strength={steer.strength!r:.80}", steer.strength, Real, wanted)
    for name in ("against", "like", "unlike"):
        check_kind(f"{asked}, {name}", getattr(steer, name), Iterable, "Give a list of texts.")
    check_kind(f"{asked}, edits", steer.edits, Mapping, "Give a mapping: {FEATURE: WEIGHT}.")
    for feature, weight in steer.edits.items():
        check_kind(f"{asked}, the weight of {feature!r}", weight, Real, "Give a number.")


def _from_json(where: Mapping[str, Any]) -> Expression:
    if is_larger(where, _MAX_JSON_DEPTH, _MAX_JSON_PARTS):
        found = f"more than {MAX_DEPTH} levels deep, or more than {MAX_NODES} parts"
        raise QuerySyntaxError("a where expression as JSON", found, "Split it, or use query_filter.")
    try:
        parsed: Expression = adapter(Expression).validate_python(where)
    except ValidationError as error:
        do = f"For example: {EXAMPLES['json']}"
        raise QuerySyntaxError("a where expression as JSON", first_fault(error), do) from error
    return parsed


def _parse(grammar: str, text: str, build: Callable[[Tree[Token]], Built]) -> Built:
    nesting = accumulate((char == "(") - (char == ")") for char in _QUOTED.sub("", text))
    if len(text) > MAX_CHARS or max(nesting, default=0) > MAX_DEPTH:
        asked = f"a {grammar} text of {len(text):,} characters"
        found = f"the limits are {MAX_CHARS:,} characters and {MAX_DEPTH} levels of parentheses"
        raise QuerySyntaxError(asked, found, "Split it, or use query_filter.")
    try:
        return build(_parser(grammar).parse(text))
    except UnexpectedInput as error:
        raise _syntax_error(grammar, text, error) from None
    except VisitError as error:
        if not isinstance(error.orig_exc, ValueError):
            raise
        at = error.obj.meta.start_pos if isinstance(error.obj, Tree) else 0
        found = f"at column {at + 1} {text[at : at + _EXCERPT]!r}: {first_fault(error.orig_exc)}"
        raise QuerySyntaxError(_shown(grammar, text), found, f"For example: {EXAMPLES[grammar]}") from error


def _syntax_error(grammar: str, text: str, error: UnexpectedInput) -> QuerySyntaxError:
    is_end = isinstance(error, UnexpectedToken) and error.token.type == "$END"
    at = len(text) if is_end else error.pos_in_stream or 0
    expected = _accepted(grammar, text[:at])
    what = "the text ends" if is_end else repr(text[at : at + _EXCERPT])
    found = f"at column {at + 1} {what}, expected {_listed(expected)}"
    meant = f"{hint(text, at, expected)} For example: {EXAMPLES[grammar]}".lstrip()
    return QuerySyntaxError(_shown(grammar, text), found, meant)


def _accepted(grammar: str, start: str) -> set[str]:
    """Return the terminals that can follow ``start``.

    The lists in lark's error cannot be used: they come from the lexer, or from a later state of the parser.
    """
    parser = _parser(grammar).parse_interactive(start)
    parser.exhaust_lexer()
    return set(parser.accepts())  # type: ignore[no-untyped-call]


def _listed(terminals: Collection[str]) -> str:
    order = [*EXPECTED, *sorted(set(terminals) - EXPECTED.keys())]
    named = dict.fromkeys(EXPECTED.get(name, name.strip("_")) for name in order if name in terminals)
    *others, last = named
    return f"{', '.join(others)} or {last}" if others else last


def _shown(grammar: str, text: str) -> str:
    return f"{grammar} {text if len(text) <= _SHOWN_CHARS else text[:_SHOWN_CHARS] + '…'!r}"


@cache
def _parser(grammar: str) -> Lark:
    source = resources.files("saeindex.language").joinpath(f"{grammar}.lark").read_text()
    return Lark(source, parser="lalr", maybe_placeholders=True, propagate_positions=True)


@v_args(inline=True)
class _WhereBuilder(_Builder):
    def feature(self, token: Token) -> Expression:
        return ast.FeatureTerm(feature=int(token[1:]))

    def phrase(self, token: Token) -> Expression:
        return ast.Phrase(text=_unquoted(token))

    def family(self, name: Token) -> Expression:
        return ast.FamilyTerm(name=_text_of(name))

    def leveled(self, level: Token, concept: ast.ConceptTerm) -> Expression:
        return concept.model_copy(update={"level": level.lower()})

    def negation(self, part: Expression) -> Expression:
        return ast.Not(part=part)

    def and_expr(self, *parts: Expression) -> Expression:
        return ast.And(parts=parts)

    def or_expr(self, *parts: Expression) -> Expression:
        return ast.Or(parts=parts)

    def at_least(self, count: Token, *parts: Expression) -> Expression:
        if not int(count):
            raise ValueError(f"AT LEAST {count} is always true: write a number from 1 to {len(parts)}")
        return ast.AtLeast(count=int(count), parts=parts)

    def compare(self, field: Token, operator: Token, value: ast.Value) -> Expression:
        # Validated like JSON: the node checks the operator, and reads a text as a date where it needs one.
        given = {"field": str(field), "op": operator.replace("==", "="), "value": value}
        return ast.Compare.model_validate(given)

    def one_of(self, field: Token, *values: ast.Value) -> Expression:
        return ast.OneOf(field=str(field), values=values)

    def none_of(self, field: Token, *values: ast.Value) -> Expression:
        return ast.Not(part=ast.OneOf(field=str(field), values=values))

    def between(self, field: Token, low: ast.Value, high: ast.Value) -> Expression:
        return ast.Between.model_validate({"field": str(field), "low": low, "high": high})

    def outside(self, field: Token, low: ast.Value, high: ast.Value) -> Expression:
        return ast.Not(part=self.between(field, low, high))

    def exists(self, field: Token) -> Expression:
        return ast.Exists(field=str(field))

    def contains(self, field: Token, text: Token) -> Expression:
        return ast.Holds(field=str(field), text=_unquoted(text))

    def lacks(self, field: Token, text: Token) -> Expression:
        return ast.Not(part=self.contains(field, text))

    def starts_with(self, field: Token, text: Token) -> Expression:
        return ast.Holds(field=str(field), op="starts with", text=_unquoted(text))

    def nested(self, part: Expression) -> Expression:
        return ast.Nested(part=part)

    def says(self, text: Token) -> Expression:
        return ast.Says(text=_unquoted(text))

    def value(self, token: Token) -> ast.Value:
        if token.type == "BOOLEAN":
            return token.lower() == "true"
        if token.type in ("DATE", "MOVING"):
            return ast.Date(date=str(token))
        if token.type == "QUOTED":
            return _unquoted(token)
        return _number(token)


@v_args(inline=True)
class _SteerBuilder(_Builder):
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
    """Return a token's text without quotes, including the quotes in ``family:"dark matter"``."""
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
    # Python refuses to read thousands of digits; the node refuses all numbers beyond 64 bits.
    return int(text) if len(text) <= _MAX_DIGITS else 10**_MAX_DIGITS


def _unquoted(text: str) -> str:
    """Drop the quotes and the backslashes before quotes and backslashes."""
    return _ESCAPED.sub(r"\1", text[1:-1])


# The keywords of each terminal, for suggestions.
WORDS = {
    "_AND": ("AND",),
    "_OR": ("OR",),
    "_NOT": ("NOT",),
    "_AT": ("AT LEAST",),
    "_LEAST": ("LEAST",),
    "_OF": ("OF",),
    "_IN": ("IN",),
    "_BETWEEN": ("BETWEEN",),
    "_CONTAINS": ("CONTAINS",),
    "_STARTS": ("STARTS WITH",),
    "_WITH": ("WITH",),
    "_NESTED": ("NESTED",),
    "_EXISTS": ("EXISTS",),
    "_SAYS": ("says",),
    "_FAMILY": ("family",),
    "LEVEL": ("possible", "present", "typical", "strong"),
    "BOOLEAN": ("true", "false"),
    "FIELD": ("metadata", "record_id", "document"),
    "_AGAINST": ("AGAINST",),
    "NAMED": ("family", "profile"),
}
# Symbols and words of other languages, keyboards and word processors, and their replacement here.
SYMBOLS = {
    "&&": "AND", "&": "AND", "||": "OR", "|": "OR", "!": "NOT", "~": "NOT", "=>": ">=", "=<": "<=",
    "<>": "!=", "===": "=", "[": "(", "{": "(", ";": ",",
}  # fmt: skip
FOREIGN = {
    "'": 'Use double quotes: "so".',
    "“": 'Use straight quotes: "so".',
    "”": 'Use straight quotes: "so".',
    "xor": "Write (a OR b) AND NOT (a AND b).",
    "null": "Use NOT EXISTS(metadata.name).",
    "none": "Use NOT EXISTS(metadata.name).",
    "is": "Use EXISTS(metadata.name), or =.",
    "within": "Give conditions on places as query_filter: geo_radius, geo_bounding_box.",
    "like": 'Write CONTAINS "…" or STARTS WITH "…"; says("…") is for words of the text.',
}
_NEAR = 0.6
_WORD = re.compile(r"[^\W\d]\w*")
_COMPARED = re.compile(r"\s*([=<>]|!=|(NOT\s+)?(IN|BETWEEN|CONTAINS|STARTS)\b)", re.IGNORECASE)
_RUN = re.compile(r"[^\W\d][\w'-]*(?:\s+(?!(?:AND|OR|NOT)\b)[\w'-]+)*", re.IGNORECASE)
# A field before the place of an error, and what may be the rest of its name, up to a comparison.
_UNQUOTED = re.compile(r"metadata\.(?P<name>\w[\w-]*)\s*$")
_REST_OF_NAME = re.compile(
    r"(?!(NOT|IN|BETWEEN|AND|OR|IS|LIKE|CONTAINS|STARTS)\b)[^\s=<>!()][^=<>!()]*?"
    r"(?=\s*([=<>!]|\b(NOT|IN|BETWEEN|CONTAINS|STARTS)\b))",
    re.IGNORECASE,
)
_LOOSE_DATE = re.compile(r"[0-9]{4}-[0-9]{1,2}-[0-9]{1,2}(?![0-9])|[0-9]{1,2}[/.][0-9]{1,2}[/.][0-9]{2,4}")
_DATE_STARTS, _PHRASE_CHARS = (4, 2, 1, 0), 60


def hint(text: str, at: int, expected: Collection[str]) -> str:
    """Return a suggestion for the text at index ``at``, where ``expected`` terminals are allowed, or ""."""
    rest = text[at:]
    if rest.startswith('"') and "QUOTED" in expected:
        return "Close the quotation mark."
    if any(at >= start and _LOOSE_DATE.match(text, at - start) for start in _DATE_STARTS):
        return "Write dates as 2015-03-01."
    if "OPERATOR" in expected and (named := _about_name(text, at)):
        return named
    word = _WORD.match(rest)
    if foreign := FOREIGN.get(word.group().casefold() if word else rest[:1]):
        return foreign
    return _about_word(word.group(), rest, expected) if word else _about_symbol(text, at, expected)


def _about_name(text: str, at: int) -> str:
    """Return how a field whose name has other characters is written, if the text before ``at`` is one."""
    field = _UNQUOTED.search(text[:at])
    rest = _REST_OF_NAME.match(text, at)
    if field is None or rest is None:
        return ""
    name = text[field.start("name") : rest.end()].strip()
    return f'Quote the name: metadata."{name}".' if '"' not in name else ""


def _about_word(word: str, rest: str, expected: Collection[str]) -> str:
    if set(expected) == {"SIGN"}:
        return f"Write +{word} or -{word}."
    near, run = _nearest(word, expected), _RUN.match(rest)
    words = word if run is None else run.group()
    if "FIELD" in expected and near not in WORDS["FIELD"]:
        for name, written in ((word, word), (words, f'"{words}"')):
            if _COMPARED.match(rest[len(name) :]):
                return f"Did you mean metadata.{written}?"
    if near == "metadata" and (near == word.casefold() or rest[len(word) :].startswith(".")):
        return "Write metadata.name, or metadata.`odd name`."
    if near and near.casefold() == word.casefold():
        is_too_much = set(expected) == {"RPAR"} and near in ("AND", "OR")
        return 'A level takes one concept: strong("a") OR strong("b").' if is_too_much else ""
    if near:
        return f"Did you mean {near}?"
    return f'Quote the phrase: "{words[:_PHRASE_CHARS]}".' if run and "QUOTED" in expected else ""


def _nearest(word: str, expected: Collection[str]) -> str | None:
    """Return the keyword most similar to ``word``; those that are allowed here come first, as values do."""
    for names in (expected, () if "BOOLEAN" in expected else WORDS):
        spelt = {w.casefold(): w for name in names for w in WORDS.get(name, ())}
        if near := get_close_matches(word.casefold(), spelt, n=1, cutoff=_NEAR):
            return spelt[near[0]]
    return None


def _about_symbol(text: str, at: int, expected: Collection[str]) -> str:
    for start in (max(0, at - 1), at):
        for symbol in sorted(SYMBOLS, key=len, reverse=True):
            if text.startswith(symbol, start) and start + len(symbol) > at:
                return f"Did you mean {SYMBOLS[symbol]}?"
    if text[at : at + 1] in ('"', "#", "(") and "_AND" in expected:
        return "Put AND or OR between."
    if text[at : at + 1] == ")" and not set(expected) - {"_AND", "_OR", "$END"}:
        return "Remove the extra parenthesis."
    return ""
