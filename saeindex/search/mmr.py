"""Maximal marginal relevance in feature space (Carbonell & Goldstein 1998, SIGIR).

Greedily, the next record i is the one with the largest

    (1 - diversity) * relevance(i)  -  diversity * max_{j chosen} similarity(i, j)

Relevance is the score, scaled to 0 to 1 over the candidates. Similarity is the cosine of sparse codes, with
each activation as a fraction of its feature's p90 and at most 1.5, so that two records are similar if they
have the same concepts, even if one concept is much stronger.
"""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from saeindex.config import SAE
from saeindex.indexing.points import codes_of
from saeindex.stores.tracing import noted

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from saeindex.features import Calibration
    from saeindex.protocols import Point, VectorStore
    from saeindex.search.grouping import Ranked, Ranking

# The number of records that are reordered; the others keep their rank.
DIVERSITY_POOL = 500


class Diverse:
    """A ranking whose first 500 are in the order of maximal marginal relevance."""

    def __init__(
        self, ranking: Ranking, store: VectorStore, calibration: Calibration, diversity: float
    ) -> None:
        """Bind a ranking, the store and calibration of its codes, and the ``diversity``, 0 to 1."""
        self._ranking, self._store = ranking, store
        self._calibration, self._diversity = calibration, diversity

    def first(self, count: int) -> list[Ranked]:
        """See :class:`saeindex.search.grouping.Ranking`."""
        if count <= len(self._head):
            return self._head[:count]
        return self._head + self._ranking.first(count)[len(self._head) :]

    @cached_property
    def _head(self) -> list[Ranked]:
        found = self._ranking.first(DIVERSITY_POOL)
        points = [point for _, point in found]
        codes = {p.id: p for p in self._store.get([p.id for p in points], False, [SAE])}
        similarity = code_similarity([codes.get(point.id, point) for point in points], self._calibration)
        scores = np.array([point.score or 0.0 for point in points])
        order = noted(
            "diversify", lambda: greedy_order(scores, similarity, self._diversity), asked=len(found)
        )
        return [found[row] for row in order]


def code_similarity(points: Sequence[Point], calibration: Calibration) -> NDArray[np.float64]:
    """Return the cosines (m, m) of the points' codes, activations as fractions of p90, at most 1.5."""
    from scipy.sparse import csr_matrix

    codes = codes_of(points, len(calibration.p90))
    capped = calibration.loudness(codes.indices, codes.values).astype(np.float64)
    rows = csr_matrix((capped, codes.indices, codes.indptr), shape=(len(codes), codes.n_features))
    lengths = np.sqrt(np.asarray(rows.multiply(rows).sum(1)).ravel())
    products: NDArray[np.float64] = (rows @ rows.T).toarray()
    return products / np.maximum(np.outer(lengths, lengths), 1e-12)


def greedy_order(scores: NDArray[np.float64], similarity: NDArray[np.float64], diversity: float) -> list[int]:
    """Return all rows in the order of maximal marginal relevance; equal rows keep their order."""
    spread = float(np.ptp(scores)) if len(scores) else 0.0
    relevance = (scores - scores.min()) / spread if spread > 0 else np.zeros(len(scores))
    nearest = np.zeros(len(scores))
    is_left = np.ones(len(scores), bool)
    order: list[int] = []
    for _ in range(len(scores)):
        gain = np.where(is_left, (1 - diversity) * relevance - diversity * nearest, -np.inf)
        row = int(np.argmax(gain))
        order.append(row)
        is_left[row] = False
        nearest = np.maximum(nearest, similarity[row])
    return order
