"""What a result says, described once: its text, page, notebook piece and charts are rendered from this.

Each analysis registers how its results are described, in its ``report.py``::

    @describe.register(Diff)
    def _(found: Diff) -> Description: ...

Numbers are words here too, so that all renderings have the same ones.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import singledispatch
from math import exp, isfinite
from typing import Protocol, TypeAlias

from saeindex.errors import InvalidInputError

# Rows of a table in a notebook, and at most.
NOTEBOOK_ROWS, MOST_ROWS = 8, 50
# A rate of error below this is shown as less than it.
SMALLEST_RATE = 0.001
# The logarithm of an odds ratio of 1,000, beyond which it is only called large.
LARGEST_LOG_ODDS = 6.9


@dataclass(frozen=True, slots=True)
class Example:
    """A record that shows a finding: the start of its text, its strongest concepts, words to look at."""

    id: str
    text: str
    concepts: tuple[str, ...]
    highlights: tuple[str, ...] = ()


class Drawn(Protocol):
    """A chart with what it shows in words; see :class:`saeindex.report.charts.Chart`."""

    @property
    def title(self) -> str:
        """What it is."""

    @property
    def caption(self) -> str:
        """What it shows, for those who read and for those who cannot see it."""

    def svg(self) -> str:
        """Return the drawing, without title and caption."""


@dataclass(frozen=True, slots=True)
class Head:
    """The head of a column; numbers stand at the right, and do not break."""

    name: str
    is_number: bool = True


@dataclass(frozen=True, slots=True)
class Cell:
    """A text with ``items`` behind it, which a page shows under ``summary`` when asked to.

    A text shows the first items, unless they are ``page_only``.
    """

    text: str
    summary: str = ""
    items: tuple[str, ...] = ()
    page_only: bool = False


@dataclass(frozen=True, slots=True)
class Table:
    """Rows under heads; each row's first cell is its head. A page folds those after the first ``shown``.

    ``name`` is what a notebook calls it, which shows those tables that ``is_main``: their first rows.
    """

    caption: str
    heads: Sequence[Head]
    rows: Sequence[Sequence[str | Cell]]
    name: str = ""
    shown: int = 20
    is_main: bool = False
    in_notebook: int = NOTEBOOK_ROWS
    is_folded: bool = False
    page_only: bool = False


@dataclass(frozen=True, slots=True)
class Heading:
    """A heading within a section, with a sentence."""

    title: str
    text: str = ""


@dataclass(frozen=True, slots=True)
class Paragraph:
    """A sentence or more."""

    text: str


@dataclass(frozen=True, slots=True)
class Ids:
    """Ids of records, and what they are."""

    name: str
    ids: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Bullets:
    """A list."""

    items: Sequence[str | Ids]


@dataclass(frozen=True, slots=True)
class Quotes:
    """Records as they are, each with a note."""

    examples: Sequence[Example]
    notes: Sequence[str] = ()


@dataclass(frozen=True, slots=True)
class Sides:
    """Records of several sides, which show what ``title`` says; a side without any says so."""

    title: str
    text: str
    examples: Mapping[str, Sequence[Example]]


@dataclass(frozen=True, slots=True)
class Figure:
    """A chart that is drawn when it is shown."""

    draw: Callable[[], Drawn]


@dataclass(frozen=True, slots=True)
class Box:
    """Blocks that are set apart: a "warning", or what is "untested"."""

    kind: str
    blocks: Sequence[Block]


Block: TypeAlias = "Heading | Paragraph | Bullets | Table | Quotes | Sides | Figure | Box"


@dataclass(frozen=True, slots=True)
class Section:
    """Blocks under a title."""

    title: str
    blocks: Sequence[Block]


@dataclass(frozen=True, slots=True)
class Description:
    """A result in words.

    ``question`` is what was asked where nobody says; ``summary`` the answer in short; ``method`` how it was
    found, with ``details`` for a page; ``notes`` are of this result, ``limits`` of all of its kind.
    """

    question: str
    summary: Sequence[str]
    method: Sequence[str]
    sections: Sequence[Section]
    details: Sequence[Block] = ()
    notes: Sequence[str] = ()
    limits: Sequence[str] = ()
    made_by: str = "No language model was asked."


def listing(name: str, heads: Sequence[Head], rows: Sequence[Sequence[str | Cell]]) -> Section:
    """Return a section of one table, which a notebook shows whole."""
    return Section(name, [Table(name, heads, rows, name, is_main=True, in_notebook=MOST_ROWS)])


@singledispatch
def describe(result: object) -> Description:
    """Return a result in words; InvalidInputError for what no analysis returned."""
    kind = type(result).__name__
    raise InvalidInputError(f"a report of {kind}", "no description of it", "Use its tables.")


def word_in(word: str, text: str) -> re.Match[str] | None:
    """Return where a word stands first in a text, as a word and whatever its case."""
    return re.search(rf"(?<!\w){re.escape(word)}(?!\w)", text, re.IGNORECASE)


def percent(share: float, digits: int = 1) -> str:
    """Return a share: 12.3 %."""
    return f"{100 * share:.{digits}f} %"


def points(effect: float) -> str:
    """Return a difference of two shares in percentage points: +1.2."""
    return f"{100 * effect:+.1f}".replace("-", "−")


def interval(low: float, high: float) -> str:
    """Return an interval of a difference in percentage points: +0.5 to +1.9."""
    return f"{points(low)} to {points(high)}"


def ratio(log_odds: float) -> str:
    """Return an odds ratio: 2.5, 0.31; of evidence that only one side has, over 1,000."""
    if log_odds > LARGEST_LOG_ODDS:
        return "over 1,000"
    if log_odds < -LARGEST_LOG_ODDS:
        return "under 0.001"
    value = exp(log_odds)
    return f"{value:,.{0 if value >= 10 else 1 if value >= 1 else 2 if value >= 0.1 else 3}f}"


def ratios(log_odds: float, low: float, high: float) -> str:
    """Return an odds ratio with its interval: 2.5 (1.8 to 3.4)."""
    return f"{ratio(log_odds)} ({ratio(low)} to {ratio(high)})"


def chance(q: float) -> str:
    """Return a rate of error: < 0.001, 0.012."""
    return f"< {SMALLEST_RATE:g}" if q < SMALLEST_RATE else f"{q:.3f}"


def number(value: float, digits: int = 2) -> str:
    """Return a number: 1,234 or 0.12; one that is not finite is a dash."""
    return f"{value:,.{digits}f}".replace("-", "−") if isfinite(value) else "–"


def counted(count: float, one: str, many: str = "") -> str:
    """Return how many there are of what: 1 finding, 2,000 findings."""
    return f"{count:,.0f} {one if count == 1 else many or one + 's'}"


def series(names: Sequence[str]) -> str:
    """Return names as a series: a, b and c."""
    return " and ".join([", ".join(names[:-1]), names[-1]]) if len(names) > 1 else "".join(names)
