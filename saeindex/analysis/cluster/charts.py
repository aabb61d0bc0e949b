"""The chart of clusters: where their records are among similar ones."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from saeindex.analysis.cluster.results import Clustering
from saeindex.report import charts
from saeindex.report.charts import WIDTH, Chart, alt, inline

# Settings of t-SNE (van der Maaten and Hinton 2008).
COMPONENTS, PERPLEXITY, STEPS = 50, 30, 500
# Pixels of the map.
MAP_HEIGHT = 520
# How the records of a cluster are drawn.
MARKS: dict[str, dict[str, Any]] = {
    "a member": {"shape": "circle", "size": 22, "opacity": 0.45},
    "central": {"shape": "diamond", "size": 150, "opacity": 1, "stroke": "black", "strokeWidth": 1.4},
    "borderline": {"shape": "cross", "size": 110, "opacity": 1, "stroke": "black", "strokeWidth": 0.9},
}


def neighbour_layout(vectors: NDArray[np.float32]) -> NDArray[np.float64]:
    """Return positions (m, 2) of embeddings (m, d) that preserve neighbourhoods (t-SNE)."""
    from sklearn.decomposition import PCA
    from sklearn.manifold import TSNE

    count, dimension = vectors.shape
    components = min(COMPONENTS, count - 1, dimension)
    reduced = PCA(components, random_state=0).fit_transform(np.asarray(vectors, np.float32))
    perplexity = min(PERPLEXITY, (count - 1) / 3)
    initial = "pca" if components >= 2 else "random"
    layout = TSNE(2, init=initial, perplexity=perplexity, max_iter=STEPS, random_state=0, n_jobs=1)
    return np.asarray(layout.fit_transform(reduced), np.float64)


def map_of_records(found: Clustering) -> Chart:
    """Return a map of the records that have embeddings, with similar records near each other."""
    assert found.vectors is not None  # noqa: S101  (the caller has checked it)
    names = charts.unique_labels(found.names)
    rows = _map_rows(found, neighbour_layout(found.vectors), names)
    base = alt.Chart(inline(rows), width=WIDTH, height=MAP_HEIGHT).encode(
        x=alt.X("x:Q", axis=None, scale=alt.Scale(zero=False)),
        y=alt.Y("y:Q", axis=None, scale=alt.Scale(zero=False)),
        color=charts.colour_scale(names),
        tooltip=charts.tooltip(
            ("id:N", "record"), ("colour:N", "cluster"), ("sure:Q", "how surely", ".2f"), ("role:N", "it is")
        ),
    )
    marks = [
        base.transform_filter(alt.datum.role == role).mark_point(filled=True, **style)
        for role, style in MARKS.items()
    ]
    count = f"{len(rows):,} of {len(found.ids):,} records" if len(rows) < len(found.ids) else "The records"
    caption = (
        f"{count} placed so that those with similar embeddings are near each other (t-SNE: distances between "
        "far groups mean nothing). Where colours mix, the embedding as a whole follows something else. "
        "Diamonds are central records, crosses borderline ones."
    )
    return Chart(f"Map by {found.axis.name}", caption, alt.layer(*marks))


def _map_rows(found: Clustering, positions: NDArray[np.float64], names: list[str]) -> list[dict[str, Any]]:
    roles = {one.id: "borderline" for cluster in found.clusters for one in cluster.borderline}
    roles |= {one.id: "central" for cluster in found.clusters for one in cluster.central}
    columns = positions.tolist(), found.ids, found.codes.tolist(), found.confidence.tolist()
    return [
        {"id": one, "x": x, "y": y, "colour": names[code], "sure": sure, "role": roles.get(one, "a member")}
        for (x, y), one, code, sure in zip(*columns, strict=False)
    ]
