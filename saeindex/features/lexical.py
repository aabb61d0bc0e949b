"""Lexical labels: the words of a corpus that best distinguish a feature's texts, without an LLM.

Candidates are words and phrases that are over-represented in texts where the feature is typical (weighted
log-odds), and those whose embeddings point from the nearest texts without the feature to the texts with it.
The leading term of a label is among the terms whose presence correlates best with the activation: a word that
a person would use. Among these, and among the further terms, the choice is by the measure of trust: how well
the label's cosine with a text predicts the feature, also against the nearest texts without it.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from saeindex.errors import InvalidInputError
from saeindex.features.labels import stems
from saeindex.features.trust import Contrast, auroc, contrast_sets, predicts_alone
from saeindex.sae.metrics import unit_rows

if TYPE_CHECKING:
    from scipy.sparse import csr_matrix

    from saeindex.features.calibration import Calibration
    from saeindex.types import Doubles, FloatArray, Ints, SparseCode

    Encode = Callable[[Sequence[str]], FloatArray]

# Terms of a label; candidates per feature by words, and by embeddings; candidates for the further terms.
TERMS, MARKING, NEAR, JOINING = 3, 60, 150, 12
# Minimum correlation of the leading term and of the others, as a share of the best candidate's: lower shares
# give a higher AUROC and stranger names. Relatives of the leading term, by their cosine, need none.
LEADING, FURTHER, KIN = 0.8, 0.3, 0.15
# Minimum correlation of a candidate, in standard errors above 0.
MIN_Z = 3.0
# Minimum number of texts with a candidate among those where the feature is typical.
MIN_TEXTS = 3
# Minimum gain in AUROC by a further term: a shorter label reads better.
MIN_GAIN = 0.02
# AUROCs that differ by at most this count as equal: the term that correlates best, the commoner word, wins.
TOLERANCE = 0.005
MAX_ACTIVE, MAX_TERMS = 200, 40_000
UNCLEAR = "unclear"
BLOCK = 128
# A word, a number or a punctuation mark; phrases do not span numbers or punctuation marks, but words of names
# in code ("text_encoder").
TOKEN = re.compile(r"[^\W\d_](?:[^\W_]|[+#'-])*(?:[^\W_]|[+#])|[^\W\d_]|\d+|[^\w\s]")


def lexical_labels(
    texts: Sequence[str],
    vectors: FloatArray,
    code: SparseCode,
    calibration: Calibration,
    encode: Encode,
    seed: int = 0,
) -> list[str]:
    """Label each feature from ``texts``, their embeddings (m, d) and their codes.

    ``encode`` embeds a label as a query. A feature that is typical in too few texts for a comparison gets
    the term that correlates best, or "unclear".
    """
    presence, terms = _presence(texts)
    contrasts = list(contrast_sets(vectors, code, calibration, MAX_ACTIVE, seed))
    term_vectors = encode(terms)
    meanings = unit_rows(term_vectors - term_vectors.mean(0))
    candidates = _candidates(presence, code, calibration, _directions(contrasts, vectors), meanings)
    pairs = zip(candidates, contrasts, strict=True)
    growing = [_started(chosen, contrast, term_vectors, meanings, vectors) for chosen, contrast in pairs]
    for _ in range(TERMS - 1):
        _grow(growing, terms, vectors, encode)
    return [", ".join(terms[i] for i in label.parts) or UNCLEAR for label in growing]


@dataclass(slots=True)
class _Growing:
    """An unfinished label: the numbers of its terms, and its AUROC so far."""

    parts: list[int]
    joining: dict[int, float]
    """The candidates for further terms, best AUROC first, and their correlations with the feature."""
    best: float
    contrast: Contrast | None

    def options(self, stems: Callable[[int], set[str]]) -> list[int]:
        """Return the candidates that do not repeat a word of the label."""
        taken = set().union(*map(stems, self.parts)) if self.parts else set()
        return [term for term in self.joining if taken.isdisjoint(stems(term))][:JOINING]


def _started(
    chosen: tuple[Ints, FloatArray],
    contrast: Contrast | None,
    term_vectors: FloatArray,
    meanings: FloatArray,
    vectors: FloatArray,
) -> _Growing:
    """Return a label with its leading term, from candidates and their correlations, best first."""
    candidates, correlations = chosen
    if contrast is None or not len(candidates):
        return _Growing(candidates[:1].tolist(), {}, 1.0, None)
    of_terms = auroc(vectors[contrast.texts] @ term_vectors[candidates].T, contrast.is_active)
    aurocs = np.where(correlations >= LEADING * correlations[0], of_terms, 0)
    leading = _commonest_of_the_best(aurocs, correlations)
    is_kin = meanings[candidates] @ meanings[candidates[leading]] >= KIN
    joins = predicts_alone(of_terms, of_terms[leading])
    joins &= is_kin | (correlations >= FURTHER * correlations[0])
    order = np.argsort(-of_terms, kind="stable")
    order = order[joins[order]]
    joining = dict(zip(candidates[order].tolist(), correlations[order].tolist(), strict=True))
    return _Growing([int(candidates[leading])], joining, float(aurocs[leading]), contrast)


def _commonest_of_the_best(aurocs: Doubles, correlations: FloatArray) -> int:
    """Return the position of the highest correlation among AUROCs (c,) within ``TOLERANCE`` of the best."""
    return int(np.argmax(np.where(aurocs >= aurocs.max() - TOLERANCE, correlations, -1)))


def _grow(growing: Sequence[_Growing], terms: Sequence[str], vectors: FloatArray, encode: Encode) -> None:
    """Try one more term for every label."""
    tried = [label.options(lambda term: stems(terms[term])) for label in growing]
    trials = [[*label.parts, term] for label, options in zip(growing, tried, strict=True) for term in options]
    embedded = encode([", ".join(terms[i] for i in parts) for parts in trials])
    start = 0
    for label, options in zip(growing, tried, strict=True):
        span = slice(start, start + len(options))
        start = span.stop
        if label.contrast is None or not options:
            continue
        scores = auroc(vectors[label.contrast.texts] @ embedded[span].T, label.contrast.is_active)
        correlations = np.array([label.joining[term] for term in options], np.float32)
        winner = _commonest_of_the_best(scores, correlations)
        if scores[winner] > label.best + MIN_GAIN:
            label.parts.append(options[winner])
            label.best = float(scores[winner])


def _directions(contrasts: Sequence[Contrast | None], vectors: FloatArray) -> FloatArray:
    """Return the mean of each feature's active texts minus that of the others (n, d); 0 if not compared."""
    directions = np.zeros((len(contrasts), vectors.shape[1]), np.float32)
    for feature, contrast in enumerate(contrasts):
        if contrast is not None:
            rows, is_active = vectors[contrast.texts], contrast.is_active
            directions[feature] = rows[is_active].mean(0) - rows[~is_active].mean(0)
    return directions


def _candidates(
    presence: csr_matrix,
    code: SparseCode,
    calibration: Calibration,
    directions: FloatArray,
    meanings: FloatArray,
) -> Iterator[tuple[Ints, FloatArray]]:
    """Yield each feature's informative terms and the correlations of their presence with it, best first.

    ``directions`` (n, d) are those of the features, 0 where none is known, ``meanings`` those of the terms.
    """
    background = np.asarray(presence.sum(0)).ravel()
    marking, near = (min(size, len(background)) for size in (MARKING, NEAR))
    min_correlation = MIN_Z / len(code) ** 0.5
    for start, counts, correlations in _evidence(presence, code, calibration):
        log_odds = _log_odds(counts, background)
        for i in range(len(counts)):
            informative = np.argpartition(-log_odds[i], marking - 1)[:marking]
            if directions[start + i].any():
                closeness = meanings @ directions[start + i]
                informative = np.union1d(informative, np.argpartition(-closeness, near - 1)[:near])
            scores = correlations[i, informative]
            is_informative = (counts[i, informative] >= MIN_TEXTS) & (scores > min_correlation)
            informative, scores = informative[is_informative], scores[is_informative]
            order = np.argsort(-scores, kind="stable")
            yield informative[order], scores[order]


def _evidence(
    presence: csr_matrix, code: SparseCode, calibration: Calibration
) -> Iterator[tuple[int, FloatArray, FloatArray]]:
    """Yield blocks of features: the first feature, the number of texts with each term among those where the
    feature is typical (b, terms), and the Pearson correlation of presence and activation (b, terms)."""
    activations = code.to_csr()
    typical = activations.copy()
    typical.data = (typical.data >= calibration.median[typical.indices]).astype(np.float32)
    m = len(code)
    share = np.asarray(presence.mean(0)).ravel()
    mean = np.asarray(activations.mean(0)).ravel()
    variance = (np.asarray(activations.multiply(activations).mean(0)).ravel() - mean**2).clip(0)
    for start in range(0, code.n_features, BLOCK):
        block = slice(start, start + BLOCK)
        counts = (typical[:, block].T @ presence).toarray()
        together = (activations[:, block].T @ presence).toarray() / m - np.outer(mean[block], share)
        scale = np.sqrt(np.outer(variance[block], (share * (1 - share)).clip(0)) + 1e-12)
        yield start, counts, (together / scale).astype(np.float32)


def _presence(texts: Sequence[str]) -> tuple[csr_matrix, list[str]]:
    """Return the presence of terms in texts (m, terms), and the terms, without rare and common terms.

    Raises InvalidInputError where the texts share no words.
    """
    from sklearn.feature_extraction.text import CountVectorizer

    vectorizer = CountVectorizer(
        analyzer=_phrases,
        binary=True,
        min_df=max(2, min(20, len(texts) // 2_000)),
        max_df=0.2 if len(texts) >= 1_000 else 1.0,
        max_features=MAX_TERMS,
        dtype=np.float32,
    )
    try:
        presence = vectorizer.fit_transform(texts)
    except ValueError as error:  # scikit-learn raises it for an empty vocabulary
        found, do = "no word occurs in at least two of them", "Fit on more texts."
        raise InvalidInputError(f"label features by the words of {len(texts)} texts", found, do) from error
    return presence.tocsr(), list(vectorizer.get_feature_names_out())


def _phrases(text: str) -> set[str]:
    """Return the words of a text, and its phrases of up to three words.

    Phrases have no function word at either end. This finds noun phrases ("state of the art", "hidden markov
    model") without a tagger.
    """
    from sklearn.feature_extraction.text import ENGLISH_STOP_WORDS

    tokens = [token if token[0].isalpha() else None for token in TOKEN.findall(text.lower())]
    may_end = [token is not None and len(token) > 1 and token not in ENGLISH_STOP_WORDS for token in tokens]
    found = set()
    for start, is_start in enumerate(may_end):
        if is_start:
            for end in range(start, min(start + 3, len(tokens))):
                if tokens[end] is None:
                    break
                if may_end[end]:
                    found.add(" ".join(tokens[start : end + 1]))  # type: ignore[arg-type]
    return found


def _log_odds(counts: FloatArray, background: FloatArray) -> FloatArray:
    """Return the z-score of each term's log-odds (b, terms), for each feature against the rest.

    Monroe et al. 2008, eq. 22; the prior is the corpus, with the weight of 500 words.
    """
    prior = background / background.sum() * 500
    ours, theirs = counts + prior, background - counts + prior
    odds = np.log(ours / (ours.sum(1, keepdims=True) - ours))
    odds -= np.log(theirs / (theirs.sum(1, keepdims=True) - theirs))
    return np.asarray(odds / np.sqrt(1 / ours + 1 / theirs))
