"""Counts of evidence by unit, and the tests of Mantel and Haenszel that assign whole units to groups."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

import numpy as np

from saeindex.analysis.stats.stratified import StratifiedCounts, effects_between, indicator
from saeindex.analysis.stats.unit_sums import UnitValues

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
        of_unit = indicator(place[self.cell_units[cells]], len(kept))
        of_stratum = indicator(self.cell_strata[cells], n_strata)
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
