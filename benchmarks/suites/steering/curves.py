"""Evaluation of steering: the gain of a concept, and the topic that is kept, by strength."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from benchmarks.corpora import Corpus

    Scores = NDArray[np.float64]

TOP = 10
GAINS = 1 / np.log2(np.arange(2, TOP + 2))
STRENGTHS = np.array(
    [0, 0.05, 0.1, 0.15, 0.2, 0.25, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 1.0, 1.2, 1.5, 2.0, 3.0, 5.0]
)
MIN_RELEVANT = 25


class Pair(NamedTuple):
    """A record used as the query, and the concept (a query of the corpus) by which it is steered."""

    concept: int
    record: int


@dataclass(frozen=True, eq=False)
class Curve:
    """By pair and strength (p, s): the share of the ten hits with the concept, and of the topic kept."""

    precision: Scores
    kept: Scores

    def at(self, level: float) -> Scores:
        """Return each pair's precision (p,) at the strength that keeps this share of the topic."""
        kept = self.kept.mean(0)
        falling = np.minimum.accumulate(kept)
        place = np.interp(-level, -falling, np.arange(len(falling)))
        low, share = int(place), place - int(place)
        high = min(low + 1, len(falling) - 1)
        found: Scores = (1 - share) * self.precision[:, low] + share * self.precision[:, high]
        return found


def pairs(corpus: Corpus, count: int, is_upward: bool, seed: int) -> list[Pair]:
    """Return records with concepts that they lack (upward) or have, if at least 25 records have them."""
    rng = np.random.default_rng(seed)
    concepts = [i for i, row in enumerate(corpus.relevant) if MIN_RELEVANT <= row.sum() < len(row)]
    found: list[Pair] = []
    while len(found) < count:
        concept = int(rng.choice(concepts))
        records = np.flatnonzero(corpus.relevant[concept] != is_upward)
        found.append(Pair(concept, int(rng.choice(records))))
    return found


def steered_vectors(q: Scores, unit: Scores, strength: float) -> Scores:
    """Return q' = normalise(q + strength u), row by row (p, d)."""
    moved = q + strength * unit
    rows: Scores = moved / np.linalg.norm(moved, axis=1, keepdims=True)
    return rows


def rotated_vectors(q: Scores, unit: Scores, cosine: float) -> Scores:
    """Return q rotated towards u until its cosine with q has fallen to ``cosine`` (p, d).

    If u is nearer to q than that, the result is u.
    """
    along = np.einsum("pd,pd->p", q, unit)[:, None]
    across = unit - along * q
    across /= np.maximum(np.linalg.norm(across, axis=1, keepdims=True), 1e-9)
    reached = np.maximum(cosine, along)
    rows: Scores = reached * q + np.sqrt(np.maximum(0.0, 1 - reached**2)) * across
    return rows


def curve(
    corpus: Corpus, asked: Sequence[Pair], score: Callable[[float], Scores], strengths: Scores = STRENGTHS
) -> Curve:
    """Measure ``score(strength)`` (p, m) over all strengths; a query's own record is left out."""
    own, relevant, base, ideal = baseline(corpus, asked)
    precision, kept = [], []
    for strength in strengths:
        scores = score(float(strength))
        scores[np.arange(len(own)), own] = -np.inf
        top = best(scores)
        precision.append(np.take_along_axis(relevant, top, 1).mean(1))
        kept.append((np.take_along_axis(base, top, 1) * GAINS).sum(1) / ideal)
    return Curve(np.array(precision).T, np.array(kept).T)


def baseline(
    corpus: Corpus, asked: Sequence[Pair]
) -> tuple[NDArray[np.int64], NDArray[np.bool_], Scores, Scores]:
    """Return the queries' rows (p,), relevance (p, m), unsteered scores (p, m), and the best DCG (p,)."""
    own = np.array([pair.record for pair in asked])
    relevant = corpus.relevant[[pair.concept for pair in asked]]
    base = corpus.x[own].astype(np.float64) @ corpus.x.T
    base[np.arange(len(own)), own] = -np.inf
    ideal = (np.sort(base, axis=1)[:, ::-1][:, :TOP] * GAINS).sum(1)
    return own, relevant, base, ideal


def best(scores: Scores) -> NDArray[np.int64]:
    """Return the ten highest of each row, best first (p, 10)."""
    top = np.argpartition(-scores, TOP - 1, axis=1)[:, :TOP]
    order = np.argsort(-np.take_along_axis(scores, top, 1), axis=1, kind="stable")
    return np.take_along_axis(top, order, 1)


def success_share(corpus: Corpus, asked: Sequence[Pair], vectors: Scores, is_upward: bool) -> float:
    """Return the share of pairs whose ten hits have more (downward: less) of the concept than unsteered.

    Only pairs whose unsteered hits can gain (lose) it count.
    """
    own, relevant, base, _ = baseline(corpus, asked)
    scores = vectors @ corpus.x.T
    scores[np.arange(len(own)), own] = -np.inf
    before = np.take_along_axis(relevant, best(base), 1).mean(1)
    after = np.take_along_axis(relevant, best(scores), 1).mean(1)
    is_success = (after > before) if is_upward else (after < before)
    return float(is_success[before < 1 if is_upward else before > 0].mean())
