"""The plan: what a query becomes before the store sees it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from saeindex.config import CONCEPTS, DENSE, LEVEL_STRIDE, MAX_LIMIT, MAX_QUERY_CHARS, SAE
from saeindex.errors import InvalidInputError
from saeindex.query import steering
from saeindex.query.ast import And, Expression, FeatureTerm, Not, Or, Phrase
from saeindex.query.concepts import Concept, ConceptResolver, check_unicode
from saeindex.query.language import parse_steer, parse_where
from saeindex.query.steering import ResolvedSteer
from saeindex.types import Query

if TYPE_CHECKING:
    from qdrant_client.models import Condition, Filter

    from saeindex.features import FeatureSpace
    from saeindex.types import FloatArray


@dataclass(frozen=True, slots=True, eq=False)
class Plan:
    """What will run; ``print(plan)`` reads it out. ``vector`` is the steered query (d,)."""

    query: Query
    vector: FloatArray
    where: Expression | None
    concepts: tuple[Concept, ...]
    steers: tuple[ResolvedSteer, ...]
    query_filter: Filter | None
    drift: float
    matching: int
    total: int

    def to_json(self) -> dict[str, Any]:
        """Return the plan as a JSON object."""
        return {
            "using": self.query.using,
            "exact": True,
            "where": None if self.where is None else self.where.model_dump(mode="json"),
            "concepts": [asdict(concept) for concept in self.concepts],
            "steer": [{"target": s.concept.phrase, "strength": s.strength} for s in self.steers],
            "drift": self.drift,
            "filter": self.query_filter and self.query_filter.model_dump(mode="json", exclude_none=True),
            "matching_points": self.matching,
            "total_points": self.total,
            "limit": self.query.limit,
            "offset": self.query.offset,
        }

    def __str__(self) -> str:
        share = f"{self.matching / max(1, self.total):.0%}"
        lines = [f"Search {self.query.using!r} for {self.query.text!r}, limit {self.query.limit}, exact"]
        if self.query_filter is not None:
            lines.append(f"  Filter: {self.matching:,} of {self.total:,} points match ({share})")
        for concept in self.concepts:
            named = ", ".join(f"{m.shown} {m.score:.2f}" for m in concept.features)
            lines.append(f"  Concept {concept.phrase!r} = {named}")
        for steer in self.steers:
            lines.append(f"  Steer {steer.concept.phrase!r} by {steer.strength:+g}")
        if self.steers:
            lines.append(f"  Drift: {self.drift:.4f}")
        return "\n".join(lines)


class Planner:
    """Resolves concepts, steers the query vector and compiles the where expression."""

    def __init__(
        self,
        space: FeatureSpace,
        encode_query: Callable[[str], FloatArray],
        count: Callable[[Filter | None], int],
    ) -> None:
        """Take the space, what encodes a query text to (d,), and what counts matching points."""
        self._space, self._encode, self._count = space, encode_query, count
        self.resolver = ConceptResolver(space, encode_query)

    def plan(self, query: Query) -> Plan:
        """Return the plan of ``query``; raises on bad input and on unknown concepts."""
        check_query(query)
        where = None if query.where is None else parse_where(query.where)
        concepts: dict[str, Concept] = {}
        query_filter = self.compile(where, query.query_filter, concepts)
        steers = []
        for steer in parse_steer(query.steer):
            if steer.target not in concepts:
                concepts[steer.target] = self.resolver.resolve(steer.target)
            steers.append(ResolvedSteer(concepts[steer.target], steer.strength))
        vector = self._encode(query.text)
        steered = steering.apply(vector, steers, self._space)
        total = self._count(None)
        return Plan(
            query=query,
            vector=steered,
            where=where,
            concepts=tuple(concepts.values()),
            steers=tuple(steers),
            query_filter=query_filter,
            drift=steering.drift(vector, steered),
            matching=total if query_filter is None else self._count(query_filter),
            total=total,
        )

    def compile(
        self, where: Expression | None, query_filter: Filter | None, concepts: dict[str, Concept]
    ) -> Filter | None:
        """Return where AND query_filter as one native filter; resolved phrases are added to ``concepts``."""
        if where is None:
            return query_filter
        from qdrant_client.models import Filter

        condition = self._condition(where, concepts)
        if query_filter is None and isinstance(condition, Filter):
            return condition
        return Filter(must=[condition] if query_filter is None else [condition, query_filter])

    def _condition(self, node: Expression, concepts: dict[str, Concept]) -> Condition:
        from qdrant_client.models import FieldCondition, Filter, MatchAny, MatchValue

        if isinstance(node, FeatureTerm):
            self._space.label(node.feature)
            return FieldCondition(key=CONCEPTS, match=MatchValue(value=node.feature * LEVEL_STRIDE))
        if isinstance(node, Phrase):
            if node.text not in concepts:
                concepts[node.text] = self.resolver.resolve(node.text)
            codes = [match.id * LEVEL_STRIDE for match in concepts[node.text].features]
            return FieldCondition(key=CONCEPTS, match=MatchAny(any=codes))
        if isinstance(node, Not):
            return Filter(must_not=[self._condition(node.part, concepts)])
        parts = [self._condition(part, concepts) for part in node.parts]
        if isinstance(node, And):
            return Filter(must=parts)
        assert isinstance(node, Or)  # noqa: S101  (the union has no further member; mypy checks it)
        return Filter(should=parts)


def check_query(query: Query) -> None:
    """Raise InvalidInputError unless every field of ``query`` can be used."""
    if not isinstance(query.text, str) or not query.text.strip():
        raise InvalidInputError("search", "an empty text", "Give some text to search for.")
    if len(query.text) > MAX_QUERY_CHARS:
        raise InvalidInputError(
            f"a query of {len(query.text)} characters", f"the limit is {MAX_QUERY_CHARS}", "Shorten it."
        )
    check_unicode("search", query.text)
    if query.using not in (DENSE, SAE):
        raise InvalidInputError(f"using={query.using!r}", "no such vector", f"Use {DENSE!r} or {SAE!r}.")
    for name, value, least in (("limit", query.limit, 1), ("offset", query.offset, 0)):
        if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= MAX_LIMIT:
            raise InvalidInputError(
                f"{name}={value!r}", "out of range", f"Use a whole number from {least} to {MAX_LIMIT}."
            )
