"""Paired comparisons: the same units in both groups, such as two answers to one prompt."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from saeindex.analysis.stats.stratified import Z95, Tested
from saeindex.analysis.stats.two_by_two import binomial_tail

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from scipy.sparse import csr_matrix


def compare_pairs(
    has: csr_matrix, groups: NDArray[np.int32], strata: NDArray[np.int32], units: NDArray[np.int32]
) -> tuple[Tested, int]:
    """Test two groups within units, and say how many units (of one stratum) have records in both.

    With one record each this is McNemar's exact test, mid-p. Of several records of a unit in a group their
    share counts; what differs in part then counts in part, which is on the safe side.
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
    intervals = effect, effect - half, effect + half, odds, odds - wide, odds + wide
    return Tested(p, 1 - more, more, *intervals), count


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
