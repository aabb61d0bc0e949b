"""Charts of a result: what all share, where labels stand, and one file of them (a page or an image)."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from math import isfinite
from pathlib import Path
from textwrap import wrap
from typing import TYPE_CHECKING, Any, TypeAlias
from xml.etree import ElementTree

import numpy as np

from saeindex.files import checked_suffix, replacing
from saeindex.report.html import render
from saeindex.report.model import Block, Figure, describe
from saeindex.report.result import AnalysisResult

if TYPE_CHECKING:
    from numpy.typing import NDArray

Box: TypeAlias = tuple[float, float, float, float]
FORMATS = (".html", ".png")
# Pixels of an image for each pixel of a chart; pixels between charts below each other.
SCALE, BETWEEN = 2.0, 36.0
SVG = "http://www.w3.org/2000/svg"
# Colours that people who do not see red or green can tell apart (Okabe and Ito 2008), dark enough on white.
BLUE, ORANGE, GREEN, PURPLE, GREY = "#0b62a4", "#c05a00", "#00795a", "#a0427a", "#8a939e"
COLOURS = (BLUE, ORANGE, GREEN, PURPLE, "#5b4b9a", "#8c6d00", "#3a8fc4", "#b3363e", "#4d6b22", "#6b6f76")
SHAPES = ("circle", "triangle-up", "square", "diamond")
INK, FAINT = "#1f2933", "#52606d"
# Pixels: a chart, and the longest name on an axis.
WIDTH = 620
LABEL_PIXELS = 270
# Characters to a line of a caption inside an image.
CAPTION_CHARS = 108
# Pixels: the height of a label, the width of a letter, and how far a label keeps from its mark.
LINE, LETTER, GAP = 13.0, 6.2, 7.0
# Rounds in which boxes step apart, and how much of their overlap each of two goes in one.
ROUNDS, STEP = 600, 0.3
# Draws every chart of a page; what has no chart here is not drawn.
DRAW = """
for (const part of document.querySelectorAll("script[type='application/json']")) {
  const target = document.getElementById(part.dataset.target);
  vegaEmbed(target, JSON.parse(part.textContent), {renderer: "svg", actions: false});
}
"""


@dataclass(frozen=True, slots=True)
class Chart:
    """A drawing (an Altair chart) with what it shows, in words for who reads and for who cannot see it."""

    title: str
    caption: str
    chart: Any

    def svg(self) -> str:
        """Return the drawing, without title and caption."""
        return _drawn(self.chart)


def charts_of(result: AnalysisResult) -> list[Chart]:
    """Return the charts of a result, none where it found nothing; InvalidInputError for an unknown kind."""
    blocks = [block for section in describe(result).sections for block in section.blocks]
    drawn = [block.draw() for block in blocks if isinstance(block, Figure)]
    return [chart for chart in drawn if isinstance(chart, Chart)]


def save_charts(result: AnalysisResult, path: str | Path) -> Path:
    """Draw a result to one .html file that works offline, or to one .png, and return its path.

    InvalidInputError where the name ends in anything else.
    """
    target = Path(path)
    suffix = checked_suffix(target, FORMATS, "chart")
    charts = charts_of(result)
    with replacing(target) as draft:
        if suffix == ".png":
            draft.write_bytes(png_of(charts))
        else:
            draft.write_text(page_of(charts, type(result).__name__), encoding="utf-8")
    return target


def png_of(charts: Sequence[Chart]) -> bytes:
    """Return all charts below each other as one PNG."""
    import vl_convert

    drawings = [_drawn(chart) for chart in map(titled, charts)] or [_drawn(_nothing())]
    image: bytes = vl_convert.svg_to_png(stacked(drawings), scale=SCALE)
    return image


def page_of(
    charts: Sequence[Chart], title: str, summary: Sequence[str] = (), details: Sequence[Block] = ()
) -> str:
    """Return a page with a summary, blocks, and all charts with the program that draws them.

    Only that program may run on it (by its hash), whatever stands in labels and texts; nothing is loaded.
    """
    import vl_convert
    from markupsafe import Markup

    script = vl_convert.javascript_bundle("window.vegaEmbed = vegaEmbed;") + DRAW
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    policy = (
        f"default-src 'none'; script-src 'sha256-{digest}' 'unsafe-eval'; "
        "style-src 'unsafe-inline'; img-src data:"
    )
    specs = [
        json.dumps(framed(chart.chart).to_dict(), ensure_ascii=False, allow_nan=False) for chart in charts
    ]
    return render(
        "charts",
        title=title,
        summary=summary,
        details=details,
        charts=charts,
        # Inside a script nothing is escaped but this: no text may end the element, or stand as it was given.
        specs=[Markup(spec.replace("<", "\\u003c").replace("&", "\\u0026")) for spec in specs],  # noqa: S704
        policy=Markup(escape(policy)),  # noqa: S704
        script=Markup(script),  # noqa: S704
    )


def _drawn(chart: Any) -> str:
    import vl_convert

    drawn: str = vl_convert.vegalite_to_svg(framed(chart).to_dict())
    return drawn


def _nothing() -> Any:
    """Return a chart that says that there is none."""
    import altair as alt

    text = alt.Chart(alt.InlineData(values=[{"text": "Nothing was found, so there is nothing to draw."}]))
    return text.mark_text(fontSize=15).encode(text="text:N").properties(width=480, height=80)


def stacked(drawings: Sequence[str]) -> str:
    """Return one SVG drawing of all, from top to bottom, each at the left."""
    ElementTree.register_namespace("", SVG)
    parts = [ElementTree.fromstring(drawing) for drawing in drawings]  # noqa: S314
    whole = ElementTree.Element(f"{{{SVG}}}svg", {"version": "1.1"})
    top = 0.0
    for place, part in enumerate(parts):
        _name_apart(part, f"p{place}-")
        part.set("y", f"{top:g}")
        whole.append(part)
        top += float(part.get("height", 0)) + BETWEEN
    wide, high = max(float(part.get("width", 0)) for part in parts), top - BETWEEN
    whole.attrib |= {"width": f"{wide:g}", "height": f"{high:g}", "viewBox": f"0 0 {wide:g} {high:g}"}
    ground = ElementTree.Element(f"{{{SVG}}}rect", {"width": "100%", "height": "100%", "fill": "white"})
    whole.insert(0, ground)
    return ElementTree.tostring(whole, encoding="unicode")


def _name_apart(part: ElementTree.Element, prefix: str) -> None:
    """Give the names inside a drawing a prefix: clips and gradients of two drawings have the same ones."""
    for element in part.iter():
        if name := element.get("id"):
            element.set("id", prefix + name)
        for attribute, value in element.items():
            if "url(#" in value:
                element.set(attribute, re.sub(r"url\(#", f"url(#{prefix}", value))


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


def titled(chart: Chart) -> Any:
    """Return the chart under its title and caption, for a file where they stand nowhere else."""
    import altair as alt

    return chart.chart.properties(
        title=alt.TitleParams(
            chart.title, subtitle=wrap(chart.caption, CAPTION_CHARS), offset=14, subtitlePadding=5
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


def free_sides(
    spots: Sequence[tuple[float, float]], labels: Sequence[str], order: Sequence[int], width: float
) -> list[str]:
    """Return for each mark the side where its label covers nothing: right, left, above, or "" for nowhere.

    ``spots`` are pixels in a frame of this ``width``, from its top left; marks first in ``order`` choose
    first.
    """
    taken = [(left - 4, top - 4, left + 4, top + 4) for left, top in spots]
    sides = [""] * len(spots)
    for place in order:
        others = [box for other, box in enumerate(taken) if other != place]
        for side, box in _boxes(spots[place], LETTER * len(labels[place])).items():
            if box[0] >= 0 and box[2] <= width and not any(_overlap(box, other) for other in others):
                sides[place] = side
                taken.append(box)
                break
    return sides


def _boxes(spot: tuple[float, float], wide: float) -> dict[str, Box]:
    left, top = spot
    up, down = top - LINE / 2, top + LINE / 2
    return {
        "right": (left + GAP, up, left + GAP + wide, down),
        "left": (left - GAP - wide, up, left - GAP, down),
        "above": (left - wide / 2, top - GAP - LINE, left + wide / 2, top - GAP),
    }


def _overlap(a: Box, b: Box) -> bool:
    return a[0] < b[2] and b[0] < a[2] and a[1] < b[3] and b[1] < a[3]


def spread(places: NDArray[np.float64], widths: NDArray[np.float64], height: float) -> NDArray[np.float64]:
    """Return places (n, 2) moved as little as boxes of these ``widths`` (n,) and ``height`` need to part.

    Boxes that overlap step apart along the way that is shorter, all at once, until none does.
    """
    found = places.astype(np.float64).copy()
    wide = (widths[:, None] + widths) / 2
    place = np.arange(len(found))
    others = place[:, None] != place
    for _ in range(ROUNDS):
        apart = found[:, None] - found
        over_x, over_y = wide - np.abs(apart[..., 0]), height - np.abs(apart[..., 1])
        meets = (over_x > 0) & (over_y > 0) & others
        if not meets.any():
            break
        # Two in one place part by their order.
        way = np.where(apart == 0, np.sign(place[:, None] - place)[..., None], np.sign(apart))
        is_across = over_x <= over_y
        found[:, 0] += STEP * (way[..., 0] * over_x * (meets & is_across)).sum(1)
        found[:, 1] += STEP * (way[..., 1] * over_y * (meets & ~is_across)).sum(1)
    return found
