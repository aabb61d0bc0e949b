"""How a plan ranks points: by one vector, by several lists, or (where only) not at all."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Protocol

from saeindex.config import DENSE, SAE
from saeindex.protocols import Point, SearchRequest
from saeindex.types import Explanation

if TYPE_CHECKING:
    from saeindex.protocols import PointId, Vector, VectorStore
    from saeindex.search.explain import Explainer

# Candidates of a fused or a second-pass search, per source. It depends on neither limit nor offset: all
# pages of a query must be cut from one ranking.
POOL = 1_000
# The nearest points that a filter may be asked about by themselves: each is named to the engine.
LEAST_SIFTED, MOST_SIFTED = 192, 4_096
# What an explanation needs of a point.
EXPLAINED = (DENSE, SAE)


class Scoring(Protocol):
    """One ranking of points. Any two pages of it agree: equal scores stand in id order."""

    def best(
        self,
        count: int,
        offset: int = 0,
        payload: bool | Sequence[str] = True,
        vectors: Sequence[str] = (),
    ) -> list[Point]:
        """Return ``count`` scored points of the ranking from ``offset`` on, with these parts of them."""

    def explain(self, point: Point) -> Explanation:
        """Return the parts of a point's score; the point has both vectors, and need not be in the ranking."""


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
        """Take the vector of ``request``, whose page and parts :meth:`best` fills in.

        ``share`` of the points match, where the nearest ones are to be sifted by the filter.
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
        postfilter = 0 if self._share is None else reach(count + offset, self._share)
        page = replace(self.request, limit=count, offset=offset, postfilter=postfilter)
        return self._store.search(replace(page, with_payload=payload, with_vectors=list(vectors)))

    def explain(self, point: Point) -> Explanation:
        """See :class:`Scoring`."""
        return self._explainer.explain(self.vector, point)


class Listed:
    """All that matches, in id order, each with a score of 0: a query that selects and does not rank."""

    def __init__(self, store: VectorStore, request: SearchRequest) -> None:
        """Take the filter and the threshold of ``request``; above 0 nothing reaches it."""
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
            # Without the last point of the pages before, there is no telling where this one starts.
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


def reach(wanted: int, share: float) -> int:
    """Return how many of the nearest points to sift for ``wanted`` ones, of which ``share`` match; 0: none.

    Four times what is needed on average: the share is that near to the query, as far as a sample tells.
    """
    sifted = max(LEAST_SIFTED, math.ceil(4 * wanted / share))
    return sifted if sifted <= MOST_SIFTED else 0


def fetched(
    store: VectorStore,
    scored: Sequence[tuple[PointId, float]],
    payload: bool | Sequence[str],
    vectors: Sequence[str],
) -> list[Point]:
    """Return points in this order, with these scores and parts; one that was deleted since is left out."""
    if payload is False and not vectors:
        return [Point(point_id, score=score) for point_id, score in scored]
    scores = dict(scored)
    points = store.get([point_id for point_id, _ in scored], payload, list(vectors))
    return [replace(point, score=scores[point.id]) for point in points]
