"""Correlations and triggers in words."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial

from saeindex.analysis.correlate.charts import graph_of_pairs, heat_map, trigger_bars
from saeindex.analysis.correlate.results import ConceptPair, Correlations, Trigger, Triggers
from saeindex.report.model import (
    Block,
    Bullets,
    Cell,
    Description,
    Figure,
    Head,
    Heading,
    Ids,
    Paragraph,
    Section,
    Table,
    chance,
    counted,
    describe,
    number,
    percent,
    ratios,
)

IN_SHORT, SHOWN = 4, 30
LIMITS = (
    "That two concepts go together says neither which brings about which, nor that either does.",
    "Concepts are features of the embeddings with short labels; read the records before trusting a label.",
)
CORRECTION = {"bh": "Benjamini–Hochberg", "by": "Benjamini–Yekutieli"}
RECORDS = {
    "showing": "Both trigger and behaviour",
    "without_behaviour": "Counter-examples, trigger without behaviour",
    "without_trigger": "Behaviour without trigger",
}


@describe.register(Correlations)
def _(found: Correlations) -> Description:
    fields = " and ".join(dict.fromkeys(name or "the text" for name in (found.field, found.other_field)))
    total = f"{found.found:,} of {found.tested:,} pairs of concepts go together or avoid each other"
    summary = [f"{total}, in {found.records:,} records."]
    for told, pairs in (("These go together", found.results), ("These avoid each other", found.avoided)):
        if pairs:
            first = "; ".join(f"{pair.a} with {pair.b}" for pair in pairs[:IN_SHORT])
            summary.append(f"{told}: {first}.")
    return Description(
        question=f"Which concepts of {fields} go together?",
        summary=summary,
        method=_pair_method(found),
        details=[
            Paragraph(
                "Pairs are in the order of their evidence, not of their NPMI, which favours rare pairs; "
                f"pairs of fewer than {counted(found.min_support, 'record')}, observed or expected, are not "
                "tested."
            )
        ],
        sections=[Section("Findings", _pairs(found))],
        limits=LIMITS,
    )


def _pair_method(found: Correlations) -> list[str]:
    units = (
        f"{found.units:,} of the records are independent; those that belong together count as one."
        if found.units < found.records
        else "Each record counts as independent of all others."
    )
    rate = (
        f"q is the false discovery rate ({CORRECTION[found.method]}) among all tested pairs, held at "
        f"{found.alpha:g}."
    )
    level = f"A concept counts where it is at least {found.level}." if found.level else ""
    removed = "; ".join(f"{count:,}: {reason}" for reason, count in found.removed.items())
    left_out = f"Pairs that say nothing were left out: {removed}." if removed else ""
    return [" ".join(part for part in (units, rate, level) if part), left_out]


def _pairs(found: Correlations) -> list[Block]:
    if not len(found):
        return [Paragraph("No pair was found.")]
    blocks: list[Block] = [Figure(partial(heat_map, found)), Figure(partial(graph_of_pairs, found))]
    for told, pairs in (("Go together", found.results), ("Avoid each other", found.avoided)):
        if pairs:
            blocks += [Heading(told), _pairs_table(pairs, told)]
    return blocks


def _pairs_table(pairs: Sequence[ConceptPair], name: str) -> Table:
    heads = [
        Head("concept", False), Head("with", False), Head("records (by chance)"), Head("lift"), Head("NPMI"),
        Head("odds ratio (95 %)"), Head("2nd given 1st"), Head("1st given 2nd"), Head("q"),
    ]  # fmt: skip
    rows: list[list[str | Cell]] = [
        [
            Cell(str(pair.a), "records", pair.examples, page_only=True), str(pair.b),
            f"{number(pair.support, 0)} ({number(pair.expected, 1)})", number(pair.lift), number(pair.npmi),
            ratios(pair.log_odds, *pair.ci), percent(pair.p_b_given_a, 0), percent(pair.p_a_given_b, 0),
            chance(pair.q),
        ]
        for pair in pairs
    ]  # fmt: skip
    return Table(f"{name}, the surest first", heads, rows, name, SHOWN, is_main=True)


@describe.register(Triggers)
def _(found: Triggers) -> Description:
    usual = found.having / max(1, found.records)
    summary = [
        f"“{found.behaviour}” is in about {number(found.having, 0)} of {found.records:,} records "
        f"({percent(usual)}), to {found.units:,} prompts.",
        f"{counted(found.found, 'concept')} of {found.tested:,} tested go with it.",
    ]
    if found.results:
        first = "; ".join(str(one.pair.a) for one in found.results[:IN_SHORT])
        summary.append(f"First of them: {first}.")
    rate = (
        "Each concept of the prompts was tested with the behaviour; q is the false discovery rate "
        f"({CORRECTION[found.method]}), held at {found.alpha:g}. Responses to one prompt count together."
    )
    own = f"{found.removed:,} concepts that are the behaviour's own were left out." if found.removed else ""
    cause = "Whether a concept is the cause, the counter-examples help to judge, and an experiment decides."
    return Description(
        question=f"What in {found.prompt_field or 'the text'} brings about “{found.behaviour}”?",
        summary=summary,
        method=[rate, own],
        sections=list(_trigger_sections(found)),
        limits=(cause, *LIMITS),
    )


def _trigger_sections(found: Triggers) -> Iterator[Section]:
    if not found.results:
        yield Section("Findings", [Paragraph("No trigger was found.")])
        return
    yield Section("Findings", [Figure(partial(trigger_bars, found)), _triggers_table(found.results)])
    yield Section("Records to read", [block for one in found.results for block in _records(one)])


def _triggers_table(found: Sequence[Trigger]) -> Table:
    heads = [
        Head("trigger", False), Head("behaviour where it is"), Head("it where the behaviour is"),
        Head("lift"), Head("odds ratio (95 %)"), Head("q"), Head("of nearly the same prompts", False),
    ]  # fmt: skip
    rows = [
        [
            str(one.pair.a), percent(one.pair.p_b_given_a), percent(one.coverage), number(one.pair.lift),
            ratios(one.pair.log_odds, *one.pair.ci), chance(one.pair.q), "; ".join(map(str, one.same)) or "–",
        ]
        for one in found
    ]  # fmt: skip
    return Table("Triggers, the surest first", heads, rows, "Triggers", SHOWN, is_main=True)


def _records(one: Trigger) -> list[Block]:
    return [
        Heading(str(one.pair.a)),
        Bullets([Ids(told, getattr(one, name)) for name, told in RECORDS.items()]),
    ]
