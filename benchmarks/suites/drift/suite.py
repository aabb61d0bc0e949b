"""Drift: false findings, power on planted rises and steps, and known changes.

Records and whole documents get random periods (calibration), classes are planted at shares that
rise along a line or in a step (power, kind and place), windows are compared with a reference (alerts), and
abstracts, speeches and models are analysed over their years and generations. All is judged on test parts; the
informative evidence of a class, the proxies of a rule and our constants come from the fit and choose parts.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from typing import Any

import numpy as np

from benchmarks.outcome import Figure, Outcome, at_least
from benchmarks.suites.calibration.cells import ALPHA, GOAL, Cell, exceeding, with_holm
from benchmarks.suites.diff.power import Planting
from benchmarks.suites.diff.suite import mean_by_corpus
from benchmarks.suites.drift import chance as drift_chance
from benchmarks.suites.drift import planted as drift_planted
from benchmarks.suites.drift import real as drift_real
from saeindex.analysis.stats.options import FAMILIES

SEED = 0
PLANTED = ("stackoverflow_titles", "clinc150", "arxiv_heldout", "medquad", "goemotions")
RUNS, UNIT_RUNS, ALERT_RUNS, PLANTINGS = 200, 100, 200, 10
METHODS = (*FAMILIES, "any", "halves")


def run(quick: bool) -> Outcome:
    """Measure; ``quick`` takes fewer runs and corpora, and no documents."""
    outcome = Outcome("drift", quick, SEED)
    calibrate(outcome, quick)
    plantings = [Planting.of(name) for name in (PLANTED[:1] if quick else PLANTED)]
    find_planted(outcome, plantings, 5 if quick else PLANTINGS)
    measure_alerts(outcome, plantings, quick)
    if not quick:
        measure_real(outcome)
    return outcome


def calibrate(outcome: Outcome, quick: bool) -> None:
    """Add how often drift is found where there is none."""
    corpora = drift_chance.CORPORA[:1] if quick else drift_chance.CORPORA
    runs = 10 if quick else RUNS
    by_record = drift_chance.false_trends(runs, corpora)
    by_unit = [] if quick else drift_chance.false_trends_by_unit(UNIT_RUNS)
    outcome.tables["chance"] = by_record + by_unit
    rates(outcome, "trend_fdr", by_record)
    rates(outcome, "trend_fdr_by_unit", by_unit)


def rates(outcome: Outcome, name: str, rows: Sequence[dict[str, Any]]) -> None:
    """Add the share of runs with any finding: the worst family's mean over corpora, and each of its own."""
    by_family: dict[str, list[float]] = defaultdict(list)
    for row in rows:
        by_family[row["family"]].append(row["runs_with_finding"])
    if rows:
        runs = rows[0]["runs"] * len(next(iter(by_family.values())))
        worst = max(float(np.mean(shares)) for shares in by_family.values())
        outcome.figures[name] = Figure(worst, "share of runs, worst family", n=runs)
        every = [share for shares in by_family.values() for share in shares]
        outcome.figures[f"{name}_worst_corpus"] = each_at_most(every, rows[0]["runs"])


def each_at_most(shares: Sequence[float], runs: int) -> Figure:
    """Return the largest share of null runs; no share may fail as a cell of the calibration does."""
    cells = [Cell("", "", "", runs, round(share * runs), share, share, exceeding(round(share * runs), runs))
             for share in shares]  # fmt: skip
    holds = not any(cell.fails for cell in with_holm(cells))
    return Figure(max(shares), "share of runs", f"none significantly > {ALPHA:g}, or > {GOAL:g}", holds, runs)


def find_planted(outcome: Outcome, plantings: Sequence[Planting], runs: int) -> None:
    """Add the power on planted classes, and the kinds and places that are found."""
    rows = [row for one in plantings for row in drift_planted.rising(one, runs)]
    outcome.tables["planted"] = powers(rows, ("shape", "share"), METHODS)
    for shape in ("line", "step"):
        for share in drift_planted.SHARES:
            kept = [row for row in rows if (row["shape"], row["share"]) == (shape, share)]
            for column in ("any", "halves") if kept else ():
                prefix = "halves" if column == "halves" else "planted_trend"
                name = f"{prefix}_power_{shape}_{round(100 * share)}pct"
                value = mean_by_corpus(kept, column)
                outcome.figures[name] = Figure(value, "of runs, mean over corpora", n=len(kept))
    lines, steps = ([row for row in rows if row["shape"] == shape] for shape in ("line", "step"))
    outcome.figures["planted_trend_power"] = outcome.figures["planted_trend_power_line_5pct"]
    _mean(
        outcome, "lines_told_as_lines", [flag for row in lines for flag in row["as_line"]], "of those found"
    )
    _mean(outcome, "steps_told_as_steps", [not f for row in steps for f in row["as_line"]], "of those found")
    _mean(outcome, "change_point_error", [off for row in steps for off in row["off_by"]], "periods, mean")


def _mean(outcome: Outcome, name: str, values: Sequence[float], unit: str) -> None:
    if values:
        outcome.figures[name] = Figure(float(np.mean(values)), unit, n=len(values))


def powers(rows: Sequence[dict[str, Any]], by: Sequence[str], methods: Sequence[str]) -> list[dict[str, Any]]:
    """Return the share of runs with a true finding for every method, by corpus and other columns."""
    groups: dict[tuple[Any, ...], list[dict[str, Any]]] = defaultdict(list)
    for row in rows:
        groups[tuple(row[name] for name in ("corpus", *by))].append(row)
    table = []
    for key, kept in sorted(groups.items()):
        shares = {column: float(np.mean([row[column] for row in kept])) for column in methods}
        table.append(dict(zip(("corpus", *by), key, strict=True)) | {"runs": len(kept)} | shares)
    return table


def measure_alerts(outcome: Outcome, plantings: Sequence[Planting], quick: bool) -> None:
    """Add how often windows raise false and true alerts."""
    runs = 10 if quick else ALERT_RUNS
    corpora = drift_chance.CORPORA[:1] if quick else drift_chance.CORPORA
    rows = drift_chance.false_alerts(runs, corpora, quick)
    outcome.tables["false_alerts"] = rows
    add_false_alerts(outcome, rows)
    found = [row for one in plantings for row in drift_planted.arriving(one, 5 if quick else PLANTINGS)]
    outcome.tables["alerts"] = powers(found, ("share",), ("alert", "true"))
    for share in drift_planted.SHARES:
        kept = [row for row in found if row["share"] == share]
        value = mean_by_corpus(kept, "true")
        figure = Figure(value, "of runs with a true alert", n=len(kept))
        outcome.figures[f"monitor_power_{round(100 * share)}pct"] = figure


def add_false_alerts(outcome: Outcome, rows: Sequence[dict[str, Any]]) -> None:
    """Add the share of windows with a false alert: of records, and of whole documents."""
    for suffix, kept in (
        ("", [row for row in rows if not row["unit"]]),
        ("_by_document", [row for row in rows if row["unit"]]),
    ):
        if kept:
            shares = [row["alerts_any"] for row in kept]
            name, n = f"monitor_false_alerts{suffix}", sum(row["runs"] for row in kept)
            outcome.figures[name] = Figure(float(np.mean(shares)), "share of runs", n=n)
            outcome.figures[f"{name}_worst_corpus"] = each_at_most(shares, kept[0]["runs"])


def measure_real(outcome: Outcome) -> None:
    """Add the findings on known changes."""
    papers, speeches, models = drift_real.known_trends(), drift_real.speeches(), drift_real.generations()
    outcome.tables.update(arxiv=papers, us_speeches=speeches, generations=models)
    outcome.figures["arxiv_known_trends"] = at_least(papers["known"], 0.8, "of words written down before")
    outcome.figures["arxiv_known_reversed"] = Figure(papers["wrong"], "of the same")
    for bins, suffix in (("none", ""), ("as needed", "_at_equal_length")):
        real = [row for row in models if row["is_real"] and row["length_bins"] == bins]
        for name in ("shown", "opposite"):
            _mean(outcome, f"generations_{name}{suffix}", [row[name] for row in real], "of real trends")
