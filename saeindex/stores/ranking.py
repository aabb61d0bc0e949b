"""Searching in stages, with the same result on every engine.

Engines cut equal scores at the limit arbitrarily, compare thresholds strictly, and disagree on sparse
documents whose dot product is 0 (Edge leaves them out, the client's local mode gives them a score of 0).
Here ties at the end of the page are fetched until they can be sorted by id, thresholds are inclusive, zero
dot products are left out, and fusion uses lists that are ordered in this way.
"""

from __future__ import annotations

import datetime as dt
import math
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from saeindex.errors import InvalidInputError
from saeindex.protocols import Fusion, OrderBy, Point, PointId, SearchRequest
from saeindex.stores.engine import Engine, Fetch, NearestSearch
from saeindex.stores.filters import check_filter
from saeindex.stores.point_checks import canonical_id, check_count, check_vector, id_order

if TYPE_CHECKING:
    from qdrant_client.models import Filter


MAX_STAGES = 8
# Points beyond the page that are read to sort the ties at its end by id.
TIE_WINDOW = 16_384
# Of these, so many are read at once where only ids are: a second search would take as long as the first.
SLACK = 64
EPOCH = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)
Valued = tuple[Point, float]
RRF_K = 2
Scored = tuple[PointId, float]


def rank(store: Engine, request: SearchRequest) -> list[Point]:
    """Return the points of a checked search, best first."""
    check_request(request, 1)
    fetch = store.fetch(request.with_payload, request.with_vectors)
    if request.limit == 0:
        return []
    ranked: list[Scored] = []
    complete: dict[PointId, Point] = {}
    if isinstance(request.query, Fusion) or request.prefetch:
        ranked = _staged(store, request, ())
    elif search := _nearest(store, request, _filters(request, ()), _among(request)):
        ranked, complete = _single(store, replace(search, fetch=fetch), request)
    if fetch.payload is False and not fetch.vectors:
        return [Point(point_id, score=score) for point_id, score in ranked]
    missing = [point_id for point_id, _ in ranked if point_id not in complete]
    complete |= {point.id: point for point in store.retrieve(missing, fetch)}
    # A point that another thread or process deleted between the stages is left out.
    return [replace(complete[point_id], score=score) for point_id, score in ranked if point_id in complete]


def scores(store: Engine, request: SearchRequest) -> dict[Any, float]:
    """Return the points of a checked search without stages as ids of the engine's type, with their scores."""
    check_request(request, 1)
    search = _nearest(store, request, _filters(request, ()), request.among)
    if search is None or not request.limit:
        return {}
    found = store.nearest_ids(replace(search, limit=request.limit + request.offset))
    values = np.array(found.scores, np.float32).tolist()  # local mode computes in float64
    every = dict(zip(found.points[request.offset :], values[request.offset :], strict=True))
    return (
        {one: score for one, score in every.items() if score} if isinstance(search.vector, tuple) else every
    )


def check_request(request: SearchRequest, depth: int) -> None:
    """Raise InvalidInputError for a search that engines would refuse or interpret differently."""
    check_filter(request.query_filter)
    check_count("a search", "limit", request.limit, 0)
    check_count("a search", "offset", request.offset, 0)
    threshold = request.score_threshold
    if threshold is not None and not math.isfinite(threshold):
        raise _refusal(f"score_threshold is {threshold}", "Use a finite number.")
    if depth > MAX_STAGES:
        raise _refusal(f"it has more than {MAX_STAGES} stages", "Nest fewer prefetches.")
    if isinstance(request.query, Fusion) and not request.prefetch:
        raise _refusal("it fuses nothing", "Give the searches to fuse as prefetch.")
    for inner in request.prefetch:
        check_request(inner, depth + 1)


def _refusal(found: str, do: str) -> InvalidInputError:
    return InvalidInputError("a search", found, do)


def _filters(request: SearchRequest, outer: tuple[Filter, ...]) -> tuple[Filter, ...]:
    """Return every filter that applies at this stage: a stage's filter also applies to its prefetches.

    They stay separate conditions of an AND: merged clause by clause, two ``should`` would become one.
    """
    return outer if request.query_filter is None else (*outer, request.query_filter)


def _ranked(store: Engine, request: SearchRequest, outer: tuple[Filter, ...]) -> list[Scored]:
    if request.limit == 0:
        return []
    if isinstance(request.query, Fusion) or request.prefetch:
        return _staged(store, request, outer)
    search = _nearest(store, request, _filters(request, outer), _among(request))
    return _single(store, replace(search, limit=search.limit + SLACK), request)[0] if search else []


def _staged(store: Engine, request: SearchRequest, outer: tuple[Filter, ...]) -> list[Scored]:
    """Fuse the prefetched lists, or search again among their points."""
    filters = _filters(request, outer)
    lists = [_ranked(store, inner, filters) for inner in request.prefetch]
    if not isinstance(request.query, Fusion):
        among = {point_id: None for ranked in lists for point_id, _ in ranked}
        search = _nearest(store, request, filters, tuple(among))
        return _single(store, search, request)[0] if search else []
    scored = reciprocal_rank_fusion(lists).items()
    minimum = -math.inf if request.score_threshold is None else request.score_threshold
    return _page([item for item in scored if item[1] >= minimum], request)


def _among(request: SearchRequest) -> tuple[PointId, ...] | None:
    return None if request.among is None else tuple(dict.fromkeys(map(canonical_id, request.among)))


def _nearest(
    store: Engine, request: SearchRequest, filters: tuple[Filter, ...], among: tuple[PointId, ...] | None
) -> NearestSearch | None:
    """Return the engine's part of a search by vector; None if no document can have a score."""
    vector = check_vector(request.query, request.using, store.layout)
    if among == () or (isinstance(vector, tuple) and not vector[0]):
        return None
    return NearestSearch(
        vector=vector,
        using=request.using,
        limit=request.limit + request.offset + 1,
        filters=filters,
        above=_strictly_below(request.score_threshold),
        among=among,
        exact=request.exact,
        timeout=request.timeout,
    )


def _single(
    store: Engine, search: NearestSearch, request: SearchRequest
) -> tuple[list[Scored], dict[PointId, Point]]:
    """Return a page of (id, score), and the points of it that the first fetch returned completely."""
    if request.postfilter and store.prefers_postfilter and search.filters and search.among is None:
        found = _postfiltered(store, search, request)
        if found is not None:
            return found
    wanted = request.limit + request.offset
    points = store.nearest(search)
    complete = {point.id: point for point in points}
    while True:
        scored = _scored(points, request, sparse=isinstance(search.vector, tuple))
        all_seen = len(points) < search.limit
        ties_seen = len(scored) > wanted and scored[-1][1] < scored[wanted - 1][1]
        given_up = len(scored) >= wanted and search.limit > wanted + TIE_WINDOW
        if all_seen or ties_seen or given_up:
            return _page(scored, request), complete
        search = replace(search, limit=4 * search.limit, fetch=Fetch())
        points = store.nearest(search)


def _postfiltered(
    store: Engine, search: NearestSearch, request: SearchRequest
) -> tuple[list[Scored], dict[PointId, Point]] | None:
    """Return the page from the nearest points, filtered afterwards; None if these were too few."""
    near = store.nearest_ids(replace(search, filters=(), limit=request.postfilter, fetch=Fetch()))
    if not near.points:
        return [], {}
    page, complete = _single(store, replace(search, among=near.points), replace(request, postfilter=0))
    # Equal scores are in id order, and points with the last score may lie beyond the nearest points.
    is_whole = len(page) == request.limit and page[-1][1] > float(np.float32(near.scores[-1]))
    return (page, complete) if is_whole or len(near.points) < request.postfilter else None


def _scored(points: Sequence[Point], request: SearchRequest, sparse: bool) -> list[Scored]:
    """Return (id, float32 score), without zero dot products and scores below the threshold."""
    # Local mode computes in float64: equal vectors then differ in the ninth digit, and never tie.
    scored = [(point.id, float(np.float32(point.score or 0.0))) for point in points]
    minimum = -math.inf if request.score_threshold is None else request.score_threshold
    return [item for item in scored if item[1] >= minimum and not (sparse and item[1] == 0.0)]


def _page(scored: Sequence[Scored], request: SearchRequest) -> list[Scored]:
    ordered = sorted(scored, key=lambda item: (-item[1], id_order(item[0])))
    return ordered[request.offset : request.offset + request.limit]


def _strictly_below(threshold: float | None) -> float | None:
    """Return the float32 just below ``threshold``: engines compare with ``>``, our interface with ``>=``."""
    if threshold is None:
        return None
    with np.errstate(over="ignore"):
        return float(np.nextafter(np.float32(threshold), np.float32(-np.inf)))


def ordered_page(
    store: Engine, order_by: OrderBy, filters: tuple[Filter, ...], limit: int, fetch: Fetch
) -> list[Point]:
    """Return the first ``limit`` points by their best value in the field."""
    first = _first_distinct(store, order_by, filters, limit + 1, fetch)
    if len(first) > limit and first[limit][1] == first[limit - 1][1]:
        # Engines cut equal values arbitrarily; the field may be a year that half the points share.
        cut = first[limit][1]
        better = [item for item in first if item[1] != cut]
        first = better + _tied(store, order_by, filters, cut, better, limit, fetch)
    sign = -1 if order_by.descending else 1
    first.sort(key=lambda item: (sign * item[1], id_order(item[0].id)))
    return [point for point, _ in first[:limit]]


def _first_distinct(
    store: Engine, order_by: OrderBy, filters: tuple[Filter, ...], wanted: int, fetch: Fetch
) -> list[Valued]:
    """Return the first ``wanted`` different points: engines return one row per value of a point.

    Edge merges equal values of a point after it has applied the limit, so a short result does not mean that
    there are no more points. It does if the result is not longer with a much higher limit.
    """
    asked, before = wanted, -1
    while True:
        rows = store.scroll_by_value(order_by, filters, asked, fetch)
        distinct: dict[PointId, Valued] = {}
        for point, value in rows:
            distinct.setdefault(point.id, (point, value))
        if len(distinct) >= wanted or len(rows) == before:
            return list(distinct.values())[:wanted]
        asked, before = 4 * asked, len(rows)


def _tied(
    store: Engine,
    order_by: OrderBy,
    filters: tuple[Filter, ...],
    value: float,
    better: Sequence[Valued],
    limit: int,
    fetch: Fetch,
) -> list[Valued]:
    """Return points with ``value`` in id order, enough to fill the page."""
    from qdrant_client import models

    bounds: models.Range | models.DatetimeRange
    if store.layout.payload_indexes[order_by.key] == "datetime":
        moment = EPOCH + dt.timedelta(microseconds=value)
        bounds = models.DatetimeRange(gte=moment, lte=moment)
    else:
        bounds = models.Range(gte=value, lte=value)
    equal = models.Filter(must=[models.FieldCondition(key=order_by.key, range=bounds)])
    page = store.scroll_by_id((*filters, equal), limit + len(better), None, fetch)
    taken = {point.id for point, _ in better}
    return [(point, value) for point in page.points if point.id not in taken]


# Fusion uses the formulas and constants of Qdrant 1.x. Both engines support fusion, but they cut ties inside
# the prefetched lists arbitrarily, so the same points got different ranks (and scores) on Edge and on a
# server. Measured: the same scores as the engines to 1e-6 where there are no ties.
def reciprocal_rank_fusion(lists: Sequence[Sequence[Scored]]) -> dict[PointId, float]:
    """Return Σ 1 / (k + rank) per id, with ranks from 0 and k = 2 (Cormack et al. 2009 has k = 60)."""
    fused: dict[PointId, float] = {}
    for ranked in lists:
        for rank, (point_id, _) in enumerate(ranked):
            fused[point_id] = fused.get(point_id, 0.0) + 1.0 / (RRF_K + rank)
    return fused
