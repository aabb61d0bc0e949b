"""The planner's choices with reasons: scan or graph, where to filter, how many candidates.

A graph (HNSW) search is approximate, and its time hardly grows with the collection. If few points match a
filter, it misses some of them, and a scan of the matches is fast. An engine that scans reads the matches of a
filter one by one, several times slower than all vectors in a row. So if many points match, the filter is
better applied to the first results of an unfiltered scan, which gives the same list.

How many points match is counted in a small collection. In a large one it is estimated: of m sampled points,
whose ids are hashes, k match, and the estimate is N k / m. The interval is Wilson's (95 %), for
m (N - 1) / (N - m) draws, because the sample is drawn without replacement.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Generic, TypeAlias, TypeVar

from saeindex.concepts.inference import wilson
from saeindex.config import DENSE, SAE, SENTENCES
from saeindex.search.grouping import DIVERSITY_POOL
from saeindex.search.retrieval import POOL

if TYPE_CHECKING:
    from qdrant_client.models import Filter

    from saeindex.protocols import PointId, VectorStore
    from saeindex.search.query import Query

T = TypeVar("T")

# The share of matches near the query; computed only if a choice depends on it, as it reads vectors.
Near: TypeAlias = Callable[[], float | None]

# Up to this number of points matches are counted; above it, among so many sampled ones.
COUNTED_TO, SAMPLED = 4_096, 1_024
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
    from qdrant_client.models import Filter, HasIdCondition

    if total <= COUNTED_TO and store.stale_after is None:
        count = store.count(query_filter)
        return Estimate(count, count, count, "counted")
    among = Filter(must=[HasIdCondition(has_id=list(ids)), query_filter])
    found = len(store.scroll(among, max(1, len(ids)), with_payload=False).points)
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
    prefers_postfilter: bool = False,
    is_indexed: bool = True,
    near: Near = lambda: None,
) -> Choices:
    """Return the choices for a checked query, of which ``estimate`` of ``total`` points match.

    ``is_indexed`` is whether all metadata fields of the filter have a payload index. ``near`` returns the
    share of matches among the sampled points nearest to the query, or None if it is not known.
    """
    is_plain = query.using == DENSE and bool(query.text.strip()) and not has_rescorer
    after: Choice[float | None] = Choice(None, "no filter")
    if query.where is not None or query.native is not None:
        after = Choice(None, "the engine filters as it searches")
        share = estimate.low / max(1, total)
        min_share = AFTER_SHARE if is_indexed else AFTER_SHARE_UNINDEXED
        if prefers_postfilter and is_plain and total >= AFTER_FROM and share >= min_share:
            after = _after(share, near())
    return Choices(_exact(query, estimate.points, total, has_graph), after, _pool(query, has_rescorer))


def _exact(query: Query, points: float, total: int, has_graph: bool) -> Choice[bool]:
    share = points / max(1, total)
    if not has_graph:
        return Choice(True, "the engine has no graph, and scans")
    if query.exact is not None:
        return Choice(query.exact, "as requested")
    if query.using == SAE:
        return Choice(True, "a sparse search is always exact")
    if total <= GRAPH_FROM:
        return Choice(True, f"up to {GRAPH_FROM:,} points a scan is fast")
    if share < GRAPH_SHARE:
        return Choice(True, f"{share:.1%} match the filter: a scan of these is fast, a graph would miss some")
    return Choice(False, f"{points:,.0f} points: a scan would be slow, a graph misses few of them")


def _after(share: float, near: float | None) -> Choice[float | None]:
    if near is not None and near < NEAR_SHARE:
        return Choice(
            None, f"of the points nearest to the query only {near:.0%} match: filtered within the scan"
        )
    share = share if near is None else min(share, near)
    return Choice(share, f"at least {share:.0%} match: all vectors are scanned, and the best are filtered")


def _pool(query: Query, has_rescorer: bool) -> Choice[int | None]:
    same = "the same for every page, so that pages agree"
    if has_rescorer:
        return Choice(POOL, f"scored by the second pass; {same}")
    if query.using == SENTENCES and query.text.strip():
        return Choice(POOL, f"scored by their sentences, too; {same}")
    if query.fusion is not None and query.text.strip():
        return Choice(POOL, f"of each source; {same}")
    if query.diversity:
        return Choice(DIVERSITY_POOL, f"reordered; {same}")
    return Choice(None, "only the page is requested")
