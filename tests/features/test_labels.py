"""Labels find planted words, and trust tells a label that predicts from one that does not."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from numpy.typing import NDArray
from sklearn.metrics import roc_auc_score

from saeindex.features import Calibration, FeatureLabel
from saeindex.features.labels import MIN_ACTIVE, TRUST_FLOOR, lexical_labels, trust_scores
from saeindex.types import SparseCode

PLANTED = ["galaxy", "violin", "omelette", "pension", "vaccine", "thunder"]
FILLERS = [
    f"{a}{b}" for a in ("zor", "plim", "krat", "mul", "ven", "tas") for b in ("ak", "ol", "in", "ur", "ep")
]


def planted(rows: int = 1_500, seed: int = 0) -> tuple[list[str], SparseCode]:
    """Return texts of filler words, and a code whose feature i is active where planted word i is present."""
    dice = np.random.default_rng(seed)
    has_word = dice.random((rows, len(PLANTED))) < 0.12
    texts = []
    for row in has_word:
        words = [*dice.choice(FILLERS, 6), *[word for word, is_in in zip(PLANTED, row, strict=True) if is_in]]
        texts.append(" ".join(dice.permutation(words)))
    z = np.where(has_word, dice.uniform(0.5, 1.5, has_word.shape), 0).astype(np.float32)
    return texts, sparse(z)


def sparse(z: NDArray[np.float32]) -> SparseCode:
    rows, indices = np.nonzero(z)
    indptr = np.concatenate([[0], np.cumsum(np.bincount(rows, minlength=len(z)))]).astype(np.int64)
    return SparseCode(indptr, indices.astype(np.int32), z[rows, indices], z.shape[1])


def test_the_planted_word_leads_each_feature_s_label() -> None:
    texts, code = planted()
    labels = lexical_labels(texts, code, Calibration.measure(code))
    assert [label.split(", ")[0] for label in labels] == PLANTED


def test_a_feature_without_records_has_no_clear_label() -> None:
    texts, code = planted()
    wider = SparseCode(code.indptr, code.indices, code.values, code.n_features + 1)
    assert lexical_labels(texts, wider, Calibration.measure(wider))[-1] == "unclear"


def test_a_label_does_not_repeat_a_word_or_its_stem() -> None:
    texts, code = planted()
    texts = [text.replace("violin", "violin violins violinist concerto") for text in texts]
    for label in lexical_labels(texts, code, Calibration.measure(code)):
        stems = [{word[:5] for word in term.split()} for term in label.split(", ")]
        assert all(a.isdisjoint(b) for a, b in pairwise(stems))
        assert len(stems) <= 3


def test_trust_equals_the_auroc_of_sklearn_against_random_and_near_inactive_records() -> None:
    vectors, code, labels = separable()
    calibration = Calibration.measure(code)
    trust = trust_scores(labels, vectors, code, calibration, seed=4)
    dice = np.random.default_rng(4)
    z = code.to_csr().toarray()
    for feature in range(code.n_features):
        active = np.flatnonzero(z[:, feature] >= calibration.median[feature])
        if len(active) < MIN_ACTIVE:
            assert trust[feature] is None
            continue
        absent = np.flatnonzero(z[:, feature] == 0)
        closeness = vectors[absent] @ vectors[active].mean(0)
        near = absent[np.argsort(-closeness)[: len(active)]]
        records = np.concatenate([active, near, dice.choice(absent, len(active))])
        truth = [1] * len(active) + [0] * (len(records) - len(active))
        assert trust[feature] == pytest.approx(roc_auc_score(truth, vectors[records] @ labels[feature]))


def test_labels_that_point_at_their_records_are_trusted_and_shuffled_ones_are_not() -> None:
    vectors, code, labels = separable()
    calibration = Calibration.measure(code)
    good = [score for score in trust_scores(labels, vectors, code, calibration) if score is not None]
    assert min(good) > TRUST_FLOOR
    random = np.random.default_rng(9).normal(size=labels.shape).astype(np.float32)
    chance = [score for score in trust_scores(random, vectors, code, calibration) if score is not None]
    assert abs(np.mean(chance) - 0.5) < 0.1


def separable() -> tuple[NDArray[np.float32], SparseCode, NDArray[np.float32]]:
    """Return records that lie towards their features' directions, their code, and those directions."""
    dice = np.random.default_rng(1)
    directions = dice.normal(size=(6, 32)) / 32**0.5
    share = np.array([0.3, 0.25, 0.2, 0.2, 0.15, 0.01])
    z = dice.uniform(0.5, 1.5, (900, 6)) * (dice.random((900, 6)) < share)
    vectors = z @ directions + dice.normal(size=(900, 32)) * 0.05
    return vectors.astype(np.float32), sparse(z.astype(np.float32)), directions.astype(np.float32)


def test_a_label_is_weak_where_trust_is_low_or_unknown() -> None:
    assert FeatureLabel("x").is_weak
    assert FeatureLabel("x", trust=TRUST_FLOOR - 0.01).is_weak
    assert not FeatureLabel("x", trust=TRUST_FLOOR).is_weak
