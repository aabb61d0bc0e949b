"""False findings of drift where there is none, and false alerts of windows that do not differ."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from benchmarks.snapshots import labelled
from benchmarks.suites.diff.calibration import ALPHA, BY_DOCUMENT, MIN_SUPPORT, Prepared
from saeindex.analysis.diff.baseline import monitor
from saeindex.analysis.drift.trend_test import run_trends
from saeindex.analysis.stats.design import design_of
from saeindex.analysis.stats.evidence import evidence_of
from saeindex.analysis.stats.groups import Groups
from saeindex.analysis.stats.options import FAMILIES, MonitorOptions

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from saeindex.analysis.drift.trend_test import TrendTest
    from saeindex.analysis.stats.options import Family
    from saeindex.collection.snapshot import Snapshot

CORPORA = ("goemotions", "stackoverflow_titles", "clinc150", "medquad", "arxiv_heldout")
UNITS = {"masc_registers": "metadata.doc", "us_speeches": "metadata.year"}
CROSSED = ("alpaca_eval", "metadata.model", "metadata.instruction_id")
PERIODS, RECORDS = 8, 2_000
# Unequal periods: how many times as many records each has as the one before.
GROWTH = 1.6
GROWING = ("goemotions", "clinc150")
# The records, or the share of the documents, of a window.
WINDOW, WINDOW_DOCUMENTS = 500, 0.2
# Share of the runs for whole documents, which take longer.
DOCUMENT_RUNS = 0.6


def in_periods(codes: NDArray[np.int64]) -> Groups:
    """Return the records by period, where ``codes`` (m,) are 0 or more; -1 is in none."""
    count = int(codes.max()) + 1
    return Groups(
        tuple(map(str, range(count))), tuple(np.flatnonzero(codes == period) for period in range(count))
    )


def trend_tests(
    snapshot: Snapshot,
    groups: Groups,
    unit: str | None,
    seed: int = 0,
    length_bins: int | None = None,
    prepared: Prepared | None = None,
) -> dict[Family, TrendTest]:
    """Test every family over periods that are one step apart."""
    design = design_of(snapshot, groups, unit, (), length_bins, paired=False)
    scores, rows = np.arange(len(groups.names), dtype=np.float64), groups.pooled
    tests: dict[Family, TrendTest] = {}
    for family in FAMILIES:
        evidence = (
            evidence_of(snapshot, rows, family, "typical", MIN_SUPPORT, seed)
            if prepared is None
            else prepared.on(rows, family, seed)
        )
        tests[family] = run_trends(evidence, groups.codes, scores, design)
    return tests


def prepared_of(snapshot: Snapshot) -> Prepared:
    """Return the evidence on all records of a corpus, clustered once."""
    all_rows = np.arange(len(snapshot))
    return Prepared(
        snapshot, {family: [evidence_of(snapshot, all_rows, family, "typical", 1)] for family in FAMILIES}
    )


def shuffled(snapshot: Snapshot, runs: int, is_equal: bool, unit: str | None) -> Iterator[Groups]:
    """Yield random periods: records, or whole units, are assigned to them at random."""
    rng = np.random.default_rng(3)
    sizes = np.ones(PERIODS) if is_equal else GROWTH ** np.arange(PERIODS)
    for _ in range(runs):
        if unit is None:
            codes = rng.choice(PERIODS, len(snapshot), p=sizes / sizes.sum())
            codes[rng.permutation(len(snapshot))[RECORDS:]] = -1
        else:
            column = snapshot.column(unit)
            assigned = np.arange(len(column.values)) * PERIODS // len(column.values)
            codes = rng.permutation(assigned)[column.codes]
        yield in_periods(codes)


def false_trends(runs: int, corpora: Sequence[str] = CORPORA) -> list[dict[str, Any]]:
    """Return the share of runs with any finding, by corpus and family; records are assigned at random."""
    rows = []
    for name in corpora:
        snapshot = labelled(name)
        for is_equal in (True, False) if name in GROWING else (True,):
            rows += _shares(name, snapshot, shuffled(snapshot, runs, is_equal, None), None, runs, is_equal)
    return rows


def false_trends_by_unit(runs: int) -> list[dict[str, Any]]:
    """Return the same for whole units, and for versions that are permuted within prompts."""
    rows = []
    for name, unit in UNITS.items():
        snapshot = labelled(name)
        rows += _shares(name, snapshot, shuffled(snapshot, runs, True, unit), unit, runs, True)
    name, over, unit = CROSSED
    snapshot = labelled(name)
    rows += _shares(name, snapshot, _within(snapshot, runs, over, unit), unit, runs, True)
    return rows


def _within(snapshot: Snapshot, runs: int, over: str, unit: str) -> Iterator[Groups]:
    """Yield periods to which the records of each unit are assigned at random, one record each."""
    rng = np.random.default_rng(4)
    units, versions = snapshot.column(unit).codes, snapshot.column(over).codes
    kept = versions < PERIODS
    for _ in range(runs):
        codes = np.full(len(snapshot), -1)
        order = np.lexsort((rng.random(len(snapshot)), units))
        order = order[kept[order]]
        starts = np.r_[0, np.flatnonzero(np.diff(units[order])) + 1]
        counts = np.diff(np.r_[starts, len(order)])
        codes[order] = np.arange(len(order)) - np.repeat(starts, counts)
        yield in_periods(codes)


def _shares(
    name: str, snapshot: Snapshot, assigned: Iterator[Groups], unit: str | None, runs: int, is_equal: bool
) -> list[dict[str, Any]]:
    counts: dict[Family, list[int]] = {family: [] for family in FAMILIES}
    prepared = prepared_of(snapshot)
    for run, groups in enumerate(assigned):
        for family, test in trend_tests(snapshot, groups, unit, run, prepared=prepared).items():
            counts[family].append(len(test.found(ALPHA)))
    return [
        {
            "corpus": name,
            "unit": unit or "",
            "periods": "equal" if is_equal else "growing",
            "family": family,
            "runs": runs,
            "runs_with_finding": float(np.mean(np.array(found) > 0)),
            "findings_per_run": float(np.mean(found)),
        }
        for family, found in counts.items()
    ]


def false_alerts(runs: int, corpora: Sequence[str], is_quick: bool = False) -> list[dict[str, Any]]:
    """Return how often a random window raises an alert, in any family of evidence."""
    cases: list[tuple[str, str | None]] = [(name, None) for name in corpora]
    cases += [] if is_quick else list(BY_DOCUMENT.items())
    rows = []
    for name, unit in cases:
        snapshot, rng = labelled(name), np.random.default_rng(5)
        alerts: dict[str, list[bool]] = {"any": [], "unbounded": []}
        count = runs if unit is None else round(runs * DOCUMENT_RUNS)
        for run in range(count):
            window = _window(snapshot, unit, rng)
            reference = np.setdiff1d(np.arange(len(snapshot)), window)
            options = MonitorOptions(unit=unit, examples=0, seed=run, min_effect=0.0, min_odds_ratio=1.0)
            found = list(monitor(snapshot, reference, window, options))
            alerts["unbounded"].append(bool(found))
            bounds = MonitorOptions()
            alerts["any"].append(
                any(
                    abs(one.effect) >= bounds.min_effect
                    and abs(one.log_odds) >= np.log(bounds.min_odds_ratio)
                    for first in found
                    for one in (first, *first.related)
                )
            )
        shares = {f"alerts_{alert}": float(np.mean(each)) for alert, each in alerts.items()}
        rows.append({"corpus": name, "unit": unit or "", "runs": count} | shares)
    return rows


def _window(snapshot: Snapshot, unit: str | None, rng: np.random.Generator) -> NDArray[np.int64]:
    if unit is None:
        return np.sort(rng.permutation(len(snapshot))[:WINDOW])
    codes = snapshot.column(unit).codes
    units = rng.permutation(int(codes.max()) + 1)
    return np.flatnonzero(np.isin(codes, units[: max(3, round(len(units) * WINDOW_DOCUMENTS))]))
