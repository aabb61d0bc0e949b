"""A set's profile and a monitor's alert, told on a page."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

from markupsafe import Markup

from saeindex.analysis.diff.charts import FAMILY, forest
from saeindex.analysis.report.diff import LIMITS
from saeindex.analysis.report.findings import evidence, findings_table
from saeindex.analysis.report.numbers import counted, number, percent
from saeindex.report.html import (
    Head,
    Section,
    Told,
    element,
    figure,
    joined,
    listed,
    paragraphs,
    record,
    table,
)

if TYPE_CHECKING:
    from saeindex.analysis.diff.results import Finding
    from saeindex.analysis.monitor.results import Alert
    from saeindex.analysis.profile.results import SetProfile
    from saeindex.analysis.stats.evidence import Family

IN_SHORT = 6
WHAT = {
    "central": "nearest to the set's mean direction",
    "borderline": "as near to records outside the set as to those in it",
    "odd": "far from the others of the set, with concepts that they have not",
}


def told_of_profile(profile: SetProfile) -> Told:
    """Return a set's profile in words."""
    first = [one.shown for found in profile.distinctive.values() for one in found[: IN_SHORT // 2]]
    short = [
        f"{counted(profile.size, 'record')} among {profile.size + profile.rest:,}.",
        f"Distinctive: {'; '.join(first)}." if first else "Nothing was found that the set has more.",
    ]
    return Told("What is this set of records like?", short, _profile_sections(profile))


def _profile_sections(profile: SetProfile) -> Iterator[Section]:
    told = f"Compared with the {profile.rest:,} other records; q holds at {profile.alpha:g} in each family."
    cohesion = f"Cohesion, the mean cosine with the set's mean direction, is {number(profile.cohesion)}."
    yield Section("Method", paragraphs(told, cohesion))
    yield Section("What it has more", _by_family(profile.distinctive, profile.tested, ("set", "rest")))
    if profile.themes:
        heads = [Head("theme", False), Head("records"), Head("share"), Head("typical records", False)]
        rows = [
            [one.name, f"{one.size:,}", percent(one.share), ", ".join(one.central)] for one in profile.themes
        ]
        yield Section("Themes", table(heads, rows, "Parts of the set"))
    for name, shown in profile.records.items():
        if shown:
            told = paragraphs(f"Records {WHAT[name]}.")
            records = joined(record(one.example) for one in shown)
            yield Section(f"{name.capitalize()} records", joined([told, records]))
    yield Section("Limits", listed([*(f"{note}." for note in profile.notes), *LIMITS]))


def told_of_alert(alert: Alert) -> Told:
    """Return what a window of records differs in from its reference, in words."""
    sizes = f"{alert.window:,} records of the window against {alert.reference:,} of the reference"
    if not len(alert):
        short = [f"No change: {sizes}."]
    else:
        first = [one.shown for found in alert.changed.values() for one in found[: IN_SHORT // 2]]
        short = [
            f"Alert ({alert.severity}): {counted(len(alert), 'change')}, {sizes}.",
            f"{'; '.join(first)}.",
        ]
    return Told("Has anything changed?", short, _alert_sections(alert))


def _alert_sections(alert: Alert) -> Iterator[Section]:
    options = alert.options
    looks = f" over {options.looks:,} looks together" if options.looks > 1 else ""
    method = (
        f"{alert.method}. " if alert.method else ""
    ) + f"False alerts come in {percent(options.alpha, 0)} of cases at most{looks}."  # fmt: skip
    least = (
        f"A change counts from {100 * options.least_effect:g} percentage points and an odds ratio of "
        f"{options.least_odds:g}."
    )
    strata = f"Compared within {', '.join(alert.strata)}." if alert.strata else ""
    unit = f"Records with the same {alert.unit} count together." if alert.unit else ""
    yield Section("Method", paragraphs(method, least, strata, unit))
    yield Section("Changes", _by_family(alert.changed, alert.tested, ("window", "reference")))
    if any(any(one.examples.values()) for one in alert):
        yield Section("Evidence", joined(evidence(found) for found in alert.changed.values()))
    yield Section("Limits", listed([*(f"{note}." for note in alert.notes), *LIMITS]))


def _by_family(
    findings: Mapping[Family, Sequence[Finding]], tested: Mapping[Family, int], groups: tuple[str, str]
) -> Markup:
    parts = []
    for family, found in findings.items():
        told = f"{counted(len(found), 'row')} of findings; {tested.get(family, 0):,} tested."
        parts += [element("h3", FAMILY[family]), paragraphs(told)]
        if found:
            parts.append(figure(forest(FAMILY[family], found, groups)))
            parts.append(findings_table(found, groups, f"{FAMILY[family]}, the largest difference first"))
    return joined(parts)
