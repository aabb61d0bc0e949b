"""Queries of an index: search, plans, comparisons and concepts."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import cast

from saeindex.collection.state import KEPT, IndexState
from saeindex.concepts.resolver import FLOOR
from saeindex.errors import SaeIndexError
from saeindex.search import facets
from saeindex.search.checks import check_query
from saeindex.search.context import Context, choose_context
from saeindex.search.executor import Executor
from saeindex.search.explain import Comparison
from saeindex.search.facets import ConceptFacet, Exclusion, ResultSet
from saeindex.search.hits import Hits, compare
from saeindex.search.plan import Plan, Stage
from saeindex.search.planner import Planner
from saeindex.search.prepared import Prepared
from saeindex.search.query import Query, Where, without
from saeindex.stores.tracing import Deadline, Note, watched

# The number of nearest labels among which the concepts of a query's text are searched.
NEAREST_LABELS = 20


class Searcher:
    """Search, comparison and concepts over one state of an index."""

    reads_metadata = True

    def __init__(self, state: IndexState) -> None:
        """Search the records of a state."""
        self._store, self._space, self._vectors = state.store, state.space, state.encode
        self.planner = state.derived(Planner)
        self.executor = Executor(state)

    def prepare(self, query: Query) -> Prepared:
        """Return a query ready to run."""
        return self.planner.plan(query)

    def search(self, query: Query, prepared: Prepared | None = None) -> Hits:
        """Return the best hits of a query."""
        started, deadline = time.perf_counter(), Deadline(query.timeout)
        if prepared is None:
            with deadline.stage("planning"):
                prepared = self.prepare(query)
        if query.total:
            prepared = replace(prepared, matching=self._store.count(prepared.query_filter))
        planned = time.perf_counter()
        hits = self.executor.run(prepared, deadline)
        ended = time.perf_counter()
        timings = {"plan": (planned - started) * 1e3, **hits.timings_ms, "total": (ended - started) * 1e3}
        return replace(hits, timings_ms=timings)

    def search_many(self, queries: Sequence[Query], timeout: float | None = None) -> list[Hits]:
        """Return the hits of each query; none is run if one is wrong. ``timeout`` is for all together."""
        deadline, queries = Deadline(timeout), [one.read for one in queries]

        @contextmanager
        def query(place: int) -> Iterator[None]:
            try:
                with deadline.stage(f"query {place}"):
                    yield
            except SaeIndexError as error:
                error.asked = f"query {place} of {len(queries)}: {error.asked}"
                raise

        for place, one in enumerate(queries, 1):
            with query(place):
                check_query(one)
        prepared: list[Prepared] = []
        for start in range(0, len(queries), KEPT):
            chunk = queries[start : start + KEPT]
            self._vectors.warm([one.text for one in chunk if one.text.strip() and one.vector is None])
            for place, one in enumerate(chunk, start + 1):
                with query(place):
                    prepared.append(self.prepare(one))
        found: list[Hits] = []
        for place, ready in enumerate(prepared, 1):
            with query(place):
                found.append(self.search(ready.query, ready))
        return found

    def context(
        self, query: Query, budget: int, never: Sequence[str] = (), only_if: str | None = None
    ) -> Context:
        """Return what answers the text of a query, within ``budget`` tokens."""
        check_query(query := query.read)
        if only_if is not None and not self.planner.is_spoken(query.text, only_if):
            withheld = f"The question does not fulfil {only_if}."
            return Context(query.text, "", 0, budget, 0, withheld=withheld)
        if never:
            for name in never:
                self.planner.resolver.check_guard(name)
            query = replace(query, where=without(cast(Where | None, query.where), never))
        prepared = self.prepare(query)
        points = self.executor.points(prepared, Deadline(query.timeout))
        wanted = prepared.query.text  # without what is not, if it was interpreted
        asked = self._vectors(wanted) if wanted.strip() else prepared.vector
        return choose_context(query.text, asked, points, prepared, self.planner.state, budget)

    def analyzed(self, query: Query) -> Plan:
        """Run a query and return its plan beside the measured counts and times of each stage.

        A search does not count its matches, and this does.
        """
        started = time.perf_counter()
        with watched() as asked_in_planning:
            prepared = self.prepare(query)
        planned = (time.perf_counter() - started) * 1e3
        with watched() as notes:
            hits = self.executor.run(prepared, Deadline(query.timeout))
        total = (time.perf_counter() - started) * 1e3
        started = time.perf_counter()
        matching = self._store.count(prepared.query_filter)
        counted = (time.perf_counter() - started) * 1e3
        expected = prepared.estimate.points
        stages = [
            Stage("plan", None, None, planned),
            *(_stage(note, None, "  plan: ") for note in asked_in_planning),
            Stage("filter, counted", expected, matching, counted),
            *(_stage(note, expected) for note in notes),
            Stage("explain", None, None, hits.timings_ms["explain"]),
            Stage("hits", hits.plan.steps.expected, len(hits), hits.timings_ms["search"]),
        ]
        plan = replace(prepared, matching=matching).plan
        return replace(plan, stages=tuple(stages), total_ms=total)

    def compare(self, query: Query, a: str, b: str) -> Comparison:
        """Return why record ``a`` ranks above or below record ``b`` for a query."""
        prepared = self.prepare(replace(query, explain=True))
        first, second = self.executor.explained(prepared, (a, b), Deadline(query.timeout))
        return compare(first, second)

    def facets(self, query: Query, limit: int) -> list[ConceptFacet]:
        """Return the concepts that are more frequent in a query's results than in the index."""
        prepared = self.prepare(query)
        counts = facets.feature_counts(self.planner.state.code_counts, self._space.n_features)
        return facets.concept_facets(self._results(prepared), counts, prepared.total, self._space, limit)

    def exclusions(self, query: Query, limit: int) -> list[Exclusion]:
        """Return the concepts that split a query's results and that its text does not mention."""
        mentioned = self._mentioned(query.read.text)
        found = facets.exclusions(self.facets(query, self._space.n_features), mentioned)
        return found[:limit]

    def _results(self, plan: Prepared) -> ResultSet:
        if plan.query.ranks:
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


def _stage(note: Note, matching: float | None, prefix: str = "") -> Stage:
    """Return a note as a stage; a request is expected to return its limit, or all matches if fewer."""
    name = " ".join(filter(None, [note.action, note.what, f"{note.asked:,}" if note.asked else ""]))
    expected: float | None = note.asked
    if note.action in ("search", "scroll") and matching is not None and note.asked is not None:
        expected = min(float(note.asked), matching)
    return Stage(prefix + name, expected, note.points, note.ms)
