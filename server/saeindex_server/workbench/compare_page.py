"""The page that compares two groups of records: what each speaks of more, with sentences and counts."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from saeindex.analysis.diff.results import Diff
from saeindex.operations.differences import DiffGroups
from saeindex.report.numbers import chance, counted
from saeindex.types import shortened
from saeindex_server.workbench.analysis_page import AXIS, BLUE, ORANGE, AnalysisPage, Blank, Seen
from saeindex_server.workbench.conditions import both

if TYPE_CHECKING:
    from saeindex.analysis.diff.results import Finding

FINDINGS, WORDS, NAMED = 12, 24, 7
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
                one.group == "a", number % FINDINGS < NAMED,
            )
            for number, one in enumerate(shown)
        ]  # fmt: skip
        return volcano(points, "← more in the second group · points of difference · more in the first →")

    def more(self, found: Diff) -> list[str]:
        """Return the words and the clusters of each group."""
        lines = []
        for family in ("words", "clusters"):
            for group, _ in SIDES:
                own = [one.shown for one in found.findings.get(family, ()) if one.group == group]
                if own:
                    condition = shortened(self._condition(group), 60)
                    lines.append(f"{family.capitalize()} more in {condition}: {', '.join(own[:WORDS])}")
        return lines


def _of(found: Diff, group: str) -> list[Finding]:
    return [one for one in found.findings["concepts"] if one.group == group][:FINDINGS]


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
