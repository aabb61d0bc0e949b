"""The page of drift: what rises and falls over a field, and the records of a period."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, Any

from nicegui import ui

from saeindex.analysis.drift.report import bars
from saeindex.analysis.drift.results import Drift
from saeindex.errors import SaeIndexError
from saeindex.language.ast import moment_in
from saeindex.operations.differences import DriftOver
from saeindex.report.numbers import chance
from saeindex.types import shortened
from saeindex_server.workbench.analysis_page import AXIS, GREY, AnalysisPage, Blank, Seen
from saeindex_server.workbench.conditions import both, literal

if TYPE_CHECKING:
    from saeindex.analysis.drift.results import Trend

FINDINGS, LINES = 10, 4


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

    def said(self, found: Drift) -> str:
        """Say how many findings there are, and how many of them chance may explain."""
        records, first, last = sum(one.records for one in found.periods), found.periods[0], found.periods[-1]
        over = f"{found.over}, from {first.first} to {last.last}, in {records:,} records"
        expected = f"In each family at most {found.alpha:.0%} of them are expected to be chance"
        return f"{len(found)} findings over {over}. {expected}."

    def lists(self, found: Drift) -> list[tuple[str, list[Seen]]]:
        """Return what rises and what falls."""
        return [
            (heading, [self._seen_of(one) for one in _going(found, direction)])
            for heading, direction in (("Rising", "up"), ("Falling", "down"))
        ]

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
    return [one for one in found.findings["concepts"] if one.direction == direction][:FINDINGS]


def _within(field: str, first: Any, last: Any) -> str:
    low, high = literal(first), literal(last)
    return f"{field} = {low}" if first == last else f"{field} BETWEEN {low} AND {high}"
