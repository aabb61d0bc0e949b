"""Differences: false findings, power on planted and real differences, and speed.

Groups are random or assigned by a confounder (calibration), classes are planted in one of two groups (power),
and classes and models are compared (real differences). Everything is judged on test parts. The
informative evidence of a class, the bounds of the baselines and the proxies of a rule come from the fit and
choose parts, and so do our constants: the sizes of clusters and the level.
"""

from __future__ import annotations

import tempfile
import time
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.corpora import NAMES
from benchmarks.outcome import Figure, Outcome, at_least, at_most
from benchmarks.snapshots import synthetic
from benchmarks.suites.diff import calibration as diff_calibration
from benchmarks.suites.diff import power as diff_power
from benchmarks.suites.diff import real as diff_real
from benchmarks.suites.latency import built
from saeindex.analysis.diff.diff import diff
from saeindex.analysis.stats.groups import Groups
from saeindex.analysis.stats.options import FAMILIES, DiffOptions

SEED = 0
METHODS = (*FAMILIES, "any", "rule", "rule_at_ours", "log_odds", "log_odds_at_ours")
# Predicted power is compared with observed power in bins of this width with at least so many runs.
BIN, MIN_RUNS = 0.2, 50
SYNTHETIC = 1_000_000


def run(quick: bool) -> Outcome:
    """Measure; ``quick`` takes fewer runs, corpora and records."""
    outcome = Outcome("diff", quick, SEED)
    runs = 10 if quick else 200
    corpora = diff_calibration.CORPORA[:2] if quick else diff_calibration.CORPORA
    calibrate(outcome, runs, corpora)
    find_planted(
        outcome, 6 if quick else 24, ("stackoverflow_titles",) if quick else tuple(diff_power.FIELDS)
    )
    measure_classes(outcome, ("stackoverflow_titles", "scicite") if quick else NAMES)
    if not quick:
        compare_models(outcome)
    cost(outcome, 3_000 if quick else 100_000, SYNTHETIC // (100 if quick else 1))
    return outcome


def calibrate(outcome: Outcome, runs: int, corpora: Sequence[str]) -> None:
    """Add the false findings between groups that do not differ."""
    rows = diff_calibration.equal_groups(runs, corpora)
    few = len(corpora) < len(diff_calibration.CORPORA)
    by_document = diff_calibration.documents(runs, tuple(diff_calibration.BY_DOCUMENT)[: 1 if few else None])
    outcome.tables["aa"] = rows + by_document
    for name, kept in (
        ("aa_runs_with_finding", [row for row in rows if row["groups"] == "equal"]),
        ("aa_unequal", [row for row in rows if row["groups"] == "unequal"]),
        ("aa_by_document", by_document),
    ):
        worst = max(row["runs_with_finding"] for row in kept)
        outcome.figures[name] = at_most(worst, 0.05, "share of runs, worst corpus and family", runs)
        mean = float(np.mean([row["runs_with_finding"] for row in kept]))
        outcome.figures[f"{name}_mean"] = Figure(mean, "share of runs", n=runs * len(kept))
    confounded = diff_calibration.confounded(
        max(5, runs // 2), tuple(diff_calibration.CONFOUNDED)[: 1 if few else None]
    )
    outcome.tables["confounded"] = confounded
    for kind in ("stratified", "unstratified"):
        worst = max(row[f"{kind}_{family}"] for row in confounded for family in FAMILIES)
        name = "confounded_false_findings" + ("" if kind == "stratified" else "_unstratified")
        unit, n = "per run, worst case and family", max(5, runs // 2)
        outcome.figures[name] = (
            at_most(worst, 0.1, unit, n) if kind == "stratified" else Figure(worst, unit, n=n)
        )


def find_planted(outcome: Outcome, runs: int, corpora: Sequence[str]) -> None:
    """Add the power on planted classes."""
    rows: list[dict[str, Any]] = []
    for name in corpora:
        rows += diff_power.planted(diff_power.Planting.of(name), runs, diff_power.SHARES)
    outcome.tables["power"] = powers(rows)
    for share, kind, goal in ((0.05, "topic", 0.8), (0.02, "topic", None), (0.05, "function", None),
                              (0.05, "affect", 0.5), (0.1, "affect", None)):  # fmt: skip
        kept = [row for row in rows if row["share"] == share and row["kind"] == kind]
        for column in ("any", "rule", "rule_at_ours") if kept else ():
            prefix = "" if column == "any" else f"{column}_"
            value = mean_by_corpus(kept, column)
            figure = (
                at_least(value, goal, "of runs", len(kept))
                if goal and column == "any"
                else Figure(value, "of runs")
            )
            outcome.figures[f"{prefix}power_{round(100 * share)}pct_{kind}"] = figure
    bins = predicted_bins(rows)
    outcome.tables["foretold"] = bins
    judged = [one for one in bins if one["runs"] >= MIN_RUNS]
    if judged:
        worst = max(abs(one["foretold"] - one["came"]) for one in judged)
        outcome.figures["power_statement_error"] = at_most(
            worst, 0.1, "worst bin", sum(one["runs"] for one in judged)
        )


def mean_by_corpus(rows: Sequence[dict[str, Any]], column: str) -> float:
    """Return the share of runs, each corpus with equal weight."""
    groups: dict[str, list[float]] = defaultdict(list)
    for row in rows:
        groups[row["corpus"]].append(row[column])
    return float(np.mean([np.mean(found) for found in groups.values()]))


def powers(rows: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the share of runs with a true finding, by corpus and planted share, for every method."""
    table = []
    for corpus, share in sorted({(row["corpus"], row["share"]) for row in rows}):
        kept = [row for row in rows if (row["corpus"], row["share"]) == (corpus, share)]
        shares = {column: float(np.mean([row[column] for row in kept])) for column in METHODS}
        table.append({"corpus": corpus, "share": share, "n": kept[0]["n"], "runs": len(kept)} | shares)
    return table


def predicted_bins(rows: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the predicted and the observed power, by family and by predicted power."""
    bins = []
    for family in FAMILIES[:2]:
        expected = np.array([row[f"foretold_{family}"] for row in rows])
        observed = np.array([row[f"came_{family}"] for row in rows])
        places = np.minimum((expected / BIN).astype(int), round(1 / BIN) - 1)
        for place in np.unique(places):
            inside = places == place
            means = {"foretold": float(expected[inside].mean()), "came": float(observed[inside].mean())}
            bins.append({"family": family, "runs": int(inside.sum())} | means)
    return bins


def measure_classes(outcome: Outcome, corpora: Sequence[str]) -> None:
    """Add how well findings predict classes on records that were not compared."""
    rows = diff_real.classes(corpora)
    outcome.tables["classes"] = rows
    for kind in ("", *sorted({row["kind"] for row in rows})):
        kept = [row for row in rows if not kind or row["kind"] == kind]
        suffix = f"_{kind}" if kind else ""
        for name, key in (("class_top1_auroc", "top1_auroc"), ("class_top5_auroc", "top5_auroc"),
                          ("class_label_hit", "label_names")):  # fmt: skip
            value = mean_by_corpus(kept, key)
            outcome.figures[f"{name}{suffix}"] = Figure(value, "mean over corpora", n=len(kept))


def compare_models(outcome: Outcome) -> None:
    """Add the findings on models that answered the same instructions."""
    found = diff_real.models()
    outcome.tables["models"] = found.pop("pairs")
    for name in ("shown", "opposite"):
        outcome.figures[f"models_{name}"] = Figure(found[name], "of real differences", n=found["real"])
    outcome.figures["models_claimed"] = Figure(found["claimed"], "of equal pairs", n=found["none"])


def cost(outcome: Outcome, records: int, synthetic_records: int) -> None:
    """Add how long comparisons take."""
    early, late = "metadata.year < 2012", "metadata.year >= 2012"
    with tempfile.TemporaryDirectory() as folder, built(Path(folder, "diff.idx"), records) as index:
        first = seconds(index.state.snapshot)
        whole = min(seconds(lambda: index.diff(early, late)) for _ in range(2))
        concepts = min(
            seconds(lambda: index.diff(early, late, families=("concepts",), confirm=False)) for _ in range(2)
        )
    outcome.figures["seconds_100k"] = at_most(concepts, 1.5, "s, concepts", records)
    outcome.figures["seconds_100k_all_families"] = Figure(whole, "s, all families, confirmed", n=records)
    outcome.figures["seconds_100k_snapshot"] = Figure(first, "s, once after a write", n=records)
    snapshot = synthetic(synthetic_records)
    half = np.arange(len(snapshot)) % 2 == 0
    groups = Groups(("a", "b"), (np.flatnonzero(half), np.flatnonzero(~half)))
    options = DiffOptions(families=("concepts",), confirm=False, examples=0)
    outcome.figures["seconds_synthetic"] = Figure(
        seconds(lambda: diff(snapshot, groups, options)), "s, concepts", n=synthetic_records
    )


def seconds(call: Any) -> float:
    """Return how long a call takes."""
    started = time.perf_counter()
    call()
    return time.perf_counter() - started
