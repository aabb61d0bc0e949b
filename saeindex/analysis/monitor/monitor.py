"""Comparison of incoming records with a reference: significant changes that are large enough to report."""

from __future__ import annotations

from typing import TYPE_CHECKING

from saeindex.analysis.diff.findings import found_between, method_of, overlap_of
from saeindex.analysis.monitor.baseline import Baseline, against_baseline
from saeindex.analysis.monitor.options import MonitorOptions
from saeindex.analysis.monitor.results import REFERENCE, WINDOW, Alert, is_real
from saeindex.analysis.stats.design import design_of
from saeindex.analysis.stats.groups import disjoint

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from saeindex.collection.snapshot import Snapshot


def monitor(
    snapshot: Snapshot,
    reference: NDArray[np.int64] | Baseline,
    window: NDArray[np.int64],
    options: MonitorOptions = MonitorOptions(),
) -> Alert:
    """Compare a window of records with a reference: rows or a saved baseline; see :class:`Alert`."""
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
