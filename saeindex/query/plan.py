"""The plan: what a query becomes before the store sees it, and how it reads."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from saeindex.types import Query

if TYPE_CHECKING:
    from qdrant_client.models import Filter

    from saeindex.protocols import SparseVector
    from saeindex.query.ast import Expression
    from saeindex.query.concepts import Concept
    from saeindex.query.feedback import Feedback
    from saeindex.query.property import PropertyRanking
    from saeindex.query.steering import ResolvedSteer
    from saeindex.types import FloatArray


SHOWN_PARTS = 6


@dataclass(frozen=True, slots=True, eq=False)
class Plan:
    """What will run; ``print(plan)`` reads it out.

    ``vector`` is the steered query (d,), ``code`` its sparse form where that is not just its code,
    ``rescorer`` the second pass of a property.
    """

    query: Query
    vector: FloatArray
    where: Expression | None
    concepts: tuple[Concept, ...]
    steers: tuple[ResolvedSteer, ...]
    query_filter: Filter | None
    drift: float
    matching: int
    total: int
    code: SparseVector | None = None
    rescorer: PropertyRanking | None = None

    @property
    def feedback(self) -> Feedback | None:
        """What a property search inferred, None for other searches."""
        return None if self.rescorer is None else self.rescorer.shown

    def to_json(self) -> dict[str, Any]:
        """Return the plan as a JSON object."""
        return {
            "using": self.query.using,
            "exact": True,
            "where": None if self.where is None else self.where.model_dump(mode="json"),
            "concepts": [asdict(concept) for concept in self.concepts],
            "steer": [{**s.direction.to_json(), "strength": s.strength} for s in self.steers],
            "feedback": None if self.feedback is None else self.feedback.model_dump(mode="json"),
            "drift": self.drift,
            "filter": self.query_filter and self.query_filter.model_dump(mode="json", exclude_none=True),
            "matching_points": self.matching,
            "total_points": self.total,
            "limit": self.query.limit,
            "offset": self.query.offset,
        }

    def __str__(self) -> str:
        return "\n".join([self._headline(), *self._selection(), *self._steering(), *self._inference()])

    def _headline(self) -> str:
        query = self.query
        asked = f" for {query.text!r}" if query.text.strip() else ""
        if self.rescorer is not None:
            asked += f" by {self.rescorer.feedback.description or 'examples'!r}"
        verb = "Search" if asked else "List"
        return f"{verb} {query.using!r}{asked}, limit {query.limit}, exact"

    def _selection(self) -> list[str]:
        lines = []
        if self.query_filter is not None:
            share = f"{self.matching / max(1, self.total):.0%}"
            lines.append(f"  Filter: {self.matching:,} of {self.total:,} points match ({share})")
        for concept in self.concepts:
            named = ", ".join(f"{m.shown} {m.score:.2f}" for m in concept.features)
            how: str = concept.resolved
            if concept.precision is not None and concept.recall is not None:
                how += f", expected precision {concept.precision:.2f}, recall {concept.recall:.2f}"
            lines.append(f"  Concept {concept.phrase!r} ({how}) = {named}")
        return lines

    def _steering(self) -> list[str]:
        lines = []
        for steer in self.steers:
            named = ", ".join(str(part) for part in steer.direction.parts[:SHOWN_PARTS])
            lines.append(f"  Steer {steer.direction.target!r} by {steer.strength:+g} along {named}")
        return [*lines, f"  Drift: {self.drift:.4f}"] if lines else []

    def _inference(self) -> list[str]:
        feedback = self.feedback
        return [] if feedback is None else [f"  {line}" for line in str(feedback).splitlines()]
