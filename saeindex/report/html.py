"""Parts of a page: whatever text comes in is escaped, and only what is made here is markup."""

from __future__ import annotations

import base64
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

from markupsafe import Markup, escape

if TYPE_CHECKING:
    from saeindex.analysis.diff.results import Example
    from saeindex.report.charts import Picture

Part: TypeAlias = Markup | str
# Columns of a table that is only as wide as what is in it.
NARROW = 3


@dataclass(frozen=True, slots=True)
class Head:
    """The head of a column; numbers stand at the right, and do not break."""

    name: str
    is_number: bool = True


@dataclass(frozen=True, slots=True)
class Section:
    """A part of a page under its heading."""

    title: str
    body: Markup


@dataclass(frozen=True, slots=True)
class Told:
    """A result in words: what was asked where nobody says, the answer in short, and the sections.

    Sections are made when they are read, once: some draw.
    """

    question: str
    short: Sequence[Part]
    sections: Iterator[Section]


def element(tag: str, *children: Part, **attributes: str) -> Markup:
    """Return an element; of an attribute's name a final ``_`` falls away, and others are hyphens."""
    told = Markup("").join(
        Markup(' {}="{}"').format(name.rstrip("_").replace("_", "-"), value)
        for name, value in attributes.items()
    )
    inside = Markup("").join(escape(child) for child in children)
    return Markup("<{0}{1}>{2}</{0}>").format(tag, told, inside)


def joined(parts: Iterable[Part]) -> Markup:
    """Return parts after each other."""
    return Markup("").join(escape(part) for part in parts)


def paragraphs(*texts: Part) -> Markup:
    """Return each text as a paragraph, without those that are empty."""
    return joined(element("p", text) for text in texts if text)


def listed(items: Sequence[Part]) -> Markup:
    """Return a list, nothing of nothing."""
    return element("ul", *(element("li", item) for item in items)) if items else Markup("")


def codes(names: Sequence[str]) -> Markup:
    """Return ids of records after each other."""
    return Markup(", ").join(element("code", name) for name in names) if names else Markup("none")


def folded(summary: str, *inside: Part) -> Markup:
    """Return what is shown when it is asked for."""
    return element("details", element("summary", summary), *inside)


def table(heads: Sequence[Head], rows: Iterable[Sequence[Part]], caption: str) -> Markup:
    """Return a table that scrolls where it is too wide; each row's first cell is its head."""
    head = element("tr", *(element("th", one.name, scope="col", class_=_class(one)) for one in heads))
    body = [
        element(
            "tr", *(_cell(place, one, cell) for place, (one, cell) in enumerate(zip(heads, row, strict=True)))
        )
        for row in rows
    ]
    parts = [element("caption", caption), element("thead", head), element("tbody", *body)]
    whole = element("table", *parts, class_="narrow" if len(heads) <= NARROW else "wide")
    return element("div", whole, class_="scroll", tabindex="0", role="region", aria_label=caption)


def _cell(place: int, head: Head, cell: Part) -> Markup:
    kind = _class(head)
    return element("td", cell, class_=kind) if place else element("th", cell, scope="row", class_=kind)


def _class(head: Head) -> str:
    return "number" if head.is_number else "text"


def figure(picture: Picture) -> Markup:
    """Return a picture as part of the page: an image that can run nothing."""
    from saeindex.analysis.pictures.saving import svg_of

    drawn = base64.b64encode(svg_of(picture).encode()).decode()
    image = Markup('<img src="data:image/svg+xml;base64,{}" alt="{}">').format(
        drawn, f"{picture.title}. {picture.caption}"
    )
    words = element("figcaption", element("b", f"{picture.title}. "), picture.caption)
    return element("figure", element("div", image, class_="scroll"), words)


def highlighted(text: str, words: Sequence[str]) -> Markup:
    """Return a text in which these words are marked wherever they stand as words."""
    if not words:
        return escape(text)
    any_of = "|".join(re.escape(word) for word in sorted(words, key=len, reverse=True))
    parts = re.split(rf"(?<!\w)({any_of})(?!\w)", text, flags=re.IGNORECASE)
    return joined(element("mark", part) if place % 2 else part for place, part in enumerate(parts))


def record(example: Example) -> Markup:
    """Return a record that shows something: its text with the words to look at, its id and concepts."""
    concepts = f" · {' · '.join(example.concepts)}" if example.concepts else ""
    source = element("footer", element("code", example.id), concepts)
    return element("blockquote", element("p", highlighted(example.text, example.highlights)), source)
