"""The report of a profile: distinctive concepts and words, themes, and example records."""

from __future__ import annotations

from collections.abc import Iterator

from saeindex.analysis.describe.results import SetDescription
from saeindex.analysis.diff.report import LIMITS, findings_by_group, first_of_each
from saeindex.report.model import Description, Quotes, Section, describe, table
from saeindex.report.numbers import counted, number, percent

# What records of each kind are.
KINDS = {
    "central": "nearest to the set's mean direction",
    "borderline": "as near to records outside the set as to those in it",
    "odd": "far from the others of the set, with concepts that those do not have",
}


@describe.register(SetDescription)
def _(profile: SetDescription) -> Description:
    first = first_of_each(profile.distinctive)
    return Description(
        question="What is this set of records like?",
        summary=[
            f"{counted(profile.size, 'record')} among {profile.size + profile.rest:,}.",
            f"Distinctive: {first}." if first else "Nothing was found that the set has more often.",
        ],
        method=[
            f"Compared with the {profile.rest:,} other records; the false discovery rate of each family (q) "
            f"is at most {profile.alpha:g}.",
            f"Cohesion, the mean cosine with the set's mean direction, is {number(profile.cohesion)}.",
        ],
        sections=list(_sections(profile)),
        notes=profile.notes,
        limits=LIMITS,
    )


def _sections(profile: SetDescription) -> Iterator[Section]:
    more = findings_by_group(profile.distinctive, profile.tested, ("set", "rest"))
    yield Section("What it has more often", more)
    columns = {"theme": "name", "records": "size", "share": (percent, "share")}
    if profile.themes:
        typical = Quotes([(one.name, one.central) for one in profile.themes])
        yield Section("Themes", [table("Parts of the set", profile.themes, columns), typical])
    for kind, shown in profile.records.items():
        quotes = Quotes([(number(one.score), [one.example]) for one in shown])
        if shown:
            yield Section(f"{kind.capitalize()} records", [f"Records {KINDS[kind]}.", quotes])
