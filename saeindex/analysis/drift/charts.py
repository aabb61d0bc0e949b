"""Charts of drift: shares by period, one panel for each finding."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from saeindex.analysis.drift.results import Drift, Trend
from saeindex.analysis.stats.choices import FAMILY, Family
from saeindex.report.charts import BLUE, GREY, ORANGE, Chart, alt, inline, tooltip, unique_labels
from saeindex.types import shortened

# Maximum number of panels of each family, and of a row.
SHOWN, COLUMNS = 12, 3
# Pixels of a panel, and maximum number of letters of its title.
PANEL_WIDTH, PANEL_HEIGHT, LETTERS = 185, 84, 30
# Maximum number of periods that are named on an axis.
NAMED = 8


def panels(found: Drift, family: Family) -> Chart:
    """Return the largest findings of a family as small panels of their shares."""
    trends = found.findings[family]
    shown = trends[:SHOWN]
    count = f"the {len(shown)} largest of {len(trends):,}" if len(trends) > len(shown) else "all"
    caption = (
        f"Share of records by {found.over}, each panel on its own scale; {count} findings "
        f"(q ≤ {found.alpha:g}). Blue rises, orange falls; a grey line marks where a change begins."
    )
    return Chart(f"{FAMILY[family]} that drift", caption, _panels(found, shown))


def _panels(found: Drift, trends: Sequence[Trend]) -> Any:
    periods = unique_labels([one.name for one in found.periods])
    labels = unique_labels([shortened(one.shown, LETTERS) for one in trends])
    rows = [
        {
            "panel": label, "label": one.shown, "period": period, "share": share, "records": interval.records,
            "way": "rises" if one.effect > 0 else "falls", "starts": interval.name == one.at,
        }
        for label, one in zip(labels, trends, strict=True)
        for period, interval, share in zip(periods, found.periods, one.shares, strict=True)
    ]  # fmt: skip
    named = periods[:: max(1, -(-len(periods) // NAMED))]
    angle = -45 if len(periods) > 4 else 0
    x_axis = alt.Axis(title=None, labelAngle=angle, values=named, labelFontSize=9, labelLimit=70)
    y_axis = alt.Axis(title=None, format=".3~%", tickCount=3, labelFontSize=9)
    x = alt.X("period:O", sort=periods, scale=alt.Scale(domain=periods), axis=x_axis)
    y = alt.Y("share:Q", axis=y_axis, scale=alt.Scale(domainMin=0))
    colour = alt.Color("way:N", scale=alt.Scale(domain=["rises", "falls"], range=[BLUE, ORANGE]), legend=None)
    records = ("records:Q", "of records", ",")
    tips = tooltip(("label:N", "finding"), ("period:N", found.over), ("share:Q", "share", ".1%"), records)
    base = alt.Chart(width=PANEL_WIDTH, height=PANEL_HEIGHT).encode(x=x)
    rule = base.transform_filter("datum.starts").mark_rule(color=GREY, strokeDash=[3, 3])
    lines = base.mark_line(strokeWidth=1.8).encode(y=y, color=colour)
    dots = base.mark_point(filled=True, size=24, opacity=1).encode(y=y, color=colour, tooltip=tips)
    header = alt.Header(title=None, labelLimit=PANEL_WIDTH + 25, labelAnchor="start", labelPadding=4)
    facet = alt.Facet("panel:N", sort=labels, header=header)
    chart = alt.layer(rule, lines, dots, data=inline(rows)).facet(facet=facet, columns=COLUMNS, spacing=22)
    return chart.resolve_scale(y="independent").resolve_axis(x="independent")
