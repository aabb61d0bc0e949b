"""Drift in words: what rises and falls, where changes begin, and records from both ends."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial

from saeindex.analysis.diff.report import LIMITS, SHOWN_EVIDENCE, also
from saeindex.analysis.drift.charts import panels
from saeindex.analysis.drift.results import Drift, Trend
from saeindex.analysis.stats.evidence import FAMILY, Family
from saeindex.report.model import (
    Block,
    Cell,
    Description,
    Figure,
    Head,
    Heading,
    Paragraph,
    Section,
    Sides,
    Table,
    chance,
    counted,
    describe,
    interval,
    percent,
    points,
)

IN_SHORT = 3
BARS = "▁▂▃▄▅▆▇█"


@describe.register(Drift)
def _(drift: Drift) -> Description:
    unit = (
        f"Records with the same {drift.unit} are not independent: they count by how far units differ."
        if drift.unit
        else "Each record counts as independent of all others."
    )
    strata = f"Compared only among records alike in: {', '.join(drift.strata)}." if drift.strata else ""
    return Description(
        question=f"What drifts over {drift.over}?",
        summary=_summary(drift),
        method=[f"{drift.method}. {unit}", strata],
        details=_details(drift),
        sections=list(_sections(drift)),
        notes=drift.notes,
        limits=LIMITS,
    )


def _summary(drift: Drift) -> list[str]:
    records = sum(one.records for one in drift.periods)
    told = [f"{records:,} records by {drift.over}, in {len(drift.periods)} periods."]
    told.append(f"{counted(len(drift), 'finding')}." if len(drift) else "Nothing was found to drift.")
    for way, verb in (("up", "Rising"), ("down", "Falling")):
        labels = [
            label
            for found in drift.findings.values()
            for label in [one.shown for one in found if one.direction == way][:IN_SHORT]
        ]
        if labels:
            told.append(f"{verb}: {'; '.join(labels)}.")
    return told


def _details(drift: Drift) -> list[Block]:
    heads = [Head("period", False), Head("from"), Head("to"), Head("records")]
    rows = [[one.name, str(one.first), str(one.last), f"{one.records:,}"] for one in drift.periods]
    rate = (
        f"Of the findings of a family about {percent(drift.alpha, 0)} at most are expected to be chance (q)."
    )
    return [Paragraph(rate), Table(f"Periods of {drift.over}", heads, rows, is_folded=True)]


def _sections(drift: Drift) -> Iterator[Section]:
    findings: list[Block] = [
        Figure(partial(panels, drift, family)) for family, found in drift.findings.items() if found
    ]
    for family, found in drift.findings.items():
        count = sum(1 + len(one.related) for one in found)
        told = f"{counted(count, 'finding')} of {drift.tested.get(family, 0):,} tested."
        findings.append(Heading(FAMILY[family], told))
        if found:
            findings.append(_table(drift, family, found))
    yield Section("Findings", findings)
    evidence = [
        Sides(one.shown, f"goes {one.direction}, {one.kind}", one.examples)
        for found in drift.findings.values()
        for one in [trend for trend in found if any(trend.examples.values())][:SHOWN_EVIDENCE]
    ]
    if evidence:
        yield Section("Evidence", evidence)


def _table(drift: Drift, family: Family, found: Sequence[Trend]) -> Table:
    first, last = drift.periods[0].name, drift.periods[-1].name
    heads = [
        Head("finding", False), Head("course", False), Head("what", False), Head("from", False),
        Head(f"in {first}"), Head(f"in {last}"), Head("effect, points"), Head("95 % interval"), Head("q"),
        Head("records"),
    ]  # fmt: skip
    caption = f"{FAMILY[family]}, the largest effect first"
    return Table(caption, heads, [_row(one, drift.per) for one in found], FAMILY[family], is_main=True)


def _row(one: Trend, per: str) -> list[str | Cell]:
    alike = [f"{other.shown}: {points(other.effect)} points, q {chance(other.q)}" for other in one.related]
    kind = f"trend, {points(one.slope)} points per {per}" if one.kind == "trend" else one.kind
    return [
        also(one.shown, alike), bars(one.shares), kind, one.at or "–", percent(one.shares[0]),
        percent(one.shares[-1]), points(one.effect), interval(*one.ci), chance(one.q), f"{one.support:,}",
    ]  # fmt: skip


def bars(shares: Sequence[float]) -> str:
    """Return shares as bars, the largest full."""
    top = max(*shares, 1e-12)
    return "".join(BARS[min(len(BARS) - 1, int(share / top * len(BARS)))] for share in shares)
