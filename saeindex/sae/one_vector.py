"""The code of one vector in numpy, so that a query needs no torch, whose import takes longer than a search.

The steps and the precision are those of :mod:`saeindex.sae.topk`, for a single row.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from saeindex.types import Doubles, FloatArray, IntArray, Ints

# Features beyond k whose strengths are computed again in double precision; rounding changes no rank by more.
MARGIN = 8


@dataclass(frozen=True, slots=True)
class Budget:
    """The maximum numbers of active features: ``k``, of which ``k_named`` are for the first ``n_named``.

    Free features follow what is left of a vector; under one budget they would displace the named ones. They
    take the places that named ones leave.
    """

    k: int
    n_named: int = 0
    k_named: int = 0

    def parts(self, n: int) -> Iterator[tuple[slice, int]]:
        """Yield each part of ``n`` features, and how many of it may be active."""
        if self.k_named:
            yield slice(0, self.n_named), self.k_named
        if self.n_named < n:
            yield slice(self.n_named, n), min(self.k, n - self.n_named)


def encode_one(
    vector: FloatArray,
    weights: Mapping[str, FloatArray],
    budget: Budget,
    *,
    refine_steps: int,
    support_rounds: int,
) -> tuple[IntArray, FloatArray]:
    """Return the active features of ``vector`` (d,), ascending int32, and their float32 activations > 0."""
    # Subtracted in single precision, as for a batch: both functions must give the same code.
    centred = (vector.astype(np.float32) - weights["bias"]).astype(np.float64)
    support, strengths = _strongest(centred, weights, budget)
    amplitudes = np.maximum(strengths, 0.0)
    if "threshold" in weights:
        amplitudes = amplitudes * (strengths > weights["threshold"][support])
    if "gain" in weights:
        amplitudes = amplitudes * weights["gain"][support]
    silent = _silent(centred, weights, budget.n_named) if support_rounds else None
    for _ in range(support_rounds):
        support, amplitudes = _rechosen(centred, weights["decoder"], support, amplitudes, budget, silent)
    amplitudes = _refined(centred, weights["decoder"][support].astype(np.float64), amplitudes, refine_steps)
    order = np.argsort(support)
    indices, values = support[order].astype(np.int32), amplitudes[order].astype(np.float32)
    return indices[values > 0], values[values > 0]


def _strongest(centred: Doubles, weights: Mapping[str, FloatArray], budget: Budget) -> tuple[Ints, Doubles]:
    """Return the strongest features within the budget and their strengths, ties going to the lower id."""
    encoder, bias = weights["encoder"], weights["encoder_bias"]
    strengths = encoder @ centred.astype(np.float32) + bias
    supports, found = [], []
    for part, k in budget.parts(len(encoder)):
        of_part = strengths[part]
        near = min(k + MARGIN, len(of_part))
        candidates = part.start + np.sort(np.argpartition(-of_part, near - 1)[:near])
        exact = encoder[candidates].astype(np.float64) @ centred + bias[candidates].astype(np.float64)
        chosen = np.argsort(-exact, kind="stable")[:k]
        supports.append(candidates[chosen])
        found.append(exact[chosen])
    support, exact = np.concatenate(supports), np.concatenate(found)
    is_silent = exact <= (weights["threshold"][support] if "threshold" in weights else 0)
    kept = _within(support, is_silent, budget)
    return support[kept], exact[kept]


def _within(support: Ints, is_silent: NDArray[np.bool_], budget: Budget) -> Ints:
    """Return the first k places of ``support`` (s,), whose parts are ranked; silent named ones come last."""
    return np.argsort(is_silent & (support < budget.n_named), kind="stable")[: budget.k]


def _silent(centred: Doubles, weights: Mapping[str, FloatArray], n_named: int) -> NDArray[np.bool_] | None:
    """Return the named features (n_named,) that may not be selected again, None if nothing forbids it."""
    if "threshold" not in weights or not n_named:
        return None
    named = {name: weights[name][:n_named] for name in ("encoder", "encoder_bias", "threshold")}
    strengths = named["encoder"].astype(np.float64) @ centred + named["encoder_bias"].astype(np.float64)
    return strengths <= named["threshold"]


def _refined(target: Doubles, directions: Doubles, start: Doubles, steps: int) -> Doubles:
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
    target: Doubles,
    decoder: FloatArray,
    support: Ints,
    amplitudes: Doubles,
    budget: Budget,
    silent: NDArray[np.bool_] | None,
) -> tuple[Ints, Doubles]:
    """Return the support and its amplitudes after one round of hard thresholding."""
    directions = decoder[support].astype(np.float64)
    residual = target - amplitudes @ directions
    correlation = decoder.astype(np.float64) @ residual
    on_support = correlation[support] * (amplitudes > 0)
    moved = _exact_step(on_support, on_support @ directions) * correlation
    moved[support] += amplitudes
    if silent is not None:
        moved[: len(silent)][silent] = 0
    parts = budget.parts(len(decoder))
    ranked = np.concatenate([part.start + np.argsort(-moved[part], kind="stable")[:k] for part, k in parts])
    chosen = ranked[_within(ranked, moved[ranked] <= 0, budget)]
    directions = decoder[chosen].astype(np.float64)
    values = _refined(target, directions, np.maximum(moved[chosen], 0), 1)
    left = target - values @ directions
    return (chosen, values) if left @ left < residual @ residual else (support, amplitudes)


def _exact_step(gradient: Doubles, moved: Doubles) -> float:
    """Return the minimiser of the error along ``gradient`` (k,), which moves x̂ by ``moved`` (d,)."""
    return float(gradient @ gradient) / max(float(moved @ moved), 1e-12)
