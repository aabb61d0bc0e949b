"""The behaviour that is the same for every engine: :class:`BaseStore` checks, ranks and orders.

An engine implements a few primitives (the abstract methods). All points in which engines differ are decided
here: ties, thresholds, zero dot products, fusion, orders, absent ids.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import chain, islice
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self, get_args

from saeindex.errors import InvalidInputError, MismatchError, StorageError
from saeindex.protocols import (
    Include,
    Layout,
    OrderBy,
    Page,
    PayloadKind,
    Point,
    PointId,
    SearchRequest,
    VectorStore,
)
from saeindex.stores.engine import Engine, Fetch
from saeindex.stores.filters import check_filter
from saeindex.stores.point_checks import canonical_id, check_count, check_points
from saeindex.stores.ranking import ordered_page, rank, scores

if TYPE_CHECKING:
    from qdrant_client.models import Filter

    from saeindex.types import JsonObject

FACET_KINDS = frozenset({"keyword", "integer", "integer-range", "bool"})
ORDER_KINDS = frozenset({"integer-range", "float", "datetime"})
PAGE = 1_000
MAX_CHANGES, MAX_CALLS = 16_384, 1_000
LAYOUT_FORMAT = 1
MAX_DIMENSION = 65_536
_FORBIDDEN = frozenset('<>:"/\\|?*\0\x1f')


class Changes:
    """Which points were written or deleted last, in up to 1,000 calls and up to 16,384 points.

    A call is noted before it begins, so what it changed is known also if it fails.
    """

    def __init__(self) -> None:
        self.position = 0
        self._calls: deque[Sequence[PointId]] = deque()

    def note(self, ids: Sequence[PointId] | None) -> None:
        """Note the next call; None for points that are not known."""
        self.position += 1
        if ids is None:
            self._calls.clear()
            return
        self._calls.append(ids)
        while len(self._calls) > MAX_CALLS or sum(map(len, self._calls)) > MAX_CHANGES:
            self._calls.popleft()

    def since(self, position: int) -> frozenset[PointId] | None:
        """Return the points that changed after a ``position``; None if not all of them are known."""
        count = self.position - position
        if count > len(self._calls):
            return None
        return frozenset(chain.from_iterable(islice(self._calls, len(self._calls) - count, None)))


class BaseStore(Engine, VectorStore):
    """A :class:`saeindex.protocols.VectorStore` over the primitives of one engine."""

    def __init__(self, layout: Layout) -> None:
        """Store the layout; nothing has changed yet."""
        super().__init__(layout)
        self.changes = Changes()

    @property
    def stale_after(self) -> float | None:
        """Seconds after which others may have written the manifest; None if nobody else can."""
        return None

    @property
    def has_graph(self) -> bool:
        """Whether a search with ``exact=False`` may use a graph (HNSW) or quantized vectors."""
        return self._layout.quantization is not None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    # The protocol ------------------------------------------------------------------------------------

    def upsert(self, points: Sequence[Point]) -> None:
        """Write points and replace those with the same id; of equal ids in a batch the last is written.

        Raises:
            InvalidPointError: for a point that must not be stored; nothing was written.
            StorageError: the engine failed; a part may be written, and writing all again is safe.
        """
        self._check_open("upsert")
        checked = check_points(points, self._layout)
        if checked:
            self.changes.note([point.id for point in checked])
            self._run("upsert", lambda: self._upsert(checked))

    def set_payload(self, payloads: Mapping[PointId, JsonObject], within: str | None = None) -> set[PointId]:
        """Replace some keys of payloads, by the points' ids, or remove those that are None; others stay.

        The keys are those of the object ``within`` the payload, if that is named. Return the ids of the
        points that are there.

        Raises:
            InvalidPointError: for a payload that must not be stored; nothing was written.
            StorageError: the engine failed; a part may be written, and writing all again is safe.
        """
        self._check_open("set_payload")
        whole = {id(one): one if within is None else {within: one} for one in payloads.values()}
        checked = check_points(
            [Point(own, {}, whole[id(one)]) for own, one in payloads.items()], self._layout
        )
        there = {point.id for point in self.retrieve([point.id for point in checked], Fetch())}
        found = [point for point in checked if point.id in there]  # engines differ in what they say of others
        if found:
            self.changes.note([point.id for point in found])
            self._run("set_payload", lambda: self._set_payload(found, within))
        return there

    def delete(self, ids: Sequence[PointId] | None = None, query_filter: Filter | None = None) -> None:
        """Delete by ids or by filter (exactly one of them); absent ids are no error."""
        self._check_open("delete")
        if (ids is None) == (query_filter is None):
            raise InvalidInputError(
                "a delete",
                "it has both ids and a filter" if ids is not None else "it has neither ids nor a filter",
                "Give exactly one of them.",
            )
        check_filter(query_filter)
        wanted = None if ids is None else list(dict.fromkeys(map(canonical_id, ids)))
        if wanted is None or wanted:
            self.changes.note(wanted)
            self._run("delete", lambda: self._delete(wanted, query_filter))

    def get(
        self, ids: Sequence[PointId], with_payload: Include = True, with_vectors: Include = False
    ) -> list[Point]:
        """Return the points that exist, in the order of ``ids``; a repeated id gives a repeated point."""
        self._check_open("get")
        wanted = [canonical_id(each) for each in ids]
        fetch = self.fetch(with_payload, with_vectors)
        found = {point.id: point for point in self.retrieve(list(dict.fromkeys(wanted)), fetch)}
        return [found[point_id] for point_id in wanted if point_id in found]

    def scroll(
        self,
        query_filter: Filter | None = None,
        limit: int = 256,
        cursor: PointId | None = None,
        order_by: OrderBy | None = None,
        with_payload: Include = True,
        with_vectors: Include = False,
    ) -> Page:
        """Return a page in id order, or the first ``limit`` points in the order of a field (no cursor).

        Integers come before UUIDs. A point with several values in the field is sorted by its best value;
        points without a value are left out; equal values are in id order.
        """
        self._check_open("scroll")
        check_filter(query_filter)
        check_count("a scroll", "limit", limit, 1)
        filters = () if query_filter is None else (query_filter,)
        fetch = self.fetch(with_payload, with_vectors)
        if order_by is None:
            start = None if cursor is None else canonical_id(cursor)
            return self.scroll_by_id(filters, limit, start, fetch)
        self._check_kind("an ordered scroll", order_by.key, ORDER_KINDS)
        if cursor is not None:
            raise InvalidInputError("an ordered scroll", "it has a cursor", "Raise the limit instead.")
        return Page(ordered_page(self, order_by, filters, limit, fetch), None)

    def count(self, query_filter: Filter | None = None, among: Sequence[PointId] | None = None) -> int:
        """Return the exact number of matching points, of those ``among`` if ids are given."""
        self._check_open("count")
        check_filter(query_filter)
        ids = None if among is None else tuple(map(canonical_id, among))
        return self._run("count", lambda: self._count(query_filter, ids))

    def index_payload(self, key: str, kind: PayloadKind | None) -> None:
        """Make an index of a payload field, in place of the one it has, or remove that (None)."""
        self._check_open("index_payload")
        former = dict(self._layout.payload_indexes)
        others = {name: one for name, one in former.items() if name != key}
        layout = check_layout(replace(self._layout, payload_indexes=others | ({key: kind} if kind else {})))
        if kind != former.get(key):
            self._run("index_payload", lambda: self._index_payload(layout, key, kind))
            self._layout = layout

    def facet(
        self, key: str, query_filter: Filter | None = None, limit: int = 10, approximate: bool = False
    ) -> list[tuple[str | int | bool, int]]:
        """Return (value, number of points) of an indexed field, most frequent first, then by value.

        ``approximate`` lets a server count faster and slightly inexactly.
        """
        self._check_open("facet")
        check_filter(query_filter)
        check_count("a facet", "limit", limit, 1)
        kind = self._check_kind("a facet", key, FACET_KINDS)
        value_type = {"keyword": str, "bool": bool}.get(kind, int)
        exact = not approximate
        return self._run("facet", lambda: self._facet(key, value_type, query_filter, limit, exact), key)

    def search(self, request: SearchRequest) -> list[Point]:
        """Return scored points, best first, equal scores in id order; scores are float32.

        Ties are in id order to the end of the page, if at most 16,384 points share its last score.
        """
        self._check_open("search")
        return rank(self, request)

    def scores(self, request: SearchRequest) -> dict[Any, float]:
        """See :class:`saeindex.protocols.VectorStore`."""
        self._check_open("search")
        return scores(self, request)

    def _check_kind(self, asked: str, key: str, kinds: frozenset[str]) -> str:
        kind = self._layout.payload_indexes.get(key)
        if kind not in kinds:
            found = f"it is indexed as {kind!r}" if kind else "it has no index"
            do = f"Create the collection with a {' or '.join(sorted(kinds))} index on it."
            raise InvalidInputError(f"{asked} on {key!r}", found, do)
        return kind


def closed_error(action: str) -> StorageError:
    """Return the error for the use of a closed store."""
    return StorageError(f"{action} on a store", "it was closed", "Open it again.")


def pages(
    store: VectorStore,
    query_filter: Filter | None = None,
    size: int = PAGE,
    with_payload: Include = True,
    with_vectors: Include = False,
) -> Iterator[Page]:
    """Yield all matching points in id order, page by page; one empty page if there are none."""
    cursor = None
    while True:
        page = store.scroll(query_filter, size, cursor, with_payload=with_payload, with_vectors=with_vectors)
        yield page
        if (cursor := page.cursor) is None:
            return


def first_points(
    store: VectorStore, minimum: int, size: int, with_payload: Include = True, with_vectors: Include = False
) -> list[Point]:
    """Return the first points in id order: whole pages until there are at least ``minimum`` points."""
    points: list[Point] = []
    for page in pages(store, None, size, with_payload, with_vectors):
        points.extend(page.points)
        if len(points) >= minimum:
            break
    return points


# Layouts ----------------------------------------------------------------------------------------------


def check_layout(layout: Layout) -> Layout:
    """Return ``layout`` with plain containers; raise InvalidInputError if an engine would refuse it."""
    names = layout.names
    if not names:
        raise _refused_layout("there is no vector", "Name at least one dense or sparse vector.")
    if len(set(names)) < len(names):
        raise _refused_layout(f"a name is used twice in {names}", "Use a different name for every vector.")
    for name in names:
        _check_name(name)
    for name, dimension in {**layout.dense, **layout.multi}.items():
        if isinstance(dimension, bool) or not isinstance(dimension, int):
            raise _refused_layout(f"the dimension of {name!r} is {dimension!r}", "Give it as an int.")
        if not 1 <= dimension <= MAX_DIMENSION:
            raise _refused_layout(f"{name!r} has {dimension} dimensions", f"Use 1 to {MAX_DIMENSION}.")
    for key, kind in layout.payload_indexes.items():
        if kind not in get_args(PayloadKind):
            raise _refused_layout(
                f"{key!r} is to be indexed as {kind!r}", f"Use one of {get_args(PayloadKind)}."
            )
    own = dict(layout.dense), tuple(layout.sparse), dict(layout.payload_indexes), dict(layout.multi)
    return Layout(*own, layout.quantization)


def layout_to_json(layout: Layout) -> dict[str, Any]:
    """Return the layout as a JSON object for :func:`layout_from_json`."""
    described: dict[str, Any] = {
        "format": LAYOUT_FORMAT,
        "dense": dict(layout.dense),
        "sparse": list(layout.sparse),
        "payload_indexes": dict(layout.payload_indexes),
    }
    described |= {"multi": dict(layout.multi)} if layout.multi else {}
    return described | ({"quantization": layout.quantization} if layout.quantization else {})


def layout_from_json(kept: Mapping[str, Any], where: str) -> Layout:
    """Return the layout stored at ``where``; raise MismatchError if this version cannot read it."""
    found = kept.get("format")
    if found != LAYOUT_FORMAT:
        raise MismatchError(
            f"the layout of {where}",
            f"its format is {found!r}, not {LAYOUT_FORMAT}",
            "Upgrade saeindex to open it.",
        )
    multi = dict(kept.get("multi", {}))
    own = dict(kept["dense"]), tuple(kept["sparse"]), dict(kept["payload_indexes"]), multi
    return Layout(*own, kept.get("quantization"))


def _check_name(name: object) -> None:
    if not isinstance(name, str) or not name or name in {".", ".."}:
        raise _refused_layout(f"a vector is named {name!r}", "Use a short text.")
    if len(name.encode(errors="replace")) > 200 or not name.isprintable() or _FORBIDDEN & set(name):
        raise _refused_layout(f"a vector is named {name!r}", "Use at most 200 letters, digits, '_' and '-'.")


def _refused_layout(found: str, do: str) -> InvalidInputError:
    return InvalidInputError("a collection layout", found, do)
