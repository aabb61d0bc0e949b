"""Drift told on a page: what rises and falls, where changes begin, and records from both ends."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from markupsafe import Markup

from saeindex.analysis.diff.charts import FAMILY
from saeindex.analysis.drift.charts import pictures_of_drift
from saeindex.analysis.report.diff import LIMITS
from saeindex.analysis.report.findings import SHOWN, SHOWN_EVIDENCE, shown_by
from saeindex.analysis.report.numbers import chance, counted, interval, percent, points
from saeindex.report.html import (
    Head,
    Part,
    Section,
    Told,
    element,
    figure,
    folded,
    joined,
    listed,
    paragraphs,
    table,
)

if TYPE_CHECKING:
    from saeindex.analysis.drift.results import Drift, Trend

IN_SHORT = 3


def told_of_drift(drift: Drift) -> Told:
    """Return a drift in words."""
    return Told(f"What drifts over {drift.over}?", _short(drift), _sections(drift))


def _short(drift: Drift) -> list[str]:
    records = sum(one.records for one in drift.periods)
    over = f"{records:,} records in {len(drift.periods)} periods of {drift.over}"
    if not len(drift):
        return [f"Nothing was found to drift: {over}."]
    told = [f"{counted(len(drift), 'finding')} in {over}."]
    for way, verb in (("up", "Rising"), ("down", "Falling")):
        labels = [
            label
            for found in drift.findings.values()
            for label in [one.shown for one in found if one.direction == way][:IN_SHORT]
        ]
        if labels:
            told.append(f"{verb}: {'; '.join(labels)}.")
    return told


def _sections(drift: Drift) -> Iterator[Section]:
    yield Section("Method", _method(drift))
    parts: list[Part] = [figure(picture) for picture in pictures_of_drift(drift)]
    for family, found in drift.findings.items():
        told = f"{counted(len(found), 'row')} of findings; {drift.tested.get(family, 0):,} tested."
        parts += [element("h3", FAMILY[family]), paragraphs(told)]
        if found:
            parts.append(trends_table(found, drift, f"{FAMILY[family]}, the largest effect first"))
    yield Section("Findings", joined(parts))
    shown = [
        one
        for found in drift.findings.values()
        for one in [trend for trend in found if any(trend.examples.values())][:SHOWN_EVIDENCE]
    ]
    if shown:
        told = "goes {}, {}"
        body = joined(
            shown_by(one.shown, told.format(one.direction, one.kind), one.examples) for one in shown
        )
        yield Section("Evidence", body)
    yield Section("Limits", listed([*(f"{note}." for note in drift.notes), *LIMITS]))


def _method(drift: Drift) -> Markup:
    heads = [Head("period", False), Head("from"), Head("to"), Head("records")]
    rows = [[one.name, str(one.first), str(one.last), f"{one.records:,}"] for one in drift.periods]
    unit = (
        f"Records with the same {drift.unit} are not independent: they count by how far units differ."
        if drift.unit
        else "Each record counts as independent of all others."
    )
    strata = f"Compared only among records alike in: {', '.join(drift.strata)}." if drift.strata else ""
    rate = (
        f"Of the findings of a family about {percent(drift.alpha, 0)} at most are expected to be chance (q)."
    )
    periods = folded(
        f"{len(drift.periods)} periods of {drift.over}", table(heads, rows, f"Periods of {drift.over}")
    )
    return joined([paragraphs(f"{drift.method}. {unit}", strata, rate), periods])


def trends_table(found: Sequence[Trend], drift: Drift, caption: str) -> Markup:
    """Return findings as a table, those after the first folded."""
    first, last = drift.periods[0].name, drift.periods[-1].name
    heads = [
        Head("finding", False), Head("what", False), Head("from", False), Head(f"in {first}"),
        Head(f"in {last}"), Head("effect, points"), Head("95 % interval"), Head("q"), Head("records"),
    ]  # fmt: skip
    rows = [_row(one) for one in found]
    shown = table(heads, rows[:SHOWN], caption)
    if len(rows) <= SHOWN:
        return shown
    more = f"{len(rows) - SHOWN:,} more"
    return joined([shown, folded(more, table(heads, rows[SHOWN:], f"{caption}: {more}"))])


def _row(one: Trend) -> list[Part]:
    also = Markup("")
    if one.related:
        items = [
            f"{other.shown}: {points(other.effect)} points, q {chance(other.q)}" for other in one.related
        ]
        also = folded(f"and {counted(len(items), 'other', 'others')} like it", listed(items))
    return [
        joined([one.shown, also]), one.kind, one.at or "–", percent(one.shares[0]), percent(one.shares[-1]),
        points(one.effect), interval(*one.ci), chance(one.q), f"{one.support:,}",
    ]  # fmt: skip
