"""Labels find planted words, and trust distinguishes labels that predict from labels that do not."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations

import numpy as np
import pytest
from numpy.typing import NDArray
from sklearn.metrics import roc_auc_score

from saeindex.errors import InvalidInputError
from saeindex.features import Calibration, FeatureLabel, FeatureSpace
from saeindex.features.labelling import with_phrases, with_spelling
from saeindex.features.labels import MEANING, SPELLING, TRUST_FLOOR, telling_order
from saeindex.features.lexical import TERMS, _evidence, _phrases, _presence, lexical_labels
from saeindex.features.trust import MAX_ACTIVE, MIN_ACTIVE, auroc, contrast_sets, label_scores
from saeindex.types import SparseCode

PLANTED = ["galaxy", "violin", "omelette", "pension", "vaccine", "thunder"]
FILLERS = [
    f"{a}{b}" for a in ("zor", "plim", "krat", "mul", "ven", "tas") for b in ("ak", "ol", "in", "ur", "ep")
]


def planted(rows: int = 1_500, seed: int = 0) -> tuple[list[str], SparseCode]:
    """Return texts of filler words, and a code whose feature i is active where planted word i is present."""
    rng = np.random.default_rng(seed)
    has_word = rng.random((rows, len(PLANTED))) < 0.12
    texts = []
    for row in has_word:
        words = [*rng.choice(FILLERS, 6), *[word for word, is_in in zip(PLANTED, row, strict=True) if is_in]]
        texts.append(" ".join(rng.permutation(words)))
    z = np.where(has_word, rng.uniform(0.5, 1.5, has_word.shape), 0).astype(np.float32)
    return texts, sparse(z)


def sparse(z: NDArray[np.float32]) -> SparseCode:
    rows, indices = np.nonzero(z)
    indptr = np.concatenate([[0], np.cumsum(np.bincount(rows, minlength=len(z)))]).astype(np.int64)
    return SparseCode(indptr, indices.astype(np.int32), z[rows, indices], z.shape[1])


def embed(texts: Sequence[str]) -> NDArray[np.float32]:
    """Embed a text by its words, so that the planted word as a label finds its texts."""
    known = [*PLANTED, "cello", *FILLERS]
    counts = np.array([text.split().count(word) for text in texts for word in known], np.float32)
    counts = counts.reshape(len(texts), len(known))
    lengths = np.linalg.norm(counts, axis=1, keepdims=True).astype(np.float32)
    unit: NDArray[np.float32] = counts / np.maximum(np.float32(1e-6), lengths)
    return unit


def labels_of(texts: list[str], code: SparseCode) -> list[str]:
    return lexical_labels(texts, embed(texts), code, Calibration.measure(code), lambda t: embed(commaless(t)))


def commaless(texts: Sequence[str]) -> list[str]:
    return [text.replace(",", "") for text in texts]


def test_the_planted_word_is_first_in_each_feature_s_label() -> None:
    texts, code = planted()
    assert [label.split(", ")[0] for label in labels_of(texts, code)] == PLANTED


def test_a_feature_without_records_has_no_clear_label() -> None:
    texts, code = planted()
    wider = SparseCode(code.indptr, code.indices, code.values, code.n_features + 1)
    assert labels_of(texts, wider)[-1] == "unclear"


def test_a_label_is_short_and_does_not_repeat_a_word_or_its_stem() -> None:
    texts, code = planted()
    texts = [text.replace("violin", "violin violins violinist concerto") for text in texts]
    for label in labels_of(texts, code):
        stems = [{word[:5] for word in term.split()} for term in label.split(", ")]
        assert all(a.isdisjoint(b) for a, b in combinations(stems, 2))
        assert len(stems) <= TERMS


def test_a_second_term_is_added_only_if_it_helps_to_find_the_texts() -> None:
    texts, code = planted()
    halves = [text.replace("violin", "cello" if i % 2 else "violin") for i, text in enumerate(texts)]
    assert set(labels_of(halves, code)[1].split(", ")) == {"violin", "cello"}


def test_terms_are_phrases_that_neither_cross_punctuation_nor_end_in_function_words() -> None:
    found = _phrases("The state of the art, a hidden Markov model (HMM) of 3 galaxies' spectra.")
    assert {"state of the art", "state of the", "the state", "hidden markov model", "model hmm"} & found == {
        "hidden markov model"
    }
    assert {"state", "art", "markov model", "hmm", "spectra"} <= found
    assert not any(phrase.split()[0] in ("the", "of", "a") for phrase in found)
    assert max(len(phrase.split()) for phrase in found) == 3


def test_correlations_and_counts_equal_a_dense_computation() -> None:
    texts, code = planted(rows=400)
    calibration = Calibration.measure(code)
    presence, _ = _presence(texts)
    z, has = code.to_csr().toarray(), presence.toarray()
    blocks = list(_evidence(presence, code, calibration))
    assert [start for start, _, _ in blocks] == [0]
    _, counts, correlations = blocks[0]
    is_typical = (z >= calibration.median) & (z > 0)
    np.testing.assert_array_equal(counts, is_typical.T.astype(int) @ has)
    expected = np.corrcoef(z.T, has.T)[: z.shape[1], z.shape[1] :]
    np.testing.assert_allclose(correlations, expected, atol=1e-4)


def test_texts_without_common_words_cannot_be_labelled() -> None:
    _, code = planted(rows=3)
    with pytest.raises(InvalidInputError, match="no word"):
        labels_of(["alpha beta", "gamma delta", "epsilon zeta"], code)


def test_a_contrast_set_holds_active_near_and_random_absent_texts() -> None:
    vectors, code, _ = separable()
    calibration = Calibration.measure(code)
    z = code.to_csr().toarray()
    for feature, contrast in enumerate(contrast_sets(vectors, code, calibration, MAX_ACTIVE)):
        typical = np.flatnonzero(z[:, feature] >= calibration.median[feature])
        typical = typical[z[typical, feature] > 0]
        if len(typical) < MIN_ACTIVE:
            assert contrast is None
            continue
        assert contrast is not None
        active, absent = contrast.texts[contrast.is_active], contrast.texts[~contrast.is_active]
        assert set(active) == set(typical)
        assert (z[absent, feature] == 0).all()
        similarity = cosine(vectors - vectors.mean(0), vectors[typical].mean(0) - vectors.mean(0))
        nearest = sorted(np.flatnonzero(z[:, feature] == 0), key=lambda i: -similarity[i])[: len(typical)]
        assert set(nearest) <= set(absent)
        assert len(absent) == 2 * len(active)


def cosine(vectors: NDArray[np.float32], point: NDArray[np.float32]) -> NDArray[np.float64]:
    scale = np.linalg.norm(vectors, axis=1) * np.linalg.norm(point)
    similarity: NDArray[np.float64] = (vectors @ point).astype(np.float64) / scale
    return similarity


def test_auroc_equals_that_of_sklearn_with_ties() -> None:
    rng = np.random.default_rng(3)
    scores = rng.integers(0, 6, (120, 3)).astype(np.float32)
    truth = rng.random(120) < 0.3
    expected = [roc_auc_score(truth, column) for column in scores.T]
    assert auroc(scores, truth) == pytest.approx(expected, abs=1e-12)


def test_trust_is_the_auroc_over_the_contrast_set_and_unknown_without_one() -> None:
    vectors, code, labels = separable()
    calibration = Calibration.measure(code)
    trust = label_scores(labels, vectors, code, calibration, seed=4).trust
    for feature, contrast in enumerate(contrast_sets(vectors, code, calibration, MAX_ACTIVE, seed=4)):
        if contrast is None:
            assert trust[feature] is None
        else:
            expected = roc_auc_score(contrast.is_active, vectors[contrast.texts] @ labels[feature])
            assert trust[feature] == pytest.approx(expected, abs=1e-6)


def test_labels_that_predict_their_records_are_trusted_and_shuffled_ones_not() -> None:
    vectors, code, labels = separable()
    calibration = Calibration.measure(code)
    good = [score for score in label_scores(labels, vectors, code, calibration).trust if score is not None]
    assert min(good) > TRUST_FLOOR
    random = np.random.default_rng(9).normal(size=labels.shape).astype(np.float32)
    chance = [score for score in label_scores(random, vectors, code, calibration).trust if score is not None]
    assert abs(np.mean(chance) - 0.5) < 0.1


def separable() -> tuple[NDArray[np.float32], SparseCode, NDArray[np.float32]]:
    """Return records near their features' directions, their code, and those directions."""
    rng = np.random.default_rng(1)
    directions = rng.normal(size=(6, 32)) / 32**0.5
    share = np.array([0.3, 0.25, 0.2, 0.2, 0.15, 0.01])
    z = rng.uniform(0.5, 1.5, (900, 6)) * (rng.random((900, 6)) < share)
    vectors = z @ directions + rng.normal(size=(900, 32)) * 0.05
    return vectors.astype(np.float32), sparse(z.astype(np.float32)), directions.astype(np.float32)


def test_a_label_is_weak_if_trust_is_low_or_unknown() -> None:
    assert FeatureLabel("x").is_weak
    assert FeatureLabel("x", trust=TRUST_FLOOR - 0.01).is_weak
    assert not FeatureLabel("x", trust=TRUST_FLOOR).is_weak


def test_a_label_of_a_spelling_is_weak_unless_a_person_gave_it() -> None:
    assert FeatureLabel("qt, qos", trust=0.99, kind=SPELLING).is_weak
    assert not FeatureLabel("Arabic Q", method="manual", kind=SPELLING).is_weak


def test_the_kind_of_a_feature_is_kept_in_files_and_by_new_names(space: FeatureSpace) -> None:
    marked = with_spelling(space, [3])
    assert [label.kind for label in marked.labels[2:5]] == [MEANING, SPELLING, MEANING]
    assert FeatureLabel.from_json(marked.labels[3].to_json()) == marked.labels[3]
    assert "kind" not in marked.labels[2].to_json()
    named = with_phrases(marked, {3: "named anew"}, "lexical", _no_vectors)
    assert (named.labels[3].text, named.labels[3].kind) == ("named anew", SPELLING)


def _no_vectors(texts: Sequence[str]) -> NDArray[np.float32]:
    return np.zeros((len(texts), 384), np.float32)


def test_typical_features_are_shown_first_by_loudness_and_weak_ones_last() -> None:
    labels = [
        FeatureLabel("weak", "lexical", 0.6),
        FeatureLabel("quiet", "lexical", 0.9),
        FeatureLabel("concept", "concept", 0.9),
        FeatureLabel("spelled", "concept", 0.9, kind="spelling"),
        FeatureLabel("given", "manual"),
        FeatureLabel("loud", "vocabulary", 0.9),
        FeatureLabel("hardly there", "concept", 0.9),
    ]
    strengths = np.array([9, 5, 1.2, 8, 2.4, 4, 7], np.float32)
    median = np.array([1, 4, 1, 1, 1, 1, 8], np.float32)
    calibration = Calibration(9, np.zeros(7, np.float32), median, np.full(7, 99, np.float32))
    order = telling_order(labels, calibration, np.arange(7, dtype=np.int32), strengths)
    expected = ["loud", "given", "concept", "quiet", "hardly there", "weak", "spelled"]
    assert [labels[i].text for i in order] == expected
    assert not len(telling_order(labels, calibration, np.zeros(0, np.int32), np.zeros(0, np.float32)))
