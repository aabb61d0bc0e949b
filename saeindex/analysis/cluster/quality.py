"""Clusters described, measured and judged: whether a space can express an axis.

The verdict is made of signs of failure that need no true labels. They measure whether the records divide
along the axis. They cannot measure whether the division has the meaning of the axis: an axis that is confused
with another one, such as topic, passes.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from scipy.sparse import csr_matrix

from saeindex.analysis.cluster.anchored_em import Settled, Whitened, standardised
from saeindex.analysis.cluster.results import Cluster, KeyConcept, Signs, Verdict
from saeindex.analysis.examples import examples_of
from saeindex.analysis.stats.stratified import memberships
from saeindex.concepts.inference import TINY, over_represented, units

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from saeindex.collection.sample import CollectionSample
    from saeindex.collection.snapshot import Snapshot
    from saeindex.features import FeatureSpace
    from saeindex.report.model import Example
    from saeindex.types import Doubles, FloatArray, Ints

# The maximum number of values of a field for leakage, and the minimum number of records with a value.
MAX_LEAKED = 300
MIN_KNOWN = 20


def neighbour_graph(nearest: Ints) -> csr_matrix:
    """Return the symmetric graph (m, m) in which records are joined to their ``nearest`` (m, n)."""
    m, n = nearest.shape
    joined = csr_matrix((np.ones(m * n), nearest.ravel(), np.arange(0, m * n + 1, max(1, n))), shape=(m, m))
    return joined.maximum(joined.T)


def conductances(graph: csr_matrix, codes: Ints, count: int) -> Doubles:
    """Return for each cluster the edges that leave it over those of its smaller side (count,); 0 is apart.

    Kannan, Vempala and Vetta 2004, φ(S) = cut(S) / min(vol S, vol not S); 1 for an empty cluster.
    """
    degree = np.asarray(graph.sum(1)).ravel()
    belongs = memberships(codes, count)
    inside = (belongs * (graph @ belongs)).sum(0)
    volume = degree @ belongs
    smaller = np.minimum(volume, degree.sum() - volume)
    return np.where(smaller > 0, (volume - inside) / np.maximum(smaller, TINY), 1.0)


def silhouettes(x: FloatArray, codes: Ints, count: int) -> Doubles:
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
    return (nearest - own) / np.maximum(np.maximum(nearest, own), TINY)


def distinctive(present: csr_matrix, codes: Ints, count: int) -> tuple[Doubles, Doubles]:
    """Return over-representation z and lift (count, n) of features in clusters, beside all records."""
    usual = np.asarray(present.mean(0), np.float64).ravel()
    size = np.bincount(codes, minlength=count).astype(np.float64)
    share = np.asarray((present.T @ memberships(codes, count)).T) / np.maximum(size, 1)[:, None]
    lift: Doubles = share / np.maximum(usual, TINY)
    return over_represented(share, usual.astype(np.float32), size), lift


def leakage(
    snapshot: Snapshot, rows: Ints, sample: CollectionSample, codes: Ints, count: int
) -> dict[str, dict[str, float]]:
    """Return how far clusters agree with each field that groups records, and with k-means: NMI and ARI."""
    found = {}
    for field in snapshot.fields:
        column = snapshot.column(field).take(rows)
        known = column.codes >= 0
        values = len(np.unique(column.codes[known]))
        if known.sum() >= MIN_KNOWN and 2 <= values <= min(MAX_LEAKED, known.sum() / 2):
            found[field] = agreement(column.codes[known], codes[known])
    return found | {FREE: agreement(free_clusters(sample.rows.x, count), codes)}


def agreement(a: NDArray[np.integer], b: NDArray[np.integer]) -> dict[str, float]:
    """Return the normalised mutual information and the adjusted Rand index of two groupings."""
    from sklearn.metrics import adjusted_rand_score, normalized_mutual_info_score

    return {"nmi": float(normalized_mutual_info_score(a, b)), "ari": float(adjusted_rand_score(a, b))}


def free_clusters(x: FloatArray, count: int) -> Ints:
    """Return what k-means finds in the embeddings when nothing is asked (m,)."""
    from sklearn.cluster import KMeans

    return np.asarray(KMeans(count, n_init=3, random_state=0).fit_predict(x), np.int64)


FREE = "(free)"
CONCEPTS = 8
# The minimum z, lift and share of records for a concept of a cluster.
MIN_Z, MIN_LIFT, MIN_SHARE = 3.0, 1.2, 0.02


def described_clusters(
    snapshot: Snapshot,
    sample: CollectionSample,
    rows: Ints,
    shares: Doubles,
    names: Sequence[str],
    sizes: Sequence[int],
    shown: int,
) -> tuple[Cluster, ...]:
    """Return the clusters of a sample's records, in the order of ``names``.

    ``rows`` (m,) are their rows of the snapshot, -1 for one that is not shown; ``shares`` (m, J) say how far
    each record is in, and ``sizes`` (J,) how many of all records are.
    """
    codes, count = shares.argmax(1), len(names)
    apart = conductances(neighbour_graph(sample.neighbours), codes, count)
    fits = silhouettes(sample.rows.x, codes, count)
    spoken = snapshot.listed_at("typical")[rows * (rows >= 0)].multiply((rows >= 0)[:, None]).tocsr()
    over, lift = distinctive(spoken, codes, count)
    usual = np.asarray(spoken.mean(0), np.float64).ravel()
    found = []
    for value, name in enumerate(names):
        inside = np.flatnonzero(codes == value)
        lead = shares[inside, value] - np.delete(shares[inside], value, axis=1).max(1, initial=0.0)
        edge = inside[np.argsort(lead, kind="stable")]
        is_unsure = lead < (np.median(lead) if len(lead) else 0)
        # The surest first, among them those nearest to their mean.
        x = sample.rows.x[inside].astype(np.float64)
        toward = x[~is_unsure].mean(0) if len(inside) else np.zeros(x.shape[1])
        central = inside[np.lexsort((-(x @ toward), is_unsure))]
        concepts = key_concepts(snapshot.space, over[value], lift[value], lift[value] * usual)
        found.append(
            Cluster(
                name,
                sizes[value],
                sizes[value] / max(1, sum(sizes)),
                concepts,
                _examples(snapshot, rows[central], concepts, shown),
                _examples(snapshot, rows[edge], concepts, shown),
                float(apart[value]),
                float(fits[inside].mean()) if len(inside) else 0.0,
            )
        )
    return tuple(found)


def _examples(
    snapshot: Snapshot, rows: Ints, concepts: Sequence[KeyConcept], shown: int
) -> tuple[Example, ...]:
    return examples_of(snapshot, rows[rows >= 0][:shown].tolist(), [one.feature for one in concepts])


def key_concepts(space: FeatureSpace, over: Doubles, lift: Doubles, share: Doubles) -> tuple[KeyConcept, ...]:
    """Return the features that are over-represented, the surest first; weak labels after clear ones."""
    kept = [f for f in np.argsort(-over)[: 4 * CONCEPTS].tolist() if over[f] >= MIN_Z]
    kept = [f for f in kept if lift[f] >= MIN_LIFT and share[f] >= MIN_SHARE]
    ordered = sorted(kept, key=lambda feature: space.labels[feature].is_weak)[:CONCEPTS]
    labels = [space.labels[feature] for feature in ordered]
    return tuple(
        KeyConcept(feature, label.text, float(lift[feature]), float(share[feature]), label.is_weak)
        for feature, label in zip(ordered, labels, strict=True)
    )


FAILS_FROM = 0.5
LOW_KEPT, LOW_LITERAL, LOW_TOLD = 0.5, 0.2, 0.7
# A cluster with less than this fraction of an equal share counts as empty.
EMPTY = 0.02


UNJUDGED = Verdict(True, "not judged: this method has no start to compare its end with", None)


def signs_of(whitened: Whitened, settled: Settled, literal: Ints) -> Signs:
    """Measure the signs; ``literal`` (m,) is the value that each record is nearest to as it stands."""
    began, codes, count = settled.began, settled.codes, settled.shares.shape[1]
    fit = whitened.fit(began, np.ones(len(began)))
    return Signs(
        agreement(began.argmax(1), codes)["ari"],
        agreement(literal, codes)["ari"],
        float((standardised(fit) * standardised(began)).mean(0).mean()),
        float(np.bincount(codes, minlength=count).min() / len(codes) * count),
        bool((codes == codes[0]).all()),
    )


def judge(signs: Signs) -> Verdict:
    """Return the verdict on a clustering with these signs."""
    score = signs.failure_score
    if signs.is_one:
        return Verdict(False, "nothing tells the records apart: all are in one cluster", 1.0, signs)
    if score < FAILS_FROM:
        return Verdict(
            True, "records stay where the axis put them, and agree with similar records", score, signs
        )
    reasons = []
    if signs.kept < LOW_KEPT:
        reasons.append(f"records drifted from where the axis put them (agreement {signs.kept:.2f})")
    if signs.literal < LOW_LITERAL:
        reasons.append(f"they are not where the words alone put them (agreement {signs.literal:.2f})")
    if signs.told < LOW_TOLD:
        reasons.append(f"similar records differ on the axis (correlation {signs.told:.2f})")
    if signs.smallest < EMPTY:
        reasons.append("a value has next to no records")
    usual = (
        f"such agreement of start and end ({signs.kept:.2f}) and words ({signs.literal:.2f}) mostly failed"
    )
    return Verdict(False, "; ".join(reasons) or usual, score, signs)
