"""A comparison in words: method, findings, evidence, and what limits them.

What drift, alerts and profiles say of their findings in the same way is in the second half.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, TypeAlias

from saeindex.analysis.diff.charts import forest, volcano
from saeindex.analysis.diff.results import Diff
from saeindex.analysis.stats.evidence import FAMILY, Family
from saeindex.report import model
from saeindex.report.model import Block, Cell, Description, Figure, Section, describe, table
from saeindex.report.numbers import chance, count, counted, interval, percent, points, ratio, series

Findings: TypeAlias = Mapping[Family, Sequence[Any]]
# Of each family: findings that the answer in short names, findings that are shown with their records.
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
    "A difference is not a cause: groups may differ in more than what they were selected by.",
    "Concepts are features of the embeddings with short labels; read the records before trusting a label. "
    "Labels marked (weak) say little.",
    "Each family of evidence has its own error rate; the rates must not be added up.",
)


@describe.register(Diff)
def _(diff: Diff) -> Description:
    pairs = f"Records are compared in {count(diff.pairs)} pairs, each within its unit." if diff.pairs else ""
    halves = [
        f"Searched in one half of the units alone, {one.found:,} {FAMILY[one.family].lower()} were found; "
        f"{one.replicated:,} of these hold in the other half."
        for one in diff.confirmation
        if one.found
    ]
    asked = "A language model wrote and checked hypotheses." if diff.hypotheses else model.NO_MODEL
    return Description(
        question=f"What differs between {series(list(diff.groups))}?",
        summary=_summary(diff),
        method=[f"{diff.method}. {unit_sentence(diff.unit)}", pairs, strata_sentence(diff.strata), *halves],
        details=_details(diff),
        sections=list(_sections(diff)),
        notes=diff.notes,
        limits=LIMITS,
        made_by=f"{asked} Counted by: {diff.counted_by}.",
    )


def _summary(diff: Diff) -> list[str]:
    sizes = series([f"{size:,} records of {name}" for name, size in diff.groups.items()])
    if not len(diff):
        return [f"Nothing was found to differ between {sizes}.", "What could have been found is shown below."]
    found_in = [
        f"{sum(one.q <= diff.alpha for one in found):,} in {FAMILY[family].lower()}"
        for family, found in diff.findings.items()
    ]
    first = {name: first_of_each(diff.findings, group=name) for name in diff.groups}
    return [
        f"{counted(len(diff), 'finding')} among {sizes}: {series(found_in)}.",
        *(f"More in {name}: {findings}." for name, findings in first.items() if findings),
    ]


def _details(diff: Diff) -> list[Block]:
    field = f"the field “{diff.field}”" if diff.field else "the text"
    tested = series([f"{tests:,} {FAMILY[family].lower()}" for family, tests in diff.tested.items()])
    columns = {"group": lambda one: one[0], "records": lambda one: one[1]}
    return [
        table("Groups that were compared", diff.groups.items(), columns),
        f"Compared were the concepts and words in {field} of each record, and the clusters of similar "
        f"records that it is in. A record has a concept where {LEVELS.get(diff.level, diff.level)}.",
        f"Tested: {tested}. Of the findings of a family about {percent(diff.alpha, 0)} at most are "
        "expected to be due to chance (q is that rate for each). Replicated: found in one half of the units "
        "alone, it holds in the other; a dash says that this half alone did not find it. Intervals are "
        "of 95 % for each finding by itself.",
    ]


def _sections(diff: Diff) -> Iterator[Section]:
    findings = findings_by_group(diff.findings, diff.tested, list(diff.groups), diff.alpha)
    yield Section("Findings", [*([Figure(volcano, diff)] if len(diff) else []), *findings])
    yield from evidence(diff.findings, more_in)
    if diff.hypotheses:
        yield Section("What a language model makes of it", _hypotheses(diff))
    if diff.power:
        yield Section("What could have been found", _power(diff))
    if diff.changes:
        yield Section("What the strata changed", _changes(diff))
    if diff.hints:
        yield Section("Hints, untested", _hints(diff), "untested")


def _hypotheses(diff: Diff) -> list[Block]:
    judged = series([f"{judged:,} records of {name}" for name, judged in diff.hypotheses[0].judged.items()])
    columns = {
        "hypothesis": "text", "more in": "group",
        **{f"of {name}": _share_of(name, "verified") for name in diff.hypotheses[0].verified},
        "q": "q", "verdict": lambda one: "✓ holds" if one.holds else "not verified",
    }  # fmt: skip
    return [
        f"Written from the findings, and checked on {judged} that the writer had not seen: the shares "
        "are those in which the judge found it.",
        table("Hypotheses and how they were verified", diff.hypotheses, columns),
    ]


def _power(diff: Diff) -> list[Block]:
    first, second = list(diff.groups)[:2]
    columns = {
        "family": (FAMILY.get, "family"), f"share of {second}": (percent, "base"),
        f"found from, share of {first}": lambda one: "never" if one.share is None else percent(one.share),
    }  # fmt: skip
    return [
        f"What this share of {second} has is found four times in five if that share of {first} has it. "
        "Smaller differences may exist without being found.",
        table("Smallest differences that are found four times in five", diff.power, columns),
    ]


def _changes(diff: Diff) -> list[Block]:
    columns = {
        "family": (FAMILY.get, "family"), "stratum": "field", "findings without": "without",
        "with it alone": "with_it", "gone with it": lambda one: "; ".join(one.gone) or "–",
    }  # fmt: skip
    return [
        "Findings that disappear when records are compared within a stratum were differences of the strata.",
        table("Findings without and with each stratum", diff.changes, columns),
    ]


def _hints(diff: Diff) -> list[Block]:
    columns = {
        "hint": "label", "more in": "group", "family": (FAMILY.get, "family"), "log-odds": "log_odds",
        "records": "support",
    }  # fmt: skip
    return [
        "These were not tested and have no error rate: many are due to chance. They are places to look.",
        table("Untested hints", diff.hints, columns),
    ]


# What several analyses say ----------------------------------------------------------------------------


def unit_sentence(unit: str | None) -> str:
    """Return which records count as independent."""
    if unit is None:
        return "Each record counts as independent of all others."
    return f"Records with the same {unit} are not independent; they count by how far units differ."


def strata_sentence(strata: Sequence[str]) -> str:
    """Return which records are compared with each other."""
    alike = f"Records are compared only with those alike in: {', '.join(strata)}."
    return alike if strata else "Records were not matched by any other field."


def first_of_each(findings: Findings, **having: str) -> str:
    """Return the first findings of each family, of those whose attributes are as in ``having``."""
    names = [
        [one.shown for one in found if all(getattr(one, name) == value for name, value in having.items())]
        for found in findings.values()
    ]
    return "; ".join(name for family in names for name in family[:IN_SHORT])


def by_family(
    findings: Findings, tested: Mapping[Family, int], shown: Callable[[Family], list[Block]], alpha: float = 1
) -> list[Block]:
    """Return each family's findings as they are ``shown``, under a heading that says how many were tested."""
    blocks: list[Block] = []
    for family, found in findings.items():
        total = sum(1 + len(one.related) for one in found if one.q <= alpha)
        text = f"{counted(total, 'finding')} of {tested.get(family, 0):,} tested"
        if any(one.related for one in found):
            text += f", in {counted(len(found), 'row')}: related findings share a row"
        blocks += [model.Heading(FAMILY[family], f"{text}."), *(shown(family) if found else [])]
    return blocks


def findings_by_group(
    findings: Findings, tested: Mapping[Family, int], groups: Sequence[str], alpha: float = 1
) -> list[Block]:
    """Return findings between groups by family: the largest with their intervals, and all as a table.

    Those with ``q`` above ``alpha``, which were asked about by name, are said to be none.
    """

    def shown(family: Family) -> list[Block]:
        caption = f"{FAMILY[family]}, the largest difference first"
        if len(groups) == 2:
            caption += f"; differences are {groups[0]} less {groups[1]}"
        columns = _columns(groups, alpha, any(one.replicated is not None for one in findings[family]))
        rows = table(caption, findings[family], columns, in_notebook=model.NOTEBOOK_ROWS)
        return [Figure(forest, FAMILY[family], findings[family], groups), rows]

    return by_family(findings, tested, shown, alpha)


def _columns(groups: Sequence[str], alpha: float, with_halves: bool) -> dict[str, Any]:
    shares: dict[str, Any] = {f"in {name}": _share_of(name) for name in groups}
    if len(groups) != 2:
        next_share = {"in the next": lambda one: f"{percent(one.freq[one.against])} ({one.against})"}
        shares = {"more in": "group", "in it": lambda one: percent(one.freq[one.group]), **next_share}
    return {
        "finding": lambda one: with_related(one, "" if one.q <= alpha else " (no difference found)"),
        **shares,
        "difference, points": (points, "effect"), "95 % interval": lambda one: interval(*one.ci),
        "odds ratio": (ratio, "log_odds"), "q": (chance, "q"), "records": "support",
        **({"replicated": (REPLICATED.get, "replicated")} if with_halves else {}),
    }  # fmt: skip


def _share_of(group: str, shares: str = "freq") -> Callable[[Any], str]:
    return lambda one: percent(getattr(one, shares).get(group, 0.0))


def more_in(one: Any) -> str:
    """Return which group has more of a finding."""
    return f"more in {one.group}"


def with_related(one: Any, remark: str = "") -> Cell:
    """Return the name of a finding with those that are one thing with it."""
    alike = [f"{other.shown}: {points(other.effect)} points, q {chance(other.q)}" for other in one.related]
    return Cell(f"{one.shown}{remark}", f"and {counted(len(alike), 'other', 'others')} like it", tuple(alike))


def evidence(findings: Findings, note: Callable[[Any], str]) -> list[Section]:
    """Return records of both sides for the first findings of each family; ``note`` says what they show."""
    chosen = [[one for one in found if any(one.examples.values())] for found in findings.values()]
    quotes = [
        model.Quotes([(f"In {side}", each) for side, each in one.examples.items()], one.shown, note(one))
        for family in chosen
        for one in family[:SHOWN_EVIDENCE]
    ]
    intro = "Records that show the largest findings; the words to look at are marked."
    return [Section("Evidence", [intro, *quotes])] if quotes else []
