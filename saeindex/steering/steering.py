"""Steering: moving the query along directions, without losing what the autoencoder cannot represent.

    q' = normalise(q + sum_t s_t m_t u_t)

``u_t`` is the unit direction of target t, and ``m_t`` the projection on it of a typical record that has the
target (:mod:`saeindex.steering.direction`). The part of q outside the dictionary is not changed.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from saeindex.collection.caches import Memo
from saeindex.concepts.feedback import check_sides
from saeindex.concepts.resolver import is_id
from saeindex.config import FAMILY, PROFILE
from saeindex.errors import InvalidInputError
from saeindex.protocols import SparseVector
from saeindex.steering.direction import Direction, built_direction, decoder_direction
from saeindex.types import Steer, SteeringMethod

if TYPE_CHECKING:
    from collections.abc import Callable

    from saeindex.collection.state import IndexState
    from saeindex.concepts.resolver import Concept, Resolver
    from saeindex.features import FeatureSpace
    from saeindex.types import FloatArray

# Steps of the bisection for the largest factor within a drift, to one part in a million.
HALVINGS = 20
KEPT = 256


@dataclass(frozen=True, slots=True)
class ResolvedSteer:
    """A target's direction and the signed strength to move along it."""

    direction: Direction
    strength: float


class Steering:
    """Resolves targets to directions, and caches them until the collection changes."""

    def __init__(self, state: IndexState, resolver: Resolver, profile: Callable[[str], Direction]) -> None:
        """Bind the collection, its resolver of concepts, and the function from a name to a saved profile."""
        self._state, self._resolver, self._profile = state, resolver, profile
        self._known: Memo[Direction] = Memo(KEPT)

    def resolve(self, steer: Steer, method: SteeringMethod = "built") -> ResolvedSteer:
        """Return a steer with its direction; UnknownConceptError if nothing matches its target."""
        _check_evidence(steer, method)
        direction = self._direction(steer, method).edited(steer.edits)
        if method == "clamp" and direction.concept is None:
            raise InvalidInputError(
                f"steer {steer.target!r} with steering='clamp'", "no feature", "Use steering='built'."
            )
        return ResolvedSteer(direction, steer.strength)

    def _direction(self, steer: Steer, method: SteeringMethod) -> Direction:
        target = steer.target
        if target.startswith(PROFILE):
            return self._profile(target.removeprefix(PROFILE))
        has_examples = bool(steer.like or steer.unlike)
        if not has_examples and (target.startswith(FAMILY) or is_id(target) or method == "clamp"):
            return decoder_direction(self._named(target, method), self._state.space)
        if not target.strip() and not has_examples:
            raise InvalidInputError("steer", "no target", "Name a concept, or give like and unlike.")
        return self._cached(steer)

    def _named(self, target: str, method: SteeringMethod) -> Concept:
        concept = self._resolver.resolve(target, "strict")
        is_single = method == "clamp" and not target.startswith(FAMILY)
        return replace(concept, features=concept.features[:1]) if is_single else concept

    def _cached(self, steer: Steer) -> Direction:
        evidence = (tuple(given) for given in (steer.against, steer.like, steer.unlike))
        key = (steer.target, *evidence)
        return self._known.get(key, lambda: self._made(steer))

    def _made(self, steer: Steer) -> Direction:
        if steer.target and not (steer.against or steer.like or steer.unlike):
            self._resolver.check_meaning(steer.target)
        return built_direction(self._state, steer, self._resolver.named(steer.target))


def _check_evidence(steer: Steer, method: SteeringMethod) -> None:
    """Raise InvalidInputError if the direction would ignore given other values or examples."""
    target = steer.target
    evidence = {name: getattr(steer, name) for name in ("against", "like", "unlike")}
    for name, given in evidence.items():
        if isinstance(given, str):
            raise InvalidInputError(f"steer {target!r}, {name}={given!r}", "one text", "Give a list.")
    check_sides(f"steer {target!r}", steer.like, steer.unlike)
    is_fixed = target.startswith((PROFILE, FAMILY)) or is_id(target)
    if any(evidence.values()) and (is_fixed or method != "built"):
        found = (
            "a direction that they do not change" if is_fixed else f"steering={method!r} takes a name alone"
        )
        raise InvalidInputError(
            f"steer {target!r} with {' and '.join(name for name in evidence if evidence[name])}",
            found,
            "Use a phrase with steering='built'.",
        )


def apply(vector: FloatArray, steers: Sequence[ResolvedSteer]) -> FloatArray:
    """Return q' (d,) float32; without non-zero strengths, the same array object."""
    moves = [
        steer.strength * steer.direction.typical * steer.direction.unit for steer in steers if steer.strength
    ]
    if not moves:
        return vector
    moved = vector.astype(np.float64) + np.sum(moves, axis=0)
    length = float(np.linalg.norm(moved))
    if length < 1e-6:
        raise InvalidInputError(
            "steer this query", "the steps cancel the query out", "Use smaller strengths."
        )
    steered: FloatArray = (moved / length).astype(np.float32)
    return steered


def clamp(vector: FloatArray, steers: Sequence[ResolvedSteer], space: FeatureSpace) -> FloatArray:
    """Return the query decoded from its code with features set to strengths (saerch, arXiv 2408.00657).

    This is a baseline: the residual of the query is lost. A negative strength sets the feature to 0.
    """
    if not any(steer.strength for steer in steers):
        return vector
    indices, values = space.sae.encode_one(vector)
    code = dict(zip(indices.tolist(), values.astype(np.float64).tolist(), strict=True))
    for steer in steers:
        for match in steer.direction.concept.features if steer.direction.concept else ():
            code[match.id] = max(0.0, steer.strength) * steer.direction.typical
    atoms = space.directions[list(code)].astype(np.float64)
    decoded = np.array(list(code.values())) @ atoms + space.sae.weights["bias"].astype(np.float64)
    steered: FloatArray = (decoded / np.linalg.norm(decoded)).astype(np.float32)
    return steered


def within(
    vector: FloatArray, steers: Sequence[ResolvedSteer], max_drift: float
) -> tuple[ResolvedSteer, ...]:
    """Return the steers scaled by the largest common factor, at most 1, within ``max_drift``."""
    if drift_of(vector, apply(vector, steers)) <= max_drift:
        return tuple(steers)
    low, high = 0.0, 1.0
    for _ in range(HALVINGS):
        middle = (low + high) / 2
        low, high = (middle, high) if _drifts(vector, steers, middle) <= max_drift else (low, middle)
    return tuple(replace(steer, strength=steer.strength * low) for steer in steers)


def _drifts(vector: FloatArray, steers: Sequence[ResolvedSteer], factor: float) -> float:
    return drift_of(vector, apply(vector, [replace(s, strength=s.strength * factor) for s in steers]))


def drift_of(before: FloatArray, after: FloatArray) -> float:
    """Return 1 - cos(before, after); exactly 0.0 if the query was not moved."""
    if after is before:
        return 0.0
    a, b = before.astype(np.float64), after.astype(np.float64)
    return max(0.0, float(1 - a @ b / (np.linalg.norm(a) * np.linalg.norm(b))))


def steered_code(after: FloatArray, steers: Sequence[ResolvedSteer], space: FeatureSpace) -> SparseVector:
    """Return the sparse form of a steered query: the code of q' with subtracted concepts at lower weight.

    Records that have a subtracted concept score lower.
    """
    indices, values = space.sae.encode_one(after)
    code = dict(zip(indices.tolist(), values.tolist(), strict=True))
    for steer in steers:
        if steer.strength > 0:
            continue
        for part in steer.direction.parts:
            if part.weight > 0:
                step = steer.strength * steer.direction.typical * part.weight
                code[part.feature] = code.get(part.feature, 0.0) + step
    kept = sorted(feature for feature, value in code.items() if value != 0.0)
    return SparseVector(np.array(kept, np.int32), np.array([code[i] for i in kept], np.float32))
