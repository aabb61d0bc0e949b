"""A store in plain Python and numpy: slow, simple, and the oracle of the conformance suite.

What a filter means is what qdrant-client's local mode says, which reads each payload in plain Python.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
from qdrant_client.local.datetime_utils import parse
from qdrant_client.local.payload_filters import check_filter
from qdrant_client.local.payload_value_extractor import value_by_key
from qdrant_client.models import Filter

from saeindex.protocols import (
    Fusion,
    Include,
    Layout,
    OrderBy,
    Page,
    PayloadKind,
    Point,
    PointId,
    SearchRequest,
    SparseVector,
)
from saeindex.stores.waiting import NoTurns

if TYPE_CHECKING:
    from saeindex.types import JsonObject


class ReferenceStore:
    """A :class:`saeindex.protocols.VectorStore` over a dict; it does not check its input."""

    def __init__(self, layout: Layout) -> None:
        self.layout, self.has_graph, self.prefers_postfilter = layout, False, False
        self.turns, self.stale_after = NoTurns(), None
        self._points: dict[PointId, Point] = {}
        self._manifest: dict[str, Any] = {}

    @property
    def name(self) -> str:
        """That of no collection."""
        return "reference"

    def read_manifest(self) -> dict[str, Any]:
        """Return the JSON object stored with the collection."""
        return dict(self._manifest)

    def write_manifest(self, manifest: JsonObject, durable: bool = True) -> None:
        """Replace the JSON object stored with the collection."""
        self._manifest = dict(manifest)

    def upsert(self, points: Sequence[Point]) -> None:
        """Write points with normalised vectors, and without empty sparse vectors."""
        for point in points:
            vectors = {name: _stored(vector) for name, vector in point.vectors.items()}
            kept = {name: vector for name, vector in vectors.items() if vector is not None}
            self._points[point.id] = Point(point.id, kept, dict(point.payload))

    def set_payload(self, payloads: Mapping[PointId, JsonObject], within: str | None = None) -> set[PointId]:
        """Replace some keys of the payloads of points that exist, and return their ids."""
        there = payloads.keys() & self._points.keys()
        for point_id in there:
            point = self._points[point_id]
            former = point.payload if within is None else point.payload.get(within, {})
            changed = {**former, **payloads[point_id]}
            kept = {
                key: value
                for key, value in changed.items()
                if value is not None or key not in payloads[point_id]
            }
            payload = kept if within is None else {**point.payload, within: kept}
            self._points[point_id] = replace(point, payload=payload)
        return there

    def delete(self, ids: Sequence[PointId] | None = None, query_filter: Filter | None = None) -> None:
        """Delete by ids or by filter."""
        doomed = ids if ids is not None else [point.id for point in self._matching(query_filter)]
        for point_id in doomed:
            self._points.pop(point_id, None)

    def get(
        self, ids: Sequence[PointId], with_payload: Include = True, with_vectors: Include = False
    ) -> list[Point]:
        """Return the points that exist, in the order of ``ids``."""
        found = [self._points[point_id] for point_id in ids if point_id in self._points]
        return [_part(point, with_payload, with_vectors) for point in found]

    def scroll(
        self,
        query_filter: Filter | None = None,
        limit: int = 256,
        cursor: PointId | None = None,
        order_by: OrderBy | None = None,
        with_payload: Include = True,
        with_vectors: Include = False,
    ) -> Page:
        """Return a page in id order, or in the order of a top-level field."""
        points = self._matching(query_filter)
        if order_by is not None:
            best = max if order_by.descending else min
            sign = -1 if order_by.descending else 1
            valued = [(best(found), point) for point in points if (found := _numbers(point, order_by.key))]
            points = [point for value, point in sorted(valued, key=lambda item: sign * item[0])]
        elif cursor is not None:
            points = [point for point in points if _order(point.id) >= _order(cursor)]
        following = points[limit].id if len(points) > limit and order_by is None else None
        return Page([_part(point, with_payload, with_vectors) for point in points[:limit]], following)

    def count(self, query_filter: Filter | None = None, among: Sequence[PointId] | None = None) -> int:
        """Return the number of matching points, of those ``among`` if ids are given."""
        return sum(among is None or point.id in among for point in self._matching(query_filter))

    def index_payload(self, key: str, kind: PayloadKind | None) -> None:
        """Change the layout alone."""
        others = {name: one for name, one in self.layout.payload_indexes.items() if name != key}
        self.layout = replace(self.layout, payload_indexes=others | ({key: kind} if kind else {}))

    def facet(
        self, key: str, query_filter: Filter | None = None, limit: int = 10, approximate: bool = False
    ) -> list[tuple[str | int | bool, int]]:
        """Return (value, number of points), most frequent first, then by value."""
        kind = {"keyword": str, "bool": bool}.get(self.layout.payload_indexes[key], int)
        counts: Counter[Any] = Counter()
        for point in self._matching(query_filter):
            counts.update({value for value in _values(point, key) if type(value) is kind})
        return sorted(counts.items(), key=lambda item: (-item[1], item[0]))[:limit]

    def search(self, request: SearchRequest) -> list[Point]:
        """Return scored points, best first, equal scores by id."""
        scores = self._scores(request)
        ranked = sorted(scores.items(), key=lambda item: (-item[1], _order(item[0])))
        page = ranked[request.offset : request.offset + request.limit]
        return [
            replace(_part(self._points[point_id], request.with_payload, request.with_vectors), score=score)
            for point_id, score in page
        ]

    def scores(self, request: SearchRequest) -> dict[Any, float]:
        """Return ids and scores, best first, equal scores by id."""
        return {point.id: point.score or 0.0 for point in self.search(request)}

    def flush(self) -> None:
        """Do nothing."""

    def close(self) -> None:
        """Do nothing."""

    def _matching(self, query_filter: Filter | None) -> list[Point]:
        points = sorted(self._points.values(), key=lambda point: _order(point.id))
        return [point for point in points if matches(query_filter, point)]

    def _scores(self, request: SearchRequest) -> dict[PointId, float]:
        allowed = {point.id: point for point in self._matching(request.query_filter)}
        stages = [_narrowed(inner, request.query_filter) for inner in request.prefetch]
        lists = [[(point.id, point.score or 0.0) for point in self.search(stage)] for stage in stages]
        if isinstance(request.query, Fusion):
            scores = _rrf(lists)
        else:
            if lists:
                allowed = {point_id: allowed[point_id] for ranked in lists for point_id, _ in ranked}
            found = {
                point_id: _similarity(request.query, point.vectors[request.using])
                for point_id, point in allowed.items()
                if request.using in point.vectors
            }
            sparse = isinstance(request.query, SparseVector)
            scores = {key: score for key, score in found.items() if not (sparse and score == 0.0)}
        minimum = -math.inf if request.score_threshold is None else request.score_threshold
        return {point_id: score for point_id, score in scores.items() if score >= minimum}


def matches(query_filter: Filter | None, point: Point) -> bool:
    """Return whether ``point`` satisfies ``query_filter`` (every point satisfies None)."""
    vectors = dict.fromkeys(point.vectors, True)
    return query_filter is None or check_filter(query_filter, dict(point.payload), point.id, vectors)


def _values(point: Point, key: str) -> list[Any]:
    """Return the values at a dotted key; arrays count by element."""
    return value_by_key(dict(point.payload), key) or []


def _order(point_id: PointId) -> tuple[bool, PointId]:
    return isinstance(point_id, str), point_id


def _stored(vector: Any) -> Any:
    if isinstance(vector, SparseVector):
        return vector if len(vector.indices) else None
    wide = np.asarray(vector, dtype=np.float64)
    return (wide / np.linalg.norm(wide, axis=-1, keepdims=True)).astype(np.float32) if wide.size else None


def _part(point: Point, with_payload: Include, with_vectors: Include) -> Point:
    payload, vectors = dict(point.payload), dict(point.vectors)
    if not isinstance(with_payload, bool):
        payload = {key: payload[key] for key in with_payload if key in payload}
    if not isinstance(with_vectors, bool):
        vectors = {name: vectors[name] for name in with_vectors if name in vectors}
    return Point(point.id, vectors if with_vectors else {}, payload if with_payload is not False else {})


def _numbers(point: Point, key: str) -> list[float]:
    values = _values(point, key)
    moments = [parse(value) for value in values if isinstance(value, str)]
    numbers = [float(value) for value in values if type(value) in (int, float)]
    return numbers + [moment.timestamp() for moment in moments if moment is not None]


def _similarity(query: Any, stored: Any) -> float:
    """Return the cosine of dense vectors, their max-sim, or the dot product of sparse ones, in float64."""
    if isinstance(query, SparseVector):
        weights = dict(zip(query.indices.tolist(), query.values.tolist(), strict=True))
        entries = zip(stored.indices.tolist(), stored.values.tolist(), strict=True)
        return float(sum(weights.get(index, 0.0) * value for index, value in entries))
    wide = np.asarray(query, dtype=np.float64)
    if stored.ndim == 2:
        rows = np.atleast_2d(wide / np.linalg.norm(wide, axis=-1, keepdims=True))
        return float((rows @ stored.astype(np.float64).T).max(1).sum())
    return float(wide @ stored.astype(np.float64) / np.linalg.norm(wide))


def _narrowed(request: SearchRequest, outer: Filter | None) -> SearchRequest:
    """Return a stage with the filter of its parent stage added."""
    both: list[Any] = [each for each in (outer, request.query_filter) if each is not None]
    return replace(request, query_filter=Filter(must=both) if both else None)


def _rrf(lists: list[list[tuple[PointId, float]]]) -> dict[PointId, float]:
    """Qdrant's reciprocal rank fusion: 1 / (2 + rank), ranks from 0."""
    fused: Counter[Any] = Counter()
    for ranked in lists:
        fused.update({point_id: 1 / (2 + rank) for rank, (point_id, _) in enumerate(ranked)})
    return dict(fused)
