"""The report of a clustering: the verdict, the clusters, where they are, and fields that they follow."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from saeindex.analysis.cluster.results import Cluster, Clustering, KeyConcept
from saeindex.report import charts, model
from saeindex.report.charts import WIDTH, Chart, alt, inline
from saeindex.report.model import Block, Description, Figure, Section, Table, describe, table
from saeindex.report.numbers import counted, number, percent
from saeindex.types import shown_label

if TYPE_CHECKING:
    from saeindex.types import Doubles, FloatArray

# Concepts of a cluster that the table of clusters names.
KEY_CONCEPTS = 4
# The estimated risk of failure above which an axis is only said to be possible.
DOUBTFUL = 0.25
METHODS = {
    "anchored": "Records began where the values' texts and examples put them, and settled among similar "
    "records (anchored expectation-maximisation).",
    "interpembed": "Spectral clustering of concepts whose labels are like the axis (the baseline of "
    "InterpEmbed).",
}
LIMITS = (
    "The verdict is about whether records divide along the axis, not about the meaning of its words: "
    "an axis that is confused with another one, such as topic, passes. Read central and borderline records.",
    "Key concepts are features with short labels that a cluster has more often; they were not tested.",
)


@describe.register(Clustering)
def _(found: Clustering) -> Description:
    shares = ", ".join(f"{one.name} {percent(one.share)}" for one in found.clusters)
    records, clusters = counted(len(found.ids), "record"), counted(len(found.clusters), "cluster")
    inferred = " (values inferred)" if found.axis.is_inferred else ""
    asked = " Its values were inferred from the records; nobody named them." if inferred else ""
    return Description(
        question=f"How do the records divide by {found.axis.name}?",
        summary=[
            f"{records} by {found.axis.name}, {found.method}{inferred}, in {clusters}: {shares}.",
            _verdict(found),
            *([f"{counted(found.left_out, 'record')} without content left out."] if found.left_out else []),
        ],
        method=[METHODS.get(found.method, found.method)],
        details=[f"Axis: {found.axis.name}, with the values {', '.join(found.names)}.{asked}"],
        sections=list(_sections(found)),
        limits=LIMITS,
    )


def _verdict(found: Clustering) -> str:
    verdict = found.verdict
    score = verdict.failure_score
    can = "NOT EXPRESSIBLE by this space"
    if verdict.expressible:
        can = f"The space {'may' if score and score > DOUBTFUL else 'can'} express this axis"
    risk = "" if score is None else f" (estimated risk of failure {percent(score, 0)})"
    return f"{can}{risk}: {verdict.reason}."


def _sections(found: Clustering) -> Iterator[Section]:
    if not found.verdict.expressible:
        yield Section("Do not use these clusters as they are", [_verdict(found)], "warning")
    has_map = found.vectors is not None and len(found.vectors) >= 3
    figures = [Figure(map_of_records, found)] if has_map else []
    yield Section("Clusters", [*figures, _table(found)])
    yield Section("Each cluster", [block for one in found.clusters for block in _cluster(one)])
    if found.leakage:
        yield Section("What else they agree with", _leakage(found))


def _table(found: Clustering) -> Table:
    columns = {
        "cluster": "name", "records": "size", "share": (percent, "share"), "conductance": "conductance",
        "silhouette": "silhouette", "key concepts": (_first, "concepts"),
    }  # fmt: skip
    caption = "Clusters: of one that is well separated, conductance is near 0 and silhouette near 1"
    return table(caption, found.clusters, columns, in_notebook=model.NOTEBOOK_ROWS)


def _first(concepts: Sequence[KeyConcept]) -> str:
    return "; ".join(f"{_name(one)} (×{one.lift:.1f})" for one in concepts[:KEY_CONCEPTS]) or "–"


def _name(one: KeyConcept) -> str:
    return f"#{one.feature} {shown_label(one.label, one.is_weak)}"


def _cluster(one: Cluster) -> list[Block]:
    times = {"times as often": lambda each: number(each.lift, 1)}
    columns = {"key concept": _name, **times, "share of the cluster": (percent, "share")}
    return [
        model.Heading(one.name, f"{counted(one.size, 'record')}, {percent(one.share)} of all."),
        table(f"Key concepts of {one.name}", one.concepts, columns, page_only=True),
        model.Quotes([("Central", one.central), ("Borderline", one.borderline)]),
    ]


def _leakage(found: Clustering) -> list[Block]:
    columns = {
        "field": lambda one: "k-means without an axis" if one[0] == "(free)" else one[0],
        "NMI": lambda one: one[1]["nmi"],
        "ARI": lambda one: one[1]["ari"],
    }
    return [
        "Agreement of the clusters with other fields of the records: 0 is none, 1 is the same. Other "
        "fields should be near 0.",
        table("Agreement with other fields", found.leakage.items(), columns),
    ]


# Settings of t-SNE (van der Maaten and Hinton 2008).
PERPLEXITY, STEPS = 30, 500
# Pixels of the map.
MAP_HEIGHT = 520
# How the records of a cluster are drawn.
MARKS: dict[str, dict[str, Any]] = {
    "a member": {"shape": "circle", "size": 22, "opacity": 0.45},
    "central": {"shape": "diamond", "size": 150, "opacity": 1, "stroke": "black", "strokeWidth": 1.4},
    "borderline": {"shape": "cross", "size": 110, "opacity": 1, "stroke": "black", "strokeWidth": 0.9},
}


def neighbour_layout(vectors: FloatArray) -> Doubles:
    """Return positions (m, 2) of embeddings (m, d) that preserve neighbourhoods (t-SNE)."""
    from sklearn.manifold import TSNE

    perplexity = min(PERPLEXITY, (len(vectors) - 1) / 3)
    layout = TSNE(2, init="pca", perplexity=perplexity, max_iter=STEPS, random_state=0, n_jobs=1)
    return np.asarray(layout.fit_transform(np.asarray(vectors, np.float32)), np.float64)


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


def _map_rows(found: Clustering, positions: Doubles, names: list[str]) -> list[dict[str, Any]]:
    roles = {one.id: "borderline" for cluster in found.clusters for one in cluster.borderline}
    roles |= {one.id: "central" for cluster in found.clusters for one in cluster.central}
    columns = positions.tolist(), found.ids, found.codes.tolist(), found.confidence.tolist()
    return [
        {"id": one, "x": x, "y": y, "colour": names[code], "sure": sure, "role": roles.get(one, "a member")}
        for (x, y), one, code, sure in zip(*columns, strict=False)
    ]
