"""Where a share changes at once: the split of the periods that tells most, at the price of looking for it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

import numpy as np

from saeindex.analysis.drift.contrasts import contrast

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from saeindex.analysis.stats.stratified import Counts

    Doubles: TypeAlias = NDArray[np.float64]

# Standard normal bounds that the chance of the largest of all splits is tabulated at.
GRID = np.linspace(0.0, 9.0, 46)
NODES = 40


@dataclass(frozen=True, eq=False)
class Splits:
    """The best split (f,): the first period after it, its score ``z``, and ``p`` corrected for the search.

    ``design`` are the design effects that it was held against.
    """

    at: NDArray[np.int64]
    z: Doubles
    p: Doubles
    design: Doubles


def best_splits(counts: Counts, design: Doubles) -> Splits:
    """Test every split of the periods into before and after, and keep the best of each evidence.

    The design effects are (f,), or (P - 1, f) where each split has its own.

    The score test stands for the likelihood ratio of two binomials, which it equals in the limit; the strata
    are those of the trend.
    """
    n_periods = counts.n.shape[1]
    own = np.broadcast_to(design, (n_periods - 1, counts.k.shape[2]))
    each = [contrast(counts, scores, own[i]) for i, scores in enumerate(split_scores(n_periods))]
    z, p = np.stack([one.z for one in each]), np.stack([one.p for one in each])
    best = np.argmin(p, axis=0)
    column = np.arange(z.shape[1])
    return Splits(best + 1, z[best, column], searched(p[best, column], counts.n.sum(0)), own[best, column])


def split_scores(n_periods: int) -> Doubles:
    """Return the scores (P - 1, P) that are 1 from the second period on, from the third, and so on."""
    scores: Doubles = (np.arange(n_periods) >= np.arange(1, n_periods)[:, None]).astype(np.float64)
    return scores


def searched(p: Doubles, records: Doubles) -> Doubles:
    """Return the chance (f,) that the best of all splits of periods with ``records`` (P,) has such a p-value.

    Hunter's (1976) bound: the sum of the single chances, less those of neighbours together, which splits of
    neighbouring periods share to a known degree (Worsley 1983).
    """
    from scipy.special import ndtri

    z = -ndtri(np.clip(p, 1e-300, 1.0) / 2)
    single, both = _tails(records)
    n_splits = len(records) - 1
    bound = np.minimum(1.0, n_splits * single - both)
    ratio = np.interp(np.minimum(z, GRID[-1]), GRID, bound / single)
    found: Doubles = np.minimum(1.0, np.maximum(1.0, ratio) * p)
    return found


def _tails(records: Doubles) -> tuple[Doubles, Doubles]:
    """Return two-sided tails at the grid, and the sum over neighbouring splits of both being beyond."""
    from scipy.special import ndtr

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
