"""Does what comes in now differ from what came before, and by enough to be told?"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from saeindex.analysis.diff.diff import DiffOptions, method_of, overlap_of
from saeindex.analysis.monitor.baseline import Baseline, against_baseline
from saeindex.analysis.monitor.results import REFERENCE, WINDOW, Alert, is_real
from saeindex.analysis.monitoring.between import found_between
from saeindex.analysis.stats.design import AUTO, design_of
from saeindex.analysis.stats.evidence import Family
from saeindex.analysis.stats.groups import disjoint
from saeindex.errors import InvalidInputError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from saeindex.analysis.stats.two_by_two import Correction
    from saeindex.collection.snapshot import Snapshot
    from saeindex.types import LevelName


@dataclass(frozen=True, slots=True)
class MonitorOptions:
    """When an alert is raised; the other names are those of :class:`saeindex.analysis.diff.diff.DiffOptions`.

    ``alpha`` is the rate of false alerts over all ``looks`` (how many windows will be compared) and families
    of evidence together, which share it equally. A change of less than ``least_effect`` in the share, or of
    odds by less than ``least_odds``, is none.
    """

    families: Sequence[Family] = ("concepts", "words")
    level: LevelName = "typical"
    unit: str | None = AUTO
    strata: Sequence[str] = ()
    length_bins: int | None = None
    alpha: float = 0.05
    looks: int = 1
    least_effect: float = 0.02
    least_odds: float = 1.5
    method: Correction = "bh"
    least: int = 5
    examples: int = 2
    seed: int = 0

    def __post_init__(self) -> None:
        """Check the numbers."""
        if self.looks < 1:
            raise InvalidInputError(f"looks={self.looks}", "out of range", "Use 1 or more.")
        if not 0 <= self.least_effect < 1 or self.least_odds < 1:
            found = f"least_effect={self.least_effect}, least_odds={self.least_odds}"
            raise InvalidInputError("the least change", found, "Use an effect from 0 to 1, and odds from 1.")
        self.comparing()

    @property
    def spent(self) -> float:
        """The error rate of one family of evidence in one look."""
        return self.alpha / (self.looks * max(1, len(self.families)))

    def comparing(self) -> DiffOptions:
        """Return the options of the comparison."""
        if not 0 < self.alpha < 1:
            raise InvalidInputError(f"alpha={self.alpha}", "out of range", "Use a rate between 0 and 1.")
        return DiffOptions(
            families=self.families,
            level=self.level,
            unit=self.unit,
            strata=self.strata,
            length_bins=self.length_bins,
            paired=False,
            alpha=self.spent,
            method=self.method,
            least=self.least,
            confirm=False,
            examples=self.examples,
            seed=self.seed,
        )


def monitor(
    snapshot: Snapshot,
    reference: NDArray[np.int64] | Baseline,
    window: NDArray[np.int64],
    options: MonitorOptions = MonitorOptions(),
) -> Alert:
    """Compare a window of records with a reference, rows or a kept baseline; see :class:`Alert`."""
    if isinstance(reference, Baseline):
        return against_baseline(snapshot, reference, window, options)
    asked = options.comparing()
    groups = disjoint({WINDOW: window, REFERENCE: reference})
    design = design_of(snapshot, groups, asked.unit, asked.strata, asked.length_bins, paired=False)
    changed, counts = found_between(snapshot, groups, design, asked, lambda one: is_real(one, options))
    return Alert(
        reference=groups.sizes[REFERENCE],
        window=groups.sizes[WINDOW],
        options=options,
        tested=counts,
        changed=changed,
        method=method_of(design, 2, asked),
        strata=design.by,
        unit=design.unit,
        notes=(*groups.notes, *design.notes, *overlap_of(groups, design)),
        field=snapshot.field,
    )
