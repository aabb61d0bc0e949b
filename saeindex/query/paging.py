"""Rankings of what a hit is: points, or records by their best passage."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Protocol

from saeindex.config import MAX_LIMIT
from saeindex.protocols import Point

if TYPE_CHECKING:
    from saeindex.query.scoring import Scoring

# Beyond this many points no further records, groups or members are looked for.
MAX_REACH = 64 * MAX_LIMIT

# A point and its rank (from 1) before anything was put in another order.
Ranked = tuple[int, Point]


class Ranking(Protocol):
    """A sequence that is read from its start; how far it is read changes nothing in what was read."""

    def first(self, count: int) -> list[Ranked]:
        """Return the first ``count`` of the ranking, fewer where there are no more."""


class ByPoint:
    """Every point of a scoring by itself."""

    def __init__(self, scoring: Scoring, keys: Sequence[str]) -> None:
        """Take the payload fields that are looked at."""
        self._scoring, self._keys = scoring, list(keys)

    def first(self, count: int) -> list[Ranked]:
        """See :class:`Ranking`."""
        return list(enumerate(self._scoring.best(count, payload=self._keys or False), 1))


class ByRecord:
    """One point per record, its best passage."""

    def __init__(self, scoring: Scoring, keys: Sequence[str]) -> None:
        """Take the payload fields that are looked at besides the record's id."""
        self._scoring, self._keys = scoring, ["record_id", *keys]

    def first(self, count: int) -> list[Ranked]:
        """Widen the search until it holds enough different records, or everything that matches."""
        reach = 2 * count
        while True:
            points = self._scoring.best(reach, payload=self._keys)
            best: dict[str, Point] = {}
            for point in points:
                best.setdefault(point.payload["record_id"], point)
            if len(best) >= count or len(points) < reach or reach >= MAX_REACH:
                return list(enumerate(best.values(), 1))[:count]
            reach = min(4 * reach, MAX_REACH)
