"""InterpEmbed's way to cluster by an axis (arXiv 2512.10092), the named baseline.

The features whose labels are most like the axis are kept; records are as similar as the Jaccard index of
their active kept features, and spectral clustering divides them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from scipy.sparse import csr_matrix

    from saeindex.concepts.weighting import Doubles
    from saeindex.features import FeatureSpace
    from saeindex.types import FloatArray

LABELLED = 100
# A dense similarity matrix: this many records at most are divided, the others go where their likes are.
MOST_DIVIDED = 3_000
SEED = 0


def interpembed_clusters(
    present: csr_matrix, space: FeatureSpace, vectors: FloatArray, count: int
) -> NDArray[np.int64]:
    """Divide records (m, n) into ``count`` clusters by features with labels like ``vectors`` (J, d)."""
    from sklearn.cluster import SpectralClustering

    kept = labelled_features(space, vectors)
    active = present[:, kept]
    divided = min(active.shape[0], MOST_DIVIDED)
    similarity = jaccard(active[:divided], active[:divided])
    found = SpectralClustering(count, affinity="precomputed", random_state=SEED, assign_labels="kmeans")
    codes = np.zeros(active.shape[0], np.int64)
    codes[:divided] = found.fit_predict(similarity + 1e-6)
    if divided < active.shape[0]:
        centres = np.eye(count)[codes[:divided]] / np.maximum(
            np.bincount(codes[:divided], minlength=count), 1
        )
        codes[divided:] = (jaccard(active[divided:], active[:divided]) @ centres).argmax(1)
    return codes


def labelled_features(space: FeatureSpace, vectors: FloatArray) -> NDArray[np.int64]:
    """Return the features whose labels are most like any of ``vectors`` (J, d), in order."""
    nearness = (space.label_vectors @ vectors.T).max(1)
    nearness[~np.isfinite(space.calibration.p90)] = -1.0
    return np.sort(np.argsort(-nearness, kind="stable")[:LABELLED]).astype(np.int64)


def jaccard(a: csr_matrix, b: csr_matrix) -> Doubles:
    """Return the Jaccard index of rows of ones (m, n) and (l, n): shared over either, else 0."""
    shared = np.asarray((a @ b.T).todense(), np.float64)
    either = np.asarray(a.sum(1)) + np.asarray(b.sum(1)).T - shared
    index: Doubles = shared / np.maximum(either, 1.0)
    return index
