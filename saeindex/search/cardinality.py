"""Estimates of the number of points that match a condition, from exact counts and from a sample.

If k of m sampled points match, out of N points, the estimate is N k / m. The interval is Wilson's (95 %), for
m (N - 1) / (N - m) draws, because the sample is drawn without replacement. If too few sampled points match,
the parts are taken as independent of each other. Both estimates are limited to the range that the exact
counts of the parts allow (Fréchet's bounds):

    AND        max(0, a + b - N)       to  min(a, b)
    OR         max(a, b)               to  min(N, a + b)
    AT LEAST c (a + b + … - (c-1) N) / (n - c + 1)  to  (a + b + …) / c
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from saeindex.concepts.weighting import wilson
from saeindex.language.ast import (
    And,
    AtLeast,
    Between,
    Compare,
    Condition,
    Exists,
    Expression,
    FamilyTerm,
    FeatureTerm,
    Leaf,
    Not,
    OneOf,
    Or,
    Phrase,
    folded,
    required,
    walk,
)
from saeindex.language.evaluate import clauses
from saeindex.language.fields import NAMES, RECORD_ID, as_one_name, field_at, path_of
from saeindex.language.kinds import mismatch
from saeindex.language.to_filter import FeaturesOf, FoundRecords, level_codes, level_of
from saeindex.language.to_text import to_text

if TYPE_CHECKING:
    from qdrant_client.models import Filter

    from saeindex.collection.statistics import Mask, Statistics
    from saeindex.types import LevelName

# The deviations of a two-sided 95 % interval, and the minimum number of sampled matches for an estimate.
Z, MIN_SELECTED = 1.96, 5
# The minimum similarity (difflib) of a suggested field name.
METADATA, NEAR = "metadata.", 0.6
PRESENT = "present"


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


class Bounds(NamedTuple):
    """The range that exact counts allow, and the share of matches if parts were independent."""

    low: float
    high: float
    share: float


class Estimator:
    """Estimates the matches of conditions on one state of a collection."""

    def __init__(
        self, statistics: Statistics, features_of: FeaturesOf, level: LevelName | None = None
    ) -> None:
        """Bind the counts and the sample, and the function from a concept to its features."""
        self._statistics, self._features_of, self._level = statistics, features_of, level

    def estimate(self, where: Expression | None, query_filter: Filter | None, total: int) -> Estimate:
        """Return the estimated number of the current ``total`` points that match both conditions."""
        size = self._statistics.total
        bounds = Bounds(0, size, 1.0) if where is None else self.bounds(where)
        if query_filter is not None:
            chosen = self._statistics.with_filter(query_filter)
            share = float(chosen.mean()) if len(chosen) else 0.0
            bounds = Bounds(0, bounds.high, bounds.share * share)
        return _aged(_combined(self.selected(where, query_filter), bounds, size), size, total)

    def selected(self, where: Expression | None, query_filter: Filter | None) -> Mask:
        """Return which sampled points match both conditions (m,); with a native filter, m is smaller."""
        mask = np.ones(len(self._statistics), bool) if where is None else self.mask(where)
        if query_filter is None:
            return mask
        chosen = self._statistics.with_filter(query_filter)
        return mask[: len(chosen)] & chosen

    def kept_by_denials(self, where: Expression | None) -> Iterator[str]:
        """Yield a sentence for each NOT of a concept that keeps points with possible evidence of it."""
        for clause in () if where is None else clauses(where):
            leaf = clause.part if isinstance(clause, Not) else None
            if not isinstance(leaf, FeatureTerm | Phrase | FamilyTerm):
                continue
            cautious = leaf.model_copy(update={"level": "possible"})
            kept = self._leaf_mask(cautious) & ~self._leaf_mask(leaf)
            if (count := int(kept.sum())) and (leaf.level or self._level or PRESENT) == PRESENT:
                of_all = f"{count:,} of {len(kept):,} sampled points"
                instead = to_text(Not(part=cautious))
                yield f"{to_text(clause)} keeps {of_all} that possibly speak of it; {instead} leaves them out"

    def mask(self, node: Expression) -> Mask:
        """Return which sampled points match a node (m,)."""
        return folded(node, self._leaf_mask, np.logical_not, _at_least_of)

    def _leaf_mask(self, leaf: Leaf) -> Mask:
        if not isinstance(leaf, FeatureTerm | Phrase | FamilyTerm):
            return self._statistics.with_condition(leaf)
        found = self._features_of(leaf)
        if isinstance(found, FoundRecords):
            return self._statistics.among(found.at(level_of(leaf, self._level)))
        return self._statistics.with_any(level_codes(leaf, found, self._level))

    def bounds(self, node: Expression) -> Bounds:
        """Return the bounds of a node from the counts of its parts."""
        size = self._statistics.total
        return folded(
            node,
            self._leaf_bounds,
            lambda part: _opposite(part, size),
            lambda of, parts: _at_least(required(of), parts, size),
        )

    def _leaf_bounds(self, leaf: Leaf) -> Bounds:
        if not isinstance(leaf, FeatureTerm | Phrase | FamilyTerm):
            return self._condition_bounds(leaf)
        size, found = self._statistics.total, self._features_of(leaf)
        if isinstance(found, FoundRecords):
            count = len(found.at(level_of(leaf, self._level)))
            return Bounds(count, count, count / max(1, size))
        counts = self._statistics.code_counts[level_codes(leaf, found, self._level)]
        return _at_least(1, [Bounds(int(c), int(c), int(c) / max(1, size)) for c in counts], size)

    def _condition_bounds(self, node: Condition) -> Bounds:
        """Return the bounds of a condition from facets; without a facet, any number is possible."""
        size = self._statistics.total
        if isinstance(node, Compare) and node.op == "!=":
            opposite = Compare(field=node.field, op="=", value=node.value)
            return _opposite(self._condition_bounds(opposite), size)
        if isinstance(node, Compare) and node.op == "=" and node.field == RECORD_ID:
            return Bounds(0, size, 1 / max(1, size))
        counted = self._statistics.counted(node)
        if counted is None:
            mask = self._statistics.with_condition(node)
            return Bounds(0, size, float(mask.mean()) if len(mask) else 0.0)
        return Bounds(*counted, counted[1] / max(1, size))


def _at_least_of(node: And | Or | AtLeast, masks: Sequence[Mask]) -> Mask:
    """Return for which points enough masks are true for a node."""
    is_enough: Mask = np.sum(masks, axis=0) >= required(node)
    return is_enough


def _opposite(part: Bounds, size: int) -> Bounds:
    """Return the bounds of the negation."""
    return Bounds(size - part.high, size - part.low, 1 - part.share)


def _at_least(count: int, parts: Sequence[Bounds], size: int) -> Bounds:
    """Return the bounds of the points that match at least ``count`` of the parts."""
    lows, highs = sum(part.low for part in parts), sum(part.high for part in parts)
    low = max(0.0, (lows - (count - 1) * size) / (len(parts) - count + 1))
    high = min(size, highs / count)
    if count == 1:
        low = max(low, *(part.low for part in parts))
    if count == len(parts):
        high = min(high, *(part.high for part in parts))
    # The distribution of the number of matching parts, if independent, one part after the other.
    matching = np.array([1.0])
    for part in parts:
        matching = np.convolve(matching, [1 - part.share, part.share])
    return Bounds(low, high, float(matching[count:].sum()))


def _combined(mask: Mask, bounds: Bounds, size: int) -> Estimate:
    """Return the estimate from the sample, or from independent parts, within the bounds."""
    seen, selected = len(mask), int(mask.sum())
    if bounds.low == bounds.high:
        return Estimate(bounds.low, bounds.low, bounds.high, "counted exactly")
    low, high = (share * size for share in sampled_share(selected, seen, size))
    low, high = max(low, bounds.low, selected), min(high, bounds.high, size - (seen - selected))
    low, high = min(low, high), max(low, high)
    if selected >= MIN_SELECTED or seen == size:
        points, why = size * selected / max(1, seen), f"{selected:,} of {seen:,} sampled points"
    else:
        points = size * bounds.share
        why = f"{selected} of {seen:,} sampled points; parts taken as independent"
    return Estimate(min(max(points, low), high), low, high, why)


def sampled_share(selected: int, seen: int, size: int) -> tuple[float, float]:
    """Return Wilson's interval of a share, for a sample of ``seen`` out of ``size`` points."""
    if seen == 0:
        return 0.0, 1.0
    share = selected / seen
    if seen >= size:
        return share, share
    low, high = wilson(share, seen * (size - 1) / (size - seen), Z)
    return max(0.0, float(low)), min(1.0, float(high))


def _aged(found: Estimate, size: int, total: int) -> Estimate:
    """Return an estimate of ``size`` points for the current ``total``: any new or deleted point may match."""
    if size in (0, total):
        return found
    change = abs(total - size)
    low, high = max(0.0, found.low - change), min(float(total), found.high + change)
    return Estimate(min(max(found.points * total / size, low), high), low, high, found.why)


def fields_of(where: Expression | None) -> tuple[str, ...]:
    """Return the metadata fields that an expression names, once each."""
    return tuple(dict.fromkeys(node.field for node in _conditions(where)))


def _conditions(where: Expression | None) -> list[Condition]:
    """Return the conditions of an expression on metadata."""
    nodes = [] if where is None else [node for node, _ in walk(where)]
    return [n for n in nodes if isinstance(n, Compare | OneOf | Between | Exists) and n.field not in NAMES]


def warnings_of(where: Expression | None, estimate: Estimate, statistics: Statistics) -> tuple[str, ...]:
    """Return warnings on the filter, one sentence each."""
    found = [_unknown(field, statistics) for field in fields_of(where) if _is_unknown(field, statistics)]
    other = [mismatch(node, statistics.values(node.field)) for node in _conditions(where)]
    found += dict.fromkeys(one for one in other if one)
    if statistics.total and estimate.points < 0.5:
        found.append("no point seems to match the filter" if not estimate.is_certain else "no point matches")
    return tuple(found)


def warnings_of_groups(field: str, statistics: Statistics) -> tuple[str, ...]:
    """Return a warning if no record has the field to group by."""
    forms = {field_at(path) for path in (path_of(field), as_one_name(field))}
    has = any(value is not None for form in forms for value in statistics.values(form))
    return () if has or not len(statistics) else (_unknown(field, statistics),)


def _is_unknown(field: str, statistics: Statistics) -> bool:
    return len(statistics) > 0 and not statistics.with_condition(Exists(field=field)).any()


def _unknown(field: str, statistics: Statistics) -> str:
    near = near_field(field, statistics)
    return f"no sampled record has {field}" + (f"; did you mean {near}?" if near else "")


def near_field(field: str, statistics: Statistics) -> str | None:
    """Return the field of the sampled records whose name is the nearest to ``field``, if one is near."""
    known = sorted(each.removeprefix(METADATA) for each in statistics.fields)
    near = get_close_matches(field.removeprefix(METADATA), known, n=1, cutoff=NEAR)
    return f"{METADATA}{near[0]}" if near else None
