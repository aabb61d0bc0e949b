"""Reading a collection page by page."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from qdrant_client.models import Filter

    from saeindex.protocols import Page, Point, VectorStore

PAGE = 1_000


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
