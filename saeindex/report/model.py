"""The description of a result, from which its text, page, notebook output and charts are rendered.

Each analysis registers how its results are described, in its ``report.py``::

    @describe.register(Diff)
    def _(diff: Diff) -> Description: ...
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial, singledispatch
from importlib import import_module
from operator import attrgetter
from typing import Any, TypeAlias

from saeindex.errors import InvalidInputError
from saeindex.report.numbers import Number, number

# The number of rows in a notebook: of a table of findings, and of a table on its own.
NOTEBOOK_ROWS, LISTED_ROWS = 8, 50
# The module of an analysis' package that defines its results.
RESULTS = ".results"
NO_MODEL = "No language model was used."


@dataclass(frozen=True, slots=True)
class Example:
    """An example record of a finding: the start of its text, its strongest concepts, highlighted words."""

    id: str
    text: str
    concepts: tuple[str, ...]
    highlights: tuple[str, ...] = ()

    def parts(self, chars: int | None = None) -> list[str]:
        """Return the text (its first ``chars``) in parts: every second part is a highlighted word."""
        if not self.highlights:
            return [self.text[:chars]]
        any_of = "|".join(re.escape(word) for word in sorted(self.highlights, key=len, reverse=True))
        return re.split(rf"(?<!\w)({any_of})(?!\w)", self.text[:chars], flags=re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Cell:
    """A text with ``items`` behind it, which a page shows under ``summary`` when asked to.

    A terminal shows the first items.
    """

    text: str
    summary: str = ""
    items: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Table:
    """Rows of cells under the names of their columns; the first cell of a row is its head.

    A page shows the first ``shown`` rows and folds the others, a notebook the first ``in_notebook``.
    """

    caption: str
    columns: Sequence[str]
    rows: Sequence[Sequence[str | Cell]]
    shown: int = 20
    in_notebook: int = 0
    page_only: bool = False

    @property
    def kinds(self) -> list[str]:
        """Whether each column has a "number", to be aligned at the right, or only "text"."""
        columns = zip(*self.rows, strict=True)
        return ["number" if any(isinstance(cell, Number) for cell in cells) else "text" for cells in columns]


@dataclass(frozen=True, slots=True)
class Heading:
    """A heading within a section, with a sentence."""

    title: str
    text: str = ""


@dataclass(frozen=True, slots=True)
class Bullets:
    """A list of sentences."""

    items: Sequence[str]


@dataclass(frozen=True, slots=True)
class Quotes:
    """Example records, side by side under the names of their sides; a side may be empty.

    With a ``title`` they are examples of one finding, described by ``note``.
    """

    sides: Sequence[tuple[str, Sequence[Example]]]
    title: str = ""
    note: str = ""


# A function with its arguments that returns a chart (saeindex.report.charts.Chart) when it is shown.
Figure = partial
# A text is a paragraph.
Block: TypeAlias = "str | Heading | Bullets | Table | Quotes | partial[Any]"


@dataclass(frozen=True, slots=True)
class Section:
    """Blocks under a title; a "warning" or what is "untested" is set apart by its ``kind``."""

    title: str
    blocks: Sequence[Block]
    kind: str = ""


@dataclass(frozen=True, slots=True)
class Description:
    """A result in words.

    ``question`` is the default question of the page; ``summary`` is the short answer; ``method`` describes
    how it was found, with ``details`` for a page; ``notes`` are about this result, ``limits`` about all
    results of its kind.
    """

    question: str
    summary: Sequence[str]
    method: Sequence[str]
    sections: Sequence[Section]
    details: Sequence[Block] = ()
    notes: Sequence[str] = ()
    limits: Sequence[str] = ()
    made_by: str = NO_MODEL

    def blocks(self) -> list[Block]:
        """Return the blocks of all sections."""
        return [block for section in self.sections for block in section.blocks]


def table(caption: str, items: Iterable[Any], columns: Mapping[str, Any], **options: Any) -> Table:
    """Return a table with a row for each item; ``options`` are those of :class:`Table`.

    ``columns`` say how the cells of an item are made: by a function of it, as its attribute of a name, or
    (a function and a name) by a function of its attribute.
    """
    makers = [_maker(column) for column in columns.values()]
    return Table(caption, list(columns), [[make(item) for make in makers] for item in items], **options)


def _maker(column: Any) -> Callable[[Any], str | Cell]:
    form, name = column if isinstance(column, tuple) else (_shown, column)
    get = attrgetter(name) if isinstance(name, str) else name
    return lambda item: form(get(item))


def _shown(value: str | Cell | float) -> str | Cell:
    return value if isinstance(value, str | Cell) else number(value, 0 if isinstance(value, int) else 2)


def listing(name: str, items: Iterable[Any], columns: Mapping[str, Any]) -> Section:
    """Return a section of one :func:`table`, which a notebook shows whole."""
    return Section(name, [table(name, items, columns, in_notebook=LISTED_ROWS)])


@singledispatch
def describe(result: object) -> Description:
    """Return the description of a result; InvalidInputError for an object that is not a result."""
    kind = type(result)
    if kind.__module__.endswith(RESULTS):
        # How an analysis' results are described stands beside them, and registers itself when it is imported.
        import_module(f"{kind.__module__.removesuffix(RESULTS)}.report")
        if describe.dispatch(kind) is not describe.dispatch(object):
            return describe(result)
    raise InvalidInputError(f"a report of {kind.__name__}", "no description of it", "Use its tables.")
