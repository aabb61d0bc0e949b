"""A set's profile in words: what it has more, its themes, and records that stand for it."""

from __future__ import annotations

from collections.abc import Iterator

from saeindex.analysis.diff.report import LIMITS, all_families
from saeindex.analysis.profile.results import SetProfile
from saeindex.report.model import (
    Description,
    Head,
    Paragraph,
    Quotes,
    Section,
    Table,
    counted,
    describe,
    number,
    percent,
)

IN_SHORT = 3
WHAT = {
    "central": "nearest to the set's mean direction",
    "borderline": "as near to records outside the set as to those in it",
    "odd": "far from the others of the set, with concepts that they have not",
}


@describe.register(SetProfile)
def _(profile: SetProfile) -> Description:
    first = [one.shown for found in profile.distinctive.values() for one in found[:IN_SHORT]]
    return Description(
        question="What is this set of records like?",
        summary=[
            f"{counted(profile.size, 'record')} among {profile.size + profile.rest:,}.",
            f"Distinctive: {'; '.join(first)}." if first else "Nothing was found that the set has more.",
        ],
        method=[
            f"Compared with the {profile.rest:,} other records; q holds at {profile.alpha:g} in each family.",
            f"Cohesion, the mean cosine with the set's mean direction, is {number(profile.cohesion)}.",
        ],
        sections=list(_sections(profile)),
        notes=profile.notes,
        limits=LIMITS,
    )


def _sections(profile: SetProfile) -> Iterator[Section]:
    more = all_families(profile.distinctive, profile.tested, ("set", "rest"))
    yield Section("What it has more", more)
    if profile.themes:
        heads = [Head("theme", False), Head("records"), Head("share"), Head("typical records", False)]
        rows = [
            [one.name, f"{one.size:,}", percent(one.share), ", ".join(one.central)] for one in profile.themes
        ]
        yield Section("Themes", [Table("Parts of the set", heads, rows)])
    for name, shown in profile.records.items():
        if shown:
            quotes = Quotes([one.example for one in shown], [number(one.score) for one in shown])
            yield Section(f"{name.capitalize()} records", [Paragraph(f"Records {WHAT[name]}."), quotes])
