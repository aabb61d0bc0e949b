"""A plan that was run: the expected points, the actual points and the time of each stage."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING

from saeindex.search.plan import Plan, Stage
from saeindex.stores.tracing import watched

if TYPE_CHECKING:
    from saeindex.protocols import VectorStore
    from saeindex.search.hits import Hits
    from saeindex.search.prepared import Prepared
    from saeindex.search.query import Query
    from saeindex.stores.tracing import Note


def analyzed(
    query: Query,
    store: VectorStore,
    prepare: Callable[[Query], Prepared],
    run: Callable[[Prepared], Hits],
) -> Plan:
    """Plan, run and count ``query``; a search does not count its matches, and this does."""
    started = time.perf_counter()
    with watched() as asked_in_planning:
        prepared = prepare(query)
    planned = (time.perf_counter() - started) * 1e3
    with watched() as notes:
        hits = run(prepared)
    total = (time.perf_counter() - started) * 1e3
    started = time.perf_counter()
    matching = store.count(prepared.query_filter)
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


def _stage(note: Note, matching: float | None, prefix: str = "") -> Stage:
    """Return a note as a stage; a request is expected to return its limit, or all matches if fewer."""
    name = " ".join(filter(None, [note.action, note.what, f"{note.asked:,}" if note.asked else ""]))
    expected: float | None = note.asked
    if note.action in ("search", "scroll") and matching is not None and note.asked is not None:
        expected = min(float(note.asked), matching)
    return Stage(prefix + name, expected, note.points, note.ms)
