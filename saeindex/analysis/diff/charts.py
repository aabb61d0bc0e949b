"""Charts of a comparison: all findings by difference and certainty, the largest with their intervals."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from math import log10
from typing import TYPE_CHECKING, Any

from saeindex.analysis.stats.evidence import FAMILY
from saeindex.report.charts import (
    INK,
    WIDTH,
    Chart,
    colour_scale,
    free_sides,
    inline,
    name_axis,
    shape_scale,
    told_apart,
)
from saeindex.types import shortened

if TYPE_CHECKING:
    from saeindex.analysis.diff.results import Diff, Finding

SHOWN = 15
HEIGHT = 340
# q below this is told as this: what is smaller differs by rounding.
LEAST_Q = 1e-300
# Letters of a label beside a mark.
LETTERS = 26
# Sides of a mark: how its label is aligned there, and by how many pixels it is moved.
SIDES = (("right", "left", 7, 0), ("left", "right", -7, 0), ("above", "center", 0, -13))


def volcano(diff: Diff) -> Chart:
    """Return all findings by difference and certainty, related ones included."""
    import altair as alt

    groups = tuple(diff.groups)
    rows = [_row(one) for found in diff.findings.values() for one in _all(found)]
    families = [FAMILY[family] for family, found in diff.findings.items() if found]
    least = -log10(diff.alpha)
    edges = _edges([row["points"] for row in rows], 0.0), _edges([row["sure"] for row in rows], least)
    _place_labels(rows, *edges)
    x = alt.X("points:Q", title=_difference(groups), scale=alt.Scale(domain=list(edges[0]), nice=False))
    y = alt.Y("sure:Q", title="−log₁₀ q", scale=alt.Scale(domain=list(edges[1]), nice=False))
    base = alt.Chart(inline(rows), width=WIDTH, height=HEIGHT).encode(x=x, y=y)
    dots = base.mark_point(filled=True, size=46, opacity=0.75).encode(
        color=colour_scale(families), shape=shape_scale(families), tooltip=_tooltip(groups)
    )
    names = [
        base.transform_filter(alt.datum.side == side)
        .mark_text(fontSize=10.5, color=INK, align=align, dx=dx, dy=dy)
        .encode(text="short:N")
        for side, align, dx, dy in SIDES
    ]
    zero = alt.Chart(inline([{"points": 0}])).mark_rule(color="#b8c0c8").encode(x=alt.X("points:Q"))
    caption = (
        f"Each mark is a finding (q ≤ {diff.alpha:g}): the further from 0 the larger the difference, the "
        "higher the surer. Error rates hold within each family."
    )
    return Chart("Findings by difference and certainty", caption, alt.layer(zero, dots, *names))


def forest(title: str, found: Sequence[Finding], groups: Sequence[str]) -> Chart:
    """Return the first findings of a family with their intervals."""
    import altair as alt

    rows = [_row(one) for one in found[:SHOWN]]
    labels = told_apart([row["label"] for row in rows])
    for row, label in zip(rows, labels, strict=True):
        row |= {"label": label, "colour": f"more in {row['group']}"}
    ordered = [row["label"] for row in sorted(rows, key=lambda row: -row["points"])]
    names = [f"more in {name}" for name in groups]
    colour = colour_scale(names, [name for name in names if any(row["colour"] == name for row in rows)])
    y = alt.Y("label:N", sort=ordered, axis=name_axis())
    base = alt.Chart(inline(rows), width=WIDTH - 230, height=alt.Step(22)).encode(y=y)
    bars = base.mark_rule(strokeWidth=2).encode(
        x=alt.X("low:Q", title=_difference(groups)), x2="high:Q", color=colour
    )
    dots = base.mark_point(filled=True, size=64, opacity=1).encode(
        x="points:Q", color=colour, tooltip=_tooltip(groups)
    )
    zero = alt.Chart(inline([{"points": 0}])).mark_rule(color=INK, strokeDash=[3, 3]).encode(x="points:Q")
    shown = f"The {len(rows)} largest of {len(found):,}" if len(found) > len(rows) else "All"
    caption = f"{shown} findings, with 95 % intervals of the difference."
    return Chart(f"{title} with intervals", caption, alt.layer(zero, bars, dots))


def _all(found: Sequence[Finding]) -> Iterator[Finding]:
    for one in found:
        yield one
        yield from one.related


def _row(one: Finding) -> dict[str, Any]:
    return {
        "label": one.shown,
        "short": shortened(one.shown, LETTERS),
        "colour": FAMILY[one.family],
        "group": one.group,
        "points": 100 * one.effect,
        "low": 100 * one.ci[0],
        "high": 100 * one.ci[1],
        "q": one.q,
        "sure": -log10(max(one.q, LEAST_Q)),
        "side": "",
        **{f"share{place}": share for place, share in enumerate(one.freq.values())},
    }


def _difference(names: Sequence[str]) -> str:
    if len(names) != 2:
        return "difference to the strongest other group (percentage points)"
    first, second = (shortened(name, LETTERS) for name in names)
    return f"← more in {second} · percentage points · more in {first} →"


def _tooltip(groups: Sequence[str]) -> list[Any]:
    import altair as alt

    shares = [
        alt.Tooltip(f"share{place}:Q", title=f"share of {name}", format=".1%")
        for place, name in enumerate(groups)
    ]
    return [
        alt.Tooltip("label:N", title="finding"),
        alt.Tooltip("group:N", title="more in"),
        *shares,
        alt.Tooltip("points:Q", title="difference (points)", format="+.1f"),
        alt.Tooltip("low:Q", title="95 % from", format="+.1f"),
        alt.Tooltip("high:Q", title="to", format="+.1f"),
        alt.Tooltip("q:Q", title="q", format=".2g"),
    ]


def _edges(values: Sequence[float], inside: float) -> tuple[float, float]:
    """Return the ends of an axis: all values and one that is to be ``inside``, with room."""
    low, high = min(inside, *values), max(inside, *values)
    room = 0.09 * (high - low) or 1.0
    return low - room, high + room


def _place_labels(rows: list[dict[str, Any]], x: tuple[float, float], y: tuple[float, float]) -> None:
    """Choose the marks that get their label: the largest and surest first, where there is room."""
    across, down = WIDTH / (x[1] - x[0]), HEIGHT / (y[1] - y[0])
    spots = [((row["points"] - x[0]) * across, (y[1] - row["sure"]) * down) for row in rows]
    order = sorted(range(len(rows)), key=lambda place: -abs(rows[place]["points"]) * rows[place]["sure"])
    sides = free_sides(spots, [row["short"] for row in rows], order, WIDTH)
    for row, side in zip(rows, sides, strict=True):
        row["side"] = side
