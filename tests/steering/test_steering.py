"""Steering against its formula, computed directly."""

from __future__ import annotations

import numpy as np
import pytest

from saeindex import FeatureSpace, Steer
from saeindex.concepts.resolver import Concept, FeatureMatch
from saeindex.errors import InvalidInputError
from saeindex.index import FeatureIndex
from saeindex.steering import steering
from saeindex.steering.steering import USUAL, ResolvedSteer, decoder_direction
from tests.samples import prepared


def concept(*weighted: tuple[int, float]) -> Concept:
    return Concept("x", tuple(FeatureMatch(i, "label", score, None, True, 0.0) for i, score in weighted))


def unit(space: FeatureSpace, seed: int) -> np.ndarray:
    vector = np.random.default_rng(seed).normal(size=space.sae.dimension)
    return (vector / np.linalg.norm(vector)).astype(np.float32)


def expected(space: FeatureSpace, q: np.ndarray, steers: list[tuple[Concept, float]]) -> np.ndarray:
    """q' = normalise(q + sum_t s_t m_t u_t), one coordinate sum at a time."""
    moved = q.astype(np.float64)
    for target, strength in steers:
        total = sum(match.score for match in target.features)
        direction, typical = np.zeros(len(q)), 0.0
        for match in target.features:
            direction += match.score / total * space.directions[match.id].astype(np.float64)
            is_beside = match.id >= space.sae.n_features
            median = USUAL if is_beside else float(space.calibration.median[match.id])
            typical += match.score / total * (median if np.isfinite(median) else 0.0)
        moved += strength * typical * direction / np.sqrt((direction**2).sum())
    return np.asarray(moved / np.sqrt((moved**2).sum()))


def test_a_steered_vector_equals_the_formula(space: FeatureSpace) -> None:
    rng = np.random.default_rng(1)
    for seed in range(30):
        q = unit(space, seed)
        features = rng.choice(space.n_features, 6, replace=False).tolist()
        steers = [
            (concept((features[0], 1.0)), float(rng.uniform(-2, 2))),
            (concept(*[(i, float(rng.uniform(0.4, 1))) for i in features[1:]]), 0.7),
        ]
        steered = steering.apply(q, [ResolvedSteer(decoder_direction(t, space), s) for t, s in steers])
        assert steered.dtype == np.float32
        np.testing.assert_allclose(steered, expected(space, q, steers), atol=1e-6)


def test_drift_is_one_minus_the_cosine_and_zero_without_a_change(space: FeatureSpace) -> None:
    q, other = unit(space, 1), unit(space, 2)
    cosine = sum(float(a) * float(b) for a, b in zip(q, other, strict=True))
    assert steering.drift_of(q, other) == pytest.approx(1 - cosine, abs=1e-6)
    assert steering.drift_of(q, q) == 0.0
    assert steering.drift_of(q, q.copy()) == pytest.approx(0.0, abs=1e-7)


def test_zero_strengths_return_the_same_array(space: FeatureSpace) -> None:
    q = unit(space, 3)
    assert steering.apply(q, []) is q
    still = ResolvedSteer(decoder_direction(concept((3, 1.0)), space), 0.0)
    assert steering.apply(q, [still] * 3) is q


def test_drift_grows_with_strength(papers: FeatureIndex) -> None:
    drifts = [papers.plan("roasted peppers", steer=f"+#5:{s}").drift for s in (0, 0.25, 0.5, 1, 2, 4)]
    assert drifts[0] == 0.0
    assert drifts == sorted(drifts)
    assert drifts[-1] > drifts[1]


def test_opposite_steers_cancel(papers: FeatureIndex) -> None:
    plan = papers.plan("roasted peppers", steer="+#5:2 -#5:2")
    assert plan.drift == pytest.approx(0.0, abs=1e-7)


def test_the_strongest_steering_still_gives_a_unit_vector(papers: FeatureIndex) -> None:
    for sign in ("+", "-"):
        vector = prepared(papers, "roasted peppers", steer=f"{sign}#5:100").vector
        assert np.linalg.norm(vector) == pytest.approx(1.0, abs=1e-6)
    assert len(papers.search("roasted peppers", steer="+#5:100")) == 10


def test_steps_that_cancel_the_query_out_are_refused(space: FeatureSpace) -> None:
    q = space.directions[5] / np.linalg.norm(space.sae.directions[5])
    strength = -1 / float(space.calibration.median[5])
    with pytest.raises(InvalidInputError, match="cancel"):
        steering.apply(q, [ResolvedSteer(decoder_direction(concept((5, 1.0)), space), strength)])


@pytest.mark.parametrize("strength", [float("nan"), float("inf"), 1e9])
def test_a_query_with_an_invalid_strength_is_refused(papers: FeatureIndex, strength: float) -> None:
    with pytest.raises(InvalidInputError, match="strengths"):
        papers.search("roasted peppers", steer=[Steer("#5", strength)])


def test_a_printed_plan_lists_the_steers(papers: FeatureIndex) -> None:
    plan = papers.plan("roasted peppers", steer="+#5:0.5")
    assert "Steer '#5' by +0.5" in str(plan)
    assert f"Drift: {plan.drift:.4f}" in str(plan)
    (step,) = plan.to_json()["steer"]
    assert (step["target"], step["strength"]) == ("#5", 0.5)
    assert step["parts"][0]["feature"] == 5
    assert step["parts"][0]["weight"] == pytest.approx(1.0, abs=1e-3)
    assert step["residual"] == pytest.approx(0.0, abs=1e-3)
