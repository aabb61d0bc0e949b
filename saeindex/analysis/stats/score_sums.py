"""Tails of sums of scores that are drawn at random: of trends over periods, and of products of two weights.

The normal approximation fails where few records carry most of a sum: a small period, or a weight that is near
0 for all but some records. The saddlepoint approximation of Lugannani and Rice (1980) does not.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from saeindex.types import Doubles


ROUNDS, STEEPEST, NEAR = 20, 60.0, 1e-3
# Standard errors from which the tail of a product is a saddlepoint's; different values that weights are
# rounded to; as many as make a lattice.
FAR, VALUES, LATTICE = 1.5, 64, 16
# The part of the largest score below which a step is none.
SMALLEST_STEP = 1e-6


def drawn_tail(
    z: Doubles, draws: Doubles, scores: Doubles, weights: Doubles, signs: Doubles, step: float
) -> Doubles:
    """Return the chance of sums as far out as ``z`` (r,) > 0 standard deviations.

    Each sum is of ``draws`` (S, r) from each of S urns, with ``scores`` (S, P) of mean 0 and their
    probabilities ``weights`` (S, P); ``signs`` (S, r) are those of the scores. Sums are multiples of
    ``step``, 0 if they have no common step; half of what is as likely as observed counts.
    """
    from scipy.special import ndtr

    with np.errstate(divide="ignore"):
        logs = np.log(weights)
    scale = max(float(np.abs(scores[weights > 0]).max(initial=0.0)), 1e-300)
    scores, step = scores / scale, max(step / scale, SMALLEST_STEP)
    x = z * np.sqrt(_cumulants(draws, scores, logs, signs, np.zeros_like(z))[2])
    t = _solved(draws, scores, logs, signs, x)
    value, _, second = _cumulants(draws, scores, logs, signs, t)
    gap = np.maximum(t * x - value, 1e-12)
    w, u = np.sqrt(2 * gap), 2 / step * np.tanh(t * step / 2) * np.sqrt(np.maximum(second, 1e-300))
    density = np.exp(-gap) / np.sqrt(2 * np.pi)
    tail = ndtr(-w) + density * (1 / np.maximum(u, 1e-12) - 1 / w)
    # At the end of the range the saddlepoint is infinitely steep; half of what lies there counts.
    tail = np.where(t >= STEEPEST * 0.9, np.exp(-gap) / 2, tail)
    return np.clip(tail, 1e-300, 0.5)


def product_p(a: Doubles, b: Doubles) -> float:
    """Return the two-sided p-value of Σ a b, if values ``b`` (m,) are assigned to those of ``a`` at random.

    Each centred value of ``a`` draws one of ``b``: mean, variance and skewness are those of permutations.
    """
    from scipy.special import ndtr

    if len(a) < 2:
        return 1.0
    first, second = a - a.mean(), b - b.mean()
    lengths = float(np.linalg.norm(first) * np.linalg.norm(second))
    if lengths < 1e-9:
        return 1.0
    z = float(first @ second) / lengths * np.sqrt(len(a) - 1)
    if abs(z) < FAR:
        return float(2 * ndtr(-abs(z)))
    (of_a, count), (of_b, share) = _rounded(first), _rounded(second)
    scores = of_a[:, None] * of_b
    weights = np.broadcast_to(share / share.sum(), scores.shape)
    step = smallest_step(of_a) * smallest_step(of_b)
    tail = drawn_tail(
        np.array([abs(z)]), count[:, None], scores, weights, np.full((len(scores), 1), np.sign(z)), step
    )
    return float(min(1.0, 2 * tail[0]))


def _rounded(values: Doubles) -> tuple[Doubles, Doubles]:
    """Return at most VALUES different values, means of those near each, and how many there are of each."""
    distinct, counts = np.unique(values, return_counts=True)
    if len(distinct) <= VALUES:
        return distinct, counts.astype(np.float64)
    edges = np.linspace(values.min(), values.max(), VALUES + 1)[1:-1]
    place = np.searchsorted(edges, values)
    counts = np.bincount(place, minlength=VALUES)
    kept = counts > 0
    means = np.bincount(place, values, VALUES)[kept] / counts[kept]
    return means, counts[kept].astype(np.float64)


def smallest_step(values: Doubles) -> float:
    """Return the smallest difference of values; 0 where they are too many to be a lattice."""
    distinct = np.unique(values)
    return float(np.diff(distinct).min()) if 2 <= len(distinct) <= LATTICE else 0.0


def _solved(draws: Doubles, scores: Doubles, logs: Doubles, signs: Doubles, x: Doubles) -> Doubles:
    """Return where the slope of the cumulants is ``x`` (r,): bisection, with Newton steps where they fit."""
    low, high = np.zeros_like(x), np.full_like(x, STEEPEST)
    start = _cumulants(draws, scores, logs, signs, low)[2]
    t = np.clip(x / np.maximum(start, 1e-12), 1e-3, STEEPEST / 2)
    open_ = np.arange(len(x))
    for _ in range(ROUNDS):
        at, goal = t[open_], x[open_]
        _, slope, second = _cumulants(draws[:, open_], scores, logs, signs[:, open_], at)
        is_low = slope < goal
        low[open_], high[open_] = np.where(is_low, at, low[open_]), np.where(is_low, high[open_], at)
        newton = at + (goal - slope) / np.maximum(second, 1e-12)
        fits = (newton > low[open_]) & (newton < high[open_])
        t[open_] = np.where(fits, newton, np.minimum(2 * at, (low[open_] + high[open_]) / 2))
        open_ = open_[np.abs(t[open_] - at) >= NEAR * at]
        if not len(open_):
            break
    return t


def _cumulants(
    draws: Doubles, scores: Doubles, logs: Doubles, signs: Doubles, t: Doubles
) -> tuple[Doubles, Doubles, Doubles]:
    """Return K(t) = Σ_s k_s log Σ_p w_sp exp(t a_sp) and its two derivatives (r,)."""
    signed = scores[:, :, None] * signs[:, None, :]
    exponents = logs[:, :, None] + signed * t
    top = exponents.max(1, keepdims=True)
    weights = np.exp(exponents - top)
    sums = weights.sum(1)
    mean = (weights * signed).sum(1) / sums
    square = (weights * signed**2).sum(1) / sums
    value = (draws * (np.log(sums) + top[:, 0])).sum(0)
    return value, (draws * mean).sum(0), (draws * (square - mean**2)).sum(0)
