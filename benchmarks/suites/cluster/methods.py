"""Other methods to cluster records: embeddings alone, embeddings of prompted texts, and InterpEmbed."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, TypeAlias

import numpy as np

from saeindex.analysis.cluster.cluster import interpembed_clusters
from saeindex.analysis.cluster.quality import free_clusters

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from benchmarks.suites.cluster.axes import Task, Texts

Codes: TypeAlias = "NDArray[np.int64]"
SEED = 0
# Texts of each task in a prompt; they are encoded again for each axis.
PROMPTED = 400
TEMPLATES = {"axis first": "{axis}: {text}", "question": "What is the {axis} of this text? {text}"}
NEIGHBOURS = {f"{n} neighbours": n for n in (10, 30)}
SMALLEST = {f"at least {n}": n for n in (10, 25, 50)}
PARTS = 20


def kmeans(task: Task) -> Codes:
    """k-means of the embeddings, with the true number of clusters."""
    return free_clusters(task.snapshot.vectors, len(task.descriptions))


def spectral(task: Task, neighbours: int) -> Codes:
    """Spectral clustering of the neighbour graph of the embeddings, with the true number of clusters."""
    from sklearn.cluster import SpectralClustering

    found = SpectralClustering(
        len(task.descriptions), affinity="nearest_neighbors", n_neighbors=neighbours, random_state=SEED
    )
    codes: Codes = found.fit_predict(task.snapshot.vectors)
    return codes


def hdbscan(task: Task, min_size: int) -> Codes:
    """HDBSCAN of principal components; noise is assigned to the nearest cluster."""
    from sklearn.cluster import HDBSCAN
    from sklearn.decomposition import PCA

    x = PCA(PARTS, random_state=SEED).fit_transform(task.snapshot.vectors)
    codes: Codes = HDBSCAN(min_cluster_size=min_size, copy=True).fit_predict(x)
    found = np.unique(codes[codes >= 0])
    if not len(found):
        return np.zeros(len(x), np.int64)
    centres = np.array([x[codes == code].mean(0) for code in found])
    near = ((x[:, None] - centres[None]) ** 2).sum(2).argmin(1)
    return np.where(codes >= 0, codes, found[near])


def interpembed(task: Task, texts: Texts) -> Codes:
    """InterpEmbed's method: features by label, Jaccard index, spectral clustering."""
    vectors = np.array([texts.encode(text) for text in task.descriptions.values()])
    present = task.sample.present
    return interpembed_clusters(present, task.snapshot.space, vectors, len(task.descriptions))


def prompted(task: Task, texts: Texts, template: str, limit: int = PROMPTED) -> Codes:
    """k-means of the first records' embeddings, their texts in a prompt that names the axis."""
    axis = task.field.replace("_", " ")
    written = [template.format(axis=axis, text=record.text) for record in task.records[:limit]]
    return free_clusters(texts.encoder.encode_document(written), len(task.descriptions))


def best(scores: Mapping[str, list[float]]) -> str:
    """Return the setting with the best mean."""
    return max(scores, key=lambda name: float(np.mean(scores[name])))
