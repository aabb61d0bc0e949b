"""Directions: their formula, their decomposition into concepts, and edits."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from sklearn.linear_model import OrthogonalMatchingPursuit

from saeindex import FeatureIndex, FeatureSpace, Steer
from saeindex.concepts.inference import WITHOUT_WORDS, Asked, Scorer, infer, pool_of
from saeindex.errors import InvalidInputError, UnknownConceptError
from saeindex.steering.steering import (
    HAS_FROM,
    SHOWN_RECORDS,
    SOFTNESS,
    USUAL,
    Direction,
    built_direction,
    combined,
    decoder_direction,
    pursue,
)

TARGETS = [
    Steer("sounds disappointed"),
    Steer("a question", against=("a complaint", "a mathematical statement")),
    Steer("sad", like=("doc-4", "doc-17"), unlike=("doc-5",)),
    Steer("", like=("doc-4", "doc-17", "doc-30")),
    Steer("", unlike=("doc-4",)),
    Steer("sad", against=("happy",), like=("doc-9",)),
]


def nz(v: np.ndarray) -> np.ndarray:
    return np.asarray(v, np.float64) / np.linalg.norm(v)


def built(index: FeatureIndex, steer: Steer) -> Direction:
    return built_direction(index.state, steer)


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("count", [1, 4, 16])
def test_pursuit_equals_that_of_scikit_learn(space: FeatureSpace, seed: int, count: int) -> None:
    vector = nz(np.random.default_rng(seed).normal(size=384))
    atoms = space.directions.astype(np.float64)
    reference = OrthogonalMatchingPursuit(n_nonzero_coefs=count, fit_intercept=False).fit(atoms.T, vector)
    expected = {int(i): float(reference.coef_[i]) for i in np.flatnonzero(reference.coef_)}
    assert pursue(vector, space, count) == pytest.approx(expected, abs=1e-5)


def test_pursuit_stops_at_a_zero_residual(space: FeatureSpace) -> None:
    vector = combined({5: 0.8, 9: -0.3}, space)
    assert pursue(vector, space, 16) == pytest.approx({5: 0.8, 9: -0.3}, abs=1e-6)
    assert pursue(np.zeros(384), space, 16) == {}


def test_the_concepts_and_the_residual_sum_to_the_direction(papers: FeatureIndex) -> None:
    for steer in TARGETS:
        direction = built(papers, steer)
        shown = sum(p.weight * papers.space.directions[p.feature].astype(float) for p in direction.parts)
        assert direction.residual == pytest.approx(float(np.linalg.norm(direction.unit - shown)), abs=1e-9)
        assert len(direction.parts) == 16
        weights = [abs(part.weight) for part in direction.parts]
        assert weights == sorted(weights, reverse=True)
        named, own = papers.space.is_named, {match.id for match in direction.features}
        for part in direction.parts:
            is_shown = named[part.feature] or part.feature in own
            assert part.label == (papers.space.labels[part.feature].text if is_shown else "unnamed")
        assert f"{direction.residual:.3f}  not in the dictionary" in str(direction)
        assert direction.to_json()["parts"][0]["feature"] == direction.parts[0].feature


@pytest.mark.parametrize("steer", TARGETS, ids=str)
def test_a_built_direction_is_a_unit_with_a_positive_step(papers: FeatureIndex, steer: Steer) -> None:
    direction = built(papers, steer)
    assert np.linalg.norm(direction.unit) == pytest.approx(1.0)
    assert 0 < direction.typical < 1


def test_the_direction_of_a_phrase_uses_its_text_and_matching_records(papers: FeatureIndex) -> None:
    sample, x = papers.state.sample(), papers.state.sample().rows.x.astype(float)
    vector, mean = papers.state.encode("sounds disappointed"), sample.mean.astype(float)
    request = Asked(vector[None])
    scores = Scorer(
        infer(sample, pool_of(sample), request, papers.encoder, WITHOUT_WORDS),
        sample,
        WITHOUT_WORDS.neighbours,
    ).of_sample[:, 0]
    weights = np.exp(SOFTNESS * scores) / np.exp(SOFTNESS * scores).sum()
    name = nz(nz(vector - sample.background) - mean)
    unit = nz(name + SHOWN_RECORDS * sample.trust * nz(weights @ x - mean))
    found = built(papers, Steer("sounds disappointed"))
    np.testing.assert_allclose(found.unit, unit, atol=1e-6)
    has = scores >= HAS_FROM if (scores >= HAS_FROM).sum() >= 10 else np.argsort(-scores)[:10]
    along = float(np.median((x[has] - mean) @ unit))
    assert found.typical == pytest.approx(sample.trust * along + (1 - sample.trust) * USUAL, abs=1e-5)


def test_other_values_turn_the_direction_away_from_them(papers: FeatureIndex) -> None:
    alone = built(papers, Steer("a question")).unit
    contrasted = built(papers, Steer("a question", against=("a complaint",))).unit
    other = nz(papers.state.encode("a complaint"))
    assert contrasted @ other < alone @ other


def test_examples_turn_the_direction_towards_them_and_away_from_the_others(papers: FeatureIndex) -> None:
    rows = papers.state.sample().rows
    ids = [point.payload["record_id"] for point in papers.state.store.get(rows.ids, True)]
    x = rows.x - papers.state.sample().mean
    like, unlike = nz(x[:6].mean(0)), nz(x[6:12].mean(0))
    plain = built(papers, Steer("sad")).unit
    guided = built(papers, Steer("sad", like=tuple(ids[:6]), unlike=tuple(ids[6:12]))).unit
    assert guided @ like > plain @ like
    assert guided @ unlike < plain @ unlike
    only = built(papers, Steer("", unlike=tuple(ids[6:12]))).unit
    assert only @ unlike < 0


def test_an_edit_sets_the_weight_of_a_concept(papers: FeatureIndex) -> None:
    direction = built(papers, Steer("sounds disappointed"))
    removed, added = direction.parts[0], 7
    parts = {part.feature: part.weight for part in direction.parts}
    assert added not in parts
    edited = direction.edited({removed.feature: 0.0, added: 0.5})
    atoms = papers.space.directions.astype(float)
    expected = nz(direction.unit - removed.weight * atoms[removed.feature] + 0.5 * atoms[added])
    np.testing.assert_allclose(edited.unit, expected, atol=1e-6)
    assert edited.unit @ atoms[removed.feature] < direction.unit @ atoms[removed.feature]
    assert edited.typical == direction.typical
    assert direction.edited({}) is direction


def test_edits_that_remove_everything_or_name_no_feature_are_refused(papers: FeatureIndex) -> None:
    with pytest.raises(InvalidInputError, match="remove all of it"):
        papers.search("galaxies", steer=[Steer("#5", edits={5: 0.0})])
    with pytest.raises(UnknownConceptError):
        papers.search("galaxies", steer=[Steer("#5", edits={9_999: 0.5})])


def test_a_feature_steers_along_its_decoder_by_its_median(papers: FeatureIndex) -> None:
    space = papers.space
    direction = decoder_direction(papers.concepts.resolve("#5"), space)
    np.testing.assert_allclose(direction.unit, nz(space.directions[5]), atol=1e-7)
    assert direction.typical == pytest.approx(float(space.calibration.median[5]))
    (part,) = direction.parts
    assert part.feature == 5
    assert part.weight == pytest.approx(1.0, abs=1e-4)
    assert replace(direction, target="x").residual == pytest.approx(0.0, abs=1e-6)
