"""Concept facets: the concepts that are more frequent in a result set than in the index.

For a feature in c of n results and in a share df of the index,

    z = (c - n df) / sqrt(n df (1 - df) + 1)

is the excess over chance in standard deviations; the 1 prevents that a rare feature ranks first because of a
single record. Features whose sets of records in the results overlap (Jaccard above .8) form one facet.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from saeindex.collection.sample import presence
from saeindex.config import CONCEPTS, LEVEL_STRIDE, LEVELS
from saeindex.schema import Result
from saeindex.types import shown_label

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    from numpy.typing import NDArray
    from qdrant_client.models import Filter
    from scipy.sparse import csr_matrix

    from saeindex.features import FeatureSpace
    from saeindex.protocols import Point, VectorStore

# The number of counted results of a query that ranks. For a query that only filters, all matches are counted,
# and the overlap of features is measured on this sample of them.
FACET_RESULTS, SAMPLE = 50, 1_000
# The Jaccard overlap of features of one facet; the minimum z and number of results of a facet.
SAME, MIN_Z, MIN_COUNT = 0.8, 2.0, 2
# The minimum and maximum share of the results for a suggested exclusion.
SPLIT = (0.15, 0.6)


@dataclass(frozen=True, slots=True)
class ConceptFacet(Result):
    """A concept in ``count`` of the results (``share``) and in a share ``index_share`` of the index.

    ``features`` occur in the same results, the most over-represented first; the other fields describe this
    first feature. ``z`` is the excess over chance in standard deviations.
    """

    features: tuple[int, ...]
    label: str
    is_weak: bool
    count: int
    share: float
    index_share: float
    z: float

    @property
    def shown(self) -> str:
        """The first feature's id and label for people to read."""
        return f"#{self.features[0]} {shown_label(self.label, self.is_weak)}"


@dataclass(frozen=True, slots=True)
class Exclusion(Result):
    """A concept of some results that the query does not mention; ``clause`` removes ``removes`` results."""

    clause: str
    removes: int
    facet: ConceptFacet


@dataclass(frozen=True, slots=True, eq=False)
class ResultSet:
    """The ``counts`` (n_features,) of ``n`` results, and ``present`` (m, n_features) of all or some."""

    n: int
    counts: NDArray[np.int64]
    present: csr_matrix


def result_set(points: Sequence[Point], n_features: int) -> ResultSet:
    """Return the result set of points that were fetched with their level codes."""
    present = presence(points, n_features)
    return ResultSet(len(points), np.asarray(present.sum(0)).ravel().astype(np.int64), present)


def matching_set(store: VectorStore, condition: Filter | None, n_features: int) -> ResultSet:
    """Return the result set of all points that match, counted by the engine."""
    sample = store.scroll(condition, SAMPLE, with_payload=[CONCEPTS]).points
    counts = feature_counts(dict(store.facet(CONCEPTS, condition, n_features * LEVELS)), n_features)
    return ResultSet(store.count(condition), counts, presence(sample, n_features))


def feature_counts(counts: Mapping[Any, int], n_features: int) -> NDArray[np.int64]:
    """Return the number of points in which each feature is active (n_features,), of those with each code."""
    return np.array([counts.get(feature * LEVEL_STRIDE, 0) for feature in range(n_features)], np.int64)


def concept_facets(
    results: ResultSet, counts: NDArray[np.int64], total: int, space: FeatureSpace, limit: int
) -> list[ConceptFacet]:
    """Return the most over-represented concepts, against ``counts`` (n_features,) in ``total`` points."""
    share = counts / max(1, total)
    z = (results.counts - results.n * share) / np.sqrt(results.n * share * (1 - share) + 1)
    is_over = (z >= MIN_Z) & (results.counts >= MIN_COUNT) & space.is_named
    order = [int(feature) for feature in np.argsort(-z, kind="stable") if is_over[feature]]
    facets = []
    for features in merged(order, results.present)[:limit]:
        first = features[0]
        label, count = space.labels[first], int(results.counts[first])
        shares = count / results.n, float(share[first])
        facets.append(ConceptFacet(features, label.text, label.is_weak, count, *shares, float(z[first])))
    return facets


def merged(features: Sequence[int], present: csr_matrix) -> list[tuple[int, ...]]:
    """Return features (best first) in sets: each joins the best feature with an overlap above .8."""
    columns = present[:, list(features)]
    together = (columns.T @ columns).toarray()
    sizes = together.diagonal()
    jaccard = together / np.maximum(sizes[:, None] + sizes[None] - together, 1)
    groups: dict[int, list[int]] = {}
    for place in range(len(features)):
        near = next((first for first in groups if jaccard[first, place] > SAME), place)
        groups.setdefault(near, []).append(place)
    return [tuple(features[place] for place in group) for group in groups.values()]


def exclusions(facets: Sequence[ConceptFacet], mentioned: Collection[int]) -> list[Exclusion]:
    """Return the facets that split the results and have no feature ``mentioned`` by the query."""
    low, high = SPLIT
    return [
        Exclusion(f"NOT #{facet.features[0]}", facet.count, facet)
        for facet in facets
        if low <= facet.share <= high and not facet.is_weak and not set(facet.features) & set(mentioned)
    ]
