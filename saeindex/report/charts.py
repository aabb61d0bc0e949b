"""What all pictures share: their frame, their colours, and labels that can be told apart."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import isfinite
from textwrap import wrap
from typing import Any

# Colours that people who do not see red or green can tell apart (Okabe and Ito 2008), dark enough on white.
BLUE, ORANGE, GREEN, PURPLE, GREY = "#0b62a4", "#c05a00", "#00795a", "#a0427a", "#8a939e"
COLOURS = (BLUE, ORANGE, GREEN, PURPLE, "#5b4b9a", "#8c6d00", "#3a8fc4", "#b3363e", "#4d6b22", "#6b6f76")
SHAPES = ("circle", "triangle-up", "square", "diamond")
INK, FAINT = "#1f2933", "#52606d"
WIDTH = 620
LABEL_PIXELS = 270
# Characters to a line of a caption inside a picture.
LINE = 108


@dataclass(frozen=True, slots=True)
class Picture:
    """A chart (an Altair chart) with what it shows, in words for who reads and for who cannot see it."""

    title: str
    caption: str
    chart: Any


def inline(rows: Sequence[dict[str, Any]]) -> Any:
    """Return rows as a chart's own data; what is no finite number is left empty."""
    import altair as alt

    return alt.InlineData(values=[{name: _finite(cell) for name, cell in row.items()} for row in rows])


def _finite(cell: Any) -> Any:
    return None if isinstance(cell, float) and not isfinite(cell) else cell


def framed(chart: Any) -> Any:
    """Return a chart that stands by itself: fonts and colours as in the others, no clipped names."""
    return (
        chart.configure(font="DejaVu Sans, Verdana, Arial, sans-serif", background="white", padding=10)
        .configure_axis(
            labelColor=INK,
            titleColor=FAINT,
            titleFontWeight="normal",
            gridColor="#e8ebee",
            domainColor="#b8c0c8",
            tickColor="#b8c0c8",
            labelFontSize=11,
            titleFontSize=11.5,
            titlePadding=8,
        )
        .configure_axisX(labelFlush=False)
        .configure_legend(labelColor=INK, titleColor=FAINT, titleFontWeight="normal", labelLimit=220)
        .configure_view(stroke=None)
        .configure_header(labelColor=INK, labelFontSize=11, titleColor=FAINT)
        .configure_title(color=INK, subtitleColor=FAINT, anchor="start", fontSize=15, subtitleFontSize=11.5)
    )


def titled(picture: Picture) -> Any:
    """Return the chart under its title and caption, for a file where they stand nowhere else."""
    import altair as alt

    return picture.chart.properties(
        title=alt.TitleParams(
            picture.title, subtitle=wrap(picture.caption, LINE), offset=14, subtitlePadding=5
        )
    )


def told_apart(labels: Sequence[str]) -> list[str]:
    """Return labels that all differ: one that stood before gets a number."""
    seen: dict[str, int] = {}
    found = []
    for label in labels:
        seen[label] = seen.get(label, 0) + 1
        found.append(label if seen[label] == 1 else f"{label} ({seen[label]})")
    return found


def name_axis(title: str | None = None, limit: int = LABEL_PIXELS) -> Any:
    """Return an axis of names: long ones are cut, with all of them in the tooltip."""
    import altair as alt

    return alt.Axis(title=title, labelLimit=limit, ticks=False, domain=False, labelPadding=8)


def colour_scale(names: Sequence[str], shown: Sequence[str] = ()) -> Any:
    """Return a colour for each name; the legend tells those ``shown``, else all, where they are several."""
    import altair as alt

    told = list(shown or names)
    legend = alt.Legend(title=None, orient="top", symbolOpacity=1, columns=4, values=told)
    if len(told) < 2:
        legend = None
    shades = [COLOURS[place % len(COLOURS)] for place in range(len(names))]
    return alt.Color(
        "colour:N",
        scale=alt.Scale(domain=list(names), range=shades),
        legend=legend,
    )


def shape_scale(names: Sequence[str]) -> Any:
    """Return a shape for each name, which joins the colours of :func:`colour_scale` in one legend."""
    import altair as alt

    legend = alt.Legend(title=None, orient="top", symbolOpacity=1, columns=4) if len(names) > 1 else None
    shapes = [SHAPES[place % len(SHAPES)] for place in range(len(names))]
    return alt.Shape("colour:N", scale=alt.Scale(domain=list(names), range=shapes), legend=legend)
