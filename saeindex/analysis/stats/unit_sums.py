"""Tails of sums over whole units, if their groups or periods were assigned to them at random.

What a unit adds to the statistic of Mantel and Haenszel (or of a trend) is the score of its group times a
number: its records with the evidence, less as many as its strata lead to expect. So the statistic is
Σ a_u b_u, and its distribution over all assignments of the b to units is known without a model of how alike
the records of a unit are. The double saddlepoint approximation (Robinson 1982; Booth and Butler 1990) is
right far out in the tail, where a design effect with a normal distribution is not: words that few units
repeat have long tails.

With cumulants K(s, t) = Σ_u log Σ_j π_j exp(s_j + t a_u b_j), solved for the number of units of each score
and for the sum x, P ≈ 1 - Φ(r*), r* = r + ln(w / r) / r, where r is the signed root of twice the log
likelihood and w = t √(det K''(s, t) / det K''_ss(0, 0)).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from saeindex.analysis.stats.score_sums import LATTICE, smallest_step

if TYPE_CHECKING:
    from saeindex.types import Doubles, Ints


# Different values that a column of more is rounded to, and how much finer they are near 0.
VALUES, FINE = 128, 4.0
# Newton's steps, the longest of them, and when they end.
ROUNDS, MAX_STEP, CLOSE = 60, 2.0, 1e-8
# The error below which an equation counts as solved; the smallest step of sums.
SOLVED, SMALLEST_STEP = 1e-3, 1e-6
# Standard deviations below which the tail is a normal's; numbers that are computed at once.
NEAR, BLOCK = 0.5, 2_000_000
TINY = 1e-300
# The spread of sums that do not vary; what sums may differ by that are equal.
SMALLEST, NEARLY = 1e-9, 1e-9


class UnitValues:
    """Numbers of units (u, f), prepared once for the tails of their sums with any scores."""

    def __init__(self, values: Doubles) -> None:
        """Centre and sort the columns, and round them where they have many different values."""
        a = values - values.mean(0)
        self._norms = np.linalg.norm(a, axis=0)
        self._a = a / np.maximum(self._norms, TINY)
        self._ordered = np.sort(self._a, axis=0)
        self._steps = _smallest_steps(self._ordered)
        self._means, self._counts = _rounded(self._a)

    def tails(
        self, scores: Doubles, columns: Ints, stretch: Doubles | float = 1.0
    ) -> tuple[Doubles, Doubles]:
        """Return the one-sided p-values (c,) of Σ_u values ``scores`` (u,) of columns: lower, and higher.

        What is as far as observed counts half, about, as in a mid-p value. The sum is as far from its mean as
        observed times ``stretch`` (c,).
        """
        from scipy.special import ndtr

        b = scores - scores.mean()
        width = float(np.linalg.norm(b)) / np.sqrt(max(1, len(b) - 1))
        varies, scale = self._norms[columns] * width > SMALLEST, 1 / max(width, TINY)
        z = np.where(varies, stretch * scale * (b @ self._a[:, columns]), 0.0)
        r, up = z.copy(), np.sort(b)
        limits = [scale * (self._ordered[:, columns].T @ way) - NEARLY for way in (up, -up[::-1])]
        far = np.flatnonzero((np.abs(z) > NEAR) & (z < limits[0]) & (-z < limits[1]))
        distinct, units = np.unique(b, return_counts=True)
        rows = len(distinct) * len(self._means)
        for block in np.array_split(far, 1 + far.size * rows // BLOCK):
            if block.size:
                own = columns[block]
                step = scale * self._steps[own] * smallest_step(scores)
                means, counts = scale * self._means[:, own], self._counts[:, own]
                r[block] = _corrected_root(means, counts, z[block], distinct, units.astype(np.float64), step)
        below, above = ndtr(r), ndtr(-r)
        for sign, limit, tail, other in ((1.0, limits[0], above, below), (-1.0, limits[1], below, above)):
            for place in np.flatnonzero((sign * z >= limit) & varies):
                ordered = scale * np.sort(sign * self._ordered[:, columns[place]])
                tail[place] = _chance_of_limit(ordered, up) / 2
                other[place] = 1 - tail[place]
        rarest = np.exp(-_log_ways(units)) / 2
        return np.clip(below, rarest, 1 - rarest), np.clip(above, rarest, 1 - rarest)


def _smallest_steps(ordered: Doubles) -> Doubles:
    """Return :func:`smallest_step` of each sorted column (f,)."""
    steps = np.diff(ordered, axis=0)
    differs = steps > 0
    is_lattice = differs.any(0) & (differs.sum(0) < LATTICE)
    return np.where(is_lattice, np.where(differs, steps, np.inf).min(0, initial=np.inf), 0.0)


def _chance_of_limit(a: Doubles, b: Doubles) -> float:
    """Return the chance of the largest sum of sorted values times sorted scores; ties have many orders."""
    starts = np.flatnonzero(np.diff(a, prepend=-np.inf) > 1e-9)
    ways = sum(_log_ways(np.unique(part, return_counts=True)[1]) for part in np.split(b, starts[1:]))
    return float(np.exp(ways - _log_ways(np.unique(b, return_counts=True)[1])))


def _log_ways(counts: Ints) -> float:
    """Return the log of the number of ways in which so many of each kind can be ordered."""
    from scipy.special import gammaln

    return float(gammaln(counts.sum() + 1) - gammaln(counts + 1).sum())


def _rounded(values: Doubles) -> tuple[Doubles, Doubles]:
    """Return at most VALUES means of near values of each column, and how many units there are of each."""
    u, f = values.shape
    if u <= VALUES:
        return values, np.ones_like(values)
    scaled = np.arcsinh(FINE * values / np.maximum(values.std(0), TINY))
    low = scaled.min(0)
    width = np.maximum(scaled.max(0) - low, TINY)
    place = np.minimum((VALUES * (scaled - low) / width).astype(np.int64), VALUES - 1) * f + np.arange(f)
    count = np.bincount(place.ravel(), minlength=VALUES * f).reshape(VALUES, f).astype(np.float64)
    total = np.bincount(place.ravel(), values.ravel(), VALUES * f).reshape(VALUES, f)
    return total / np.maximum(count, 1.0), count


def _corrected_root(
    a: Doubles, count: Doubles, x: Doubles, b: Doubles, units: Doubles, step: Doubles
) -> Doubles:
    """Return r* (f,), whose tails are those of a standard normal distribution.

    ``count`` (v, f) units have the values ``a``, and ``units`` (P,) the scores ``b``. Sums are multiples of
    ``step`` (f,), 0 if they have no common step.
    """
    of_score = np.log(units / units.sum())
    theta = np.zeros((len(x), len(b)))  # s of all scores but the first, and t
    short = np.full(theta.shape, np.inf)
    for _ in range(ROUNDS):
        unsolved = np.flatnonzero(np.abs(short).max(1) >= CLOSE * units.sum())
        if not len(unsolved):
            break
        slope, curvature, _ = _cumulants(theta[unsolved], a[:, unsolved], count[:, unsolved], b, of_score)
        short[unsolved] = (
            np.column_stack([np.broadcast_to(units[1:], slope[:, 1:].shape), x[unsolved]]) - slope
        )
        move = np.linalg.solve(curvature + 1e-12 * np.eye(len(b)), short[unsolved, :, None])[:, :, 0]
        longest = np.abs(move).max(1, keepdims=True)
        theta[unsolved] += move * np.minimum(1.0, MAX_STEP / np.maximum(longest, TINY))
    _, curvature, cumulant = _cumulants(theta, a, count, b, of_score)
    t, half = np.abs(theta[:, -1]), np.maximum(step, SMALLEST_STEP) / 2
    r = np.sqrt(2 * np.maximum(theta[:, :-1] @ units[1:] + theta[:, -1] * x - cumulant, TINY))
    base = (len(b) - 1) * np.log(units.sum()) + of_score.sum()
    log_w = np.log(np.maximum(np.tanh(t * half) / half, TINY)) + (np.linalg.slogdet(curvature)[1] - base) / 2
    # Near the end of the range there is no solution, or no curvature; the root itself is near enough.
    corrected = r + (log_w - np.log(r)) / r
    is_solved = (np.abs(short).max(1) < SOLVED) & (corrected > r / 2)
    return np.asarray(np.sign(x) * np.where(is_solved, corrected, r))


def _cumulants(
    theta: Doubles, a: Doubles, count: Doubles, b: Doubles, of_score: Doubles
) -> tuple[Doubles, Doubles, Doubles]:
    """Return the slope (f, P) of K at ``theta`` (f, P), its curvature (f, P, P), and K itself (f,)."""
    s = np.column_stack([np.zeros(len(theta)), theta[:, :-1]])
    scaled = a * theta[:, -1]
    share = (of_score + s).T[:, None, :] + scaled * b[:, None, None]  # (P, v, f)
    top = share.max(0)
    np.exp(share - top, out=share)
    total = share.sum(0)
    share /= total
    cumulant = (count * (np.log(total) + top)).sum(0)
    mean, squares = (np.tensordot(b**power, share, 1) for power in (1, 2))
    weighted = count * share
    times = count * a
    curvature = np.empty((len(theta), len(b), len(b)))
    for p in range(1, len(b)):
        for q in range(p, len(b)):
            both = np.einsum("vf,vf->f", weighted[p], share[q])
            curvature[:, p - 1, q - 1] = curvature[:, q - 1, p - 1] = -both
        to_t = np.einsum("vf,vf->f", times * share[p], b[p] - mean)
        curvature[:, -1, p - 1] = curvature[:, p - 1, -1] = to_t
    of_scores = weighted.sum(1).T
    diagonal = np.arange(len(b) - 1)
    curvature[:, diagonal, diagonal] += of_scores[:, 1:]
    curvature[:, -1, -1] = (times * a * (squares - mean**2)).sum(0)
    slope = np.column_stack([of_scores[:, 1:], (times * mean).sum(0)])
    return slope, curvature, cumulant
