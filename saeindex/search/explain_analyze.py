"""A plan with its measurements: the expected points, the actual points and the time of each stage."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from saeindex.stores.tracing import watched

if TYPE_CHECKING:
    from saeindex.protocols import VectorStore
    from saeindex.search.hits import Hits
    from saeindex.search.plan import Plan
    from saeindex.search.query import Query
    from saeindex.stores.tracing import Note


@dataclass(frozen=True, slots=True)
class Stage:
    """A stage of the work, with its expected and actual number of points, and its time.

    ``expected`` and ``actual`` are numbers of points or hits; None if there is nothing to count.
    """

    name: str
    expected: float | None
    actual: int | None
    ms: float

    @property
    def ratio(self) -> float | None:
        """Expected divided by actual; None if there were no actual points or no expectation."""
        return self.expected / self.actual if self.actual and self.expected is not None else None

    def __str__(self) -> str:
        counted = ""
        if self.actual is not None:
            expected = "" if self.expected is None else f"{self.expected:,.0f} expected, "
            ratio = "" if self.ratio is None else f" ({self.ratio:.2f})"
            counted = f"{expected}{self.actual:,} actual{ratio}"
        return f"  {self.ms:>9.2f} ms  {self.name:<34}  {counted}".rstrip()


@dataclass(frozen=True, slots=True, eq=False)
class Analysis:
    """A plan that was run, with its ``hits``; ``plan`` has the exact number of matching points."""

    plan: Plan
    stages: tuple[Stage, ...]
    hits: Hits

    @property
    def total_ms(self) -> float:
        """The time of planning and search, without the count of matches for the analysis."""
        return self.hits.timings_ms["total"]

    def to_json(self) -> dict[str, Any]:
        """Return the analysis as a JSON object."""
        stages = [
            {
                "name": stage.name,
                "expected": stage.expected,
                "actual": stage.actual,
                "ratio": stage.ratio,
                "ms": stage.ms,
            }
            for stage in self.stages
        ]
        return {"plan": self.plan.to_json(), "stages": stages, "total_ms": self.total_ms}

    def __str__(self) -> str:
        lines = [str(self.plan), f"Ran in {self.total_ms:.2f} ms, without the count", *map(str, self.stages)]
        return "\n".join(lines)


def analyze(
    query: Query, store: VectorStore, plan_of: Callable[[Query], Plan], run: Callable[[Plan], Hits]
) -> Analysis:
    """Plan, run and count ``query``."""
    started = time.perf_counter()
    with watched() as asked_in_planning:
        plan = plan_of(query)
    planned = (time.perf_counter() - started) * 1e3
    with watched() as notes:
        hits = run(plan)
    hits.timings_ms.update(plan=planned, total=(time.perf_counter() - started) * 1e3)
    started = time.perf_counter()
    matching = store.count(plan.query_filter)
    counted = (time.perf_counter() - started) * 1e3
    stages = [
        Stage("plan", None, None, planned),
        *(_stage(note, None, "  plan: ") for note in asked_in_planning),
        Stage("filter, counted", plan.estimate.points, matching, counted),
        *(_stage(note, plan.estimate.points) for note in notes),
        Stage("explain", None, None, hits.timings_ms["explain"]),
        Stage("hits", plan.steps.expected, len(hits), hits.timings_ms["search"]),
    ]
    return Analysis(replace(plan, matching=matching), tuple(stages), hits)


def _stage(note: Note, matching: float | None, prefix: str = "") -> Stage:
    """Return a note as a stage; a request is expected to return its limit, or all matches if fewer."""
    name = " ".join(filter(None, [note.action, note.what, f"{note.asked:,}" if note.asked else ""]))
    expected: float | None = note.asked
    if note.action in ("search", "scroll") and matching is not None and note.asked is not None:
        expected = min(float(note.asked), matching)
    return Stage(prefix + name, expected, note.points, note.ms)
