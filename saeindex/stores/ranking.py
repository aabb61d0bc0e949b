"""Searching in stages, with one answer for every engine.

Engines cut equal scores at the limit arbitrarily, compare thresholds strictly, and disagree on sparse
documents whose dot product is 0 (Edge leaves them out, the client's local mode gives them a score of 0).
Here the last place's ties are fetched until they can be put in id order, thresholds are inclusive, zero
dot products go, and fusion is computed from lists that are ordered that way.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from saeindex.errors import InvalidInputError
from saeindex.protocols import Fusion, Point, PointId, SearchRequest
from saeindex.stores.engine import Fetch, Nearest, check_count
from saeindex.stores.filters import check_filter
from saeindex.stores.fusion import Scored, distribution_based_fusion, reciprocal_rank_fusion
from saeindex.stores.points import check_query, id_order

if TYPE_CHECKING:
    from qdrant_client.models import Filter

    from saeindex.stores.engine import Engine

MAX_STAGES = 8
# How many points beyond the page are looked at to put the ties of its last place in id order.
TIE_WINDOW = 16_384


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
    elif search := _nearest(store, request, _filters(request, ()), None):
        ranked, complete = _single(store, replace(search, fetch=fetch), request)
    if fetch.payload is False and not fetch.vectors:
        return [Point(point_id, score=score) for point_id, score in ranked]
    missing = [point_id for point_id, _ in ranked if point_id not in complete]
    complete |= {point.id: point for point in store.retrieve(missing, fetch)}
    # A point that another thread or process deleted between the stages is no hit any more.
    return [replace(complete[point_id], score=score) for point_id, score in ranked if point_id in complete]


def check_request(request: SearchRequest, depth: int) -> None:
    """Raise InvalidInputError for a search that engines would refuse, or read differently."""
    check_filter(request.query_filter)
    check_count("a search", "limit", request.limit, 0)
    check_count("a search", "offset", request.offset, 0)
    threshold = request.score_threshold
    if threshold is not None and not math.isfinite(threshold):
        raise _refusal(f"score_threshold is {threshold}", "Use a finite number")
    if depth > MAX_STAGES:
        raise _refusal(f"it has more than {MAX_STAGES} stages", "Nest fewer prefetches")
    if isinstance(request.query, Fusion) and not request.prefetch:
        raise _refusal("it fuses nothing", "Give the searches to fuse as prefetch")
    if isinstance(request.query, Fusion) and request.query.method not in {"rrf", "dbsf"}:
        raise _refusal(f"the fusion is {request.query.method!r}", "Use 'rrf' or 'dbsf'")
    for inner in request.prefetch:
        check_request(inner, depth + 1)


def _refusal(found: str, do: str) -> InvalidInputError:
    return InvalidInputError("a search", found, do)


def _filters(request: SearchRequest, outer: tuple[Filter, ...]) -> tuple[Filter, ...]:
    """Return every filter that holds at this stage: a stage's filter also holds for its prefetches.

    They stay apart, to be ANDed: engines merge them clause by clause, which turns two ``should`` into one.
    """
    return outer if request.query_filter is None else (*outer, request.query_filter)


def _ranked(store: Engine, request: SearchRequest, outer: tuple[Filter, ...]) -> list[Scored]:
    if request.limit == 0:
        return []
    if isinstance(request.query, Fusion) or request.prefetch:
        return _staged(store, request, outer)
    search = _nearest(store, request, _filters(request, outer), None)
    return _single(store, search, request)[0] if search else []


def _staged(store: Engine, request: SearchRequest, outer: tuple[Filter, ...]) -> list[Scored]:
    """Fuse the prefetched lists, or search again among what they found."""
    filters = _filters(request, outer)
    lists = [_ranked(store, inner, filters) for inner in request.prefetch]
    if not isinstance(request.query, Fusion):
        among = {point_id: None for ranked in lists for point_id, _ in ranked}
        search = _nearest(store, request, filters, tuple(among))
        return _single(store, search, request)[0] if search and among else []
    fuse = reciprocal_rank_fusion if request.query.method == "rrf" else distribution_based_fusion
    scored = fuse(lists).items()
    least = -math.inf if request.score_threshold is None else request.score_threshold
    return _page([item for item in scored if item[1] >= least], request)


def _nearest(
    store: Engine, request: SearchRequest, filters: tuple[Filter, ...], among: tuple[PointId, ...] | None
) -> Nearest | None:
    """Return the engine's part of a search by vector; None where no document can have a score."""
    vector = check_query(request.query, request.using, store.layout)
    if isinstance(vector, tuple) and not vector[0]:
        return None
    return Nearest(
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
    store: Engine, search: Nearest, request: SearchRequest
) -> tuple[list[Scored], dict[PointId, Point]]:
    """Return a page of (id, score), and those of its points that came complete with the first fetch."""
    if request.sift and store.sifts and search.filters and search.among is None:
        found = _sifted(store, search, request)
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


def _sifted(
    store: Engine, search: Nearest, request: SearchRequest
) -> tuple[list[Scored], dict[PointId, Point]] | None:
    """Return the page from the nearest points without the filter; None where these are too few to tell."""
    near = store.nearest_ids(replace(search, filters=(), limit=request.sift, fetch=Fetch()))
    if not near.points:
        return [], {}
    page, complete = _single(store, replace(search, among=near.points), replace(request, sift=0))
    # Equal scores stand in id order: those of the last one may go on beyond it.
    is_whole = len(page) == request.limit and page[-1][1] > float(np.float32(near.last))
    return (page, complete) if is_whole or len(near.points) < request.sift else None


def _scored(points: Sequence[Point], request: SearchRequest, sparse: bool) -> list[Scored]:
    """Return (id, float32 score), without zero dot products and what is below the threshold."""
    # Local mode computes in float64: the same vectors then differ in the ninth digit, and tie nowhere.
    scored = [(point.id, float(np.float32(point.score or 0.0))) for point in points]
    least = -math.inf if request.score_threshold is None else request.score_threshold
    return [item for item in scored if item[1] >= least and not (sparse and item[1] == 0.0)]


def _page(scored: Sequence[Scored], request: SearchRequest) -> list[Scored]:
    ordered = sorted(scored, key=lambda item: (-item[1], id_order(item[0])))
    return ordered[request.offset : request.offset + request.limit]


def _strictly_below(threshold: float | None) -> float | None:
    """Return the float32 just below ``threshold``: engines compare with ``>``, we promise ``>=``."""
    if threshold is None:
        return None
    with np.errstate(over="ignore"):
        return float(np.nextafter(np.float32(threshold), np.float32(-np.inf)))
