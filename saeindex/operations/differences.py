"""Comparisons of groups of records: diff, describe, drift, monitor, and the baseline of a monitor."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import KW_ONLY
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeAlias, cast

from pydantic import BeforeValidator, Field, PlainSerializer, PlainValidator

from saeindex.analysis.stats.options import AUTO, DiffOptions, DriftOptions, Families, MonitorOptions, Unit
from saeindex.errors import InvalidInputError, kind_of
from saeindex.operations.analysis import FIELD, RECORDS, Analysis, Reading, Selection
from saeindex.operations.associations import NAMED, NamedConcepts
from saeindex.operations.search import searcher_of
from saeindex.schema import Whole, dumped, listed, narrowed, request
from saeindex.types import LevelName

if TYPE_CHECKING:
    from saeindex.analysis.describe.results import SetDescription
    from saeindex.analysis.diff.baseline import Baseline
    from saeindex.analysis.diff.results import Alert, Diff
    from saeindex.analysis.drift.results import Drift
    from saeindex.analysis.stats.groups import Groups
    from saeindex.collection.snapshot import Snapshot
    from saeindex.collection.state import IndexState
    from saeindex.concepts.named_concept import NamedConcept

    Reference: TypeAlias = Selection | Baseline | Path
    Values: TypeAlias = Sequence[Any]
else:
    from saeindex.operations.analysis import SELECTED, selection_of

    Values = Annotated[tuple[Any, ...], BeforeValidator(listed)]

    def _reference(given: Any) -> Any:
        from saeindex.analysis.diff.baseline import Baseline

        if isinstance(given, Path):
            return Baseline.load(given)
        if isinstance(given, Mapping) and "format" in given:
            return Baseline.from_json(given)
        return given if isinstance(given, Baseline) else selection_of(given)

    Reference = Annotated[Any, PlainValidator(_reference), PlainSerializer(dumped), SELECTED]

NO_GROUPS = "groups to compare", "none, or more than one of a, groups and by"


@request
class DiffGroups(DiffOptions, Analysis["Diff"], results="saeindex.analysis.diff.results"):
    """Return the significant differences between groups of records.

    A group is a ``where`` text, a Qdrant filter or a list of record ids. Give ``a`` and ``b`` (without
    ``b``: all other records), or ``groups`` by name, or ``by``, a field each value of which is a group,
    or ``other``, an index to compare this index with. ``named`` are properties to test: a
    :class:`NamedConcept`, or a text such as ``"sad=feeling sad; against: being happy"``. ``writer`` is a
    language model that writes hypotheses from the findings and checks them on further records.

    ``index.diff(a="metadata.year < 2010", b="metadata.year >= 2010", unit="metadata.author")``
    """

    name = "diff"

    a: Selection | None = Field(default=None, description=f"the first group: {RECORDS}")
    b: Selection | None = Field(default=None, description="the second group; without it, all other records")
    _: KW_ONLY
    groups: Mapping[str, Selection] | None = Field(default=None, description="groups by name")
    by: str | None = Field(default=None, description="a field: one group for each of its values")
    other: Any = Field(default=None, description="another index, to compare the whole index with")
    named: NamedConcepts = Field(default=(), description=NAMED)
    writer: Any = Field(default=None, exclude=True, description="a language model that writes hypotheses")
    field: str = Field(default="", description=FIELD)

    def analyse(self, records: Reading) -> Diff:
        """Compare."""
        from saeindex.analysis.diff.diff import counted_diff, diff, is_countable, joined

        state, options = records.state, narrowed(DiffOptions, self)
        if self.writer is not None and not hasattr(self.writer, "explain"):
            raise InvalidInputError("writer", kind_of(self.writer), "Give a HypothesisWriter.")
        named = cast("tuple[NamedConcept, ...]", self.named)
        encoder = state.encoder if any(one.description for one in named) else None
        if records.other is not None:
            if (self.a, self.b, self.groups, self.by) != (None,) * 4:
                raise InvalidInputError("other", "groups beside it", "Leave out a, b, groups and by.")
            ours, theirs = records.snapshot(self.field, self.unnamed), records.other.snapshot(self.field)
            both, chosen = joined(ours, theirs)
            records.end()
            return diff(both, chosen, options, named, encoder, self.writer)
        is_plain = self.by is None and not named and self.writer is None and is_countable(options)
        if is_plain and (conditions := self._conditions(state)) is not None:
            return counted_diff(records.counts(self.field), state.space, conditions, options)
        snapshot = records.snapshot(self.field, self.unnamed)
        compared = self._groups(records, snapshot)
        records.end()
        return diff(snapshot, compared, options, named, encoder, self.writer)

    def _conditions(self, state: IndexState) -> dict[str, Any] | None:
        """Return the groups as native filters; None if a group is a list of ids or was not given."""
        from qdrant_client.models import Filter

        pair = {"a": self.a} if self.b is None else {"a": self.a, "b": self.b}
        given = self.groups if self.groups is not None else pair
        found: dict[str, Filter] = {}
        for name, one in given.items():
            if not isinstance(one, str | Filter):
                return None
            condition = one if isinstance(one, Filter) else searcher_of(state).planner.condition(one)
            found[name] = condition or Filter()
        if self.groups is None and self.b is None:
            found["b"] = Filter(must_not=[found["a"]])
        return found

    def _groups(self, records: Reading, snapshot: Snapshot) -> Groups:
        from saeindex.analysis.stats.groups import disjoint

        select = records.selector(snapshot)
        ways = sum(given is not None for given in (self.a, self.groups, self.by))
        if ways != 1 or (self.a is None and self.b is not None):
            raise InvalidInputError(*NO_GROUPS, "Give a and b, or groups, or by.")
        if self.a is not None:
            first = select(self.a)
            return disjoint({"a": first, "b": select.others(first) if self.b is None else select(self.b)})
        if self.by is not None:
            return select.by_value(self.by)
        return disjoint({name: select(one) for name, one in (self.groups or {}).items()})


@request
class Describe(DiffOptions, Analysis["SetDescription"], results="saeindex.analysis.describe.results"):
    """Return the distinctive concepts and words of a set, its themes, and its central and odd records.

    ``index.describe('metadata.topic = "music"')``
    """

    name = "describe"

    records: Selection = Field(description=RECORDS)
    _: KW_ONLY
    families: Families = Field(
        default=("concepts", "words"), min_length=1, description="the kinds of evidence to test"
    )
    shown: Whole = Field(default=5, ge=0, le=1_000, description="central, borderline and odd records to list")
    field: str = Field(default="", description=FIELD)

    def analyse(self, records: Reading) -> SetDescription:
        """Describe."""
        from saeindex.analysis.describe.describe import describe_set

        snapshot = records.snapshot(self.field, self.unnamed)
        rows = records.selector(snapshot)(self.records)
        records.end()
        return describe_set(snapshot, rows, self.shown, narrowed(DiffOptions, self))


@request
class DriftOver(DriftOptions, Analysis["Drift"], results="saeindex.analysis.drift.results"):
    """Return the concepts and words with a trend over a field.

    The field has numbers, ISO dates, or values whose ``order`` is given.

    ``index.drift("metadata.model", order=["v1", "v2", "v3"], unit="metadata.prompt_id")``
    """

    name = "drift"

    over: str = Field(description="a field of numbers, ISO dates, or values in an order")
    _: KW_ONLY
    where: Selection | None = Field(default=None, description=RECORDS)
    field: str = Field(default="", description=FIELD)
    order: Values | None = Field(default=None, description="the values of the field, from first to last")

    def analyse(self, records: Reading) -> Drift:
        """Test trends."""
        from saeindex.analysis.drift.drift import drift

        snapshot = records.snapshot(self.field, self.unnamed)
        rows = records.rows(snapshot, self.where)
        records.end()
        return drift(snapshot, self.over, rows, self.order, narrowed(DriftOptions, self))


@request
class Monitor(MonitorOptions, Analysis["Alert"], results="saeindex.analysis.diff.results"):
    """Return the changes in a window of records against a reference.

    ``reference`` is a condition, record ids, a :class:`Baseline`, or the path of a saved baseline.

    ``index.monitor("metadata.year < 2015", "metadata.year >= 2015", looks=12)``
    """

    name = "monitor"

    reference: Reference = Field(description=f"{RECORDS}; or what `baseline` returned")
    window: Selection = Field(description=RECORDS)
    _: KW_ONLY
    field: str = Field(default="", description=FIELD)

    def analyse(self, records: Reading) -> Alert:
        """Compare."""
        from saeindex.analysis.diff.baseline import Baseline, monitor

        snapshot = records.snapshot(self.field, self.unnamed)
        select, kept = records.selector(snapshot), cast("Any", self.reference)
        rows, looked_at = kept if isinstance(kept, Baseline) else select(kept), select(self.window)
        records.end()
        return monitor(snapshot, rows, looked_at, narrowed(MonitorOptions, self))


@request
class CountBaseline(Analysis["Baseline"], results="saeindex.analysis.diff.baseline"):
    """Return the counts of a reference: save them to compare windows after its records are deleted."""

    name = "baseline"

    where: Selection | None = Field(default=None, description=RECORDS)
    _: KW_ONLY
    field: str = Field(default="", description=FIELD)
    level: LevelName = Field(default="typical", description="the least strength of a concept that counts")
    unit: Unit | None = Field(default=AUTO, description="the field by which records were sampled")

    def analyse(self, records: Reading) -> Baseline:
        """Count."""
        from saeindex.analysis.diff.baseline import baseline_of

        snapshot = records.snapshot(self.field)
        select = records.selector(snapshot)
        rows = select.others(snapshot.rows_of([])) if self.where is None else select(self.where)
        records.end()
        return baseline_of(snapshot, rows, self.level, self.unit)
