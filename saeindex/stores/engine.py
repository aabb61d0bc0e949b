"""The interface of an engine for ranking and scrolling: parts to fetch, one plain search, and pages."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

from saeindex.protocols import Point
from saeindex.stores.point_checks import PlainVector

if TYPE_CHECKING:
    from qdrant_client.models import Filter

    from saeindex.protocols import Layout, OrderBy, Page, PointId


@dataclass(frozen=True, slots=True)
class NearestIds:
    """The ids of a search, in the engine's type, for ``NearestSearch.among``; and the last score."""

    points: tuple[Any, ...]
    last: float


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


class Engine(Protocol):
    """The part of a store that ranking and scrolling use, such as :class:`saeindex.stores.base.BaseStore`."""

    @property
    def layout(self) -> Layout:
        """The named vectors and payload indexes that the collection was made with."""

    @property
    def prefers_postfilter(self) -> bool:
        """Whether ``SearchRequest.postfilter`` can make a search faster: the engine filters slowly."""

    def fetch(self, with_payload: bool | Sequence[str], with_vectors: bool | Sequence[str]) -> Fetch:
        """Return the parts to fetch of each point; raise InvalidInputError for an unknown vector name."""

    def retrieve(self, ids: Sequence[PointId], fetch: Fetch) -> list[Point]:
        """Return the points of canonical, distinct ``ids`` that exist, in any order."""

    def nearest(self, search: NearestSearch) -> list[Point]:
        """Run one search in the engine: scored points, best first."""

    def nearest_ids(self, search: NearestSearch) -> NearestIds:
        """Run one search that returns only ids, best first."""

    def scroll_by_id(
        self, filters: tuple[Filter, ...], limit: int, cursor: PointId | None, fetch: Fetch
    ) -> Page:
        """Return a page in id order, starting at ``cursor``."""

    def scroll_by_value(
        self, order_by: OrderBy, filters: tuple[Filter, ...], limit: int, fetch: Fetch
    ) -> list[tuple[Point, float]]:
        """Return (point, value) in the order of a field, one row per value of a point."""
