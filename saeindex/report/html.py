"""A result as HTML: a page of its own, or a piece of a notebook. Whatever text comes in is escaped (jinja2).

A page is one file that loads nothing. It runs nothing but the program that draws charts, where it has one.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Sequence
from datetime import UTC, datetime
from functools import cache
from typing import TYPE_CHECKING, Any

from saeindex._version import __version__
from saeindex.errors import installed
from saeindex.report.model import Bullets, Description, Example, Section, Table, describe
from saeindex.types import LINES, visible

if TYPE_CHECKING:
    from jinja2 import Environment
    from markupsafe import Markup


class Described:
    """What shows itself in a notebook, by its description."""

    __slots__ = ()

    def _repr_html_(self) -> str:
        return notebook_html(describe(self))


def report_html(description: Description, question: str = "") -> str:
    """Return a page of its own, under ``question`` or the one that the description has."""
    limits = Bullets([*(f"{note}." for note in description.notes), *description.limits])
    sections = [
        Section("Method", [*filter(None, description.method), *description.details]),
        *description.sections,
        Section("Limits", [limits]),
    ]
    return page_html(question or description.question, description.summary, sections, description.made_by)


def page_html(
    title: str, summary: Sequence[str], sections: Sequence[Section], made_by: str, script: str = ""
) -> str:
    """Return a page: a summary in a box, sections, and how it was made.

    Only ``script`` may run on it (by its hash), whatever labels and texts contain. It draws the charts;
    without it they are images.
    """
    policy = "default-src 'none'; img-src data:; style-src 'unsafe-inline'"
    if script:
        digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
        policy += f"; script-src 'sha256-{digest}' 'unsafe-eval'"
    made = f"By saeindex {__version__} on {datetime.now(UTC):%d %B %Y}. {made_by}"
    sections = [*sections, Section("How this was made", [made.strip()])]
    return _render("page", title=title, summary=summary, sections=sections, policy=policy, script=script)


def notebook_html(description: Description) -> str:
    """Return the answer in short, and the first rows of the main tables."""
    tables = [block for block in description.blocks() if isinstance(block, Table) and block.in_notebook]
    return _render("notebook", description=description, tables=tables)


def highlighted(example: Example) -> Markup:
    """Return the text of a record in which its highlights are marked wherever they stand as words."""
    from markupsafe import Markup

    mark = Markup("<mark>{}</mark>").format
    parts = enumerate(map(_safe, example.parts()))
    return Markup("").join(mark(part) if place % 2 else part for place, part in parts)


def data_uri(svg: str) -> str:
    """Return a drawing as the address of an image, which can run nothing."""
    return f"data:image/svg+xml;base64,{base64.b64encode(svg.encode()).decode()}"


def _render(template: str, **names: Any) -> str:
    return _environment().get_template(f"{template}.html.j2").render(**names)


def _safe(value: Any) -> Any:
    """Return a value without characters that a page cannot have; what is HTML already stays."""
    return visible(value, LINES) if isinstance(value, str) and not hasattr(value, "__html__") else value


@cache
def _environment() -> Environment:
    jinja2 = installed("jinja2", "a page", "report")
    loader = jinja2.PackageLoader("saeindex.report", "templates")
    made: Environment = jinja2.Environment(
        loader=loader, autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True,
        lstrip_blocks=True, finalize=_safe,
    )  # fmt: skip
    made.filters |= {"highlighted": highlighted, "data_uri": data_uri}
    made.filters["kind"] = lambda value: type(value).__name__
    return made
