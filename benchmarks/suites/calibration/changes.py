"""Null runs of drift, monitor and profile: periods, windows and sets are drawn at random.

A run of drift makes the calls from the design on, with evidence that is counted once. A run of a monitor is
the whole call, without bounds on the size of a change. A run of a profile is the part of the call that tests.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, TypeAlias

import numpy as np

from benchmarks.suites.calibration.cells import ALPHA, Regime, Trial
from benchmarks.suites.calibration.comparisons import DOCUMENTS, PROMPTS, TOPIC, Source
from benchmarks.suites.calibration.populations import PROMPT, PROMPTED, population
from benchmarks.suites.drift.chance import in_periods, trend_tests
from saeindex.analysis.describe.describe import REST, SET
from saeindex.analysis.diff.baseline import baseline_of, monitor
from saeindex.analysis.diff.findings import found_between
from saeindex.analysis.stats.design import design_of
from saeindex.analysis.stats.groups import Groups
from saeindex.analysis.stats.options import AUTO, DiffOptions, MonitorOptions

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from saeindex.collection.snapshot import Snapshot

Ints: TypeAlias = "NDArray[np.int64]"
# The periods (m,), -1 for none, or the rows of a window or a set.
Drawn: TypeAlias = Callable[["Snapshot", np.random.Generator], Ints]
EQUAL = (250,) * 8
# Each period has about 2.5 times the records of the one before.
UNEVEN = (50, 100, 200, 500, 1_000, 2_500)
# Two large periods among small ones.
MIXED = (1_500, 30, 30, 60, 1_500, 30)


def regimes() -> list[Regime]:
    """Return the regimes of drift, of windows, and of sets."""
    return [
        Regime("aa_drift", "8 periods of 250, goemotions", trends(("goemotions",), periods(EQUAL), None)),
        Regime("aa_drift", "8 periods of 250, stackoverflow_titles",
               trends(("stackoverflow_titles",), periods(EQUAL), None)),
        Regime("aa_drift", "30 documents in 5 periods, masc_registers",
               trends(DOCUMENTS, periods_of_units("metadata.doc", 5), "metadata.doc")),
        Regime("aa_drift", "2,806 topics in 8 periods, medquad",
               trends(("medquad",), periods_of_units(TOPIC, 8), TOPIC)),
        Regime("aa_drift", "a response of each of 30 prompts in each of 8 periods, alpaca_eval",
               trends(PROMPTS, periods_within(PROMPT, 8), PROMPT)),
        Regime("aa_drift", "a response of each of 328 prompts in each of 8 periods, alpaca_eval",
               trends((PROMPTED, PROMPT, 328), periods_within(PROMPT, 8), PROMPT)),
        Regime("aa_drift_uneven", "50 to 2,500 records, growing, goemotions",
               trends(("goemotions",), periods(UNEVEN), None)),
        Regime("aa_drift_uneven", "2,500 to 50 records, falling, clinc150",
               trends(("clinc150",), periods(UNEVEN[::-1]), None)),
        Regime("aa_drift_uneven", "30 to 1,500 records, mixed, stackoverflow_titles",
               trends(("stackoverflow_titles",), periods(MIXED), None)),
        Regime("aa_monitor", "500 of 4,845 records, goemotions", alerts(("goemotions",), rows_of(500))),
        Regime("aa_monitor", "50 of 4,767 records, clinc150", alerts(("clinc150",), rows_of(50))),
        Regime("aa_monitor", "8 of 30 documents, masc_registers",
               alerts(DOCUMENTS, rows_of_units("metadata.doc", 8))),
        Regime("aa_monitor", "560 of 2,806 topics, medquad",
               alerts(("medquad",), rows_of_units(TOPIC, 560), TOPIC)),
        Regime("aa_monitor", "500 records against a kept baseline of 4,345, goemotions",
               alerts(("goemotions",), rows_of(500), None, is_kept=True)),
        Regime("aa_monitor", "560 topics against a kept baseline of 2,246, medquad",
               alerts(("medquad",), rows_of_units(TOPIC, 560), TOPIC, is_kept=True)),
        Regime("aa_profile", "300 records, goemotions", profiles(("goemotions",), rows_of(300))),
        Regime("aa_profile", "40 records, clinc150", profiles(("clinc150",), rows_of(40))),
        Regime("aa_profile", "8 of 30 documents, masc_registers",
               profiles(DOCUMENTS, rows_of_units("metadata.doc", 8))),
        Regime("aa_profile", "200 responses to 30 prompts, alpaca_eval", profiles(PROMPTS, rows_of(200))),
    ]  # fmt: skip


def periods(sizes: Sequence[int]) -> Drawn:
    """Return the draw of periods with so many records each."""
    codes = np.repeat(np.arange(len(sizes)), sizes)

    def drawn(snapshot: Snapshot, rng: np.random.Generator) -> Ints:
        assigned = np.full(len(snapshot), -1)
        assigned[: len(codes)] = codes
        return rng.permutation(assigned)

    return drawn


def periods_of_units(unit: str, count: int) -> Drawn:
    """Return the draw of a period for each unit; the periods have equally many units."""

    def drawn(snapshot: Snapshot, rng: np.random.Generator) -> Ints:
        _, codes = np.unique(snapshot.column(unit).codes, return_inverse=True)
        units = int(codes.max()) + 1
        assigned: Ints = rng.permutation(np.arange(units) * count // units)[codes]
        return assigned

    return drawn


def periods_within(unit: str, count: int) -> Drawn:
    """Return the draw of a record of each unit for each period; further records are in none."""

    def drawn(snapshot: Snapshot, rng: np.random.Generator) -> Ints:
        codes = snapshot.column(unit).codes
        order = np.lexsort((rng.random(len(codes)), codes))
        starts = np.searchsorted(codes[order], codes[order])
        assigned = np.empty(len(codes), np.int64)
        assigned[order] = np.arange(len(codes)) - starts
        return np.where(assigned < count, assigned, -1)

    return drawn


def rows_of(count: int) -> Drawn:
    """Return the draw of so many records."""
    return lambda snapshot, rng: np.sort(rng.permutation(len(snapshot))[:count])


def rows_of_units(unit: str, count: int) -> Drawn:
    """Return the draw of the records of so many units."""

    def drawn(snapshot: Snapshot, rng: np.random.Generator) -> Ints:
        codes = snapshot.column(unit).codes
        return np.flatnonzero(np.isin(codes, rng.permutation(np.unique(codes))[:count]))

    return drawn


def trends(source: Source, drawn: Drawn, unit: str | None) -> Callable[[], Trial]:
    """Return null runs of a drift."""

    def opened() -> Trial:
        prepared = population(*source)

        def trial(run: int, rng: np.random.Generator) -> Mapping[str, int]:
            groups = in_periods(drawn(prepared.snapshot, rng))
            tests = trend_tests(prepared.snapshot, groups, unit, run, prepared=prepared)
            return {family: len(test.found(ALPHA)) for family, test in tests.items()}

        return trial

    return opened


def alerts(
    source: Source, drawn: Drawn, unit: str | None = AUTO, is_kept: bool = False
) -> Callable[[], Trial]:
    """Return null runs of a monitor: a window against the other records, or a kept baseline of them."""

    def opened() -> Trial:
        snapshot = population(*source).snapshot

        def trial(run: int, rng: np.random.Generator) -> Mapping[str, int]:
            window = drawn(snapshot, rng)
            rest = np.setdiff1d(np.arange(len(snapshot)), window)
            options = MonitorOptions(unit=unit, examples=0, seed=run, min_effect=0.0, min_odds_ratio=1.0)
            reference = baseline_of(snapshot, rest, options.level, unit) if is_kept else rest
            alert = monitor(snapshot, reference, window, options)
            # The rate is promised for all families together, which share it.
            return {family: len(one) for family, one in alert.changed.items()} | {"all": len(alert)}

        return trial

    return opened


def profiles(source: Source, drawn: Drawn) -> Callable[[], Trial]:
    """Return null runs of a profile."""

    def opened() -> Trial:
        snapshot = population(*source).snapshot

        def trial(run: int, rng: np.random.Generator) -> Mapping[str, int]:
            rows = drawn(snapshot, rng)
            groups = Groups((SET, REST), (rows, np.setdiff1d(np.arange(len(snapshot)), rows)))
            options = DiffOptions(families=("concepts", "words"), examples=0, seed=run)
            design = design_of(snapshot, groups, options.unit)
            found, *_ = found_between(snapshot, groups, design, options, lambda one: one.group == SET)
            return {family: len(one) for family, one in found.items()}

        return trial

    return opened
