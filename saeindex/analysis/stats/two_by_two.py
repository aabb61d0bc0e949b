"""Tests of many 2 × 2 tables at once, exact where counts are small, and the control of their error rate.

Each function takes arrays of one shape, one entry per table: ``k1`` of ``n1`` records of the first group have
what is tested, and ``k2`` of ``n2`` of the second. Counts may be fractions, where they were divided by a
design effect (Rao and Scott 1992): exact tests round them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from saeindex.analysis.stats.choices import Correction

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

    Doubles: TypeAlias = NDArray[np.float64]

# The minimum expected count below which a table is tested exactly.
EXACT_BELOW = 20.0
BLOCK = 256


def adjusted(p: ArrayLike, method: Correction = "bh") -> Doubles:
    """Return q-values: the false discovery rate of calling these and all smaller p-values findings.

    Benjamini and Hochberg 1995; "by" is valid under any dependence (Benjamini and Yekutieli 2001).
    """
    from scipy.stats import false_discovery_control

    values = np.asarray(p, np.float64)
    q: Doubles = false_discovery_control(values, method=method) if values.size else values
    return q


def two_sided(k1: ArrayLike, n1: ArrayLike, k2: ArrayLike, n2: ArrayLike) -> Doubles:
    """Return the p-values of no difference between two shares: mid-p of Fisher's test, or χ² where large.

    The mid-p value counts half of what is as likely as observed (Lancaster 1961), each tail doubled.
    """
    below, above = one_sided(k1, n1, k2, n2)
    return np.minimum(1.0, 2.0 * np.minimum(below, above))


def one_sided(k1: ArrayLike, n1: ArrayLike, k2: ArrayLike, n2: ArrayLike) -> tuple[Doubles, Doubles]:
    """Return the p-values of "the first share is no smaller" and "is no larger": low where it is."""
    tables = np.broadcast_arrays(*(np.atleast_1d(np.asarray(v, np.float64)) for v in (k1, n1, k2, n2)))
    k1_, n1_, k2_, n2_ = (table.ravel() for table in tables)
    below, above = _normal_tails(k1_, n1_, k2_, n2_)
    total, n = k1_ + k2_, n1_ + n2_
    expected = np.minimum(total, n - total) * np.minimum(n1_, n2_) / np.maximum(n, 1.0)
    for rows in _blocks(np.flatnonzero(expected < EXACT_BELOW), np.minimum(total, n1_)):
        counts = (np.rint(v[rows]).astype(np.int64) for v in (k1_, n1_, k2_, n2_))
        below[rows], above[rows] = _exact_tails(*counts)
    shape = tables[0].shape
    return below.reshape(shape), above.reshape(shape)


def _blocks(rows: NDArray[np.int64], widths: Doubles) -> Any:
    """Yield rows in blocks of tables of like width, so that a block's matrix is no larger than it must be."""
    ordered = rows[np.argsort(widths[rows], kind="stable")]
    yield from (ordered[start : start + BLOCK] for start in range(0, len(ordered), BLOCK))


def _normal_tails(k1: Doubles, n1: Doubles, k2: Doubles, n2: Doubles) -> tuple[Doubles, Doubles]:
    from scipy.special import ndtr

    n, total = n1 + n2, k1 + k2
    expected = n1 * total / np.maximum(n, 1.0)
    # The variance of the hypergeometric distribution: that of the (N - 1) χ² test (Campbell 2007).
    variance = n1 * n2 * total * (n - total) / np.maximum(n**2 * (n - 1), 1.0)
    z = (k1 - expected) / np.sqrt(np.maximum(variance, 1e-12))
    z = np.where(variance > 0, z, 0.0)
    return ndtr(z), ndtr(-z)


def _exact_tails(
    k1: NDArray[np.int64], n1: NDArray[np.int64], k2: NDArray[np.int64], n2: NDArray[np.int64]
) -> tuple[Doubles, Doubles]:
    low, chances = hypergeometric(k1 + k2, n1, n2)
    own = (k1 - low)[:, None]
    column = np.arange(chances.shape[1])[None]
    at = np.where(column == own, chances, 0.0).sum(1)
    below = np.where(column < own, chances, 0.0).sum(1) + at / 2
    above = np.where(column > own, chances, 0.0).sum(1) + at / 2
    return below, above


def hypergeometric(
    total: NDArray[np.int64], n1: NDArray[np.int64], n2: NDArray[np.int64]
) -> tuple[NDArray[np.int64], Doubles]:
    """Return the minimum count of the first group, and the probabilities of counts from it on (f, width)."""
    from scipy.special import gammaln

    low, high = np.maximum(0, total - n2), np.minimum(total, n1)
    x = low[:, None] + np.arange(int((high - low).max(initial=0)) + 1)[None]
    is_possible = x <= high[:, None]
    x = np.minimum(x, high[:, None])
    n1, n2, total = n1[:, None], n2[:, None], total[:, None]
    logs = -(gammaln(x + 1) + gammaln(n1 - x + 1) + gammaln(total - x + 1) + gammaln(n2 - total + x + 1))
    chances = np.where(is_possible, np.exp(logs - logs.max(1, keepdims=True)), 0.0)
    return low, chances / chances.sum(1, keepdims=True)


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
