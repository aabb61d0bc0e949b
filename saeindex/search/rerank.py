"""A second pass: candidates are found by one request and ranked by scores that a store cannot compute."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from functools import cached_property
from typing import TYPE_CHECKING, Protocol

from saeindex.protocols import Point, SearchRequest
from saeindex.search.retrieval import POOL, InOrder
from saeindex.stores.point_checks import id_order
from saeindex.stores.tracing import noted

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from saeindex.protocols import PointId, VectorStore
    from saeindex.search.explain import Explanation


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


class Rescored(InOrder):
    """The candidates of a rescorer, ranked by its scores; other points are not ranked."""

    def __init__(self, store: VectorStore, rescorer: Rescorer, request: SearchRequest) -> None:
        """Bind the rescorer, and the filter, threshold and timeout of ``request``."""
        self._store, self._rescorer, self._request = store, rescorer, request

    def explain(self, point: Point) -> Explanation:
        """See :class:`saeindex.search.retrieval.Scoring`."""
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
        if not self._pool:
            return []
        pool = self._pool
        scores = noted("rescore", lambda: self._rescorer.scores(pool).tolist(), asked=len(pool))
        minimum = self._request.score_threshold
        scored = [(point.id, score) for point, score in zip(self._pool, scores, strict=True)]
        kept = [
            item for item in scored if not math.isnan(item[1]) and (minimum is None or item[1] >= minimum)
        ]
        return sorted(kept, key=lambda item: (-item[1], id_order(item[0])))
