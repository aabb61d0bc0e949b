"""Steering: moving the query along directions, without losing what the autoencoder cannot represent.

    q' = normalise(q + sum_t s_t m_t u_t)

``u_t`` is the unit direction of target t, and ``m_t`` the projection on it of a typical record that has the
target (see below). The part of q outside the dictionary is not changed.

The direction of a feature or a family is made of decoder directions. The direction of a phrase is built from
its name, from the records of the collection that match it, from the other values of its field and from
examples:

    u = nz(n + φ f + ε e),   n = nz(q' - μ),  f = nz(w·X - μ),  e = nz(centred examples)

with q' the name minus the labels' background, w the softmax of the property's scores over the sample, and, if
other values are described, n and f minus the mean of those of the other values. One unit of strength adds as
much of the direction as a typical record with the concept has.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from saeindex.collection.state import IndexState, Memo
from saeindex.concepts.feedback import check_sides
from saeindex.concepts.inference import WITHOUT_WORDS, Asked, example_direction, scored_by, units
from saeindex.concepts.resolver import Concept, FeatureMatch, Resolver, is_id, said_by
from saeindex.config import FAMILY, PROFILE
from saeindex.errors import InvalidInputError
from saeindex.protocols import SparseVector
from saeindex.types import Steer, SteeringMethod, shown_label

if TYPE_CHECKING:
    from saeindex.collection.sample import CollectionSample, Rows
    from saeindex.features import FeatureSpace
    from saeindex.types import Doubles, FloatArray

# Steps of the bisection for the largest factor within a drift, to one part in a million.
HALVINGS = 20
KEPT = 256


@dataclass(frozen=True, slots=True)
class ResolvedSteer:
    """A target's direction and the signed strength to move along it."""

    direction: Direction
    strength: float


class SteerResolver:
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
            do = "Use steering='built'."
            raise InvalidInputError(f"steer {steer.target!r} with steering='clamp'", "no feature", do)
        return ResolvedSteer(direction, steer.strength)

    def _direction(self, steer: Steer, method: SteeringMethod) -> Direction:
        target = steer.target
        if target.startswith(PROFILE):
            return self._profile(target.removeprefix(PROFILE))
        has_examples = bool(steer.like or steer.unlike)
        if not has_examples and (target.startswith(FAMILY) or is_id(target) or method == "clamp"):
            concept = self._resolver.resolve(target, "strict")
            if method == "clamp" and not target.startswith(FAMILY):
                concept = replace(concept, features=concept.features[:1])
            return decoder_direction(concept, self._state.space)
        if not target.strip() and not has_examples:
            raise InvalidInputError("steer", "no target", "Name a concept, or give like and unlike.")
        key = (target, *(tuple(given) for given in (steer.against, steer.like, steer.unlike)))

        def made() -> Direction:
            if target and not (steer.against or has_examples):
                self._resolver.check_meaning(target)
            return built_direction(self._state, steer, self._resolver.named(target))

        return self._known.get(key, made)


def _check_evidence(steer: Steer, method: SteeringMethod) -> None:
    """Raise InvalidInputError if the direction would ignore given other values or examples."""
    target = steer.target
    evidence = {name: getattr(steer, name) for name in ("against", "like", "unlike")}
    check_sides(f"steer {target!r}", steer.like, steer.unlike, steer.against)
    is_fixed = target.startswith((PROFILE, FAMILY)) or is_id(target)
    if any(evidence.values()) and (is_fixed or method != "built"):
        found = (
            "a direction that they do not change" if is_fixed else f"steering={method!r} takes a name alone"
        )
        asked = f"steer {target!r} with {' and '.join(name for name in evidence if evidence[name])}"
        raise InvalidInputError(asked, found, "Use a phrase with steering='built'.")


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
        do = "Use smaller strengths."
        raise InvalidInputError("steer this query", "the steps cancel the query out", do)
    return np.asarray(moved / length, np.float32)


def clamp(vector: FloatArray, steers: Sequence[ResolvedSteer], space: FeatureSpace) -> FloatArray:
    """Return the query decoded from its code with features set to strengths (saerch, arXiv 2408.00657).

    This is a baseline: the residual of the query is lost. A negative strength sets the feature to 0.
    """
    if not any(steer.strength for steer in steers):
        return vector
    indices, values = space.sae.encode_one(vector)
    code = dict(zip(indices.tolist(), values.astype(np.float64).tolist(), strict=True))
    for steer in steers:
        for match in steer.direction.features:
            code[match.id] = max(0.0, steer.strength) * steer.direction.typical
    atoms = space.directions[list(code)].astype(np.float64)
    decoded = np.array(list(code.values())) @ atoms + space.sae.weights["bias"].astype(np.float64)
    return np.asarray(decoded / np.linalg.norm(decoded), np.float32)


def within(
    vector: FloatArray, steers: Sequence[ResolvedSteer], max_drift: float
) -> tuple[ResolvedSteer, ...]:
    """Return the steers scaled by the largest common factor, at most 1, within ``max_drift``."""
    if drift_of(vector, apply(vector, steers)) <= max_drift:
        return tuple(steers)

    def scaled(factor: float) -> tuple[ResolvedSteer, ...]:
        return tuple(replace(steer, strength=steer.strength * factor) for steer in steers)

    low, high = 0.0, 1.0
    for _ in range(HALVINGS):
        middle = (low + high) / 2
        is_within = drift_of(vector, apply(vector, scaled(middle))) <= max_drift
        low, high = (middle, high) if is_within else (low, middle)
    return scaled(low)


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
        for part in steer.direction.parts if steer.strength < 0 else ():
            if part.weight > 0:
                step = steer.strength * steer.direction.typical * part.weight
                code[part.feature] = code.get(part.feature, 0.0) + step
    kept = sorted(feature for feature, value in code.items() if value != 0.0)
    return SparseVector(np.array(kept, np.int32), np.array([code[i] for i in kept], np.float32))


# The sharpness of the softmax over records, and the weight of these records beside the name.
SOFTNESS, SHOWN_RECORDS = 0.65, 1.5
# The weight of five examples beside the name; it grows with the root of their number, up to the maximum.
FIVE_EXAMPLES, MAX_EXAMPLES = 2.0, 6.0
# The score, in deviations above the mean, from which a record has the concept; the minimum of such records.
HAS_FROM, MIN_HAVING = 1.5, 10
# The projection of a typical record on a direction in most collections; used for tiny collections.
USUAL = 0.25
# The number of concepts that describe a direction.
SHOWN = 16
# The length up to which a vector counts as zero, because of rounding (decoders are float32).
NOTHING = 1e-6


# What a part of a direction is called that has no name.
UNNAMED = "unnamed"


@dataclass(frozen=True, slots=True)
class DirectionPart:
    """One concept of a direction, and the weight of its decoder direction in the unit vector."""

    feature: int
    label: str
    weight: float
    is_weak: bool = False

    def __str__(self) -> str:
        return f"{shown_label(f'#{self.feature} {self.label!r}', self.is_weak)} {self.weight:+.2f}"


@dataclass(frozen=True, eq=False)
class Direction:
    """The direction of a target: ``unit`` (d,), and ``typical``, the length of a step of strength 1.0.

    ``concept`` has the features of a feature, family or label; None for a direction built from evidence, and
    ``named`` are then the features whose names say the target.
    """

    target: str
    unit: Doubles
    typical: float
    space: FeatureSpace
    concept: Concept | None = None
    named: tuple[FeatureMatch, ...] = ()

    @cached_property
    def parts(self) -> tuple[DirectionPart, ...]:
        """The concepts of the direction, by matching pursuit; of what has no name, the target's own has."""
        labels, own = self.space.labels, {match.id for match in self.features}
        return tuple(
            DirectionPart(i, labels[i].text, weight, labels[i].is_weak)
            if self.space.is_named[i] or i in own
            else DirectionPart(i, UNNAMED, weight, is_weak=False)
            for i, weight in pursue(self.unit, self.space, SHOWN).items()
        )

    @property
    def features(self) -> tuple[FeatureMatch, ...]:
        """The features of the target, or whose names say it."""
        return self.named if self.concept is None else self.concept.features

    @cached_property
    def residual(self) -> float:
        """The length of the unit vector's residual after subtracting these concepts."""
        shown = combined({part.feature: part.weight for part in self.parts}, self.space)
        return float(np.linalg.norm(self.unit - shown))

    def edited(self, edits: Mapping[int, float]) -> Direction:
        """Return the direction with these weights of concepts; 0 removes a concept."""
        if not edits:
            return self
        for feature in edits:
            self.space.label(feature)
        weights = pursue(self.unit, self.space, SHOWN)
        change = {feature: weight - weights.get(feature, 0.0) for feature, weight in edits.items()}
        changed = self.unit + combined(change, self.space)
        if np.linalg.norm(changed) <= NOTHING:
            do = "Keep a concept of it."
            raise InvalidInputError(f"steer {self.target!r} with edits", "they remove all of it", do)
        return replace(self, unit=units(changed))

    def to_json(self) -> dict[str, Any]:
        """Return the direction as a JSON object."""
        return {
            "target": self.target,
            "typical": self.typical,
            "residual": self.residual,
            "parts": [asdict(part) for part in self.parts],
        }

    def __str__(self) -> str:
        return listed_parts(self)


def listed_parts(direction: Any) -> str:
    """Return a direction, or one of a plan, as lines: what a strength of 1 adds of each concept."""
    lines = [f"{direction.target!r} = {direction.typical:.3f} times"]
    for part in direction.parts:
        name = shown_label(f"#{part.feature} {part.label}", part.is_weak)
        lines.append(f"  {part.weight:+.3f}  {name}")
    return "\n".join([*lines, f"   {direction.residual:.3f}  not in the dictionary"])


def decoder_direction(concept: Concept, space: FeatureSpace) -> Direction:
    """Return the direction of features: their directions, weighted by the scores of the matches.

    Texts project on the direction of a concept beside the autoencoder as is usual.
    """
    ids = np.array([match.id for match in concept.features])
    if not (given := space.directions[ids]).any():
        found, do = "a feature of tokens has no direction in `dense`", "Filter by it, or steer by a concept."
        raise InvalidInputError(f"steer by {concept.phrase!r:.80}", found, do)
    weights = np.array([match.score for match in concept.features], np.float64)
    weights /= weights.sum()
    median = space.calibration.median[ids]
    median = np.where(ids < space.sae.n_features, median, USUAL)
    typical = float(weights @ np.where(np.isfinite(median), median, 0.0))
    return Direction(concept.phrase, units(weights @ given), typical, space, concept)


def built_direction(state: IndexState, steer: Steer, named: tuple[FeatureMatch, ...] = ()) -> Direction:
    """Return the direction built from a phrase, the other values of its field and examples.

    ``named`` are the features whose names say the phrase: records that have them are evidence.
    """
    sample = state.sample()
    what = f"steer {steer.target!r}" if steer.target else "steer by examples:"
    like = state.records(steer.like, f"{what} like")
    unlike = state.records(steer.unlike, f"{what} unlike")
    names = [steer.target, *steer.against] if steer.target else []
    vectors = [state.encode(name) for name in names] or [np.zeros_like(sample.mean)]
    nearest = state.nearest(vectors[0]) if names else None
    asked = Asked(np.stack(vectors), bool(names), like, unlike, said_by(named))
    unit, scores = direction_of(sample, asked, state, nearest)
    typical = _typical(unit, scores, sample)
    return Direction(steer.target or "examples", unit, typical, sample.space, named=named)


def direction_of(
    sample: CollectionSample, asked: Asked, state: IndexState, nearest: Rows | None = None
) -> tuple[Doubles, Doubles]:
    """Return the unit direction (d,) of the evidence ``asked``, and the score of each sampled record (m,)."""
    scorer = scored_by(sample, asked, state.encoder, WITHOUT_WORDS, nearest)
    fits = scorer.of_sample
    softly = np.exp(SOFTNESS * (fits - fits.max(axis=0)))
    softly /= softly.sum(axis=0)
    mean = sample.mean.astype(np.float64)
    amount = SHOWN_RECORDS * sample.trust
    shown = amount * units(softly.T @ sample.rows.x - mean)
    named = units(units(asked.vectors - sample.background) - mean) * asked.has_text
    if len(asked.vectors) > 1:
        apart = (units(v[0] - v[1:].mean(axis=0))[None] for v in (shown, named))
        shown, named = (length * v for length, v in zip((amount, 1.0), apart, strict=True))
    toward = named[0] + shown[0]
    if (example := example_direction(asked, mean, WITHOUT_WORDS)) is not None:
        count = len(asked.like) if asked.like is not None else 0
        toward = toward + min(MAX_EXAMPLES, FIVE_EXAMPLES * (max(1, count) / 5) ** 0.5) * example
    return units(toward), fits[:, 0]


def _typical(unit: Doubles, scores: Doubles, sample: CollectionSample) -> float:
    """Return the typical projection of records with a concept on its direction, from the mean."""
    has = (scores - scores.mean()) / max(float(scores.std()), 1e-9) >= HAS_FROM
    if has.sum() < MIN_HAVING:
        has = np.argsort(-scores, kind="stable")[:MIN_HAVING]
    along = max(float(np.median((sample.rows.x[has] - sample.mean) @ unit)), 0.0)
    return sample.trust * along + (1 - sample.trust) * USUAL


def pursue(vector: Doubles, space: FeatureSpace, count: int) -> dict[int, float]:
    """Return up to ``count`` features and weights that approximate a vector, by orthogonal matching pursuit.

    Largest weight first; fewer if these are exact. Pati, Rezaiifar and Krishnaprasad 1993 (Asilomar).
    """
    directions: FloatArray = space.directions
    chosen: list[int] = []
    left: Doubles = vector
    weights: Doubles = np.zeros(0)
    for _ in range(count):
        if np.linalg.norm(left) <= NOTHING * np.linalg.norm(vector):
            break
        gains = np.abs(directions @ left.astype(np.float32))
        gains[chosen] = -1.0
        chosen.append(int(gains.argmax()))
        atoms = directions[chosen].astype(np.float64)
        weights = np.asarray(np.linalg.lstsq(atoms.T, vector, rcond=None)[0], np.float64)
        left = vector - weights @ atoms
    order = np.argsort(-np.abs(weights), kind="stable")
    return {chosen[i]: float(weights[i]) for i in order}


def combined(weights: Mapping[int, float], space: FeatureSpace) -> Doubles:
    """Return the sum of decoder directions (d,) with these weights."""
    return np.array(list(weights.values())) @ space.directions[list(weights)].astype(np.float64)
