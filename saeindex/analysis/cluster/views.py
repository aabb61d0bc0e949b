"""The views of records for clustering: embedding, words and concepts side by side, in few dimensions.

Words and concepts are reduced by a truncated SVD of their weighted counts (latent semantic analysis), each
view is centred and scaled to the same mean length, and the three views together are reduced to principal
components. The views of new records are projected in the same way.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from scipy.sparse import csr_matrix

from saeindex.collection.rows import Rows
from saeindex.concepts.weighting import TINY, units

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from saeindex.concepts.weighting import Doubles
    from saeindex.types import FloatArray

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
        seen: Doubles = self.scale * (found - self.mean)
        return seen


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
        seen: Doubles = joined @ self.axes - self.centre
        return seen


def common_words(words: csr_matrix, min_records: int, limit: int) -> NDArray[np.int64]:
    """Return the columns of words in at least ``min_records`` records, at most ``limit``, in order."""
    counts = np.asarray(words.sum(0)).ravel()
    ranked = np.argsort(-counts, kind="stable")[:limit]
    return np.sort(ranked[counts[ranked] >= min_records]).astype(np.int64)
