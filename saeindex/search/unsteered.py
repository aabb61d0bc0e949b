"""What steering did to a hit: where it stood without it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from saeindex.search.fusion import Fused
from saeindex.types import SteeringEffect

if TYPE_CHECKING:
    from saeindex.protocols import Point
    from saeindex.search.grouping import Ranked, Ranking
    from saeindex.search.retrieval import Scoring

# Ranks are exact within the first thousand; one request finds them.
RANKED = 1_000


class Unsteered:
    """The ranking that the same query has without its steering."""

    def __init__(self, scoring: Scoring, ranking: Ranking, by_record: bool) -> None:
        """Rank the first thousand; ``by_record`` where passages of a record stand as one."""
        self._scoring, self._by_record = scoring, by_record
        self._places = {self._key(p): (rank, float(p.score or 0.0)) for rank, p in ranking.first(RANKED)}

    def effect(self, ranked: Ranked) -> SteeringEffect:
        """Return what a hit's rank and score were, and are."""
        rank, point = ranked
        place = self._places.get(self._key(point))
        before = place[1] if place else None
        if place is None and not isinstance(self._scoring, Fused):
            before = self._scoring.explain(point).total
        return SteeringEffect(place and place[0], before, rank, float(point.score or 0.0))

    def _key(self, point: Point) -> object:
        return point.payload["record_id"] if self._by_record else point.id
