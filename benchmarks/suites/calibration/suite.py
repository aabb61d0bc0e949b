"""Calibration: null runs of every p-value that the product prints.

A run is one call, on real records whose groups, periods, windows or pairs are drawn at random, so that every
finding is false. The rate of runs with a finding, .05, is promised for each family of findings. A cell is
one analysis, regime and family; it fails if its share of runs is significantly above .05 (exact binomial
test, corrected by Holm over all cells) or above .08, and then is run again with fresh runs.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, replace
from functools import partial
from multiprocessing import get_context

from benchmarks.outcome import Figure, Outcome, at_most
from benchmarks.suites.calibration import answers, changes, comparisons, pairs
from benchmarks.suites.calibration.cells import ALPHA, GOAL, SEED, Cell, Regime, cells_of, with_holm

RUNS, QUICK_RUNS, FRESH_RUNS = 500, 20, 2_000
UNIT = "share of null runs with a finding, worst cell"


def run(quick: bool) -> Outcome:
    """Measure all cells; ``quick`` takes few runs, whose shares have no goal, and repeats none."""
    outcome = Outcome("calibration", quick, SEED)
    runs = QUICK_RUNS if quick else RUNS
    with ProcessPoolExecutor(os.cpu_count(), get_context("spawn")) as workers:
        found = workers.map(partial(measured, runs), range(len(every_regime())))
        cells = with_holm([cell for cells in found for cell in cells])
    if not quick:
        cells = again(every_regime(), cells)
    outcome.tables["cells"] = [asdict(cell) for cell in cells]
    add_figures(outcome, cells)
    any_family = max(cell.any_family for cell in cells)
    outcome.figures["any_family_worst"] = Figure(
        any_family, "share of runs, any family, worst regime", n=runs
    )
    return outcome


def every_regime() -> list[Regime]:
    """Return all regimes."""
    return [one for module in (comparisons, changes, pairs, answers) for one in module.regimes()]


def measured(runs: int, place: int) -> list[Cell]:
    """Return the cells of the regime at ``place``, in a process of its own."""
    return cells_of(every_regime()[place], runs)


def again(regimes: Sequence[Regime], cells: Sequence[Cell]) -> list[Cell]:
    """Return the cells, those that fail with the share of fresh runs."""
    fresh: dict[tuple[str, str, str], Cell] = {}
    for one in regimes:
        if any(
            cell.fails and (f"aa_{cell.analysis}", cell.regime) == (one.figure, one.name) for cell in cells
        ):
            print(f"again: {one.figure}, {one.name}", file=sys.stderr, flush=True)
            for cell in cells_of(one, FRESH_RUNS, first=RUNS):
                fresh[cell.analysis, cell.regime, cell.family] = cell
    keys = [(cell.analysis, cell.regime, cell.family) for cell in cells]
    return [
        replace(cell, rerun_runs=fresh[key].runs, rerun_share=fresh[key].share, rerun_p=fresh[key].p)
        if cell.fails
        else cell
        for key, cell in zip(keys, cells, strict=True)
    ]


def add_figures(outcome: Outcome, cells: Sequence[Cell]) -> None:
    """Add the worst cell of each analysis and of all, and how many fail."""
    worst: dict[str, Cell] = {}
    for cell in sorted(cells, key=lambda cell: -cell.share):
        worst.setdefault(cell.analysis, cell)
    for analysis in dict.fromkeys(cell.analysis for cell in cells):
        _add_share(outcome, f"aa_{analysis}", worst[analysis])
    _add_share(outcome, "worst_share", max(cells, key=lambda cell: cell.share))
    outcome.figures["cells"] = Figure(len(cells), "cells")
    failing = [cell for cell in cells if cell.fails]
    if outcome.quick:
        failing = [cell for cell in failing if cell.holm_p < ALPHA]
    outcome.figures["cells_failing"] = at_most(len(failing), 0, "cells", len(cells))
    lasting = [cell for cell in failing if cell.fails_again]
    outcome.figures["cells_failing_again"] = Figure(len(lasting), "cells, in fresh runs too", n=len(failing))


def _add_share(outcome: Outcome, name: str, cell: Cell) -> None:
    """Add a share; of few runs it has no goal."""
    figure = (
        Figure(cell.share, UNIT, n=cell.runs) if outcome.quick else at_most(cell.share, GOAL, UNIT, cell.runs)
    )
    outcome.figures[name] = figure
