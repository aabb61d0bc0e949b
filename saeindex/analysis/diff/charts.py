"""Charts of a comparison: all findings by difference and certainty, the largest with their intervals."""

from __future__ import annotations

from collections.abc import Sequence
from math import log10
from typing import Any

from saeindex.analysis.diff.results import Diff, Finding
from saeindex.analysis.stats.choices import FAMILY
from saeindex.report import charts
from saeindex.report.charts import AXIS, INK, WIDTH, Chart, alt, inline
from saeindex.types import shortened

# Findings of a family that are drawn with their intervals.
SHOWN = 15
# Pixels of the chart of all findings.
HEIGHT = 340
# Smaller values of q are drawn as this one: they differ by rounding.
SMALLEST_Q = 1e-300
# Letters of a label beside a mark.
LETTERS = 26
SHAPES = ("circle", "triangle-up", "square", "diamond")
# Sides of a mark: how its label is aligned there, and by how many pixels it is moved.
SIDES = (("right", "left", 7, 0), ("left", "right", -7, 0), ("above", "center", 0, -13))


def volcano(diff: Diff) -> Chart:
    """Return all findings by difference and certainty, related ones included."""
    groups = tuple(diff.groups)
    found = [one for one in diff if one.q <= diff.alpha]
    rows = [_row(each) for one in found for each in (one, *one.related)]
    families = [FAMILY[family] for family in diff.findings if any(one.family == family for one in found)]
    across = _ends([row["points"] for row in rows], 0.0)
    up = _ends([row["sure"] for row in rows], -log10(diff.alpha))
    _place_labels(rows, across, up)
    base = alt.Chart(inline(rows), width=WIDTH, height=HEIGHT).encode(
        x=alt.X("points:Q", title=_difference(groups), scale=alt.Scale(domain=across, nice=False)),
        y=alt.Y("sure:Q", title="−log₁₀ q", scale=alt.Scale(domain=up, nice=False)),
    )
    shapes = alt.Scale(domain=families, range=SHAPES[: len(families)])
    dots = base.mark_point(filled=True, size=46, opacity=0.75).encode(
        color=charts.colour_scale(families),
        shape=alt.Shape("colour:N", scale=shapes, legend=charts.top_legend(families)),
        tooltip=_tooltip(groups),
    )
    labels = [
        base.transform_filter(alt.datum.side == side)
        .mark_text(fontSize=10.5, color=INK, align=align, dx=dx, dy=dy)
        .encode(text="short:N")
        for side, align, dx, dy in SIDES
    ]
    caption = (
        f"Each mark is a finding (q ≤ {diff.alpha:g}) or one related to it: the further from 0 the larger "
        "the difference, the higher the surer. Error rates hold within each family."
    )
    zero = charts.rule_at(0, AXIS, dash=())
    return Chart("Findings by difference and certainty", caption, alt.layer(zero, dots, *labels))


def forest(title: str, found: Sequence[Finding], groups: Sequence[str]) -> Chart:
    """Return the first findings of a family with their intervals."""
    first = found[:SHOWN]
    unique = zip(first, charts.unique_labels([one.shown for one in first]), strict=True)
    rows = [_row(one) | {"label": label, "colour": f"more in {one.group}"} for one, label in unique]
    ordered = [row["label"] for row in sorted(rows, key=lambda row: -row["points"])]
    names = [f"more in {name}" for name in groups]
    shown = [name for name in names if any(row["colour"] == name for row in rows)]
    base = alt.Chart(inline(rows), width=WIDTH - 230, height=alt.Step(22)).encode(
        y=alt.Y("label:N", sort=ordered, axis=charts.name_axis()), color=charts.colour_scale(names, shown)
    )
    low = alt.X("low:Q", title=_difference(groups))
    bars = base.mark_rule(strokeWidth=2).encode(x=low, x2="high:Q")
    dots = base.mark_point(filled=True, size=64, opacity=1).encode(x="points:Q", tooltip=_tooltip(groups))
    part = f"The {len(first)} largest of {len(found):,}" if len(found) > len(first) else "All"
    caption = f"{part} findings, with 95 % intervals of the difference."
    return Chart(f"{title} with intervals", caption, alt.layer(charts.rule_at(0), bars, dots))


def _row(one: Finding) -> dict[str, Any]:
    shares = {f"share{place}": share for place, share in enumerate(one.freq.values())}
    low, high = one.ci
    return {
        "label": one.shown, "short": shortened(one.shown, LETTERS), "colour": FAMILY[one.family],
        "group": one.group, **shares, "points": 100 * one.effect, "low": 100 * low, "high": 100 * high,
        "q": one.q, "sure": -log10(max(one.q, SMALLEST_Q)),
    }  # fmt: skip


def _difference(names: Sequence[str]) -> str:
    if len(names) != 2:
        return "difference to the strongest other group (percentage points)"
    first, second = (shortened(name, LETTERS) for name in names)
    return f"← more in {second} · percentage points · more in {first} →"


def _tooltip(groups: Sequence[str]) -> list[Any]:
    shares = [(f"share{place}:Q", f"share of {name}", ".1%") for place, name in enumerate(groups)]
    difference = ("points:Q", "difference (points)", "+.1f"), ("low:Q", "95 % from", "+.1f")
    names = ("label:N", "finding"), ("group:N", "more in")
    return charts.tooltip(*names, *shares, *difference, ("high:Q", "to", "+.1f"), ("q:Q", "q", ".2g"))


def _ends(values: Sequence[float], inside: float) -> list[float]:
    """Return the ends of an axis: all values and one that is to be ``inside``, with room."""
    low, high = min(inside, *values), max(inside, *values)
    room = 0.09 * (high - low) or 1.0
    return [low - room, high + room]


def _place_labels(rows: list[dict[str, Any]], x: list[float], y: list[float]) -> None:
    """Choose the marks that get their label: the largest and surest first, where there is room."""
    across, down = WIDTH / (x[1] - x[0]), HEIGHT / (y[1] - y[0])
    spots = [((row["points"] - x[0]) * across, (y[1] - row["sure"]) * down) for row in rows]
    order = sorted(range(len(rows)), key=lambda place: -abs(rows[place]["points"]) * rows[place]["sure"])
    sides = charts.free_sides(spots, [row["short"] for row in rows], order, WIDTH)
    for row, side in zip(rows, sides, strict=True):
        row["side"] = side
