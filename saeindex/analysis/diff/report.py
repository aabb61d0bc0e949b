"""A comparison in words: method, findings, evidence, and what limits them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import partial

from saeindex.analysis.diff.charts import forest, volcano
from saeindex.analysis.diff.results import Diff, Finding
from saeindex.analysis.stats.evidence import FAMILY, Family
from saeindex.report.model import (
    Block,
    Box,
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
    number,
    percent,
    points,
    ratio,
    series,
)

# Of each family: findings that the answer in short names by group, findings with their records.
IN_SHORT, SHOWN_EVIDENCE = 3, 6
REPLICATED = {True: "yes", False: "no", None: "–"}
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


@describe.register(Diff)
def _(diff: Diff) -> Description:
    unit = (
        f"Records with the same {diff.unit} are not independent; they count by how far units differ."
        if diff.unit
        else "Each record counts as independent of all others."
    )
    return Description(
        question=f"What differs between {series(list(diff.groups))}?",
        summary=_summary(diff),
        method=[
            f"{diff.method}. {unit}",
            f"Records are compared in {diff.pairs:,} pairs, each within its unit." if diff.pairs else "",
            f"Records are compared only with those alike in: {', '.join(diff.strata)}."
            if diff.strata
            else "Records were not matched by any other field.",
        ],
        details=_details(diff),
        sections=list(_sections(diff)),
        notes=diff.notes,
        limits=LIMITS,
        made_by=_made_by(diff),
    )


def _summary(diff: Diff) -> list[str]:
    sizes = series([f"{size:,} records of {name}" for name, size in diff.groups.items()])
    if not len(diff):
        return [f"Nothing was found to differ between {sizes}.", "What this could have found is told below."]
    counts = series(
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


def _made_by(diff: Diff) -> str:
    asked = (
        "A language model wrote and checked hypotheses."
        if diff.hypotheses
        else "No language model was asked."
    )
    return f"{asked} Counted by: {diff.counted_by}."


def _details(diff: Diff) -> list[Block]:
    field = f"the field “{diff.field}”" if diff.field else "the text"
    tested = series([f"{count:,} {FAMILY[family].lower()}" for family, count in diff.tested.items()])
    groups = Table(
        "Groups that were compared",
        [Head("group", False), Head("records")],
        [[name, f"{size:,}"] for name, size in diff.groups.items()],
    )
    return [
        groups,
        Paragraph(
            f"Of {field} of each record it was asked which concepts and words it has, and which records are "
            f"like it. A record has a concept where {LEVELS.get(diff.level, diff.level)}."
        ),
        Paragraph(
            f"Tested: {tested}. Of the findings of a family about {percent(diff.alpha, 0)} at most are "
            "expected to be chance (q is that rate for each). Replicated: found in one half of the units "
            "alone, it holds in the other; a dash says that this half alone did not find it. Intervals are "
            "of 95 % for each finding by itself."
        ),
    ]


def _sections(diff: Diff) -> Iterator[Section]:
    groups = tuple(diff.groups)
    findings: list[Block] = [Figure(partial(volcano, diff))] if len(diff) else []
    for family, found in diff.findings.items():
        findings += family_blocks(family, found, groups, _counted(diff, family), diff.alpha)
    yield Section("Findings", findings)
    if evidence := evidence_blocks(diff.findings):
        intro = "Records that show the largest findings; the words to look at are marked."
        yield Section("Evidence", [Paragraph(intro), *evidence])
    if diff.hypotheses:
        yield Section("What a language model makes of it", _hypotheses(diff))
    if diff.power:
        yield Section("What could have been found", _power(diff))
    if diff.changes:
        yield Section("What the strata changed", _changes(diff))
    if diff.hints:
        yield Section("Hints, untested", [_hints(diff)])


def _counted(diff: Diff, family: Family) -> str:
    found = diff.findings[family]
    count = sum(1 + len(one.related) for one in found if one.q <= diff.alpha)
    told = f"{counted(count, 'finding')} of {diff.tested[family]:,} tested"
    if any(one.related for one in found):
        told += f", in {len(found):,} rows: what is one thing stands together"
    for one in diff.confirmation:
        if one.family == family and one.found:
            told += (
                f". Searched in one half of the units alone, {one.found:,} were found; "
                f"{one.replicated:,} of these hold in the other half"
            )
    return f"{told}."


def family_blocks(
    family: Family, found: Sequence[Finding], groups: Sequence[str], text: str, alpha: float = 1.0
) -> list[Block]:
    """Return a family's findings under their heading: the largest with their intervals, and all as a table.

    Those with ``q`` above ``alpha``, which were asked about by name, are said to be none.
    """
    name = FAMILY[family]
    blocks: list[Block] = [Heading(name, text)]
    if not found:
        return blocks
    is_held = any(one.replicated is not None for one in found)
    caption = f"{name}, the largest difference first"
    if len(groups) == 2:
        caption += f"; differences are {groups[0]} less {groups[1]}"
    rows = [_row(one, groups, is_held, alpha) for one in found]
    table = Table(caption, _heads(groups, is_held), rows, name, is_main=True)
    return [*blocks, Figure(partial(forest, name, found, groups)), table]


def all_families(
    findings: Mapping[Family, Sequence[Finding]], tested: Mapping[Family, int], groups: Sequence[str]
) -> list[Block]:
    """Return every family's findings between two groups, each with how many were tested."""
    return [
        block
        for family, found in findings.items()
        for block in family_blocks(
            family,
            found,
            groups,
            f"{counted(len(found), 'row')} of findings; {tested.get(family, 0):,} tested.",
        )
    ]


def _heads(groups: Sequence[str], is_held: bool) -> list[Head]:
    shares = [f"in {name}" for name in groups] if len(groups) == 2 else ["more in", "in it", "in the next"]
    names = ["finding", *shares, "difference, points", "95 % interval", "odds ratio", "q", "records"]
    heads = [Head(name, name not in ("finding", "more in")) for name in names]
    return [*heads, Head("replicated", False)] if is_held else heads


def _row(one: Finding, groups: Sequence[str], is_held: bool, alpha: float) -> list[str | Cell]:
    if len(groups) == 2:
        shares = [percent(one.freq.get(name, 0.0)) for name in groups]
    else:
        next_one = f"{percent(one.freq[one.against])} ({one.against})"
        shares = [one.group, percent(one.freq[one.group]), next_one]
    name = one.shown if one.q <= alpha else f"{one.shown} (no difference found)"
    alike = [f"{other.shown}: {points(other.effect)} points, q {chance(other.q)}" for other in one.related]
    cells: list[str | Cell] = [
        also(name, alike), *shares, points(one.effect), interval(*one.ci), ratio(one.log_odds),
        chance(one.q), f"{one.support:,}",
    ]  # fmt: skip
    return [*cells, REPLICATED[one.replicated]] if is_held else cells


def also(name: str, alike: Sequence[str]) -> Cell:
    """Return the name of a finding with those that are one thing with it."""
    return Cell(name, f"and {counted(len(alike), 'other', 'others')} like it", tuple(alike))


def evidence_blocks(findings: Mapping[Family, Sequence[Finding]]) -> list[Block]:
    """Return records of both sides for the first findings of each family that have any."""
    return [
        Sides(one.shown, f"more in {one.group}", one.examples)
        for found in findings.values()
        for one in [each for each in found if any(each.examples.values())][:SHOWN_EVIDENCE]
    ]


def _hypotheses(diff: Diff) -> list[Block]:
    first, second = list(diff.groups)[:2]
    heads = [
        Head("hypothesis", False), Head("more in", False), Head(f"of {first}"), Head(f"of {second}"),
        Head("q"), Head("verdict", False),
    ]  # fmt: skip
    rows = [
        [
            one.text, one.group, *(percent(share) for share in one.verified.values()), number(one.q),
            "✓ holds" if one.holds else "not verified",
        ]
        for one in diff.hypotheses
    ]  # fmt: skip
    judged = series([f"{count:,} records of {name}" for name, count in diff.hypotheses[0].judged.items()])
    return [
        Paragraph(
            f"Written from the findings, and checked on {judged} that the writer had not seen: the shares "
            "are of those that the judge found to show it."
        ),
        Table("Hypotheses and how they were verified", heads, rows),
    ]


def _power(diff: Diff) -> list[Block]:
    first, second = list(diff.groups)[:2]
    heads = [Head("family", False), Head(f"share of {second}"), Head(f"found from, share of {first}")]
    rows = [
        [FAMILY[one.family], percent(one.base), "never" if one.share is None else percent(one.share)]
        for one in diff.power
    ]
    return [
        Paragraph(
            f"What is in this share of {second} is found four times in five if it is in that share of "
            f"{first}. Smaller differences may be there and not be found."
        ),
        Table("Smallest differences that are found four times in five", heads, rows),
    ]


def _changes(diff: Diff) -> list[Block]:
    heads = [
        Head("family", False), Head("stratum", False), Head("findings without"), Head("with it alone"),
        Head("gone with it", False),
    ]  # fmt: skip
    rows = [
        [FAMILY[one.family], one.field, f"{one.without:,}", f"{one.with_it:,}", "; ".join(one.gone) or "–"]
        for one in diff.changes
    ]
    intro = "Findings that go when records are compared within a stratum were differences of it."
    return [Paragraph(intro), Table("Findings without and with each stratum", heads, rows)]


def _hints(diff: Diff) -> Box:
    names = ("hint", "more in", "family", "log-odds", "records")
    heads = [Head(name, name in ("log-odds", "records")) for name in names]
    rows = [
        [one.label, one.group, FAMILY[one.family], number(one.log_odds), f"{one.support:,}"]
        for one in diff.hints
    ]
    warning = (
        "These were not tested and have no error rate: many of them are chance. They are places to look."
    )
    return Box("untested", [Paragraph(warning), Table("Untested hints", heads, rows)])
