"""Tests of many 2 × 2 tables at once, exact where counts are small, and the control of their error rate.

Each function takes arrays of one shape, one entry per table: ``k1`` of ``n1`` records of the first group have
what is tested, and ``k2`` of ``n2`` of the second. Counts may be fractions, where they were divided by a
design effect (Rao and Scott 1992): exact tests round them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeAlias

import numpy as np

from saeindex.analysis.stats.choices import Correction
from saeindex.analysis.stats.saddlepoint import log_chance, sum_tails

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

    Doubles: TypeAlias = NDArray[np.float64]

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
    q: Doubles = false_discovery_control(values, method=method) if values.size else values
    return q


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


def binomial_tail(k: ArrayLike, n: ArrayLike, chance: ArrayLike) -> Doubles:
    """Return the mid-p value of no fewer than ``k`` of ``n`` trials, both of which may be fractions.

    Between whole numbers the binomial distribution is continued by the incomplete beta function.
    """
    from scipy.special import betainc

    own, trials = np.asarray(k, np.float64), np.asarray(n, np.float64)
    at_least, beyond = (
        np.where(x <= 0, 1.0, betainc(np.maximum(x, 1e-9), np.maximum(trials - x + 1, 1e-9), chance))
        for x in (own, own + 1)
    )
    tail: Doubles = (at_least + np.where(own >= trials, 0.0, beyond)) / 2
    return tail
