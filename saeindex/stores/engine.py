"""Engines: parts to fetch, one plain search, and the primitives that a store is made of."""

from __future__ import annotations

import threading
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeVar

from saeindex.errors import InvalidInputError
from saeindex.protocols import Include, Layout, OrderBy, Page, PayloadKind, Point, PointId, Turns
from saeindex.stores.point_checks import CheckedPoint, PlainVector
from saeindex.stores.tracing import noted
from saeindex.stores.waiting import NoTurns

if TYPE_CHECKING:
    from qdrant_client.models import Filter


T = TypeVar("T")
# Candidates of a search that is not exact: as many for each page, so that pages agree up to this rank.
BEAM = 1_000


@dataclass(frozen=True, slots=True)
class NearestIds:
    """The ids of a search, in the engine's type, for ``NearestSearch.among``; and their scores."""

    points: tuple[Any, ...]
    scores: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class Fetch:
    """The parts of a point to fetch: payload (all, none or some keys), and vectors by name."""

    payload: bool | list[str] = False
    vectors: list[str] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class NearestSearch:
    """A search without stages, as an engine runs it: a point must match every filter in ``filters``.

    The threshold ``above`` is strict (``>``), as in the engines. ``among`` limits the search to some ids.
    """

    vector: PlainVector
    using: str
    limit: int
    filters: tuple[Filter, ...] = ()
    above: float | None = None
    among: tuple[Any, ...] | None = None
    exact: bool = True
    fetch: Fetch = Fetch()
    timeout: float | None = None


def oversampling(search: NearestSearch) -> float:
    """Return by how many times more points are found in quantized vectors than are kept."""
    return max(1.0, BEAM / search.limit)


class Engine(ABC):
    """What a store is made of: the primitives of one engine, each within its lock, with our errors."""

    turns: Turns = NoTurns()

    def __init__(self, layout: Layout) -> None:
        """Store the layout; engines are opened in the ``open`` and ``create`` of the subclasses."""
        self._layout = layout
        self._mutex: AbstractContextManager[object] = threading.RLock()

    @property
    def layout(self) -> Layout:
        """The named vectors and payload indexes that the collection was made with."""
        return self._layout

    @property
    def prefers_postfilter(self) -> bool:
        """Whether ``SearchRequest.postfilter`` can make a search faster: the engine filters slowly."""
        return False

    def fetch(self, with_payload: Include, with_vectors: Include) -> Fetch:
        """Return the parts to fetch of each point; raise InvalidInputError for an unknown vector name."""
        names = self._layout.names
        payload = with_payload if isinstance(with_payload, bool) else list(with_payload)
        if isinstance(with_vectors, bool):
            return Fetch(payload, names if with_vectors else [])
        unknown = sorted(set(with_vectors) - set(names))
        if unknown:
            found = f"the collection has {names}, not {unknown}"
            raise InvalidInputError("the vectors of a point", found, "Use names of its vectors.")
        return Fetch(payload, list(with_vectors))

    def retrieve(self, ids: Sequence[PointId], fetch: Fetch) -> list[Point]:
        """Return the points of canonical, distinct ``ids`` that exist, in any order."""
        if not ids:
            return []
        return self._run("get", lambda: self._retrieve(ids, fetch), asked=len(ids))

    def nearest(self, search: NearestSearch) -> list[Point]:
        """Run one search in the engine: scored points, best first."""
        return self._run("search", lambda: self._nearest(search), search.using, search.limit)

    def nearest_ids(self, search: NearestSearch) -> NearestIds:
        """Run one search that returns only ids and scores, best first: in a quarter of the time."""
        return self._run("search", lambda: self._nearest_ids(search), search.using, search.limit)

    def scroll_by_id(
        self, filters: tuple[Filter, ...], limit: int, cursor: PointId | None, fetch: Fetch
    ) -> Page:
        """Return a page in id order, starting at ``cursor``."""
        return self._run("scroll", lambda: self._scroll(filters, limit, cursor, fetch), asked=limit)

    def scroll_by_value(
        self, order_by: OrderBy, filters: tuple[Filter, ...], limit: int, fetch: Fetch
    ) -> list[tuple[Point, float]]:
        """Return (point, value) in the order of a field, one row per value of a point."""
        return self._run("scroll", lambda: self._scroll_ordered(order_by, filters, limit, fetch))

    def _run(self, action: str, call: Callable[[], T], what: str = "", asked: int | None = None) -> T:
        self._check_open(action)
        with self._mutex, self._translated(action):
            self._check_open(action)
            return noted(action, call, what, asked)

    @abstractmethod
    def _check_open(self, action: str) -> None:
        """Raise StorageError if the store is no longer usable for ``action``."""

    @abstractmethod
    def _translated(self, action: str) -> AbstractContextManager[None]:
        """Convert the engine's errors to ours."""

    @abstractmethod
    def _upsert(self, points: Sequence[CheckedPoint]) -> None: ...

    @abstractmethod
    def _set_payload(self, points: Sequence[CheckedPoint], within: str | None) -> None: ...

    @abstractmethod
    def _delete(self, ids: Sequence[PointId] | None, query_filter: Filter | None) -> None: ...

    @abstractmethod
    def _retrieve(self, ids: Sequence[PointId], fetch: Fetch) -> list[Point]: ...

    @abstractmethod
    def _nearest(self, search: NearestSearch) -> list[Point]: ...

    def _nearest_ids(self, search: NearestSearch) -> NearestIds:
        points = self._nearest(search)
        return NearestIds(tuple(one.id for one in points), tuple(one.score or 0.0 for one in points))

    @abstractmethod
    def _scroll(
        self, filters: tuple[Filter, ...], limit: int, cursor: PointId | None, fetch: Fetch
    ) -> Page: ...

    @abstractmethod
    def _scroll_ordered(
        self, order_by: OrderBy, filters: tuple[Filter, ...], limit: int, fetch: Fetch
    ) -> list[tuple[Point, float]]: ...

    @abstractmethod
    def _index_payload(self, layout: Layout, key: str, kind: PayloadKind | None) -> None: ...

    @abstractmethod
    def _count(self, query_filter: Filter | None, among: Sequence[PointId] | None = None) -> int: ...

    @abstractmethod
    def _facet(
        self, key: str, value_type: type, query_filter: Filter | None, limit: int, exact: bool
    ) -> list[tuple[str | int | bool, int]]: ...
