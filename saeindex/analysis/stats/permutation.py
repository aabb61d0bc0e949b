"""Permutation of units: the distribution of p-values if units were assigned to groups at random.

A design effect that is estimated from few units is itself uncertain, and then the tails of a test are too
thin. If every unit is in one group, the groups of the units can be permuted. The pooled p-values of all tests
of a family over some permutations show how often a p-value as small as the observed one occurs by chance.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

import numpy as np

from saeindex.analysis.stats.stratified import StratifiedCounts, compared, effects_between, indicator

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from scipy.sparse import csr_matrix

    from saeindex.analysis.stats.design import Design

    Doubles: TypeAlias = NDArray[np.float64]
    Ints: TypeAlias = NDArray[np.int64]

PERMUTATIONS = 60
# The number of units in each group from which a design effect is known well enough.
MANY_UNITS = 200


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
    def of(cls, has: csr_matrix, codes: NDArray[np.int32], design: Design, n_groups: int) -> UnitTotals:
        """Count ``has`` (m, f), whose records are in the groups ``codes`` (m,)."""
        units = np.zeros(len(codes), np.int64) if design.units is None else design.units.astype(np.int64)
        parts, part = np.unique(units * n_groups + codes, return_inverse=True)
        n_strata = int(design.strata.max(initial=0)) + 1
        cells, cell = np.unique(part * n_strata + design.strata, return_inverse=True)
        totals = (indicator(cell, len(cells)) @ has).tocsr()
        cell_units = cells // n_strata
        return cls(
            parts % n_groups,
            n_groups,
            len(np.unique(parts // n_groups)) == len(parts),
            (indicator(cell_units, len(parts)) @ totals).tocsr(),
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
        return counts, effects_between(self.y, self.sizes, groups, self.n_groups)

    def counts(self, groups: Ints) -> StratifiedCounts:
        """Return the counts with the units in these groups (u,)."""
        n_strata = int(self.cell_strata.max(initial=0)) + 1
        places = self.cell_strata * self.n_groups + groups[self.cell_units]
        width = n_strata * self.n_groups
        k = np.asarray((indicator(places, width) @ self.cells).todense(), np.float64)
        n = np.asarray(np.bincount(places, self.cell_sizes, width), np.float64)
        return StratifiedCounts(k.reshape(n_strata, self.n_groups, -1), n.reshape(n_strata, self.n_groups))


def against_chance(p: Doubles, totals: UnitTotals, seed: int) -> Doubles:
    """Return p-values (t,), compared with those of permuted units if some group has few units."""
    fewest = int(np.bincount(totals.groups, minlength=totals.n_groups).min())
    if not totals.is_nested or fewest >= MANY_UNITS:
        return p
    return permuted_p(p, totals.groups, lambda permuted: compared(*totals.counted(permuted)).tested.p, seed)


def permuted_p(p: Doubles, groups: Ints, tested: Callable[[Ints], Doubles], seed: int) -> Doubles:
    """Return the share of p-values of permuted units that are as small as each of ``p`` (t,), at least ``p``.

    ``tested`` returns the p-values for a permutation of ``groups`` (u,).
    """
    if not len(p):
        return p
    rng = np.random.default_rng(seed)
    permuted = np.sort(np.concatenate([tested(rng.permutation(groups)) for _ in range(PERMUTATIONS)]))
    as_small = np.searchsorted(permuted, p * (1 + 1e-9), side="right")
    return np.maximum(p, (as_small + 1) / (len(permuted) + 1))
