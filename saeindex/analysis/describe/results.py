"""The result of profiling a set of records, and its report."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Any

from saeindex.analysis.diff.report import LIMITS, findings_by_group, first_of_each
from saeindex.analysis.diff.results import Finding
from saeindex.analysis.stats.options import Family
from saeindex.report.model import Description, Example, Quotes, Section, describe, table
from saeindex.report.numbers import counted, number, percent
from saeindex.report.result import AnalysisResult


@dataclass(frozen=True, slots=True)
class Standing:
    """A record of the set, with its score as a central, borderline or odd record."""

    example: Example
    score: float


@dataclass(frozen=True, slots=True)
class Theme:
    """A part of the set: ``name`` lists its concepts, ``central`` are its most typical records."""

    name: str
    size: int
    share: float
    central: tuple[Example, ...]


@dataclass(frozen=True, eq=False, repr=False)
class SetDescription(AnalysisResult):
    """The profile of a set of records against all other records.

    ``distinctive`` are the findings that are more frequent in the set, by family, tested at the rate
    ``alpha`` each. The score of ``central`` records is the cosine with the set's mean direction, highest
    first. The score of ``borderline`` records is how much nearer their neighbours in the set are than their
    neighbours outside, lowest first. The score of ``odd`` records, from 0 to 1, measures how far from the
    others and how unusual in their concepts they are. ``cohesion`` is the mean cosine with that direction.
    """

    size: int
    rest: int
    alpha: float
    distinctive: Mapping[Family, tuple[Finding, ...]]
    tested: Mapping[Family, int]
    central: tuple[Standing, ...]
    borderline: tuple[Standing, ...]
    odd: tuple[Standing, ...]
    themes: tuple[Theme, ...]
    cohesion: float
    notes: tuple[str, ...] = ()
    field: str = ""

    def __len__(self) -> int:
        return self.size

    @property
    def records(self) -> dict[str, tuple[Standing, ...]]:
        """The example records: central, borderline and odd."""
        return {"central": self.central, "borderline": self.borderline, "odd": self.odd}

    def tables(self) -> dict[str, list[dict[str, Any]]]:
        """Return findings by family, the example records, and the themes."""
        tables = {
            str(name): [row for one in each for row in one.rows()] for name, each in self.distinctive.items()
        }
        for name, each in self.records.items():
            shown = [(one.example, one.score) for one in each]
            tables[name] = [{"id": one.id, "score": score, "text": one.text} for one, score in shown]
        tables["themes"] = [
            asdict(one) | {"central": " ".join(each.id for each in one.central)} for one in self.themes
        ]
        return tables


# What records of each kind are.
KINDS = {
    "central": "nearest to the set's mean direction",
    "borderline": "as near to records outside the set as to those in it",
    "odd": "far from the others of the set, with concepts that those do not have",
}


@describe.register(SetDescription)
def _(profile: SetDescription) -> Description:
    first = first_of_each(profile.distinctive)
    found = f"Distinctive: {first}." if first else "Nothing was found that the set has more often."
    return Description(
        question="What is this set of records like?",
        summary=[
            f"{counted(profile.size, 'record')} among {profile.size + profile.rest:,}.",
            f"Not comparable with the others: {profile.not_comparable}." if profile.not_comparable else found,
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
    if not profile.not_comparable:
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
