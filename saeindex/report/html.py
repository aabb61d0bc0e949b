"""A result as HTML: a page of its own, or a piece of a notebook. Whatever text comes in is escaped (jinja2).

A page is one file that loads nothing and runs nothing.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Sequence
from datetime import UTC, datetime
from functools import cache
from typing import TYPE_CHECKING, Any

from saeindex._version import __version__
from saeindex.report.model import Description, Drawn, Table, describe

if TYPE_CHECKING:
    from jinja2 import Environment
    from markupsafe import Markup


class Described:
    """What shows itself in a notebook, by its description."""

    __slots__ = ()

    def _repr_html_(self) -> str:
        return notebook_html(describe(self))


def report_html(told: Description, question: str = "") -> str:
    """Return a page of its own, under ``question`` or the one that the description has."""
    made = f"{datetime.now(UTC):%d %B %Y}"
    return render("page", told=told, question=question or told.question, made=made)


def notebook_html(told: Description) -> str:
    """Return the answer in short, and the first rows of the main tables."""
    blocks = [block for section in told.sections for block in section.blocks]
    tables = [block for block in blocks if isinstance(block, Table) and block.is_main]
    return render("notebook", told=told, tables=tables)


def render(template: str, **names: Any) -> str:
    """Return what a template makes of these names."""
    return _environment().get_template(f"{template}.html.j2").render(version=__version__, **names)


def highlighted(text: str, words: Sequence[str]) -> Markup:
    """Return a text in which these words are marked wherever they stand as words."""
    from markupsafe import Markup, escape

    if not words:
        return escape(text)
    any_of = "|".join(re.escape(word) for word in sorted(words, key=len, reverse=True))
    parts = re.split(rf"(?<!\w)({any_of})(?!\w)", text, flags=re.IGNORECASE)
    return Markup("").join(
        Markup("<mark>{}</mark>").format(part) if place % 2 else part for place, part in enumerate(parts)
    )


def _data_uri(chart: Drawn) -> str:
    """Return a chart as an image that can run nothing."""
    return f"data:image/svg+xml;base64,{base64.b64encode(chart.svg().encode()).decode()}"


@cache
def _environment() -> Environment:
    from jinja2 import Environment, PackageLoader, StrictUndefined

    made = Environment(
        loader=PackageLoader("saeindex.report", "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.filters |= {"highlighted": highlighted, "data_uri": _data_uri}
    made.tests["text"] = lambda value: isinstance(value, str)
    made.filters["kind"] = lambda value: type(value).__name__
    return made
