"""Findings as parts of a page: their table, and the records that show them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from markupsafe import Markup

from saeindex.analysis.report.numbers import chance, counted, interval, percent, points, ratio
from saeindex.report.html import Head, Part, element, folded, joined, listed, record, table

if TYPE_CHECKING:
    from saeindex.analysis.diff.results import Example, Finding

# Rows of a table before the others are folded; findings with their records, of each family.
SHOWN, SHOWN_EVIDENCE = 20, 6
HELD = {True: "yes", False: "no", None: "–"}


def findings_table(found: Sequence[Finding], groups: Sequence[str], caption: str) -> Markup:
    """Return findings as a table, those after the first folded; nothing of nothing."""
    if not found:
        return Markup("")
    is_held = any(one.replicated is not None for one in found)
    if len(groups) == 2:
        caption += f"; differences are {groups[0]} less {groups[1]}"
    heads = _heads(groups, is_held)
    rows = [_row(one, groups, is_held) for one in found]
    first = table(heads, rows[:SHOWN], caption)
    if len(rows) <= SHOWN:
        return first
    more = f"{len(rows) - SHOWN:,} more"
    return joined([first, folded(more, table(heads, rows[SHOWN:], f"{caption}: {more}"))])


def _heads(groups: Sequence[str], is_held: bool) -> list[Head]:
    shares = [f"in {name}" for name in groups] if len(groups) == 2 else ["more in", "in it", "in the next"]
    names = ["finding", *shares, "difference, points", "95 % interval", "odds ratio", "q", "records"]
    texts = {"finding", "more in"}
    heads = [Head(name, name not in texts) for name in names]
    return [*heads, Head("replicated", False)] if is_held else heads


def _row(one: Finding, groups: Sequence[str], is_held: bool) -> list[Part]:
    if len(groups) == 2:
        shares = [percent(one.freq.get(name, 0.0)) for name in groups]
    else:
        next_one = f"{percent(one.freq[one.against])} ({one.against})"
        shares = [one.group, percent(one.freq[one.group]), next_one]
    cells: list[Part] = [
        joined([one.shown, related(one)]), *shares, points(one.effect), interval(*one.ci),
        ratio(one.log_odds), chance(one.q), f"{one.support:,}",
    ]  # fmt: skip
    return [*cells, HELD[one.replicated]] if is_held else cells


def related(one: Finding) -> Markup:
    """Return the findings that are one thing with another, folded."""
    if not one.related:
        return Markup("")
    items = [f"{other.shown}: {points(other.effect)} points, q {chance(other.q)}" for other in one.related]
    return folded(f"and {counted(len(items), 'other', 'others')} like it", listed(items))


def evidence(found: Sequence[Finding]) -> Markup:
    """Return records of both sides for the first findings that have any."""
    shown = [one for one in found if any(one.examples.values())][:SHOWN_EVIDENCE]
    return joined(shown_by(one.shown, f"more in {one.group}", one.examples) for one in shown)


def shown_by(name: str, what: str, examples: Mapping[str, Sequence[Example]]) -> Markup:
    """Return records beside each other, by side; a side without any says so."""
    sides = [
        element(
            "div",
            element("h4", f"In {side}"),
            joined(record(one) for one in each) if each else element("p", "No record there has it."),
        )
        for side, each in examples.items()
    ]
    return joined(
        [element("h3", name), element("p", what, class_="sum"), element("div", *sides, class_="sides")]
    )
