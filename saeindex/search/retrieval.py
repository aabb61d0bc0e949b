"""Scoring of points: by one vector, by several lists, or (with a filter only) without a ranking."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Protocol

from saeindex.config import DENSE, SAE
from saeindex.protocols import Point, SearchRequest
from saeindex.search.explain import Explanation

if TYPE_CHECKING:
    from saeindex.protocols import PointId, Vector, VectorStore
    from saeindex.search.explain import Explainer

# The number of candidates per source of a fused or second-pass search. It depends on neither limit nor
# offset, because all pages of a query must come from one ranking.
POOL = 1_000
# The least and the most nearest points that a filter is applied to after the scan, by their ids.
MIN_POSTFILTERED, MAX_POSTFILTERED = 192, 4_096
# The vectors that an explanation needs.
EXPLAINED = (DENSE, SAE)


class Scoring(Protocol):
    """One ranking of points. All its pages are consistent: equal scores are in id order."""

    def best(
        self,
        count: int,
        offset: int = 0,
        payload: bool | Sequence[str] = True,
        vectors: Sequence[str] = (),
    ) -> list[Point]:
        """Return ``count`` scored points of the ranking from ``offset`` on, with this payload and vectors."""

    def explain(self, point: Point) -> Explanation:
        """Return the parts of a point's score; the point has both vectors, and may be outside the ranking."""


class Nearest:
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
        self,
        count: int,
        offset: int = 0,
        payload: bool | Sequence[str] = True,
        vectors: Sequence[str] = (),
    ) -> list[Point]:
        """See :class:`Scoring`."""
        postfilter = 0 if self._share is None else postfilter_depth(count + offset, self._share)
        page = replace(self.request, limit=count, offset=offset, postfilter=postfilter)
        return self._store.search(replace(page, with_payload=payload, with_vectors=list(vectors)))

    def explain(self, point: Point) -> Explanation:
        """See :class:`Scoring`."""
        return self._explainer.explain(self.vector, point)


class InOrder(ABC):
    """A ranking whose ids and scores are known before a page of it is read."""

    _store: VectorStore

    @property
    @abstractmethod
    def _ranked(self) -> Sequence[tuple[PointId, float]]:
        """The ids of all that is ranked, with their scores, best first."""

    def best(
        self,
        count: int,
        offset: int = 0,
        payload: bool | Sequence[str] = True,
        vectors: Sequence[str] = (),
    ) -> list[Point]:
        """See :class:`Scoring`."""
        return fetched(self._store, self._ranked[offset : offset + count], payload, vectors)


class Listed:
    """All matches, in id order, each with a score of 0: for a query that filters and does not rank."""

    def __init__(self, store: VectorStore, request: SearchRequest) -> None:
        """Bind the filter and the threshold of ``request``; with a threshold above 0 there are no hits."""
        self._store, self._filter = store, request.query_filter
        self._is_empty = request.score_threshold is not None and request.score_threshold > 0.0

    def best(
        self,
        count: int,
        offset: int = 0,
        payload: bool | Sequence[str] = True,
        vectors: Sequence[str] = (),
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


def fetched(
    store: VectorStore,
    scored: Sequence[tuple[PointId, float]],
    payload: bool | Sequence[str],
    vectors: Sequence[str],
) -> list[Point]:
    """Return points in this order, with these scores, payloads and vectors, without those deleted since."""
    if payload is False and not vectors:
        return [Point(point_id, score=score) for point_id, score in scored]
    scores = dict(scored)
    points = store.get([point_id for point_id, _ in scored], payload, list(vectors))
    return [replace(point, score=scores[point.id]) for point in points]
