"""The calls of Qdrant Edge: only this file uses its positional arguments, types and bare exceptions."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from saeindex.errors import (
    DamageError,
    EngineDiedError,
    IndexLockedError,
    InvalidInputError,
    MismatchError,
    SaeIndexError,
    StorageError,
)
from saeindex.protocols import Layout, OrderBy, Page, Point, PointId
from saeindex.stores.directory import RESTORE
from saeindex.stores.engine import Fetch, NearestIds, NearestSearch
from saeindex.stores.point_checks import CheckedPoint, to_id, to_point

# No HNSW: its filtered searches lose results silently, and building it blocks the process for minutes.
INDEXING_THRESHOLD_KB = 10**9


@contextmanager
def translated(action: str) -> Iterator[None]:
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

    dense = {name: edge.EdgeVectorParams(size, edge.Distance.Cosine) for name, size in layout.dense.items()}
    max_sim = edge.MultiVectorConfig(edge.MultiVectorComparator.MaxSim)
    multi = {
        name: edge.EdgeVectorParams(
            size, edge.Distance.Cosine, on_disk=True, multivector_config=max_sim,
            datatype=edge.VectorStorageDatatype.Turbo8,
        )
        for name, size in layout.multi.items()
    }  # fmt: skip
    config = edge.EdgeConfig(
        vectors=dense | multi,
        sparse_vectors={name: edge.EdgeSparseVectorParams() for name in layout.sparse},
        optimizers=edge.EdgeOptimizersConfig(indexing_threshold=INDEXING_THRESHOLD_KB),
        wal_enabled=True,
    )
    points.mkdir()
    with translated("creating an index"):
        shard = edge.EdgeShard.create(str(points), config)
        for key, kind in layout.payload_indexes.items():
            shard.update(edge.UpdateOperation.create_field_index(key, _index_of(edge, kind)))
        shard.flush()
    return shard


def load_shard(points: Path) -> Any:
    """Open the engine's files; raise DamageError if that fails."""
    import qdrant_edge as edge

    try:
        with translated(f"opening {str(points)!r}"):
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
        n_points = count(shard, None)
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
    indexes = {
        "keyword": edge.KeywordIndexParams,
        "float": edge.FloatIndexParams,
        "bool": edge.BoolIndexParams,
        "datetime": edge.DatetimeIndexParams,
    }
    if kind == "text":
        # Unindexed text matching uses the word tokenizer too: an index must not change the result.
        return edge.TextIndexParams(tokenizer=edge.TokenizerType.Word, lowercase=True, phrase_matching=True)
    if kind in indexes:
        return indexes[kind]()
    return edge.IntegerIndexParams(lookup=True, range=kind == "integer-range")


# Writing ----------------------------------------------------------------------------------------------


def upsert(shard: Any, points: Sequence[CheckedPoint]) -> None:
    """Write checked points."""
    import qdrant_edge as edge

    rows = []
    for point in points:
        vectors: dict[str, Any] = {
            name: edge.SparseVector(*vector) if isinstance(vector, tuple) else vector
            for name, vector in point.vectors.items()
        }
        rows.append(edge.Point(point.id, vectors, point.payload))
    shard.update(edge.UpdateOperation.upsert_points(rows))


def set_payload(shard: Any, points: Sequence[CheckedPoint]) -> None:
    """Replace the keys of payloads that checked points have, which are there."""
    import qdrant_edge as edge

    for point in points:
        shard.update(edge.UpdateOperation.set_payload([point.id], point.payload))


def delete_ids(shard: Any, ids: Sequence[PointId]) -> None:
    """Delete points by id; absent ids are no error."""
    import qdrant_edge as edge

    shard.update(edge.UpdateOperation.delete_points(list(ids)))


def delete_where(shard: Any, query_filter: Any) -> None:
    """Delete the points that match."""
    import qdrant_edge as edge

    shard.update(edge.UpdateOperation.delete_points_by_filter(query_filter))


# Reading ----------------------------------------------------------------------------------------------


def retrieve(shard: Any, ids: Sequence[PointId], fetch: Fetch) -> list[Point]:
    """Return the points that exist."""
    return [to_point(row) for row in shard.retrieve(list(ids), fetch.payload, fetch.vectors or False)]


def nearest(shard: Any, search: NearestSearch, query_filter: Any) -> list[Point]:
    """Search once; filtered searches are always exact scans (see INDEXING_THRESHOLD_KB)."""
    return [to_point(row, row.score) for row in _nearest(shard, search, query_filter)]


def nearest_ids(shard: Any, search: NearestSearch, query_filter: Any) -> NearestIds:
    """Search once for the engine's ids only, in a quarter of the time of a search for points."""
    rows = _nearest(shard, search, query_filter)
    return NearestIds(tuple(row.id for row in rows), rows[-1].score if rows else 0.0)


def _nearest(shard: Any, search: NearestSearch, query_filter: Any) -> list[Any]:
    import qdrant_edge as edge

    vector = search.vector
    query = edge.SparseVector(*vector) if isinstance(vector, tuple) else vector
    request = edge.QueryRequest(
        limit=search.limit,
        query=edge.Query.Nearest(query, search.using),
        filter=query_filter,
        score_threshold=search.above,
        params=edge.SearchParams(exact=search.exact or query_filter is not None),
        with_payload=search.fetch.payload,
        with_vector=search.fetch.vectors or False,
    )
    rows: list[Any] = shard.query(request)
    return rows


def scroll(shard: Any, query_filter: Any, limit: int, cursor: PointId | None, fetch: Fetch) -> Page:
    """Return a page in id order."""
    import qdrant_edge as edge

    request = edge.ScrollRequest(
        offset=cursor,
        limit=limit,
        filter=query_filter,
        with_payload=fetch.payload,
        with_vector=fetch.vectors or False,
    )
    rows, following = shard.scroll(request)
    return Page([to_point(row) for row in rows], None if following is None else to_id(following))


def scroll_ordered(
    shard: Any, order_by: OrderBy, query_filter: Any, limit: int, fetch: Fetch
) -> list[tuple[Point, float]]:
    """Return (point, value) in the order of a field; datetimes as microseconds since 1970."""
    import qdrant_edge as edge

    direction = edge.Direction.Desc if order_by.descending else edge.Direction.Asc
    request = edge.ScrollRequest(
        limit=limit,
        filter=query_filter,
        with_payload=fetch.payload,
        with_vector=fetch.vectors or False,
        order_by=edge.OrderBy(order_by.key, direction),
    )
    return [(to_point(row), row.order_value) for row in shard.scroll(request)[0]]


def count(shard: Any, query_filter: Any) -> int:
    """Return the exact number of points that match."""
    import qdrant_edge as edge

    return int(shard.count(edge.CountRequest(exact=True, filter=query_filter)))


def facet(shard: Any, key: str, query_filter: Any, limit: int) -> list[tuple[str | int | bool, int]]:
    """Return value counts, in the engine's order: by count, then value.

    On Edge ``exact=False`` gives exact counts, since one shard counts everything, and is 40 to 200 times
    faster than ``exact=True``. The conformance suite checks this.
    """
    import qdrant_edge as edge

    hits = shard.facet(edge.FacetRequest(key, limit, False, query_filter)).hits
    return [(hit.value, hit.count) for hit in hits]
