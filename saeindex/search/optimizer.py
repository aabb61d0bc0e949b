"""What the planner chooses, and why: to scan or to use a graph, where to filter, how many candidates.

A graph (HNSW) answers approximately, in time that hardly grows; where a filter leaves few points it loses
some of them, and scanning what is left is quick. An engine that scans reads what a filter leaves point by
point, several times slower than all vectors in a row: a filter that leaves much is better asked about the
first results of an unfiltered scan, which is the same list.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Generic, TypeAlias, TypeVar

from saeindex.config import DENSE, SAE
from saeindex.search.mmr import DIVERSITY_POOL
from saeindex.search.retrieval import POOL

if TYPE_CHECKING:
    from saeindex.search.cardinality import Estimate
    from saeindex.types import Query

T = TypeVar("T")

# Counted only where it decides: it reads the sample's vectors.
Near: TypeAlias = Callable[[], float | None]

# A graph is searched above so many points, of which a filter leaves so large a share.
GRAPH_FROM, GRAPH_SHARE = 100_000, 0.1
# Filtered after a scan of so many points, where so large a share is left: measured on 100,000 points of 384
# dimensions, a scan takes 9 ms, a filtered one 0.8 µs for each point that is left, and one by a field
# without an index 5 µs for each point that it looks at.
AFTER_FROM, AFTER_SHARE, AFTER_SHARE_UNINDEXED = 10_000, 0.08, 0.02
# A filter that contradicts the query leaves few of the points near to it: sifting those would be in vain.
NEAR_SHARE = 0.02


@dataclass(frozen=True, slots=True)
class Choice(Generic[T]):
    """What was chosen, and the reason."""

    value: T
    why: str


@dataclass(frozen=True, slots=True)
class Choices:
    """The choices of one plan; ``after`` is the share that an unfiltered scan's results are sifted for."""

    exact: Choice[bool]
    after: Choice[float | None]
    pool: Choice[int | None]


@dataclass(frozen=True, slots=True)
class Setting:
    """What is chosen by: how many points there are and should match, and what the engine has.

    ``is_indexed``: all metadata fields that the filter names have a payload index. ``near`` counts
    the share that the filter leaves of the sampled points nearest to the query, where that can be known.
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
        return Choice(query.exact, "as asked for")
    if query.using == SAE:
        return Choice(True, "a sparse search is always exact")
    if total <= GRAPH_FROM:
        return Choice(True, f"up to {GRAPH_FROM:,} points a scan is quick")
    if share < GRAPH_SHARE:
        return Choice(
            True, f"the filter leaves {share:.1%}: a scan of that is quick, a graph would lose some"
        )
    return Choice(False, f"{points:,.0f} points: a scan would be slow, a graph loses few of them")


def _after(query: Query, setting: Setting) -> Choice[float | None]:
    share = setting.estimate.low / max(1, setting.total)
    is_filtered = query.where is not None or query.query_filter is not None
    is_plain = query.using == DENSE and bool(query.text.strip()) and not setting.has_rescorer
    least = AFTER_SHARE if setting.is_indexed else AFTER_SHARE_UNINDEXED
    if not is_filtered:
        return Choice(None, "no filter")
    if not setting.prefers_postfilter or not is_plain or setting.total < AFTER_FROM or share < least:
        return Choice(None, "the engine filters as it searches")
    near = setting.near()
    if near is not None and near < NEAR_SHARE:
        return Choice(None, f"of the points nearest to the query {near:.0%} match: filtered within")
    share = share if near is None else min(share, near)
    return Choice(
        share, f"at least {share:.0%} match: all vectors are scanned, and the best of them filtered"
    )


def _pool(query: Query, has_rescorer: bool) -> Choice[int | None]:
    same = "the same for every page, so that pages agree"
    if has_rescorer:
        return Choice(POOL, f"what the second pass scores; {same}")
    if query.using == "fused" and query.text.strip():
        return Choice(POOL, f"of each source; {same}")
    if query.diversity:
        return Choice(DIVERSITY_POOL, f"put in another order; {same}")
    return Choice(None, "the page alone is asked for")
