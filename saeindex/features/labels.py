"""Labels: a short phrase per feature, how it was made, and how far it can be trusted."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from saeindex.errors import InvalidInputError

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from scipy.sparse import csr_matrix

    from saeindex.features.calibration import Calibration
    from saeindex.types import FloatArray, SparseCode

TRUST_FLOOR = 0.7
MIN_ACTIVE, MOST_ACTIVE = 50, 300
CANDIDATES, TERMS = 12, 3
# A term is named beside the best one only if it correlates at least this well by comparison.
LEAST_SHARE = 0.5
BLOCK = 128
WORD = r"(?u)\b[^\W\d_][\w+#-]*[\w+#]"


@dataclass(frozen=True, slots=True)
class FeatureLabel:
    """``trust`` is an AUROC on records that did not make the label; None where too few were active."""

    text: str
    method: str = "lexical"
    trust: float | None = None

    @property
    def is_weak(self) -> bool:
        """Say whether the label is not known to predict its feature."""
        return self.trust is None or self.trust < TRUST_FLOOR


def lexical_labels(texts: Sequence[str], code: SparseCode, calibration: Calibration) -> list[str]:
    """Label each feature with the terms that mark the records where it is typical.

    Candidates by weighted log-odds with an informative Dirichlet prior (Monroe et al. 2008, eq. 22), then
    the best of them by correlation of their presence with the activation.
    """
    presence, terms = _presence(texts)
    background = np.asarray(presence.sum(0)).ravel()
    activations = code.to_csr()
    typical = activations.copy()
    typical.data = (typical.data >= calibration.median[typical.indices]).astype(np.float32)
    typical.eliminate_zeros()
    activation_columns, presence_columns = activations.tocsc(), presence.tocsc()
    labels = []
    for start in range(0, code.n_features, BLOCK):
        counts = np.asarray((typical[:, start : start + BLOCK].T @ presence).todense())
        for offset, feature_counts in enumerate(counts):
            candidates = np.argsort(-_log_odds(feature_counts, background))[:CANDIDATES]
            candidates = candidates[feature_counts[candidates] >= 3]
            activation = activation_columns[:, start + offset].toarray().ravel()
            scores = [_correlation(presence_columns[:, c], activation) for c in candidates]
            ranked = sorted(zip(scores, candidates, strict=True), reverse=True)
            telling = [terms[c] for score, c in ranked if score >= LEAST_SHARE * ranked[0][0]]
            labels.append(", ".join(_distinct(telling)) or "unclear")
    return labels


def trust_scores(
    label_vectors: FloatArray, vectors: FloatArray, code: SparseCode, calibration: Calibration, seed: int = 0
) -> list[float | None]:
    """Return each label's AUROC: does cos(label, record) tell active records from inactive ones?

    Held-out ``vectors`` (m, d) with their ``code``. Active means at level 1 or above; the inactive are half
    random, half the nearest neighbours of the active ones. None with fewer than 50 records on either side.
    """
    from sklearn.metrics import roc_auc_score

    dice = np.random.default_rng(seed)
    columns = code.to_csr().tocsc()
    trust: list[float | None] = []
    for feature, label_vector in enumerate(label_vectors):
        span = slice(columns.indptr[feature], columns.indptr[feature + 1])
        present, values = columns.indices[span], columns.data[span]
        active = dice.permutation(present[values >= calibration.median[feature]])[:MOST_ACTIVE]
        if len(active) < MIN_ACTIVE or len(vectors) - len(present) < MIN_ACTIVE:
            trust.append(None)
            continue
        inactive = _negatives(vectors, active, present, dice)
        records = np.concatenate([active, inactive])
        truth = np.arange(len(records)) < len(active)
        trust.append(float(roc_auc_score(truth, vectors[records] @ label_vector)))
    return trust


def _negatives(
    vectors: FloatArray, active: NDArray[np.int32], present: NDArray[np.int32], dice: np.random.Generator
) -> NDArray[np.int64]:
    is_absent = np.ones(len(vectors), bool)
    is_absent[present] = False
    absent = np.flatnonzero(is_absent)
    near = absent[np.argsort(-(vectors[absent] @ vectors[active].mean(0)))[: len(active)]]
    return np.concatenate([near, dice.choice(absent, len(active))])


def _presence(texts: Sequence[str]) -> tuple[csr_matrix, list[str]]:
    """Return which text has which word or word pair (m, terms), and the terms, rare and common ones left out.

    Raises InvalidInputError where the texts share no words.
    """
    from sklearn.feature_extraction.text import CountVectorizer

    vectorizer = CountVectorizer(
        ngram_range=(1, 2),
        binary=True,
        min_df=max(2, min(20, len(texts) // 2_000)),
        max_df=0.2 if len(texts) >= 1_000 else 1.0,
        max_features=60_000,
        stop_words="english",
        token_pattern=WORD,
        dtype=np.float32,
    )
    try:
        presence = vectorizer.fit_transform(texts)
    except ValueError as error:  # scikit-learn's only word for an empty vocabulary
        raise InvalidInputError(
            f"label features by the words of {len(texts)} texts",
            "no word stands in at least two of them",
            "Fit on more texts.",
        ) from error
    return presence.tocsr(), list(vectorizer.get_feature_names_out())


def _log_odds(counts: FloatArray, background: FloatArray) -> FloatArray:
    """Return the z-score of each term's log-odds, feature against the rest, prior = the corpus."""
    prior = background / background.sum() * 500
    rest = background - counts
    ours, theirs = counts + prior, rest + prior
    odds = np.log(ours / (ours.sum() - ours)) - np.log(theirs / (theirs.sum() - theirs))
    z: FloatArray = odds / np.sqrt(1 / ours + 1 / theirs)
    return z


def _correlation(presence: csr_matrix, activation: FloatArray) -> float:
    """Return the Pearson correlation of a term's presence (m, 1) with the activation (m,)."""
    n, having = len(activation), presence.nnz
    share, mean = having / n, activation.mean()
    covariance = activation[presence.indices].sum() / n - share * mean
    return float(covariance / np.sqrt(share * (1 - share) * activation.var() + 1e-12))


def _distinct(ranked: Sequence[str]) -> list[str]:
    """Keep the best terms that do not repeat each other's words or stems."""
    kept: list[str] = []
    for term in ranked:
        stems = _stems(term)
        if all(stems.isdisjoint(_stems(other)) for other in kept):
            kept.append(term)
    return kept[:TERMS]


def _stems(term: str) -> set[str]:
    return {word[:5].rstrip("s") for word in term.split()}
