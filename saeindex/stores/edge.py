"""The embedded store: Qdrant Edge in a directory, with protection against its hazards.

Only this file uses the engine's positional arguments, types and bare exceptions.
"""

from __future__ import annotations

import ctypes
import os
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from operator import attrgetter
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from saeindex.errors import (
    DamageError,
    EngineDiedError,
    IndexLockedError,
    InvalidInputError,
    MismatchError,
    SaeIndexError,
    StorageError,
)
from saeindex.files import with_checksum
from saeindex.protocols import Layout, OrderBy, Page, PayloadKind, Point, PointId
from saeindex.stores.base import check_layout, layout_from_json, layout_to_json
from saeindex.stores.directory import (
    RESTORE,
    DirectoryLock,
    EmbeddedStore,
    IndexDirectory,
    engine_died,
    read_checked_json,
    read_json,
    require_space,
    write_json,
)
from saeindex.stores.engine import Fetch, NearestIds, NearestSearch, oversampling
from saeindex.stores.filters import to_edge
from saeindex.stores.point_checks import CheckedPoint, of_same_payload, to_id, to_point
from saeindex.types import JsonObject, runs

if TYPE_CHECKING:
    from qdrant_client.models import Filter


# Points between two flushes: the log survives `kill -9`, but a power cut can lose at most so many points.
FLUSH_EVERY = 1_000
# Points of a chunk: it holds the GIL for about 40 ms, and is far smaller than the log's segments of 32 MB.
CHUNK_POINTS = 1_000
CHUNK_BYTES = 16 * 1024 * 1024
# KB of vectors from which on :meth:`EdgeStore.optimize` makes files of a segment's indexes, which are else
# made anew in memory at each opening (100,000 records with sentences: 9 s and 550 MB, then .3 s and 50 MB).
# They have no HNSW: its filtered searches lose results silently, and building it blocks for minutes.
# Fewer segments than so many are not merged, which would write all points again.
INDEXING_THRESHOLD_KB, SEGMENTS = 2_000, 64
# Points from which on a facet of all goes by points.
MANY_POINTS = 20_000


class EdgeStore(EmbeddedStore):
    """A collection in a directory that one process owns; use :meth:`create` or :meth:`open`.

    Searches are exact scans (10 ms for 100,000 vectors of 384 dimensions). An acknowledged write survives
    ``kill -9``; :meth:`flush`, which also runs every 1,000 points and at close, makes it survive a power cut.
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
        super().__init__(layout, directory.root)
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
                remove_unfinished(directory.points)
                shard = create_shard(directory.points, layout)
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
            require_space(directory.root, None)
            return cls(directory, layout, load_shard(directory.points), lock)

    def read_manifest(self) -> dict[str, Any]:
        """Return the JSON object in ``manifest.json`` ({} if there is no file)."""
        return self._run("read_manifest", lambda: read_json(self._directory.manifest))

    def write_manifest(self, manifest: JsonObject, durable: bool = True) -> None:
        """Replace ``manifest.json``, atomically."""
        self._run("write_manifest", lambda: write_json(self._directory.manifest, manifest, durable))

    def optimize(self) -> bool:
        """Reclaim the space of deleted points, and make files of indexes; return whether anything changed.

        It takes .3 s for 1,000 records with sentences, and blocks all threads. Points stay as they are.
        """

        def run() -> bool:
            self._flush()
            has_changed = bool(self._shard.optimize())
            self._shard.flush()  # else, after a kill, the log is replayed, and facets count points twice
            return has_changed

        return self._run("optimize", run)

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
            with disk_errors(f"{what} in {self.name!r}"), engine_errors(action):
                yield
        except EngineDiedError as error:
            # After a panic the engine's memory is undefined; refuse further calls to protect the disk.
            self._refusal = engine_died
            do = "Open it again; what was acknowledged is safe."
            raise EngineDiedError(error.asked, error.found, do) from error

    def _upsert(self, points: Sequence[CheckedPoint]) -> None:
        import qdrant_edge as edge

        require_space(self._directory.root, sum(point.size for point in points))
        self._total = None  # before the write: a batch that fails may be written in part
        for chunk in runs(points, attrgetter("size"), CHUNK_BYTES, CHUNK_POINTS):
            rows = []
            for point in chunk:
                vectors: dict[str, Any] = {name: _query(vector) for name, vector in point.vectors.items()}
                rows.append(edge.Point(point.id, vectors, point.payload))
            self._shard.update(edge.UpdateOperation.upsert_points(rows))
            self._wrote(len(chunk))

    def _set_payload(self, points: Sequence[CheckedPoint], within: str | None) -> None:
        import qdrant_edge as edge

        require_space(self._directory.root, sum(point.size for point in points))
        for chunk in runs(points, attrgetter("size"), CHUNK_BYTES, CHUNK_POINTS):
            for ids, payload in of_same_payload(chunk, within):
                self._shard.update(edge.UpdateOperation.set_payload(ids, payload, within))
            self._wrote(len(chunk))

    def _delete(self, ids: Sequence[PointId] | None, query_filter: Filter | None) -> None:
        import qdrant_edge as edge

        require_space(self._directory.root, 0)
        self._total = None
        if ids is not None:
            self._shard.update(edge.UpdateOperation.delete_points(list(ids)))
        else:
            assert query_filter is not None  # noqa: S101 - checked by delete
            self._shard.update(edge.UpdateOperation.delete_points_by_filter(to_edge([query_filter])))
        self._wrote(len(ids or ()) or 1)

    def _wrote(self, points: int) -> None:
        self._unflushed += points
        self.written += points
        if self._unflushed >= FLUSH_EVERY:
            self._flush()

    def _flush(self) -> None:
        if self._unflushed:  # a flush changes the engine's files even if nothing was written
            self._shard.flush()
            self._unflushed = 0

    def _retrieve(self, ids: Sequence[PointId], fetch: Fetch) -> list[Point]:
        return [
            to_point(row) for row in self._shard.retrieve(list(ids), fetch.payload, fetch.vectors or False)
        ]

    def _nearest(self, search: NearestSearch) -> list[Point]:
        return [to_point(row, row.score) for row in self._rows(search)]

    def _nearest_ids(self, search: NearestSearch) -> NearestIds:
        rows = self._rows(search)
        return NearestIds(tuple(row.id for row in rows), tuple(row.score for row in rows))

    def _rows(self, search: NearestSearch) -> list[Any]:
        """Search once; filtered searches are always exact scans (see INDEXING_THRESHOLD_KB)."""
        import qdrant_edge as edge

        wanted = to_edge(search.filters, search.among)
        request = edge.QueryRequest(
            limit=search.limit,
            query=edge.Query.Nearest(_query(search.vector), search.using),
            filter=wanted,
            score_threshold=search.above,
            params=edge.SearchParams(
                exact=search.exact or wanted is not None,
                quantization=edge.QuantizationSearchParams(rescore=True, oversampling=oversampling(search)),
            ),
            with_payload=search.fetch.payload,
            with_vector=search.fetch.vectors or False,
        )
        rows: list[Any] = self._shard.query(request)
        return rows

    def _scroll(self, filters: tuple[Filter, ...], limit: int, cursor: PointId | None, fetch: Fetch) -> Page:
        rows, following = self._scrolled(filters, limit, fetch, offset=cursor)
        return Page([to_point(row) for row in rows], None if following is None else to_id(following))

    def _scroll_ordered(
        self, order_by: OrderBy, filters: tuple[Filter, ...], limit: int, fetch: Fetch
    ) -> list[tuple[Point, float]]:
        import qdrant_edge as edge

        # Datetimes are microseconds since 1970.
        direction = edge.Direction.Desc if order_by.descending else edge.Direction.Asc
        rows, _ = self._scrolled(filters, limit, fetch, order_by=edge.OrderBy(order_by.key, direction))
        return [(to_point(row), row.order_value) for row in rows]

    def _scrolled(self, filters: tuple[Filter, ...], limit: int, fetch: Fetch, **options: Any) -> Any:
        import qdrant_edge as edge

        return self._shard.scroll(
            edge.ScrollRequest(
                limit=limit,
                filter=to_edge(filters),
                with_payload=fetch.payload,
                with_vector=fetch.vectors or False,
                **options,
            )
        )

    def _count(self, query_filter: Filter | None, among: Sequence[PointId] | None = None) -> int:
        filters = () if query_filter is None else (query_filter,)
        if (wanted := to_edge(filters, among)) is not None:
            return _counted(self._shard, wanted)
        # The engine visits all points to count them (8 ms for 100,000); no other process writes here.
        if self._total is None:
            self._total = _counted(self._shard)
        return self._total

    def _index_payload(self, layout: Layout, key: str, kind: PayloadKind | None) -> None:
        import qdrant_edge as edge

        # After a kill the layout names no index that the engine lacks.
        if key in self._layout.payload_indexes:
            others = {name: one for name, one in layout.payload_indexes.items() if name != key}
            write_json(
                self._directory.layout,
                with_checksum(layout_to_json(replace(layout, payload_indexes=others))),
            )
            self._shard.update(edge.UpdateOperation.delete_field_index(key))
        if kind is not None:
            self._shard.update(edge.UpdateOperation.create_field_index(key, _index_of(edge, kind)))
        self._shard.flush()
        write_json(self._directory.layout, with_checksum(layout_to_json(layout)))
        self._layout = layout

    def _facet(
        self, key: str, value_type: type, query_filter: Filter | None, limit: int, exact: bool
    ) -> list[tuple[str | int | bool, int]]:
        import qdrant_edge as edge

        # With exact=False one shard counts exactly, too, and 40 to 200 times faster (the conformance suite
        # checks it).
        wanted = to_edge((query_filter,) if query_filter else ())
        if wanted is None and self._layout.payload_indexes[key].startswith("integer"):
            # Of an index that is files, points are read in a fifth of the time of its values.
            every = edge.Filter(must_not=[edge.HasIdCondition(set())])
            wanted = every if self._count(None) > MANY_POINTS else None
        hits = self._shard.facet(edge.FacetRequest(key, limit, False, wanted)).hits
        return [(hit.value, hit.count) for hit in hits]

    def _abandon(self) -> None:
        # Any call of the shard, and its destructor, could hang or do damage.
        ctypes.pythonapi.Py_IncRef(ctypes.py_object(self._shard))
        self._lock.abandon()


def _query(vector: Any) -> Any:
    """Return a checked vector as the engine takes it."""
    import qdrant_edge as edge

    return edge.SparseVector(*vector) if isinstance(vector, tuple) else vector


def _counted(shard: Any, query_filter: Any = None) -> int:
    import qdrant_edge as edge

    return int(shard.count(edge.CountRequest(exact=True, filter=query_filter)))


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


@contextmanager
def engine_errors(action: str) -> Iterator[None]:
    """Convert Edge's bare exceptions, and its panics (a BaseException), to ours."""
    try:
        yield
    except (SaeIndexError, OSError):
        raise
    except (ValueError, TypeError, OverflowError) as error:
        # Only its conversion of Python arguments raises these, for example for an invalid JSON path.
        raise InvalidInputError(
            action, f"the engine refused: {_line(error)}", "Correct the value."
        ) from error
    except Exception as error:
        raise _engine_error(action, error) from error
    except BaseException as error:
        if type(error).__name__ != "PanicException":
            raise
        found = f"the engine crashed: {_line(error)}"
        raise EngineDiedError(action, found, "Close the store and open it again.") from error


def _engine_error(action: str, error: Exception) -> SaeIndexError:
    text = _line(error)
    if "WouldBlock" in text:
        found = "another process uses the engine's files directly"
        return IndexLockedError(action, found, "Close it there first.")
    if "No space left" in text:
        return StorageError(action, "the disk is full", "Free some space, then open the store again.")
    return StorageError(
        action, f"the engine refused: {text}", "Repeat it; if it fails again, run `saeindex doctor` on it."
    )


def _line(error: BaseException) -> str:
    return next(iter(str(error).splitlines()), type(error).__name__)[:300]


# The shard --------------------------------------------------------------------------------------------


def create_shard(points: Path, layout: Layout) -> Any:
    """Create the engine's files in the new directory ``points``, with every payload index, flushed."""
    import qdrant_edge as edge

    small = edge.ScalarQuantizationConfig(edge.ScalarType.Int8) if layout.quantization else None
    dense = {
        name: edge.EdgeVectorParams(size, edge.Distance.Cosine, quantization_config=small)
        for name, size in layout.dense.items()
    }
    max_sim = edge.MultiVectorConfig(edge.MultiVectorComparator.MaxSim)
    multi = {
        name: edge.EdgeVectorParams(
            size, edge.Distance.Cosine, multivector_config=max_sim,
            datatype=edge.VectorStorageDatatype.Turbo8,
            memory=edge.Memory.Cached,  # on disk, and read ahead: the first search takes 20 ms, not 3 s
        )
        for name, size in layout.multi.items()
    }  # fmt: skip
    config = edge.EdgeConfig(
        vectors=dense | multi,
        sparse_vectors={name: edge.EdgeSparseVectorParams() for name in layout.sparse},
        hnsw_config=edge.HnswIndexConfig(m=0, ef_construct=4, full_scan_threshold=10),
        optimizers=edge.EdgeOptimizersConfig(
            indexing_threshold=INDEXING_THRESHOLD_KB, default_segment_number=SEGMENTS
        ),
        wal_enabled=True,
    )
    points.mkdir()
    with engine_errors("creating an index"):
        shard = edge.EdgeShard.create(str(points), config)
        for key, kind in layout.payload_indexes.items():
            shard.update(edge.UpdateOperation.create_field_index(key, _index_of(edge, kind)))
        shard.flush()
    return shard


def load_shard(points: Path) -> Any:
    """Open the engine's files; raise DamageError if that fails."""
    import qdrant_edge as edge

    try:
        with engine_errors(f"opening {str(points)!r}"):
            return edge.EdgeShard.load(str(points))
    except IndexLockedError:
        raise
    except StorageError as error:
        raise DamageError(error.asked, error.found, RESTORE) from error


def remove_unfinished(points: Path) -> None:
    """Remove the files of an interrupted creation; raise an error if they have points."""
    if not points.exists():
        return
    try:
        shard = load_shard(points)
        n_points = _counted(shard)
        shard.close()
    except IndexLockedError:
        raise
    except StorageError:
        n_points = 0  # too incomplete to open, so no point was ever written
    if n_points:
        raise MismatchError(
            f"creating an index at {str(points.parent)!r}",
            f"it has {n_points:,} points, but no layout.json",
            f"{RESTORE} Or choose another path.",
        )
    shutil.rmtree(points)


def _index_of(edge: Any, kind: str) -> Any:
    if kind in (plain := {"float": edge.FloatIndexParams, "bool": edge.BoolIndexParams}):
        return plain[kind]()
    on_disk = {"memory": edge.Memory.Cold}
    if kind == "text":
        # Unindexed text matching uses the word tokenizer too: an index must not change the result.
        words = edge.TokenizerType.Word
        return edge.TextIndexParams(tokenizer=words, lowercase=True, phrase_matching=True, **on_disk)
    if kind.startswith("integer"):
        return edge.IntegerIndexParams(lookup=True, range=kind == "integer-range", **on_disk)
    kinds = {"keyword": edge.KeywordIndexParams, "datetime": edge.DatetimeIndexParams}
    return kinds[kind](**on_disk)
