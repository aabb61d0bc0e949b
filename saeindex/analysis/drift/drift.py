"""Drift over an ordered field: tests with a controlled error rate for each family of evidence."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from saeindex.analysis.drift.options import DriftOptions
from saeindex.analysis.drift.periods import periods_of
from saeindex.analysis.drift.results import Drift
from saeindex.analysis.drift.trend_test import run_trends
from saeindex.analysis.drift.trends import trends_of
from saeindex.analysis.stats.choices import AUTO, Family, described_correction
from saeindex.analysis.stats.design import design_of
from saeindex.analysis.stats.evidence import evidence_of
from saeindex.analysis.stats.unit_detection import mean_design_effect

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from saeindex.analysis.drift.periods import Periods
    from saeindex.analysis.drift.results import Trend
    from saeindex.analysis.stats.design import Design
    from saeindex.collection.snapshot import Snapshot

# Records of one value of the field are taken to share an origin (a year's one speech) from this design
# effect on, measured between the values of a period; drift inside a period makes it no larger than that.
ONE_ORIGIN = 1.5


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
        evidence = evidence_of(
            snapshot, groups.pooled, family, options.level, options.min_support, options.seed
        )
        test = run_trends(evidence, groups.codes, periods.scores, design, options.method)
        tested[family] = len(test)
        findings[family] = trends_of(snapshot, periods, test, options.alpha, options.examples)
    return Drift(
        over=over,
        periods=periods.periods,
        per=periods.per,
        alpha=options.alpha,
        method=trend_method_of(design, options),
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
    options_of_design = options.strata, options.length_bins, False
    design = design_of(snapshot, groups, options.unit, *options_of_design, never=(periods.over,))
    if options.unit != AUTO or design.unit is not None or periods.values <= len(periods.periods):
        return design
    codes = snapshot.column(periods.over).take(groups.pooled).codes
    effect = mean_design_effect(snapshot, groups.pooled, groups.codes, codes)
    if effect < ONE_ORIGIN:
        return design
    note = f"records of one {periods.over} are alike (design effect {effect:.1f}): it is the unit"
    own = design_of(snapshot, groups, periods.over, *options_of_design)
    return replace(own, notes=(note, *design.notes))


def trend_method_of(design: Design, options: DriftOptions) -> str:
    """Return the tests that were used, in words."""
    test = "Cochran-Armitage trend test" + (" within strata (Mantel)" if design.by else "")
    test += ", small counts by saddlepoint; change points by the best split, corrected for the search"
    if design.unit:
        test += f"; by whole units of {design.unit}"
    return f"{test}; {described_correction(options.method, options.alpha)}"
