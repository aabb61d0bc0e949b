"""The planner's choices with reasons: scan or graph, where to filter, how many candidates.

A graph (HNSW) search is approximate, and its time hardly grows with the collection. If few points match a
filter, it misses some of them, and a scan of the matches is fast. An engine that scans reads the matches of a
filter one by one, several times slower than all vectors in a row. So if many points match, the filter is
better applied to the first results of an unfiltered scan, which gives the same list.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Generic, TypeAlias, TypeVar

from saeindex.config import DENSE, SAE, SENTENCES
from saeindex.search.mmr import DIVERSITY_POOL
from saeindex.search.retrieval import POOL

if TYPE_CHECKING:
    from saeindex.search.cardinality import Estimate
    from saeindex.search.query import Query

T = TypeVar("T")

# The share of matches near the query; computed only if a choice depends on it, as it reads vectors.
Near: TypeAlias = Callable[[], float | None]

# A graph is searched above this number of points, if at least this share matches the filter.
GRAPH_FROM, GRAPH_SHARE = 100_000, 0.1
# The minimum number of points, and the minimum share of matches, for a filter after the scan. Measured on
# 100,000 points of 384 dimensions: a scan takes 9 ms, a filtered scan 0.8 µs for each match, and one with a
# filter on a field without an index 5 µs for each point that it reads.
AFTER_FROM, AFTER_SHARE, AFTER_SHARE_UNINDEXED = 10_000, 0.08, 0.02
# The minimum share of matches near the query for a filter after the scan; below it, too few would be found.
NEAR_SHARE = 0.02


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


@dataclass(frozen=True, slots=True)
class Setting:
    """The inputs of the choices: the number of points, the estimated matches, and the engine's abilities.

    ``is_indexed`` is whether all metadata fields of the filter have a payload index. ``near`` returns the
    share of matches among the sampled points nearest to the query, or None if it is not known.
    """

    estimate: Estimate
    total: int
    has_graph: bool
    has_rescorer: bool
    prefers_postfilter: bool = False
    is_indexed: bool = True
    near: Near = lambda: None


def choose(query: Query, setting: Setting) -> Choices:
    """Return the choices for a checked query."""
    return Choices(_exact(query, setting), _after(query, setting), _pool(query, setting.has_rescorer))


def _exact(query: Query, setting: Setting) -> Choice[bool]:
    points, total = setting.estimate.points, setting.total
    share = points / max(1, total)
    if not setting.has_graph:
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


def _after(query: Query, setting: Setting) -> Choice[float | None]:
    share = setting.estimate.low / max(1, setting.total)
    is_filtered = query.where is not None or query.native is not None
    is_plain = query.using == DENSE and bool(query.text.strip()) and not setting.has_rescorer
    min_share = AFTER_SHARE if setting.is_indexed else AFTER_SHARE_UNINDEXED
    if not is_filtered:
        return Choice(None, "no filter")
    if not setting.prefers_postfilter or not is_plain or setting.total < AFTER_FROM or share < min_share:
        return Choice(None, "the engine filters as it searches")
    near = setting.near()
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
