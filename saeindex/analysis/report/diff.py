"""A comparison told on a page: method, findings, evidence, and what limits them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from markupsafe import Markup

from saeindex.analysis.diff.charts import FAMILY, forest, volcano
from saeindex.analysis.report.findings import evidence, findings_table
from saeindex.analysis.report.numbers import counted, number, percent
from saeindex.report.html import Head, Section, Told, element, figure, joined, listed, paragraphs, table

if TYPE_CHECKING:
    from saeindex.analysis.diff.results import Diff
    from saeindex.analysis.stats.evidence import Family

# Findings of each family and group that the answer in short names.
IN_SHORT = 3
LEVELS = {
    "present": "it is active at all",
    "typical": "it is at least as active as in the median record that has it, of the corpus that the space "
    "was made on",
    "strong": "it is as active as in a tenth of the records that have it, of the corpus that the space was "
    "made on",
}
LIMITS = (
    "A difference is no cause: groups may differ in more than what they were chosen by.",
    "Concepts are features of the embeddings with short labels; read the records before trusting a label. "
    "Labels marked (weak) say little.",
    "Each family of evidence has its own error rate; they are not to be added up.",
)


def told_of_diff(diff: Diff) -> Told:
    """Return a comparison in words."""
    return Told(f"What differs between {_and(list(diff.groups))}?", _short(diff), _sections(diff))


def _and(names: Sequence[str]) -> str:
    return " and ".join([", ".join(names[:-1]), names[-1]]) if len(names) > 1 else "".join(names)


def _short(diff: Diff) -> list[str]:
    sizes = _and([f"{size:,} records of {name}" for name, size in diff.groups.items()])
    if not len(diff):
        return [f"Nothing was found to differ between {sizes}.", "What this could have found is told below."]
    counts = _and(
        [
            f"{sum(one.q <= diff.alpha for one in found):,} in {FAMILY[family].lower()}"
            for family, found in diff.findings.items()
        ]
    )
    told = [f"{counted(len(diff), 'finding')} among {sizes}: {counts}."]
    for name in diff.groups:
        by_family = [[one.shown for one in found if one.group == name] for found in diff.findings.values()]
        if first := [label for labels in by_family for label in labels[:IN_SHORT]]:
            told.append(f"More in {name}: {'; '.join(first)}.")
    return told


def _sections(diff: Diff) -> Iterator[Section]:
    yield Section("Method", _method(diff))
    yield Section("Findings", _findings(diff))
    if any(one.examples for one in diff):
        yield Section("Evidence", _evidence(diff))
    if diff.hypotheses:
        yield Section("What a language model makes of it", _hypotheses(diff))
    if diff.power:
        yield Section("What could have been found", _power(diff))
    if diff.changes:
        yield Section("What the strata changed", _changes(diff))
    if diff.hints:
        yield Section("Hints, untested", _hints(diff))
    yield Section("Limits", listed([*(f"{note}." for note in diff.notes), *LIMITS]))


def _method(diff: Diff) -> Markup:
    field = f"the field “{diff.field}”" if diff.field else "the text"
    groups = table(
        [Head("group", False), Head("records")],
        [[name, f"{size:,}"] for name, size in diff.groups.items()],
        "Groups that were compared",
    )
    unit = (
        f"Records with the same {diff.unit} are not independent; they count by how far units differ."
        if diff.unit
        else "Each record counts as independent of all others."
    )
    paired = f"Records are compared in {diff.pairs:,} pairs, each within its unit." if diff.pairs else ""
    strata = f"Records are compared only with those alike in: {', '.join(diff.strata)}." if diff.strata else (
        "Records were not matched by any other field."
    )  # fmt: skip
    tested = _and([f"{count:,} {FAMILY[family].lower()}" for family, count in diff.tested.items()])
    return joined([
        groups,
        paragraphs(
            f"Of {field} of each record it was asked which concepts and words it has, and which records are "
            f"like it. A record has a concept where {LEVELS.get(diff.level, diff.level)}.",
            f"Test: {diff.method}. {unit}",
            paired,
            strata,
            f"Tested: {tested}. Of the findings of a family about {percent(diff.alpha, 0)} at most are "
            "expected to be chance (q is that rate for each). Replicated: found in one half of the units "
            "alone, it holds in the other; a dash says that this half alone did not find it. Intervals are "
            "of 95 % for each finding by itself.",
        ),
    ])  # fmt: skip


def _findings(diff: Diff) -> Markup:
    groups = tuple(diff.groups)
    parts = [figure(volcano(diff))] if len(diff) else []
    for family, found in diff.findings.items():
        parts += [element("h3", FAMILY[family]), paragraphs(_counted(diff, family))]
        if found:
            parts.append(figure(forest(FAMILY[family], found, groups)))
        parts.append(findings_table(found, groups, f"{FAMILY[family]}, the largest difference first"))
    return joined(parts)


def _counted(diff: Diff, family: Family) -> str:
    found = diff.findings[family]
    count = sum(1 + len(one.related) for one in found)
    told = f"{counted(count, 'finding')} of {diff.tested[family]:,} tested"
    if count > len(found):
        told += f", in {len(found):,} rows: what is one thing stands together"
    for one in diff.confirmation:
        if one.family == family:
            told += (
                f". Searched in one half of the units alone, {one.found:,} were found; "
                f"{one.replicated:,} of these hold in the other half"
            )
    return f"{told}."


def _evidence(diff: Diff) -> Markup:
    intro = paragraphs(
        "Records that show the largest findings, from both sides; the words to look at are marked."
    )
    return joined([intro, *(evidence(found) for found in diff.findings.values())])


def _hypotheses(diff: Diff) -> Markup:
    first, second = list(diff.groups)[:2]
    heads = [Head("hypothesis", False), Head("more in", False), Head(f"of {first}"), Head(f"of {second}"),
             Head("q"), Head("holds", False)]  # fmt: skip
    rows = [
        [one.text, one.group, *(percent(share) for share in one.verified.values()), number(one.q),
         "yes" if one.holds else "not verified"]
        for one in diff.hypotheses
    ]  # fmt: skip
    judged = _and([f"{count:,} records of {name}" for name, count in diff.hypotheses[0].judged.items()])
    intro = paragraphs(
        f"Written from the findings, and checked on {judged} that the writer had not seen: the shares are of "
        "those that the judge found to show it."
    )
    return joined([intro, table(heads, rows, "Hypotheses and how they were verified")])


def _power(diff: Diff) -> Markup:
    first, second = list(diff.groups)[:2]
    rows = [
        [FAMILY[one.family], percent(one.base), "never" if one.share is None else percent(one.share)]
        for one in diff.power
    ]
    intro = paragraphs(
        f"What is in this share of {second} is found four times in five if it is in that share of {first}. "
        "Smaller differences may be there and not be found."
    )
    heads = [Head("family", False), Head(f"share of {second}"), Head(f"found from, share of {first}")]
    return joined([intro, table(heads, rows, "Smallest differences that are found four times in five")])


def _changes(diff: Diff) -> Markup:
    heads = [Head("family", False), Head("stratum", False), Head("findings without"), Head("with it alone"),
             Head("gone with it", False)]  # fmt: skip
    rows = [
        [FAMILY[one.family], one.field, f"{one.without:,}", f"{one.with_it:,}", ", ".join(one.gone) or "–"]
        for one in diff.changes
    ]
    intro = paragraphs("Findings that go when records are compared within a stratum were differences of it.")
    return joined([intro, table(heads, rows, "Findings without and with each stratum")])


def _hints(diff: Diff) -> Markup:
    heads = [
        Head("hint", False),
        Head("more in", False),
        Head("family", False),
        Head("log-odds"),
        Head("records"),
    ]
    rows = [
        [one.label, one.group, FAMILY[one.family], number(one.log_odds), f"{one.support:,}"]
        for one in diff.hints
    ]
    warning = paragraphs(
        "These were not tested and have no error rate: many of them are chance. They are places to look."
    )
    return element("div", warning, table(heads, rows, "Untested hints"), class_="untested")
