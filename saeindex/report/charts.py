"""Charts of a result: what all share, and one file of them (a page or an image)."""

from __future__ import annotations

import functools
import json
import re
from collections.abc import Mapping, Sequence
from copy import copy
from dataclasses import dataclass, replace
from math import isfinite
from pathlib import Path
from textwrap import wrap
from typing import Any

from saeindex.errors import installed
from saeindex.files import checked_suffix, replacing, writable
from saeindex.report.html import data_uri, page_html
from saeindex.report.model import Figure, Section, describe
from saeindex.types import visible

FORMATS = (".html", ".png")
# Pixels of an image for each pixel of a chart; pixels between the charts of an image.
SCALE, BETWEEN = 2.0, 36
# Colours that people who do not see red or green can tell apart (Okabe and Ito 2008), dark enough on white.
BLUE, ORANGE, GREEN, PURPLE, GREY = "#0b62a4", "#c05a00", "#00795a", "#a0427a", "#8a939e"
COLOURS = (BLUE, ORANGE, GREEN, PURPLE, "#5b4b9a", "#8c6d00", "#3a8fc4", "#b3363e", "#4d6b22", "#6b6f76")
# Colours of text, of text in the background, and of axes.
INK, FAINT, AXIS = "#1f2933", "#52606d", "#b8c0c8"
# Pixels: the width of a chart, and of the longest name on an axis.
WIDTH, LABEL_PIXELS = 620, 270
# Characters to a line of a caption inside an image.
CAPTION_CHARS = 108
NOTHING = "Nothing was found, so there is nothing to draw."
# The width and height of a drawing.
SVG_SIZE = re.compile(r'\b(?:width|height)="([\d.]+)"')
# Draws every chart of a page, by its specification.
DRAW = """
for (const spec of document.querySelectorAll("script[type='application/json']")) {
  const options = {renderer: "svg", actions: false};
  vegaEmbed(spec.previousElementSibling, JSON.parse(spec.textContent), options);
}
"""
TEXT = {"labelColor": INK, "titleColor": FAINT, "titleFontWeight": "normal", "labelFontSize": 11}
LINES = {"gridColor": "#e8ebee", "domainColor": AXIS, "tickColor": AXIS}
SUBTITLE = {"subtitleColor": FAINT, "subtitleFontSize": 11.5, "subtitlePadding": 5}
# The look of all charts; names on an axis are not clipped.
LOOK: dict[str, Any] = {
    "font": "DejaVu Sans, Verdana, Arial, sans-serif",
    "background": "white",
    "padding": 10,
    "axis": {**TEXT, **LINES, "titleFontSize": 11.5, "titlePadding": 8},
    "axisX": {"labelFlush": False},
    "legend": {**TEXT, "labelLimit": 400},
    "view": {"stroke": None},
    "header": TEXT,
    "title": {"color": INK, "anchor": "start", "fontSize": 15, "offset": 14, **SUBTITLE},
}


@dataclass(frozen=True)
class LazyModule:
    """A module that is imported when it is first used: drawing is slow to import, and seldom asked for."""

    module: str

    def __getattr__(self, name: str) -> Any:
        return getattr(installed(self.module, "a chart", "report"), name)


alt: Any = LazyModule("altair")
vl_convert: Any = LazyModule("vl_convert")


@dataclass(frozen=True, slots=True)
class Chart:
    """A drawing (an Altair chart) with what it shows, in words for who reads and for who cannot see it."""

    title: str
    caption: str
    chart: Any

    def svg(self) -> str:
        """Return the drawing, without title and caption."""
        return str(vl_convert.vegalite_to_svg(self._drawn()))

    def spec(self) -> str:
        """Return the drawing as JSON (Vega-Lite) for a script element, which no text in it can end."""
        text = json.dumps(self._drawn(), ensure_ascii=False, allow_nan=False)
        return text.replace("<", "\\u003c").replace("&", "\\u0026")

    def _drawn(self) -> Any:
        """Return the drawing as a JSON object, in which names have no characters that stop its drawing."""
        return shown_in(self.chart.configure(**LOOK).to_dict())


def shown_in(drawn: Any) -> Any:
    """Return JSON in which all texts are visible; a name with a line end or a backslash stops Vega."""
    if isinstance(drawn, Mapping):
        return {visible(key): shown_in(value) for key, value in drawn.items()}
    if isinstance(drawn, list):
        return [shown_in(value) for value in drawn]
    return visible(drawn).replace("\\", "⧵") if isinstance(drawn, str) else drawn


def charts_of(result: object) -> list[Chart]:
    """Return the charts of a result, none where it found nothing; InvalidInputError for an unknown kind."""
    return [block() for block in describe(result).blocks() if isinstance(block, Figure)]


def save_charts(result: object, path: str | Path) -> Path:
    """Draw a result to one .html file that works offline, or to one .png, and return its path.

    InvalidInputError where the name ends in anything else.
    """
    target = writable(path)
    suffix = checked_suffix(target, FORMATS, "chart")
    charts = charts_of(result)
    with replacing(target) as draft:
        if suffix == ".png":
            draft.write_bytes(png_of(charts))
        else:
            summary = [] if charts else [NOTHING]
            draft.write_text(page_of(charts, type(result).__name__, summary), encoding="utf-8")
    return target


def png_of(charts: Sequence[Chart]) -> bytes:
    """Return all charts below each other as one PNG, each under its title and caption."""
    text = alt.Chart(inline([{"text": NOTHING}])).mark_text(fontSize=15).encode(text="text:N")
    images, wide, high = "", 0.0, 0.0
    for chart in charts or [Chart("", "", text.properties(width=480, height=80))]:
        title = alt.Title(chart.title, subtitle=wrap(chart.caption, CAPTION_CHARS))
        svg = replace(chart, chart=chart.chart.properties(title=title)).svg()
        width, height = (float(size) for size in SVG_SIZE.findall(svg)[:2])
        images += f'<image y="{high:g}" width="{width:g}" height="{height:g}" href="{data_uri(svg)}"/>'
        wide, high = max(wide, width), high + height + BETWEEN
    size = f'width="{wide:g}" height="{high - BETWEEN:g}"'
    ground = f'<rect {size} fill="white"/>'
    whole = f'<svg xmlns="http://www.w3.org/2000/svg" {size}>{ground}{images}</svg>'
    return bytes(vl_convert.svg_to_png(whole, scale=SCALE))


def page_of(charts: Sequence[Chart], title: str, summary: Sequence[str] = ()) -> str:
    """Return a page with a summary, and all charts with the program that draws them."""
    sections = [Section(chart.title, [Figure(copy, chart)]) for chart in charts]
    return page_html(title, summary, sections, "", drawing_program())


@functools.cache
def drawing_program() -> str:
    """Return the program of a page; bundling it takes longer than all else of a page."""
    return str(vl_convert.javascript_bundle("window.vegaEmbed = vegaEmbed;")) + DRAW


def inline(rows: Sequence[dict[str, Any]]) -> Any:
    """Return rows as a chart's own data; what is no finite number is left empty."""

    def finite(cell: Any) -> Any:
        return None if isinstance(cell, float) and not isfinite(cell) else cell

    return alt.InlineData(values=[{name: finite(cell) for name, cell in row.items()} for row in rows])


def unique_labels(labels: Sequence[str]) -> list[str]:
    """Return labels that all differ: one that is there already gets a number."""
    seen = [labels[: place + 1].count(label) for place, label in enumerate(labels)]
    return [f"{label} ({nth})" if nth > 1 else label for label, nth in zip(labels, seen, strict=True)]


def tooltip(*fields: tuple[str, ...]) -> list[Any]:
    """Return a tooltip of fields, each with its title and, for numbers, its format."""
    return [
        alt.Tooltip(name, title=title, **({"format": form[0]} if form else {}))
        for name, title, *form in fields
    ]


def name_axis(**options: Any) -> Any:
    """Return an axis of names: long ones are cut, with all of them in the tooltip."""
    plain = {"title": None, "ticks": False, "domain": False, "labelLimit": LABEL_PIXELS, "labelPadding": 8}
    return alt.Axis(**(plain | options))


def top_legend(names: Sequence[str], columns: int = 4) -> Any:
    """Return a legend above the chart that shows these names, None where there is only one."""
    legend = alt.Legend(title=None, orient="top", symbolOpacity=1, columns=columns, values=list(names))
    return legend if len(names) > 1 else None


def colour_scale(names: Sequence[str], shown: Sequence[str] = ()) -> Any:
    """Return a colour for each name; the legend shows the names in ``shown``, else all."""
    shades = [COLOURS[place % len(COLOURS)] for place in range(len(names))]
    scale = alt.Scale(domain=list(names), range=shades)
    return alt.Color("colour:N", scale=scale, legend=top_legend(shown or names))


def intervals(base: Any, value: str, title: str, shown: Sequence[Any], line: float = 0.0) -> Any:
    """Return points at the field ``value`` of the rows of a chart, from "low" to "high", and a line."""
    bars = base.mark_rule(strokeWidth=2).encode(x=alt.X("low:Q", title=title), x2="high:Q")
    dots = base.mark_point(filled=True, size=64, opacity=1).encode(x=f"{value}:Q", tooltip=shown)
    return alt.layer(rule_at(line), bars, dots)


def rule_at(value: float, colour: str = INK, dash: Sequence[int] = (3, 3)) -> Any:
    """Return a vertical line at a value of the x axis."""
    chart = alt.Chart(inline([{"at": value}]))
    return chart.mark_rule(color=colour, strokeDash=list(dash)).encode(x="at:Q")
