"""What ranking and scrolling ask of an engine: parts to fetch, one plain search, and pages."""

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
    """The ids of a search, as the engine has them and ``Nearest.among`` takes them, and the last score."""

    points: tuple[Any, ...]
    last: float


@dataclass(frozen=True, slots=True)
class Fetch:
    """Which parts of a point to bring: payload (all, none or some keys), and vectors by name."""

    payload: bool | list[str] = False
    vectors: list[str] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class NearestSearch:
    """One search without stages, as an engine does it: every filter in ``filters`` must hold.

    ``above`` is strict (``>``), as engines have it. ``among`` limits the search to some ids.
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
    """A store as ranking and scrolling see it; :class:`saeindex.stores.base.BaseStore` is one."""

    @property
    def layout(self) -> Layout:
        """The named vectors and payload indexes that the collection was made with."""

    @property
    def prefers_postfilter(self) -> bool:
        """Whether ``SearchRequest.postfilter`` can make a search faster: the engine filters slowly."""

    def fetch(self, with_payload: bool | Sequence[str], with_vectors: bool | Sequence[str]) -> Fetch:
        """Return what to bring with each point; raise InvalidInputError for an unknown vector name."""

    def retrieve(self, ids: Sequence[PointId], fetch: Fetch) -> list[Point]:
        """Return the points of canonical, distinct ``ids`` that exist, in any order."""

    def nearest(self, search: NearestSearch) -> list[Point]:
        """Run one search in the engine: scored points, best first."""

    def nearest_ids(self, search: NearestSearch) -> NearestIds:
        """Run one search for the ids alone, best first."""

    def scroll_by_id(
        self, filters: tuple[Filter, ...], limit: int, cursor: PointId | None, fetch: Fetch
    ) -> Page:
        """Return a page in id order, from ``cursor`` on."""

    def scroll_by_value(
        self, order_by: OrderBy, filters: tuple[Filter, ...], limit: int, fetch: Fetch
    ) -> list[tuple[Point, float]]:
        """Return (point, value) in the order of a field, one row per value that a point has."""
