"""Queries of an index: search, plans, comparisons and concepts."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Unpack

from saeindex.collection.caches import KEPT
from saeindex.concepts.resolver import FLOOR
from saeindex.config import FACETS
from saeindex.errors import InvalidInputError, SaeIndexError
from saeindex.search import facets
from saeindex.search.checks import check_query
from saeindex.search.compare import Comparison, compare
from saeindex.search.executor import Executor, ranks
from saeindex.search.explain_analyze import Analysis, analyze
from saeindex.search.facets import ConceptFacet, Exclusion, ResultSet
from saeindex.search.hits import Hits
from saeindex.search.plan import Plan
from saeindex.search.planner import Planner
from saeindex.search.query import Query
from saeindex.signatures import check_kind, check_options
from saeindex.stores.filters import as_filter
from saeindex.stores.tracing import Deadline

if TYPE_CHECKING:
    from saeindex.collection.state import IndexState
    from saeindex.search.query import QueryKeywords, ResultKeywords

# The number of nearest labels among which the concepts of a query's text are searched.
NEAREST_LABELS = 20


class Searcher:
    """Search, comparison and concepts over one state of an index."""

    def __init__(self, state: IndexState) -> None:
        """Search the records of a state."""
        self._store, self._space, self._vectors = state.store, state.space, state.encode
        self.planner = state.derived(Planner)
        self.executor = Executor(self._store, self._space, self._vectors)

    def search(self, /, query: str | Query = "", **options: Unpack[QueryKeywords]) -> Hits:
        """Return the best hits for a text or a :class:`Query`; ``options`` are the fields of the query.

        ``index.search("galaxy rotation", where='NOT "simulation"', steer="+theory:0.5", explain=True)``
        """
        return self._run(as_query(query, options))

    def search_many(self, /, queries: Sequence[str | Query], **options: Unpack[QueryKeywords]) -> list[Hits]:
        """Return the hits of each query, the same as :meth:`search` returns; texts are encoded in batches.

        ``options`` apply to all queries. If one is wrong, none is run, and the error gives its number from 1.
        """
        if isinstance(queries, str | Query):
            raise InvalidInputError("search_many", "one query", "Give a list, or use search.")
        check_kind("search_many", queries, Iterable, "Give a list of texts or queries.")
        asked = [as_query(query, options) for query in queries]
        for place, query in enumerate(asked, 1):
            with _located(place, len(asked)):
                check_query(query)
        plans: list[Plan] = []
        for start in range(0, len(asked), KEPT):
            chunk = asked[start : start + KEPT]
            self._vectors.warm([query.text for query in chunk if query.text.strip()])
            for place, query in enumerate(chunk, start + 1):
                with _located(place, len(asked)):
                    plans.append(self.planner.plan(query))
        found: list[Hits] = []
        for place, plan in enumerate(plans, 1):
            with _located(place, len(asked)):
                found.append(self._run(plan.query, plan))
        return found

    def plan(self, /, query: str | Query = "", **options: Unpack[QueryKeywords]) -> Plan:
        """Return the plan that :meth:`search` would run, without running it."""
        return self.planner.plan(as_query(query, options))

    def explain_analyze(self, /, query: str | Query = "", **options: Unpack[QueryKeywords]) -> Analysis:
        """Run a query and return its plan beside the measured counts and times of each stage.

        The records that match the filter are counted for this analysis only; a search does not count them.
        """

        def run(plan: Plan) -> Hits:
            return self.executor.run(plan, Deadline(plan.query.timeout))

        return analyze(as_query(query, options), self._store, self.planner.plan, run)

    def compare(self, /, query: str | Query, a: str, b: str, **options: Unpack[QueryKeywords]) -> Comparison:
        """Return why record ``a`` ranks above or below record ``b`` for a query. They need not be hits.

        The differences of their parts sum to the difference of their scores. Filters and thresholds are
        ignored, except where a fused score depends on the ranks among the hits.
        """
        asked = as_query(query, options)
        check_query(asked)
        plan = self.plan(replace(asked, explain=True))
        first, second = self.executor.explained(plan, (a, b), Deadline(plan.query.timeout))
        return compare(first, second)

    def concept_facets(
        self, /, query: str | Query = "", limit: int = FACETS, **options: Unpack[ResultKeywords]
    ) -> list[ConceptFacet]:
        """Return the concepts that are more frequent in a query's results than in the index, best first.

        For a query that ranks, the best 50 results count; for a query that only filters, all its matches.
        """
        return self._facets(self.plan(replace(as_query(query, options), limit=limit)), limit)

    def suggest_exclusions(
        self, /, query: str | Query, limit: int = FACETS, **options: Unpack[ResultKeywords]
    ) -> list[Exclusion]:
        """Return the concepts that 15 to 60 % of a query's results have and that its text does not mention.

        Each has a ``where`` clause that excludes it, and the number of results that the clause removes.
        """
        plan = self.plan(replace(as_query(query, options), limit=limit))
        found = facets.exclusions(
            self._facets(plan, self._space.n_features), self._mentioned(plan.query.text)
        )
        return found[:limit]

    def _run(self, query: Query, plan: Plan | None = None) -> Hits:
        started, deadline = time.perf_counter(), Deadline(query.timeout)
        if plan is None:
            with deadline.stage("planning"):
                plan = self.planner.plan(query)
        planned = time.perf_counter()
        hits = self.executor.run(plan, deadline)
        timings = {"plan": (planned - started) * 1e3, **hits.timings_ms}
        total = (time.perf_counter() - started) * 1e3
        return Hits(tuple(hits), plan, {**timings, "total": total}, hits.groups)

    def _facets(self, plan: Plan, limit: int) -> list[ConceptFacet]:
        counts = facets.feature_counts(self._store, None, self._space.n_features)
        return facets.concept_facets(self._results(plan), counts, plan.total, self._space, limit)

    def _results(self, plan: Plan) -> ResultSet:
        if ranks(plan.query):
            points = self.executor.coded(plan, facets.FACET_RESULTS, Deadline(plan.query.timeout))
            return facets.result_set(points, self._space.n_features)
        return facets.matching_set(self._store, plan.query_filter, self._space.n_features)

    def _mentioned(self, text: str) -> set[int]:
        """Return the features that a query's text activates, and the features whose labels match it."""
        if not text.strip():
            return set()
        active, _ = self._space.sae.encode_one(self._vectors(text))
        named = self.planner.resolver.match(text, NEAREST_LABELS)
        return {*active.tolist(), *(match.id for match in named if match.score >= FLOOR)}


def as_query(query: str | Query, options: Mapping[str, Any]) -> Query:
    """Return a text or a query with further fields as one query."""
    if isinstance(query, Query):
        check_options(Query, options, "search")
        asked = replace(query, **options)
    else:
        check_options(Query, options, "search", ("text",))
        asked = Query(query, **options)
    native = as_filter(asked.query_filter)
    return asked if native is asked.query_filter else replace(asked, query_filter=native)


@contextmanager
def _located(place: int, total: int) -> Iterator[None]:
    """Add the number of the query, of several, to an error."""
    try:
        yield
    except SaeIndexError as error:
        error.asked = f"query {place} of {total}: {error.asked}"
        raise
