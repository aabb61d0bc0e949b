"""The store on a Qdrant server or cluster, or in the client's local mode."""

from __future__ import annotations

import contextlib
import math
import threading
from collections.abc import Sequence
from contextlib import AbstractContextManager
from operator import attrgetter
from typing import TYPE_CHECKING, Any, Self
from weakref import WeakKeyDictionary

from saeindex.errors import NotFoundError
from saeindex.protocols import Layout, OrderBy, Page, PayloadKind, Point, PointId
from saeindex.stores.base import BaseStore, check_layout, closed_error, layout_to_json
from saeindex.stores.engine import BEAM, Fetch, NearestSearch, oversampling
from saeindex.stores.filters import bounded
from saeindex.stores.point_checks import CheckedPoint, of_same_payload, to_id, to_point
from saeindex.stores.server_collection import (
    LAYOUT_KEY,
    MANIFEST_KEY,
    create_collection,
    is_local,
    read_layout,
    read_metadata,
    schema_of,
    translated,
)
from saeindex.stores.waiting import OwnTurns
from saeindex.types import JsonObject, runs

if TYPE_CHECKING:
    from qdrant_client import QdrantClient, models


# Points and bytes of a chunk: a server refuses requests above 32 MB, and a single point may have 8 MB.
CHUNK_POINTS = 1_000
CHUNK_BYTES = 8 * 1024 * 1024
ALL_VALUES = 2**31 - 1
STALE_AFTER = 4.0
# The lock of each client in local mode, which no two threads may use at once, and the turns of collections.
_LOCAL: WeakKeyDictionary[QdrantClient, tuple[threading.RLock, dict[str, OwnTurns]]]
_LOCAL = WeakKeyDictionary()


class QdrantStore(BaseStore):
    """A collection behind a synchronous ``QdrantClient``; use :meth:`create` or :meth:`open`.

    Every write waits until the server has applied it. The manifest and the layout are stored in the
    collection's metadata (Qdrant 1.16 or newer). Searches are exact unless the request has ``exact=False``.
    Threads and processes may share a server. The client's local mode is for tests: it has no payload indexes,
    so a facet counts 2.0 separately from 2, where the engine's integer index reads both as 2.
    """

    def __init__(
        self,
        client: QdrantClient,
        collection: str,
        layout: Layout,
        owns_client: bool = False,
    ) -> None:
        """Take over an existing collection; for :meth:`create` and :meth:`open`."""
        super().__init__(layout)
        self._client, self._collection = client, collection
        self._owns_client, self._closed = owns_client, False
        if is_local(client):  # several handles may have one client
            self._mutex, turns = _LOCAL.setdefault(client, (threading.RLock(), {}))
            self.turns = turns.setdefault(collection, OwnTurns())
        else:
            self._mutex = contextlib.nullcontext()  # the HTTP client is thread-safe, and calls overlap

    @classmethod
    def create(
        cls,
        client: QdrantClient,
        collection: str,
        layout: Layout,
        owns_client: bool = False,
        **options: Any,
    ) -> Self:
        """Create an empty collection, or finish an interrupted creation.

        ``options`` are Qdrant's: shard_number, replication_factor, write_consistency_factor, on_disk_payload,
        and on_disk, of vectors.

        Raises:
            MismatchError: a collection with that name exists already, or the server is too old.
            InvalidInputError: the layout, the name or an option is not possible.
            StorageError: the server cannot be reached, or refused.
        """
        layout = check_layout(layout)
        with translated("create", collection):
            create_collection(client, collection, layout, options)
        return cls(client, collection, layout, owns_client)

    @classmethod
    def open(cls, client: QdrantClient, collection: str, owns_client: bool = False) -> Self:
        """Open an existing collection; its layout is read from its configuration.

        Raises:
            NotFoundError: there is no collection, or its creation was interrupted.
            MismatchError: its vectors are not named vectors with cosine distance or sparse vectors.
            StorageError: the server cannot be reached, or refused.
        """
        with translated("open", collection):
            if not client.collection_exists(collection):
                raise NotFoundError(
                    f"opening the collection {collection!r}",
                    "the server has no such collection",
                    "Create it first, or correct the name.",
                )
            layout = read_layout(client, collection)
        return cls(client, collection, layout, owns_client)

    @property
    def name(self) -> str:
        """The collection's name."""
        return self._collection

    @property
    def stale_after(self) -> float | None:
        """Seconds after which others may have written the manifest."""
        return 0.0 if is_local(self._client) else STALE_AFTER

    @property
    def has_graph(self) -> bool:
        """Whether a search with ``exact=False`` may use a graph (HNSW) or quantized vectors."""
        return not is_local(self._client)

    def read_manifest(self) -> dict[str, Any]:
        """Return the JSON object in the collection's metadata ({} if none was written)."""
        return self._run(
            "read_manifest",
            lambda: dict(read_metadata(self._client, self._collection).get(MANIFEST_KEY) or {}),
        )

    def write_manifest(self, manifest: JsonObject, durable: bool = True) -> None:
        """Replace the JSON object in the collection's metadata.

        An update merges the top-level keys of the metadata, on servers and in local mode: the manifest is
        one key, so it is replaced as a whole.
        """
        metadata = {MANIFEST_KEY: dict(manifest)}
        self._run(
            "write_manifest",
            lambda: self._client.update_collection(self._collection, metadata=metadata),
        )

    def drop(self) -> None:
        """Delete the collection."""
        self._run("drop", lambda: self._client.delete_collection(self._collection))

    def flush(self) -> None:
        """Do nothing: writes have waited for the server, which flushes its log itself."""
        self._check_open("flush")

    def close(self) -> None:
        """Release the collection, and the client if this store made it; a second call does nothing."""
        if not self._closed and self._owns_client:
            self._client.close()
        self._closed = True

    # The primitives ----------------------------------------------------------------------------------

    def _check_open(self, action: str) -> None:
        if self._closed:
            raise closed_error(action)

    def _translated(self, action: str) -> AbstractContextManager[None]:
        return translated(action, self._collection)

    def _upsert(self, points: Sequence[CheckedPoint]) -> None:
        from qdrant_client import models

        for chunk in runs(points, attrgetter("size"), CHUNK_BYTES, CHUNK_POINTS):
            rows = []
            for point in chunk:
                vectors: Any = {name: _vector_model(vector) for name, vector in point.vectors.items()}
                rows.append(models.PointStruct(id=point.id, vector=vectors, payload=point.payload))
            self._client.upsert(self._collection, points=rows, wait=True)

    def _set_payload(self, points: Sequence[CheckedPoint], within: str | None) -> None:
        from qdrant_client import models

        for chunk in runs(points, attrgetter("size"), CHUNK_BYTES, CHUNK_POINTS):
            changes = [
                models.SetPayloadOperation(
                    set_payload=models.SetPayload(payload=payload, points=ids, key=within)
                )
                for ids, payload in of_same_payload(chunk, within)
            ]
            self._client.batch_update_points(self._collection, changes, wait=True)

    def _delete(self, ids: Sequence[PointId] | None, query_filter: models.Filter | None) -> None:
        from qdrant_client import models

        selector: models.PointIdsList | models.FilterSelector
        if query_filter is not None:
            selector = models.FilterSelector(filter=bounded(query_filter))
        else:
            selector = models.PointIdsList(points=list(ids or ()))
        self._client.delete(self._collection, points_selector=selector, wait=True)

    def _retrieve(self, ids: Sequence[PointId], fetch: Fetch) -> list[Point]:
        rows = self._client.retrieve(self._collection, list(ids), fetch.payload, fetch.vectors or False)
        return [to_point(row) for row in rows]

    def _nearest(self, search: NearestSearch) -> list[Point]:
        # In whole seconds of at least 1; without one, the client's own timeout applies.
        seconds = None if search.timeout is None else max(1, math.ceil(search.timeout))
        found = self._client.query_points(
            self._collection,
            query=_vector_model(search.vector),
            using=search.using,
            query_filter=_conjunction(search.filters, search.among),
            search_params=self._search_params(search),
            limit=search.limit,
            score_threshold=search.above,
            with_payload=search.fetch.payload,
            with_vectors=search.fetch.vectors or False,
            timeout=seconds,
        )
        return [to_point(row, row.score) for row in found.points]

    def _search_params(self, search: NearestSearch) -> models.SearchParams | None:
        if is_local(self._client):
            return None  # local mode is always exact, and warns about this parameter
        from qdrant_client import models

        if search.exact:
            return models.SearchParams(exact=True)
        nearest = models.QuantizationSearchParams(rescore=True, oversampling=oversampling(search))
        return models.SearchParams(exact=False, hnsw_ef=BEAM, quantization=nearest)

    def _scroll(
        self, filters: tuple[models.Filter, ...], limit: int, cursor: PointId | None, fetch: Fetch
    ) -> Page:
        rows, following = self._client.scroll(
            self._collection,
            scroll_filter=_conjunction(filters),
            limit=limit,
            offset=cursor,
            with_payload=fetch.payload,
            with_vectors=fetch.vectors or False,
        )
        return Page([to_point(row) for row in rows], None if following is None else to_id(following))

    def _scroll_ordered(
        self, order_by: OrderBy, filters: tuple[models.Filter, ...], limit: int, fetch: Fetch
    ) -> list[tuple[Point, float]]:
        from qdrant_client import models

        direction = models.Direction.DESC if order_by.descending else models.Direction.ASC
        rows, _ = self._client.scroll(
            self._collection,
            scroll_filter=_conjunction(filters),
            limit=limit,
            order_by=models.OrderBy(key=order_by.key, direction=direction),
            with_payload=fetch.payload,
            with_vectors=fetch.vectors or False,
        )
        return [(to_point(row), row.order_value or 0) for row in rows]

    def _count(self, query_filter: models.Filter | None, among: Sequence[PointId] | None = None) -> int:
        counted = _conjunction((query_filter,) if query_filter else (), among)
        found = self._client.count(self._collection, counted, exact=True)
        return int(found.count)

    def _index_payload(self, layout: Layout, key: str, kind: PayloadKind | None) -> None:
        if not is_local(self._client):  # a local collection has no payload indexes
            if key in self._layout.payload_indexes:
                self._client.delete_payload_index(self._collection, key, wait=True)
            if kind is not None:
                self._client.create_payload_index(self._collection, key, schema_of(kind), wait=True)
        metadata = {LAYOUT_KEY: layout_to_json(layout)}
        self._client.update_collection(self._collection, metadata=metadata)

    def _facet(
        self, key: str, value_type: type, query_filter: models.Filter | None, limit: int, exact: bool
    ) -> list[tuple[str | int | bool, int]]:
        counted = _conjunction((query_filter,) if query_filter else ())

        # An approximate facet is the sum of the estimates of shards and segments.
        def hits(count: int) -> list[tuple[str | int | bool, int]]:
            found = self._client.facet(self._collection, key, counted, limit=count, exact=exact)
            # Servers list values that no point has any more, with a count of 0.
            return [(hit.value, hit.count) for hit in found.hits if hit.count]

        found = hits(limit)
        if all(type(value) is value_type for value, _ in found):
            return found
        # Local mode has no index, so it also counts values that an index of this kind would leave out.
        return [hit for hit in hits(ALL_VALUES) if type(hit[0]) is value_type][:limit]


def _vector_model(vector: Any) -> Any:
    from qdrant_client import models

    if isinstance(vector, tuple):
        return models.SparseVector(indices=vector[0], values=vector[1])
    return vector


def _conjunction(
    filters: Sequence[models.Filter], among: Sequence[PointId] | None = None
) -> models.Filter | None:
    """Return the AND of filters, each as a separate condition, limited to the ids ``among``."""
    must: list[Any] = [bounded(one) for one in filters]
    if among is None and len(must) < 2:
        return must[0] if must else None
    from qdrant_client import models

    if among is not None:
        must.append(models.HasIdCondition(has_id=list(among)))
    return models.Filter(must=must)
