"""Quality of clusters: conductance, silhouette, distinctive features, and agreement with other fields."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from scipy.sparse import csr_matrix

from saeindex.analysis.stats.stratified import memberships
from saeindex.concepts.weighting import TINY, over_represented, units

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from saeindex.collection.snapshot import Snapshot
    from saeindex.concepts.weighting import Doubles
    from saeindex.types import FloatArray

# The maximum number of values of a field for leakage, and the minimum number of records with a value.
MAX_LEAKED = 300
MIN_KNOWN = 20


def neighbour_graph(nearest: NDArray[np.int64]) -> csr_matrix:
    """Return the symmetric graph (m, m) in which records are joined to their ``nearest`` (m, n)."""
    m, n = nearest.shape
    joined = csr_matrix((np.ones(m * n), nearest.ravel(), np.arange(0, m * n + 1, max(1, n))), shape=(m, m))
    return joined.maximum(joined.T)


def conductances(graph: csr_matrix, codes: NDArray[np.int64], count: int) -> Doubles:
    """Return for each cluster the edges that leave it over those of its smaller side (count,); 0 is apart.

    Kannan, Vempala and Vetta 2004, φ(S) = cut(S) / min(vol S, vol not S); 1 for an empty cluster.
    """
    degree = np.asarray(graph.sum(1)).ravel()
    belongs = memberships(codes, count)
    inside = (belongs * (graph @ belongs)).sum(0)
    volume = degree @ belongs
    smaller = np.minimum(volume, degree.sum() - volume)
    found: Doubles = np.where(smaller > 0, (volume - inside) / np.maximum(smaller, TINY), 1.0)
    return found


def silhouettes(x: FloatArray, codes: NDArray[np.int64], count: int) -> Doubles:
    """Return each record's simplified silhouette (m,), by cosine distance to the clusters' mean directions.

    (b - a) / max(a, b) with a the distance to its own and b to the nearest other (Hruschka and others 2004).
    """
    centred = units(x - x.mean(0))
    sums = memberships(codes, count).T @ centred
    apart = 1 - centred @ units(sums).T
    apart[:, np.bincount(codes, minlength=count) == 0] = np.inf
    own = apart[np.arange(len(codes)), codes]
    np.put_along_axis(apart, codes[:, None], np.inf, axis=1)
    other = apart.min(1)
    nearest = np.where(np.isfinite(other), other, own)
    found: Doubles = (nearest - own) / np.maximum(np.maximum(nearest, own), TINY)
    return found


def distinctive(present: csr_matrix, codes: NDArray[np.int64], count: int) -> tuple[Doubles, Doubles]:
    """Return over-representation z and lift (count, n) of features in clusters, beside all records."""
    usual = np.asarray(present.mean(0), np.float64).ravel()
    size = np.bincount(codes, minlength=count).astype(np.float64)
    share = np.asarray((present.T @ memberships(codes, count)).T) / np.maximum(size, 1)[:, None]
    lift: Doubles = share / np.maximum(usual, TINY)
    return over_represented(share, usual.astype(np.float32), size), lift


def leakage(
    snapshot: Snapshot, rows: NDArray[np.int64], codes: NDArray[np.int64]
) -> dict[str, dict[str, float]]:
    """Return how far clusters agree with each metadata field that groups records: NMI and ARI."""
    found = {}
    for field in snapshot.fields:
        column = snapshot.column(field).take(rows)
        known = column.codes >= 0
        values = len(np.unique(column.codes[known]))
        if known.sum() >= MIN_KNOWN and 2 <= values <= min(MAX_LEAKED, known.sum() / 2):
            found[field] = agreement(column.codes[known], codes[known])
    return found


def agreement(a: NDArray[np.integer], b: NDArray[np.integer]) -> dict[str, float]:
    """Return the normalised mutual information and the adjusted Rand index of two groupings."""
    from sklearn.metrics import adjusted_rand_score, normalized_mutual_info_score

    return {"nmi": float(normalized_mutual_info_score(a, b)), "ari": float(adjusted_rand_score(a, b))}


def free_clusters(x: FloatArray, count: int, seed: int = 0) -> NDArray[np.int64]:
    """Return what k-means finds in the embeddings when nothing is asked (m,)."""
    from sklearn.cluster import KMeans

    codes: NDArray[np.int64] = KMeans(count, n_init=3, random_state=seed).fit_predict(x).astype(np.int64)
    return codes
