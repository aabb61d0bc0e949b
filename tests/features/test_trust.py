"""F1 on one half at the threshold of the other, shuffled labels at chance, and the figures of a report."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from sklearn.metrics import f1_score, precision_recall_curve

from saeindex import FeatureSpace
from saeindex.features import Calibration, FeatureLabel
from saeindex.features.labels import TRUST_FLOOR
from saeindex.features.trust import (
    MAX_ACTIVE,
    best_threshold,
    contrast_sets,
    derangement,
    describe_summary,
    f1,
    f1_scores,
    label_scores,
    label_summary,
)
from saeindex.types import SparseCode


def separable(
    features: int = 40, rows: int = 3_000, noise: float = 0.05
) -> tuple[NDArray[np.float32], SparseCode, NDArray[np.float32]]:
    """Return records near their features' directions, their code, and those directions."""
    rng = np.random.default_rng(1)
    directions = rng.normal(size=(features, 64)) / 8
    is_active = rng.random((rows, features)) < rng.uniform(0.06, 0.12, features)
    z = (rng.uniform(0.5, 1.5, is_active.shape) * is_active).astype(np.float32)
    vectors = z @ directions + rng.normal(size=(rows, 64)) * noise
    at, ids = np.nonzero(z)
    indptr = np.concatenate([[0], np.cumsum(np.bincount(at, minlength=rows))]).astype(np.int64)
    code = SparseCode(indptr, ids.astype(np.int32), z[at, ids], features)
    return vectors.astype(np.float32), code, directions.astype(np.float32)


@settings(max_examples=100, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 8), st.booleans()), min_size=2, max_size=40))
def test_the_best_threshold_has_the_highest_f1(pairs: list[tuple[int, bool]]) -> None:
    scores = np.array([score for score, _ in pairs], np.float32)
    truth = np.array([is_active for _, is_active in pairs])
    found = f1_score(truth, scores >= best_threshold(scores, truth), zero_division=0)
    every = [f1_score(truth, scores >= t, zero_division=0) for t in np.unique(scores)]
    assert found == pytest.approx(max(every))
    assert f1(scores >= 4, truth) == pytest.approx(f1_score(truth, scores >= 4, zero_division=0))
    if truth.any():
        precision, recall, _ = precision_recall_curve(truth, scores)
        best = (2 * precision * recall / np.maximum(precision + recall, 1e-12)).max()
        assert found == pytest.approx(best)


def test_f1_is_measured_on_the_half_that_did_not_choose_the_threshold() -> None:
    vectors, code, labels = separable(features=8, noise=0.3)
    calibration = Calibration.measure(code)
    contrasts = list(contrast_sets(vectors, code, calibration, MAX_ACTIVE, seed=3))
    found = f1_scores(labels, vectors, contrasts, seed=3)
    for feature, contrast in enumerate(contrasts):
        assert contrast is not None
        cosine = vectors[contrast.texts] @ labels[feature]
        # The F1 of any half is within sampling error of the best F1 on the whole set.
        whole = f1_score(contrast.is_active, cosine >= best_threshold(cosine, contrast.is_active))
        assert found[feature] == pytest.approx(whole, abs=0.12)
    # An uninformative label: the threshold chosen on one half does not help on the other.
    random = np.random.default_rng(5).normal(size=labels.shape).astype(np.float32)
    chance = f1_scores(random, vectors, contrasts, seed=3)
    assert np.mean([score for score in chance if score is not None]) == pytest.approx(0.5, abs=0.06)


def test_a_feature_without_enough_records_has_neither_score() -> None:
    vectors, code, labels = separable(features=8, rows=200)
    scores = label_scores(labels, vectors, code, Calibration.measure(code))
    assert list(scores.trust) == list(scores.f1) == list(scores.control) == [None] * 8


def test_shuffled_labels_are_at_chance_and_real_labels_above() -> None:
    vectors, code, labels = separable()
    scores = label_scores(labels, vectors, code, Calibration.measure(code))
    trust, control = (np.array([s for s in part if s is not None]) for part in (scores.trust, scores.control))
    assert len(trust) == len(control) == 40
    assert trust.mean() > 0.9
    assert control.mean() == pytest.approx(0.5, abs=0.02)


@given(st.integers(2, 60), st.integers(0, 5))
def test_a_derangement_has_no_fixed_point(count: int, seed: int) -> None:
    permutation = derangement(count, seed)
    assert sorted(permutation) == list(range(count))
    assert (permutation != np.arange(count)).all()


def test_a_summary_counts_live_features_and_keeps_unmeasured_ones_below_the_floor() -> None:
    labels = [
        FeatureLabel("a", "lexical", 0.9, 0.8),
        FeatureLabel("b", "lexical", 0.5, 0.4),
        FeatureLabel("c", "manual", 0.6, None),
        FeatureLabel("d", "llm"),
        FeatureLabel("dead", "lexical"),
    ]
    density = np.array([0.1, 0.1, 0.1, 0.1, 0.0], np.float32)
    summary = label_summary(labels, density, [0.4, 0.55, None])
    assert summary == {
        "live": 4,
        "tested": 3,
        "mean_trust": pytest.approx(2 / 3),
        "mean_trust_above_floor": 0.9,
        "share_above_floor": 0.25,
        "mean_f1": pytest.approx(0.6),
        "control_auroc": pytest.approx(0.475),
        "methods": {"lexical": 3, "llm": 1, "manual": 1},
    }
    line = describe_summary(summary)
    assert "0.667 (shuffled labels 0.475)" in line
    assert f"25% of live features above {TRUST_FLOOR}" in line
    nothing = label_summary(labels[4:], density[4:])
    assert (nothing["mean_trust"], nothing["share_above_floor"]) == (None, None)
    assert "not measured" in describe_summary(nothing)


def test_a_manual_label_is_never_weak_and_a_label_is_read_as_it_was_written() -> None:
    assert not FeatureLabel("x", "manual").is_weak
    assert not FeatureLabel("x", "manual", 0.4).is_weak
    new = FeatureLabel("x", "llm", 0.81234, 0.71239)
    assert FeatureLabel.from_json(new.to_json()) == FeatureLabel("x", "llm", 0.8123, 0.7124)


def test_the_control_of_the_packaged_space_is_at_chance(space: FeatureSpace) -> None:
    assert space.report["labels"]["control_auroc"] == pytest.approx(0.5, abs=0.02)
