"""Contrast sets: for each feature, texts that have it and comparable texts that do not."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from saeindex.features.calibration import Calibration
    from saeindex.types import FloatArray, SparseCode

MIN_ACTIVE = 50
BLOCK = 64
# Pairs of texts that are compared one by one.
FEW_PAIRS = 50_000
# How much worse than the leading name of a label a further one may predict alone.
MAX_BEHIND = 0.1


@dataclass(frozen=True, slots=True, eq=False)
class Contrast:
    """Positions of texts (r,), and whether the feature is typical or else absent in each (r,) bool."""

    texts: NDArray[np.int64]
    is_active: NDArray[np.bool_]


class Closeness:
    """Closeness of texts (m, d) to points: the cosine about the mean of the texts, up to a factor.

    Cosines about the origin would favour central texts, which lie nearer to *all* labels: on the default
    space the label of another feature then has an AUROC of .454 against near texts, with this measure .499.
    """

    def __init__(self, vectors: FloatArray) -> None:
        """Store the texts' embeddings, their mean and their distances from it."""
        self._vectors, self._mean = vectors, vectors.mean(0, dtype=np.float64)
        squares = np.einsum("ij,ij->i", vectors, vectors) - 2 * vectors @ self._mean + self._mean @ self._mean
        self._distance = np.sqrt(np.maximum(squares, 1e-12))[:, None]

    def to(self, points: FloatArray) -> FloatArray:
        """Return the closeness (m, c) of every text to each point (c, d)."""
        directions = points - self._mean
        closeness = self._vectors @ directions.T.astype(np.float32) - self._mean @ directions.T
        seen: FloatArray = (closeness / self._distance).astype(np.float32)
        return seen


def contrast_sets(
    vectors: FloatArray,
    code: SparseCode,
    calibration: Calibration,
    max_active: int,
    seed: int = 0,
) -> Iterator[Contrast | None]:
    """Yield each feature's contrast set, None if either side has fewer than ``MIN_ACTIVE`` texts.

    A set has at most ``max_active`` texts where the feature is at level 1 or above, as many random texts
    without the feature, and as many texts without it that lie nearest to the active texts (see
    :class:`Closeness`). ``vectors`` are the texts' embeddings (m, d).
    """
    rng = np.random.default_rng(seed)
    columns, nearness = code.to_csr().tocsc(), Closeness(vectors)
    for start in range(0, code.n_features, BLOCK):
        features = range(start, min(start + BLOCK, code.n_features))
        present = [columns.indices[columns.indptr[f] : columns.indptr[f + 1]] for f in features]
        active = [
            texts[columns.data[columns.indptr[f] : columns.indptr[f + 1]] >= calibration.median[f]]
            for f, texts in zip(features, present, strict=True)
        ]
        centroids = np.stack([vectors[texts].mean(0) if len(texts) else vectors[0] for texts in active])
        closeness = nearness.to(centroids)
        for i in range(len(features)):
            too_few = min(len(active[i]), len(vectors) - len(present[i])) < MIN_ACTIVE
            yield None if too_few else _contrast(active[i], present[i], closeness[:, i], max_active, rng)


def auroc(scores: FloatArray, is_active: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Return the AUROC of each column of ``scores`` (r, c), ties counted half (Mann–Whitney)."""
    active, absent = scores[is_active], scores[~is_active]
    if active.size * len(absent) <= FEW_PAIRS:  # much faster than ranks
        won: NDArray[np.float64] = np.sign(active[:, None] - absent[None]).mean((0, 1), np.float64)
        return (won + 1) / 2
    from scipy.stats import rankdata

    ranks = rankdata(scores, axis=0)[is_active].sum(0)
    n, m = int(is_active.sum()), int((~is_active).sum())
    share: NDArray[np.float64] = (ranks - n * (n + 1) / 2) / (n * m)
    return share


def predicts_alone(aurocs: NDArray[np.float64], leading: float) -> NDArray[np.bool_]:
    """Return which names may join the ``leading`` one in a label, by the AUROC of each alone (c,).

    Others move the first a little, and mean something else.
    """
    return aurocs >= leading - MAX_BEHIND


def _contrast(
    active: NDArray[np.int32],
    present: NDArray[np.int32],
    closeness: FloatArray,
    max_active: int,
    rng: np.random.Generator,
) -> Contrast:
    active = rng.permutation(active)[:max_active]
    size = min(len(active), len(closeness) - len(present))
    closeness = closeness.copy()
    closeness[present] = -np.inf
    near = np.argpartition(-closeness, size - 1)[:size]
    absent = np.flatnonzero(np.isfinite(closeness))
    texts = np.concatenate([active, near, rng.choice(absent, size)]).astype(np.int64)
    return Contrast(texts, np.arange(len(texts)) < len(active))
