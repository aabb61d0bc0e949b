"""The plan of a query: its choices with reasons, its steps and requests, as data and as text.

A graph (HNSW) search is approximate, and its time hardly grows with the collection. If few points match a
filter, it misses some of them, and a scan of the matches is fast. An engine that scans reads the matches of a
filter one by one, several times slower than all vectors in a row. So if many points match, the filter is
better applied to the first results of an unfiltered scan, which gives the same list.

How many points match is counted in a small collection. In a large one it is estimated: of m sampled points,
whose ids are hashes, k match, and the estimate is N k / m. The interval is Wilson's (95 %), for
m (N - 1) / (N - m) draws, because the sample is drawn without replacement.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, Generic, Literal, TypeAlias, TypeVar

from pydantic import Field

from saeindex.concepts.feedback import Feedback
from saeindex.concepts.inference import wilson
from saeindex.concepts.resolver import Concept
from saeindex.config import DENSE, FUSED, READER, SAE, SENTENCES, WORDS
from saeindex.language.ast import And, Not, Or, Says
from saeindex.language.to_text import quoted
from saeindex.report.html import Described
from saeindex.report.model import Description, describe, listing
from saeindex.report.numbers import count
from saeindex.schema import Result
from saeindex.search.grouping import DIVERSITY_POOL
from saeindex.search.query import Condition, NativeFilter, Query
from saeindex.search.retrieval import POOL, WITH_WORDS
from saeindex.search.words import Absent
from saeindex.steering.steering import Direction, DirectionPart, listed_parts

if TYPE_CHECKING:
    from qdrant_client.models import Filter

    from saeindex.protocols import PointId, VectorStore

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
    exact number, or None if it was not counted. ``absent`` are words that no record has, where words rank,
    and ``unwanted`` is what the text leaves out, if it was interpreted.
    ``revision`` is the index's that it was made for. With
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
    absent: tuple[Absent, ...] = ()
    unwanted: str = ""
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
        lines = [*_said(self.where), *(str(one) for one in self.absent if one.nearest or one.is_id)]
        if unknown := [repr(one.word) for one in self.absent if not one.nearest and not one.is_id]:
            lines.append(f"In no text: {', '.join(unknown)}")
        if self.unwanted:
            lines.append(
                f"Read as {self.query.text!r}, and not {self.unwanted!r}: what is near that ranks lower"
            )
            is_said = all(one.target != self.unwanted for one in self.steer)  # no text speaks of it otherwise
            what, kind = ("has these words", "says") if is_said else ("speaks of it", "possible")
            lines.append(f"  to leave out all that {what}: NOT {kind}({quoted(self.unwanted)})")
        if self.query_filter is not None:
            matching = self.estimate if self.matching is None else f"{self.matching:,}"
            lines.append(f"Filter: {matching} of {self.total:,} records match")
        for concept in self.concepts:
            if concept.records is not None:
                speak = "speaks" if concept.records == 1 else "speak"
                lines.append(
                    f"  {concept.phrase!r}: no concept of this name; {concept.counted} {speak} of it"
                )
            elif [one.label for one in concept.features] != [concept.phrase]:
                lines.append(f"  {concept.phrase!r}: {', '.join(one.shown for one in concept.features)}")
        lines += [f"Steer: {one.strength:+g} {one.target}" for one in self.steer]
        if self.steer:
            lines.append(f"Moved: by {self.drift:.2f} (1 − cosine of the query before and after)")
        return [*lines, *(f"Warning: {warning}" for warning in self.warnings)]


def _said(where: Any) -> Iterator[str]:
    """Yield what texts must say word for word, and what they must not."""
    if where is None:
        return
    from saeindex.language.parser import parse_where

    asked = parse_where(where)
    every = asked.parts if isinstance(asked, And) else (asked,)
    for title, kind in (("Says", Says | Or), ("Does not say", Not)):
        own = (one.part if isinstance(one, Not) else one for one in every if isinstance(one, kind))
        either = (one.parts if isinstance(one, Or) else (one,) for one in own)
        texts = ([quoted(one.text) if isinstance(one, Says) else "" for one in parts] for parts in either)
        if said := [" or ".join(some) for some in texts if all(some)]:
            yield f"{title}: {', '.join(said)}"


def headline(query: Query, asked: str) -> str:
    """Return a query in one line; ``asked`` is its ranking part in words."""
    first = f"{'Search' if asked else 'List'} {query.using!r}{asked and f' {asked}'}, limit {query.limit}"
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


T = TypeVar("T")

# The share of matches near the query; computed only if a choice depends on it, as it reads vectors.
Near: TypeAlias = Callable[[], float | None]

# Up to this number of points matches are counted; above it, among so many sampled ones: to count takes up to
# .4 µs for each point, and each sampled one takes 4 µs, as the engine reads its id.
COUNTED_TO, SAMPLED = 16_384, 512
Z = 1.96
# A graph is searched above this number of points, if at least this share matches the filter.
GRAPH_FROM, GRAPH_SHARE = 100_000, 0.1
# The minimum number of points, and the minimum share of matches, for a filter after the scan. Measured on
# 100,000 points of 384 dimensions: a scan takes 9 ms, a filtered scan 0.8 µs for each match, and one with a
# filter on a field without an index 5 µs for each point that it reads.
AFTER_FROM, AFTER_SHARE, AFTER_SHARE_UNINDEXED = 10_000, 0.08, 0.02
# The minimum share of matches near the query for a filter after the scan; below it, too few would be found.
NEAR_SHARE = 0.02


@dataclass(frozen=True, slots=True)
class Estimate:
    """An estimated number of points, its 95 % interval, and the source of the estimate."""

    points: float
    low: float
    high: float
    why: str

    @property
    def is_certain(self) -> bool:
        """Whether the number is exact."""
        return self.low == self.high

    def __str__(self) -> str:
        points, low, high = (f"{number:,.0f}" for number in (self.points, self.low, self.high))
        return points if low == high else f"about {points} ({low} to {high})"


def estimated(store: VectorStore, query_filter: Filter, ids: Sequence[PointId], total: int) -> Estimate:
    """Return how many of ``total`` points match: counted, or estimated from those among the sampled ``ids``.

    A server would read all of its segments for a count.
    """
    if total <= COUNTED_TO and store.stale_after is None:
        count = store.count(query_filter)
        return Estimate(count, count, count, "counted")
    found = store.count(query_filter, ids)
    low, high = (share * total for share in sampled_share(found, len(ids), total))
    points = total * found / max(1, len(ids))
    low, high = max(low, found), min(high, total - (len(ids) - found))
    return Estimate(min(max(points, low), high), low, high, f"{found:,} of {len(ids):,} sampled points")


def sampled_share(selected: int, seen: int, size: int) -> tuple[float, float]:
    """Return Wilson's interval of a share, for a sample of ``seen`` out of ``size`` points."""
    if seen == 0:
        return 0.0, 1.0
    share = selected / seen
    if seen >= size:
        return share, share
    low, high = wilson(share, seen * (size - 1) / (size - seen), Z)
    return max(0.0, float(low)), min(1.0, float(high))


@dataclass(frozen=True, slots=True)
class Choice(Generic[T]):
    """A choice and its reason."""

    value: T
    why: str


@dataclass(frozen=True, slots=True)
class Choices:
    """The choices of one plan; ``after`` is the share of matches, if the filter is applied after the scan."""

    exact: Choice[bool]
    after: Choice[float | None]
    pool: Choice[int | None]


def choose(
    query: Query,
    estimate: Estimate,
    total: int,
    has_graph: bool,
    has_rescorer: bool,
    has_words: bool = False,
    prefers_postfilter: bool = False,
    is_indexed: bool = True,
    near: Near = lambda: None,
) -> Choices:
    """Return the choices for a checked query, of which ``estimate`` of ``total`` points match.

    ``has_words`` is whether some of its words rank.
    ``is_indexed`` is whether all metadata fields of the filter have a payload index. ``near`` returns the
    share of matches among the sampled points nearest to the query, or None if it is not known.
    """
    is_plain = query.using == DENSE and query.is_near and not has_rescorer
    after: Choice[float | None] = Choice(None, "no filter")
    if query.where is not None or query.native is not None:
        after = Choice(None, "the engine filters as it searches")
        share = estimate.low / max(1, total)
        min_share = AFTER_SHARE if is_indexed else AFTER_SHARE_UNINDEXED
        if prefers_postfilter and is_plain and total >= AFTER_FROM and share >= min_share:
            after = _after(share, near())
    exact = _exact(query, estimate.points, total, has_graph)
    return Choices(exact, after, _pool(query, has_rescorer, has_words))


def _exact(query: Query, points: float, total: int, has_graph: bool) -> Choice[bool]:
    share = points / max(1, total)
    if not has_graph:
        return Choice(True, "the engine has no graph, and scans")
    if query.exact is not None:
        return Choice(query.exact, "as requested")
    if query.using in (SAE, WORDS, READER):
        return Choice(True, "a sparse search is always exact")
    if total <= GRAPH_FROM:
        return Choice(True, f"up to {GRAPH_FROM:,} points a scan is fast")
    if share < GRAPH_SHARE:
        return Choice(True, f"{share:.1%} match the filter: a scan of these is fast, a graph would miss some")
    return Choice(False, f"{points:,.0f} points: a scan would be slow, what is faster misses few of them")


def _after(share: float, near: float | None) -> Choice[float | None]:
    if near is not None and near < NEAR_SHARE:
        return Choice(
            None, f"of the points nearest to the query only {near:.0%} match: filtered within the scan"
        )
    share = share if near is None else min(share, near)
    return Choice(share, f"at least {share:.0%} match: all vectors are scanned, and the best are filtered")


def _pool(query: Query, has_rescorer: bool, has_words: bool) -> Choice[int | None]:
    same = "the same for every page, so that pages agree"
    if has_rescorer:
        return Choice(POOL, f"scored by the second pass; {same}")
    if query.using in (FUSED, SENTENCES) and query.is_near:
        return Choice(WITH_WORDS if has_words else POOL, f"then more, for further pages; {same}")
    if query.diversity:
        return Choice(DIVERSITY_POOL, f"reordered; {same}")
    return Choice(None, "only the page is requested")
