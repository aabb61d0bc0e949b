"""Findings on classes whose share rises over periods or jumps, and on classes that a window adds."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from benchmarks.suites.diff.calibration import ALPHA, MIN_SUPPORT, pair
from benchmarks.suites.diff.power import higher_in_first, most_informative
from benchmarks.suites.drift.chance import PERIODS, WINDOW, in_periods, trend_tests
from saeindex.analysis.diff.baseline import monitor
from saeindex.analysis.drift.drift import kind_of
from saeindex.analysis.stats.design import Design
from saeindex.analysis.stats.evidence import evidence_of
from saeindex.analysis.stats.options import FAMILIES, MonitorOptions
from saeindex.analysis.stats.unit_totals import run_tests

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from benchmarks.suites.diff.power import Planting
    from saeindex.analysis.drift.trend_test import TrendTest
    from saeindex.analysis.stats.evidence import Evidence
    from saeindex.analysis.stats.groups import Groups

PER_PERIOD = 500
SHARES = (0.02, 0.05, 0.1)
# The first period after a step.
STEPS = (2, 3, 4, 5, 6)
REFERENCE = 2_000


def rising(
    planting: Planting, runs: int, shares: Sequence[float] = SHARES, seed: int = 0
) -> Iterator[dict[str, Any]]:
    """Yield each run's findings on a class whose share rises to ``share`` along a line, and in a step."""
    rng = np.random.default_rng(seed)
    for run in range(runs):
        value = planting.classes[run % len(planting.classes)]
        inside = planting.having(value)
        n = min(PER_PERIOD, int((~inside).sum()) // PERIODS)
        for share in shares:
            for shape in ("line", "step"):
                at = STEPS[run % len(STEPS)]
                counts = _counts(shape, at, share, n)
                if counts.sum() <= int(inside.sum()):
                    groups = _planted(inside, counts, n, rng)
                    row = {"corpus": planting.name, "kind": planting.kind, "share": share, "shape": shape}
                    yield row | {"n": n, "value": str(value)} | _found(planting, value, groups, at)


def _counts(shape: str, at: int, share: float, n: int) -> NDArray[np.int64]:
    """Return how many records of the class each period has."""
    periods = np.arange(PERIODS)
    level = periods / (PERIODS - 1) if shape == "line" else (periods >= at).astype(float)
    return np.rint(level * share * n).astype(np.int64)


def _planted(
    inside: NDArray[np.bool_], counts: NDArray[np.int64], n: int, rng: np.random.Generator
) -> Groups:
    codes = np.full(len(inside), -1)
    of_class, others = (rng.permutation(np.flatnonzero(mask)) for mask in (inside, ~inside))
    codes[of_class[: counts.sum()]] = np.repeat(np.arange(PERIODS), counts)
    codes[others[: (n - counts).sum()]] = np.repeat(np.arange(PERIODS), n - counts)
    return in_periods(codes)


def _found(planting: Planting, value: Any, groups: Groups, at: int) -> dict[str, Any]:
    """Return whether true evidence is found to rise, its kind and start, and whether halves show it."""
    tests = trend_tests(planting.snapshot, groups, None, length_bins=0)
    inside = planting.having(value)[groups.pooled]
    found: dict[str, Any] = {}
    kinds: list[tuple[str, int]] = []
    for family, test in tests.items():
        informative = _informative(planting, value, test.evidence, inside)
        own = _rising(test, informative.keys())
        found[family] = bool(own)
        kinds += [_kind_and_place(test, column) for column in own[:1]]
    found["any"] = any(found[family] for family in FAMILIES)
    found["halves"] = _by_halves(planting, value, groups)
    found["as_line"] = [kind == "trend" for kind, _ in kinds]
    found["off_by"] = [abs(place - at) for kind, place in kinds if kind != "trend"]
    return found


def _informative(
    planting: Planting, value: Any, evidence: Evidence, inside: NDArray[np.bool_]
) -> Mapping[int | str, Any]:
    """Return the informative evidence of a class, measured on other records, except that of clusters."""
    if evidence.family == "clusters":
        return most_informative(evidence.keys, evidence.has, inside)
    return planting.informative(value, evidence.family)


def _rising(test: TrendTest, informative: Any) -> list[int]:
    """Return the columns found to rise that are informative of the class, largest change first."""
    return [
        column
        for column in test.found(ALPHA).tolist()
        if test.evidence.keys[column] in informative and test.slope[column] > 0
    ]


def _kind_and_place(test: TrendTest, column: int) -> tuple[str, int]:
    kind, place, _ = kind_of(test, column, ALPHA)
    return kind, -1 if place is None else place


def _by_halves(planting: Planting, value: Any, groups: Groups) -> bool:
    """Return whether a comparison of the later half with the earlier finds true evidence."""
    middle = len(groups.names) // 2
    halves = pair(np.concatenate(groups.rows[middle:]), np.concatenate(groups.rows[:middle]))
    design = Design(np.zeros(len(halves.pooled), np.int32))
    inside = planting.having(value)[halves.pooled]
    for family in FAMILIES:
        evidence = evidence_of(planting.snapshot, halves.pooled, family, "typical", MIN_SUPPORT)
        test = run_tests(evidence, halves.codes, 2, design)
        if higher_in_first(test, ALPHA) & _informative(planting, value, evidence, inside).keys():
            return True
    return False


def arriving(
    planting: Planting, runs: int, shares: Sequence[float] = SHARES, seed: int = 0
) -> Iterator[dict[str, Any]]:
    """Yield whether a window with a share of a class that the reference lacks raises an alert."""
    rng = np.random.default_rng(seed)
    options = MonitorOptions(unit=None, examples=0, length_bins=0)
    for run in range(runs):
        value = planting.classes[run % len(planting.classes)]
        inside = planting.having(value)
        for share in shares:
            of_class, others = (rng.permutation(np.flatnonzero(mask)) for mask in (inside, ~inside))
            count = round(share * WINDOW)
            window = np.concatenate([of_class[:count], others[: WINDOW - count]])
            reference = others[WINDOW:][:REFERENCE]
            found = monitor(planting.snapshot, np.sort(reference), np.sort(window), options)
            true = any(
                one.effect > 0 and one.key in planting.informative(value, one.family)
                for first in found
                for one in (first, *first.related)
            )
            row = {"corpus": planting.name, "kind": planting.kind, "share": share, "value": str(value)}
            yield row | {"alert": len(found) > 0, "true": true}
