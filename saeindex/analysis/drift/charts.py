"""Charts of drift: shares by period, one small panel for each finding."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from saeindex.analysis.stats.evidence import FAMILY, Family
from saeindex.report.charts import BLUE, GREY, ORANGE, Chart, inline, told_apart
from saeindex.types import shortened

if TYPE_CHECKING:
    from saeindex.analysis.drift.results import Drift, Trend

# Panels of each family; their columns, and their size in pixels.
SHOWN, COLUMNS = 12, 3
PANEL_WIDTH, PANEL_HEIGHT = 185, 84
LETTERS = 30


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
    import altair as alt

    periods = told_apart([one.name for one in found.periods])
    labels = told_apart([shortened(one.shown, LETTERS) for one in trends])
    rows = [
        {
            "panel": label,
            "label": one.shown,
            "period": period,
            "share": share,
            "records": where.records,
            "way": "rises" if one.effect > 0 else "falls",
            "starts": where.name == one.at,
        }
        for label, one in zip(labels, trends, strict=True)
        for period, where, share in zip(periods, found.periods, one.shares, strict=True)
    ]
    every = max(1, -(-len(periods) // 8))
    shown = [period for place, period in enumerate(periods) if place % every == 0]
    x_axis = alt.Axis(
        title=None, labelAngle=-45 if len(periods) > 4 else 0, values=shown, labelFontSize=9, labelLimit=70
    )
    x = alt.X("period:O", sort=periods, scale=alt.Scale(domain=periods), axis=x_axis)
    y_axis = alt.Axis(title=None, format=".3~%", tickCount=3, labelFontSize=9)
    y = alt.Y("share:Q", axis=y_axis, scale=alt.Scale(domainMin=0))
    way = alt.Color("way:N", scale=alt.Scale(domain=["rises", "falls"], range=[BLUE, ORANGE]), legend=None)
    tooltip = [
        alt.Tooltip("label:N", title="finding"),
        alt.Tooltip("period:N", title=found.over),
        alt.Tooltip("share:Q", format=".1%"),
        alt.Tooltip("records:Q", title="of records", format=","),
    ]
    base = alt.Chart(width=PANEL_WIDTH, height=PANEL_HEIGHT).encode(x=x)
    rule = base.transform_filter("datum.starts").mark_rule(color=GREY, strokeDash=[3, 3])
    lines = base.mark_line(strokeWidth=1.8).encode(y=y, color=way)
    dots = base.mark_point(filled=True, size=24, opacity=1).encode(y=y, color=way, tooltip=tooltip)
    header = alt.Header(title=None, labelLimit=PANEL_WIDTH + 25, labelAnchor="start", labelPadding=4)
    return (
        alt.layer(rule, lines, dots, data=inline(rows))
        .facet(facet=alt.Facet("panel:N", sort=labels, header=header), columns=COLUMNS, spacing=22)
        .resolve_scale(y="independent")
        .resolve_axis(x="independent")
    )
