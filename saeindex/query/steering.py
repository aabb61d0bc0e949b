"""Steering: moving the query along feature directions and keeping what the autoencoder cannot say.

    q' = normalise(q + sum_t s_t m_t u_t)

``u_t`` is the unit direction of target t: the decoder directions of its features, weighted by how well
each matches. ``m_t`` is their typical (median) activation, so that strength 1.0 adds as much as a typical
record has. The part of q outside the dictionary is never touched.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from saeindex.errors import InvalidInputError

if TYPE_CHECKING:
    from saeindex.features import FeatureSpace
    from saeindex.query.concepts import Concept
    from saeindex.types import FloatArray


@dataclass(frozen=True, slots=True)
class ResolvedSteer:
    """A target's features and the signed strength to move along them."""

    concept: Concept
    strength: float


def apply(vector: FloatArray, steers: Sequence[ResolvedSteer], space: FeatureSpace) -> FloatArray:
    """Return q' (d,) float32; with no or only zero strengths the very same array."""
    moves = [steer.strength * step(steer.concept, space) for steer in steers if steer.strength != 0]
    if not moves:
        return vector
    moved = vector.astype(np.float64) + np.sum(moves, axis=0)
    length = float(np.linalg.norm(moved))
    if length < 1e-6:
        raise InvalidInputError("steer this query", "the steps cancel it out", "Use smaller strengths.")
    steered: FloatArray = (moved / length).astype(np.float32)
    return steered


def step(concept: Concept, space: FeatureSpace) -> FloatArray:
    """Return the vector (d,) that one unit of strength adds: typical activation times unit direction."""
    ids = np.array([match.id for match in concept.features])
    weights = np.array([match.score for match in concept.features])
    weights /= weights.sum()
    direction = weights @ space.sae.directions[ids]
    median = space.calibration.median[ids]
    typical = float(weights @ np.where(np.isfinite(median), median, 0.0))
    unit: FloatArray = typical * direction / np.linalg.norm(direction)
    return unit


def drift(before: FloatArray, after: FloatArray) -> float:
    """Return 1 - cos(before, after), 0.0 exactly when the query was not moved."""
    if after is before:
        return 0.0
    a, b = before.astype(np.float64), after.astype(np.float64)
    return max(0.0, float(1 - a @ b / (np.linalg.norm(a) * np.linalg.norm(b))))
