"""One family of evidence, tested between groups, with its own error rate."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

import numpy as np

from saeindex.analysis.stats.stratified import (
    Z95,
    GroupComparison,
    StratifiedCounts,
    Tested,
    agreeing,
    compared,
)
from saeindex.analysis.stats.two_by_two import adjusted, binomial_tail
from saeindex.analysis.stats.unit_totals import UnitTotals

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from scipy.sparse import csr_matrix

    from saeindex.analysis.stats.choices import Correction
    from saeindex.analysis.stats.design import Design
    from saeindex.analysis.stats.evidence import Evidence

    Doubles: TypeAlias = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class FamilyTest:
    """The tests of one family (t,), and ``q``, their false discovery rates within it.

    ``shares`` (G, f) are each group's, ``support`` (f,) the records with it, ``design`` (f,) the design
    effects; ``pairs`` counts the units that a paired test compares, ``units`` those of each group (G,) in
    another test of units; None elsewhere.
    """

    evidence: Evidence
    shares: Doubles
    support: Doubles
    comparison: GroupComparison
    q: Doubles
    design: Doubles
    pairs: int | None = None
    units: tuple[int, ...] | None = None

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
) -> FamilyTest:
    """Test all columns of ``evidence`` between the groups that ``codes`` (m,) numbers."""
    if n_groups == 2 and design.is_paired and design.units is not None:
        tested, pairs = compare_pairs(evidence.has, codes, design.strata, design.units)
        counts = StratifiedCounts.of(evidence.has, codes, design.strata, 2)
        alone = np.ones(len(evidence.keys))
        found, q = GroupComparison.of_two(tested), adjusted(tested.p, method)
        return FamilyTest(evidence, counts.shares, counts.support, found, q, alone, pairs)
    totals = UnitTotals.of(evidence.has, codes, design, n_groups)
    counts, effects = totals.counted(totals.groups)
    found = compared(counts, effects, totals.tails if totals.has_units else None)
    q = adjusted(found.tested.p, method)
    units = tuple(np.bincount(totals.groups, minlength=n_groups).tolist()) if totals.has_units else None
    return FamilyTest(evidence, counts.shares, counts.support, found, q, effects, units=units)


def run_counted(evidence: Evidence, counts: StratifiedCounts, method: Correction) -> FamilyTest:
    """Test the engine's counts of independent records."""
    alone = np.ones(len(evidence.keys))
    found = compared(counts, alone)
    return FamilyTest(evidence, counts.shares, counts.support, found, adjusted(found.tested.p, method), alone)


def compare_pairs(
    has: csr_matrix, groups: NDArray[np.int32], strata: NDArray[np.int32], units: NDArray[np.int32]
) -> tuple[Tested, int]:
    """Test two groups within units; return the tests and the number of units with records in both groups.

    With one record per unit and group this is McNemar's exact test, mid-p. If a unit has several records in a
    group, their share counts; a partial difference counts in part, which is conservative.
    """
    difference = _differences(has, groups, strata, units)
    count = difference.shape[0]
    up, down = (np.asarray(difference.multiply(difference * s > 0).sum(0)).ravel() * s for s in (1, -1))
    n = up + down
    more = np.where(n > 0, binomial_tail(up, n, 0.5), 0.5)
    effect = (up - down) / max(1, count)
    squares = np.asarray(difference.multiply(difference).sum(0)).ravel()
    half = Z95 * np.sqrt(np.maximum((squares + 1) / max(1, count) - effect**2, 0.0) / max(1, count))
    odds = np.log((up + 0.5) / (down + 0.5))
    wide = Z95 * np.sqrt(1 / (up + 0.5) + 1 / (down + 0.5))
    p = np.minimum(1.0, 2 * np.minimum(more, 1 - more))
    of_effect = agreeing(p, effect, effect - half, effect + half)
    return Tested(
        p, 1 - more, more, effect, *of_effect, odds, *agreeing(p, odds, odds - wide, odds + wide)
    ), count


def _differences(
    has: csr_matrix, groups: NDArray[np.int32], strata: NDArray[np.int32], units: NDArray[np.int32]
) -> csr_matrix:
    """Return for each unit (and stratum) in both groups the first group's share less the second's (u, f)."""
    from scipy.sparse import csr_matrix

    keys = units.astype(np.int64) * (int(strata.max(initial=0)) + 1) + strata
    both = np.intersect1d(keys[groups == 0], keys[groups == 1])
    rows = np.flatnonzero(np.isin(keys, both))
    place = np.searchsorted(both, keys[rows])
    cells = place * 2 + groups[rows]
    sizes = np.bincount(cells, minlength=2 * len(both)).astype(np.float64)
    signs = np.where(groups[rows] == 0, 1.0, -1.0) / sizes[cells]
    shape = (len(both), has.shape[0])
    difference: csr_matrix = (csr_matrix((signs, (place, rows)), shape=shape) @ has).tocsr()
    return difference
