"""What drifts over an ordered field: tested, with the error rate held for each family of evidence."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from saeindex.analysis.diff.diff import DiffOptions
from saeindex.analysis.drift.findings import trends_of
from saeindex.analysis.drift.periods import FEWEST, MOST, periods_of
from saeindex.analysis.drift.results import Drift
from saeindex.analysis.drift.trend_test import run_trends
from saeindex.analysis.stats.design import AUTO, design_of, mean_design_effect
from saeindex.analysis.stats.evidence import FAMILIES, Family, evidence_of
from saeindex.analysis.stats.two_by_two import told_correction
from saeindex.errors import InvalidInputError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from saeindex.analysis.drift.periods import Periods
    from saeindex.analysis.drift.results import Trend
    from saeindex.analysis.stats.design import Design
    from saeindex.analysis.stats.two_by_two import Correction
    from saeindex.collection.snapshot import Snapshot
    from saeindex.types import LevelName

# Records of one value of the field are taken to share an origin (a year's one speech) from this design
# effect on, measured between the values of a period; drift inside a period makes it no larger than that.
ONE_ORIGIN = 1.5


@dataclass(frozen=True, slots=True)
class DriftOptions:
    """How drift is tested; the names are those of :class:`saeindex.analysis.diff.diff.DiffOptions`.

    ``unit`` "auto" also takes the ordered field itself, where the records of one of its values are far more
    alike than those of the values beside it. ``periods`` is the largest number of periods.
    """

    families: Sequence[Family] = FAMILIES
    level: LevelName = "typical"
    unit: str | None = AUTO
    strata: Sequence[str] = ()
    length_bins: int | None = None
    periods: int = MOST
    alpha: float = 0.05
    method: Correction = "bh"
    least: int = 5
    examples: int = 2
    seed: int = 0

    def __post_init__(self) -> None:
        """Check the numbers."""
        DiffOptions(families=self.families, alpha=self.alpha, method=self.method, least=self.least)
        if not FEWEST <= self.periods <= 100:
            raise InvalidInputError(f"periods={self.periods}", "out of range", f"Use {FEWEST} to 100.")


def drift(
    snapshot: Snapshot,
    over: str,
    rows: NDArray[np.int64] | None = None,
    order: Sequence[Any] | None = None,
    options: DriftOptions = DriftOptions(),
) -> Drift:
    """Return what drifts over a field of some records (all, where ``rows`` is None); see :class:`Drift`."""
    periods = periods_of(snapshot, over, rows, order, options.periods)
    design = drift_design(snapshot, periods, options)
    tested: dict[Family, int] = {}
    findings: dict[Family, tuple[Trend, ...]] = {}
    groups = periods.groups
    for family in options.families:
        evidence = evidence_of(snapshot, groups.pooled, family, options.level, options.least, options.seed)
        test = run_trends(evidence, groups.codes, periods.scores, design, options.method, options.seed)
        tested[family] = len(test)
        findings[family] = trends_of(snapshot, periods, test, options.alpha, options.examples)
    return Drift(
        over=over,
        periods=periods.periods,
        per=periods.per,
        alpha=options.alpha,
        method=method_of(design, options),
        level=options.level,
        tested=tested,
        findings=findings,
        strata=design.by,
        unit=design.unit,
        notes=(*groups.notes, *design.notes),
        field=snapshot.field,
    )


def drift_design(snapshot: Snapshot, periods: Periods, options: DriftOptions) -> Design:
    """Return the design of a drift: that of a comparison of the periods, where the field may be the unit."""
    groups = periods.groups
    design = design_of(snapshot, groups, options.unit, options.strata, options.length_bins, paired=False)
    if options.unit != AUTO or design.unit is not None or periods.values <= len(periods.periods):
        return design
    codes = snapshot.column(periods.over).take(groups.pooled).codes
    effect = mean_design_effect(snapshot, groups.pooled, groups.codes, codes)
    if effect < ONE_ORIGIN:
        return design
    note = f"records of one {periods.over} are alike (design effect {effect:.1f}): the unit"
    return replace(
        design_of(snapshot, groups, periods.over, options.strata, options.length_bins, paired=False),
        notes=(*design.notes, note),
    )


def method_of(design: Design, options: DriftOptions) -> str:
    """Say in words which tests were used."""
    test = "Cochran-Armitage trend test" + (" within strata (Mantel)" if design.by else "")
    test += ", small counts by saddlepoint; change points by the best split, corrected for the search"
    if design.unit:
        test += f"; counts divided by the design effect of {design.unit}"
    return f"{test}; {told_correction(options.method, options.alpha)}"
