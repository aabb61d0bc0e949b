"""The pages of analyses: comparisons, trends, pairs and clusters."""

from __future__ import annotations

import math
from contextlib import suppress
from typing import Any

from nicegui import ui

from saeindex.analysis.cluster.results import Cluster, Clustering
from saeindex.analysis.correlate.results import ConceptPair, Correlations
from saeindex.analysis.diff.results import Diff, Finding
from saeindex.analysis.drift.report import bars
from saeindex.analysis.drift.results import Drift, Trend
from saeindex.errors import SaeIndexError
from saeindex.language.ast import moment_in
from saeindex.operations.associations import ClusterAlong, Correlate
from saeindex.operations.differences import DiffGroups, DriftOver
from saeindex.report.numbers import chance, counted
from saeindex.types import shortened
from saeindex_server.workbench.analysis_page import AXIS, BLUE, GREY, ORANGE, AnalysisPage, Blank, Seen
from saeindex_server.workbench.conditions import both, literal

DIFFERENCES, WORDS, NAMED = 12, 24, 7
SIDES = (("a", "b"), ("b", "a"))
# The least q that is told from 0 in a chart.
LEAST_Q = 1e-30


class ComparePage(AnalysisPage[Diff]):
    """One open page of a comparison."""

    path, verb = "compare", "Compare"
    purpose = "Say which records: what they speak of more and less than others, and how sure that is."
    waiting = "Comparing: this reads all records of both groups."
    blanks = (
        Blank("a", "Records where", 'metadata.year < 1970, or "crime"', is_needed=True),
        Blank("b", "Against records where (all others)", "metadata.year > 1990"),
    )

    def asked(self) -> DiffGroups:
        """Return the comparison."""
        return DiffGroups(a=self.given["a"], b=self.given["b"] or None)

    def _condition(self, group: str) -> str:
        return self.given[group] or f"NOT ({self.given['a']})"

    def said(self, found: Diff) -> str:
        """Say how many findings there are, and how many of them chance may explain."""
        counts = found.groups
        between = f"between {counts['a']:,} and {counts['b']:,} records"
        kinds = [counted(len(of), family.removesuffix("s")) for family, of in found.findings.items() if of]
        if not kinds:
            return f"Nothing differs {between} by more than chance explains."
        return (
            f"{' and '.join(kinds)} differ {between}. Of each of these at most {found.alpha:.0%} are "
            "expected to be chance."
        )

    def none(self, found: Diff) -> str:
        """Say how large a difference would have been found four times in five."""
        enough = [
            f"One that {one.base:.0%} of the second speak of is found from {one.share:.0%} of the first."
            for one in found.power
            if one.family == "concepts" and one.share is not None
        ]
        return " ".join(["No concept differs.", *enough[-1:], "Smaller differences may be there."])

    def lists(self, found: Diff) -> list[tuple[str, list[Seen]]]:
        """Return what each group speaks of more."""
        return [
            (
                f"More in: {shortened(self._condition(group), 80)}",
                [self._seen_in(one, group, other, found) for one in _of(found, group)],
            )
            for group, other in SIDES
        ]

    def _seen_in(self, one: Finding, group: str, other: str, found: Diff) -> Seen:
        low, high = sorted(100 * abs(end) for end in one.ci)
        adjusted = f"compared at the same {', '.join(found.strata)}: " if found.strata else ""
        remark = f"{adjusted}{100 * abs(one.effect):.0f} points more ({low:.0f} to {high:.0f})"
        if one.related:
            remark += f"; with {', '.join(related.label for related in one.related)}"
        return Seen(
            one.label,
            f"{one.freq[group]:.0%} of these, {one.freq[other]:.0%} of the others",
            remark,
            f"q {chance(one.q)}",
            one.feature,
            both(self._condition(group), f"#{one.feature}"),
            examples=one.examples.get(group, ()),
        )

    def chart(self, found: Diff, seen: list[Seen]) -> dict[str, Any]:
        """Return a volcano plot: how large each difference is, and how sure."""
        shown = [one for group, _ in SIDES for one in _of(found, group)]
        points = [
            point(
                number, one.label, 100 * abs(one.effect) * (1 if one.group == "a" else -1), one.q,
                one.group == "a", number % DIFFERENCES < NAMED,
            )
            for number, one in enumerate(shown)
        ]  # fmt: skip
        return volcano(points, "← more in the second group · points of difference · more in the first →")

    def more(self, found: Diff) -> list[str]:
        """Return the words and the clusters of each group."""
        lines = []
        for family in ("words", "clusters"):
            for group, _ in SIDES:
                if own := [one.shown for one in found.findings.get(family, ()) if one.group == group]:
                    condition = shortened(self._condition(group), 60)
                    lines.append(f"{family.capitalize()} more in {condition}: {', '.join(own[:WORDS])}")
        return lines


def _of(found: Diff, group: str) -> list[Finding]:
    return [one for one in found.findings["concepts"] if one.group == group][:DIFFERENCES]


def point(number: int, name: str, across: float, q: float, is_more: bool, is_named: bool) -> dict[str, Any]:
    """Return the point of a finding in a volcano plot."""
    return {
        "name": shortened(name, 36),
        "value": [across, -math.log10(max(q, LEAST_Q))],
        "finding": number,
        "itemStyle": {"color": BLUE if is_more else ORANGE},
        "label": {"show": is_named},
    }


def volcano(points: list[dict[str, Any]], across: str, kind: str = "value") -> dict[str, Any]:
    """Return a chart of points (x, -log10 q) with their names."""
    return {
        "grid": {"left": 50, "right": 20, "top": 32, "bottom": 45},
        "tooltip": {"renderMode": "richText", "formatter": "{b}"},
        "xAxis": {**AXIS, "type": kind, "name": across, "nameLocation": "middle", "nameGap": 26},
        "yAxis": {**AXIS, "name": "surer ↑", "type": "value"},
        "series": [
            {
                "type": "scatter",
                "symbolSize": 11,
                "data": points,
                "label": {"formatter": "{b}", "position": "top", "color": "inherit", "fontSize": 11},
                "labelLayout": {"hideOverlap": True},
            }
        ],
    }


TRENDS, LINES = 10, 4


class DriftPage(AnalysisPage[Drift]):
    """One open page of a drift analysis."""

    path, verb = "drift", "Show trends"
    purpose = "Name a field that has an order, such as a year: what records speak of more and less along it."
    waiting = "Looking for trends: this reads all records."
    blanks = (
        Blank("over", "Over the field", "metadata.year", is_condition=False, is_needed=True),
        Blank("where", "Of records where (all)", '"economy"'),
    )

    def build(self) -> None:
        """Show the page, and what there are trends over."""
        super().build()
        ui.timer(0, self._offer_fields, once=True)

    async def _offer_fields(self) -> None:
        """Complete the names of fields; where one alone has an order, it is meant."""
        with suppress(SaeIndexError):  # the page says so where it is used
            fields = await (await self._open()).run(lambda opened: opened.metadata_fields())
            blank: ui.input = self._blanks["over"]
            blank.set_autocomplete([one.field for one in fields])
            ordered = [one.field for one in fields if "numbers" in one.kinds or moment_in(str(one.example))]
            if not blank.value and len(ordered) == 1:
                blank.value = ordered[0]

    def asked(self) -> DriftOver:
        """Return the analysis."""
        return DriftOver(self.given["over"], where=self.given["where"] or None)

    def lists(self, found: Drift) -> list[tuple[str, list[Seen]]]:
        """Return what rises and what falls."""
        ways = ("Rising", "up"), ("Falling", "down")
        return [(heading, [self._seen_of(one) for one in _going(found, way)]) for heading, way in ways]

    def _seen_of(self, one: Trend) -> Seen:
        side = "late" if one.effect > 0 else "early"
        return Seen(
            one.label,
            f"{bars(one.shares)}  {one.shares[0]:.0%} to {one.shares[-1]:.0%}",
            "" if one.kind == "trend" else f"{one.kind}{f' at {one.at}' if one.at else ''}",
            f"q {chance(one.q)}",
            one.feature,
            both(self.given["where"], f"#{one.feature}"),
            examples=one.examples.get(side, ()),
        )

    def chart(self, found: Drift, seen: list[Seen]) -> dict[str, Any]:
        """Return the shares of the first findings by period; a point is the records of its period."""
        rising, falling = _going(found, "up"), _going(found, "down")
        firsts = [*enumerate(rising[:LINES]), *enumerate(falling[:LINES], len(rising))]
        series = [
            {
                "name": shortened(one.label, 24),
                "type": "line",
                "symbolSize": 8,
                "data": [
                    {
                        "value": round(100 * share, 2),
                        "finding": number,
                        "where": both(seen[number].where, _within(found.over, period.first, period.last)),
                    }
                    for share, period in zip(one.shares, found.periods, strict=True)
                ],
            }
            for number, one in firsts
        ]
        return {
            "grid": {"left": 50, "right": 20, "top": 50, "bottom": 40},
            "legend": {"type": "scroll", "top": 0, "textStyle": {"color": GREY}},
            "tooltip": {"renderMode": "richText", "formatter": "{a}, {b}: {c} %"},
            "xAxis": {**AXIS, "type": "category", "data": [shortened(one.name, 24) for one in found.periods]},
            "yAxis": {**AXIS, "name": "% of records"},
            "series": series,
        }


def _going(found: Drift, direction: str) -> list[Trend]:
    return [one for one in found.findings["concepts"] if one.direction == direction][:TRENDS]


def _within(field: str, first: Any, last: Any) -> str:
    low, high = literal(first), literal(last)
    return f"{field} = {low}" if first == last else f"{field} BETWEEN {low} AND {high}"


# The listed pairs of a kind, and the least lift that a chart shows.
PAIRS, LEAST_LIFT = 15, 0.01


class CorrelatePage(AnalysisPage[Correlations]):
    """One open page of correlations."""

    path, verb = "correlate", "Find pairs"
    purpose = "Which concepts come together in a record, and which avoid each other."
    waiting = "Counting pairs of concepts: this reads all records."
    blanks = (Blank("where", "Of records where (all)", 'metadata.year > 1990, or "crime"'),)

    def asked(self) -> Correlate:
        """Return the analysis."""
        return Correlate(where=self.given["where"] or None)

    def lists(self, found: Correlations) -> list[tuple[str, list[Seen]]]:
        """Return the pairs that come together, and those that avoid each other."""
        return [
            ("Together more than by chance", [self._seen_of(one) for one in found.results[:PAIRS]]),
            ("Together less than by chance", [self._seen_of(one) for one in found.avoided[:PAIRS]]),
        ]

    def _seen_of(self, one: ConceptPair) -> Seen:
        pair = f"#{one.a.feature} AND #{one.b.feature}"
        return Seen(
            f"{one.a.label} · {one.b.label}",
            f"{one.support:.0f} records, by chance {one.expected:.1f}",
            f"{one.p_b_given_a:.0%} of those with {one.a.label} have {one.b.label}",
            f"q {chance(one.q)}",
            where=both(self.given["where"], pair),
            about=f"{one.a.label} {one.b.label}",
            examples=one.examples,
        )

    def chart(self, found: Correlations, seen: list[Seen]) -> dict[str, Any]:
        """Return a volcano plot: how many times as often as by chance, and how sure."""
        pairs = [*found.results[:PAIRS], *found.avoided[:PAIRS]]
        points = [
            point(
                number, seen[number].label, max(one.lift, LEAST_LIFT), one.q, one.evidence > 0,
                number % PAIRS < PAIRS // 2,
            )
            for number, one in enumerate(pairs)
        ]  # fmt: skip
        return volcano(points, "times as often together as by chance", "log")


CONCEPTS = 4


class ClusterPage(AnalysisPage[Clustering]):
    """One open page of clusters."""

    path, verb = "clusters", "Cluster"
    purpose = "Name an axis, and two or more ends of it: each record goes to the one that it is nearest to."
    waiting = "Clustering: this reads all records."
    blanks = (
        Blank("axis", "Along an axis", "tone: angry, calm, joking", is_condition=False, is_needed=True),
        Blank("where", "Of records where (all)", "metadata.year > 1990"),
    )

    def asked(self) -> ClusterAlong:
        """Return the analysis."""
        return ClusterAlong(self.given["axis"], where=self.given["where"] or None)

    def lists(self, found: Clustering) -> list[tuple[str, list[Seen]]]:
        """Return the clusters."""
        return [("Clusters", [_seen_of(one) for one in found.clusters])]

    def chart(self, found: Clustering, seen: list[Seen]) -> dict[str, Any]:
        """Return the sizes of the clusters."""
        names = [shortened(one.name, 24) for one in found.clusters]
        sizes = [{"value": one.size, "finding": number} for number, one in enumerate(found.clusters)]
        return {
            "grid": {"left": 110, "right": 30, "top": 10, "bottom": 30},
            "tooltip": {"renderMode": "richText", "formatter": "{b}: {c} records"},
            "xAxis": {**AXIS, "type": "value"},
            "yAxis": {**AXIS, "type": "category", "inverse": True, "data": names},
            "series": [{"type": "bar", "data": sizes, "itemStyle": {"color": BLUE}, "barMaxWidth": 26}],
        }


def _seen_of(one: Cluster) -> Seen:
    spoken = ", ".join(f"{each.label} ×{each.lift:.1f}" for each in one.concepts[:CONCEPTS])
    return Seen(
        one.name,
        f"{one.size:,} records, {one.share:.0%}",
        f"speaks more of {spoken}" if spoken else "",
        examples=(*one.central, *one.borderline),
    )
