"""A query: what is asked of an index. Every surface reads its options, their bounds and texts from here."""

from __future__ import annotations

import builtins
import hashlib
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import KW_ONLY, replace
from itertools import chain
from typing import TYPE_CHECKING, Annotated, Any, Self, TypeAlias, cast

import numpy as np
from pydantic import (
    BeforeValidator,
    Field,
    PlainSerializer,
    PlainValidator,
    ValidationError,
    WithJsonSchema,
)

from saeindex.concepts.feedback import Feedback
from saeindex.config import MAX_LIMIT, TEXT
from saeindex.errors import InvalidInputError, first_fault
from saeindex.language.fields import RECORD_ID
from saeindex.language.literal import Typed
from saeindex.schema import (
    ANY_OBJECT,
    ANY_TEXT,
    Flag,
    Ids,
    Number,
    Numbers,
    OrFirst,
    Texts,
    Whole,
    adapter,
    check_options,
    dumped,
    request,
    to_json,
)
from saeindex.types import (
    JsonObject,
    LevelName,
    PropertyMethod,
    Resolve,
    Steer,
    SteeringMethod,
    Using,
)

if TYPE_CHECKING:
    from qdrant_client.models import Filter

    from saeindex.language.ast import Expression
    from saeindex.types import FloatArray

    Condition: TypeAlias = str | Expression | JsonObject
    NativeFilter: TypeAlias = Filter | JsonObject
    RerankOption: TypeAlias = Any
    Half: TypeAlias = str | float
    Steers: TypeAlias = str | Steer | Sequence[Steer | str]
else:

    def _expression(given: Any) -> Any:
        from saeindex.language.parser import parse_where

        return given if isinstance(given, str) else parse_where(given)

    def _filter(given: Any) -> Any:
        from saeindex.stores.filters import as_filter

        return as_filter(given)

    def _reranker(given: Any) -> Any:
        from saeindex.search.rerank import checked

        return checked(given)

    def _named(reranker: Any) -> str:
        from saeindex.search.rerank import name_of

        return name_of(reranker)

    def _half(given: Any) -> Any:
        return f"{given:.15g}" if isinstance(given, int | float) and not isinstance(given, bool) else given

    def _steer_of(given: Mapping[str, Any]) -> Steer:
        check_options(Steer, given, "steer")
        return adapter(Steer).validate_python(given)

    def _steers(given: Any) -> Any:
        from saeindex.language.parser import parse_steer

        is_many = isinstance(given, Iterable) and not isinstance(given, str | Mapping)
        each = list(given) if is_many else [given]
        return parse_steer([_steer_of(one) if isinstance(one, Mapping) else one for one in each])

    _WRITTEN, _EITHER = PlainSerializer(dumped), WithJsonSchema({"anyOf": [ANY_TEXT, ANY_OBJECT]})
    Condition = Annotated[Any, PlainValidator(_expression), _WRITTEN, _EITHER]
    NativeFilter = Annotated[Any, PlainValidator(_filter), _WRITTEN, WithJsonSchema(ANY_OBJECT)]
    Half = Annotated[str, BeforeValidator(_half)]
    RerankOption = Annotated[
        Any, PlainValidator(_reranker), PlainSerializer(_named), WithJsonSchema({"type": "string"})
    ]
    Steers = Annotated[tuple[Steer, ...], BeforeValidator(_steers)]


@request
class Where:
    """A condition on records, and how its concepts are read."""

    condition: Condition = Field(description="the condition, such as 'NOT \"simulation\"'")
    _: KW_ONLY
    level: LevelName | None = Field(
        default=None, description="the level of concepts that name none; present if it is not given"
    )
    resolve: Resolve = Field(
        default="best",
        description="how phrases are read: as names only (strict), or, where no concept is meant, "
        "by the records that speak of them (best)",
    )


@request
class Steering:
    """Signed changes of concepts in the query, and how they are applied."""

    steers: Steers = Field(description="the changes, such as '+theory:0.5 -astronomy'")
    _: KW_ONLY
    method: SteeringMethod = Field(
        default="built", description="along directions (built), or by setting features and decoding (clamp)"
    )
    max_drift: Number | None = Field(
        default=None, ge=0, le=2, description="the largest cosine distance that the query is moved by"
    )


@request
class Property:
    """An implicit property of texts, described in words."""

    description: str = Field(description="the property, such as 'sounds defensive'")
    _: KW_ONLY
    method: PropertyMethod = Field(
        default="collection", description="inferred from the collection, or as in the InterpEmbed paper"
    )


@request
class GroupBy:
    """Hits in groups that share a value of a field."""

    field: str = Field(
        description="the field: document, text (of equal texts one), or one like metadata.topic"
    )
    _: KW_ONLY
    size: Whole = Field(default=3, ge=1, description="the hits of each group")


@request
class Boost:
    """A part of the score by a number or a date that records have: at most ``weight`` beside 1 of the rest.

    A date of now has all of it, one as old as ``half`` half of it; a number of ``half`` half of it, and none
    all. A record without either has none.
    """

    field: str = Field(description="the field, such as metadata.date or metadata.views")
    _: KW_ONLY
    half: Half = Field(
        default="30d", description="what has half of the boost: an age (30d, 12h, 2w), or a number"
    )
    weight: Number = Field(
        default=0.2, gt=0, le=1, description="the most that it adds, beside 1 of the score"
    )


if TYPE_CHECKING:
    WhereOption: TypeAlias = Condition | Where
    SteerOption: TypeAlias = Steers | Steering
    PropertyOption: TypeAlias = str | Property
    GroupOption: TypeAlias = str | GroupBy
    BoostOption: TypeAlias = str | Boost
else:
    WhereOption = Annotated[Where, OrFirst(ANY_TEXT, ANY_OBJECT)]
    SteerOption = Annotated[Steering, OrFirst(ANY_TEXT, {"type": "array"})]
    PropertyOption = Annotated[Property, OrFirst(ANY_TEXT)]
    GroupOption = Annotated[GroupBy, OrFirst(ANY_TEXT)]
    BoostOption = Annotated[Boost, OrFirst(ANY_TEXT)]


# What a hit has beside its id and its score, unless something else is asked for; and what it may have.
PARTS = ("text", "metadata", "features", "evidence")
ALL_PARTS = (*PARTS, "vectors")
# The options that have no say in a ranking.
OF_PAGES = ("limit", "offset", "after", "include", "explain", "total", "unnamed", "timeout")


@request
class QueryOptions:
    """What a query may have beside its text."""

    _: KW_ONLY
    where: WhereOption | None = Field(
        default=None, description="a condition on concepts and metadata: '\"dark matter\" AND NOT #1041'"
    )
    query_filter: NativeFilter | None = Field(default=None, description="a filter in the JSON of Qdrant")
    exclude: Ids = Field(default=(), description="ids of records that are no hits, such as those seen")
    steer: SteerOption | None = Field(
        default=None, description="concepts to add or subtract: '+theory:0.5 -#1041'"
    )
    property: PropertyOption | None = Field(
        default=None, description="a property of the texts to rank by: 'sounds defensive'"
    )
    vector: Numbers | None = Field(
        default=None,
        min_length=1,
        description="a vector of the encoder of the index, in place of that of the text",
    )
    against: Texts = Field(default=(), description="other values of the same field, to contrast with")
    like: Ids = Field(default=(), description="ids of records that have the property")
    unlike: Ids = Field(default=(), description="ids of records that lack it")
    feedback: Feedback | JsonObject | str | None = Field(
        default=None, description="the feedback of an earlier search, with judgements"
    )
    using: Using = Field(
        default="fused",
        description="what ranks: all that the index has of a text but its features (fused), or its vector "
        "alone (dense), with its nearest sentence (sentences), its words (words), its features (sae)",
    )
    syntax: Flag = Field(
        default=False,
        description='whether the text is read as in a search box: "in so many words" must be there, -word '
        "must not, and ERR-45* is how a word begins",
    )
    interpret: Flag = Field(
        default=False,
        description="whether what the text leaves out in plain English is steered away from, as in "
        "'gout, but not how it is treated'",
    )
    spelling: Flag = Field(
        default=False,
        description="whether a word that no record has is read as the nearest one that some have",
    )
    diversity: Number = Field(
        default=0.0,
        ge=0,
        le=1,
        description="how much hits should differ in their concepts, from 0 (off) to 1",
    )
    boost: BoostOption | None = Field(
        default=None, description="a number or a date by which scores rise: metadata.views or metadata.date"
    )
    rerank: RerankOption | None = Field(
        default=None,
        description="a CrossEncoder (its name or folder), or a function of a query and texts, that scores "
        "the first hits again",
    )
    rerank_limit: Whole = Field(
        default=50, ge=1, le=1_000, description="the hits that it scores; others are left out"
    )
    order_by: str | None = Field(
        default=None,
        description="without anything that ranks, the field by which records are listed: metadata.date desc",
    )
    group_by: GroupOption | None = Field(default=None, description="the field by which hits are grouped")
    limit: Whole = Field(default=10, ge=1, le=MAX_LIMIT, description="the number of hits, or of groups")
    offset: Whole = Field(
        default=0, ge=0, le=MAX_LIMIT, description="the hits, or groups, to leave out first"
    )
    after: str | None = Field(
        default=None, description="what came with the hits before (next), to go on after the last of them"
    )
    score_threshold: Number | None = Field(default=None, description="the least score of a hit")
    include: Texts = Field(
        default=PARTS,
        description="what hits have: text, metadata (or metadata.year), features, evidence, vectors",
    )
    explain: Flag = Field(default=False, description="whether each score is explained")
    total: Flag = Field(
        default=False, description="whether the records that match the conditions are counted"
    )
    unnamed: Flag = Field(
        default=False, description="whether features without a name are shown, by the words of their texts"
    )
    exact: Flag | None = Field(
        default=None,
        description="whether all points are scanned, rather than a graph; else the planner chooses",
    )
    timeout: Number | None = Field(
        default=None, gt=0, description="seconds after which the query is an error"
    )

    # What was given as an object or as its first field is kept as the object. ------------------------------

    @builtins.property
    def clause(self) -> str | Expression | JsonObject | None:
        """The condition, as a text or an expression."""
        return None if self.where is None else cast(Where, self.where).condition

    @builtins.property
    def judged(self) -> Feedback | None:
        """The feedback of an earlier search; None without any."""
        found = self.feedback
        return found if found is None or isinstance(found, Feedback) else Feedback.read(found)

    @builtins.property
    def native(self) -> Filter | None:
        """What the options select beside ``where``, as one native filter; None if they select all.

        Records that hits are to be like are no hits.
        """
        judged = self.judged
        left_out = list(dict.fromkeys((*self.exclude, *(self.like if judged is None else judged.like))))
        if not left_out:
            return cast("Filter | None", self.query_filter)
        from qdrant_client.models import FieldCondition, Filter, MatchAny

        own = FieldCondition(key=RECORD_ID, match=MatchAny(any=left_out))
        must: Any = None if self.query_filter is None else [self.query_filter]
        return Filter(must=must, must_not=[own])

    @builtins.property
    def level(self) -> LevelName | None:
        """The level of concepts that name none."""
        return None if self.where is None else cast(Where, self.where).level

    @builtins.property
    def resolve(self) -> Resolve:
        """How phrases of the condition become features."""
        return "best" if self.where is None else cast(Where, self.where).resolve

    @builtins.property
    def steering(self) -> Steering | None:
        """The changes of concepts, None without any."""
        return cast("Steering | None", self.steer)

    @builtins.property
    def steers(self) -> tuple[Steer, ...]:
        """The changes, one by one."""
        return () if self.steering is None else cast("tuple[Steer, ...]", self.steering.steers)

    @builtins.property
    def described(self) -> str | None:
        """The property in words."""
        return None if self.property is None else cast(Property, self.property).description

    @builtins.property
    def is_interpembed(self) -> bool:
        """Whether the property is inferred as in the InterpEmbed paper."""
        return self.property is not None and cast(Property, self.property).method == "interpembed"

    @builtins.property
    def depth(self) -> int:
        """How many points the first ranking gives: the page and those before it, or what is reranked."""
        return self.offset + self.limit if self.rerank is None else self.rerank_limit

    @builtins.property
    def boosted(self) -> Boost | None:
        """The boost, None without any."""
        return cast("Boost | None", self.boost)

    @builtins.property
    def grouping(self) -> GroupBy | None:
        """The field of groups and their size; of equal texts one is enough."""
        found = cast("GroupBy | None", self.group_by)
        return replace(found, size=1) if found is not None and found.field == TEXT else found


@request
class Query(QueryOptions):
    """A query to an index: at least one of ``text``, ``property``, ``like``, ``feedback``, ``where``.

    ``text`` ranks by topic, ``property`` by a description of the text ("sounds defensive"), which works best
    with the other values of its field in ``against``. ``like`` and ``unlike`` (record ids) describe it by
    examples. ``feedback`` is the :class:`Feedback` of an earlier search with a user's judgements. ``where``
    (text or AST) and ``query_filter`` (a ``qdrant_client.models.Filter``) select records. ``steer`` moves
    the query. ``using`` says what ranks: "fused" is all that the index has of a text but its features, in one
    score of at most 1: its vector, its nearest sentence and its words; "dense" is the vector alone,
    "sentences" it and the nearest sentence, "words" what is written, and "sae" are the features.
    """

    text: str = Field(default="", description="the text to search for")

    @builtins.property
    def is_near(self) -> bool:
        """Whether it asks for what is near to a text, or to a vector."""
        return bool(self.text.strip()) or self.vector is not None

    def encoded(self, encode: Callable[[str], FloatArray]) -> FloatArray:
        """Return the vector (d,) that is asked for: the one given, or that of the text."""
        if self.vector is None:
            return encode(self.text)
        found = np.array(self.vector, np.float64)
        found /= np.abs(found).max() or 1.0  # else squares of large numbers are infinite
        return np.asarray(found / (np.linalg.norm(found) or 1.0), np.float32)

    @builtins.property
    def digest(self) -> str:
        """What tells queries of another ranking from this one: all but its page, and what hits show."""
        own = to_json(self)
        for name in OF_PAGES:
            own.pop(name, None)
        return hashlib.sha256(json.dumps(own, sort_keys=True).encode()).hexdigest()[:8]

    @builtins.property
    def read(self) -> Self:
        """The query, of whose text quotes, minus and star are conditions if ``syntax`` says so.

        So is what it leaves out by a code or in quotes, if it is to be interpreted: "errors except PAY-5001".
        """
        if not (self.syntax or self.interpret):
            return self
        from saeindex.language.ast import Not, Or, Says
        from saeindex.language.exclusions import Interpreted, written_in

        text, denied = self.text, list[str]()
        while self.interpret and (found := Interpreted.of(text)).unwanted:
            in_quotes = chain(*Typed.of(found.unwanted).said) if self.syntax else ()
            if not (said := [*in_quotes] or written_in(found.unwanted)):
                break
            text, denied = found.wanted, [*denied, *said]
        typed = Typed.of(text) if self.syntax else Typed(text, [], [])
        try:
            either = [[Says(text=one) for one in each] for each in typed.said]
            clauses: list[Expression] = [Or(parts=tuple(each)) if each[1:] else each[0] for each in either]
            clauses += [Not(part=Says(text=one)) for one in (*denied, *typed.unsaid)]
        except ValidationError as error:
            asked, do = f"the query {self.text!r:.80}", "Shorten it, or search without syntax."
            raise InvalidInputError(asked, first_fault(error), do) from None
        where = narrowed(cast("Where | None", self.where), clauses) if clauses else self.where
        return replace(self, text=typed.text, where=where, syntax=False)

    @builtins.property
    def ranks(self) -> bool:
        """Whether it ranks records, rather than only filtering them."""
        named = self.is_near or self.property or self.like or self.unlike
        return bool(named) or self.feedback is not None


def without(where: Where | None, never: Iterable[str]) -> Where:
    """Return a condition that also leaves out what possibly speaks of concepts."""
    from saeindex.language.ast import Not, Phrase

    try:
        denied = [Not(part=Phrase(text=one, level="possible")) for one in never]
    except ValidationError as error:
        raise InvalidInputError("never", first_fault(error), "Name concepts.") from None
    return narrowed(where, denied)


def narrowed(where: Where | None, clauses: Sequence[Expression]) -> Where:
    """Return a condition of which further clauses hold, at least one."""
    from saeindex.language.ast import And
    from saeindex.language.parser import parse_where

    asked = [] if where is None else [parse_where(where.condition)]
    every = (*asked, *clauses)
    both = And(parts=every) if len(every) > 1 else every[0]
    return Where(both) if where is None else replace(where, condition=both)
