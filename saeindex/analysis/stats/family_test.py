"""One family of evidence, tested between groups, with its own error rate."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, TypeAlias

import numpy as np

from saeindex.analysis.pairing import compare_pairs
from saeindex.analysis.stats.comparison import Comparison, compared
from saeindex.analysis.stats.permutation import UnitTotals, against_chance
from saeindex.analysis.stats.stratified import Counts
from saeindex.analysis.stats.two_by_two import adjusted

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from saeindex.analysis.stats.design import Design
    from saeindex.analysis.stats.evidence import Evidence
    from saeindex.analysis.stats.two_by_two import Correction

    Doubles: TypeAlias = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class FamilyTest:
    """The tests of one family (t,), and ``q``, their false discovery rates within it.

    ``shares`` (G, f) are each group's, ``support`` (f,) the records with it, ``design`` (f,) the design
    effects; ``pairs`` counts the units that a paired test compares, None elsewhere.
    """

    evidence: Evidence
    shares: Doubles
    support: Doubles
    comparison: Comparison
    q: Doubles
    design: Doubles
    pairs: int | None = None

    def __len__(self) -> int:
        return len(self.q)

    def found(self, alpha: float) -> NDArray[np.int64]:
        """Return the tests that are findings, the largest difference first."""
        chosen = np.flatnonzero(self.q <= alpha)
        order = np.argsort(-np.abs(self.comparison.tested.effect[chosen]), kind="stable")
        return chosen[order]

    def threshold(self, alpha: float) -> float:
        """The p-value at which one more test would be a finding (Benjamini and Hochberg's line)."""
        return alpha * max(1, int((self.q <= alpha).sum())) / max(1, len(self))


def run_tests(
    evidence: Evidence,
    codes: NDArray[np.int32],
    n_groups: int,
    design: Design,
    method: Correction = "bh",
    seed: int = 0,
) -> FamilyTest:
    """Test all columns of ``evidence`` between the groups that ``codes`` (m,) numbers."""
    if n_groups == 2 and design.is_paired and design.units is not None:
        tested, pairs = compare_pairs(evidence.has, codes, design.strata, design.units)
        counts = Counts.of(evidence.has, codes, design.strata, 2)
        alone = np.ones(len(evidence.keys))
        found, q = Comparison.of_two(tested), adjusted(tested.p, method)
        return FamilyTest(evidence, counts.shares, counts.support, found, q, alone, pairs)
    totals = UnitTotals.of(evidence.has, codes, design, n_groups)
    counts, effects = totals.counted(totals.groups)
    found = compared(counts, effects)
    if design.units is not None:
        p = against_chance(found.tested.p, totals, seed)
        found = replace(found, tested=replace(found.tested, p=p))
    q = adjusted(found.tested.p, method)
    return FamilyTest(evidence, counts.shares, counts.support, found, q, effects)


def run_counted(evidence: Evidence, counts: Counts, method: Correction) -> FamilyTest:
    """Test counts that the engine made, of independent records."""
    alone = np.ones(len(evidence.keys))
    found = compared(counts, alone)
    return FamilyTest(evidence, counts.shares, counts.support, found, adjusted(found.tested.p, method), alone)
