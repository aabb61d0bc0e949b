"""The report of drift: rising and falling concepts, change points, and early and late records."""

from __future__ import annotations

from collections.abc import Sequence

from saeindex.analysis.diff import report as shared
from saeindex.analysis.drift.charts import panels
from saeindex.analysis.drift.results import Drift, Trend
from saeindex.analysis.stats.choices import FAMILY, Family
from saeindex.report import model
from saeindex.report.model import Block, Description, Figure, Section, describe, table
from saeindex.report.numbers import Number, chance, counted, interval, percent, points

# The heights of a bar.
BARS = "▁▂▃▄▅▆▇█"


@describe.register(Drift)
def _(drift: Drift) -> Description:
    columns = {"period": "name", "from": (Number, "first"), "to": (Number, "last"), "records": "records"}
    rate = percent(drift.alpha, 0)
    return Description(
        question=f"What drifts over {drift.over}?",
        summary=_summary(drift),
        method=[
            f"{drift.method}. {shared.unit_sentence(drift.unit)}",
            shared.strata_sentence(drift.strata),
        ],
        details=[
            f"Of the findings of a family about {rate} at most are expected to be due to chance (q).",
            "Fitted shares of a trend are those of the first and the last period on a logistic line; of a "
            "change, those before and after it. The difference is that of these two.",
            table(f"Periods of {drift.over}", drift.periods, columns, shown=0),
        ],
        sections=[
            Section("Findings", _findings(drift)),
            *shared.evidence(drift.findings, lambda one: f"goes {one.direction}, {one.kind}"),
        ],
        notes=drift.notes,
        limits=shared.LIMITS,
    )


def _summary(drift: Drift) -> list[str]:
    records = sum(one.records for one in drift.periods)
    rising, falling = (
        shared.first_of_each(drift.findings, direction=direction) for direction in ("up", "down")
    )
    return [
        f"{records:,} records by {drift.over}, in {len(drift.periods)} periods.",
        f"{counted(len(drift), 'finding')}." if len(drift) else "Nothing was found to drift.",
        *([f"Rising: {rising}."] if rising else []),
        *([f"Falling: {falling}."] if falling else []),
    ]


def _findings(drift: Drift) -> list[Block]:
    columns = {
        "finding": shared.with_related, "course": (bars, "shares"), "what": lambda one: _kind(one, drift.per),
        "from": lambda one: one.at or "–",
        "fitted, first": lambda one: percent(one.fitted[0]),
        "fitted, last": lambda one: percent(one.fitted[-1]),
        "difference, points": (points, "effect"), "95 % interval": lambda one: interval(*one.ci),
        "q": (chance, "q"), "records": "support",
    }  # fmt: skip

    def shown(family: Family) -> list[Block]:
        caption = f"{FAMILY[family]}, the largest effect first"
        rows = table(caption, drift.findings[family], columns, in_notebook=model.NOTEBOOK_ROWS)
        return [Figure(panels, drift, family), rows]

    return shared.by_family(drift.findings, drift.tested, shown)


def _kind(one: Trend, per: str) -> str:
    """Return what kind of change it is; a slope is small, and is shown to two digits."""
    slope = f"{100 * one.slope:+.2g}".replace("-", "−")
    return f"trend, {slope} points per {per}" if one.kind == "trend" else one.kind


def bars(shares: Sequence[float]) -> str:
    """Return shares as bars, relative to the largest."""
    top = max(*shares, 1e-12)
    return "".join(BARS[min(len(BARS) - 1, int(share / top * len(BARS)))] for share in shares)
