"""Counts of evidence by unit, and the test of one family of evidence, with its own error rate.

The tests of Mantel and Haenszel assign whole units to groups.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from saeindex.analysis.stats import stratified
from saeindex.analysis.stats.stratified import GroupComparison, StratifiedCounts, Tested
from saeindex.analysis.stats.two_by_two import adjusted, binomial_tail
from saeindex.analysis.stats.unit_sums import UnitValues

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from scipy.sparse import csr_matrix

    from saeindex.analysis.stats.design import Design
    from saeindex.analysis.stats.evidence import Evidence
    from saeindex.analysis.stats.options import Correction
    from saeindex.types import Doubles, IntArray, Ints

# Numbers of units and evidence that are dense at once.
BLOCK = 4_000_000


@dataclass(frozen=True, eq=False)
class UnitTotals:
    """Counts by unit: ``y`` (u, f) of ``sizes`` (u,) records, and by unit and stratum (cells).

    ``groups`` (u,) is the group of each unit. A unit with records in several groups counts as several units,
    and then ``is_nested`` is False.
    """

    groups: Ints
    n_groups: int
    is_nested: bool
    y: csr_matrix
    sizes: Doubles
    cells: csr_matrix
    cell_sizes: Doubles
    cell_units: Ints
    cell_strata: Ints
    has_units: bool

    @classmethod
    def of(cls, has: csr_matrix, codes: IntArray, design: Design, n_groups: int) -> UnitTotals:
        """Count ``has`` (m, f), whose records are in the groups ``codes`` (m,)."""
        units = np.zeros(len(codes), np.int64) if design.units is None else design.units.astype(np.int64)
        parts, part = np.unique(units * n_groups + codes, return_inverse=True)
        n_strata = int(design.strata.max(initial=0)) + 1
        cells, cell = np.unique(part * n_strata + design.strata, return_inverse=True)
        totals = (stratified.indicator(cell, len(cells)) @ has).tocsr()
        cell_units = cells // n_strata
        return cls(
            parts % n_groups,
            n_groups,
            len(np.unique(parts // n_groups)) == len(parts),
            (stratified.indicator(cell_units, len(parts)) @ totals).tocsr(),
            np.bincount(part).astype(np.float64),
            totals,
            np.bincount(cell).astype(np.float64),
            cell_units,
            cells % n_strata,
            design.units is not None,
        )

    def counted(self, groups: Ints) -> tuple[StratifiedCounts, Doubles]:
        """Return the counts and the design effects with the units in these groups (u,)."""
        counts = self.counts(groups)
        if not self.has_units:
            return counts, np.ones(self.y.shape[1])
        return counts, stratified.effects_between(self.y, self.sizes, groups, self.n_groups)

    def counts(self, groups: Ints) -> StratifiedCounts:
        """Return the counts with the units in these groups (u,)."""
        own = groups[self.cell_units]
        return StratifiedCounts.of(self.cells, own, self.cell_strata, self.n_groups, self.cell_sizes)

    def tails(self, a: int, b: int, columns: Ints) -> tuple[Doubles, Doubles]:
        """Return the one-sided p-values of columns (c,): of group ``a`` having less than ``b``, and more.

        The units of both groups are assigned to them at random.
        """
        scores = (self.groups == a).astype(np.float64)
        return self.scored_tails([(scores, columns)], np.isin(self.groups, (a, b)))[0]

    def scored_tails(
        self, contrasts: Sequence[tuple[Doubles, Ints]], chosen: NDArray[np.bool_] | None = None
    ) -> list[tuple[Doubles, Doubles]]:
        """Return the tails (c,) of the sums of what ``chosen`` units add, for each of several contrasts.

        A contrast has the scores (u,) of all units, and the columns (c,). Sums are compared in standard
        errors, which depend on how many records the units of a group have.
        """
        kept = np.arange(len(self.sizes)) if chosen is None else np.flatnonzero(chosen)
        place = np.full(len(self.sizes), -1)
        place[kept] = np.arange(len(kept))
        cells = np.flatnonzero(place[self.cell_units] >= 0)
        n_strata = int(self.cell_strata.max(initial=0)) + 1
        of_unit = stratified.indicator(place[self.cell_units[cells]], len(kept))
        of_stratum = stratified.indicator(self.cell_strata[cells], n_strata)
        records = (of_unit.multiply(self.cell_sizes[cells]) @ of_stratum.T).toarray()  # (u, S)
        n = np.maximum(records.sum(0), 1.0)
        own = self.cells[cells]
        widths = [_widths(records, scores[kept]) for scores, _ in contrasts]
        found = [(np.zeros(len(columns)), np.zeros(len(columns))) for _, columns in contrasts]
        every = np.unique(np.concatenate([np.zeros(0, np.int64), *(columns for _, columns in contrasts)]))
        for block in np.array_split(every, 1 + len(every) * len(kept) // BLOCK):
            if not block.size:
                continue
            counts = own[:, block]
            share = np.asarray((of_stratum @ counts).todense(), np.float64) / n[:, None]
            excess = np.asarray((of_unit @ counts).todense(), np.float64) - records @ share
            by_stratum = share * (1 - share) * (n / np.maximum(n - 1, 1.0))[:, None]
            values = UnitValues(excess)
            for (scores, columns), (observed, usual), tails in zip(contrasts, widths, found, strict=True):
                is_here = np.isin(columns, block)
                here = np.searchsorted(block, columns[is_here])
                own_width, expected = (np.maximum(w @ by_stratum[:, here], 1e-12) for w in (observed, usual))
                # Of two groups, fewer records than usual are no evidence: they can be in a few large units.
                most = 1.0 if len(np.unique(scores[kept])) == 2 else np.inf
                stretch = np.minimum(np.sqrt(expected / own_width), most)
                tails[0][is_here], tails[1][is_here] = values.tails(scores[kept], here, stretch)
        return found


def _widths(records: Doubles, scores: Doubles) -> tuple[Doubles, Doubles]:
    """Return Σ_u m b² - (Σ_u m b)² / n (S,) for ``records`` m (u, S) of units, and its mean over assignments.

    ``b`` are the ``scores`` (u,) less their mean.
    """
    u, n, b = len(scores), np.maximum(records.sum(0), 1.0), scores - scores.mean()
    observed = b**2 @ records - (b @ records) ** 2 / n
    around_mean = ((records - records.mean(0)) ** 2).sum(0)
    squares = float(b @ b)
    usual = squares / u * records.sum(0) - squares / max(1, u - 1) * around_mean / n
    return observed, usual


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

    @classmethod
    def of(
        cls, evidence: Evidence, counts: StratifiedCounts, found: GroupComparison, design: Doubles,
        method: Correction, **sizes: Any,
    ) -> FamilyTest:  # fmt: skip
        """Correct the p-values of a family for their number."""
        q = adjusted(found.tested.p, method)
        return cls(evidence, counts.shares, counts.support, found, q, design, **sizes)

    def __len__(self) -> int:
        return len(self.q)

    def found(self, alpha: float) -> Ints:
        """Return the tests that are findings, the largest difference first."""
        chosen = np.flatnonzero(self.q <= alpha)
        order = np.argsort(-np.abs(self.comparison.tested.effect[chosen]), kind="stable")
        return chosen[order]

    def threshold(self, alpha: float) -> float:
        """The p-value at which one more test would be a finding (Benjamini and Hochberg's line)."""
        return alpha * max(1, int((self.q <= alpha).sum())) / max(1, len(self))


def run_tests(
    evidence: Evidence, codes: IntArray, n_groups: int, design: Design, method: Correction = "bh"
) -> FamilyTest:
    """Test all columns of ``evidence`` between the groups that ``codes`` (m,) numbers."""
    if n_groups == 2 and design.is_paired and design.units is not None:
        tested, pairs = compare_pairs(evidence.has, codes, design.strata, design.units)
        counts = StratifiedCounts.of(evidence.has, codes, design.strata, 2)
        alone, found = np.ones(len(evidence.keys)), GroupComparison.of_two(tested)
        return FamilyTest.of(evidence, counts, found, alone, method, pairs=pairs)
    totals = UnitTotals.of(evidence.has, codes, design, n_groups)
    counts, effects = totals.counted(totals.groups)
    found = stratified.compared(counts, effects, totals.tails if totals.has_units else None)
    units = tuple(np.bincount(totals.groups, minlength=n_groups).tolist()) if totals.has_units else None
    return FamilyTest.of(evidence, counts, found, effects, method, units=units)


def run_any(
    evidence: Evidence, codes: IntArray, n_groups: int, design: Design, method: Correction = "bh"
) -> FamilyTest:
    """Test all columns for any difference between three groups or more: each against all others together.

    The smallest of a column's p-values counts, times the number of groups (Bonferroni).
    """
    each = [run_tests(evidence, (codes != g).astype(np.int32), 2, design, method) for g in range(n_groups)]
    counts = StratifiedCounts.of(evidence.has, codes, np.zeros_like(codes), n_groups)
    return merged_tests(each, counts, method)


def merged_tests(each: Sequence[FamilyTest], counts: StratifiedCounts, method: Correction) -> FamilyTest:
    """Return the tests of each group against all others as one of any difference between the groups."""
    tests = [one.comparison.tested for one in each]
    best = np.stack([one.p for one in tests]).argmin(0)
    column = np.arange(len(best))
    tested = Tested.picked(tests, best, column)
    tested = replace(tested, p=np.minimum(1.0, len(each) * tested.p))
    found = GroupComparison(column, best, np.full(len(best), len(each)), tested)
    return FamilyTest.of(each[0].evidence, counts, found, each[0].design, method)


def run_counted(evidence: Evidence, counts: StratifiedCounts, method: Correction) -> FamilyTest:
    """Test the engine's counts of independent records."""
    alone = np.ones(len(evidence.keys))
    return FamilyTest.of(evidence, counts, stratified.compared(counts, alone), alone, method)


def compare_pairs(has: csr_matrix, groups: IntArray, strata: IntArray, units: IntArray) -> tuple[Tested, int]:
    """Test two groups within units; return the tests and the number of units with records in both groups.

    With one record per unit and group this is McNemar's exact test, mid-p. If a unit has several records in a
    group, their share counts; a partial difference counts in part, which is conservative.
    """
    difference = _differences(has, groups, strata, units)
    count = difference.shape[0]
    up, down = (np.asarray(difference.multiply(difference * s > 0).sum(0)).ravel() * s for s in (1, -1))
    n = up + down
    more = np.where(n > 0, binomial_tail(up, n), 0.5)
    effect = (up - down) / max(1, count)
    squares = np.asarray(difference.multiply(difference).sum(0)).ravel()
    variance = np.maximum((squares + 1) / max(1, count) - effect**2, 0.0) / max(1, count)
    half = stratified.Z95 * np.sqrt(variance)
    odds = np.log((up + 0.5) / (down + 0.5))
    wide = stratified.Z95 * np.sqrt(1 / (up + 0.5) + 1 / (down + 0.5))
    p = np.minimum(1.0, 2 * np.minimum(more, 1 - more))
    of_effect = stratified.agreeing(p, effect, effect - half, effect + half)
    return Tested(
        p, 1 - more, more, effect, *of_effect, odds, *stratified.agreeing(p, odds, odds - wide, odds + wide)
    ), count


def _differences(has: csr_matrix, groups: IntArray, strata: IntArray, units: IntArray) -> csr_matrix:
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
    return (csr_matrix((signs, (place, rows)), shape=shape) @ has).tocsr()
