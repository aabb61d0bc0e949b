"""The report of a clustering: the verdict, the clusters, and other fields that they follow."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from saeindex.analysis.cluster.charts import map_of_records
from saeindex.analysis.cluster.results import Cluster, Clustering, KeyConcept
from saeindex.report import model
from saeindex.report.model import Block, Description, Figure, Section, Table, describe, table
from saeindex.report.numbers import counted, number, percent
from saeindex.types import shown_label

# Concepts of a cluster that the table of clusters names.
KEY_CONCEPTS = 4
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
        ],
        method=[METHODS.get(found.method, found.method)],
        details=[f"Axis: {found.axis.name}, with the values {', '.join(found.names)}.{asked}"],
        sections=list(_sections(found)),
        limits=LIMITS,
    )


def _verdict(found: Clustering) -> str:
    verdict = found.verdict
    can = "The space can express this axis" if verdict.expressible else "NOT EXPRESSIBLE by this space"
    score = verdict.failure_score
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
