"""Cells of a calibration: one analysis, regime and family, and how often null runs have a finding."""

from __future__ import annotations

import json
import sys
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from time import perf_counter
from typing import TypeAlias

import numpy as np
from scipy.stats import binom

ALPHA, GOAL = 0.05, 0.08
SEED = 11
# The rows of finished regimes are appended here, so that a run that is stopped loses nothing.
KEPT = Path(".cache") / "calibration_cells.jsonl"
# The findings of each family in one run, which has a number and a generator of its own.
Trial: TypeAlias = Callable[[int, np.random.Generator], Mapping[str, int]]


@dataclass(frozen=True, slots=True)
class Regime:
    """Null runs of an analysis; ``open`` prepares them, and ``figure`` is where they count."""

    figure: str
    name: str
    open: Callable[[], Trial]


@dataclass(frozen=True, slots=True)
class Cell:
    """``with_findings`` of ``runs`` null runs have a finding of the family; with p, and its Holm correction.

    ``any_family`` is the share of the regime's runs with a finding in any family.
    ``rerun_share`` and ``rerun_p`` are those of ``rerun_runs`` fresh runs, which failing cells have.
    """

    analysis: str
    regime: str
    family: str
    runs: int
    with_findings: int
    share: float
    any_family: float
    p: float
    holm_p: float = 1.0
    rerun_runs: int = 0
    rerun_share: float | None = None
    rerun_p: float | None = None

    @property
    def fails(self) -> bool:
        """Whether the share is too large, by the test or by itself."""
        return self.holm_p < ALPHA or self.share > GOAL

    @property
    def fails_again(self) -> bool:
        """Whether the share of the fresh runs is too large, by the test or by itself."""
        if self.rerun_share is None or self.rerun_p is None:
            return False
        return self.rerun_p < ALPHA or self.rerun_share > GOAL


def cells_of(regime: Regime, runs: int, first: int = 0) -> list[Cell]:
    """Run a regime, from run number ``first`` on; return its cells."""
    started = perf_counter()
    trial = regime.open()
    having, in_any, families = Counter[str](), 0, dict[str, None]()
    for run in range(first, first + runs):
        found = trial(run, np.random.default_rng([SEED, run]))
        families |= dict.fromkeys(found)
        having.update(family for family, count in found.items() if count)
        in_any += any(found.values())
    cells = [
        Cell(
            regime.figure.removeprefix("aa_"), regime.name, family, runs, having[family],
            having[family] / runs, in_any / runs, exceeding(having[family], runs),
        )
        for family in families
    ]  # fmt: skip
    _tell(regime, cells, in_any / runs, perf_counter() - started)
    return cells


def exceeding(count: int, runs: int) -> float:
    """Return the one-sided exact binomial p of a rate above .05."""
    return float(binom.sf(count - 1, runs, ALPHA))


def with_holm(cells: Sequence[Cell]) -> list[Cell]:
    """Return cells with p corrected over all of them (Holm 1979)."""
    p = np.array([cell.p for cell in cells])
    order = np.argsort(p, kind="stable")
    corrected = np.empty(len(p))
    corrected[order] = np.minimum(1.0, np.maximum.accumulate(p[order] * np.arange(len(p), 0, -1)))
    return [replace(cell, holm_p=float(one)) for cell, one in zip(cells, corrected, strict=True)]


def _tell(regime: Regime, cells: Iterable[Cell], in_any: float, seconds: float) -> None:
    """Print a line for each cell, and append the cells to the file."""
    KEPT.parent.mkdir(exist_ok=True)
    with KEPT.open("a") as file:
        for cell in cells:
            file.write(json.dumps(asdict(cell)) + "\n")
            line = f"{cell.analysis} | {cell.regime} | {cell.family}: {cell.with_findings} of {cell.runs}"
            print(f"{line} ({cell.share:.3f})", file=sys.stderr, flush=True)
    line = f"{regime.figure} | {regime.name}: any family {in_any:.3f}, {seconds:.0f} s"
    print(line, file=sys.stderr, flush=True)
