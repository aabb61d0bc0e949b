"""An alert in words: what a window of records differs in from its reference."""

from __future__ import annotations

from collections.abc import Iterator

from saeindex.analysis.diff.report import LIMITS, all_families, evidence_blocks
from saeindex.analysis.monitor.results import REFERENCE, WINDOW, Alert
from saeindex.report.model import Description, Section, describe, percent

IN_SHORT = 3


@describe.register(Alert)
def _(alert: Alert) -> Description:
    sizes = f"{alert.window:,} records against {alert.reference:,}."
    summary = [f"No change, {sizes}"]
    if len(alert):
        first = [one.shown for found in alert.changed.values() for one in found[:IN_SHORT]]
        summary = [f"Alert ({alert.severity}): {len(alert):,} changes, {sizes}", f"{'; '.join(first)}."]
    options = alert.options
    looks = f" over {options.looks:,} looks together" if options.looks > 1 else ""
    test = f"{alert.method}. " if alert.method else ""
    return Description(
        question="Has anything changed?",
        summary=summary,
        method=[
            f"{test}False alerts come in {percent(options.alpha, 0)} of cases at most{looks}.",
            f"A change counts from {100 * options.min_effect:g} percentage points and an odds ratio of "
            f"{options.min_odds_ratio:g}.",
            f"Compared within {', '.join(alert.strata)}." if alert.strata else "",
            f"Records with the same {alert.unit} count together." if alert.unit else "",
        ],
        sections=list(_sections(alert)),
        notes=alert.notes,
        limits=LIMITS,
    )


def _sections(alert: Alert) -> Iterator[Section]:
    yield Section("Changes", all_families(alert.changed, alert.tested, (WINDOW, REFERENCE)))
    if evidence := evidence_blocks(alert.changed):
        yield Section("Evidence", evidence)
