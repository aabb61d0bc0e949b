"""Tests of many 2 × 2 tables at once, exact where counts are small, and the control of their error rate.

Each function takes arrays of one shape, one entry per table: ``k1`` of ``n1`` records of the first group have
what is tested, and ``k2`` of ``n2`` of the second. Counts may be fractions, where they were divided by a
design effect (Rao and Scott 1992): exact tests round them.

Tails of the number of records of the first group with a piece of evidence, given the totals of strata.

In each stratum this number is hypergeometric if groups do not differ. The tails of its sum over strata have
no closed form. The double saddlepoint approximation (Skovgaard 1987; Davison 1988) is right to a few per cent
far out in the tail too, where the normal approximation is wrong by orders of magnitude for unequal groups.
With a common odds ratio exp(θ), fitted to the observed sum k by θ̂,

    P ≈ 1 - Φ(r*),  r* = r + ln(u / r) / r,

where r is the signed root of the likelihood ratio of θ̂ against 0, and

    u = 2 tanh(θ̂ / 2) √(V(θ̂) Π D(θ̂) / D(0)),

with V the conditional variance of the sum, and D the variance of the totals. With θ̂ in place of 2 tanh(θ̂ /
2) this would be Skovgaard's formula for continuous sums; so, it is the mid-p value of counts.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from saeindex.analysis.stats.options import Correction

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

    from saeindex.types import Doubles


# Tables with a lower expected count, or a count so near to its limits, are tested exactly.
EXACT_BELOW, NEAR_LIMIT = 20.0, 5.0
# Terms of an exact tail below this part of it are left out.
NEGLIGIBLE = 1e-12


def adjusted(p: ArrayLike, method: Correction = "bh") -> Doubles:
    """Return q-values: the false discovery rate of calling these and all smaller p-values findings.

    Benjamini and Hochberg 1995; "by" is valid under any dependence (Benjamini and Yekutieli 2001).
    """
    from scipy.stats import false_discovery_control

    values = np.asarray(p, np.float64)
    return false_discovery_control(values, method=method) if values.size else values


def two_sided(k1: ArrayLike, n1: ArrayLike, k2: ArrayLike, n2: ArrayLike) -> Doubles:
    """Return the p-values of no difference between two shares: Fisher's test, mid-p, each tail doubled.

    The mid-p value counts half of what is as likely as observed (Lancaster 1961).
    """
    below, above = one_sided(k1, n1, k2, n2)
    return np.minimum(1.0, 2.0 * np.minimum(below, above))


def one_sided(k1: ArrayLike, n1: ArrayLike, k2: ArrayLike, n2: ArrayLike) -> tuple[Doubles, Doubles]:
    """Return the p-values of "the first share is no smaller" and "is no larger": low where it is.

    The tails are exact where counts are small; elsewhere they are right to some per cent, however far out.
    """
    tables = np.broadcast_arrays(*(np.atleast_1d(np.asarray(v, np.float64)) for v in (k1, n1, k2, n2)))
    k, first, other, second = (table.ravel() for table in tables)
    total, n = k + other, first + second
    expected = np.minimum(total, n - total) * np.minimum(first, second) / np.maximum(n, 1.0)
    room = np.minimum(k - np.maximum(0.0, total - second), np.minimum(total, first) - k)
    is_small = (expected < EXACT_BELOW) | (room < NEAR_LIMIT)
    small, large = np.flatnonzero(is_small), np.flatnonzero(~is_small)
    below, above = np.empty(len(k)), np.empty(len(k))
    below[large], above[large] = sum_tails(
        k[large], total[None, large], first[None, large], second[None, large]
    )
    counts = (np.rint(v[small]) for v in (k, other, first, second))
    below[small], above[small] = _exact_tails(*counts)
    shape = tables[0].shape
    return below.reshape(shape), above.reshape(shape)


def _exact_tails(k: Doubles, other: Doubles, n1: Doubles, n2: Doubles) -> tuple[Doubles, Doubles]:
    """Return the tails of whole counts: their terms from the observed one outwards."""
    k, other = np.minimum(k, n1), np.minimum(other, n2)
    total = k + other
    at = np.exp(log_chance(k, total, n1, n2))
    is_high = k >= total * n1 / np.maximum(n1 + n2, 1.0)
    tail = at / 2
    active = np.flatnonzero(at > 0)
    x, term = k[active], at[active]
    while len(active):
        n, t, m, rising = n1[active], total[active], n2[active], is_high[active]
        up = (n - x) * (t - x) / ((x + 1) * np.maximum(m - t + x + 1, 1))
        down = x * np.maximum(m - t + x, 0) / np.maximum((n - x + 1) * (t - x + 1), 1)
        term = term * np.where(rising, up, down)
        x = x + np.where(rising, 1.0, -1.0)
        tail[active] += term
        goes_on = term > NEGLIGIBLE * tail[active]
        active, x, term = active[goes_on], x[goes_on], term[goes_on]
    tail = np.minimum(tail, 1.0)
    return np.where(is_high, 1 - tail, tail), np.where(is_high, tail, 1 - tail)


def binomial_tail(k: ArrayLike, n: ArrayLike) -> Doubles:
    """Return the mid-p value of no fewer than ``k`` of ``n`` even trials, both of which may be fractions.

    Between whole numbers the binomial distribution is continued by the incomplete beta function.
    """
    from scipy.special import betainc

    own, trials = np.asarray(k, np.float64), np.asarray(n, np.float64)
    at_least, beyond = (
        np.where(x <= 0, 1.0, betainc(np.maximum(x, 1e-9), np.maximum(trials - x + 1, 1e-9), 0.5))
        for x in (own, own + 1)
    )
    return (at_least + np.where(own >= trials, 0.0, beyond)) / 2


# The log odds ratio is within these bounds, and steps towards it are no longer than this.
MAX_THETA, MAX_STEP = 60.0, 1.5
ROUNDS, CLOSE = 60, 1e-9
# Standard deviations from the mean at which the saddlepoint begins, and cells that are computed at once.
FAR, BLOCK = 1.0, 1_000_000
# How close to its limits the sum may be; at the limits the tail is one probability.
AT_LIMIT = 1e-6
TINY = 1e-300


def sum_tails(
    k: Doubles, total: Doubles, n1: Doubles, n2: Doubles, far: float = FAR
) -> tuple[Doubles, Doubles]:
    """Return the mid-p values (f,) of a sum as low as ``k`` (f,), and as high.

    ``total`` (S, f) records of a stratum have the evidence; its groups have ``n1`` and ``n2`` (S, f or 1)
    records. All may be fractions. Sums within ``far`` standard deviations have the tails of a normal
    distribution.
    """
    from scipy.special import ndtr

    n1, n2 = np.broadcast_to(n1, total.shape), np.broadcast_to(n2, total.shape)
    low, high = np.maximum(0.0, total - n2), np.minimum(total, n1)
    at_low, at_high = k - low.sum(0) <= AT_LIMIT, high.sum(0) - k <= AT_LIMIT
    r = _standard(k, total, n1, n2)
    rows = np.flatnonzero((np.abs(r) >= far) & ~at_low & ~at_high)
    for block in np.array_split(rows, 1 + rows.size * len(total) // BLOCK):
        r[block] = _corrected_root(k[block], total[:, block], n1[:, block], n2[:, block])
    below, above = ndtr(r), ndtr(-r)
    # At a limit, the tail is half of its probability.
    for limit, is_there, tail, other in ((low, at_low, below, above), (high, at_high, above, below)):
        own = np.flatnonzero(is_there)
        tail[own] = np.exp(log_chance(limit[:, own], total[:, own], n1[:, own], n2[:, own]).sum(0)) / 2
        other[own] = 1 - tail[own]
    return below, above


def _standard(k: Doubles, total: Doubles, n1: Doubles, n2: Doubles) -> Doubles:
    """Return the deviation of ``k`` from its mean in standard deviations (f,): Mantel and Haenszel's test."""
    n = n1 + n2
    share = total / np.maximum(n, TINY)
    variance = (n1 * n2 * share * (1 - share) / np.maximum(n - 1, 0.5)).sum(0)
    found: Doubles = (k - (n1 * share).sum(0)) / np.sqrt(np.maximum(variance, 1e-12))
    return np.where(variance > 1e-12, found, 0.0)


def _corrected_root(k: Doubles, total: Doubles, n1: Doubles, n2: Doubles) -> Doubles:
    """Return r* (f,), whose tails are those of a standard normal distribution."""
    theta = _fitted_theta(k, total, n1, n2)
    here, null = _Fit.at(theta, total, n1, n2), _Fit.at(np.zeros_like(theta), total, n1, n2)
    ratio = here.log_likelihood(theta, k, total, n1, n2) - null.log_likelihood(0.0 * theta, k, total, n1, n2)
    r = np.sqrt(np.maximum(2.0 * ratio, TINY))
    spread = np.where(null.informative > 0, here.informative / np.maximum(null.informative, TINY), 1.0)
    log_u = np.log(np.maximum(2.0 * np.tanh(np.abs(theta) / 2.0), TINY))
    log_u += 0.5 * (np.log(np.maximum(spread, TINY)).sum(0) + np.log(np.maximum(here.variance, TINY)))
    return np.sign(theta) * (r + (log_u - np.log(r)) / r)


class _Fit:
    """The tables fitted with an odds ratio: shares of both groups (S, f), and variances.

    ``informative`` (S, f) is the variance of each stratum's total, ``variance`` (f,) that of the sum given
    the totals.
    """

    def __init__(self, first: Doubles, second: Doubles, n1: Doubles, n2: Doubles) -> None:
        self.first, self.second = first, second
        of_first, of_second = n1 * first * (1 - first), n2 * second * (1 - second)
        self.informative = of_first + of_second
        self.variance = (of_first * of_second / np.maximum(self.informative, TINY)).sum(0)

    @classmethod
    def at(cls, theta: Doubles, total: Doubles, n1: Doubles, n2: Doubles) -> _Fit:
        """Return the fit with the log odds ratio ``theta`` (f,)."""
        x = _expected(theta, total, n1, n2)
        return cls(_share(x, n1), _share(total - x, n2), n1, n2)

    def log_likelihood(self, theta: Doubles, k: Doubles, total: Doubles, n1: Doubles, n2: Doubles) -> Doubles:
        """Return the log likelihood (f,) of both groups' binomials, up to a constant."""
        is_open = (total > 0) & (total < n1 + n2)
        logit = np.log(self.second) - np.log1p(-self.second)
        terms = total * logit + n1 * np.log1p(-self.first) + n2 * np.log1p(-self.second)
        # A stratum where none or all have the evidence has one possible table, of likelihood 1.
        return np.asarray(theta * k + np.where(is_open, terms, -theta * np.minimum(total, n1)).sum(0))


def _share(x: Doubles, n: Doubles) -> Doubles:
    return np.clip(x / np.maximum(n, TINY), TINY, 1 - 1e-16)


def _expected(theta: Doubles, total: Doubles, n1: Doubles, n2: Doubles) -> Doubles:
    """Return the fitted numbers of the first group (S, f): x (n2 - t + x) = exp(θ) (n1 - x) (t - x)."""
    # Solved for the group that has fewer than by chance, where the odds ratio is at most 1.
    is_swapped = theta > 0
    own, other = np.where(is_swapped, n2, n1), np.where(is_swapped, n1, n2)
    odds = np.exp(-np.abs(theta))
    a, b, c = 1 - odds, other - total + odds * (own + total), -odds * own * total
    root = np.sqrt(np.maximum(b * b - 4 * a * c, 0.0))
    half = -(b + np.where(b >= 0, root, -root)) / 2
    from_product = c / np.where(half == 0, -TINY, half)
    x = np.where((b >= 0) | (a < 1e-12), from_product, half / np.maximum(a, 1e-12))
    x = np.clip(x, np.maximum(0.0, total - other), np.minimum(total, own))
    return np.where(is_swapped, total - x, x)


def _fitted_theta(k: Doubles, total: Doubles, n1: Doubles, n2: Doubles) -> Doubles:
    """Return the log odds ratio (f,) at which ``k`` is expected, by Newton's method within bounds."""
    low, high = np.full_like(k, -MAX_THETA), np.full_like(k, MAX_THETA)
    theta = _pooled_log_odds(k, total.sum(0), n1.sum(0), n2.sum(0))
    rows = np.arange(len(k))
    for _ in range(ROUNDS):
        at, t, first, second = theta[rows], total[:, rows], n1[:, rows], n2[:, rows]
        x = _expected(at, t, first, second)
        short = k[rows] - x.sum(0)
        goes_on = np.abs(short) > CLOSE * np.maximum(1.0, k[rows])
        if not goes_on.any():
            break
        low[rows], high[rows] = np.where(short > 0, at, low[rows]), np.where(short < 0, at, high[rows])
        fit = _Fit(_share(x, first), _share(t - x, second), first, second)
        step = np.clip(short / np.maximum(fit.variance, 1e-12), -MAX_STEP, MAX_STEP)
        is_inside = (at + step > low[rows]) & (at + step < high[rows])
        moved = np.where(is_inside, at + step, (low[rows] + high[rows]) / 2)
        theta[rows] = np.where(goes_on, moved, at)
        rows = rows[goes_on]
    return theta


def _pooled_log_odds(k: Doubles, total: Doubles, n1: Doubles, n2: Doubles) -> Doubles:
    """Return the log odds ratio of all strata as one table, in which no cell is empty: where to begin."""
    cells = (np.maximum(cell, 1e-3) for cell in (k, n2 - total + k, n1 - k, total - k))
    a, d, b, c = cells
    return np.asarray(np.clip(np.log(a) + np.log(d) - np.log(b) - np.log(c), -MAX_THETA / 2, MAX_THETA / 2))


def log_chance(x: Doubles, total: Doubles, n1: Doubles, n2: Doubles) -> Doubles:
    """Return the log of the hypergeometric probability that ``x`` of ``total`` are of the first group."""
    from scipy.special import gammaln

    def ways(n: Doubles, taken: Doubles) -> Doubles:
        return np.asarray(gammaln(n + 1) - gammaln(taken + 1) - gammaln(n - taken + 1))

    return ways(n1, x) + ways(n2, total - x) - ways(n1 + n2, total)
