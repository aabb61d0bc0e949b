"""Permutations of whole units, and how often a statistic of them is as far out as observed."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from saeindex.analysis.drift.trend_test import (
    OF_CHANGE,
    OF_TREND,
    centred,
    independent_variance,
    searched,
    split_scores,
)
from saeindex.analysis.stats.stratified import StratifiedCounts, indicator
from saeindex.analysis.stats.unit_totals import _differences

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from scipy.sparse import csr_matrix

    from saeindex.analysis.stats.design import Design
    from saeindex.analysis.stats.evidence import Evidence

    Doubles = NDArray[np.float64]
    Ints = NDArray[np.int64]

BLOCK = 250
# The number of highest samples whose chances are extrapolated.
EXTREME = 20


def hits(samples: Doubles, observed: Doubles) -> Doubles:
    """Return how many of (B, f) samples are as far out as observed (f,), on the nearer side, doubled.

    What is as far as observed counts half, as in a mid-p value.
    """
    close = 1e-9 * np.maximum(1.0, np.abs(observed))
    above = (samples > observed + close).sum(0)
    equal = (np.abs(samples - observed) <= close).sum(0)
    below = len(samples) - above - equal
    doubled: Doubles = np.minimum(2.0 * (np.minimum(above, below) + equal / 2), len(samples))
    return doubled


@dataclass(frozen=True, eq=False)
class UnitTable:
    """Counts of evidence by unit and stratum: ``cells`` (c, f) of ``sizes`` (c,) records.

    ``owner`` and ``stratum`` (c,) are the unit and the stratum of each cell, ``groups`` (u,) the units'.
    """

    cells: csr_matrix
    sizes: Doubles
    owner: Ints
    stratum: Ints
    groups: Ints

    @classmethod
    def of(cls, has: csr_matrix, codes: NDArray[np.int32], design: Design) -> UnitTable:
        """Count ``has`` (m, f), of records in the groups ``codes`` (m,)."""
        units = np.arange(len(codes)) if design.units is None else design.units.astype(np.int64)
        n_groups, n_strata = int(codes.max()) + 1, int(design.strata.max(initial=0)) + 1
        parts, part = np.unique(units * n_groups + codes, return_inverse=True)
        cells, cell = np.unique(part * n_strata + design.strata, return_inverse=True)
        counts = (indicator(cell, len(cells)) @ has).tocsr()
        sizes = np.bincount(cell).astype(np.float64)
        return cls(counts, sizes, cells // n_strata, cells % n_strata, parts % n_groups)

    def differences(self, rng: np.random.Generator, count: int) -> Doubles:
        """Return how often Mantel and Haenszel's z of two groups is as far out (f,)."""
        observed = self._z((self.groups == 0)[None].astype(np.float64))
        samples = []
        for start in range(0, count, BLOCK):
            size = min(BLOCK, count - start)
            first = np.stack([rng.permutation(self.groups) == 0 for _ in range(size)])
            samples.append(self._z(first.astype(np.float64)))
        return hits(np.concatenate(samples), observed[0])

    def _z(self, first: Doubles) -> Doubles:
        """Return z (B, f) where the units ``first`` (B, u) are in the first group."""
        own = first[:, self.owner]
        excess, variance = 0.0, 0.0
        for stratum in range(int(self.stratum.max()) + 1):
            inside = np.flatnonzero(self.stratum == stratum)
            cells, sizes = self.cells[inside], self.sizes[inside]
            k, n1 = np.asarray((cells.T @ own[:, inside].T).T), (own[:, inside] @ sizes)[:, None]
            n, total = sizes.sum(), np.asarray(cells.sum(0), np.float64)
            excess = excess + k - n1 * total / n
            variance = variance + n1 * (n - n1) * total * (n - total) / (n**2 * max(n - 1, 1.0))
        z: Doubles = np.asarray(excess) / np.sqrt(np.maximum(variance, 1e-12))
        return z

    def trends(self, scores: Doubles, rng: np.random.Generator, count: int) -> Doubles:
        """Return how often the better of a trend and a split is as far out (f,).

        Each contrast's own p-value is that among all permutations (Westfall and Young's minimum of p).
        """
        samples = [self._contrasts(self.groups, scores)]
        samples += [self._contrasts(rng.permutation(self.groups), scores) for _ in range(count)]
        z = np.stack(samples).astype(np.float32)  # (1 + B, P, f)
        p = 2 * np.minimum(tails(z), tails(-z))
        n = np.bincount(self.groups[self.owner], self.sizes, len(scores)).astype(np.float64)
        either = np.stack([np.minimum(p[:, 0, column] / OF_TREND, self._best(p[:, 1:, column], n))
                           for column in range(p.shape[2])], 1)  # fmt: skip
        close = 1e-9
        below, equal = (
            (either[1:] < either[0] - close).sum(0),
            (np.abs(either[1:] - either[0]) <= close).sum(0),
        )
        found: Doubles = below + 0.5 * equal
        return found

    @staticmethod
    def _best(p: Doubles, records: Doubles) -> Doubles:
        return searched(p.min(1), records) / OF_CHANGE

    def _contrasts(self, periods: Ints, scores: Doubles) -> Doubles:
        """Return z (P, f) of the line, and of every split, as if records were independent."""
        n_strata, n_periods = int(self.stratum.max()) + 1, len(scores)
        places, width = self.stratum * n_periods + periods[self.owner], n_strata * n_periods
        k = np.asarray((indicator(places, width) @ self.cells).todense(), np.float64)
        n = np.asarray(np.bincount(places, self.sizes, width), np.float64).reshape(n_strata, n_periods)
        counts = StratifiedCounts(k.reshape(n_strata, n_periods, -1), n)
        return np.stack([_contrast(counts, one) for one in (scores, *split_scores(n_periods))])


def tails(z: NDArray[np.float32]) -> Doubles:
    """Return the chance (B, …) of a sample as high as each of ``z`` (B, …): its rank, smooth at the end.

    The chance of the EXTREME highest, which ranks show too coarsely, falls exponentially.
    """
    count = len(z)
    order = np.argsort(-z, axis=0)
    ranks = np.empty(z.shape)
    np.put_along_axis(ranks, order, np.arange(count).reshape(-1, *[1] * (z.ndim - 1)) + 0.5, axis=0)
    highest = np.take_along_axis(z, order[:EXTREME], axis=0)
    limit, mean_excess = highest[-1:], np.maximum(highest.mean(0) - highest[-1], 1e-6)
    beyond = EXTREME * np.exp(-np.maximum(z - limit, 0.0) / mean_excess)
    found: Doubles = np.where(z > limit, beyond, ranks) / count
    return found


def _contrast(counts: StratifiedCounts, scores: Doubles) -> Doubles:
    a = centred(counts.n, scores)
    total = np.einsum("sp,spf->f", a, counts.k)
    z: Doubles = total / np.sqrt(np.maximum(independent_variance(counts, a), 1e-12))
    return z


def paired(
    has: csr_matrix, codes: NDArray[np.int32], design: Design, rng: np.random.Generator, count: int
) -> Doubles:
    """Return how often the sum of units' differences is as far out, if groups are swapped within units."""
    if design.units is None:
        raise ValueError("a paired design has units")
    difference = _differences(has, codes, design.strata, design.units)
    signs = np.where(rng.random((count, difference.shape[0])) < 0.5, 1.0, -1.0)
    # As the test does, only the direction of each unit's difference counts where it is whole.
    observed = np.asarray(difference.sum(0), np.float64).ravel()
    return hits(np.asarray((difference.T @ signs.T).T), observed)


def printed(
    evidence: Evidence,
    codes: NDArray[np.int32],
    design: Design,
    test: Callable[[Evidence, NDArray[np.int32]], Doubles],
    rng: np.random.Generator,
    count: int,
) -> Doubles:
    """Return how often the p-values of ``test`` (f,) are as small, if whole units change their groups.

    In a paired design the groups are swapped within units.
    """
    units = np.arange(len(codes)) if design.units is None else design.units.astype(np.int64)
    n_groups = int(codes.max()) + 1
    parts, part = np.unique(units * n_groups + codes, return_inverse=True)
    observed, found = test(evidence, codes), np.zeros(len(evidence.keys))
    for _ in range(count):
        if design.is_paired:
            drawn = np.where((rng.random(int(units.max()) + 1) < 0.5)[units], 1 - codes, codes)
        else:
            drawn = rng.permutation(parts % n_groups)[part]
        p = test(evidence, drawn.astype(np.int32))
        close = np.abs(p - observed) <= 1e-9 * observed
        found += np.where(close, 0.5, p < observed)
    return found


def products(a: Doubles | csr_matrix, b: Doubles, rng: np.random.Generator, count: int) -> Doubles:
    """Return how often Σ a b is as far out, of columns ``a`` (u, f), if ``b`` (u,) is permuted."""
    observed = np.asarray(a.T @ b, np.float64).ravel()
    samples = []
    for start in range(0, count, BLOCK):
        drawn = np.stack([rng.permutation(b) for _ in range(min(BLOCK, count - start))])
        samples.append(np.asarray((a.T @ drawn.T).T))
    return hits(np.concatenate(samples), observed)


def tables(
    both: Doubles, of_a: Doubles, of_b: Doubles, m: int, rng: np.random.Generator, count: int
) -> Doubles:
    """Return how often so many records have two concepts, if those of one are permuted among ``m``."""
    drawn = rng.hypergeometric(of_a.astype(int), m - of_a.astype(int), of_b.astype(int), (count, len(both)))
    return hits(drawn.astype(np.float64), both)
