"""A clustering told on a page: whether to trust it, the clusters, and what else they follow."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from markupsafe import Markup

from saeindex.analysis.cluster.charts import pictures_of_clustering
from saeindex.analysis.report.numbers import counted, number, percent
from saeindex.report.html import (
    Head,
    Part,
    Section,
    Told,
    codes,
    element,
    figure,
    joined,
    listed,
    paragraphs,
    table,
)
from saeindex.types import shown_label

if TYPE_CHECKING:
    from saeindex.analysis.cluster.results import Cluster, Clustering, KeyConcept

METHODS = {
    "anchored": "Records began where the values' texts and examples put them, and settled among their likes "
    "(anchored expectation-maximisation).",
    "interpembed": "Spectral clustering of concepts whose labels are like the axis (the baseline of "
    "InterpEmbed).",
    "free": "k-means of the embeddings, which asks for no axis.",
}
LIMITS = (
    "The verdict sees whether records part where the axis was put, not whether the words mean what they say: "
    "an axis that stands for another one, such as topic, passes. Read central and borderline records.",
    "Key concepts are features with short labels that a cluster has more often; they were not tested.",
)


def told_of_clustering(found: Clustering) -> Told:
    """Return a clustering in words."""
    sizes = ", ".join(f"{one.name} {percent(one.share)}" for one in found.clusters)
    short = [
        f"{counted(len(found.ids), 'record')} in {counted(len(found.clusters), 'cluster')}: {sizes}.",
        _verdict(found),
    ]
    return Told(f"How do the records part by {found.axis.name}?", short, _sections(found))


def _verdict(found: Clustering) -> str:
    verdict = found.verdict
    can = "The space expresses this axis" if verdict.expressible else "The space does NOT express this axis"
    score = (
        ""
        if verdict.failure_score is None
        else f" (estimated risk of failure {percent(verdict.failure_score, 0)})"
    )
    return f"{can}{score}: {verdict.reason}."


def _sections(found: Clustering) -> Iterator[Section]:
    inferred = (
        "Its values were inferred from the records; nobody named them. " if found.axis.is_inferred else ""
    )
    asked = f"Axis: {found.axis.name}, with the values {', '.join(found.names)}. {inferred}"
    warning = (
        Markup("")
        if found.verdict.expressible
        else element(
            "div", paragraphs(_verdict(found), "Do not use these clusters as they are."), class_="warning"
        )
    )
    yield Section("Method", joined([warning, paragraphs(asked, METHODS.get(found.method, found.method))]))
    parts: list[Part] = [figure(picture) for picture in pictures_of_clustering(found)]
    parts.append(clusters_table(found.clusters))
    yield Section("Clusters", joined(parts))
    yield Section("Each cluster", joined(_cluster(one) for one in found.clusters))
    if found.leakage:
        yield Section("What else they follow", _leakage(found))
    yield Section("Limits", listed(LIMITS))


def clusters_table(clusters: Sequence[Cluster]) -> Markup:
    """Return the clusters with their measures."""
    heads = [
        Head("cluster", False), Head("records"), Head("share"), Head("conductance"), Head("silhouette"),
        Head("key concepts", False),
    ]  # fmt: skip
    rows = [
        [
            one.name, f"{one.size:,}", percent(one.share), number(one.conductance), number(one.silhouette),
            "; ".join(map(_concept, one.concepts[:4])) or "–",
        ]
        for one in clusters
    ]  # fmt: skip
    return table(heads, rows, "Clusters: conductance is 0 where one is apart, silhouette is 1 where it is")


def _concept(one: KeyConcept) -> str:
    return f"#{one.feature} {shown_label(one.label, one.is_weak)} (×{one.lift:.1f})"


def _cluster(one: Cluster) -> Markup:
    heads = [Head("key concept", False), Head("times as often"), Head("share of the cluster")]
    rows = [
        [f"#{c.feature} {shown_label(c.label, c.is_weak)}", number(c.lift, 1), percent(c.share)]
        for c in one.concepts
    ]
    kinds = (("Central", one.central), ("Borderline", one.borderline))
    records = listed([joined([f"{name}: ", codes(shown)]) for name, shown in kinds])
    concepts = table(heads, rows, f"Key concepts of {one.name}") if rows else Markup("")
    return joined([element("h3", one.name), concepts, records])


def _leakage(found: Clustering) -> Markup:
    heads = [Head("field", False), Head("NMI"), Head("ARI")]
    rows = [
        [
            "k-means that asks nothing" if name == "(free)" else name,
            number(values["nmi"]),
            number(values["ari"]),
        ]
        for name, values in found.leakage.items()
    ]
    told = paragraphs(
        "Agreement of the clusters with other fields of the records: 0 is none, 1 is the same. What was "
        "not asked for should be near 0."
    )
    return joined([told, table(heads, rows, "Agreement with other fields")])
