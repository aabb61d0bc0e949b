"""The reports of correlations and triggers, with their charts."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial

from saeindex.analysis.correlate.results import ConceptPair, Correlations, PairedConcept, Triggers
from saeindex.report import charts, model
from saeindex.report.charts import BLUE, GREY, ORANGE, WIDTH, Chart, alt, inline
from saeindex.report.model import Block, Cell, Description, Figure, Section, describe, table
from saeindex.report.numbers import Number, chance, counted, number, percent, ratios

# The number of findings in the summary, of rows of a table before the others are folded, and of pairs with
# example records.
IN_SHORT, SHOWN, SHOWN_EVIDENCE = 4, 30, 6
LIMITS = (
    "A correlation of two concepts does not show that one causes the other.",
    "Concepts are features of the embeddings with short labels; read the records before trusting a label.",
)
CORRECTION = {"bh": "Benjamini–Hochberg", "by": "Benjamini–Yekutieli"}
RECORDS = {
    "showing": "Both trigger and behaviour",
    "without_behaviour": "Counter-examples, trigger without behaviour",
    "without_trigger": "Behaviour without trigger",
}
# A share without digits after the point.
WHOLE = partial(percent, digits=0)
PAIR_COLUMNS = {
    "concept": (str, "a"),
    "with": lambda one: Cell(
        str(one.b), f"and {counted(len(one.related), 'related pair')}", tuple(map(str, one.related))
    ),
    "records (by chance)": lambda one: Number(f"{number(one.support, 0)} ({number(one.expected, 1)})"),
    "lift": "lift", "NPMI": "npmi", "odds ratio (95 %)": lambda one: ratios(one.log_odds, *one.ci),
    "2nd given 1st": (WHOLE, "p_b_given_a"), "1st given 2nd": (WHOLE, "p_a_given_b"), "q": (chance, "q"),
}  # fmt: skip
TRIGGER_COLUMNS = {
    "trigger": (str, "pair.a"), "prompts with it": "prompts",
    "of them surely with the behaviour": "prompts_showing",
    "behaviour where it is, expected": (percent, "pair.p_b_given_a"),
    "it where the behaviour is": (percent, "coverage"), "lift": "pair.lift",
    "odds ratio (95 %)": lambda one: ratios(one.pair.log_odds, *one.pair.ci), "q": (chance, "pair.q"),
    "of nearly the same prompts": lambda one: "; ".join(map(str, one.same)) or "–",
}  # fmt: skip


@describe.register(Correlations)
def _(found: Correlations) -> Description:
    fields = " and ".join(dict.fromkeys(name or "the text" for name in (found.field, found.other_field)))
    total = f"{found.found:,} of {found.tested:,} pairs of concepts go together or avoid each other"
    none = "" if len(found) else "; all that do are uninformative, and left out" if found.found else ""
    both = {"go together": found.results, "avoid each other": found.avoided}
    first = {verb: "; ".join(map(str, pairs[:IN_SHORT])) for verb, pairs in both.items()}
    return Description(
        question=f"Which concepts of {fields} go together?",
        summary=[
            f"Not comparable: {found.not_comparable}, among {found.records:,} records."
            if found.not_comparable
            else f"{total}, in {found.records:,} records{none}.",
            *(f"These {verb}: {names}." for verb, names in first.items() if names),
        ],
        method=_pair_method(found),
        details=[
            "Pairs are ordered by their evidence, not by their NPMI, which favours rare pairs; "
            f"pairs of fewer than {counted(found.min_support, 'record')}, observed or expected, are left out."
        ],
        sections=[]
        if found.not_comparable
        else [Section("Findings", _pairs(found) or ["No pair was found."]), *_evidence(found)],
        limits=LIMITS,
    )


def _pair_method(found: Correlations) -> list[str]:
    units = "Each record counts as independent of all others."
    if found.units < found.records:
        units = (
            f"The records are of {found.units:,} independent units (documents, authors or prompts), each of "
            f"which counts as one record: a pair needs {found.min_support} of them, observed or expected."
        )
    correction = f"({CORRECTION[found.method]}) among all tested pairs, controlled at {found.alpha:g}"
    rate = f"q is the false discovery rate {correction}."
    by_level = found.level and found.level != "named"
    level = f" A concept counts where it is at least {found.level}." if by_level else ""
    removed = "; ".join(f"{count:,}: {reason}" for reason, count in found.removed.items())
    left_out = f"Uninformative pairs were left out: {removed}." if removed else ""
    taken = ", ".join(f"“{name}” {percent(share)}" for name, share in found.shares.items())
    assumed = (
        f"How common these are was not said, and was taken to be: {taken} of the records. Counts and lifts "
        "depend on it: say what you know (“; share: 0.2” after the description)."
    )
    return [f"{units} {rate}{level}", assumed if taken else "", left_out]


def _pairs(found: Correlations) -> list[Block]:
    blocks: list[Block] = [Figure(heat_map, found)] if len(found) else []
    for name, pairs in (("Go together", found.results), ("Avoid each other", found.avoided)):
        caption = f"{name}, the surest first"
        rows = table(caption, pairs, PAIR_COLUMNS, shown=SHOWN, in_notebook=model.NOTEBOOK_ROWS)
        blocks += [model.Heading(name), rows] if pairs else []
    return blocks


def _evidence(found: Correlations) -> Iterator[Section]:
    quotes = [
        model.Quotes([("", one.examples)], str(one), f"{number(one.support, 0)} records have both")
        for one in found.results[:SHOWN_EVIDENCE]
        if one.examples
    ]
    if quotes:
        yield Section(
            "Evidence", ["Records of the first pairs; the words that speak of them are marked.", *quotes]
        )


NONE_SHOWN = (
    "Caution: no record shows the behaviour clearly, so what goes with it here are weak leanings. Say how "
    "common it is (“; share: 0.2” after the description), describe it in other words, or give examples "
    "(“like: ID, ID”)."
)


@describe.register(Triggers)
def _(found: Triggers) -> Description:
    usual = found.having / max(1, found.records)
    first = "; ".join(str(one.pair.a) for one in found.results[:IN_SHORT])
    merged = ""
    if any(one.same for one in found.results):
        merged = f", in {counted(len(found.results), 'row')}: those of nearly the same prompts are one"
    own = f"{found.removed:,} concepts that are the behaviour's own were left out." if found.removed else ""
    cause = "The counter-examples help to judge whether a concept is the cause; only an experiment decides."
    return Description(
        question=f"What in {found.prompt_field or 'the text'} brings about “{found.behaviour}”?",
        summary=[
            f"“{found.behaviour}” is in about {number(found.having, 0)} of {found.records:,} records "
            f"({percent(usual)}), to {found.units_having:,} of {found.units:,} prompts.",
            f"Not comparable: {found.not_comparable}."
            if found.not_comparable
            else f"{counted(found.found, 'concept')} of {found.tested:,} tested go with it{merged}.",
            *([f"First of them: {first}."] if first else []),
            *([NONE_SHOWN] if found.results and not found.units_having else []),
        ],
        method=[
            "Each concept of the prompts was tested with the behaviour; q is the false discovery rate "
            f"({CORRECTION[found.method]}), controlled at {found.alpha:g}. Responses to a prompt count once.",
            "A description gives each response a probability of the behaviour: shares and lifts are made of "
            "these, “surely” is above a half.",
            own,
        ],
        sections=list(_trigger_sections(found)),
        limits=(cause, *LIMITS),
    )


def _trigger_sections(found: Triggers) -> Iterator[Section]:
    if not found.results:
        if not found.not_comparable:
            yield Section("Findings", ["No trigger was found."])
        return
    caption = "Triggers, the surest first"
    rows = table(caption, found.results, TRIGGER_COLUMNS, shown=SHOWN, in_notebook=model.NOTEBOOK_ROWS)
    yield Section("Findings", [Figure(trigger_bars, found), rows])
    records: list[Block] = []
    for one in found.results:
        quotes = model.Quotes([(kind, getattr(one, name)) for name, kind in RECORDS.items()])
        records += [model.Heading(str(one.pair.a)), quotes]
    yield Section("Records to read", records)


# Maximum number of concepts on a side of the heat map.
MAX_CONCEPTS = 22


def heat_map(found: Correlations) -> Chart:
    """Return a heat map of the concepts of the most certain pairs."""
    pairs = [*found.results, *found.avoided]
    is_across = found.other_field != found.field
    kept_a, kept_b = _first_concepts(pairs, is_across)
    measures = ("npmi", "support", "expected", "lift", "q")
    rows = [
        {"a": str(pair.a), "b": str(pair.b), **{name: getattr(pair, name) for name in measures}}
        for pair in pairs
        if pair.a in kept_a and pair.b in kept_b
    ]
    if not is_across:
        rows += [row | {"a": row["b"], "b": row["a"]} for row in rows]
    largest = max(abs(row["npmi"]) for row in rows)
    colours = alt.Scale(domain=[-largest, 0, largest], range=[ORANGE, "#f6f7f8", BLUE], interpolate="lab")
    legend = alt.Legend(title=["NPMI", "(avoid – together)"], gradientLength=120, format=".2f")
    names_a, names_b = [str(one) for one in kept_a], [str(one) for one in kept_b]
    x_axis = charts.name_axis(labelLimit=190, labelAngle=-45, labelPadding=2)
    cells = alt.Chart(inline(rows), width=alt.Step(22), height=alt.Step(22)).mark_rect(stroke="white")
    chart = cells.encode(
        x=alt.X("b:N", sort=names_b, scale=alt.Scale(domain=names_b), axis=x_axis),
        y=alt.Y("a:N", sort=names_a, scale=alt.Scale(domain=names_a), axis=charts.name_axis()),
        color=alt.Color("npmi:Q", scale=colours, legend=legend),
        tooltip=charts.tooltip(
            ("a:N", "concept"), ("b:N", "with"), ("support:Q", "records with both", ",.0f"),
            ("expected:Q", "by chance", ",.1f"), ("lift:Q", "lift", ".2f"), ("npmi:Q", "NPMI", ".2f"),
            ("q:Q", "q", ".2g"),
        ),
    )  # fmt: skip
    caption = (
        f"Findings (q ≤ {found.alpha:g}) among the concepts of the surest pairs; "
        "an empty cell is no finding or a pair that was left out."
    )
    return Chart("Concepts that go together", caption, chart)


def _first_concepts(pairs: Sequence[ConceptPair], is_across: bool) -> list[list[PairedConcept]]:
    """Return the concepts of the rows and of the columns: those of as many first pairs as fit."""
    first: dict[PairedConcept, None] = {}
    second: dict[PairedConcept, None] = {} if is_across else first
    for pair in pairs:
        if max(len(first | {pair.a: None}), len(second | {pair.b: None})) <= MAX_CONCEPTS:
            first[pair.a] = second[pair.b] = None
    return [list(first)[:MAX_CONCEPTS], list(second)[:MAX_CONCEPTS]]


def trigger_bars(found: Triggers) -> Chart:
    """Return bars of the share of the behaviour that each trigger covers, and of the reverse."""
    names = ["behaviour among records with the trigger", "trigger among records with the behaviour"]
    rows = [
        {"label": str(one.pair.a), "what": what, "share": share, "lift": one.pair.lift, "q": one.pair.q}
        for one in found.results
        for what, share in zip(names, (one.pair.p_b_given_a, one.coverage), strict=True)
    ]
    trigger, what, share = ("label:N", "trigger"), ("what:N", "share of"), ("share:Q", "share", ".1%")
    tooltip = charts.tooltip(trigger, what, share, ("lift:Q", "lift", ".2f"), ("q:Q", "q", ".2g"))
    x = alt.X("share:Q", title="share of records", axis=alt.Axis(format="%"), scale=alt.Scale(domainMin=0))
    base_rate = found.having / max(1, found.records)
    colours = alt.Scale(domain=names, range=[BLUE, GREY])
    bars = alt.Chart(inline(rows), width=WIDTH - 230, height=alt.Step(11)).mark_bar()
    bars = bars.encode(
        x=x,
        y=alt.Y("label:N", sort=[str(one.pair.a) for one in found.results], axis=charts.name_axis()),
        yOffset=alt.YOffset("what:N", sort=names),
        color=alt.Color("what:N", scale=colours, legend=charts.top_legend(names, columns=1)),
        tooltip=tooltip,
    )
    caption = (
        f"“{found.behaviour}” is in {percent(base_rate)} of all records (the dashed line). "
        "A trigger that reaches far beyond it still has counter-examples to read."
    )
    return Chart("Triggers", caption, alt.layer(bars, charts.rule_at(base_rate)))
