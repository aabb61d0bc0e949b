"""A part of a collection as a collection of its own: nothing that it answers depends on the other points."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, NoReturn

from saeindex.errors import InvalidInputError
from saeindex.stores.point_checks import canonical_id

if TYPE_CHECKING:
    from qdrant_client.models import Filter

    from saeindex.protocols import (
        Include,
        OrderBy,
        Page,
        PayloadKind,
        Point,
        PointId,
        SearchRequest,
        Turns,
        VectorStore,
    )
    from saeindex.types import JsonObject


class SelectedStore:
    """The points of a :class:`saeindex.protocols.VectorStore` that match a filter. They cannot be changed.

    Its manifest is its own, and is kept in memory. Closing it leaves the whole collection open.
    """

    stale_after = None
    # A graph, or the nearest points of all, would be those of the whole collection.
    has_graph = False
    prefers_postfilter = False

    def __init__(self, whole: VectorStore, selected: Filter, manifest: JsonObject | None = None) -> None:
        """Bind the whole collection, the filter, and the manifest of this part."""
        self._whole, self._selected = whole, selected
        self.name, self.layout = whole.name, whole.layout
        self._manifest = dict(manifest or {})

    @property
    def turns(self) -> Turns:
        """The turns of the whole collection."""
        return self._whole.turns

    def read_manifest(self) -> dict[str, Any]:
        """Return the manifest of this part."""
        return self._manifest

    def write_manifest(self, manifest: JsonObject, durable: bool = True) -> NoReturn:
        """Raise InvalidInputError."""
        raise _refused("a change")

    def get(
        self, ids: Sequence[PointId], with_payload: Include = True, with_vectors: Include = False
    ) -> list[Point]:
        """Return the points that exist here, in the order of ``ids``."""
        from qdrant_client.models import Filter, HasIdCondition

        wanted = [canonical_id(one) for one in ids]
        if not wanted:
            return []
        only = self._and(Filter(must=[HasIdCondition(has_id=list(dict.fromkeys(wanted)))]))
        page = self._whole.scroll(only, len(wanted), with_payload=with_payload, with_vectors=with_vectors)
        found = {point.id: point for point in page.points}
        return [found[one] for one in wanted if one in found]

    def scroll(
        self,
        query_filter: Filter | None = None,
        limit: int = 256,
        cursor: PointId | None = None,
        order_by: OrderBy | None = None,
        with_payload: Include = True,
        with_vectors: Include = False,
    ) -> Page:
        """Return a page in id order, or the first ``limit`` points in the order of a field (no cursor)."""
        both = self._and(query_filter)
        return self._whole.scroll(both, limit, cursor, order_by, with_payload, with_vectors)

    def count(self, query_filter: Filter | None = None, among: Sequence[PointId] | None = None) -> int:
        """Return the exact number of matching points, of those ``among`` if ids are given."""
        return self._whole.count(self._and(query_filter), among)

    def index_payload(self, key: str, kind: PayloadKind | None) -> NoReturn:
        """Raise InvalidInputError."""
        raise _refused("an index")

    def facet(
        self, key: str, query_filter: Filter | None = None, limit: int = 10, approximate: bool = False
    ) -> list[tuple[str | int | bool, int]]:
        """Return (value, number of points) of an indexed field, most frequent first, then by value."""
        return self._whole.facet(key, self._and(query_filter), limit, approximate)

    def search(self, request: SearchRequest) -> list[Point]:
        """Return scored points, best first. The filter of a search also applies to what it prefetches."""
        return self._whole.search(self._within(request))

    def scores(self, request: SearchRequest) -> dict[Any, float]:
        """Return the ids and scores of a search by one vector, best first."""
        return self._whole.scores(self._within(request))

    def upsert(self, points: Sequence[Point]) -> NoReturn:
        """Raise InvalidInputError."""
        raise _refused("a write")

    def set_payload(self, payloads: Mapping[PointId, JsonObject], within: str | None = None) -> NoReturn:
        """Raise InvalidInputError."""
        raise _refused("a write")

    def delete(self, ids: Sequence[PointId] | None = None, query_filter: Filter | None = None) -> NoReturn:
        """Raise InvalidInputError."""
        raise _refused("a delete")

    def flush(self) -> None:
        """Do nothing: this part is never written."""

    def close(self) -> None:
        """Do nothing: the whole collection stays open."""

    def _within(self, request: SearchRequest) -> SearchRequest:
        both = self._and(request.query_filter)
        return replace(request, query_filter=both, exact=True, postfilter=0)

    def _and(self, query_filter: Filter | None) -> Filter:
        from qdrant_client.models import Filter

        return self._selected if query_filter is None else Filter(must=[self._selected, query_filter])


def _refused(asked: str) -> InvalidInputError:
    return InvalidInputError(asked, "this is a part of an index, which is only read", "Use the whole index.")
