"""All analyses of one index; see :class:`saeindex.index.FeatureIndex` for their description and options."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from saeindex.analysis.cluster.cluster import cluster
from saeindex.analysis.correlate.all_pairs import companions, correlate_open, counts_by_document
from saeindex.analysis.correlate.named_pairs import correlate_named
from saeindex.analysis.correlate.options import LISTED, LISTED_NAMED, CorrelateOptions, TriggerOptions
from saeindex.analysis.correlate.triggers import find_triggers
from saeindex.analysis.diff.diff import counted_diff, diff, is_countable, joined
from saeindex.analysis.diff.options import DiffOptions
from saeindex.analysis.drift.drift import drift
from saeindex.analysis.drift.options import DriftOptions
from saeindex.analysis.monitor.baseline import Baseline, baseline_of
from saeindex.analysis.monitor.monitor import monitor
from saeindex.analysis.monitor.options import MonitorOptions
from saeindex.analysis.profile.profile import profile
from saeindex.analysis.stats.groups import Groups, Selection, Selector, disjoint
from saeindex.collection.records import EngineCounts, record_ids
from saeindex.concepts.named_concept import parse_concept
from saeindex.errors import InvalidInputError
from saeindex.search.planner import Planner
from saeindex.signatures import check_kind, check_options, check_types

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from qdrant_client.models import Filter

    from saeindex.analysis.cluster.axis import Axis
    from saeindex.analysis.cluster.cluster import Method
    from saeindex.analysis.cluster.results import Clustering
    from saeindex.analysis.correlate.all_pairs import Companion
    from saeindex.analysis.correlate.results import Correlations, Triggers
    from saeindex.analysis.diff.hypotheses import HypothesisWriter
    from saeindex.analysis.diff.results import Diff
    from saeindex.analysis.drift.results import Drift
    from saeindex.analysis.monitor.results import Alert
    from saeindex.analysis.profile.results import SetProfile
    from saeindex.collection.snapshot import Snapshot
    from saeindex.collection.state import IndexState
    from saeindex.concepts.named_concept import NamedConcept
    from saeindex.types import LevelName

Options = TypeVar("Options")


class Analyses:
    """Differences, correlations, clusters, drift and profiles of the records of one state of an index."""

    def __init__(self, state: IndexState, read_all: Callable[[], object]) -> None:
        """``read_all`` is called when nothing is read of the index any more: others may write to it."""
        self._state, self._planner, self._read_all = state, state.derived(Planner), read_all
        self._store, self._space = state.store, state.space

    def snapshot(self, field: str = "") -> Snapshot:
        """Return the records as columns for one text field."""
        return self._state.snapshot(field)

    def selector(self, snapshot: Snapshot) -> Selector:
        """Return the selector, which finds the rows of a selection in a snapshot."""

        def filtered(condition: Filter) -> list[str]:
            return sorted(record_ids(self._store, condition))

        return Selector(snapshot, self._planner.features_of({}), filtered)

    def diff(
        self,
        a: Selection | None,
        b: Selection | None,
        groups: Mapping[str, Selection] | None,
        by: str | None,
        other: Analyses | None,
        named: Sequence[NamedConcept | str],
        writer: HypothesisWriter | None,
        field: str,
        options: Mapping[str, Any],
    ) -> Diff:
        """Return the significant differences between groups of records, or between two indexes."""
        asked = options_of(DiffOptions, options, "diff")
        wanted = [_named(concept) for concept in named]
        encoder = self._state.encoder if any(concept.description for concept in wanted) else None
        if other is not None:
            both, chosen = joined(self.snapshot(field), other.snapshot(field))
            self._read_all()
            return diff(both, chosen, asked, wanted, encoder, writer)
        if by is None and not wanted and writer is None and is_countable(asked):
            conditions = self._conditions(a, b, groups)
            if conditions is not None:
                return counted_diff(self._counts(field), self._space, conditions, asked)
        snapshot = self.snapshot(field)
        compared = self._groups(snapshot, a, b, groups, by)
        self._read_all()
        return diff(snapshot, compared, asked, wanted, encoder, writer)

    def companions(
        self, feature: int, where: str | None, level: LevelName, field: str, alpha: float, limit: int
    ) -> Sequence[Companion]:
        """Return the features that co-occur with a feature more often than by chance, counted by Qdrant."""
        self._space.label(feature)
        if self._state.has_documents:
            snapshot = self.snapshot(field)
            rows = self._rows(snapshot, where)
            self._read_all()
            counts = counts_by_document(snapshot, rows, feature, level)
            return companions(self._space, feature, *counts, alpha, limit)
        condition = self._planner.condition(where)
        engine = self._counts(field)
        own = engine.cooccurrence(feature, level, condition)
        return companions(self._space, feature, own, engine.frequencies(condition, level), alpha, limit)

    def correlate(
        self,
        concepts: Sequence[NamedConcept | str],
        with_concepts: Sequence[NamedConcept | str],
        field: str,
        other_field: str | None,
        where: Selection | None,
        options: Mapping[str, Any],
    ) -> Correlations:
        """Return the pairs of concepts that occur together more often, or less often, than by chance."""
        asked = options_of(CorrelateOptions, options, "correlate")
        snapshot = self.snapshot(field)
        other = None if other_field in (None, field) else self.snapshot(other_field or "")
        rows = self._rows(snapshot, where)
        self._read_all()
        for given in (concepts, with_concepts):
            check_kind(f"concepts {given!r:.80}", given, Iterable, "Give a list of texts or NamedConcepts.")
        if not concepts:
            limit = LISTED if asked.limit is None else asked.limit
            return correlate_open(snapshot, other, rows=rows, **{**asdict(asked), "limit": limit})
        if unfit := sorted({"level", "with_trivial"} & options.keys()):
            raise InvalidInputError(
                "correlate named concepts", f"the option {unfit[0]!r} is for all pairs only", "Leave it out."
            )
        named, against = ([_named(one) for one in group] for group in (concepts, with_concepts))
        is_described = any(one.description for one in (*named, *against))
        encoder = self._state.encoder if is_described else None
        return correlate_named(
            snapshot,
            named,
            against,
            other=other,
            encoder=encoder,
            rows=rows,
            unit=asked.unit,
            alpha=asked.alpha,
            method=asked.method,
            min_support=asked.min_support,
            limit=LISTED_NAMED if asked.limit is None else asked.limit,
        )

    def find_triggers(
        self,
        behaviour: NamedConcept | str | int,
        prompt_field: str,
        field: str,
        where: Selection | None,
        options: Mapping[str, Any],
    ) -> Triggers:
        """Return the concepts of prompts that are associated with a behaviour of the responses."""
        asked = options_of(TriggerOptions, options, "triggers")
        prompts, responses = self.snapshot(prompt_field), self.snapshot(field)
        named = behaviour if isinstance(behaviour, int) else _named(behaviour)
        is_described = not isinstance(named, int) and named.description is not None
        encoder = self._state.encoder if is_described else None
        rows = self._rows(responses, where)
        self._read_all()
        return find_triggers(prompts, responses, named, encoder=encoder, rows=rows, **asdict(asked))

    def cluster(
        self,
        axis: Axis | str | Mapping[str, object],
        examples: Mapping[str, Sequence[str]] | None,
        where: Selection | None,
        field: str,
        method: Method,
        shown: int,
    ) -> Clustering:
        """Return clusters of the records along an axis, and whether the space can express it."""
        snapshot = self.snapshot(field)
        rows = self._rows(snapshot, where)
        self._read_all()
        cache = self._state.cache
        return cluster(self._state, snapshot, axis, rows, method, examples, shown=shown, cache=cache)

    def drift(
        self,
        over: str,
        where: Selection | None,
        field: str,
        order: Sequence[Any] | None,
        options: Mapping[str, Any],
    ) -> Drift:
        """Return the concepts and words with a trend over a field."""
        asked = options_of(DriftOptions, options, "drift")
        snapshot = self.snapshot(field)
        rows = self._rows(snapshot, where)
        self._read_all()
        return drift(snapshot, over, rows, order, asked)

    def monitor(
        self,
        reference: Selection | Baseline | Path,
        window: Selection,
        field: str,
        options: Mapping[str, Any],
    ) -> Alert:
        """Return the changes in a window of records against a reference."""
        asked = options_of(MonitorOptions, options, "monitor")
        snapshot = self.snapshot(field)
        select = self.selector(snapshot)
        kept = Baseline.load(reference) if isinstance(reference, Path) else reference
        rows, looked_at = kept if isinstance(kept, Baseline) else select(kept), select(window)
        self._read_all()
        return monitor(snapshot, rows, looked_at, asked)

    def baseline(self, where: Selection | None, field: str, level: LevelName, unit: str | None) -> Baseline:
        """Return the counts of a reference, to compare windows with after its records are deleted."""
        snapshot = self.snapshot(field)
        select = self.selector(snapshot)
        rows = select.others(snapshot.rows_of([])) if where is None else select(where)
        self._read_all()
        return baseline_of(snapshot, rows, level, unit)

    def profile(
        self,
        where: Selection | None,
        ids: Iterable[str] | None,
        field: str,
        shown: int,
        options: Mapping[str, Any],
    ) -> SetProfile:
        """Return the distinctive concepts and words of a set of records, and its central and odd records."""
        if (where is None) == (ids is None):
            raise InvalidInputError(
                "a set to profile", "none, or two", "Give a condition (--where), or ids (--record)."
            )
        asked = options_of(DiffOptions, {"families": ("concepts", "words"), **options}, "profile")
        snapshot = self.snapshot(field)
        rows = self.selector(snapshot)(list(ids or ()) if where is None else where)
        self._read_all()
        return profile(snapshot, rows, shown, asked)

    def _rows(self, snapshot: Snapshot, where: Selection | None) -> NDArray[Any] | None:
        return None if where is None else self.selector(snapshot)(where)

    def _counts(self, field: str) -> EngineCounts:
        return EngineCounts(self._store, self._space.n_features, field)

    def _conditions(
        self, a: Selection | None, b: Selection | None, groups: Mapping[str, Selection] | None
    ) -> dict[str, Filter] | None:
        """Return the groups as native filters; None if a group is a list of ids or was not given."""
        from qdrant_client.models import Filter

        given = groups if groups is not None else {"a": a} if b is None else {"a": a, "b": b}
        found: dict[str, Filter] = {}
        for name, one in given.items():
            if not isinstance(one, str | Filter):
                return None
            condition = one if isinstance(one, Filter) else self._planner.condition(one)
            found[name] = condition or Filter()
        if groups is None and b is None:
            found["b"] = Filter(must_not=[found["a"]])
        return found

    def _groups(
        self,
        snapshot: Snapshot,
        a: Selection | None,
        b: Selection | None,
        groups: Mapping[str, Selection] | None,
        by: str | None,
    ) -> Groups:
        select, is_single = self.selector(snapshot), sum(given is not None for given in (a, groups, by)) == 1
        if by is not None and is_single and b is None:
            return select.by_value(by)
        if groups is not None and is_single and b is None:
            return disjoint({name: select(one) for name, one in groups.items()})
        if a is None or not is_single:
            raise InvalidInputError(
                "groups to compare",
                "none, or more than one of a, groups and by",
                "Give a and b, or groups (--group), or by.",
            )
        first = select(a)
        return disjoint({"a": first, "b": select.others(first) if b is None else select(b)})


def options_of(kind: type[Options], given: Mapping[str, Any], asked: str) -> Options:
    """Return the options as an object of ``kind``; InvalidInputError for an unknown option."""
    check_options(kind, given, asked)
    check_types(kind, given)
    return kind(**given)


def _named(concept: NamedConcept | str) -> NamedConcept:
    return parse_concept(concept) if isinstance(concept, str) else concept
