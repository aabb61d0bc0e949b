"""The chart of clusters: where their records are among similar ones."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from saeindex.analysis.cluster.results import Clustering
from saeindex.report import charts
from saeindex.report.charts import WIDTH, Chart, alt, inline

# What the layout is made from (van der Maaten and Hinton 2008).
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
    """Return places (m, 2) of embeddings (m, d) that keep neighbours together (t-SNE)."""
    from sklearn.decomposition import PCA
    from sklearn.manifold import TSNE

    count, dimension = vectors.shape
    parts = min(COMPONENTS, count - 1, dimension)
    reduced = PCA(parts, random_state=0).fit_transform(np.asarray(vectors, np.float32))
    perplexity = min(PERPLEXITY, (count - 1) / 3)
    start = "pca" if parts >= 2 else "random"
    layout = TSNE(2, init=start, perplexity=perplexity, max_iter=STEPS, random_state=0, n_jobs=1)
    return np.asarray(layout.fit_transform(reduced), np.float64)


def map_of_records(found: Clustering) -> Chart:
    """Return the records that have embeddings, near to similar ones."""
    assert found.vectors is not None  # noqa: S101  (only then there is a map)
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
        base.transform_filter(alt.datum.role == role).mark_point(filled=True, **look)
        for role, look in MARKS.items()
    ]
    of = f"{len(rows):,} of {len(found.ids):,} records" if len(rows) < len(found.ids) else "The records"
    caption = (
        f"{of} placed so that those with similar embeddings are near each other (t-SNE: distances between "
        "far groups mean nothing). Where colours mix, the embedding as a whole follows something else. "
        "Diamonds are central records, crosses borderline ones."
    )
    return Chart(f"Map by {found.axis.name}", caption, alt.layer(*marks))


def _map_rows(found: Clustering, places: NDArray[np.float64], names: list[str]) -> list[dict[str, Any]]:
    roles = {record: "borderline" for cluster in found.clusters for record in cluster.borderline}
    roles |= {record: "central" for cluster in found.clusters for record in cluster.central}
    columns = places.tolist(), found.ids, found.codes.tolist(), found.confidence.tolist()
    return [
        {"id": one, "x": x, "y": y, "colour": names[code], "sure": sure, "role": roles.get(one, "a member")}
        for (x, y), one, code, sure in zip(*columns, strict=False)
    ]
