"""The report of drift: rising and falling concepts, change points, records, and shares by period."""

from __future__ import annotations

from collections.abc import Sequence

from saeindex.analysis.diff import report as shared
from saeindex.analysis.drift.results import Drift, Trend
from saeindex.analysis.stats.options import FAMILY, Family
from saeindex.report import model
from saeindex.report.charts import BLUE, GREY, ORANGE, Chart, alt, inline, tooltip, unique_labels
from saeindex.report.model import Block, Description, Figure, Section, describe, table
from saeindex.report.numbers import Number, chance, counted, interval, percent, points
from saeindex.types import shortened

# The heights of a bar.
BARS = "▁▂▃▄▅▆▇█"


@describe.register(Drift)
def _(drift: Drift) -> Description:
    columns = {"period": "name", "from": (Number, "first"), "to": (Number, "last"), "records": "records"}
    rate = percent(drift.alpha, 0)
    return Description(
        question=f"What drifts over {drift.over}?",
        summary=_summary(drift),
        method=[f"{drift.method}. {shared.unit_sentence(drift.unit)}", shared.strata_sentence(drift.strata)],
        details=[
            f"Of the findings of a family about {rate} at most are expected to be due to chance (q).",
            "Fitted shares of a trend are those of the first and the last period on a logistic line; of a "
            "change, those before and after it. The difference is that of these two.",
            table(f"Periods of {drift.over}", drift.periods, columns, shown=0),
        ],
        sections=[
            *([] if drift.not_comparable else [Section("Findings", _findings(drift))]),
            *shared.evidence(drift.findings, lambda one: f"goes {one.direction}, {one.kind}"),
        ],
        notes=drift.notes,
        limits=shared.LIMITS,
    )


def _summary(drift: Drift) -> list[str]:
    records = sum(one.records for one in drift.periods)
    rising, falling = (
        shared.first_of_each(drift.findings, direction=direction) for direction in ("up", "down")
    )
    found = f"{counted(len(drift), 'finding')}." if len(drift) else "Nothing was found to drift."
    return [
        f"{records:,} records by {drift.over}, in {len(drift.periods)} periods.",
        f"Not comparable: {drift.not_comparable}." if drift.not_comparable else found,
        *([f"Rising: {rising}."] if rising else []),
        *([f"Falling: {falling}."] if falling else []),
    ]


def _findings(drift: Drift) -> list[Block]:
    columns = {
        "finding": shared.with_related, "course": (bars, "shares"), "what": lambda one: _kind(one, drift.per),
        "from": lambda one: one.at or "–",
        "fitted, first": lambda one: percent(one.fitted[0]),
        "fitted, last": lambda one: percent(one.fitted[-1]),
        "difference, points": (points, "effect"), "95 % interval": lambda one: interval(*one.ci),
        "q": (chance, "q"), "records": "support",
    }  # fmt: skip

    def shown(family: Family) -> list[Block]:
        caption = f"{FAMILY[family]}, the largest effect first"
        rows = table(caption, drift.findings[family], columns, in_notebook=model.NOTEBOOK_ROWS)
        return [Figure(panels, drift, family), rows]

    return shared.by_family(drift.findings, drift.tested, shown)


def _kind(one: Trend, per: str) -> str:
    """Return what kind of change it is; a slope is small, and is shown to two digits."""
    slope = f"{100 * one.slope:+.2g}".replace("-", "−")
    return f"trend, {slope} points per {per}" if one.kind == "trend" else one.kind


def bars(shares: Sequence[float]) -> str:
    """Return shares as bars, relative to the largest."""
    top = max(*shares, 1e-12)
    return "".join(BARS[min(len(BARS) - 1, int(share / top * len(BARS)))] for share in shares)


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
    periods = unique_labels([one.name for one in found.periods])
    labels = unique_labels([shortened(one.shown, LETTERS) for one in shown])
    rows = [
        {
            "panel": label, "label": one.shown, "period": period, "share": share, "records": interval.records,
            "way": "rises" if one.effect > 0 else "falls", "starts": interval.name == one.at,
        }
        for label, one in zip(labels, shown, strict=True)
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
    chart = chart.resolve_scale(y="independent").resolve_axis(x="independent")
    return Chart(f"{FAMILY[family]} that drift", caption, chart)
