"""Charts of correlations: which concepts go together, as a heat map and as a graph."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from saeindex.report.charts import BLUE, GREY, INK, LETTER, ORANGE, WIDTH, Chart, inline, name_axis, spread
from saeindex.report.model import percent
from saeindex.types import shortened

if TYPE_CHECKING:
    from saeindex.analysis.correlate.results import ConceptPair, Correlations, PairedConcept, Triggers

# Concepts of a heat map's side; pairs of a graph.
MOST_CONCEPTS, MOST_EDGES = 22, 48
# Pixels that a graph is laid out in, before labels push nodes apart, and those of a node with its label.
GRAPH_WIDTH, GRAPH_HEIGHT, NODE_HEIGHT = 620, 520, 27.0
LETTERS = 24


def heat_map(found: Correlations) -> Chart:
    """Return the concepts of the surest pairs with each other."""
    import altair as alt

    pairs = [*found.results, *found.avoided]
    is_across = found.other_field != found.field
    kept_a, kept_b = _first_concepts(pairs, is_across)
    rows = []
    for pair in pairs:
        if pair.a in kept_a and pair.b in kept_b:
            rows.append(_cell(pair, pair.a, pair.b))
            if not is_across:
                rows.append(_cell(pair, pair.b, pair.a))
    names_a, names_b = [str(one) for one in kept_a], [str(one) for one in kept_b]
    most = max(abs(row["npmi"]) for row in rows)
    colour = alt.Color(
        "npmi:Q",
        scale=alt.Scale(domain=[-most, 0, most], range=[ORANGE, "#f6f7f8", BLUE], interpolate="lab"),
        legend=alt.Legend(title=["NPMI", "(avoid – together)"], gradientLength=120, format=".2f"),
    )
    x_axis = alt.Axis(title=None, labelAngle=-45, labelLimit=190, ticks=False, domain=False)
    chart = (
        alt.Chart(inline(rows), width=alt.Step(22), height=alt.Step(22))
        .mark_rect(stroke="white", strokeWidth=1)
        .encode(
            x=alt.X("b:N", sort=names_b, scale=alt.Scale(domain=names_b), axis=x_axis),
            y=alt.Y("a:N", sort=names_a, scale=alt.Scale(domain=names_a), axis=name_axis()),
            color=colour,
            tooltip=_tooltip(),
        )
    )
    caption = (
        f"Findings (q ≤ {found.alpha:g}) among the concepts of the surest pairs; "
        "an empty cell is no finding or a pair that was left out."
    )
    return Chart("Concepts that go together", caption, chart)


def _first_concepts(
    pairs: Sequence[ConceptPair], is_across: bool
) -> tuple[list[PairedConcept], list[PairedConcept]]:
    """Return the concepts of the rows and of the columns: those of the first pairs, as many as fit."""
    first: dict[PairedConcept, None] = {}
    second: dict[PairedConcept, None] = {} if is_across else first
    for pair in pairs:
        if len(first | {pair.a: None}) <= MOST_CONCEPTS and len(second | {pair.b: None}) <= MOST_CONCEPTS:
            first[pair.a] = second[pair.b] = None
    return list(first)[:MOST_CONCEPTS], list(second)[:MOST_CONCEPTS]


def _cell(pair: ConceptPair, a: PairedConcept, b: PairedConcept) -> dict[str, Any]:
    return {
        "a": str(a),
        "b": str(b),
        "npmi": pair.npmi,
        "support": pair.support,
        "expected": pair.expected,
        "lift": pair.lift,
        "q": pair.q,
    }


def _tooltip() -> list[Any]:
    import altair as alt

    return [
        alt.Tooltip("a:N", title="concept"),
        alt.Tooltip("b:N", title="with"),
        alt.Tooltip("support:Q", title="records with both", format=",.0f"),
        alt.Tooltip("expected:Q", title="by chance", format=",.1f"),
        alt.Tooltip("lift:Q", title="lift", format=".2f"),
        alt.Tooltip("npmi:Q", title="NPMI", format=".2f"),
        alt.Tooltip("q:Q", title="q", format=".2g"),
    ]


def graph_of_pairs(found: Correlations) -> Chart:
    """Return the surest pairs as a graph."""
    import altair as alt

    pairs = [*found.results[:MOST_EDGES], *found.avoided[: MOST_EDGES // 4]]
    places = _layout(pairs)
    edges = [
        {
            **_cell(pair, pair.a, pair.b),
            "x": places[pair.a][0], "y": places[pair.a][1],
            "x2": places[pair.b][0], "y2": places[pair.b][1],
            "kind": "go together" if pair.npmi >= 0 else "avoid each other",
            "wide": min(4.0, 0.8 + 6 * abs(pair.npmi)),
        }
        for pair in pairs
    ]  # fmt: skip
    degree = Counter(concept for pair in pairs for concept in (pair.a, pair.b))
    nodes = [
        {"label": str(one), "short": _short(one), "x": x, "y": y, "pairs": degree[one]}
        for one, (x, y) in places.items()
    ]
    wide, high = (max(1.0, *(place[axis] for place in places.values())) for axis in (0, 1))
    x = alt.X("x:Q", axis=None, scale=alt.Scale(domain=[-90, wide + 90], nice=False))
    y = alt.Y("y:Q", axis=None, scale=alt.Scale(domain=[-24, high + 24], nice=False))
    kinds = alt.Color(
        "kind:N",
        scale=alt.Scale(domain=["go together", "avoid each other"], range=["#9db8cf", ORANGE]),
        legend=alt.Legend(title=None, orient="top") if found.avoided else None,
    )
    lines = (
        alt.Chart(inline(edges), width=wide + 180, height=high + 48)
        .mark_rule(opacity=0.8)
        .encode(
            x=x, y=y, x2="x2:Q", y2="y2:Q", color=kinds, tooltip=_tooltip(),
            strokeWidth=alt.StrokeWidth("wide:Q", scale=None),
        )
    )  # fmt: skip
    base = alt.Chart(inline(nodes)).encode(x=x, y=y)
    dots = base.mark_circle(color=BLUE, opacity=1, stroke="white").encode(
        size=alt.Size("pairs:Q", scale=alt.Scale(range=[40, 260]), legend=None),
        tooltip=[alt.Tooltip("label:N", title="concept"), alt.Tooltip("pairs:Q", title="pairs shown")],
    )
    halo = base.mark_text(dy=-11, fontSize=9.5, stroke="white", strokeWidth=3.5).encode(text="short:N")
    names = base.mark_text(dy=-11, fontSize=9.5, color=INK).encode(text="short:N")
    caption = f"The {len(found.results[:MOST_EDGES])} surest pairs; wider lines are stronger ties (NPMI)."
    return Chart("Graph of the surest pairs", caption, alt.layer(lines, dots, halo, names))


def _layout(pairs: Sequence[ConceptPair]) -> dict[PairedConcept, tuple[float, float]]:
    """Return where concepts stand in pixels: those that go together near each other, no label on another."""
    from networkx import Graph, kamada_kawai_layout

    graph = Graph([(pair.a, pair.b) for pair in pairs])
    found = kamada_kawai_layout(graph)
    places = np.array([found[one] for one in graph], np.float64)
    places = (places - places.min(0)) / np.maximum(np.ptp(places, axis=0), 1e-9) * (GRAPH_WIDTH, GRAPH_HEIGHT)
    widths = np.array([LETTER * len(_short(one)) + 4 for one in graph])
    places = spread(places, widths, NODE_HEIGHT)
    places -= places.min(0)
    return dict(zip(graph, map(tuple, places.tolist()), strict=True))


def _short(concept: PairedConcept) -> str:
    return shortened(concept.label, LETTERS)


def trigger_bars(found: Triggers) -> Chart:
    """Return how much of the behaviour each trigger covers, and how often it brings it about."""
    import altair as alt

    names = ("behaviour among records with the trigger", "trigger among records with the behaviour")
    rows = [
        {"label": str(one.pair.a), "what": what, "share": share, "lift": one.pair.lift, "q": one.pair.q}
        for one in found.results
        for what, share in zip(names, (one.pair.p_b_given_a, one.coverage), strict=True)
    ]
    order = [str(one.pair.a) for one in found.results]
    usual = found.having / max(1, found.records)
    x = alt.X("share:Q", title="share of records", axis=alt.Axis(format="%"), scale=alt.Scale(domainMin=0))
    bars = (
        alt.Chart(inline(rows), width=WIDTH - 230, height=alt.Step(11))
        .mark_bar()
        .encode(
            y=alt.Y("label:N", sort=order, axis=name_axis()),
            yOffset=alt.YOffset("what:N", sort=list(names)),
            x=x,
            color=alt.Color(
                "what:N",
                scale=alt.Scale(domain=list(names), range=[BLUE, GREY]),
                legend=alt.Legend(title=None, orient="top", columns=1, labelLimit=400),
            ),
            tooltip=[
                alt.Tooltip("label:N", title="trigger"),
                alt.Tooltip("what:N", title="share of"),
                alt.Tooltip("share:Q", format=".1%"),
                alt.Tooltip("lift:Q", format=".2f"),
                alt.Tooltip("q:Q", format=".2g"),
            ],
        )
    )
    line = alt.Chart(inline([{"share": usual}])).mark_rule(color=INK, strokeDash=[3, 3]).encode(x="share:Q")
    caption = (
        f"“{found.behaviour}” is in {percent(usual)} of all records (the dashed line). "
        "A trigger that reaches far beyond it still has counter-examples to read."
    )
    return Chart("Triggers", caption, alt.layer(bars, line))
