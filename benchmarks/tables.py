"""Writes docs/benchmarks.md from the committed results: `python -m benchmarks.tables`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

RESULTS = Path(__file__).parent / "results"
TARGET = Path(__file__).parents[1] / "docs" / "benchmarks.md"
INTRODUCTION = """# Benchmarks

What was measured, on which machine, by which command. Written from `benchmarks/results` by
`python -m benchmarks.tables`; edit neither by hand. [data.md](data.md) lists the corpora, and says
which of their parts fit, choose and judge. NMSE is mean |x - x̂|² over mean |x - x̄|², with x̄ the mean of the
fit records.
"""
# Published by saerch (arXiv 2408.00657) for astro-ph: embeddings of 1,536 dimensions, so not the same task.
PUBLISHED = {
    16: (0.230, 0.211, 0.199, 0.194),
    32: (0.175, 0.159, 0.152, 0.146),
    64: (0.142, 0.126, 0.120, 0.115),
}
PUBLISHED_WIDTHS = (3_072, 6_144, 9_216, 12_288)


def main() -> None:
    """Write the page."""
    TARGET.write_text(page())
    print(TARGET)


def page() -> str:
    """Return the page of the committed results."""
    results = [json.loads(path.read_text()) for path in sorted(RESULTS.glob("*.json"))]
    return INTRODUCTION + "".join(section(result) for result in results)


def section(result: dict[str, Any]) -> str:
    """Return a suite's heading, machine, figures and tables."""
    machine, versions = result["machine"], result["versions"]
    where = f"{machine['processor']}, {machine['cores']} cores, {machine['memory_gib']} GiB"
    lines = [
        f"\n## {result['suite'].capitalize()}\n",
        f"`{result['command']}` on {result['date']}; {where}; torch {versions['torch']}.\n",
        table(["figure", "measured", "goal", "n"], [figure_row(n, f) for n, f in result["figures"].items()]),
    ]
    for name, rows in result["tables"].items():
        if name in SHOWN:
            lines.append(f"\n{SHOWN[name]}\n\n{as_table(rows)}")
    if result["suite"] == "fidelity":
        lines.append(f"\nPublished by saerch (d = 1,536, astro-ph), for orientation:\n\n{published()}")
    return "\n".join(lines)


SHOWN = {
    "spaces": "Of each space: `nmse` to `class_named` are means of eight `test` parts, `clear` to "
    "`auroc_meant` are of pairs that were read:",
    "reranking": "One hundred questions on all texts of MedQuAD's `test` part; reranking takes fifty:",
    "languages_packaged": "Sixty sentences in four languages, with the packaged space (an English encoder): "
    "shares of those that have their concept, are found among ten hits by its name, their English sentence "
    "and by a word of theirs; and the other concepts of each:",
    "languages_e5": "The same with a space made for multilingual-e5-small:",
    "known": "Share of known words whose text is among ten hits, by what ranks:",
    "recipes": "Our recipe beside saerch's, NMSE on the `test` part: same embeddings, same number of steps, "
    "saerch's with the learning rate that suits it best here:",
    "saerch_rates": "That learning rate was chosen by NMSE on other abstracts (3,072 features, 32 active):",
    "candidates": "Widths and k on `choose` parts, at a fifth of the default's budget:",
    "stability": "Share of features that another seed finds again (decoder cosine above .7), by level:",
    "default": "The default by corpus:",
    "overlap10_by_records": "Its overlap of the ten nearest neighbours, by the number of abstracts searched:",
    "concepts": "Best single feature for a known class (AUROC, chosen on one part, measured on another), the "
    "feature whose label is nearest to the class's description, and that description's embedding:",
    "on_test_parts": "Labels on texts that neither the space nor its labels were made from:",
    "weights": "Forests by edge weight:",
    "latency_ms": "The engine's own query and planned ones in turn, in ms; a planned one has two phrases and "
    "a year in `where` and two steers, and is filtered after the scan or within it, as the plan chose:",
    "sum_error": "Score and sum of its parts, by kind of query, each source of a fused score included:",
    "power": "Share of runs in which a true finding appears (one of the five most informative of the class), "
    "by the share of one group that was planted; by family, by any, by interp_embed's rule and by words' "
    "log-odds, these two also at our rate of false runs:",
    "foretold": "Predicted power for the most informative piece of evidence, beside the measured power:",
    "confounded": "False findings a run between groups that a confounder made, without and with strata:",
    "aa": "Share of runs that find anything between groups assigned at random (controlled at .05):",
    "cluster_by_task": "ARI of each axis, described and by five examples, beside the baselines (prompted "
    "k-means on 400 records of each task):",
    "cluster_leakage": "Agreement of clusters along one axis with another axis:",
    "cells": "Share of null runs with a finding, by analysis, regime and family; p is that of a rate above "
    ".05 (exact binomial), and cells that fail have a share of fresh runs too:",
    "chance": "Share of runs with any trend where the order is random:",
    "planted": "Share of runs that find a class whose share rises in a line or a step to the share named, "
    "beside a comparison of the two halves of the same records:",
    "false_alerts": "Share of windows like their reference that alert:",
    "correlate_labels": "Spearman of pair statistics with those of the labels, by corpus:",
    "correlate_planted": "Median rank of planted pairs among all pairs:",
    "property_methods": "Methods to rank by a property, means over corpora, 95 % intervals over queries; "
    "examples are left out of the ranking:",
    "property_by_corpus": "MAP by corpus:",
    "property_pool": "The same searches in one index of all corpora, over the first 1,000 hits:",
    "property_weakest": "The descriptions with the lowest MAP relative to chance:",
    "property_constants": "MAP on the `choose` parts by constant, one changed at a time:",
    "resolution": "Records of a clause by how its phrase is resolved, beside a cosine threshold:",
    "taxonomy_described": "A taxonomy with one line for each concept: the AUROC of a concept's own feature:",
    "taxonomy_10_examples": "The same with ten examples of each concept:",
    "taxonomy_defined": "These examples given to `concepts.define` in an index: the AUROC of the evidence:",
    "steering_up": "Steering towards a concept: its share of the ten hits, by the topic that is kept:",
    "steering_gain_up": "Gain of ours over the best method with the same information:",
    "steering_success_up": "Share of queries that gain, by the cosine of steered and unsteered query:",
    "steering_down": "Steering away from a concept that the query has (lower is better):",
    "steering_gain_down": "Further reduction by ours over the best method with the same information:",
    "steering_success_down": "Share of queries whose hits have less of it, by that cosine:",
}


def figure_row(name: str, figure: dict[str, Any]) -> list[str]:
    """Return a figure's cells, with a mark if it misses its goal."""
    missed = " **missed**" if figure["holds"] is False else ""
    n = "" if figure["n"] is None else f"{figure['n']:,}"
    return [f"`{name}`", f"{number(figure['value'])} {figure['unit']}", (figure["goal"] or "") + missed, n]


def as_table(rows: Any) -> str:
    """Return a list of dicts, a dict of dicts, or one dict as a table."""
    if isinstance(rows, list):
        return table(list(rows[0]), [[number(v) for v in row.values()] for row in rows])
    if not all(isinstance(row, dict) for row in rows.values()):
        return table(list(rows), [[number(v) for v in rows.values()]])
    flat = {name: flattened(row) for name, row in rows.items()}
    columns = list(next(iter(flat.values())))
    cells = [[name, *(number(row[c]) if c in row else "" for c in columns)] for name, row in flat.items()]
    return table(["", *columns], cells)


def flattened(row: dict[str, Any]) -> dict[str, Any]:
    """Return a row with nested dicts as columns "outer inner"; of fidelities only the NMSE."""
    cells: dict[str, Any] = {}
    for name, value in row.items():
        if isinstance(value, dict):
            cells[name] = value.get("nmse", next(iter(value.values())))
        else:
            cells[name] = value
    return cells


def published() -> str:
    """Return saerch's own figures."""
    rows = [[str(k), *[f"{value:.3f}" for value in values]] for k, values in PUBLISHED.items()]
    return table(["k", *[f"n = {n:,}" for n in PUBLISHED_WIDTHS]], rows)


def table(columns: list[str], rows: list[list[str]]) -> str:
    """Return a Markdown table."""
    lines = [columns, ["---"] * len(columns), *rows]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines) + "\n"


def number(value: Any) -> str:
    """Return a number with three significant digits, a whole number unchanged, nothing for None."""
    if value is None:
        return ""
    if isinstance(value, float):
        return f"{value:,.0f}" if abs(value) >= 1_000 else f"{value:.3g}"
    return f"{value:,}" if isinstance(value, int) else str(value)


if __name__ == "__main__":
    main()
