"""The where expression as data: for programs, for JSON, and for the planner.

Expressions that are equal by associativity have the same form: ``And`` and ``Or`` absorb parts of their own
kind, so they are printed without parentheses, and parsing a printed expression gives it back.
"""

from __future__ import annotations

import datetime as dt
import math
import re
from collections.abc import Callable, Iterator, Sequence
from typing import Annotated, Any, Literal, Self, TypeAlias, TypeVar

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    Strict,
    ValidationInfo,
    field_validator,
    model_validator,
)

from saeindex.errors import QuerySyntaxError
from saeindex.language.fields import NAMES, RECORD_ID, canonical_field, list_in
from saeindex.types import LevelName

T = TypeVar("T")
MAX_DEPTH = 50
# Maximum number of nodes plus values in lists, so that plans and requests stay small.
MAX_NODES = 2_000
MAX_VALUES = 1_000
MAX_TEXT_CHARS = 1_000
# Range of the integers in payloads and in payload indexes.
MIN_INT, MAX_INT = -(2**63), 2**63 - 1
Comparison: TypeAlias = Literal["=", "!=", "<", "<=", ">", ">="]
Text = Annotated[str, Field(min_length=1, max_length=MAX_TEXT_CHARS)]
Words = Annotated[Text, Field(pattern=r"\S")]
_DATE = re.compile(
    r"\d{4}-\d\d-\d\d(?:[Tt ]\d\d:\d\d(?::\d\d(?:\.\d{1,6})?)?(?:[Zz]|[+-]\d\d:\d\d)?)?", re.ASCII
)
# A date that goes with the clock, and the seconds of its units.
_MOVING = re.compile(
    r"(now|today)(?:\(\))?(?:\s*([+-])\s*(\d{1,5})\s*(min(?:ute)?s?|h(?:ours?)?|d(?:ays?)?|w(?:eeks?)?))?",
    re.ASCII | re.IGNORECASE,
)
UNITS = {"min": 60, "h": 3_600, "d": 86_400, "w": 604_800}
# Dates that engines accept in payloads: more forms than in queries, but fewer than Python accepts.
_STORED_DATE = re.compile(r"\d{4}-\d\d-\d\d(?:[Tt ]\d\d:\d\d.*)?", re.ASCII)
_DAY_CHARS = len("2015-03-01")
_FEATURE_ID = re.compile(r"#[0-9]{1,9}")
# Years of dates: a time zone, or the end of a day, must stay within the range of datetime.
_YEARS = range(2, 9_999)


def canonical_date(date: str) -> str:
    """Return a day, or a moment in RFC 3339 with ``T`` and ``Z``; ValueError if it is neither.

    A moment without a zone is UTC, as on a Qdrant server. "now - 12h" and "today - 30d" stay as they are.
    """
    if moving := _MOVING.fullmatch(date.strip()):
        since, sign, number, word = (part and part.lower() for part in moving.groups())
        unit = word and next(one for one in UNITS if word.startswith(one))
        if since == "today" and unit in ("min", "h"):
            raise ValueError(f"today goes by days and weeks: write now {sign} {number}{unit}")
        return f"{since} {sign} {int(number)}{unit}" if number else since
    if not _DATE.fullmatch(date):
        raise ValueError(f"{date[:40]!r} is not a date such as 2015-03-01, 2015-03-01T12:00:00Z or now - 30d")
    written = date.upper().replace(" ", "T")
    try:
        moment = dt.datetime.fromisoformat(written)
    except ValueError as error:
        raise ValueError(f"{date!r} is not a date: {error}") from None
    if moment.year not in _YEARS:
        raise ValueError(f"{date!r} is not a date from the year {_YEARS[0]} to {_YEARS[-1]}")
    return written


def span_of(date: str) -> tuple[dt.datetime, dt.datetime | None]:
    """Return the start of a canonical date, and the start of the next day if it is a day, else None."""
    if moving := _MOVING.fullmatch(date):
        since, sign, number, unit = moving.groups()
        start = dt.datetime.now(dt.UTC).replace(microsecond=0)
        start = start.replace(hour=0, minute=0, second=0) if since == "today" else start
        start += dt.timedelta(seconds=int(f"{sign}{number}") * UNITS[unit]) if number else dt.timedelta()
        return start, start + dt.timedelta(days=1) if since == "today" else None
    start = dt.datetime.fromisoformat(date)
    start = start if start.tzinfo else start.replace(tzinfo=dt.UTC)
    return start, (start + dt.timedelta(days=1) if len(date) == _DAY_CHARS else None)


def moment_in(text: str) -> dt.datetime | None:
    """Return the moment of a payload's text, in UTC if it has no zone; None if it is not a date."""
    if not _STORED_DATE.fullmatch(text):
        return None
    try:
        moment = dt.datetime.fromisoformat(text.upper().removesuffix(" UTC"))
    except ValueError:
        return None
    return moment if moment.tzinfo else moment.replace(tzinfo=dt.UTC)


def is_feature_id(text: str) -> bool:
    """Return whether a text is ``#id``, which both languages read without quotes."""
    return _FEATURE_ID.fullmatch(text) is not None


FieldPath = Annotated[str, AfterValidator(canonical_field)]


class Node(BaseModel):
    """A node of an expression; ``kind`` distinguishes the nodes in JSON."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Date(BaseModel, extra="forbid", frozen=True):
    """A day (``2015-03-01``, ``today - 7d``; all of it, UTC) or a moment (``2015-03-01T12:00Z``, ``now``)."""

    date: Annotated[str, AfterValidator(canonical_date)]

    @property
    def start(self) -> dt.datetime:
        """The moment, or the start of the day."""
        return span_of(self.date)[0]

    @property
    def end(self) -> dt.datetime | None:
        """The first moment after the day; None for a moment."""
        return span_of(self.date)[1]


def _as_value(given: Any) -> Any:
    """Return a value of a payload, with a single clear error where a union would list all alternatives."""
    if isinstance(given, dict):
        if set(given) != {"date"} or not isinstance(given["date"], str):
            raise ValueError('a date is {"date": "2015-03-01"}')
        return Date.model_construct(date=canonical_date(given["date"]))
    if not isinstance(given, bool | int | float | str | Date):
        raise ValueError("a value is a number, a text, true, false or a date")
    is_real = isinstance(given, float) and math.isfinite(given)
    if isinstance(given, int | float) and not (is_real or MIN_INT <= given <= MAX_INT):
        raise ValueError("a number must be finite, and a whole number within 64 bits")
    if isinstance(given, str):
        given.encode()  # raises UnicodeEncodeError, a ValueError, for half a surrogate pair
        if len(given) > MAX_TEXT_CHARS:
            raise ValueError(f"a text of {len(given)} characters, more than {MAX_TEXT_CHARS}")
    return given


def _as_bound(given: Any) -> Any:
    """Return a bound, a number or a date (also given as a text): only these have an order in the engines."""
    if isinstance(given, bool):
        raise ValueError("true and false have no order: give a number or a date")
    if not isinstance(given, str):
        return _as_value(given)
    try:
        return Date.model_construct(date=canonical_date(given))
    except ValueError as error:
        raise ValueError(f"only numbers and dates have an order: {error}") from None


# Strict: JSON's true is not 1, and "1" is not 1.
Value: TypeAlias = Annotated[
    Annotated[bool, Strict()] | Annotated[int, Strict()] | Annotated[float, Strict()] | str | Date,
    BeforeValidator(_as_value),
]
Bound: TypeAlias = Annotated[
    Annotated[int, Strict()] | Annotated[float, Strict()] | Date, BeforeValidator(_as_bound)
]


class FeatureTerm(Node):
    """``#1041``: the feature is active at ``level`` or above (None: the query's level)."""

    kind: Literal["feature"] = "feature"
    feature: int = Field(strict=True, ge=0, lt=10**9)
    level: LevelName | None = None


class Phrase(Node):
    """``"dark matter"``: one of the features that the phrase resolves to is active."""

    kind: Literal["phrase"] = "phrase"
    text: Words
    level: LevelName | None = None


class FamilyTerm(Node):
    """``family("galaxies")`` or ``family(#3)``: one of the family's features is active."""

    kind: Literal["family"] = "family"
    name: Words
    level: LevelName | None = None


class Says(Node):
    """``says("in so many words")``: the text has it word for word; ``says("ERR-45*")``: or goes on there."""

    kind: Literal["says"] = "says"
    text: Words

    @field_validator("text")
    @classmethod
    def _possible(cls, text: str) -> str:
        if not text.removesuffix("*").strip():
            raise ValueError("nothing to be said")
        return text


class Compare(Node):
    """``metadata.year >= 2015``: some value of the field fulfils it; ``!=``: no value is equal.

    ``=`` is exact: texts by every character, whole numbers only with whole numbers (``= 2015.0`` also
    matches 2015). The other comparisons are between numbers or between dates.
    """

    kind: Literal["compare"] = "compare"
    field: FieldPath
    op: Comparison
    value: Value

    @field_validator("value", mode="before")
    @classmethod
    def _in_order(cls, given: Any, info: ValidationInfo) -> Any:
        is_ordered = info.data.get("op") not in ("=", "!=")
        return _as_bound(given) if is_ordered and info.data.get("field") not in NAMES else given

    @model_validator(mode="after")
    def _possible(self) -> Self:
        if self.field in NAMES and (self.op not in ("=", "!=") or not isinstance(self.value, str)):
            raise ValueError(f'{self.field} is compared by = or != with a "quoted id"')
        return self


class OneOf(Node):
    """``metadata.topic IN ("a", "b", 3)``: a value of the field equals one of these."""

    kind: Literal["in"] = "in"
    field: FieldPath
    values: tuple[Value, ...] = Field(min_length=1, max_length=MAX_VALUES)

    @model_validator(mode="after")
    def _possible(self) -> Self:
        if self.field in NAMES and not all(isinstance(value, str) for value in self.values):
            raise ValueError(f'{self.field} takes "quoted ids"')
        return self


class Between(Node):
    """``metadata.year BETWEEN 2010 AND 2015``: some value of the field is in the range, ends included."""

    kind: Literal["between"] = "between"
    field: FieldPath
    low: Bound
    high: Bound

    @model_validator(mode="after")
    def _possible(self) -> Self:
        if self.field in NAMES:
            raise ValueError(f"{self.field} has no order")
        if isinstance(self.low, Date) != isinstance(self.high, Date):
            raise ValueError("BETWEEN takes two numbers or two dates")
        low: Any = self.low.start if isinstance(self.low, Date) else self.low
        high: Any = self.high.end or self.high.start if isinstance(self.high, Date) else self.high
        if low > high:
            raise ValueError("the first end is above the second")
        return self


class Exists(Node):
    """``EXISTS(metadata.doi)``: the field is present, and neither null nor an empty list."""

    kind: Literal["exists"] = "exists"
    field: FieldPath

    @field_validator("field")
    @classmethod
    def _possible(cls, field: str) -> str:
        if field == RECORD_ID:
            raise ValueError("every record has a record_id")
        return field


class Holds(Node):
    """``metadata.title CONTAINS "ab"``: a text of the field does, in upper or lower case; or STARTS WITH."""

    kind: Literal["holds"] = "holds"
    field: FieldPath
    op: Literal["contains", "starts with"] = "contains"
    text: Words

    @field_validator("field")
    @classmethod
    def _possible(cls, field: str) -> str:
        if field in NAMES:
            raise ValueError(f'{field} is compared by = or != with a "quoted id"')
        return field


class Nested(Node):
    """``NESTED(metadata.reviews[].stars = 5 AND metadata.reviews[].by = "Ann")``: of one element of a list.

    ``field`` is the list. Conditions are on fields of its elements, and on nothing else.
    """

    kind: Literal["nested"] = "nested"
    part: Expression

    @model_validator(mode="after")
    def _possible(self) -> Self:
        plain, joining = Compare | OneOf | Between | Exists, Not | And | Or | AtLeast
        if not all(isinstance(node, plain | joining) for node, _ in walk(self.part)):
            raise ValueError("NESTED takes comparisons of fields: metadata.reviews[].stars = 5")
        lists = {list_in(one.field)[0] for one in self.leaves}
        if len(lists) > 1 or "" in lists:
            raise ValueError("NESTED takes fields of one list: metadata.reviews[].stars")
        return self

    @property
    def leaves(self) -> list[Any]:
        """The conditions on an element."""
        return [node for node, _ in walk(self.part) if not parts_of(node)]

    @property
    def field(self) -> str:
        """The list whose elements are looked at."""
        return list_in(self.leaves[0].field)[0]


class Not(Node):
    """The part is false."""

    kind: Literal["not"] = "not"
    part: Expression


def _flat(cls: type[And | Or], parts: tuple[Expression, ...]) -> tuple[Expression, ...]:
    """Return the parts of a node, with those of its parts of the same kind in their place."""
    groups = [part.parts if isinstance(part, cls) else (part,) for part in parts]
    if sum(map(len, groups)) > MAX_NODES:
        raise ValueError(f"more than {MAX_NODES} parts")
    return tuple(part for group in groups for part in group)


class And(Node):
    """All parts are true."""

    kind: Literal["and"] = "and"
    parts: tuple[Expression, ...] = Field(min_length=2)
    _flat = field_validator("parts")(classmethod(_flat))


class Or(Node):
    """At least one part is true."""

    kind: Literal["or"] = "or"
    parts: tuple[Expression, ...] = Field(min_length=2)
    _flat = field_validator("parts")(classmethod(_flat))


class AtLeast(Node):
    """``AT LEAST 2 OF (a, b, c)``: ``count`` or more parts are true."""

    kind: Literal["at_least"] = "at_least"
    count: int = Field(strict=True, ge=1)
    parts: tuple[Expression, ...] = Field(min_length=1, max_length=MAX_NODES)

    @model_validator(mode="after")
    def _possible(self) -> Self:
        if self.count > len(self.parts):
            never = f"AT LEAST {self.count} OF {len(self.parts)} parts can never be true"
            raise ValueError(f"{never}: write a number from 1 to {len(self.parts)}")
        return self


ConceptTerm: TypeAlias = FeatureTerm | Phrase | FamilyTerm
Condition: TypeAlias = Compare | OneOf | Between | Exists | Holds | Nested
TextTerm: TypeAlias = ConceptTerm | Says
Leaf: TypeAlias = TextTerm | Condition
Expression: TypeAlias = Annotated[Leaf | Not | And | Or | AtLeast, Field(discriminator="kind")]
for _composite in (Nested, Not, And, Or, AtLeast):
    _composite.model_rebuild()


def parts_of(node: Expression) -> tuple[Expression, ...]:
    """Return the parts of a composite node, () of a leaf."""
    if isinstance(node, Not | Nested):
        return (node.part,)
    return node.parts if isinstance(node, And | Or | AtLeast) else ()


def walk(expression: Expression) -> Iterator[tuple[Expression, int]]:
    """Yield every node with its depth, without recursion: input may be hostile."""
    waiting = [(expression, 0)]
    while waiting:
        node, depth = waiting.pop()
        yield node, depth
        waiting.extend((part, depth + 1) for part in reversed(parts_of(node)))


def required(node: And | Or | AtLeast) -> int:
    """Return the number of parts of a composite node that must be true."""
    if isinstance(node, And):
        return len(node.parts)
    return node.count if isinstance(node, AtLeast) else 1


def folded(
    node: Expression,
    of_leaf: Callable[[Leaf], T],
    negated: Callable[[T], T],
    joined: Callable[[And | Or | AtLeast, Sequence[T]], T],
) -> T:
    """Return the value of an expression, computed from the values of its leaves up to the root."""
    if isinstance(node, Not):
        return negated(folded(node.part, of_leaf, negated, joined))
    if isinstance(node, And | Or | AtLeast):
        return joined(node, [folded(part, of_leaf, negated, joined) for part in node.parts])
    return of_leaf(node)


def check_limits(expression: Expression) -> None:
    """Raise QuerySyntaxError if an expression is nested too deep or has too many nodes and values."""
    size = 0
    for node, depth in walk(expression):
        size += len(node.values) if isinstance(node, OneOf) else 1
        if depth > MAX_DEPTH or size > MAX_NODES:
            parts, levels = f"more than {MAX_NODES} parts", f"more than {MAX_DEPTH} levels deep"
            found = levels if depth > MAX_DEPTH else parts
            raise QuerySyntaxError("a where expression", found, "Split it, or use query_filter.")
