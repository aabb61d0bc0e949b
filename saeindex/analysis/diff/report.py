"""The report of a comparison: method, findings, evidence and limits.

The second half has functions that the reports of drift, alerts and profiles share.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from math import log10
from typing import Any, TypeAlias

from saeindex.analysis.diff.findings import OTHERS
from saeindex.analysis.diff.results import REFERENCE, WINDOW, Alert, Diff, Finding
from saeindex.analysis.stats.options import FAMILY, Family
from saeindex.config import DOCUMENT
from saeindex.report import charts, model
from saeindex.report.charts import AXIS, INK, WIDTH, Chart, alt, inline
from saeindex.report.model import Block, Cell, Description, Figure, Section, describe, table
from saeindex.report.numbers import chance, count, counted, interval, percent, points, ratio, series
from saeindex.types import shortened

Findings: TypeAlias = Mapping[Family, Sequence[Any]]
# Findings of each family: in the summary, and with example records.
IN_SHORT, SHOWN_EVIDENCE = 3, 6
# The smallest difference of two shares that a table shows.
SMALLEST_SHOWN = 0.0005
REPLICATED = {True: "yes", False: "no", None: "–"}
LEVELS = {
    "possible": "at least .2, or the feature is active at all",
    "present": "at least .5, or the feature is active at all",
    "typical": "at least .7, or the feature is as active as in the median record that has it, in the corpus "
    "that the space was fitted on",
    "strong": "at least .9, or the feature is as active as in the top tenth of the records that have it, in "
    "the corpus that the space was fitted on",
}
LIMITS = (
    "A difference is not a cause: groups may also differ in properties that they were not selected by.",
    "Concepts are features of the embeddings with short labels; read the records before trusting a label. "
    "Labels marked (weak) are unreliable.",
    "Each family of evidence has its own error rate; the rates must not be added up.",
)


@describe.register(Diff)
def _(diff: Diff) -> Description:
    pairs = f"Records are compared in {count(diff.pairs)} pairs, each within its unit." if diff.pairs else ""
    halves = [
        f"In one half of the units alone, {one.found:,} {FAMILY[one.family].lower()} were found; "
        f"{one.replicated:,} of these are confirmed in the other half."
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
    of_units = {
        name: f" (from {counted(units, 'document' if diff.unit == DOCUMENT else 'unit')})"
        for name, units in diff.units.items()
    }
    named = [f"{size:,} records of {name}{of_units.get(name, '')}" for name, size in diff.groups.items()]
    sizes = series(named)
    if diff.not_comparable:
        return [f"Not comparable: {diff.not_comparable}.", f"Asked were {sizes}."]
    if not len(diff):
        return _none_found(diff, sizes)
    found_in = [
        f"{sum(one.q <= diff.alpha for one in found):,} in {FAMILY[family].lower()}"
        for family, found in diff.findings.items()
    ]
    first = {name: first_of_each(diff.findings, group=name) for name in diff.groups}
    return [
        f"{counted(len(diff), 'finding')} among {sizes}: {series(found_in)}.",
        *(f"More in {name}: {findings}." for name, findings in first.items() if findings),
        *(
            f"Most {FAMILY[one.family].lower()} are found among records of the same {one.field} alone: "
            f"{one.with_it:,}, and {one.without:,} among all. If groups themselves change it, they may "
            "come of the comparison: see “Effect of the strata”."
            for one in diff.changes
            if 2 * one.without < one.with_it
        ),
    ]


def _none_found(diff: Diff, sizes: str) -> list[str]:
    below = "The differences that could be found are below."
    if len(diff.groups) == 2:
        return [f"No difference was found between {sizes}.", below]
    several = {name: sum(one.q <= diff.alpha for one in found) for name, found in diff.any_difference.items()}
    differ = series([f"{number:,} {FAMILY[name].lower()}" for name, number in several.items() if number])
    some = f"Between some of the groups differ: {differ}."
    return [
        f"No concept, word or cluster sets one group apart from every other, of {sizes}.",
        some if differ else "Nor was any difference found between some.",
    ]


def _details(diff: Diff) -> list[Block]:
    field = f"the field “{diff.field}”" if diff.field else "the text"
    tested = series([f"{tests:,} {FAMILY[family].lower()}" for family, tests in diff.tested.items()])
    columns = {"group": lambda one: one[0], "records": lambda one: one[1]}
    return [
        table("Compared groups", diff.groups.items(), columns),
        f"The comparison uses the concepts and words in {field} of each record, and the clusters of similar "
        f"records. A record has a concept if its evidence, the probability that a sentence speaks of it, is "
        f"{LEVELS[diff.level]}, for a concept without evidence.",
        f"Tested: {tested}. At most about {percent(diff.alpha, 0)} of the findings of a family are "
        "expected to be due to chance (q is this rate for each finding). Replicated: it was found in "
        "one half of the units and confirmed in the other; a dash means that the first half alone did not "
        "find it. Intervals are 95 % intervals of each finding by itself.",
    ]


def _sections(diff: Diff) -> Iterator[Section]:
    if diff.not_comparable:
        return
    findings = findings_by_group(diff.findings, diff.tested, list(diff.groups), diff.alpha)
    if not len(diff) and diff.has_findings:
        yield Section("Differences between some of the groups", _between_some(diff))
        return
    yield Section("Findings", [*([Figure(volcano, diff)] if len(diff) else []), *findings])
    yield from evidence(diff.findings, more_in)
    if diff.hypotheses:
        yield Section("Hypotheses of a language model", _hypotheses(diff))
    if diff.power:
        yield Section("What could have been found", _power(diff))
    if diff.changes:
        yield Section("Effect of the strata", _changes(diff))
    if diff.hints:
        yield Section("Hints, untested", _hints(diff), "untested")


def _between_some(diff: Diff) -> list[Block]:
    columns = {
        "finding": with_related,
        "stands apart": lambda one: f"{one.group}, more" if one.against == OTHERS else f"{one.against}, less",
        **{f"in {name}": _share_of(name) for name in diff.groups}, "q": (chance, "q"), "records": "support",
    }  # fmt: skip
    blocks: list[Block] = [
        "Each group was tested against all others together; the smallest p-value counts, times the number of "
        "groups. Related groups, such as two of one kind, hide each other's differences from every other."
    ]
    for family, found in diff.any_difference.items():
        shown = [one for one in found if one.q <= diff.alpha]
        caption = f"{FAMILY[family]} that differ between some of the groups"
        blocks += [table(caption, shown, columns, in_notebook=model.NOTEBOOK_ROWS)] if shown else []
    return blocks


def _hypotheses(diff: Diff) -> list[Block]:
    judged = series([f"{judged:,} records of {name}" for name, judged in diff.hypotheses[0].judged.items()])
    columns = {
        "hypothesis": "text", "more in": "group",
        **{f"of {name}": _share_of(name, "verified") for name in diff.hypotheses[0].verified},
        "q": "q", "verdict": lambda one: "✓ holds" if one.holds else "not verified",
    }  # fmt: skip
    return [
        f"Written from the findings, and checked on {judged} that the writer had not seen. The shares are "
        "those of records that fit the hypothesis, according to the judge.",
        table("Hypotheses and how they were verified", diff.hypotheses, columns),
    ]


def _power(diff: Diff) -> list[Block]:
    first, second = list(diff.groups)[:2]
    columns = {
        "family": (FAMILY.get, "family"), f"share of {second}": (percent, "base"),
        f"found from, share of {first}": lambda one: "never" if one.share is None else percent(one.share),
    }  # fmt: skip
    return [
        f"For each share of {second}, the table has the share of {first} from which a difference is found "
        "with power 0.8 (four times in five). Smaller differences may exist without being found.",
        table("Smallest differences that are found with power 0.8", diff.power, columns),
    ]


def _changes(diff: Diff) -> list[Block]:
    columns = {
        "family": (FAMILY.get, "family"), "stratum": "field", "findings without": "without",
        "with it alone": "with_it", "gone with it": lambda one: "; ".join(one.gone) or "–",
    }  # fmt: skip
    return [
        "Findings that disappear when records are compared within strata were differences of the strata.",
        table("Findings without and with each stratum", diff.changes, columns),
    ]


def _hints(diff: Diff) -> list[Block]:
    columns = {
        "hint": "label", "more in": "group", "family": (FAMILY.get, "family"), "log-odds": "log_odds",
        "records": "support",
    }  # fmt: skip
    return [
        "Hints were not tested and have no error rate: many are due to chance.",
        table("Untested hints", diff.hints, columns),
    ]


# Shared by several analyses ---------------------------------------------------------------------------


def unit_sentence(unit: str | None) -> str:
    """Return a sentence on which records count as independent."""
    if unit is None:
        return "Each record counts as independent of all others."
    return f"Records with the same {unit} are not independent: they are tested as a unit."


def strata_sentence(strata: Sequence[str]) -> str:
    """Return a sentence on which records are compared with each other."""
    alike = (
        f"Records are compared only with records of the same: {', '.join(strata)}. Adjusted differences and "
        "odds ratios are of these comparisons, so they are not those of the two shares."
    )
    return alike if strata else "Records were not matched by any other field."


def first_of_each(findings: Findings, **having: str) -> str:
    """Return the names of the first findings of each family whose attributes equal those in ``having``."""
    names = [
        [one.shown for one in found if all(getattr(one, name) == value for name, value in having.items())]
        for found in findings.values()
    ]
    return "; ".join(name for family in names for name in family[:IN_SHORT])


def by_family(
    findings: Findings, tested: Mapping[Family, int], shown: Callable[[Family], list[Block]], alpha: float = 1
) -> list[Block]:
    """Return each family's findings as blocks of ``shown``, under a heading with the number of tests."""
    blocks: list[Block] = []
    for family, found in findings.items():
        confirmed = [one for one in found if one.q <= alpha]
        related = sum(len(one.related) for one in confirmed)
        text = f"{counted(len(confirmed), 'finding')} of {tested.get(family, 0):,} tested"
        text += f", with {counted(related, 'related finding')} in their rows" if related else ""
        blocks += [model.Heading(FAMILY[family], f"{text}."), *(shown(family) if found else [])]
    return blocks


def findings_by_group(
    findings: Findings, tested: Mapping[Family, int], groups: Sequence[str], alpha: float = 1
) -> list[Block]:
    """Return findings between groups by family: the largest with their intervals, and all as a table.

    Named properties with ``q`` above ``alpha`` are marked as no difference.
    """

    def shown(family: Family) -> list[Block]:
        caption = f"{FAMILY[family]}, the largest difference first"
        if len(groups) == 2:
            caption += f"; differences are {groups[0]} minus {groups[1]}"
        columns = _columns(groups, alpha, findings[family])
        rows = table(caption, findings[family], columns, in_notebook=model.NOTEBOOK_ROWS)
        return [Figure(forest, FAMILY[family], findings[family], groups), rows]

    return by_family(findings, tested, shown, alpha)


def _columns(groups: Sequence[str], alpha: float, found: Sequence[Finding]) -> dict[str, Any]:
    adjusted = "adjusted " if any(_is_adjusted(one, groups) for one in found) else ""
    with_halves = any(one.replicated is not None for one in found)
    shares: dict[str, Any] = {f"in {name}": _share_of(name) for name in groups}
    if len(groups) != 2:
        next_share = {"in the next": lambda one: f"{percent(one.freq[one.against])} ({one.against})"}
        shares = {"more in": "group", "in it": lambda one: percent(one.freq[one.group]), **next_share}
    return {
        "finding": lambda one: with_related(one, "" if one.q <= alpha else " (no difference found)"),
        **shares,
        f"{adjusted}difference, points": (points, "effect"), "95 % interval": lambda one: interval(*one.ci),
        "odds ratio": (ratio, "log_odds"), "q": (chance, "q"), "records": "support",
        **({"replicated": (REPLICATED.get, "replicated")} if with_halves else {}),
    }  # fmt: skip


def _is_adjusted(one: Finding, groups: Sequence[str]) -> bool:
    """Whether a finding's effect, as it is shown, is not the difference of the shares beside it."""
    first, second = groups if len(groups) == 2 else (one.group, one.against)
    return abs(one.effect - (one.freq[first] - one.freq[second])) > SMALLEST_SHOWN


def _share_of(group: str, shares: str = "freq") -> Callable[[Any], str]:
    return lambda one: percent(getattr(one, shares).get(group, 0.0))


def more_in(one: Any) -> str:
    """Return which group has more of a finding."""
    return f"more in {one.group}"


def with_related(one: Any, remark: str = "") -> Cell:
    """Return the name of a finding with its related findings."""
    alike = [f"{other.shown}: {points(other.effect)} points, q {chance(other.q)}" for other in one.related]
    return Cell(f"{one.shown}{remark}", f"and {counted(len(alike), 'related finding')}", tuple(alike))


def evidence(findings: Findings, note: Callable[[Any], str]) -> list[Section]:
    """Return example records of both sides for the first findings of each family, with a ``note`` on each."""
    chosen = [[one for one in found if any(one.examples.values())] for found in findings.values()]
    quotes = [
        model.Quotes([(f"In {side}", each) for side, each in one.examples.items()], one.shown, note(one))
        for family in chosen
        for one in family[:SHOWN_EVIDENCE]
    ]
    intro = "Example records of the largest findings; the relevant words are marked."
    return [Section("Evidence", [intro, *quotes])] if quotes else []


# Findings of a family that are drawn with their intervals.
SHOWN = 15
# Pixels of the chart of all findings.
HEIGHT = 340
# Smaller values of q are drawn as this one: they differ by rounding.
SMALLEST_Q = 1e-300
# Letters of a label beside a mark, and marks of a side that have one.
LETTERS, LABELLED = 26, 6
SHAPES = ("circle", "triangle-up", "square", "diamond")


def volcano(diff: Diff) -> Chart:
    """Return all findings by difference and certainty, related ones included."""
    groups = tuple(diff.groups)
    found = [one for one in diff if one.q <= diff.alpha]
    rows = [_row(each) for one in found for each in (one, *one.related)]
    families = [FAMILY[family] for family in diff.findings if any(one.family == family for one in found)]
    line = max([row["sure"] for row in rows]) * 14 / HEIGHT
    for way in (1, -1):  # the largest and surest of each side have their names beside them, one to a line
        named: list[float] = []
        for row in sorted(rows, key=lambda row: -abs(row["points"]) * row["sure"]):
            is_apart = all(abs(row["sure"] - other) > line for other in named)
            if way * row["points"] > 0 and is_apart and len(named) < LABELLED:
                named.append(row["sure"])
                row["side"] = way
    base = alt.Chart(inline(rows), width=WIDTH, height=HEIGHT).encode(
        x=alt.X("points:Q", title=_difference(groups)), y=alt.Y("sure:Q", title="−log₁₀ q")
    )
    shapes = alt.Scale(domain=families, range=SHAPES[: len(families)])
    dots = base.mark_point(filled=True, size=46, opacity=0.75).encode(
        color=charts.colour_scale(families),
        shape=alt.Shape("colour:N", scale=shapes, legend=charts.top_legend(families)),
        tooltip=_tooltip(groups),
    )
    labels = [
        base.transform_filter(alt.datum.side == way)
        .mark_text(fontSize=10.5, color=INK, align=align, dx=-7 * way)
        .encode(text="short:N")
        for way, align in ((1, "right"), (-1, "left"))
    ]
    caption = (
        f"Each mark is a finding (q ≤ {diff.alpha:g}) or one related to it: the further from 0 the larger "
        "the difference, the higher the surer. Error rates hold within each family."
    )
    zero = charts.rule_at(0, AXIS, dash=())
    return Chart("Findings by difference and certainty", caption, alt.layer(zero, dots, *labels))


def forest(title: str, found: Sequence[Finding], groups: Sequence[str]) -> Chart:
    """Return the first findings of a family with their intervals."""
    first = found[:SHOWN]
    unique = zip(first, charts.unique_labels([one.shown for one in first]), strict=True)
    rows = [_row(one) | {"label": label, "colour": f"more in {one.group}"} for one, label in unique]
    ordered = [row["label"] for row in sorted(rows, key=lambda row: -row["points"])]
    names = [f"more in {name}" for name in groups]
    shown = [name for name in names if any(row["colour"] == name for row in rows)]
    base = alt.Chart(inline(rows), width=WIDTH - 230, height=alt.Step(22)).encode(
        y=alt.Y("label:N", sort=ordered, axis=charts.name_axis()), color=charts.colour_scale(names, shown)
    )
    drawn = charts.intervals(base, "points", _difference(groups), _tooltip(groups))
    part = f"The {len(first)} largest of {len(found):,}" if len(found) > len(first) else "All"
    caption = f"{part} findings, with 95 % intervals of the difference."
    return Chart(f"{title} with intervals", caption, drawn)


def _row(one: Finding) -> dict[str, Any]:
    shares = {f"share{place}": share for place, share in enumerate(one.freq.values())}
    low, high = one.ci
    return {
        "label": one.shown, "short": shortened(one.shown, LETTERS), "colour": FAMILY[one.family],
        "group": one.group, **shares, "points": 100 * one.effect, "low": 100 * low, "high": 100 * high,
        "q": one.q, "sure": -log10(max(one.q, SMALLEST_Q)),
    }  # fmt: skip


def _difference(names: Sequence[str]) -> str:
    if len(names) != 2:
        return "difference to the strongest other group (percentage points)"
    first, second = (shortened(name, LETTERS) for name in names)
    return f"← more in {second} · percentage points · more in {first} →"


def _tooltip(groups: Sequence[str]) -> list[Any]:
    shares = [(f"share{place}:Q", f"share of {name}", ".1%") for place, name in enumerate(groups)]
    difference = ("points:Q", "difference (points)", "+.1f"), ("low:Q", "95 % from", "+.1f")
    names = ("label:N", "finding"), ("group:N", "more in")
    return charts.tooltip(*names, *shares, *difference, ("high:Q", "to", "+.1f"), ("q:Q", "q", ".2g"))


@describe.register(Alert)
def _(alert: Alert) -> Description:
    sizes = f"{alert.window:,} records against {alert.reference:,}."
    first = f"{first_of_each(alert.changed)}."
    changes = [f"Alert ({alert.severity}): {len(alert):,} changes, {sizes}", first]
    options = alert.options
    looks = f" over {options.looks:,} looks together" if options.looks > 1 else ""
    test = f"{alert.method}. " if alert.method else ""
    findings = findings_by_group(alert.changed, alert.tested, (WINDOW, REFERENCE))
    sections = [Section("Changes", findings), *evidence(alert.changed, more_in)]
    summary = changes if len(alert) else [f"No change, {sizes}"]
    return Description(
        question="Has anything changed?",
        summary=[f"Not comparable: {alert.not_comparable}.", sizes] if alert.not_comparable else summary,
        method=[
            f"{test}False alerts come in {percent(options.alpha, 0)} of cases at most{looks}.",
            f"A change counts from {100 * options.min_effect:g} percentage points and an odds ratio of "
            f"{options.min_odds_ratio:g}.",
            f"{unit_sentence(alert.unit)} {strata_sentence(alert.strata)}",
        ],
        sections=[] if alert.not_comparable else sections,
        notes=alert.notes,
        limits=LIMITS,
    )
