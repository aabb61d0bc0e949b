"""Anchored expectation-maximisation: clusters that follow the records and stay near the described values.

Each round fits, by ridge regression, which value each record has from what its views show (the fit of a
record leaves that record out), and softly assigns the records by this fit and by the scores that they started
with, the anchor:

    fit_j = G (GᵀP_j) / m, with G the components, whitened: divided by sqrt(variance + RIDGE · mean variance)
    P = softmax(SHARPNESS · (z(fit) + ANCHOR · start)),   z: mean 0 and deviation 1 by value

Ridge regression on indicators is linear discriminant analysis (Hastie, Tibshirani and Friedman, 4.3); its
exact leave-one-out form (7.10) prevents that many components reproduce any starting point.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from saeindex.analysis.stats.stratified import memberships
from saeindex.concepts.weighting import TINY, units

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from saeindex.analysis.cluster.views import Views
    from saeindex.concepts.weighting import Doubles

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
        fit: Doubles = self.g @ (self.g.T @ centred) / len(self.g) - self.leverage[:, None] * centred
        return fit


@dataclass(frozen=True, eq=False)
class Settled:
    """Where it ended: ``shares`` (m, J) of records in values, ``logits`` (m, J), and where it ``began``."""

    shares: Doubles
    logits: Doubles
    began: Doubles

    @property
    def codes(self) -> NDArray[np.int64]:
        """The value of each record (m,)."""
        codes: NDArray[np.int64] = self.shares.argmax(1)
        return codes


def settle(
    whitened: Whitened,
    start: Doubles,
    known: NDArray[np.int64] | None = None,
    weight: Doubles | None = None,
) -> Settled:
    """Return where records settle from ``start`` (m, J); ``known`` (m,) says -1 or the value of an example.

    ``weight`` (m,) is how much each record counts in the fit of others.
    """
    weight = np.ones(len(start)) if weight is None else weight.copy()
    if known is not None:
        weight[known >= 0] *= EXAMPLE
    shares = began = with_known(soft(start), known)
    logits = start
    for _ in range(ROUNDS):
        logits = standardised(whitened.fit(shares, weight)) + ANCHOR * start
        found = with_known(soft(logits), known)
        moved, shares = float(np.abs(found - shares).mean()), found
        if moved < SETTLED / start.shape[1]:
            break
    return Settled(shares, logits, began)


def example_scores(
    whitened: Whitened, known: NDArray[np.int64], count: int, nearest: NDArray[np.int64]
) -> Doubles:
    """Return the similarity of records and their neighbours to the examples of each value (m, J)."""
    known_shares = memberships(known[known >= 0], count)
    # A value without examples has no direction: its similarity is 0.
    centres = known_shares.T @ whitened.g[known >= 0] / np.maximum(known_shares.sum(0), 1)[:, None]
    return smoothed(standardised(whitened.g @ units(centres).T), nearest)


def smoothed(scores: Doubles, nearest: NDArray[np.int64]) -> Doubles:
    """Return scores (m, J) with SMOOTHING times the mean of each record's ``nearest`` (m, n)."""
    if not nearest.shape[1]:
        return scores
    around = np.mean([scores[column] for column in nearest.T], axis=0)
    return standardised(scores + SMOOTHING * standardised(around))


def with_known(shares: Doubles, known: NDArray[np.int64] | None) -> Doubles:
    """Return shares in which the examples belong to their values."""
    if known is not None:
        known_shares = np.flatnonzero(known >= 0)
        shares[known_shares] = memberships(known[known_shares], shares.shape[1])
    return shares


def soft(logits: Doubles) -> Doubles:
    """Return the softmax of SHARPNESS times ``logits`` (m, J), by record."""
    raised = np.exp(SHARPNESS * (logits - logits.max(1, keepdims=True)))
    shares: Doubles = raised / raised.sum(1, keepdims=True)
    return shares


def standardised(scores: Doubles) -> Doubles:
    """Return scores (m, J) with mean 0 and deviation 1 by value; what does not differ is 0."""
    centred = scores - scores.mean(0)
    deviation = centred.std(0)
    scaled: Doubles = centred / np.where(deviation > TINY, deviation, 1.0)
    return scaled
