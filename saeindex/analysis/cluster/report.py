"""A clustering in words: whether to trust it, the clusters, and what else they follow."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

from saeindex.analysis.cluster.charts import map_of_records, sizes
from saeindex.analysis.cluster.results import Cluster, Clustering, KeyConcept
from saeindex.report.model import (
    Block,
    Box,
    Bullets,
    Description,
    Figure,
    Head,
    Heading,
    Ids,
    Paragraph,
    Section,
    Table,
    counted,
    describe,
    number,
    percent,
)
from saeindex.types import shown_label

KEY_CONCEPTS = 4
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


@describe.register(Clustering)
def _(found: Clustering) -> Description:
    shares = ", ".join(f"{one.name} {percent(one.share)}" for one in found.clusters)
    inferred = " (values inferred)" if found.axis.is_inferred else ""
    records, clusters = counted(len(found.ids), "record"), counted(len(found.clusters), "cluster")
    asked = " Its values were inferred from the records; nobody named them." if found.axis.is_inferred else ""
    return Description(
        question=f"How do the records part by {found.axis.name}?",
        summary=[
            f"{records} by {found.axis.name}, {found.method}{inferred}, in {clusters}: {shares}.",
            _verdict(found),
        ],
        method=[METHODS.get(found.method, found.method)],
        details=[
            Paragraph(f"Axis: {found.axis.name}, with the values {', '.join(found.names)}.{asked}"),
            *_warning(found),
        ],
        sections=list(_sections(found)),
        limits=LIMITS,
    )


def _verdict(found: Clustering) -> str:
    verdict = found.verdict
    can = "The space can express this axis" if verdict.expressible else "NOT EXPRESSIBLE by this space"
    score = verdict.failure_score
    risk = "" if score is None else f" (estimated risk of failure {percent(score, 0)})"
    return f"{can}{risk}: {verdict.reason}."


def _warning(found: Clustering) -> list[Block]:
    if found.verdict.expressible:
        return []
    told = [Paragraph(_verdict(found)), Paragraph("Do not use these clusters as they are.")]
    return [Box("warning", told)]


def _sections(found: Clustering) -> Iterator[Section]:
    drawn: list[Block] = []
    if found.clusters:
        vectors = found.vectors
        has_map = vectors is not None and len(vectors) >= 3
        drawn = [Figure(partial(map_of_records, found))] if has_map else []
        drawn.append(Figure(partial(sizes, found)))
    yield Section("Clusters", [*drawn, _table(found)])
    yield Section("Each cluster", [block for one in found.clusters for block in _cluster(one)])
    if found.leakage:
        yield Section("What else they follow", _leakage(found))


def _table(found: Clustering) -> Table:
    heads = [
        Head("cluster", False), Head("records"), Head("share"), Head("conductance"), Head("silhouette"),
        Head("key concepts", False),
    ]  # fmt: skip
    rows = [
        [
            one.name, f"{one.size:,}", percent(one.share), number(one.conductance), number(one.silhouette),
            "; ".join(f"{_name(each)} (×{each.lift:.1f})" for each in one.concepts[:KEY_CONCEPTS]) or "–",
        ]
        for one in found.clusters
    ]  # fmt: skip
    caption = "Clusters: conductance is 0 where one is apart, silhouette is 1 where it is"
    return Table(caption, heads, rows, caption, is_main=True)


def _name(one: KeyConcept) -> str:
    return f"#{one.feature} {shown_label(one.label, one.is_weak)}"


def _cluster(one: Cluster) -> list[Block]:
    heads = [Head("key concept", False), Head("times as often"), Head("share of the cluster")]
    rows = [[_name(each), number(each.lift, 1), percent(each.share)] for each in one.concepts]
    return [
        Heading(one.name, f"{counted(one.size, 'record')}, {percent(one.share)} of all."),
        Table(f"Key concepts of {one.name}", heads, rows, page_only=True),
        Bullets([Ids("Central", one.central), Ids("Borderline", one.borderline)]),
    ]


def _leakage(found: Clustering) -> list[Block]:
    heads = [Head("field", False), Head("NMI"), Head("ARI")]
    rows = [
        ["k-means that asks nothing" if name == "(free)" else name, number(each["nmi"]), number(each["ari"])]
        for name, each in found.leakage.items()
    ]
    told = (
        "Agreement of the clusters with other fields of the records: 0 is none, 1 is the same. What was "
        "not asked for should be near 0."
    )
    return [Paragraph(told), Table("Agreement with other fields", heads, rows)]
