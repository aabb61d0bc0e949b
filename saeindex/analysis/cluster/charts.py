"""Charts of clusters: where their records stand among their likes, and how large and how apart they are."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from saeindex.report.charts import BLUE, GREY, WIDTH, Chart, colour_scale, inline, name_axis, told_apart

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from saeindex.analysis.cluster.results import Clustering
    from saeindex.types import FloatArray

# What the layout is made from (van der Maaten and Hinton 2008).
COMPONENTS, PERPLEXITY, STEPS = 50, 30, 500
MAP_HEIGHT = 520


def neighbour_layout(vectors: FloatArray) -> NDArray[np.float64]:
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
    """Return the records that have embeddings, near to their likes."""
    import altair as alt

    assert found.vectors is not None  # noqa: S101  (only then there is a map)
    places = neighbour_layout(found.vectors)
    names = told_apart(found.names)
    rows = _map_rows(found, places, names)
    base = alt.Chart(inline(rows), width=WIDTH, height=MAP_HEIGHT).encode(
        x=alt.X("x:Q", axis=None, scale=alt.Scale(zero=False)),
        y=alt.Y("y:Q", axis=None, scale=alt.Scale(zero=False)),
        color=colour_scale(names),
        tooltip=[
            alt.Tooltip("id:N", title="record"),
            alt.Tooltip("colour:N", title="cluster"),
            alt.Tooltip("sure:Q", title="how surely", format=".2f"),
            alt.Tooltip("role:N", title="it is"),
        ],
    )
    plain = base.transform_filter("datum.role == 'a member'").mark_circle(size=22, opacity=0.45)
    central = base.transform_filter("datum.role == 'central'").mark_point(
        shape="diamond", filled=True, size=150, opacity=1, stroke="black", strokeWidth=1.4
    )
    edge = base.transform_filter("datum.role == 'borderline'").mark_point(
        shape="cross", filled=True, size=110, opacity=1, stroke="black", strokeWidth=0.9
    )
    of = f"{len(rows):,} of {len(found.ids):,} records" if len(rows) < len(found.ids) else "The records"
    caption = (
        f"{of} placed so that those with like embeddings are near each other (t-SNE: distances between "
        "far groups mean nothing). Where colours mix, the embedding as a whole follows something else. "
        "Diamonds are central records, crosses borderline ones."
    )
    return Chart(f"Map by {found.axis.name}", caption, alt.layer(plain, edge, central))


def _map_rows(found: Clustering, places: NDArray[np.float64], names: list[str]) -> list[dict[str, Any]]:
    central = {record for cluster in found.clusters for record in cluster.central}
    edge = {record for cluster in found.clusters for record in cluster.borderline}
    return [
        {
            "id": record,
            "x": x,
            "y": y,
            "colour": names[code],
            "sure": sure,
            "role": "central" if record in central else "borderline" if record in edge else "a member",
        }
        for record, (x, y), code, sure in zip(
            found.ids[: len(places)],
            places.tolist(),
            found.codes.tolist()[: len(places)],
            found.confidence.tolist()[: len(places)],
            strict=True,
        )
    ]


def sizes(found: Clustering) -> Chart:
    """Return how large clusters are, and how far apart."""
    import altair as alt

    names = told_apart(found.names)
    what = ("share of records", "conductance (0 is apart)")
    rows = [
        {"label": name, "what": part, "value": value, "size": cluster.size}
        for name, cluster in zip(names, found.clusters, strict=True)
        for part, value in zip(what, (cluster.share, cluster.conductance), strict=True)
    ]
    bars = (
        alt.Chart(inline(rows), width=WIDTH - 230, height=alt.Step(11))
        .mark_bar()
        .encode(
            y=alt.Y("label:N", sort=names, axis=name_axis()),
            yOffset=alt.YOffset("what:N", sort=list(what)),
            x=alt.X("value:Q", title=None, scale=alt.Scale(domain=[0, 1])),
            color=alt.Color(
                "what:N",
                scale=alt.Scale(domain=list(what), range=[BLUE, GREY]),
                legend=alt.Legend(title=None, orient="top"),
            ),
            tooltip=[
                alt.Tooltip("label:N", title="cluster"),
                alt.Tooltip("what:N", title="what"),
                alt.Tooltip("value:Q", format=".2f"),
                alt.Tooltip("size:Q", title="records", format=","),
            ],
        )
    )
    caption = "Conductance is the share of a cluster's nearest neighbours that are in other clusters."
    return Chart("Sizes, and how far clusters are apart", caption, bars)
