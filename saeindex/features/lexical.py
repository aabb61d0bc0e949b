"""Lexical labels: the words of a corpus that best tell a feature's texts from others, without an LLM.

Candidates are the words and word pairs that mark the texts where the feature is typical (weighted log-odds).
A label leads with the one whose presence correlates best with the activation: the word that a person would
use. Others join it by what trust will ask of a label: that its cosine with a text predicts the feature, also
against the nearest texts that do not have it. (Choosing the leading word by that too scores .03 higher and
names worse: "simulator, mock" for "simulation".)
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING

import numpy as np

from saeindex.errors import InvalidInputError
from saeindex.features.contrast import Contrast, auroc, contrast_sets

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from scipy.sparse import csc_matrix, csr_matrix

    from saeindex.features.calibration import Calibration
    from saeindex.types import FloatArray, SparseCode

# Terms of a label, candidates per feature, and how many of the best of them may join the first.
TERMS, CANDIDATES, JOINING = 3, 40, 12
# A joining term must correlate at least this well, by comparison with the first, and raise the AUROC by this
# much: a shorter label reads better.
LEAST_CORRELATION, LEAST_GAIN = 0.3, 0.005
MOST_ACTIVE = 200
UNCLEAR = "unclear"
BLOCK = 128
WORD = r"(?u)\b[^\W\d_][\w+#-]*[\w+#]"


def lexical_labels(
    texts: Sequence[str],
    vectors: FloatArray,
    code: SparseCode,
    calibration: Calibration,
    encode: Callable[[Sequence[str]], FloatArray],
    seed: int = 0,
) -> list[str]:
    """Label each feature from ``texts``, their embeddings (m, d) and their codes.

    ``encode`` embeds a label as a query. A feature that is typical in too few texts to compare keeps the
    term with the highest log-odds, or is "unclear".
    """
    candidates = _candidates(texts, code, calibration)
    contrasts = list(contrast_sets(vectors, code, calibration, MOST_ACTIVE, seed))
    leading = encode([terms[0] if terms else UNCLEAR for terms in candidates])
    growing = []
    for terms, vector, contrast in zip(candidates, leading, contrasts, strict=True):
        if contrast is None:
            growing.append(_Growing(terms[:1], [], 1.0, None))
        else:
            scores = vectors[contrast.texts] @ vector[:, None]
            best = float(auroc(scores, contrast.is_active)[0])
            growing.append(_Growing(terms[:1], terms[1 : JOINING + 1], best, contrast))
    for _ in range(TERMS - 1):
        _grow(growing, vectors, encode)
    return [", ".join(label.terms) or UNCLEAR for label in growing]


class _Growing:
    """A label on the way: its terms, those that may join, and its AUROC so far."""

    def __init__(self, terms: list[str], joining: list[str], best: float, contrast: Contrast | None) -> None:
        self.terms, self.joining, self.best, self.contrast = terms, joining, best, contrast

    def options(self) -> list[list[str]]:
        """Return the label with each further term that does not repeat a word of it."""
        taken = set().union(*map(_stems, self.terms)) if self.terms else set()
        return [[*self.terms, term] for term in self.joining if taken.isdisjoint(_stems(term))]


def _grow(
    growing: Sequence[_Growing], vectors: FloatArray, encode: Callable[[Sequence[str]], FloatArray]
) -> None:
    """Try one more term on every label; all trials are embedded in one go."""
    options = [label.options() for label in growing]
    embedded = encode([", ".join(terms) for tried in options for terms in tried])
    start = 0
    for label, tried in zip(growing, options, strict=True):
        span = slice(start, start + len(tried))
        start = span.stop
        if label.contrast is None or not tried:
            continue
        scores = auroc(vectors[label.contrast.texts] @ embedded[span].T, label.contrast.is_active)
        winner = int(np.argmax(scores))
        if scores[winner] > label.best + LEAST_GAIN:
            label.terms, label.best = tried[winner], float(scores[winner])


def _candidates(texts: Sequence[str], code: SparseCode, calibration: Calibration) -> list[list[str]]:
    """Return each feature's telling terms, the one that correlates best with its activation first."""
    presence, terms = _presence(texts)
    background = np.asarray(presence.sum(0)).ravel()
    activations, columns = code.to_csr().tocsc(), presence.tocsc()
    found = []
    for feature, counts in enumerate(_typical_counts(presence, code, calibration)):
        marking = np.argsort(-_log_odds(counts, background), kind="stable")[:CANDIDATES]
        marking = marking[counts[marking] >= 3]
        activation = activations[:, [feature]].toarray().ravel()
        scores = _correlations(columns[:, marking], activation)
        kept = [
            i for i in np.argsort(-scores, kind="stable") if scores[i] >= LEAST_CORRELATION * scores.max()
        ]
        found.append([terms[marking[i]] for i in kept])
    return found


def _correlations(presence: csc_matrix, activation: FloatArray) -> NDArray[np.float64]:
    """Return the Pearson correlation of each term's presence (m, c) with the activation (m,)."""
    share = np.diff(presence.indptr) / len(activation)
    covariance = presence.T @ activation / len(activation) - share * activation.mean()
    correlations: NDArray[np.float64] = covariance / np.sqrt(share * (1 - share) * activation.var() + 1e-12)
    return correlations


def _typical_counts(presence: csr_matrix, code: SparseCode, calibration: Calibration) -> Iterator[FloatArray]:
    """Yield, per feature, in how many of the texts where it is typical each term stands."""
    typical = code.to_csr().copy()
    typical.data = (typical.data >= calibration.median[typical.indices]).astype(np.float32)
    typical.eliminate_zeros()
    for start in range(0, code.n_features, BLOCK):
        yield from np.asarray((typical[:, start : start + BLOCK].T @ presence).todense())


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
    """Return the z-score of each term's log-odds, feature against the rest (Monroe et al. 2008, eq. 22).

    The prior is the corpus, weighing as much as 500 words.
    """
    prior = background / background.sum() * 500
    rest = background - counts
    ours, theirs = counts + prior, rest + prior
    odds = np.log(ours / (ours.sum() - ours)) - np.log(theirs / (theirs.sum() - theirs))
    z: FloatArray = odds / np.sqrt(1 / ours + 1 / theirs)
    return z


def _stems(term: str) -> set[str]:
    return {word[:5].rstrip("s") for word in term.split()}
