"""What changes with time, and what sets are like: a part of :class:`saeindex.index.FeatureIndex`."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from saeindex.analysis.analyses import options_of
from saeindex.analysis.diff.options import DiffOptions
from saeindex.analysis.drift.drift import drift
from saeindex.analysis.drift.options import DriftOptions
from saeindex.analysis.monitor.baseline import Baseline, baseline_of
from saeindex.analysis.monitor.monitor import monitor
from saeindex.analysis.monitor.options import MonitorOptions
from saeindex.analysis.profile.profile import profile
from saeindex.errors import InvalidInputError

if TYPE_CHECKING:
    from saeindex.analysis.drift.results import Drift
    from saeindex.analysis.monitor.results import Alert
    from saeindex.analysis.profile.results import SetProfile
    from saeindex.analysis.stats.groups import Selection, Selector
    from saeindex.collection.snapshot import Snapshot
    from saeindex.types import LevelName


class Drifting:
    """Drift over an ordered field, alerts on change, and profiles of sets."""

    if TYPE_CHECKING:

        def snapshot(self, field: str = "") -> Snapshot:
            """Return the records as columns."""

        def _selector(self, snapshot: Snapshot) -> Selector: ...

    def drift(
        self,
        /,
        over: str,
        *,
        where: Selection | None = None,
        field: str = "",
        order: Sequence[Any] | None = None,
        **options: Any,
    ) -> Drift:
        """Return which concepts and words drift over a field, tested; see :class:`DriftOptions`.

        The field holds numbers or ISO dates, or values whose ``order`` is given; ``where`` selects records.

        ``index.drift("metadata.model", order=["v1", "v2", "v3"], unit="metadata.prompt_id")``
        """
        asked = options_of(DriftOptions, options, "drift")
        snapshot = self.snapshot(field)
        rows = None if where is None else self._selector(snapshot)(where)
        return drift(snapshot, over, rows, order, asked)

    def monitor(
        self,
        /,
        reference: Selection | Baseline | Path,
        window: Selection,
        *,
        field: str = "",
        **options: Any,
    ) -> Alert:
        """Return what changed in a window of records against a reference; see :class:`MonitorOptions`.

        ``reference`` is a condition, record ids, or a :class:`Baseline` (or the path of a saved one).

        ``index.monitor("metadata.year < 2015", "metadata.year >= 2015", looks=12)``
        """
        asked = options_of(MonitorOptions, options, "monitor")
        snapshot = self.snapshot(field)
        select = self._selector(snapshot)
        kept = Baseline.load(reference) if isinstance(reference, Path) else reference
        rows = kept if isinstance(kept, Baseline) else select(kept)
        return monitor(snapshot, rows, select(window), asked)

    def baseline(
        self,
        where: Selection | None = None,
        *,
        field: str = "",
        level: LevelName = "typical",
        unit: str | None = "auto",
    ) -> Baseline:
        """Return the counts of a reference, to save and to compare windows with when its records are gone."""
        snapshot = self.snapshot(field)
        select = self._selector(snapshot)
        rows = select.others(snapshot.rows_of([])) if where is None else select(where)
        return baseline_of(snapshot, rows, level, unit)

    def profile(
        self,
        /,
        where: Selection | None = None,
        *,
        ids: Iterable[str] | None = None,
        field: str = "",
        shown: int = 5,
        **options: Any,
    ) -> SetProfile:
        """Return what is distinctive of a set of records, its central, borderline and odd ones, its themes.

        The set is given by a condition, or by ``ids``; ``options`` are those of :class:`DiffOptions`.

        ``index.profile('metadata.topic = "music"')``
        """
        if (where is None) == (ids is None):
            raise InvalidInputError("a set to profile", "none, or two", "Give a condition, or ids.")
        asked = options_of(DiffOptions, {"families": ("concepts", "words")} | options, "profile")
        snapshot = self.snapshot(field)
        rows = self._selector(snapshot)(where if ids is None else list(ids))
        return profile(snapshot, rows, shown, asked)
