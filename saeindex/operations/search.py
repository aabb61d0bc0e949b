"""Queries: search, many searches, plans, comparisons, and the concepts of results."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import fields, replace
from typing import TYPE_CHECKING, Annotated, Any, TypeAlias

from pydantic import BeforeValidator, Field

from saeindex.config import FACETS
from saeindex.errors import InvalidInputError, kind_of
from saeindex.operations.operation import Operation
from saeindex.schema import Flag, Texts, Whole, from_json, request
from saeindex.search.query import Query, QueryOptions

if TYPE_CHECKING:
    from saeindex.collection.state import IndexState
    from saeindex.search.context import Context
    from saeindex.search.explain import Comparison
    from saeindex.search.facets import ConceptFacet, Exclusion
    from saeindex.search.hits import Hits
    from saeindex.search.plan import Plan
    from saeindex.search.searcher import Searcher

    Queries: TypeAlias = Sequence[str | Query]
else:

    def _queries(given: Any) -> Any:
        if isinstance(given, str | Query | Mapping) or not isinstance(given, Iterable):
            found = "one query" if isinstance(given, str | Query | Mapping) else kind_of(given)
            raise InvalidInputError("search_many", found, "Give a list of texts or queries, or use search.")
        listed = list(given)
        return tuple(_query(one, place, len(listed)) for place, one in enumerate(listed, 1))

    def _query(given: Any, place: int, count: int) -> Any:
        try:
            return from_json(Query, given) if isinstance(given, Mapping) else given
        except InvalidInputError as error:
            error.asked = f"query {place} of {count}: {error.asked}"
            raise

    Queries = Annotated[tuple[str | Query, ...], BeforeValidator(_queries)]


@request
class Search(Query, Operation["Hits"], results="saeindex.search.hits"):
    """Return the best hits for a text or a :class:`Query`.

    ``index.search("galaxy rotation", where='NOT "simulation"', steer="+theory:0.5", explain=True)``
    """

    name = "search"

    def run(self, state: IndexState) -> Hits:
        """Search."""
        return searcher_of(state).search(self)


@request
class SearchMany(QueryOptions, Operation["list[Hits]"], results="saeindex.search.hits"):
    """Return the hits of each query, as ``search`` does up to rounding; texts are encoded together.

    Options that are not the default apply to all queries, and ``timeout`` to all together. If one query is
    wrong, none is run, and the error gives its number from 1.
    """

    name = "search_many"

    queries: Queries = Field(description="texts or queries")

    def run(self, state: IndexState) -> list[Hits]:
        """Search for each."""
        common = {one.name: getattr(self, one.name) for one in fields(QueryOptions)}
        given = {name: value for name, value in common.items() if value != getattr(Query, name)}
        asked = [
            replace(one, **given) if isinstance(one, Query) else Query(one, **given) for one in self.queries
        ]
        return searcher_of(state).search_many(asked, self.timeout)


@request
class PlanQuery(Query, Operation["Plan"], results="saeindex.search.plan"):
    """Return the plan that ``search`` would run; with ``analyze``, run it and measure each stage."""

    name = "plan"

    analyze: Flag = Field(
        default=False, kw_only=True, description="run it, count what matches, and measure each stage"
    )

    def run(self, state: IndexState) -> Plan:
        """Plan."""
        searcher = searcher_of(state)
        return searcher.analyzed(self) if self.analyze else searcher.prepare(self).plan


@request
class FindContext(Query, Operation["Context"], results="saeindex.search.context"):
    """Return what a language model should read to answer a text: sentences of the best hits, each cited.

    They cover different concepts within ``budget_tokens``, those of the nearest records first. Guards are
    concepts: no record that possibly speaks of one in ``never`` is read; where the text does not fulfil
    ``only_if``, a condition such as '"medicine" OR "health"', nothing is.
    """

    name = "context"

    limit: Whole = Field(
        default=50, ge=1, le=1_000, kw_only=True, description="the records whose sentences are chosen from"
    )
    budget_tokens: Whole = Field(
        default=1_000, ge=1, le=100_000, kw_only=True, description="the most tokens of the context"
    )
    never: Texts = Field(default=(), kw_only=True, description="concepts that no record may speak of")
    only_if: str | None = Field(
        default=None, kw_only=True, description="the condition on the text, of concepts, to look at all"
    )

    def run(self, state: IndexState) -> Context:
        """Search, and choose."""
        return searcher_of(state).context(self, self.budget_tokens, self.never, self.only_if)


@request
class Compare(Query, Operation["Comparison"], results="saeindex.search.explain"):
    """Return why record ``a`` ranks above or below record ``b`` for a query. They need not be hits.

    The differences of their parts sum to the difference of their scores. Filters and thresholds are
    ignored.
    """

    name = "compare"

    text: str = Field(description="the text to search for")
    a: str = Field(description="the id of a record")
    b: str = Field(description="the id of another record")

    def run(self, state: IndexState) -> Comparison:
        """Compare."""
        return searcher_of(state).compare(self, self.a, self.b)


@request
class OfResults(Query):
    """A query whose results are described."""

    limit: Whole = Field(default=FACETS, ge=1, le=1_000, kw_only=True, description="the number of concepts")


@request
class Facets(OfResults, Operation["list[ConceptFacet]"], results="saeindex.search.facets"):
    """Return the concepts that are more frequent in a query's results than in the index, best first.

    For a query that ranks, the best 50 results count; for a query that only filters, all its matches.
    """

    name = "concepts/facets"

    def run(self, state: IndexState) -> list[ConceptFacet]:
        """Count concepts."""
        return searcher_of(state).facets(self, self.limit)


@request
class Exclusions(OfResults, Operation["list[Exclusion]"], results="saeindex.search.facets"):
    """Return the concepts that 15 to 60 % of a query's results have and that its text does not mention.

    Each has a ``where`` clause that excludes it, and the number of results that the clause removes.
    """

    name = "concepts/exclusions"

    def run(self, state: IndexState) -> list[Exclusion]:
        """Suggest exclusions."""
        return searcher_of(state).exclusions(self, self.limit)


def searcher_of(state: IndexState) -> Searcher:
    """Return the searcher of a state; what a search needs is imported with the first one."""
    from saeindex.search.searcher import Searcher

    return state.derived(Searcher)
