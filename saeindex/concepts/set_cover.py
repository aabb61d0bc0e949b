"""From a phrase's evidence to a set of features: the few that together say best which records are meant."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray
    from scipy.sparse import csc_matrix, csr_matrix

    from saeindex.concepts.weighting import Doubles

# Features that by themselves say most; the set is chosen among them.
CONSIDERED = 150
# A further feature must better the expected F1 by this share, and be in this many records of the sample.
LEAST_GAIN, LEAST_RECORDS = 0.01, 5


@dataclass(frozen=True, slots=True)
class Cover:
    """A set of features, in the order of choice, and how well their union is expected to do.

    ``shares`` is how much of each feature's records are meant; ``precision`` and ``recall`` are the union's.
    """

    features: tuple[int, ...]
    shares: tuple[float, ...]
    precision: float
    recall: float


def likely(scores: Doubles, floor: float, steepness: float) -> Doubles:
    """Return how likely each record is meant, from its score in deviations above the mean (m,)."""
    probability: Doubles = 1.0 / (1.0 + np.exp(-steepness * (scores - floor)))
    return probability


def cover(
    meant: Doubles, present: csr_matrix, allowed: NDArray[np.int64], most: int, named: Sequence[int] = ()
) -> Cover:
    """Return up to ``most`` features, the ``named`` and of the ``allowed``, with the best expected F1.

    ``meant`` (m,) is the probability of each record, ``present`` (m, n) which features it has. Greedy: each
    step adds the feature that betters 2 |union ∩ meant| / (|union| + |meant|) most.
    """
    total = float(meant.sum())
    chosen = list(named)
    inside = np.asarray(present[:, chosen].sum(1)).ravel() > 0
    best = 2 * float(meant[inside].sum()) / (float(inside.sum()) + total)
    columns: csc_matrix = present.tocsc()[:, allowed]
    sizes = np.asarray(columns.sum(0)).ravel()
    alone = 2 * np.asarray(meant @ columns).ravel() / (sizes + total)
    alone[sizes < LEAST_RECORDS] = 0.0
    tried = np.argsort(-alone, kind="stable")[:CONSIDERED]
    tried = tried[alone[tried] > 0]
    columns = columns[:, tried]
    while len(chosen) < most and len(tried):
        left = np.where(inside, 0.0, 1.0)
        hits = np.asarray((meant * left) @ columns).ravel() + meant[inside].sum()
        f1 = 2 * hits / (np.asarray(left @ columns).ravel() + inside.sum() + total)
        winner = int(f1.argmax())
        if f1[winner] <= best * (1 + LEAST_GAIN):
            break
        best = float(f1[winner])
        chosen.append(int(allowed[tried[winner]]))
        inside |= columns[:, [winner]].toarray().ravel() > 0
    return _described(chosen, present, meant, inside)


def _described(
    chosen: Sequence[int], present: csr_matrix, meant: Doubles, inside: NDArray[np.bool_]
) -> Cover:
    having = present[:, list(chosen)].tocsc()
    sizes = np.maximum(np.asarray(having.sum(0)).ravel(), 1)
    shares = np.asarray(meant @ having).ravel() / sizes
    met = float(meant[inside].sum())
    precision, recall = met / max(1, int(inside.sum())), met / max(float(meant.sum()), 1e-9)
    return Cover(tuple(chosen), tuple(shares.tolist()), precision, recall)
