"""The report of an alert: the differences of a window of records from its reference."""

from __future__ import annotations

from saeindex.analysis.diff import report as shared
from saeindex.analysis.monitor.results import REFERENCE, WINDOW, Alert
from saeindex.report.model import Description, Section, describe
from saeindex.report.numbers import percent


@describe.register(Alert)
def _(alert: Alert) -> Description:
    sizes = f"{alert.window:,} records against {alert.reference:,}."
    first = f"{shared.first_of_each(alert.changed)}."
    changes = [f"Alert ({alert.severity}): {len(alert):,} changes, {sizes}", first]
    options = alert.options
    looks = f" over {options.looks:,} looks together" if options.looks > 1 else ""
    test = f"{alert.method}. " if alert.method else ""
    findings = shared.findings_by_group(alert.changed, alert.tested, (WINDOW, REFERENCE))
    return Description(
        question="Has anything changed?",
        summary=changes if len(alert) else [f"No change, {sizes}"],
        method=[
            f"{test}False alerts come in {percent(options.alpha, 0)} of cases at most{looks}.",
            f"A change counts from {100 * options.min_effect:g} percentage points and an odds ratio of "
            f"{options.min_odds_ratio:g}.",
            f"{shared.unit_sentence(alert.unit)} {shared.strata_sentence(alert.strata)}",
        ],
        sections=[Section("Changes", findings), *shared.evidence(alert.changed, shared.more_in)],
        notes=alert.notes,
        limits=shared.LIMITS,
    )
