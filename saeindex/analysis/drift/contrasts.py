"""Tests of contrasts between periods: does the share of records rise with a score of their period?

With scores 0, 1, 2, … this is the test of Cochran (1954) and Armitage (1955), over strata that of Mantel
(1963); with scores 0 and 1 that of Mantel and Haenszel. The statistic is Σ a_sp k_sp, for k_sp records of
stratum s and period p that have the evidence, a_sp the period's score less the mean score of the stratum.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

import numpy as np

from saeindex.analysis.stats.score_sums import drawn_tail, smallest_step

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from saeindex.analysis.stats.stratified import StratifiedCounts

    Doubles: TypeAlias = NDArray[np.float64]

# Tails beyond WORTH standard errors are a saddlepoint's for fewer than FEW records, over the design effect,
# and where skewness and kurtosis change a normal tail by more than the part MATTERS.
FEW, WORTH, MATTERS = 100.0, 1.5, 0.02
# The largest share for which draws without replacement are replaced by more draws with replacement.
MAX_SHARE = 0.45


@dataclass(frozen=True, eq=False)
class PeriodContrast:
    """A contrast of (f,) pieces of evidence: ``total``, its null ``variance``, and ``width``, Σ n a².

    ``z`` is the total over its standard error, ``less`` and ``more`` the one-sided p-values.
    """

    total: Doubles
    variance: Doubles
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
    centred: Doubles = scores[None] - means[:, None]
    return centred


def independent_variance(counts: StratifiedCounts, a: Doubles) -> Doubles:
    """Return the variance of the total (f,) if each record is its own unit (hypergeometric)."""
    k, n = counts.k.sum(1), counts.n.sum(1)[:, None]
    width = (counts.n * a**2).sum(1)[:, None]
    variance: Doubles = (k * (n - k) / np.maximum(n * (n - 1), 1.0) * width).sum(0)
    return variance


def contrast_test(counts: StratifiedCounts, scores: Doubles, design: Doubles) -> PeriodContrast:
    """Test one contrast; counts are divided by the design effects (f,)."""
    from scipy.special import ndtr

    a = centred(counts.n, scores)
    total = np.einsum("sp,spf->f", a, counts.k)
    variance = independent_variance(counts, a) * design
    z = np.where(variance > 1e-12, total / np.sqrt(np.maximum(variance, 1e-12)), 0.0)
    less, more = ndtr(z), ndtr(-z)
    draws = _draws(counts, design)
    is_needed = (draws.sum(0) < FEW) | (_departure(counts.n, a, draws, np.abs(z)) > MATTERS)
    rows = np.flatnonzero(is_needed & (np.abs(z) > WORTH))
    if len(rows):
        # Where more than half of a stratum have the evidence, those without are drawn.
        is_rare, up = counts.k[:, :, rows].sum(1) <= counts.n.sum(1)[:, None] / 2, z[rows] > 0
        weights = counts.n / np.maximum(counts.n.sum(1, keepdims=True), 1.0)
        signs = np.where(up == is_rare, 1.0, -1.0)
        tail = drawn_tail(np.abs(z[rows]), draws[:, rows], a, weights, signs, smallest_step(scores))
        more[rows] = np.where(up, tail, 1 - tail)
        less[rows] = np.where(up, 1 - tail, tail)
    return PeriodContrast(total, variance, float((counts.n * a**2).sum()), z, less, more)


def _draws(counts: StratifiedCounts, design: Doubles) -> Doubles:
    """Return how many draws with replacement (S, f) are like those of the records with the evidence.

    Of a share f of the records, drawn without replacement, a sum has skewness (1 - 2f) / √(k (1 - f)) times
    that of one draw; of k' draws with replacement, 1 / √k'. Those without the evidence count if fewer.
    """
    k, n = counts.k.sum(1), counts.n.sum(1)[:, None]
    fewer = np.minimum(k, n - k)
    share = np.minimum(fewer / np.maximum(n, 1.0), MAX_SHARE)
    draws: Doubles = fewer * (1 - share) / (1 - 2 * share) ** 2 / design
    return draws


def _departure(n: Doubles, a: Doubles, draws: Doubles, z: Doubles) -> Doubles:
    """Return by what part (f,) skewness and kurtosis change a normal's tail at ``z`` (Edgeworth's terms)."""
    weights = n / np.maximum(n.sum(1, keepdims=True), 1.0)
    second, third, fourth = ((weights * a**power).sum(1) for power in (2, 3, 4))
    variance = np.maximum(second @ draws, 1e-12)
    skewness, excess = third @ draws / variance**1.5, (fourth - 3 * second**2) @ draws / variance**2
    departure: Doubles = np.abs(skewness) * z**3 / 6 + np.abs(excess) * z**4 / 24
    return departure
