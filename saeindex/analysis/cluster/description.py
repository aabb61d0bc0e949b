"""Description of clusters: sizes, concepts, central and borderline records, leakage."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from saeindex.analysis.cluster.quality import (
    agreement,
    conductances,
    distinctive,
    free_clusters,
    leakage,
    neighbour_graph,
    silhouettes,
)
from saeindex.analysis.cluster.results import Cluster, KeyConcept
from saeindex.analysis.examples import examples_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from saeindex.collection.sample import CollectionSample
    from saeindex.collection.snapshot import Snapshot
    from saeindex.concepts.weighting import Doubles
    from saeindex.features import FeatureSpace
    from saeindex.report.model import Example

FREE = "(free)"
CONCEPTS = 8
# The minimum z, lift and share of records for a concept of a cluster.
MIN_Z, MIN_LIFT, MIN_SHARE = 3.0, 1.2, 0.02


def described_clusters(
    snapshot: Snapshot,
    sample: CollectionSample,
    rows: NDArray[np.int64],
    shares: Doubles,
    names: Sequence[str],
    shown: int,
) -> list[Cluster]:
    """Return the clusters of a sample's records, in the order of ``names``.

    ``rows`` (m,) are their rows of the snapshot, -1 for one that is not shown; ``shares`` (m, J) say how far
    each record is in.
    """
    codes, count = shares.argmax(1), len(names)
    apart = conductances(neighbour_graph(sample.neighbours), codes, count)
    fits = silhouettes(sample.rows.x, codes, count)
    spoken = snapshot.listed_at("typical")[rows * (rows >= 0)].multiply((rows >= 0)[:, None]).tocsr()
    over, lift = distinctive(spoken, codes, count)
    usual = np.asarray(spoken.mean(0), np.float64).ravel()
    sizes = np.bincount(codes, minlength=count)
    found = []
    for value, name in enumerate(names):
        inside = np.flatnonzero(codes == value)
        lead = shares[inside, value] - np.delete(shares[inside], value, axis=1).max(1, initial=0.0)
        central, edge = inside[_central(sample, inside, lead)], inside[np.argsort(lead, kind="stable")]
        concepts = key_concepts(snapshot.space, over[value], lift[value], lift[value] * usual)
        found.append(
            Cluster(
                name,
                int(sizes[value]),
                float(sizes[value] / max(1, len(codes))),
                concepts,
                _examples(snapshot, rows[central], concepts, shown),
                _examples(snapshot, rows[edge], concepts, shown),
                float(apart[value]),
                float(fits[inside].mean()) if len(inside) else 0.0,
            )
        )
    return found


def _examples(
    snapshot: Snapshot, rows: NDArray[np.int64], concepts: Sequence[KeyConcept], shown: int
) -> tuple[Example, ...]:
    return examples_of(snapshot, rows[rows >= 0][:shown].tolist(), [one.feature for one in concepts])


def _central(sample: CollectionSample, inside: NDArray[np.int64], lead: Doubles) -> NDArray[np.int64]:
    """Return the order of a cluster's records: the surest first, among them those nearest to their mean."""
    x = sample.rows.x[inside].astype(np.float64)
    mean = x[lead >= np.median(lead)].mean(0) if len(inside) else np.zeros(sample.rows.x.shape[1])
    nearness = x @ mean
    return np.lexsort((-nearness, lead < (np.median(lead) if len(lead) else 0.0)))


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


def leaks(
    snapshot: Snapshot,
    rows: NDArray[np.int64],
    sample: CollectionSample,
    codes: NDArray[np.int64],
    count: int,
) -> dict[str, dict[str, float]]:
    """Return the agreement of clusters with other fields, and with k-means clusters without an axis."""
    found = leakage(snapshot, rows, codes)
    found[FREE] = agreement(free_clusters(sample.rows.x, count), codes)
    return found


def sized(clusters: Sequence[Cluster], codes: NDArray[np.int64]) -> tuple[Cluster, ...]:
    """Return the clusters with the sizes of all records' ``codes`` (m,)."""
    sizes = np.bincount(codes, minlength=len(clusters)).tolist()
    shares = [size / max(1, len(codes)) for size in sizes]
    return tuple(
        replace(cluster, size=size, share=share)
        for cluster, size, share in zip(clusters, sizes, shares, strict=True)
    )
