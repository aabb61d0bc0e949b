"""Counts of evidence by unit, and the tests of Mantel and Haenszel that assign whole units to groups."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

import numpy as np

from saeindex.analysis.stats.stratified import StratifiedCounts, effects_between, indicator
from saeindex.analysis.stats.unit_sums import assigned_tails

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from scipy.sparse import csr_matrix

    from saeindex.analysis.stats.design import Design

    Doubles: TypeAlias = NDArray[np.float64]
    Ints: TypeAlias = NDArray[np.int64]

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

    def tails(self, a: int, b: int, columns: Ints) -> tuple[Doubles, Doubles]:
        """Return the one-sided p-values of columns (c,): of group ``a`` having less than ``b``, and more.

        The units of both groups are assigned to them at random.
        """
        return self.scored_tails((self.groups == a).astype(np.float64), columns, np.isin(self.groups, (a, b)))

    def scored_tails(
        self, scores: Doubles, columns: Ints, chosen: NDArray[np.bool_] | None = None
    ) -> tuple[Doubles, Doubles]:
        """Return the tails (c,) of the sum of what ``chosen`` units add, if ``scores`` (u,) are theirs.

        Sums are compared in standard errors, which depend on how many records the units of a group have.
        """
        kept = np.arange(len(self.sizes)) if chosen is None else np.flatnonzero(chosen)
        b = scores[kept] - scores[kept].mean()
        place = np.full(len(self.sizes), -1)
        place[kept] = np.arange(len(kept))
        cells = np.flatnonzero(place[self.cell_units] >= 0)
        n_strata = int(self.cell_strata.max(initial=0)) + 1
        of_unit = indicator(place[self.cell_units[cells]], len(kept))
        of_stratum = indicator(self.cell_strata[cells], n_strata)
        records = (of_unit.multiply(self.cell_sizes[cells]) @ of_stratum.T).toarray()  # (u, S)
        n = np.maximum(records.sum(0), 1.0)
        observed, usual = _widths(records, b)
        # Of two groups, fewer records than usual do not count as evidence: they can be in a few large units.
        most = 1.0 if len(np.unique(b)) == 2 else np.inf
        own = self.cells[cells]
        less, more = [np.zeros(0)], [np.zeros(0)]
        for block in np.array_split(columns, 1 + len(columns) * len(kept) // BLOCK):
            counts = own[:, block]
            share = np.asarray((of_stratum @ counts).todense(), np.float64) / n[:, None]
            excess = np.asarray((of_unit @ counts).todense(), np.float64) - records @ share
            by_stratum = share * (1 - share) * (n / np.maximum(n - 1, 1.0))[:, None]
            here, expected = (np.maximum(width @ by_stratum, 1e-12) for width in (observed, usual))
            stretch = np.minimum(np.sqrt(expected / here), most)
            tails = assigned_tails(excess, b, stretch)
            less.append(tails[0])
            more.append(tails[1])
        return np.concatenate(less), np.concatenate(more)


def _widths(records: Doubles, scores: Doubles) -> tuple[Doubles, Doubles]:
    """Return Σ_u m b² - (Σ_u m b)² / n (S,) for ``records`` m (u, S) of units, and its mean over assignments.

    ``scores`` b (u,) have mean 0.
    """
    u, n = len(scores), np.maximum(records.sum(0), 1.0)
    observed = scores**2 @ records - (scores @ records) ** 2 / n
    around_mean = ((records - records.mean(0)) ** 2).sum(0)
    squares = float(scores @ scores)
    usual = squares / u * records.sum(0) - squares / max(1, u - 1) * around_mean / n
    return observed, usual
