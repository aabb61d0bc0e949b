"""Anchored expectation-maximisation: clusters that follow the records and stay near the described values.

Each round fits, by ridge regression, which value each record has from what its views show (the fit of a
record leaves that record out), and softly assigns the records by this fit and by the scores that they started
with, the anchor:

    fit_j = G (GᵀP_j) / m, with G the components, whitened: divided by sqrt(variance + RIDGE · mean variance)
    P = softmax(SHARPNESS · (z(fit) + ANCHOR · start)),   z: mean 0 and deviation 1 by value

Ridge regression on indicators is linear discriminant analysis (Hastie, Tibshirani and Friedman, 4.3); its
exact leave-one-out form (7.10) prevents that many components reproduce any starting point.

The views of a record are its embedding, words and concepts side by side, in few dimensions. Words and
concepts are reduced by a truncated SVD of their weighted counts (latent semantic analysis), each view is
centred and scaled to the same mean length, and the three views together are reduced to principal components.
The views of new records are projected in the same way.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from scipy.sparse import csr_matrix

from saeindex.analysis.stats.stratified import memberships
from saeindex.collection.sample import Rows
from saeindex.concepts.inference import TINY, Scale, units

if TYPE_CHECKING:
    from saeindex.types import Doubles, FloatArray, Ints

RIDGE, SHARPNESS, ANCHOR = 10.0, 5.0, 0.4
ROUNDS, SETTLED = 30, 1e-3
# Weights: of an example in a fit, of examples beside descriptions, and of the neighbours' mean.
EXAMPLE, EXAMPLES, SMOOTHING = 3.0, 1.0, 1.0


@dataclass(frozen=True, eq=False)
class Whitened:
    """Components with equal say: ``g`` (m, c), and the ``leverage`` (m,) of each record on its own fit."""

    g: Doubles
    leverage: Doubles

    @classmethod
    def of(cls, seen: Doubles, views: Views, ridge: float = RIDGE) -> Whitened:
        """Whiten what views show of records (m, c)."""
        mean = views.total / len(views.mean)
        g = seen / np.sqrt(views.variances + ridge * mean)
        return cls(g, (g**2).sum(1) / len(g))

    def fit(self, shares: Doubles, weight: Doubles) -> Doubles:
        """Return how each record fits each value (m, J) by all other records' ``shares`` (m, J), weighted."""
        centred = weight[:, None] * (shares - shares.mean(0))
        return np.asarray(self.g @ (self.g.T @ centred) / len(self.g) - self.leverage[:, None] * centred)


@dataclass(frozen=True, eq=False)
class Settled:
    """Where it ended: ``shares`` (m, J) of records in values, ``logits`` (m, J), and where it ``began``."""

    shares: Doubles
    logits: Doubles
    began: Doubles

    @property
    def codes(self) -> Ints:
        """The value of each record (m,)."""
        return np.asarray(self.shares.argmax(1))


def settle(whitened: Whitened, start: Doubles, known: Ints | None = None) -> Settled:
    """Return where records settle from ``start`` (m, J); ``known`` (m,) is -1 or the value of an example."""
    weight = np.ones(len(start)) if known is None else np.where(known >= 0, EXAMPLE, 1.0)
    shares = began = with_known(soft(start), known)
    logits = start
    for _ in range(ROUNDS):
        logits = standardised(whitened.fit(shares, weight)) + ANCHOR * start
        found = with_known(soft(logits), known)
        moved, shares = float(np.abs(found - shares).mean()), found
        if moved < SETTLED / start.shape[1]:
            break
    return Settled(shares, logits, began)


def example_scores(whitened: Whitened, known: Ints, count: int, nearest: Ints) -> Doubles:
    """Return the similarity of records and their neighbours to the examples of each value (m, J)."""
    known_shares = memberships(known[known >= 0], count)
    # A value without examples has no direction: its similarity is 0.
    centres = known_shares.T @ whitened.g[known >= 0] / np.maximum(known_shares.sum(0), 1)[:, None]
    return smoothed(standardised(whitened.g @ units(centres).T), nearest)


def smoothed(scores: Doubles, nearest: Ints) -> Doubles:
    """Return scores (m, J) with SMOOTHING times the mean of each record's ``nearest`` (m, n)."""
    if not nearest.shape[1]:
        return scores
    around = np.mean([scores[column] for column in nearest.T], axis=0)
    return standardised(scores + SMOOTHING * standardised(around))


def with_known(shares: Doubles, known: Ints | None) -> Doubles:
    """Return shares in which the examples belong to their values."""
    if known is not None:
        known_shares = np.flatnonzero(known >= 0)
        shares[known_shares] = memberships(known[known_shares], shares.shape[1])
    return shares


def soft(logits: Doubles) -> Doubles:
    """Return the softmax of SHARPNESS times ``logits`` (m, J), by record."""
    raised = np.exp(SHARPNESS * (logits - logits.max(1, keepdims=True)))
    return np.asarray(raised / raised.sum(1, keepdims=True))


def standardised(scores: Doubles) -> Doubles:
    """Return scores (m, J) with mean 0 and deviation 1 by value; what does not differ is 0."""
    return Scale.of(scores)(scores)


WORDS, CONCEPTS = 1.5, 1.0
RANK, COMPONENTS = 200, 300
SEED = 0


@dataclass(frozen=True, eq=False)
class CountView:
    """A sparse view: ``weights`` (v,) of its columns, ``basis`` (v, r), ``mean`` (r,) and ``scale``."""

    weights: Doubles
    basis: Doubles
    mean: Doubles
    scale: float

    @classmethod
    def of(cls, counts: csr_matrix, amount: float) -> CountView:
        """Learn the view of rows (m, v); their mean squared length becomes ``amount`` squared."""
        from sklearn.utils.extmath import randomized_svd

        m = counts.shape[0]
        share = np.maximum(np.asarray((counts > 0).sum(0)).ravel(), 1) / m
        # Words in one record tie it to no other one.
        weights = np.sqrt(np.log(1 / share) + TINY) * (share * m > 1)
        rank = min(RANK, min(counts.shape) - 1)
        if rank < 1 or not weights.any() or not counts.nnz:
            return cls(weights, np.zeros((counts.shape[1], 1)), np.zeros(1), 1.0)
        weighted = counts.multiply(weights).tocsr().astype(np.float64)
        _, _, turned = randomized_svd(weighted, rank, n_iter=3, random_state=SEED)
        found = weighted @ turned.T
        mean = found.mean(0)
        length = float(np.sqrt(((found - mean) ** 2).sum(1).mean()))
        return cls(weights, turned.T, mean, amount / max(length, TINY))

    def __call__(self, counts: csr_matrix) -> Doubles:
        """Return rows (m, v) in this view (m, r)."""
        found = counts.multiply(self.weights).tocsr() @ self.basis
        return np.asarray(self.scale * (found - self.mean))


@dataclass(frozen=True, eq=False)
class Views:
    """Turns records into principal components (m, c): ``axes`` (e, c), ``centre`` and ``variances`` (c,).

    ``total`` is the variance of all components, those left out too; ``mean`` (d,) is that of the embeddings.
    """

    mean: FloatArray
    words: CountView
    concepts: CountView
    axes: Doubles
    centre: Doubles
    variances: Doubles
    total: float

    @classmethod
    def of(cls, rows: Rows) -> tuple[Views, Doubles]:
        """Learn the views of records, and return them with what they show of these (m, c)."""
        mean = rows.x.mean(0)
        words, concepts = CountView.of(rows.words, WORDS), CountView.of(rows.concepts, CONCEPTS)
        joined = np.hstack([units(rows.x - mean), words(rows.words), concepts(rows.concepts)])
        centre = joined.mean(0)
        covariance = joined.T @ joined / len(joined) - np.outer(centre, centre)
        values, vectors = np.linalg.eigh(covariance)
        kept = slice(None, -COMPONENTS - 1, -1)
        variances = np.maximum(values[kept], TINY)
        axes = vectors[:, kept]
        views = cls(mean, words, concepts, axes, centre @ axes, variances, float(values.sum()))
        return views, joined @ axes - views.centre

    def __call__(self, rows: Rows) -> Doubles:
        """Return what they show of records (m, c)."""
        joined = np.hstack([units(rows.x - self.mean), self.words(rows.words), self.concepts(rows.concepts)])
        return joined @ self.axes - self.centre
