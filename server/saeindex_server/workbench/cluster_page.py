"""The page of clusters: records along an axis of a person, such as tone: angry, calm, joking."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from saeindex.analysis.cluster.results import Clustering
from saeindex.operations.associations import ClusterAlong
from saeindex.report.model import describe
from saeindex.types import shortened
from saeindex_server.workbench.analysis_page import AXIS, BLUE, AnalysisPage, Blank, Seen

if TYPE_CHECKING:
    from saeindex.analysis.cluster.results import Cluster

CONCEPTS = 4


class ClusterPage(AnalysisPage[Clustering]):
    """One open page of clusters."""

    path, verb = "clusters", "Cluster"
    purpose = "Name an axis, and two or more ends of it: each record goes to the one that it is nearest to."
    waiting = "Clustering: this reads all records."
    blanks = (
        Blank("axis", "Along an axis", "tone: angry, calm, joking", is_condition=False, is_needed=True),
        Blank("where", "Of records where (all)", "metadata.year > 1990"),
    )

    def asked(self) -> ClusterAlong:
        """Return the analysis."""
        return ClusterAlong(self.given["axis"], where=self.given["where"] or None)

    def said(self, found: Clustering) -> str:
        """Say how many clusters there are, and whether the texts can be told apart this way."""
        return " ".join(describe(found).summary)

    def lists(self, found: Clustering) -> list[tuple[str, list[Seen]]]:
        """Return the clusters."""
        return [("Clusters", [_seen_of(one) for one in found.clusters])]

    def chart(self, found: Clustering, seen: list[Seen]) -> dict[str, Any]:
        """Return the sizes of the clusters."""
        names = [shortened(one.name, 24) for one in found.clusters]
        sizes = [{"value": one.size, "finding": number} for number, one in enumerate(found.clusters)]
        return {
            "grid": {"left": 110, "right": 30, "top": 10, "bottom": 30},
            "tooltip": {"renderMode": "richText", "formatter": "{b}: {c} records"},
            "xAxis": {**AXIS, "type": "value"},
            "yAxis": {**AXIS, "type": "category", "inverse": True, "data": names},
            "series": [{"type": "bar", "data": sizes, "itemStyle": {"color": BLUE}, "barMaxWidth": 26}],
        }


def _seen_of(one: Cluster) -> Seen:
    spoken = ", ".join(f"{each.label} ×{each.lift:.1f}" for each in one.concepts[:CONCEPTS])
    return Seen(
        one.name,
        f"{one.size:,} records, {one.share:.0%}",
        f"speaks more of {spoken}" if spoken else "",
        examples=(*one.central, *one.borderline),
    )
