"""The arithmetic of evidence: scores on one scale, soft weights, over-representation, and contrasts."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

    from saeindex.types import FloatArray

    Doubles = NDArray[np.float64]

TINY = 1e-9


def contrast(scores: Doubles) -> Doubles:
    """Return how much better each row fits each value than the others: s_j - log mean exp of the others."""
    count = scores.shape[1]
    if count == 1:
        return scores
    largest = scores.max(axis=1, keepdims=True)
    raised = np.exp(scores - largest)
    others = np.maximum(raised.sum(axis=1, keepdims=True) - raised, 1e-300) / (count - 1)
    fits: Doubles = scores - largest - np.log(others)
    # If the largest score is far above the others, their sum underflows: they are summed without it.
    top = scores.argmax(axis=1)[:, None]
    without = scores.copy()
    np.put_along_axis(without, top, -np.inf, axis=1)
    second = without.max(axis=1, keepdims=True)
    rest = np.log(np.exp(without - second).sum(axis=1, keepdims=True) / (count - 1))
    np.put_along_axis(fits, top, largest - second - rest, axis=1)
    return fits


def over_represented(share: Doubles, usual: FloatArray, count: NDArray[np.float64 | np.int64]) -> Doubles:
    """Return z of a share (J, n) among ``count`` (J,) records, against the usual share (n,)."""
    n = np.asarray(count, np.float64)[:, None]
    z: Doubles = n * (share - usual) / np.sqrt(n * usual * (1 - usual) + 1)
    return z


def standard(weights: Doubles, scores: Doubles, share: Doubles) -> tuple[Doubles, Doubles]:
    """Return weights (J, ·) and offsets (J,) that give ``scores`` (m, J) mean 0 and deviation 1."""
    mean, deviation = _moments(scores, share)
    return weights / deviation[:, None], -mean / deviation


def scaled(scores: Doubles, share: Doubles) -> Doubles:
    """Return ``scores`` (m, J) with mean 0 and deviation 1, rows counting by ``share`` (m,)."""
    mean, deviation = _moments(scores, share)
    zero_mean: Doubles = (scores - mean) / deviation
    return zero_mean


def _moments(scores: Doubles, share: Doubles) -> tuple[Doubles, Doubles]:
    mean = share @ scores
    deviation = np.sqrt(share @ (scores - mean) ** 2)
    # If all scores are equal, they have no information: a huge deviation scales them to 0.
    return mean, np.where(deviation > TINY, deviation, 1e12)


def softmax(scores: Doubles, share: Doubles) -> Doubles:
    """Return ``share`` times exp of ``scores`` (m, J), summing to 1 by value."""
    raised = share[:, None] * np.exp(scores - scores.max(axis=0))
    weights: Doubles = raised / raised.sum(axis=0)
    return weights


def units(vectors: NDArray[np.floating]) -> Doubles:
    """Return vectors (…, d) at unit length; zero stays zero."""
    lengths = np.linalg.norm(vectors, axis=-1, keepdims=True)
    units: Doubles = np.asarray(vectors, np.float64) / np.maximum(lengths, TINY)
    return units


def wilson(share: ArrayLike, draws: ArrayLike, z: float) -> tuple[Doubles, Doubles]:
    """Return Wilson's interval (1927) of a share in independent draws, ``z`` deviations to each side.

    Its end is exactly 0 for a share of 0 and exactly 1 for a share of 1, whatever the rounding.
    """
    p, n = np.asarray(share, np.float64), np.asarray(draws, np.float64)
    middle = p + z**2 / (2 * n)
    reach = z * np.sqrt(p * (1 - p) / n + (z / (2 * n)) ** 2)
    scale = 1 + z**2 / n
    low, high = (middle - reach) / scale, (middle + reach) / scale
    return np.where(p == 0, 0.0, low), np.where(p == 1, 1.0, high)
