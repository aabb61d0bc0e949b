"""The concepts that a result set has more often than the index: what the results split into.

For a feature in c of n results and in a share df of the index,

    z = (c - n df) / sqrt(n df (1 - df) + 1)

the excess over chance in standard deviations; the 1 keeps rare features from winning on a single record.
Features whose sets of records in the results overlap (Jaccard above .8) are one facet.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from saeindex.config import CONCEPTS, LEVEL_STRIDE, LEVELS, SAE
from saeindex.search.explain import sparse_code_of
from saeindex.types import shown_label

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from numpy.typing import NDArray
    from qdrant_client.models import Filter
    from scipy.sparse import csr_matrix

    from saeindex.features import FeatureSpace
    from saeindex.protocols import Point, VectorStore

# Results that are counted where a query ranks; where it only selects, all that match are counted, and the
# overlap of features is measured on the first thousand.
FACET_RESULTS, SAMPLE = 50, 1_000
SAME, LEAST_Z, LEAST_COUNT = 0.8, 2.0, 2
SPLIT = (0.15, 0.6)


@dataclass(frozen=True, slots=True)
class ConceptFacet:
    """A concept of the results: in ``count`` of them (``share``), and in ``index_share`` of the index.

    ``features`` are those that occur in the same results, the most over-represented first; the other
    fields are of that one. ``z`` is the excess over chance in standard deviations.
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
        """The feature as people are shown it."""
        return f"#{self.features[0]} {shown_label(self.label, self.is_weak)}"


@dataclass(frozen=True, slots=True)
class Exclusion:
    """A concept that some results have and the query does not ask for: ``clause`` removes ``removes``."""

    clause: str
    removes: int
    facet: ConceptFacet


@dataclass(frozen=True, slots=True, eq=False)
class ResultSet:
    """``counts`` (n_features,) over ``n`` results; ``present`` (m, n_features) for all or some of them."""

    n: int
    counts: NDArray[np.int64]
    present: csr_matrix


def result_set(points: Sequence[Point], n_features: int) -> ResultSet:
    """Return the result set of points that come with their codes."""
    present = presence(points, n_features)
    return ResultSet(len(points), np.asarray(present.sum(0)).ravel().astype(np.int64), present)


def matching_set(store: VectorStore, condition: Filter | None, n_features: int) -> ResultSet:
    """Return the result set of all that match, counted inside the engine."""
    sample = store.scroll(condition, SAMPLE, with_payload=False, with_vectors=[SAE]).points
    counts = feature_counts(store, condition, n_features)
    return ResultSet(store.count(condition), counts, presence(sample, n_features))


def feature_counts(store: VectorStore, condition: Filter | None, n_features: int) -> NDArray[np.int64]:
    """Return in how many matching points each feature is active (n_features,): one facet request."""
    counts = np.zeros(n_features, np.int64)
    for code, count in store.facet(CONCEPTS, condition, n_features * LEVELS):
        feature, level = divmod(int(code), LEVEL_STRIDE)
        if level == 0:
            counts[feature] = count
    return counts


def presence(points: Sequence[Point], n_features: int) -> csr_matrix:
    """Return a matrix (m, n_features) with a 1 where a point has a feature."""
    from scipy.sparse import csr_matrix

    codes = [sparse_code_of(point) for point in points]
    indptr = np.cumsum([0, *(len(code.indices) for code in codes)])
    indices = np.concatenate([np.zeros(0, np.int32), *(code.indices for code in codes)])
    return csr_matrix((np.ones(len(indices), np.float32), indices, indptr), shape=(len(codes), n_features))


def concept_facets(
    results: ResultSet, counts: NDArray[np.int64], total: int, space: FeatureSpace, limit: int
) -> list[ConceptFacet]:
    """Return the most over-represented concepts, against ``counts`` (n_features,) in ``total`` points."""
    share = counts / max(1, total)
    z = (results.counts - results.n * share) / np.sqrt(results.n * share * (1 - share) + 1)
    is_over = (z >= LEAST_Z) & (results.counts >= LEAST_COUNT)
    order = [int(feature) for feature in np.argsort(-z, kind="stable") if is_over[feature]]
    facets = []
    for features in merged(order, results.present)[:limit]:
        first = features[0]
        label, count = space.labels[first], int(results.counts[first])
        shares = count / results.n, float(share[first])
        facets.append(ConceptFacet(features, label.text, label.is_weak, count, *shares, float(z[first])))
    return facets


def merged(features: Sequence[int], present: csr_matrix) -> list[tuple[int, ...]]:
    """Return features (best first) in sets: each joins the best one that it overlaps with by more than .8."""
    columns = present[:, list(features)]
    together = (columns.T @ columns).toarray()
    sizes = together.diagonal()
    jaccard = together / np.maximum(sizes[:, None] + sizes[None] - together, 1)
    groups: dict[int, list[int]] = {}
    for place in range(len(features)):
        near = next((first for first in groups if jaccard[first, place] > SAME), place)
        groups.setdefault(near, []).append(place)
    return [tuple(features[place] for place in group) for group in groups.values()]


def exclusions(facets: Sequence[ConceptFacet], asked_for: Collection[int]) -> list[Exclusion]:
    """Return the facets that split the results and have no feature that the query asks for."""
    least, most = SPLIT
    return [
        Exclusion(f"NOT #{facet.features[0]}", facet.count, facet)
        for facet in facets
        if least <= facet.share <= most and not facet.is_weak and not set(facet.features) & set(asked_for)
    ]
