"""The result of clustering: clusters with their concepts, the verdict, and the cluster of new records."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Annotated, Any

from pydantic import Field

from saeindex.analysis.cluster.axis import Axis
from saeindex.report.model import Example
from saeindex.report.result import AnalysisResult
from saeindex.schema import Doubles, Integers

# Logistic regression of "the ARI with the truth is below .1" on the signs of clusterings of the ``choose``
# parts of 13 corpora, whose truth is known (the benchmark ``cluster`` measures it on other parts).
BIAS, KEPT, LITERAL = 1.91, -2.26, -3.37


@dataclass(frozen=True, slots=True)
class Signs:
    """Signs of the quality of a clustering.

    ``kept`` is the agreement (ARI) of the final clusters with the starting clusters, ``literal`` that with
    the nearest text by embedding only. ``told`` is the correlation of each record's starting scores with its
    prediction from all other records. ``smallest`` is the share of the smallest cluster, times their number;
    ``is_one`` is whether all records are in one.
    """

    kept: float
    literal: float
    told: float
    smallest: float
    is_one: bool = False

    @property
    def failure_score(self) -> float:
        """The estimated probability that the clusters have little to do with the axis."""
        logit = BIAS + KEPT * self.kept + LITERAL * self.literal
        return 1 / (1 + math.exp(-logit))


@dataclass(frozen=True, slots=True)
class Verdict:
    """Whether the space expresses the axis on these records, why not, and by which signs."""

    expressible: bool
    reason: str
    failure_score: float | None
    signs: Signs | None = None

    def __str__(self) -> str:
        score = "" if self.failure_score is None else f" (failure score {self.failure_score:.2f})"
        return f"{'expressible' if self.expressible else 'NOT EXPRESSIBLE'}{score}: {self.reason}"


@dataclass(frozen=True, slots=True)
class KeyConcept:
    """A feature of a ``share`` of a cluster's records; this is ``lift`` times its share of all records."""

    feature: int
    label: str
    lift: float
    share: float
    is_weak: bool = False


@dataclass(frozen=True, slots=True)
class Cluster:
    """One value of the axis and its records.

    ``central`` are the records that fit the cluster best; ``borderline`` records fit another cluster nearly
    as well. ``conductance`` is the share of the records' neighbours that are outside the cluster, 0 to 1;
    ``silhouette`` is from -1 to 1.
    """

    name: str
    size: int
    share: float
    concepts: tuple[KeyConcept, ...]
    central: tuple[Example, ...]
    borderline: tuple[Example, ...]
    conductance: float
    silhouette: float

    def row(self) -> dict[str, Any]:
        """Return the scalar cells."""
        names = ("name", "size", "share", "conductance", "silhouette")
        return {name: getattr(self, name) for name in names}


@dataclass(frozen=True, eq=False, repr=False)
class Clustering(AnalysisResult):
    """Records clustered along an axis.

    ``codes`` (m,) is the number of the cluster of each record in ``ids`` (m,), and ``confidence`` (m,) its
    probability. ``assigned`` are the clusters of the further texts; ``left_out`` records say nothing ("n/a"),
    and are in none. ``leakage`` is the agreement (NMI, ARI)
    with other fields of the records and with ``"(free)"``, the clusters of k-means without an axis.
    ``vectors`` (at most m, d) are the embeddings of the first records, for a map; they do not travel.
    """

    axis: Axis
    method: str
    verdict: Verdict
    clusters: tuple[Cluster, ...]
    leakage: Mapping[str, Mapping[str, float]]
    ids: Sequence[str]
    codes: Integers
    confidence: Doubles
    assigned: tuple[str, ...] = ()
    left_out: int = 0
    vectors: Annotated[Any, Field(exclude=True)] = field(default=None, repr=False)

    def __len__(self) -> int:
        return len(self.clusters)

    @property
    def names(self) -> tuple[str, ...]:
        """The names of the clusters, in the order of ``codes``."""
        return tuple(cluster.name for cluster in self.clusters)

    def assignments(self) -> dict[str, str]:
        """Return the cluster of each record."""
        names = self.names
        return {record: names[code] for record, code in zip(self.ids, self.codes.tolist(), strict=True)}

    def tables(self) -> dict[str, list[dict[str, Any]]]:
        """Return tables of scalar cells."""
        shown = self.assignments().items()
        return {
            "clusters": [cluster.row() for cluster in self.clusters],
            "concepts": [{"cluster": c.name, **asdict(k)} for c in self.clusters for k in c.concepts],
            "leakage": [{"field": name, **values} for name, values in self.leakage.items()],
            "assignments": [
                {"id": record, "cluster": name, "confidence": sure}
                for (record, name), sure in zip(shown, self.confidence.tolist(), strict=True)
            ],
        }
