"""The code of one vector in numpy, so that a query needs no torch, whose import takes longer than a search.

The steps and the precision are those of :mod:`saeindex.sae.topk`, for a single row.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from saeindex.types import FloatArray, IntArray

# Features beyond k whose strengths are computed again in double precision; rounding changes no rank by more.
MARGIN = 8


def encode_one(
    vector: FloatArray, weights: Mapping[str, FloatArray], k: int, *, refine_steps: int, support_rounds: int
) -> tuple[IntArray, FloatArray]:
    """Return the active features of ``vector`` (d,), ascending int32, and their float32 activations > 0."""
    # Subtracted in single precision, as for a batch: both functions must give the same code.
    centred = (vector.astype(np.float32) - weights["bias"]).astype(np.float64)
    support, strengths = _strongest(centred, weights, k)
    amplitudes = np.maximum(strengths, 0.0)
    if "threshold" in weights:
        amplitudes = amplitudes * (strengths > weights["threshold"][support])
    if "gain" in weights:
        amplitudes = amplitudes * weights["gain"][support]
    for _ in range(support_rounds):
        support, amplitudes = _rechosen(centred, weights["decoder"], support, amplitudes)
    amplitudes = _refined(centred, weights["decoder"][support].astype(np.float64), amplitudes, refine_steps)
    order = np.argsort(support)
    indices, values = support[order].astype(np.int32), amplitudes[order].astype(np.float32)
    return indices[values > 0], values[values > 0]


def _strongest(
    centred: NDArray[np.float64], weights: Mapping[str, FloatArray], k: int
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Return the k strongest features and their strengths, ties going to the lower id."""
    encoder, bias = weights["encoder"], weights["encoder_bias"]
    near = min(k + MARGIN, len(encoder))
    strengths = encoder @ centred.astype(np.float32) + bias
    candidates = np.sort(np.argpartition(-strengths, near - 1)[:near])
    exact = encoder[candidates].astype(np.float64) @ centred + bias[candidates].astype(np.float64)
    chosen = np.argsort(-exact, kind="stable")[:k]
    return candidates[chosen], exact[chosen]


def _refined(
    target: NDArray[np.float64], directions: NDArray[np.float64], start: NDArray[np.float64], steps: int
) -> NDArray[np.float64]:
    """Minimise |target - sum_i z_i d_i|² for ``directions`` (k, d) by projected gradient descent."""
    amplitudes, residual = start, target - start @ directions
    for _ in range(steps):
        gradient = (directions @ residual) * (start > 0)
        gradient[(amplitudes <= 0) & (gradient < 0)] = 0
        tried = np.maximum(amplitudes + _exact_step(gradient, gradient @ directions) * gradient, 0)
        left = target - tried @ directions
        if left @ left <= residual @ residual:
            amplitudes, residual = tried, left
    return amplitudes


def _rechosen(
    target: NDArray[np.float64],
    decoder: FloatArray,
    support: NDArray[np.int64],
    amplitudes: NDArray[np.float64],
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Return the support and its amplitudes after one round of hard thresholding."""
    directions = decoder[support].astype(np.float64)
    residual = target - amplitudes @ directions
    correlation = decoder.astype(np.float64) @ residual
    on_support = correlation[support] * (amplitudes > 0)
    moved = _exact_step(on_support, on_support @ directions) * correlation
    moved[support] += amplitudes
    chosen = np.argsort(-moved, kind="stable")[: len(support)]
    directions = decoder[chosen].astype(np.float64)
    values = _refined(target, directions, np.maximum(moved[chosen], 0), 1)
    left = target - values @ directions
    return (chosen, values) if left @ left < residual @ residual else (support, amplitudes)


def _exact_step(gradient: NDArray[np.float64], moved: NDArray[np.float64]) -> float:
    """Return the minimiser of the error along ``gradient`` (k,), which moves x̂ by ``moved`` (d,)."""
    return float(gradient @ gradient) / max(float(moved @ moved), 1e-12)
