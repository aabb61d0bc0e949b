"""Fused search: the dense and the sparse ranking of a query are combined into one.

With r_v(x) the rank from 0 of record x in source v's list, and s_v(x) its score there:

    rrf       sum_v 1 / (2 + r_v(x))                              reciprocal ranks, as in Qdrant
    dbsf      sum_v (s_v(x) - (m_v - 3 o_v)) / (6 o_v)            m, o: mean and deviation of v's list
    weighted  sum_v w_v (s_v(x) - min_v) / (max_v - min_v)        w = 0.6 dense, 0.4 sae

A source that does not have x among its best 1,000 adds 0. The convex sum of min-max scores follows Bruch et
al. 2023 (arXiv 2210.11934, eq. 2 and 3), who find it better than reciprocal ranks in and out of domain.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING

from saeindex.config import DENSE, SAE
from saeindex.protocols import Fusion, Point, SearchRequest
from saeindex.search.explain import Explanation, SourceExplanation
from saeindex.search.retrieval import POOL, fetched
from saeindex.stores.point_checks import id_order
from saeindex.stores.ranking import RRF_K, distribution_scaled
from saeindex.types import Part

if TYPE_CHECKING:
    from saeindex.protocols import PointId, VectorStore
    from saeindex.search.retrieval import Nearest
    from saeindex.types import FusionMethod

# Weights of the sources, chosen by nDCG@10 of the fixed property queries on `choose` parts: dense weights
# from 0.5 to 0.7 differ by less than .01.
WEIGHTS: Mapping[str, float] = {DENSE: 0.6, SAE: 0.4}


@dataclass(frozen=True, slots=True)
class Share:
    """The contribution of a source to a point: rank (from 1) and score in the source, and the summand."""

    rank: int
    score: float
    value: float


class Fused:
    """The fusion of the best 1,000 points of each source; other points are not ranked.

    A page by reciprocal ranks or DBSF is one request to the store. If the lists themselves are needed, and
    for weighted scores, each source is searched separately and the lists are fused here, to equal scores.
    """

    def __init__(
        self,
        store: VectorStore,
        sources: Mapping[str, Nearest],
        method: FusionMethod,
        request: SearchRequest,
        keeps_lists: bool,
    ) -> None:
        """Bind the sources by name, and the threshold and timeout of ``request``.

        ``keeps_lists`` is needed if ranks are explained or more than one page is read.
        """
        self._store, self._sources, self._method = store, sources, method
        self._request = replace(request, query_filter=None)  # each source has the filter
        self._keeps_lists = keeps_lists

    def best(
        self,
        count: int,
        offset: int = 0,
        payload: bool | Sequence[str] = True,
        vectors: Sequence[str] = (),
    ) -> list[Point]:
        """See :class:`saeindex.search.retrieval.Scoring`."""
        if self._method == "weighted" or self._keeps_lists:
            return fetched(self._store, self._ranked[offset : offset + count], payload, vectors)
        prefetch = tuple(self._prefetch(source) for source in self._sources.values())
        fused = replace(self._request, query=Fusion(self._method), prefetch=prefetch)
        page = replace(fused, limit=count, offset=offset)
        return self._store.search(replace(page, with_payload=payload, with_vectors=list(vectors)))

    def explain(self, point: Point) -> Explanation:
        """Return one part per source, and each source's explanation of its score."""
        parts, sources = [], []
        for name, source in self._sources.items():
            share = self._shares[name].get(point.id)
            weight = WEIGHTS[name] if self._method == "weighted" else 1.0
            if share is None:
                parts.append(Part("source", None, f"{name} not in the first {POOL:,}", 0.0))
                sources.append(SourceExplanation(name, None, None, weight, None))
                continue
            label = f"{name} rank {share.rank}"
            if self._method != "rrf":
                label += f", score {share.score:.3f}"
            parts.append(Part("source", None, label, share.value))
            own = source.explain(point)
            sources.append(SourceExplanation(name, share.rank, share.score, weight, own))
        return Explanation(tuple(parts), float(sum(part.value for part in parts)), tuple(sources))

    @cached_property
    def _shares(self) -> dict[str, dict[PointId, Share]]:
        """Return the contributions of each source to the points of its list."""
        shares = {}
        for name, source in self._sources.items():
            points = source.best(POOL, payload=False)
            scores = [float(point.score or 0.0) for point in points]
            values = summands(scores, self._method, WEIGHTS[name])
            rows = enumerate(zip(points, scores, values, strict=True), 1)
            shares[name] = {point.id: Share(rank, score, value) for rank, (point, score, value) in rows}
        return shares

    @cached_property
    def _ranked(self) -> list[tuple[PointId, float]]:
        totals: dict[PointId, float] = {}
        for shares in self._shares.values():
            for point_id, share in shares.items():
                totals[point_id] = totals.get(point_id, 0.0) + share.value
        minimum = self._request.score_threshold
        kept = [item for item in totals.items() if minimum is None or item[1] >= minimum]
        return sorted(kept, key=lambda item: (-item[1], id_order(item[0])))

    @staticmethod
    def _prefetch(source: Nearest) -> SearchRequest:
        return replace(source.request, limit=POOL, with_payload=False, with_vectors=False)


def summands(scores: Sequence[float], method: FusionMethod, weight: float) -> list[float]:
    """Return the summand of the fused score for each rank of a source with these scores, best first."""
    if method == "rrf":
        return [1.0 / (RRF_K + rank) for rank in range(len(scores))]
    if method == "dbsf":
        return distribution_scaled(scores)
    if not scores:
        return []
    low, high = min(scores), max(scores)
    return [weight * ((score - low) / (high - low) if high > low else 1.0) for score in scores]
