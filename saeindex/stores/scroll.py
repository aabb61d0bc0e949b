"""Reading a collection page by page, or in the order of a field with equal values in id order."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from saeindex.protocols import OrderBy, Point, PointId
from saeindex.stores.points import id_order

if TYPE_CHECKING:
    from qdrant_client.models import Filter

    from saeindex.protocols import Page, VectorStore
    from saeindex.stores.engine import Engine, Fetch

PAGE = 1_000
EPOCH = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)
Valued = tuple[Point, float]


def pages(
    store: VectorStore,
    query_filter: Filter | None = None,
    size: int = PAGE,
    with_payload: bool | Sequence[str] = True,
    with_vectors: bool | Sequence[str] = False,
) -> Iterator[Page]:
    """Yield all that matches, in id order, by pages; a collection without any of it has one empty page."""
    cursor = None
    while True:
        page = store.scroll(query_filter, size, cursor, with_payload=with_payload, with_vectors=with_vectors)
        yield page
        if (cursor := page.cursor) is None:
            return


def first_points(
    store: VectorStore,
    least: int,
    size: int,
    with_payload: bool | Sequence[str] = True,
    with_vectors: bool | Sequence[str] = False,
) -> list[Point]:
    """Return the first points in id order, whole pages of them until there are ``least``."""
    points: list[Point] = []
    for page in pages(store, None, size, with_payload, with_vectors):
        points.extend(page.points)
        if len(points) >= least:
            break
    return points


def ordered_page(
    store: Engine, order_by: OrderBy, filters: tuple[Filter, ...], limit: int, fetch: Fetch
) -> list[Point]:
    """Return the first ``limit`` points by their best value in the field."""
    first = _first_distinct(store, order_by, filters, limit + 1, fetch)
    if len(first) > limit and first[limit][1] == first[limit - 1][1]:
        # Engines cut equal values anywhere; the field may be a year that half the points share.
        cut = first[limit][1]
        better = [item for item in first if item[1] != cut]
        first = better + _tied(store, order_by, filters, cut, better, limit, fetch)
    sign = -1 if order_by.descending else 1
    first.sort(key=lambda item: (sign * item[1], id_order(item[0].id)))
    return [point for point, _ in first[:limit]]


def _first_distinct(
    store: Engine, order_by: OrderBy, filters: tuple[Filter, ...], wanted: int, fetch: Fetch
) -> list[Valued]:
    """Return the first ``wanted`` points, once each: engines give one row per value of a point.

    Edge merges equal values of one point after it has cut at the limit, so a short answer does not yet mean
    that there is no more: only one that stays as short when far more is asked for does.
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
