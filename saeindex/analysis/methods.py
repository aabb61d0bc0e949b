"""The analyses of an index as its methods: what they take, and what they return."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar, Unpack

from saeindex.analysis.correlate.options import (
    CorrelateKeywords,
    CorrelateOptions,
    TriggerKeywords,
    TriggerOptions,
)
from saeindex.analysis.diff.options import DiffKeywords, DiffOptions
from saeindex.analysis.drift.options import DriftKeywords, DriftOptions
from saeindex.analysis.monitor.options import MonitorKeywords, MonitorOptions
from saeindex.report.result import AnalysisResult
from saeindex.signatures import takes
from saeindex.stores.turns import reading_all

if TYPE_CHECKING:
    from saeindex.analysis.analyses import Analyses
    from saeindex.analysis.cluster.axis import Axis
    from saeindex.analysis.cluster.cluster import Method
    from saeindex.analysis.cluster.results import Clustering
    from saeindex.analysis.correlate.all_pairs import Companion
    from saeindex.analysis.correlate.results import Correlations, Triggers
    from saeindex.analysis.diff.hypotheses import HypothesisWriter
    from saeindex.analysis.diff.results import Diff
    from saeindex.analysis.drift.results import Drift
    from saeindex.analysis.monitor.baseline import Baseline
    from saeindex.analysis.monitor.results import Alert
    from saeindex.analysis.profile.results import SetProfile
    from saeindex.analysis.stats.groups import Selection
    from saeindex.collection.current import CurrentState
    from saeindex.collection.snapshot import Snapshot
    from saeindex.concepts.named_concept import NamedConcept
    from saeindex.types import LevelName


Found = TypeVar("Found")


class AnalysisMethods:
    """The methods of an index that analyse its records."""

    _current: CurrentState

    def _analysed(self, run: Callable[[Analyses], Found], other: AnalysisMethods | None = None) -> Found:
        """Run an analysis; writers wait until it has read what it needs."""
        from saeindex.analysis.analyses import Analyses

        both = [self._current] if other is None else [self._current, other._current]
        with reading_all(one.store for one in both) as turn:
            state, *_ = [turn.enter_context(one.reading()) for one in both]
            found = run(Analyses(state, turn.close))
        return replace(found, revision=state.revision) if isinstance(found, AnalysisResult) else found

    def snapshot(self, field: str = "") -> Snapshot:
        """Return the records as columns for one text field; they are read once, and again after a write."""
        with self._current.reading() as state:
            return state.snapshot(field)

    @takes(DiffOptions)
    def diff(
        self,
        /,
        a: Selection | None = None,
        b: Selection | None = None,
        *,
        groups: Mapping[str, Selection] | None = None,
        by: str | None = None,
        other: AnalysisMethods | None = None,
        named: Sequence[NamedConcept | str] = (),
        writer: HypothesisWriter | None = None,
        field: str = "",
        **options: Unpack[DiffKeywords],
    ) -> Diff:
        """Return the significant differences between groups of records; see :class:`DiffOptions`.

        A group is a ``where`` text, a Qdrant filter or a list of record ids. Give ``a`` and ``b`` (without
        ``b``: all other records), or ``groups`` by name, or ``by``, a field each value of which is a group,
        or ``other``, an index to compare this index with. ``named`` are properties to test: a
        :class:`NamedConcept`, or a text such as ``"sad=feeling sad; against: being happy"``. ``writer`` is a
        language model that writes hypotheses from the findings and checks them on further records.

        ``index.diff(a="metadata.year < 2010", b="metadata.year >= 2010", unit="metadata.author")``
        """

        def run(analyses: Analyses) -> Diff:
            from saeindex.analysis.analyses import Analyses

            against = None if other is None else Analyses(other._current.state, lambda: None)
            return analyses.diff(a, b, groups, by, against, named, writer, field, options)

        return self._analysed(run, other)

    def companions(
        self,
        feature: int,
        *,
        where: str | None = None,
        level: LevelName = "typical",
        field: str = "",
        alpha: float = 0.05,
        limit: int = 20,
    ) -> Sequence[Companion]:
        """Return the features that co-occur with a feature more often than by chance, counted by Qdrant."""
        return self._analysed(
            lambda analyses: analyses.companions(feature, where, level, field, alpha, limit)
        )

    @takes(CorrelateOptions)
    def correlate(
        self,
        /,
        concepts: Sequence[NamedConcept | str] = (),
        with_concepts: Sequence[NamedConcept | str] = (),
        *,
        field: str = "",
        other_field: str | None = None,
        where: Selection | None = None,
        **options: Unpack[CorrelateKeywords],
    ) -> Correlations:
        """Return the pairs of concepts that occur together more often, or less often, than by chance.

        Without ``concepts``, all pairs of features are tested (:func:`correlate_open`); with them, only the
        pairs of the given concepts (:func:`correlate_named`). A concept is a :class:`NamedConcept` or a text
        such as ``"sad=feeling sad; against: being happy"``. ``other_field`` is the text field of the second
        concept of each pair; ``where`` selects records.

        ``index.correlate(field="prompt", other_field="")``
        """
        return self._analysed(
            lambda analyses: analyses.correlate(concepts, with_concepts, field, other_field, where, options)
        )

    @takes(TriggerOptions)
    def find_triggers(
        self,
        /,
        behaviour: NamedConcept | str | int,
        *,
        prompt_field: str = "prompt",
        field: str = "",
        where: Selection | None = None,
        **options: Unpack[TriggerKeywords],
    ) -> Triggers:
        """Return the concepts of prompts that are associated with a behaviour of the responses.

        ``behaviour`` is a feature id, a :class:`NamedConcept`, or a text such as
        ``"refuses=declines to answer; against: answers"``.
        """
        return self._analysed(
            lambda analyses: analyses.find_triggers(behaviour, prompt_field, field, where, options)
        )

    def cluster(
        self,
        axis: Axis | str | Mapping[str, object],
        *,
        examples: Mapping[str, Sequence[str]] | None = None,
        where: Selection | None = None,
        field: str = "",
        method: Method = "anchored",
        shown: int = 5,
    ) -> Clustering:
        """Return clusters of the records along an axis, and whether the space can express this axis.

        ``axis`` is a text (``"tone: angry, calm, joking"``), ``{name: [value, …]}``, ``{name: {value: text or
        texts}}`` or an :class:`Axis`. ``examples`` gives record ids by value, with or without texts.
        ``where`` selects records; ``method`` "interpembed" is the method of the InterpEmbed paper.

        ``index.cluster({"tone": ["angry", "calm", "joking"]})``
        """
        return self._analysed(lambda analyses: analyses.cluster(axis, examples, where, field, method, shown))

    @takes(DriftOptions)
    def drift(
        self,
        /,
        over: str,
        *,
        where: Selection | None = None,
        field: str = "",
        order: Sequence[Any] | None = None,
        **options: Unpack[DriftKeywords],
    ) -> Drift:
        """Return the concepts and words with a trend over a field; see :class:`DriftOptions`.

        The field has numbers, ISO dates, or values whose ``order`` is given; ``where`` selects records.

        ``index.drift("metadata.model", order=["v1", "v2", "v3"], unit="metadata.prompt_id")``
        """
        return self._analysed(lambda analyses: analyses.drift(over, where, field, order, options))

    @takes(MonitorOptions)
    def monitor(
        self,
        /,
        reference: Selection | Baseline | Path,
        window: Selection,
        *,
        field: str = "",
        **options: Unpack[MonitorKeywords],
    ) -> Alert:
        """Return the changes in a window of records against a reference; see :class:`MonitorOptions`.

        ``reference`` is a condition, record ids, a :class:`Baseline`, or the path of a saved baseline.

        ``index.monitor("metadata.year < 2015", "metadata.year >= 2015", looks=12)``
        """
        return self._analysed(lambda analyses: analyses.monitor(reference, window, field, options))

    def baseline(
        self,
        where: Selection | None = None,
        *,
        field: str = "",
        level: LevelName = "typical",
        unit: str | None = "auto",
    ) -> Baseline:
        """Return the counts of a reference: save them to compare windows after its records are deleted."""
        return self._analysed(lambda analyses: analyses.baseline(where, field, level, unit))

    @takes(DiffOptions, families=("concepts", "words"))
    def profile(
        self,
        /,
        where: Selection | None = None,
        *,
        ids: Iterable[str] | None = None,
        field: str = "",
        shown: int = 5,
        **options: Unpack[DiffKeywords],
    ) -> SetProfile:
        """Return the distinctive concepts and words of a set, its themes, and its central and odd records.

        The set is given by a condition or by ``ids``; ``options`` are those of :class:`DiffOptions`.

        ``index.profile('metadata.topic = "music"')``
        """
        return self._analysed(lambda analyses: analyses.profile(where, ids, field, shown, options))
