"""What units by themselves would do to p-values: the same tests with the units dealt out anew.

A design effect that is estimated from few units is itself uncertain, and then the tails of a test are too
thin. Where every unit lies in one group, which group it is in can be exchanged: the p-values of all tests of
a family over some dealings, pooled, say how often a p-value as small as one observed comes about by chance.
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

DEALINGS = 60
# With so many units in each group a design effect is known well enough.
MANY_UNITS = 200


@dataclass(frozen=True, eq=False)
class UnitTotals:
    """Counts by unit: ``y`` (u, f) of ``sizes`` (u,) records, and by unit and stratum (cells).

    ``groups`` (u,) says which group each unit is in; one with records in several groups is several units,
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
    """Return p-values (t,) held against those of dealt units, where some group has few units."""
    fewest = int(np.bincount(totals.groups, minlength=totals.n_groups).min())
    if not totals.is_nested or fewest >= MANY_UNITS:
        return p
    return as_dealt(p, totals.groups, lambda dealt: compared(*totals.counted(dealt)).tested.p, seed)


def as_dealt(p: Doubles, groups: Ints, tested: Callable[[Ints], Doubles], seed: int) -> Doubles:
    """Return p-values (t,) as the share of dealt units' p-values that are as small, but no smaller than p.

    ``tested`` gives the p-values with the units in other groups than ``groups`` (u,).
    """
    if not len(p):
        return p
    rng = np.random.default_rng(seed)
    dealt = np.sort(np.concatenate([tested(rng.permutation(groups)) for _ in range(DEALINGS)]))
    as_small = np.searchsorted(dealt, p * (1 + 1e-9), side="right")
    return np.maximum(p, (as_small + 1) / (len(dealt) + 1))
