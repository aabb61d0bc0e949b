"""Concepts that occur together: companions, correlations, triggers; and clusters along an axis."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import KW_ONLY, asdict
from typing import TYPE_CHECKING, Annotated, Any, Literal, TypeAlias, cast

from pydantic import Field, PlainSerializer, PlainValidator, WithJsonSchema

from saeindex.analysis.stats.options import CorrelateOptions, Tested, TriggerOptions
from saeindex.errors import InvalidInputError, kind_of
from saeindex.operations.analysis import FIELD, RECORDS, Analysis, Reading, Selection
from saeindex.operations.search import searcher_of
from saeindex.schema import ANY_OBJECT, ANY_TEXT, Number, Texts, Whole, check_options, narrowed, request
from saeindex.types import LevelName

if TYPE_CHECKING:
    from saeindex.analysis.cluster.axis import Axis
    from saeindex.analysis.cluster.results import Clustering
    from saeindex.analysis.correlate.all_pairs import Companion
    from saeindex.analysis.correlate.results import Correlations, Triggers
    from saeindex.concepts.named_concept import NamedConcept

    NamedConcepts: TypeAlias = Sequence[NamedConcept | str]
    Behaviour: TypeAlias = NamedConcept | str | int
    AxisOption: TypeAlias = Axis | str | Mapping[str, object]
else:

    def _named(given: Any) -> Any:
        from saeindex.concepts.named_concept import NamedConcept, parse_concept

        if isinstance(given, Mapping):
            check_options(NamedConcept, given, "a concept")
            if not isinstance(given.get("name"), str):
                raise InvalidInputError("a concept", "no name", "Give its name.")
            try:
                return NamedConcept(**given)
            except TypeError as error:
                raise InvalidInputError("a concept", str(error), "Correct it.") from None
        if not isinstance(given, str | NamedConcept):
            do = "Give a text such as 'sad=feeling sad', or a NamedConcept."
            raise InvalidInputError(f"concept {given!r:.80}", kind_of(given), do)
        return parse_concept(given) if isinstance(given, str) else given

    def _each_named(given: Any) -> Any:
        if isinstance(given, str | Mapping) or not isinstance(given, Iterable):
            do = "Give a list of texts or NamedConcepts."
            raise InvalidInputError(f"concepts {given!r:.80}", kind_of(given), do)
        return tuple(_named(one) for one in given)

    def _behaviour(given: Any) -> Any:
        number = given.strip().removeprefix("#") if isinstance(given, str) else ""
        if number.isascii() and number.isdecimal():
            return int(number)
        return given if isinstance(given, int) and not isinstance(given, bool) else _named(given)

    def _axis(given: Any) -> Any:
        from saeindex.analysis.cluster.axis import Axis, AxisValue

        if isinstance(given, Mapping) and {"name", "values"} <= given.keys():
            try:
                values = tuple(
                    AxisValue(one["name"], tuple(one["texts"]), tuple(one["examples"]))
                    for one in given["values"]
                )
                return Axis(given["name"], values, bool(given.get("is_inferred", False)))
            except (TypeError, KeyError) as error:
                do = "Give what a clustering has as its axis."
                raise InvalidInputError("an axis", f"it cannot be read ({error})", do) from None
        return Axis.of(given)

    def _plain(value: Any) -> Any:
        if isinstance(value, tuple):
            return [_plain(one) for one in value]
        return value if isinstance(value, str | int) else asdict(value)

    def _option(read: Any, schema: Mapping[str, Any]) -> Any:
        return Annotated[Any, PlainValidator(read), PlainSerializer(_plain), WithJsonSchema(dict(schema))]

    _EITHER = {"anyOf": [ANY_TEXT, ANY_OBJECT]}
    NamedConcepts = _option(_each_named, {"type": "array", "items": _EITHER})
    Behaviour = _option(_behaviour, {"anyOf": [ANY_TEXT, {"type": "integer"}, ANY_OBJECT]})
    AxisOption = _option(_axis, _EITHER)

NAMED = "properties, such as 'sad=feeling sad; against: being happy'"


@request
class Companions(Analysis["list[Companion]"], results="saeindex.analysis.correlate.all_pairs"):
    """Return the features that co-occur with a feature more often than by chance, counted by Qdrant."""

    name = "concepts/companions"

    feature: int | str = Field(description="a feature: 1041, '#1041' or its name")
    _: KW_ONLY
    where: str | None = Field(default=None, description="a condition on the records")
    level: LevelName = Field(default="typical", description="the least strength of a concept that counts")
    field: str = Field(default="", description=FIELD)
    alpha: Number = Field(default=0.05, gt=0, lt=1, description="the false discovery rate")
    limit: Whole = Field(default=20, ge=1, le=1_000, description="the number of listed features")

    def analyse(self, records: Reading) -> list[Companion]:
        """Count."""
        from saeindex.analysis.correlate.all_pairs import companions, counts_by_document

        state = records.state
        feature = state.space.number(self.feature)
        if state.has_documents:
            snapshot = records.snapshot(self.field)
            rows = records.rows(snapshot, self.where)
            records.end()
            counts = counts_by_document(snapshot, rows, feature, self.level)
            return list(companions(state.space, feature, *counts, self.alpha, self.limit))
        condition = searcher_of(state).planner.condition(self.where)
        engine = records.counts(self.field)
        own = engine.cooccurrence(feature, self.level, condition)
        every = engine.frequencies(condition, self.level)
        return list(companions(state.space, feature, own, every, self.alpha, self.limit))


@request
class Correlate(CorrelateOptions, Analysis["Correlations"], results="saeindex.analysis.correlate.results"):
    """Return the pairs of concepts that occur together more often, or less often, than by chance.

    Without ``concepts``, all pairs of features are tested; with them, only the pairs of the given concepts. A
    concept is a :class:`NamedConcept` or a text such as ``"sad=feeling sad; against: being happy"``.
    ``other_field`` is the text field of the second concept of each pair; ``where`` selects records.

    ``index.correlate(field="prompt", other_field="")``
    """

    name = "correlate"

    concepts: NamedConcepts = Field(default=(), description=f"{NAMED}; without any, all pairs of features")
    with_concepts: NamedConcepts = Field(
        default=(), description="the second concepts of the pairs; without any, pairs of the first"
    )
    _: KW_ONLY
    field: str = Field(default="", description=FIELD)
    other_field: str | None = Field(default=None, description="the text field of the second concepts")
    where: Selection | None = Field(default=None, description=RECORDS)

    def __post_init__(self) -> None:
        """Check what goes with named concepts only, and with all pairs only."""
        if self.with_concepts and not self.concepts:
            raise InvalidInputError("with_concepts", "no concepts", "Give concepts, or leave it out.")
        if self.concepts and (self.with_trivial or self.level != Tested.level):
            name = "with_trivial" if self.with_trivial else "level"
            found = "it is for all pairs of features only: named concepts have levels of their own"
            raise InvalidInputError(f"{name} with concepts", found, "Leave it out.")

    def analyse(self, records: Reading) -> Correlations:
        """Correlate."""
        from saeindex.analysis.correlate.all_pairs import correlate_open
        from saeindex.analysis.correlate.named_pairs import correlate_named

        snapshot = records.snapshot(self.field, self.unnamed)
        other = None
        if self.other_field not in (None, self.field):
            other = records.snapshot(self.other_field or "", self.unnamed)
        rows = records.rows(snapshot, self.where)
        records.end()
        common: dict[str, Any] = {"other": other, "rows": rows, "options": narrowed(CorrelateOptions, self)}
        if not self.concepts:
            return correlate_open(snapshot, **common)
        named, against = cast("list[list[NamedConcept]]", [self.concepts, self.with_concepts])
        is_described = any(one.description for one in (*named, *against))
        encoder = records.state.encoder if is_described else None
        return correlate_named(snapshot, named, against, **common, encoder=encoder)


@request
class FindTriggers(TriggerOptions, Analysis["Triggers"], results="saeindex.analysis.correlate.results"):
    """Return the concepts of prompts that are associated with a behaviour of the responses.

    ``behaviour`` is a feature id, a :class:`NamedConcept`, or a text such as
    ``"refuses=declines to answer; against: answers"``.
    """

    name = "triggers"

    behaviour: Behaviour = Field(
        description="the behaviour: a feature (1041), or a property such as 'refuses=declines to answer'"
    )
    _: KW_ONLY
    prompt_field: str = Field(default="prompt", description="the text field of the prompts")
    field: str = Field(default="", description="the text field of the responses")
    where: Selection | None = Field(default=None, description=RECORDS)

    def analyse(self, records: Reading) -> Triggers:
        """Find."""
        from saeindex.analysis.correlate.triggers import find_triggers

        prompts, responses = records.snapshot(self.prompt_field, self.unnamed), records.snapshot(self.field)
        named: Any = self.behaviour
        is_described = not isinstance(named, int) and named.description is not None
        encoder = records.state.encoder if is_described else None
        rows = records.rows(responses, self.where)
        records.end()
        options = narrowed(TriggerOptions, self)
        return find_triggers(prompts, responses, named, encoder=encoder, rows=rows, options=options)


@request
class ClusterAlong(Analysis["Clustering"], results="saeindex.analysis.cluster.results"):
    """Return clusters of the records along an axis, and whether the space can express this axis.

    ``axis`` is a text (``"tone: angry, calm, joking"``), ``{name: [value, …]}``, ``{name: {value: text or
    texts}}`` or an :class:`Axis`. ``examples`` gives record ids by value, with or without texts.
    ``assign`` are further texts, whose clusters are found, too.

    ``index.cluster({"tone": ["angry", "calm", "joking"]})``
    """

    name = "cluster"

    axis: AxisOption = Field(description="the axis and its values: 'tone: angry, calm, joking'")
    _: KW_ONLY
    examples: Mapping[str, Texts] | None = Field(default=None, description="ids of records by value")
    assign: Texts = Field(default=(), description="further texts to assign to the clusters")
    where: Selection | None = Field(default=None, description=RECORDS)
    field: str = Field(default="", description=FIELD)
    method: Literal["anchored", "interpembed"] = Field(
        default="anchored", description="the method; interpembed is that of the InterpEmbed paper"
    )
    shown: Whole = Field(
        default=5, ge=0, le=1_000, description="central and borderline records to list for each cluster"
    )

    def analyse(self, records: Reading) -> Clustering:
        """Cluster."""
        from saeindex.analysis.cluster.cluster import cluster

        state = records.state
        snapshot = records.snapshot(self.field)
        rows = records.rows(snapshot, self.where)
        records.end()
        return cluster(
            state, snapshot, self.axis, rows, self.method, self.examples, shown=self.shown,
            cache=state.cache, assign=self.assign,
        )  # fmt: skip
