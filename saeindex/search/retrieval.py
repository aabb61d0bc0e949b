"""Scoring of points: by a vector, by text and sentence, by fused lists, by a second pass, or unranked.

A long text that answers in one of its sentences is nearer by that sentence than as a whole. The weights were
chosen on questions of MedQuAD's `choose` part, where one half to one of a sentence beside the text differ by
less than .002; `benchmarks rag` has what they are worth where they were not chosen.

A fused search combines the dense and the sparse ranking of a query. With r_v(x) the rank from 0 of record x
in source v's list, and s_v(x) its score there:

    rrf       sum_v 1 / (2 + r_v(x))                              reciprocal ranks, as in Qdrant
    dbsf      sum_v (s_v(x) - (m_v - 3 o_v)) / (6 o_v)            m, o: mean and deviation of v's list
    weighted  sum_v w_v (s_v(x) - min_v) / (max_v - min_v)        w = 0.6 dense, 0.4 sae

A source that does not have x among its best 1,000 adds 0. The convex sum of min-max scores follows Bruch et
al. 2023 (arXiv 2210.11934, eq. 2 and 3), who find it better than reciprocal ranks in and out of domain.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from typing import TYPE_CHECKING, Protocol

import numpy as np

from saeindex.config import DENSE, SAE, SENTENCES
from saeindex.protocols import Point, SearchRequest
from saeindex.search.explain import Explanation, SourceExplanation
from saeindex.stores.point_checks import id_order
from saeindex.stores.ranking import RRF_K, distribution_scaled
from saeindex.stores.tracing import noted
from saeindex.types import Part

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from saeindex.protocols import Include, PointId, Vector, VectorStore
    from saeindex.search.explain import Explainer
    from saeindex.types import FusionMethod

# The number of candidates per source of a fused or second-pass search. It depends on neither limit nor
# offset, because all pages of a query must come from one ranking.
POOL = 1_000
# The least and the most nearest points that a filter is applied to after the scan, by their ids.
MIN_POSTFILTERED, MAX_POSTFILTERED = 192, 4_096
# The vectors that an explanation needs.
EXPLAINED = (DENSE, SAE)


class Scoring(ABC):
    """One ranking of points. All its pages are consistent: equal scores are in id order."""

    _store: VectorStore

    @property
    def _ranked(self) -> Sequence[tuple[PointId, float]]:
        """The ids of all that is ranked, with their scores, best first."""
        raise NotImplementedError

    def best(
        self, count: int, offset: int = 0, payload: Include = True, vectors: Sequence[str] = ()
    ) -> list[Point]:
        """Return ``count`` scored points of the ranking from ``offset`` on, with this payload and vectors.

        Those that were deleted since are left out.
        """
        page = dict(self._ranked[offset : offset + count])
        if payload is False and not vectors:
            return [Point(point_id, score=score) for point_id, score in page.items()]
        points = self._store.get(list(page), payload, list(vectors))
        return [replace(point, score=page[point.id]) for point in points]

    @abstractmethod
    def explain(self, point: Point) -> Explanation:
        """Return the parts of a point's score; the point has both vectors, and may be outside the ranking."""


def in_order(scores: Mapping[PointId, float], least: float | None) -> list[tuple[PointId, float]]:
    """Return points with scores of ``least`` or more, best first, equal ones by id; NaN drops a point."""
    kept = [one for one in scores.items() if not math.isnan(one[1]) and (least is None or one[1] >= least)]
    return sorted(kept, key=lambda one: (-one[1], id_order(one[0])))


class Nearest(Scoring):
    """The nearest points to one vector: one request to the store."""

    def __init__(
        self,
        store: VectorStore,
        vector: Vector,
        request: SearchRequest,
        explainer: Explainer,
        share: float | None = None,
    ) -> None:
        """Bind the vector and the request; :meth:`best` sets its page, payload and vectors.

        ``share`` is the share of points that match, if the filter is applied after the scan; else None.
        """
        self._store, self._explainer, self._share = store, explainer, share
        self.vector, self.request = vector, request

    def best(
        self, count: int, offset: int = 0, payload: Include = True, vectors: Sequence[str] = ()
    ) -> list[Point]:
        """See :class:`Scoring`."""
        postfilter = 0 if self._share is None else postfilter_depth(count + offset, self._share)
        page = replace(self.request, limit=count, offset=offset, postfilter=postfilter)
        return self._store.search(replace(page, with_payload=payload, with_vectors=list(vectors)))

    def explain(self, point: Point) -> Explanation:
        """See :class:`Scoring`."""
        return self._explainer.explain(self.vector, point)


class Listed(Scoring):
    """All matches, in id order, each with a score of 0: for a query that filters and does not rank."""

    def __init__(self, store: VectorStore, request: SearchRequest) -> None:
        """Bind the filter and the threshold of ``request``; with a threshold above 0 there are no hits."""
        self._store, self._filter = store, request.query_filter
        self._is_empty = request.score_threshold is not None and request.score_threshold > 0.0

    def best(
        self, count: int, offset: int = 0, payload: Include = True, vectors: Sequence[str] = ()
    ) -> list[Point]:
        """See :class:`Scoring`."""
        if self._is_empty or count == 0:
            return []
        cursor = None
        if offset:
            # The page starts after the last point of the previous pages.
            passed = self._store.scroll(self._filter, offset, with_payload=False)
            if passed.cursor is None:
                return []
            cursor = passed.cursor
        page = self._store.scroll(
            self._filter, count, cursor, with_payload=payload, with_vectors=list(vectors)
        )
        return [replace(point, score=0.0) for point in page.points]

    def explain(self, point: Point) -> Explanation:
        """See :class:`Scoring`."""
        return Explanation((), 0.0)


def postfilter_depth(wanted: int, share: float) -> int:
    """Return how many nearest points to filter for ``wanted`` matches if ``share`` match; 0 if too many.

    It is four times the number needed on average, because the share near the query is known from a sample.
    """
    depth = max(MIN_POSTFILTERED, math.ceil(4 * wanted / share))
    return depth if depth <= MAX_POSTFILTERED else 0


# The share of a text's own cosine in its score; the rest is that of its nearest sentence.
WHOLE = 2 / 3


class BySentence(Scoring):
    """The 1,000 nearest texts, by their own cosine and their nearest sentence's; others are not ranked.

    A text of which no sentence is kept is its own sentence.
    """

    def __init__(self, store: VectorStore, nearest: Nearest) -> None:
        """Bind the search of whole texts, with the threshold of the combined score."""
        self._store, self._nearest = store, nearest

    def explain(self, point: Point) -> Explanation:
        """See :class:`Scoring`: the parts of the whole, and the sentence."""
        whole = self._nearest.explain(point)
        parts = [replace(one, value=WHOLE * one.value) for one in whole.parts]
        nearest = self._cosine(point, whole.total)
        parts.append(Part("sentence", None, "its nearest sentence", (1 - WHOLE) * nearest))
        return Explanation(tuple(parts), sum(one.value for one in parts))

    def _cosine(self, point: Point, whole: float) -> float:
        if point.id in self._sentences:
            return self._sentences[point.id]
        for found in self._store.get([point.id], False, [SENTENCES]):
            if SENTENCES in found.vectors:
                rows = np.asarray(found.vectors[SENTENCES])
                return float((rows @ self._nearest.request.query).max())
        return whole

    @cached_property
    def _whole(self) -> SearchRequest:
        request = replace(self._nearest.request, using=DENSE, limit=POOL, offset=0, score_threshold=None)
        return replace(request, with_payload=False, with_vectors=False)

    @cached_property
    def _sentences(self) -> dict[PointId, float]:
        request = replace(self._whole, using=SENTENCES, prefetch=(self._whole,), query_filter=None)
        return {point.id: float(point.score or 0.0) for point in self._store.search(request)}

    @cached_property
    def _ranked(self) -> list[tuple[PointId, float]]:
        wholes = {point.id: float(point.score or 0.0) for point in self._store.search(self._whole)}
        nearest = noted("sentences", lambda: self._sentences, asked=len(wholes))
        least = self._nearest.request.score_threshold
        scores = {one: WHOLE * own + (1 - WHOLE) * nearest.get(one, own) for one, own in wholes.items()}
        return in_order(scores, least)


class Rescorer(Protocol):
    """The second pass of a plan that needs one, such as that of a property search."""

    def requests(self, limit: int) -> SearchRequest:
        """Return the search for ``limit`` candidates, with the payload and vectors that scoring needs.

        If the search has no filter, it gets the filter of the plan.
        """

    def scores(self, points: Sequence[Point]) -> NDArray[np.float64]:
        """Return the score (m,) of each candidate; higher is better. NaN drops a candidate."""

    def explain(self, point: Point) -> Explanation:
        """Return the parts of a point's score in :meth:`scores`, which no other point changes."""


class Rescored(Scoring):
    """The candidates of a rescorer, ranked by its scores; other points are not ranked."""

    def __init__(self, store: VectorStore, rescorer: Rescorer, request: SearchRequest) -> None:
        """Bind the rescorer, and the filter, threshold and timeout of ``request``."""
        self._store, self._rescorer, self._request = store, rescorer, request

    def explain(self, point: Point) -> Explanation:
        """See :class:`Scoring`."""
        return self._rescorer.explain(point)

    @cached_property
    def _pool(self) -> list[Point]:
        request = self._rescorer.requests(POOL)
        exact = self._request.exact
        request = replace(request, prefetch=tuple(replace(each, exact=exact) for each in request.prefetch))
        if request.query_filter is None:
            request = replace(request, query_filter=self._request.query_filter)
        return self._store.search(replace(request, timeout=self._request.timeout))

    @cached_property
    def _ranked(self) -> list[tuple[PointId, float]]:
        if not (pool := self._pool):
            return []
        scores = noted("rescore", lambda: self._rescorer.scores(pool).tolist(), asked=len(pool))
        found = zip((point.id for point in pool), scores, strict=True)
        return in_order(dict(found), self._request.score_threshold)


# Weights of the sources, chosen by nDCG@10 of the fixed property queries on `choose` parts: dense weights
# from 0.5 to 0.7 differ by less than .01.
WEIGHTS: Mapping[str, float] = {DENSE: 0.6, SAE: 0.4}


class Fused(Scoring):
    """The fusion of the best 1,000 points of each source; other points are not ranked."""

    def __init__(
        self, store: VectorStore, sources: Mapping[str, Nearest], method: FusionMethod, least: float | None
    ) -> None:
        """Bind the sources by name, and the least score of a hit."""
        self._store, self._sources, self._method, self._least = store, sources, method, least

    def explain(self, point: Point) -> Explanation:
        """Return one part per source, and each source's explanation of its score."""
        parts, sources = [], []
        for name, source in self._sources.items():
            weight = WEIGHTS[name] if self._method == "weighted" else 1.0
            if point.id not in self._shares[name]:
                parts.append(Part("source", None, f"{name} not in the first {POOL:,}", 0.0))
                sources.append(SourceExplanation(name, None, None, weight, None))
                continue
            rank, score, value = self._shares[name][point.id]
            label = f"{name} rank {rank}" + (f", score {score:.3f}" if self._method != "rrf" else "")
            parts.append(Part("source", None, label, value))
            sources.append(SourceExplanation(name, rank, score, weight, source.explain(point)))
        return Explanation(tuple(parts), float(sum(part.value for part in parts)), tuple(sources))

    @cached_property
    def _shares(self) -> dict[str, dict[PointId, tuple[int, float, float]]]:
        """By source, the ranks (from 1), scores and summands of the points of its list."""
        shares = {}
        for name, source in self._sources.items():
            points = source.best(POOL, payload=False)
            scores = [float(point.score or 0.0) for point in points]
            values = summands(scores, self._method, WEIGHTS[name])
            rows = enumerate(zip(points, scores, values, strict=True), 1)
            shares[name] = {point.id: (rank, score, value) for rank, (point, score, value) in rows}
        return shares

    @cached_property
    def _ranked(self) -> list[tuple[PointId, float]]:
        totals: dict[PointId, float] = {}
        for shares in self._shares.values():
            for point_id, (_, _, value) in shares.items():
                totals[point_id] = totals.get(point_id, 0.0) + value
        return in_order(totals, self._least)


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
