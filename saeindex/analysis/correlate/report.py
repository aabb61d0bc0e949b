"""Correlations and triggers told on a page."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from markupsafe import Markup

from saeindex.analysis.correlate.charts import pictures_of_correlations, pictures_of_triggers
from saeindex.analysis.report.numbers import chance, counted, number, percent, ratios
from saeindex.report.html import (
    Head,
    Part,
    Section,
    Told,
    codes,
    element,
    figure,
    folded,
    joined,
    listed,
    paragraphs,
    table,
)

if TYPE_CHECKING:
    from saeindex.analysis.correlate.results import ConceptPair, Correlations
    from saeindex.analysis.correlate.triggers import Trigger, Triggers

IN_SHORT, SHOWN = 4, 30
LIMITS = (
    "That two concepts go together says neither which brings about which, nor that either does.",
    "Concepts are features of the embeddings with short labels; read the records before trusting a label.",
)
CORRECTION = {"bh": "Benjamini–Hochberg", "by": "Benjamini–Yekutieli"}
RECORDS = {
    "showing": "Both: the trigger and the behaviour",
    "without_behaviour": "Counter-examples: the trigger without the behaviour",
    "without_trigger": "The behaviour without the trigger",
}


def told_of_correlations(found: Correlations) -> Told:
    """Return correlations in words."""
    fields = " and ".join(dict.fromkeys(name or "the text" for name in (found.field, found.other_field)))
    total = f"{found.found:,} of {found.tested:,} pairs of concepts go together or avoid each other"
    short = [f"{total}, in {found.records:,} records."]
    for told, pairs in (("Together", found.results), ("Apart", found.avoided)):
        if pairs:
            first = "; ".join(f"{pair.a} with {pair.b}" for pair in pairs[:IN_SHORT])
            short.append(f"{told}: {first}.")
    return Told(f"Which concepts of {fields} go together?", short, _pair_sections(found))


def _pair_sections(found: Correlations) -> Iterator[Section]:
    units = (
        f"{found.units:,} of the records are independent; those that belong together count as one."
        if found.units < found.records
        else "Each record counts as independent of all others."
    )
    rate = (
        f"q is the false discovery rate ({CORRECTION[found.method]}) among all tested pairs, held at "
        f"{found.alpha:g}. Pairs are in the order of their evidence, not of their NPMI, which favours rare "
        f"pairs; pairs of fewer than {counted(found.least, 'record')}, had or expected, are not tested."
    )
    level = f"A concept counts where it is at least {found.level}." if found.level else ""
    removed = listed([f"{count:,}: {reason}" for reason, count in found.removed.items()])
    left_out = (
        joined([element("p", "Pairs that say nothing were left out:"), removed]) if found.removed else ""
    )
    yield Section("Method", joined([paragraphs(units, rate, level), left_out]))
    parts: list[Part] = [figure(picture) for picture in pictures_of_correlations(found)]
    for told, pairs in (("Go together", found.results), ("Avoid each other", found.avoided)):
        if pairs:
            parts += [element("h3", told), pairs_table(pairs, f"{told}, the surest first")]
    yield Section("Findings", joined(parts) if parts else paragraphs("No pair was found."))
    yield Section("Limits", listed(LIMITS))


def pairs_table(pairs: Sequence[ConceptPair], caption: str) -> Markup:
    """Return pairs as a table, those after the first folded."""
    heads = [
        Head("concept", False), Head("with", False), Head("records (by chance)"), Head("lift"), Head("NPMI"),
        Head("odds ratio (95 %)"), Head("2nd given 1st"), Head("1st given 2nd"), Head("q"),
    ]  # fmt: skip
    rows = [_row(pair) for pair in pairs]
    first = table(heads, rows[:SHOWN], caption)
    if len(rows) <= SHOWN:
        return first
    more = f"{len(rows) - SHOWN:,} more"
    return joined([first, folded(more, table(heads, rows[SHOWN:], f"{caption}: {more}"))])


def _row(pair: ConceptPair) -> list[Part]:
    name = joined([str(pair.a), folded("records", codes(pair.examples))]) if pair.examples else str(pair.a)
    return [
        name, str(pair.b), f"{number(pair.support, 0)} ({number(pair.expected, 1)})", number(pair.lift),
        number(pair.npmi), ratios(pair.log_odds, *pair.ci), f"{pair.p_b_given_a:.0%}",
        f"{pair.p_a_given_b:.0%}", chance(pair.q),
    ]  # fmt: skip


def told_of_triggers(found: Triggers) -> Told:
    """Return triggers in words."""
    usual = found.having / max(1, found.records)
    short = [
        f"“{found.behaviour}” is in about {number(found.having, 0)} of {found.records:,} records "
        f"({percent(usual)}), to {found.units:,} prompts.",
        f"{counted(found.found, 'concept')} of {found.tested:,} tested go with it.",
    ]
    if found.results:
        short.append("First of them: " + "; ".join(str(one.pair.a) for one in found.results[:IN_SHORT]) + ".")
    question = f"What in {found.prompt_field or 'the text'} brings about “{found.behaviour}”?"
    return Told(question, short, _trigger_sections(found))


def _trigger_sections(found: Triggers) -> Iterator[Section]:
    rate = (
        "Each concept of the prompts was tested with the behaviour; q is the false discovery rate "
        f"({CORRECTION[found.method]}), held at {found.alpha:g}. Responses to one prompt count together."
    )
    own = f"{found.removed:,} concepts that are the behaviour's own were left out." if found.removed else ""
    yield Section("Method", paragraphs(rate, own))
    parts: list[Part] = [figure(picture) for picture in pictures_of_triggers(found)]
    if found.results:
        parts.append(triggers_table(found.results, "Triggers, the surest first"))
    yield Section("Findings", joined(parts) if parts else paragraphs("No trigger was found."))
    if found.results:
        yield Section("Records to read", joined(_records(one) for one in found.results))
    limit = "Whether a concept is the cause, the counter-examples help to judge, and an experiment decides."
    yield Section("Limits", listed([limit, *LIMITS]))


def triggers_table(found: Sequence[Trigger], caption: str) -> Markup:
    """Return triggers as a table."""
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
    return table(heads, rows, caption)


def _records(one: Trigger) -> Markup:
    items = [joined([f"{told}: ", codes(getattr(one, name))]) for name, told in RECORDS.items()]
    return joined([element("h3", str(one.pair.a)), listed(items)])
