"""The plan of a query: its steps, choices and requests, as data and as text."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Literal, TypeAlias

from pydantic import Field

from saeindex.concepts.feedback import Feedback
from saeindex.concepts.resolver import Concept
from saeindex.report.html import Described
from saeindex.report.model import Description, describe, listing
from saeindex.report.numbers import count, counted
from saeindex.schema import Result
from saeindex.search.optimizer import Choices, Estimate
from saeindex.search.query import Condition, NativeFilter, Query
from saeindex.steering.steering import DirectionPart, listed_parts

if TYPE_CHECKING:
    from saeindex.steering.steering import Direction

StepKind: TypeAlias = Literal[
    "search", "filter", "concept", "steer", "feedback", "scan", "prefetch", "fusion", "rescore", "diversify",
    "group", "page", "explain", "requests",
]  # fmt: skip
WIDTH = 100


@dataclass(frozen=True, slots=True)
class Step:
    """One step: the action ``what``, the reason ``why``, the expected number of points, and its parts."""

    kind: StepKind
    what: str
    why: str = ""
    expected: float | None = None
    parts: tuple[Step, ...] = ()


def tree(step: Step, depth: int = 0) -> list[str]:
    """Return a step and its parts as indented lines."""
    lines = [f"{'  ' * depth}{line}" for line in step.what.splitlines()]
    if step.why:
        lines[-1] += f": {step.why}" if len(lines[-1]) + len(step.why) < WIDTH else ""
        if not lines[-1].endswith(step.why):
            lines.append(f"{'  ' * depth}  ({step.why})")
    return lines + [line for part in step.parts for line in tree(part, depth + 1)]


@dataclass(frozen=True, slots=True)
class PlannedSteer:
    """A steer as it was resolved: its direction as features, and the strength to move along it.

    ``typical`` is the length that a strength of 1 adds; ``residual`` is the part of the direction that
    no feature has.
    """

    target: str
    strength: float
    typical: float
    residual: float
    parts: tuple[DirectionPart, ...]

    @classmethod
    def of(cls, direction: Direction, strength: float) -> PlannedSteer:
        """Describe a direction."""
        return cls(direction.target, strength, direction.typical, direction.residual, direction.parts)

    def __str__(self) -> str:
        return listed_parts(self)


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
class Plan(Result, Described):
    """The plan of a query; ``print(plan)`` shows it as text.

    ``estimate`` is the estimated number of matches among ``total`` points, ``matching`` the
    exact number, or None if it was not counted. ``revision`` is the index's that it was made for. With
    ``analyze=True`` the plan was run: ``stages`` are what was measured, ``total_ms`` the time without the
    count of the matches, which only an analysis makes.
    """

    query: Query
    asked: str
    exact: bool
    where: Condition | None
    concepts: tuple[Concept, ...]
    steer: tuple[PlannedSteer, ...]
    feedback: Feedback | None
    drift: float
    query_filter: Annotated[NativeFilter | None, Field(alias="filter")]
    matching: Annotated[int | None, Field(alias="matching_points")]
    estimate: Annotated[Estimate, Field(alias="estimated_points")]
    total: Annotated[int, Field(alias="total_points")]
    choices: Choices
    requests: tuple[str, ...]
    steps: Step
    warnings: tuple[str, ...] = ()
    revision: str = ""
    stages: tuple[Stage, ...] = ()
    total_ms: float | None = None

    def __str__(self) -> str:
        lines = [*tree(self.steps), *(f"Warning: {warning}" for warning in self.warnings)]
        if self.total_ms is not None:
            lines += [f"Ran in {self.total_ms:.2f} ms, without the count", *map(str, self.stages)]
        return "\n".join(lines)

    def __repr__(self) -> str:
        return f"Plan({headline(self.query, self.asked)})"

    @property
    def understood(self) -> list[str]:
        """What was asked for, as it is understood, in lines: the filter, its phrases, steers and warnings."""
        lines = []
        if self.query_filter is not None:
            matching = self.estimate if self.matching is None else f"{self.matching:,}"
            lines.append(f"Filter: {matching} of {self.total:,} records match")
        for concept in self.concepts:
            if concept.records is not None:
                records = counted(concept.records, "record")
                lines.append(f"  {concept.phrase!r}: no concept of this name; {records} speak of it")
            elif [one.label for one in concept.features] != [concept.phrase]:
                lines.append(f"  {concept.phrase!r}: {', '.join(one.shown for one in concept.features)}")
        lines += [f"Steer: {one.strength:+g} {one.target}" for one in self.steer]
        if self.steer:
            lines.append(f"Moved: by {self.drift:.2f} (1 − cosine of the query before and after)")
        return [*lines, *(f"Warning: {warning}" for warning in self.warnings)]


def headline(query: Query, asked: str) -> str:
    """Return a query in one line; ``asked`` is its ranking part in words."""
    using = query.using if isinstance(query.using, str) else "fused"
    first = f"{'Search' if asked else 'List'} {using!r}{asked and f' {asked}'}, limit {query.limit}"
    return first + (f", offset {query.offset}" if query.offset else "")


@describe.register(Plan)
def _(plan: Plan) -> Description:
    columns = {
        "Step": lambda row: f"{'· ' * row[1]}{' '.join(row[0].what.split())}",
        "Why": lambda row: row[0].why,
        "Expected points": lambda row: "" if row[0].expected is None else count(row[0].expected),
    }
    return Description(
        question="What will be run?",
        summary=[f"{headline(plan.query, plan.asked)}."],
        method=[],
        sections=[listing("Steps", _with_depth(plan.steps), columns)],
        notes=[warning.rstrip(".") for warning in plan.warnings],
    )


def _with_depth(step: Step, depth: int = 0) -> Iterator[tuple[Step, int]]:
    """Return a step and its parts, each with its depth in the tree."""
    yield step, depth
    for part in step.parts:
        yield from _with_depth(part, depth + 1)
