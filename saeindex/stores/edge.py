"""The embedded store: Qdrant Edge in a directory, with protection against its hazards."""

from __future__ import annotations

import ctypes
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from saeindex.errors import EngineDiedError, MismatchError, StorageError
from saeindex.files import with_checksum
from saeindex.protocols import Layout, OrderBy, Page, Point, PointId
from saeindex.stores import edge_engine as engine
from saeindex.stores.directory import (
    DirectoryLock,
    IndexDirectory,
    read_checked_json,
    read_json,
    require_space,
    require_space_to_open,
    write_json,
)
from saeindex.stores.embedded import EmbeddedStore, engine_died
from saeindex.stores.engine import Fetch, NearestIds, NearestSearch
from saeindex.stores.filters import to_edge
from saeindex.stores.layouts import check_layout, layout_from_json, layout_to_json
from saeindex.stores.point_checks import CheckedPoint, chunks

if TYPE_CHECKING:
    from qdrant_client.models import Filter

    from saeindex.types import JsonObject

# Points between two flushes: the log survives `kill -9`, but a power cut can lose at most so many points.
FLUSH_EVERY = 5_000
# Points of a chunk: it holds the GIL for about 40 ms, and is far smaller than the log's segments of 32 MB.
CHUNK_POINTS = 1_000
CHUNK_BYTES = 16 * 1024 * 1024


class EdgeStore(EmbeddedStore):
    """A collection in a directory that one process owns; use :meth:`create` or :meth:`open`.

    Searches are exact scans (10 ms for 100,000 vectors of 384 dimensions). An acknowledged write survives
    ``kill -9``; :meth:`flush`, which also runs every 5,000 points and at close, makes it survive a power cut.
    Payload floats are exact to 1 unit in the last place.

    Every call holds Python's GIL until the engine is done: threads may share a store, but are not faster, and
    an asynchronous server must use the store in a worker process. Start that process with ``spawn``: after
    ``fork`` the engine hangs in the child, so the store refuses all calls there.
    """

    def __init__(
        self,
        directory: IndexDirectory,
        layout: Layout,
        shard: Any,
        lock: DirectoryLock,
    ) -> None:
        """Take over an open shard and its lock; for :meth:`create` and :meth:`open`."""
        super().__init__(layout)
        self._directory, self._shard, self._lock = directory, shard, lock
        self._unflushed = 0
        self._total: int | None = None

    @classmethod
    def create(cls, path: str | os.PathLike[str], layout: Layout, owner: int | None = None) -> Self:
        """Create an empty index at ``path``: an absent or empty directory, or an interrupted creation.

        ``owner`` is the process that others find named in the lock, if it is not this one.

        Raises:
            MismatchError: ``path`` is an index already.
            InvalidInputError: ``path`` has other files, or the layout is not possible.
            IndexLockedError: another process uses the directory.
        """
        directory = IndexDirectory(Path(path))
        layout = check_layout(layout)
        directory.check_free_for_index()
        with disk_errors(f"creating an index at {str(path)!r}"):
            directory.root.mkdir(parents=True, exist_ok=True)
            with _locked(directory, owner) as lock:
                directory.check_free_for_index()
                require_space(directory.root, 0)
                engine.remove_unfinished(directory.points)
                shard = engine.create_shard(directory.points, layout)
                write_json(directory.layout, with_checksum(layout_to_json(layout)))
                return cls(directory, layout, shard, lock)

    @classmethod
    def open(cls, path: str | os.PathLike[str], owner: int | None = None) -> Self:
        """Open the index at ``path``; ``owner`` as in :meth:`create`.

        Raises:
            NotFoundError: there is no index, or its creation was interrupted.
            IndexLockedError: it is open already, here or in another process.
            StorageError: the engine cannot read it.
        """
        directory = IndexDirectory(Path(path))
        directory.check_complete()
        with disk_errors(f"opening the index {str(path)!r}"), _locked(directory, owner) as lock:
            layout = layout_from_json(read_checked_json(directory.layout), repr(str(path)))
            if not directory.points.is_dir():
                found = "its directory 'points' is missing"
                raise MismatchError(f"opening the index {str(path)!r}", found, "Restore it from a backup.")
            require_space_to_open(directory.root)
            return cls(directory, layout, engine.load_shard(directory.points), lock)

    @property
    def name(self) -> str:
        """The path of the directory."""
        return str(self._directory.root)

    def read_manifest(self) -> dict[str, Any]:
        """Return the JSON object in ``manifest.json`` ({} if there is no file)."""
        return self._run("read_manifest", lambda: read_json(self._directory.manifest))

    def write_manifest(self, manifest: JsonObject, durable: bool = True) -> None:
        """Replace ``manifest.json``, atomically."""
        self._run("write_manifest", lambda: write_json(self._directory.manifest, manifest, durable))

    def optimize(self) -> bool:
        """Reclaim the space of deleted points; return whether anything changed. It blocks all threads."""
        return self._run("optimize", self._optimize)

    def _optimize(self) -> bool:
        self._unflushed += 1
        return bool(self._shard.optimize())

    def flush(self) -> None:
        """Make all writes durable against power loss."""
        self._run("flush", self._flush)

    def _shut(self) -> None:
        with self._translated("close"):
            self._flush()
            self._shard.close()

    def _release(self) -> None:
        self._shard = None
        self._lock.release()

    # The primitives ----------------------------------------------------------------------------------

    @contextmanager
    def _translated(self, action: str) -> Iterator[None]:
        what = action.replace("_", " ")
        try:
            with disk_errors(f"{what} in {str(self._directory.root)!r}"), engine.translated(action):
                yield
        except EngineDiedError as error:
            # After a panic the engine's memory is undefined; refuse further calls to protect the disk.
            self._refusal = engine_died
            do = "Open it again; what was acknowledged is safe."
            raise EngineDiedError(error.asked, error.found, do) from error

    def _upsert(self, points: Sequence[CheckedPoint]) -> None:
        require_space(self._directory.root, sum(point.size for point in points))
        self._total = None  # before the write: a batch that fails may be written in part
        for chunk in chunks(points, CHUNK_POINTS, CHUNK_BYTES):
            engine.upsert(self._shard, chunk)
            self._wrote(len(chunk))

    def _set_payload(self, points: Sequence[CheckedPoint]) -> None:
        require_space(self._directory.root, sum(point.size for point in points))
        for chunk in chunks(points, CHUNK_POINTS, CHUNK_BYTES):
            engine.set_payload(self._shard, chunk)
            self._wrote(len(chunk))

    def _delete(self, ids: Sequence[PointId] | None, query_filter: Filter | None) -> None:
        require_space(self._directory.root, 0)
        self._total = None
        if ids is not None:
            engine.delete_ids(self._shard, ids)
        else:
            assert query_filter is not None  # noqa: S101 - checked by delete
            engine.delete_where(self._shard, to_edge([query_filter]))
        self._wrote(len(ids or ()) or 1)

    def _wrote(self, points: int) -> None:
        self._unflushed += points
        if self._unflushed >= FLUSH_EVERY:
            self._flush()

    def _flush(self) -> None:
        if self._unflushed:  # a flush changes the engine's files even if nothing was written
            self._shard.flush()
            self._unflushed = 0

    def _retrieve(self, ids: Sequence[PointId], fetch: Fetch) -> list[Point]:
        return engine.retrieve(self._shard, ids, fetch)

    def _nearest(self, search: NearestSearch) -> list[Point]:
        wanted = to_edge(search.filters, search.among) if search.filters or search.among else None
        return engine.nearest(self._shard, search, wanted)

    def _nearest_ids(self, search: NearestSearch) -> NearestIds:
        wanted = to_edge(search.filters, search.among) if search.filters or search.among else None
        return engine.nearest_ids(self._shard, search, wanted)

    def _scroll(self, filters: tuple[Filter, ...], limit: int, cursor: PointId | None, fetch: Fetch) -> Page:
        return engine.scroll(self._shard, _edge_filter(filters), limit, cursor, fetch)

    def _scroll_ordered(
        self, order_by: OrderBy, filters: tuple[Filter, ...], limit: int, fetch: Fetch
    ) -> list[tuple[Point, float]]:
        return engine.scroll_ordered(self._shard, order_by, _edge_filter(filters), limit, fetch)

    def _count(self, query_filter: Filter | None) -> int:
        if query_filter is not None:
            return engine.count(self._shard, _edge_filter((query_filter,)))
        # The engine visits all points to count them (8 ms for 100,000); no other process writes here.
        if self._total is None:
            self._total = engine.count(self._shard, None)
        return self._total

    def _facet(
        self, key: str, value_type: type, query_filter: Filter | None, limit: int, exact: bool
    ) -> list[tuple[str | int | bool, int]]:
        return engine.facet(self._shard, key, _edge_filter((query_filter,) if query_filter else ()), limit)

    def _abandon(self) -> None:
        # Any call of the shard, and its destructor, could hang or do damage.
        ctypes.pythonapi.Py_IncRef(ctypes.py_object(self._shard))
        self._lock.abandon()


def _edge_filter(filters: Sequence[Filter]) -> Any:
    """Return Edge's filter; qdrant_client is not imported if there is nothing to translate."""
    return to_edge(filters) if filters else None


@contextmanager
def _locked(directory: IndexDirectory, owner: int | None) -> Iterator[DirectoryLock]:
    """Take the directory's lock; release it only if the block fails."""
    lock = DirectoryLock(directory.root, owner)
    try:
        yield lock
    except BaseException:
        lock.release()
        raise


@contextmanager
def disk_errors(asked: str) -> Iterator[None]:
    """Convert errors of the file system to StorageError."""
    try:
        yield
    except OSError as error:
        found = f"the file system refused: {error.strerror or error}"
        raise StorageError(asked, found, "Check the path, its permissions and the disk.") from error
