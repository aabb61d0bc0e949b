"""Tests of one family of evidence over periods: for a trend and for a change point.

A contrast of periods is whether the share of records rises with a score of their period. With scores 0, 1, 2,
… this is the test of Cochran (1954) and Armitage (1955), over strata that of Mantel (1963); with scores 0 and
1 that of Mantel and Haenszel. The statistic is Σ a_sp k_sp, for k_sp records of stratum s and period p that
have the evidence, a_sp the period's score less the mean score of the stratum.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, TypeAlias

import numpy as np
from scipy.special import ndtr, ndtri, stdtr

from saeindex.analysis.stats import stratified
from saeindex.analysis.stats.design import PAIRED, Design
from saeindex.analysis.stats.score_sums import drawn_tail, smallest_step
from saeindex.analysis.stats.stratified import StratifiedCounts
from saeindex.analysis.stats.two_by_two import adjusted
from saeindex.analysis.stats.unit_totals import BLOCK, UnitTotals

if TYPE_CHECKING:
    from scipy.sparse import csr_matrix

    from saeindex.analysis.stats.evidence import Evidence
    from saeindex.analysis.stats.options import Correction
    from saeindex.types import Doubles, IntArray, Ints

    # One-sided p-values: of less, and of more.
    Tails: TypeAlias = tuple[Doubles, Doubles]

# The shares of a family's error rate for trends and change points (a weighted Bonferroni correction).
OF_TREND, OF_CHANGE = 0.7, 0.3
# The number of units in several periods each below which a variance between them has Student's distribution.
MANY_UNITS = 400
# The minimum of a design effect below 1, which is a gain from comparing records within a unit.
MIN_CROSSED = 0.25
# Standard normal bounds that the chance of the largest of all splits is tabulated at.
GRID = np.linspace(0.0, 9.0, 46)
NODES = 40
# Standard deviations below which no split can be a finding, and its tail need not be exact.
FAR_SPLIT = 1.9


@dataclass(frozen=True, eq=False)
class TrendTest:
    """The tests of a family (f,): the linear ``trend``, the best of the ``splits``, and both as one.

    ``p`` is for either test, corrected for two tests, and ``q`` is its false discovery rate in the family.
    """

    evidence: Evidence
    counts: StratifiedCounts
    trend: PeriodContrast
    splits: Splits
    design: Doubles
    p: Doubles
    q: Doubles

    def __len__(self) -> int:
        return len(self.q)

    @property
    def slope(self) -> Doubles:
        """The change of the share with a score of 1, within strata (f,)."""
        return self.trend.total / max(self.trend.width, 1e-12)

    def found(self, alpha: float) -> Ints:
        """Return the columns that are findings, the largest fitted change first."""
        chosen = np.flatnonzero(self.q <= alpha)
        return chosen[np.argsort(-np.abs(self.slope[chosen]), kind="stable")]


@dataclass(frozen=True, eq=False)
class PeriodTotals:
    """Counts by unit, stratum and period, with the unit of each part, ``owners``."""

    totals: UnitTotals
    owners: Ints
    scores: Doubles

    @classmethod
    def of(cls, has: csr_matrix, codes: IntArray, design: Design, scores: Doubles) -> PeriodTotals:
        """Count ``has`` (m, f), whose records are in the periods ``codes`` (m,) with ``scores`` (P,)."""
        totals = UnitTotals.of(has, codes, design, len(scores))
        units = np.zeros(len(codes), np.int64) if design.units is None else design.units.astype(np.int64)
        _, owners = np.unique(np.unique(units * len(scores) + codes) // len(scores), return_inverse=True)
        return cls(totals, owners, scores)

    @cached_property
    def n_units(self) -> int:
        """The number of units."""
        return int(self.owners.max(initial=0)) + 1

    @cached_property
    def is_crossed(self) -> bool:
        """Whether nearly all records have other records of their unit in other periods."""
        several = np.bincount(self.owners) > 1
        shared = float(self.totals.sizes[several[self.owners]].sum())
        return shared >= PAIRED * float(self.totals.sizes.sum())

    def of_splits(self, counts: StratifiedCounts, design: Doubles) -> Doubles:
        """Return the design effects of splits, if that of the line is ``design`` (f,).

        A document in the middle period weighs nothing in a line and much in a split: so they are those of
        shares, or of each split by itself (P - 1, f) where units have records in several periods.
        """
        t = self.totals
        if not t.has_units:
            return design
        if t.is_nested:  # those of shares if nothing drifts
            between = stratified.effects_between(t.y, t.sizes, np.zeros(len(t.sizes), np.int64), 1)
            return np.maximum(design, between)
        return np.stack([self._effects(counts, scores) for scores in split_scores(len(self.scores))])

    def counted(self) -> tuple[StratifiedCounts, Doubles]:
        """Return the counts and the design effects of the line."""
        counts = self.totals.counts(self.totals.groups)
        if not self.totals.has_units:
            return counts, np.ones(counts.k.shape[2])
        return counts, self._effects(counts, self.scores)

    def _effects(self, counts: StratifiedCounts, scores: Doubles) -> Doubles:
        """Return the ratio of a contrast's variance between units to that between records (f,).

        The variance of a sum over units is that of the units' own sums Σ a (y - p) (Liang and Zeger 1986),
        whichever periods a unit has records in.
        """
        t = self.totals
        a = centred(counts.n, scores)
        own = a[t.cell_strata, t.groups[t.cell_units]]
        of_unit = stratified.indicator(self.owners[t.cell_units], self.n_units)
        n_strata = len(counts.n)
        sums = (of_unit @ t.cells.multiply(own[:, None]).tocsr()).tocsr()
        exposure = (
            of_unit.multiply(own * t.cell_sizes) @ stratified.indicator(t.cell_strata, n_strata).T
        ).toarray()
        share = counts.k.sum(1) / np.maximum(counts.n.sum(1), 1.0)[:, None]
        squares = np.asarray(sums.multiply(sums).sum(0), np.float64).ravel()
        cross = (share * (sums.T @ exposure).T).sum(0)
        spread = squares - 2 * cross + (share * ((exposure.T @ exposure) @ share)).sum(0)
        spread *= self.n_units / max(1, self.n_units - 1)
        alone = independent_variance(counts, a)
        min_variance = MIN_CROSSED if self.is_crossed else 1.0
        return np.asarray(np.maximum(min_variance, spread / np.maximum(alone, 1e-12)))


def run_trends(
    evidence: Evidence, codes: IntArray, scores: Doubles, design: Design, method: Correction = "bh"
) -> TrendTest:
    """Test all columns of ``evidence`` over the periods that ``codes`` (m,) numbers, at ``scores`` (P,)."""
    totals = PeriodTotals.of(evidence.has, codes, design, scores)
    counts, effects = totals.counted()
    units = totals.totals if totals.totals.has_units and totals.totals.is_nested else None
    trend, of_split = contrast_test(counts, scores, effects), totals.of_splits(counts, effects)
    sides = split_tails(counts, of_split if units is None else np.ones_like(of_split))
    if units is not None:
        alone = contrast_test(counts, scores, np.ones_like(effects))
        trend, sides = _assigned(trend, alone, sides, units, scores)
    elif totals.totals.has_units and totals.is_crossed:
        trend, sides = _permuted_within(trend, sides, evidence.has, codes, design, scores)
    splits = best_split(sides, of_split, counts.n.sum(0))
    p = np.minimum(1.0, np.minimum(trend.p / OF_TREND, splits.p / OF_CHANGE))
    if units is None and totals.totals.has_units and totals.n_units < MANY_UNITS:
        p = _of_few(p, totals.n_units)
    return TrendTest(evidence, counts, trend, splits, effects, p, adjusted(p, method))


def _assigned(
    trend: PeriodContrast, alone: PeriodContrast, sides: Sequence[Tails], units: UnitTotals, scores: Doubles
) -> tuple[PeriodContrast, list[Tails]]:
    """Return the tests of a line and of the splits by whole units.

    ``alone`` and ``sides`` are those by records; the larger p-value counts.
    """
    places = units.groups
    splits = [(places > at).astype(np.float64) for at in range(len(sides))]
    by_records = [(alone.less, alone.more), *sides]
    columns = [np.flatnonzero(np.minimum(less, more) < stratified.WORTH / 2) for less, more in by_records]
    contrasts = list(zip([scores[places], *splits], columns, strict=True))
    each = zip(by_records, columns, units.scored_tails(contrasts), strict=True)
    (less, more), *others = [stratified.larger(*tails, own, by_units) for tails, own, by_units in each]
    return _with_tails(trend, less, more), others


def _permuted_within(
    trend: PeriodContrast,
    sides: Sequence[Tails],
    has: csr_matrix,
    codes: IntArray,
    design: Design,
    scores: Doubles,
) -> tuple[PeriodContrast, list[Tails]]:
    """Return the tests of a line and of the splits for units that nearly all are in several periods.

    A variance that is estimated from what was observed is too small where a small period has the evidence
    rarely by chance. So the larger p-value counts: by that variance, and if the records of each unit (and
    stratum) are assigned to its periods at random, which makes units strata.
    """
    assert design.units is not None  # noqa: S101
    units = design.strata.astype(np.int64) * (design.units.max() + 1) + design.units
    _, cells = np.unique(units, return_inverse=True)
    rows = np.flatnonzero(np.bincount(cells)[cells] > 1)
    _, own = np.unique(cells[rows], return_inverse=True)
    tails = [(trend.less, trend.more), *sides]
    worth = [stratified.WORTH * OF_TREND, *[stratified.WORTH * OF_CHANGE] * len(sides)]
    is_worth = [np.minimum(*pair) < bound / 2 for pair, bound in zip(tails, worth, strict=True)]
    columns = np.flatnonzero(np.any(is_worth, axis=0))
    width, repeated = (int(own.max(initial=0)) + 1) * len(scores), has[rows]
    for block in np.array_split(columns, 1 + len(columns) * width // BLOCK):
        if not (block.size and rows.size):
            continue
        counts = StratifiedCounts.of(repeated[:, block], codes[rows], own.astype(np.int32), len(scores))
        alone = np.ones(len(block))
        line = contrast_test(counts, scores, alone)
        within = [(line.less, line.more), *split_tails(counts, alone)]
        tails = [stratified.larger(*pair, block, one) for pair, one in zip(tails, within, strict=True)]
    (less, more), *others = tails
    return _with_tails(trend, less, more), others


def _with_tails(trend: PeriodContrast, less: Doubles, more: Doubles) -> PeriodContrast:
    z = np.sign(trend.z) * -ndtri(np.clip(np.minimum(less, more), 1e-300, 0.5))
    return replace(trend, less=less, more=more, z=z)


def _of_few(p: Doubles, n_units: int) -> Doubles:
    """Return p-values of Student's distribution, for a variance that is estimated from few units."""
    return np.asarray(2.0 * stdtr(max(1, n_units - 1), ndtri(np.clip(p, 1e-300, 1.0) / 2)))


@dataclass(frozen=True, eq=False)
class Splits:
    """The best split (f,): the first period after it, its score ``z``, and ``p`` corrected for the search.

    ``design`` are the design effects of the test.
    """

    at: Ints
    z: Doubles
    p: Doubles
    design: Doubles


def best_split(sides: Sequence[Tails], design: Doubles, records: Doubles) -> Splits:
    """Return the best split of each column, of splits with these tails.

    ``design`` are the design effects of the tests, (f,), or (P - 1, f) if each split has its own; ``records``
    (P,) are those of the periods.
    """
    less, more = (np.stack(part) for part in zip(*sides, strict=True))
    p = np.minimum(1.0, 2.0 * np.minimum(less, more))
    z = np.where(more < less, -1.0, 1.0) * ndtri(np.clip(p, 1e-300, 1.0) / 2)
    best, column = np.argmin(p, axis=0), np.arange(p.shape[1])
    own = np.broadcast_to(design, p.shape)
    return Splits(best + 1, z[best, column], searched(p[best, column], records), own[best, column])


def split_tails(counts: StratifiedCounts, design: Doubles) -> list[Tails]:
    """Return for every split the one-sided p-values (f,): of a fall from the periods before to those after,
    and of a rise.

    Each is the test of two groups within the strata, so that one small period is tested exactly.
    """
    n_splits = counts.n.shape[1] - 1
    own = np.broadcast_to(design, (n_splits, counts.k.shape[2]))
    found = []
    for at in range(1, n_splits + 1):
        sides = (slice(at, None), slice(None, at))
        k, n = (np.stack([values[:, side].sum(1) for side in sides], 1) for values in (counts.k, counts.n))
        found.append(stratified.group_tails(StratifiedCounts(k, n).pair(0, 1), own[at - 1], FAR_SPLIT))
    return found


def split_scores(n_periods: int) -> Doubles:
    """Return the scores (P - 1, P) that are 1 from the second period on, from the third, and so on."""
    return (np.arange(n_periods) >= np.arange(1, n_periods)[:, None]).astype(np.float64)


def searched(p: Doubles, records: Doubles) -> Doubles:
    """Return the chance (f,) that the best of all splits of periods with ``records`` (P,) has such a p-value.

    Hunter's (1976) bound: the sum of the single chances, less those of neighbours together, which splits of
    neighbouring periods share to a known degree (Worsley 1983).
    """
    z = -ndtri(np.clip(p, 1e-300, 1.0) / 2)
    single, both = _tails(records)
    n_splits = len(records) - 1
    bound = np.minimum(1.0, n_splits * single - both)
    ratio = np.interp(np.minimum(z, GRID[-1]), GRID, bound / single)
    return np.asarray(np.minimum(1.0, np.maximum(1.0, ratio) * p))


def _tails(records: Doubles) -> tuple[Doubles, Doubles]:
    """Return two-sided tails at the grid, and the sum over neighbouring splits of both being beyond."""
    before = np.cumsum(records)[:-1]
    after = records.sum() - before
    single = 2 * ndtr(-GRID)
    nodes, weights = np.polynomial.laguerre.laggauss(NODES)
    both = np.zeros_like(GRID)
    for j in range(len(before) - 1):
        rho = np.sqrt(before[j] * after[j + 1] / (before[j + 1] * after[j]))
        # ∫_c^∞ φ(x) Φ((ρx - c) / √(1 - ρ²)) dx, with x = c + y and y scaled to where φ falls.
        scale = 1 / np.maximum(GRID, 1.0)
        x = GRID[:, None] + nodes * scale[:, None]
        density = np.exp(-(x**2) / 2 + nodes) / np.sqrt(2 * np.pi) * scale[:, None]
        inside = ndtr((rho * x - GRID[:, None]) / np.sqrt(max(1 - rho**2, 1e-9)))
        both += 2 * (density * inside * weights).sum(1)
    return np.maximum(single, 1e-300), np.minimum(both, (len(before) - 1) * single)


# Tails beyond FAR_OUT standard errors are a saddlepoint's for fewer than FEW records, over the design effect,
# and where skewness and kurtosis change a normal tail by more than the part MATTERS.
FEW, FAR_OUT, MATTERS = 100.0, 1.5, 0.02
# The largest share for which draws without replacement are replaced by more draws with replacement.
MAX_SHARE = 0.45


@dataclass(frozen=True, eq=False)
class PeriodContrast:
    """A contrast of (f,) pieces of evidence: its ``total``, and ``width``, Σ n a².

    ``z`` is the total over its standard error, ``less`` and ``more`` the one-sided p-values.
    """

    total: Doubles
    width: float
    z: Doubles
    less: Doubles
    more: Doubles

    @property
    def p(self) -> Doubles:
        """Two-sided p-values (f,)."""
        return np.minimum(1.0, 2.0 * np.minimum(self.less, self.more))


def centred(n: Doubles, scores: Doubles) -> Doubles:
    """Return the scores (P,) less the mean of each stratum of ``n`` (S, P) records: (S, P)."""
    means = (n * scores).sum(1) / np.maximum(n.sum(1), 1.0)
    return np.asarray(scores[None] - means[:, None])


def independent_variance(counts: StratifiedCounts, a: Doubles) -> Doubles:
    """Return the variance of the total (f,) if each record is its own unit (hypergeometric)."""
    k, n = counts.k.sum(1), counts.n.sum(1)[:, None]
    width = (counts.n * a**2).sum(1)[:, None]
    return np.asarray((k * (n - k) / np.maximum(n * (n - 1), 1.0) * width).sum(0))


def contrast_test(counts: StratifiedCounts, scores: Doubles, design: Doubles) -> PeriodContrast:
    """Test one contrast; counts are divided by the design effects (f,)."""
    a = centred(counts.n, scores)
    total = np.einsum("sp,spf->f", a, counts.k)
    variance = independent_variance(counts, a) * design
    z = np.where(variance > 1e-12, total / np.sqrt(np.maximum(variance, 1e-12)), 0.0)
    less, more = ndtr(z), ndtr(-z)
    draws = _draws(counts, design)
    is_needed = (draws.sum(0) < FEW) | (_departure(counts.n, a, draws, np.abs(z)) > MATTERS)
    rows = np.flatnonzero(is_needed & (np.abs(z) > FAR_OUT))
    if len(rows):
        # Where more than half of a stratum have the evidence, those without are drawn.
        is_rare, up = counts.k[:, :, rows].sum(1) <= counts.n.sum(1)[:, None] / 2, z[rows] > 0
        weights = counts.n / np.maximum(counts.n.sum(1, keepdims=True), 1.0)
        signs = np.where(up == is_rare, 1.0, -1.0)
        tail = drawn_tail(np.abs(z[rows]), draws[:, rows], a, weights, signs, smallest_step(scores))
        more[rows] = np.where(up, tail, 1 - tail)
        less[rows] = np.where(up, 1 - tail, tail)
    return PeriodContrast(total, float((counts.n * a**2).sum()), z, less, more)


def _draws(counts: StratifiedCounts, design: Doubles) -> Doubles:
    """Return how many draws with replacement (S, f) are like those of the records with the evidence.

    Of a share f of the records, drawn without replacement, a sum has skewness (1 - 2f) / √(k (1 - f)) times
    that of one draw; of k' draws with replacement, 1 / √k'. Those without the evidence count if fewer.
    """
    k, n = counts.k.sum(1), counts.n.sum(1)[:, None]
    fewer = np.minimum(k, n - k)
    share = np.minimum(fewer / np.maximum(n, 1.0), MAX_SHARE)
    return np.asarray(fewer * (1 - share) / (1 - 2 * share) ** 2 / design)


def _departure(n: Doubles, a: Doubles, draws: Doubles, z: Doubles) -> Doubles:
    """Return by what part (f,) skewness and kurtosis change a normal's tail at ``z`` (Edgeworth's terms)."""
    weights = n / np.maximum(n.sum(1, keepdims=True), 1.0)
    second, third, fourth = ((weights * a**power).sum(1) for power in (2, 3, 4))
    variance = np.maximum(second @ draws, 1e-12)
    skewness, excess = third @ draws / variance**1.5, (fourth - 3 * second**2) @ draws / variance**2
    return np.asarray(np.abs(skewness) * z**3 / 6 + np.abs(excess) * z**4 / 24)
