"""The plan: what a query becomes before the store sees it, and how it reads."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from saeindex.query.steps import requests_of, steps_of, tree
from saeindex.types import Query

if TYPE_CHECKING:
    from qdrant_client.models import Filter

    from saeindex.protocols import SparseVector
    from saeindex.query.ast import Expression
    from saeindex.query.choices import Choices
    from saeindex.query.concepts import Concept
    from saeindex.query.cost import Estimate
    from saeindex.query.feedback import Feedback
    from saeindex.query.property import PropertyRanking
    from saeindex.query.steering import ResolvedSteer
    from saeindex.query.steps import Step
    from saeindex.types import FloatArray


@dataclass(frozen=True, slots=True, eq=False)
class Plan:
    """What will run; ``print(plan)`` reads it out.

    ``vector`` is the steered query (d,), ``code`` its sparse form where that is not just its code,
    ``rescorer`` the second pass of a property. ``estimate`` says how many of ``total`` points match;
    ``matching`` is their exact number, None where nobody counted. ``by_record``: passages of a record are
    one hit.
    """

    query: Query
    vector: FloatArray
    where: Expression | None
    concepts: tuple[Concept, ...]
    steers: tuple[ResolvedSteer, ...]
    query_filter: Filter | None
    drift: float
    total: int
    estimate: Estimate
    choices: Choices
    warnings: tuple[str, ...] = ()
    matching: int | None = None
    by_record: bool = False
    code: SparseVector | None = None
    rescorer: PropertyRanking | None = None

    @property
    def feedback(self) -> Feedback | None:
        """What a property search inferred, None for other searches."""
        return None if self.rescorer is None else self.rescorer.shown

    @property
    def exact(self) -> bool:
        """Whether all points are scanned, rather than a graph searched."""
        return self.choices.exact.value

    @property
    def steps(self) -> Step:
        """The plan as a tree, the search at its root."""
        return steps_of(self)

    @property
    def requests(self) -> tuple[str, ...]:
        """The requests that the engine gets, in order."""
        return requests_of(self)

    def to_json(self) -> dict[str, Any]:
        """Return the plan as a JSON object."""
        return {
            "using": self.query.using,
            "exact": self.exact,
            "where": None if self.where is None else self.where.model_dump(mode="json"),
            "concepts": [asdict(concept) for concept in self.concepts],
            "steer": [{**s.direction.to_json(), "strength": s.strength} for s in self.steers],
            "feedback": None if self.feedback is None else self.feedback.model_dump(mode="json"),
            "drift": self.drift,
            "filter": self.query_filter and self.query_filter.model_dump(mode="json", exclude_none=True),
            "matching_points": self.matching,
            "estimated_points": asdict(self.estimate),
            "total_points": self.total,
            "limit": self.query.limit,
            "offset": self.query.offset,
            "choices": asdict(self.choices),
            "requests": list(self.requests),
            "steps": asdict(self.steps),
            "warnings": list(self.warnings),
        }

    def __str__(self) -> str:
        return "\n".join([*tree(self.steps), *(f"Warning: {warning}" for warning in self.warnings)])
