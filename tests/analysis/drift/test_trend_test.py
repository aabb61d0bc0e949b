"""The line and the best split share one error rate, the search has its price, and units count once."""

from __future__ import annotations

from typing import Any, TypeAlias

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.sparse import csr_matrix
from scipy.stats import binom, norm

from saeindex.analysis.drift.trend_test import (
    MIN_CROSSED,
    PeriodTotals,
    TrendTest,
    best_split,
    centred,
    run_trends,
    searched,
    split_tails,
)
from saeindex.analysis.stats.design import Design
from saeindex.analysis.stats.evidence import Evidence
from saeindex.analysis.stats.stratified import StratifiedCounts, compare_groups

Codes: TypeAlias = NDArray[np.int32]


def trends_in(has: NDArray[Any], codes: NDArray[Any]) -> TrendTest:
    """Return the tests of independent records in periods."""
    names = tuple(map(str, range(has.shape[1])))
    evidence = Evidence("words", names, names, csr_matrix(has.astype(np.float32)))
    scores = np.arange(codes.max() + 1, dtype=np.float64)
    return run_trends(evidence, codes.astype(np.int32), scores, Design(np.zeros(len(codes), np.int32)))


def test_seven_tenths_of_the_error_rate_are_for_the_line_and_three_for_the_split() -> None:
    rng = np.random.default_rng(0)
    codes = rng.integers(0, 6, 800)
    share = np.linspace(0.2, 0.45, 6)[codes][:, None] * np.array([1.0, 0.5, 0.0]) + np.array([0, 0.1, 0.2])
    share = np.column_stack([share, np.where(codes >= 4, 0.4, 0.2), np.full((800, 40), 0.2)])
    found = trends_in(rng.random(share.shape) < share, codes)
    expected = np.minimum(1.0, np.minimum(found.trend.p / 0.7, found.splits.p / 0.3))
    assert found.p == pytest.approx(expected, rel=1e-12)
    by_line = found.trend.p / 0.7 < found.splits.p / 0.3
    assert by_line.any() and (~by_line).any()
    assert (found.p >= np.minimum(found.trend.p, found.splits.p)).all()


def test_the_best_split_has_the_p_value_of_its_two_groups_with_the_price_of_the_search() -> None:
    rng = np.random.default_rng(1)
    codes = rng.choice(5, 900, p=[0.3, 0.1, 0.2, 0.1, 0.3]).astype(np.int32)
    has = csr_matrix((rng.random((900, 30)) < 0.25 + 0.1 * (codes[:, None] >= 3)).astype(np.float32))
    strata, records = np.zeros(900, np.int32), np.bincount(codes).astype(float)
    sides = split_tails(StratifiedCounts.of(has, codes, strata, 5), np.ones(30))
    splits = best_split(sides, np.ones(30), records)
    of_each = np.stack([
        compare_groups(
            StratifiedCounts.of(has, (codes < at).astype(np.int32), strata, 2), np.ones(30)
        ).p
        for at in range(1, 5)
    ])  # fmt: skip
    best = of_each.min(0)
    assert splits.at.tolist() == (of_each.argmin(0) + 1).tolist()
    assert splits.p == pytest.approx(searched(best, records), rel=0.02)
    # The chance that any of four correlated splits is this far out, by simulation.
    x = rng.standard_normal((200_000, 5)) * np.sqrt(records)
    x -= records * (x.sum(1) / records.sum())[:, None]
    before = np.cumsum(records)[:-1]
    z = np.abs(np.cumsum(x, 1)[:, :-1] / np.sqrt(before * (1 - before / records.sum()))).max(1)
    simulated = np.array([(z >= norm.isf(p / 2)).mean() for p in best])
    frequent = simulated > 0.005
    assert frequent.sum() > 5
    assert splits.p[frequent] == pytest.approx(simulated[frequent], rel=0.15, abs=0.002)


def test_p_values_of_records_without_drift_are_rarely_small() -> None:
    columns = 4_000
    rng = np.random.default_rng(2)
    found = trends_in(
        rng.random((1_500, columns)) < rng.uniform(0.1, 0.5, columns), rng.integers(0, 6, 1_500)
    )
    for alpha in (0.01, 0.05, 0.1):
        assert binom.cdf(int((found.p <= alpha).sum()), columns, alpha) < 0.999
        assert binom.cdf(int((found.splits.p <= alpha).sum()), columns, alpha) < 0.999


def effect_by_loop(
    y: NDArray[Any], codes: Codes, units: Codes, strata: Codes, scores: NDArray[np.float64]
) -> float:
    """Return U/(U-1) Σ_u (Σ a (y - p))² over units, with a the centred score, over that of records."""
    totals = np.zeros(units.max() + 1)
    alone = 0.0
    for stratum in np.unique(strata):
        rows = np.flatnonzero(strata == stratum)
        a = scores[codes[rows]] - scores[codes[rows]].mean()
        share, m = y[rows].mean(), len(rows)
        np.add.at(totals, units[rows], a * (y[rows] - share))
        alone += share * (1 - share) * m / (m - 1) * (a**2).sum()
    return len(totals) / (len(totals) - 1) * float((totals**2).sum()) / alone


@pytest.mark.parametrize("is_crossed", [False, True])
def test_the_design_effect_of_a_line_equals_that_of_a_loop_and_has_a_floor(is_crossed: bool) -> None:
    rng = np.random.default_rng(3)
    units = np.repeat(np.arange(15), rng.integers(4, 12, 15)).astype(np.int32)
    strata = rng.integers(0, 2, len(units)).astype(np.int32)
    periods = rng.integers(0, 4, len(units)) if is_crossed else (np.arange(15) % 4)[units]
    codes = periods.astype(np.int32)
    alike = (rng.random((15, 8)) < 0.5)[units]
    # Every second record of a unit has it: the units hardly differ.
    unlike = np.repeat((np.arange(len(units)) % 2 == 0)[:, None], 8, 1)
    has = np.hstack([alike, rng.random((len(units), 8)) < 0.4, unlike])
    scores = np.array([0.0, 1.0, 3.0, 4.0])
    totals = PeriodTotals.of(csr_matrix(has.astype(np.float32)), codes, Design(strata, units), scores)
    assert totals.is_crossed == is_crossed
    counts, effects = totals.counted()
    assert centred(counts.n, scores).shape == (2, 4)
    expected = np.array([effect_by_loop(y, codes, units, strata, scores) for y in has.T.astype(float)])
    floor = MIN_CROSSED if is_crossed else 1.0
    assert effects == pytest.approx(np.maximum(floor, expected), rel=1e-6)
    assert MIN_CROSSED < 1 and (is_crossed or expected.min() < 1 < expected.max())


def test_p_values_of_units_in_one_period_each_are_those_of_permuted_units() -> None:
    # 6 documents in 3 periods: only the documents can be permuted, in 90 ways.
    rng = np.random.default_rng(4)
    units = np.repeat(np.arange(6), 80).astype(np.int32)
    codes = (units // 2).astype(np.int32)
    has = rng.random((480, 30)) < (rng.random((6, 30)) < 0.5)[units] * 0.8 + 0.1
    names = tuple(map(str, range(30)))
    evidence = Evidence("words", names, names, csr_matrix(has.astype(np.float32)))
    by_unit = run_trends(evidence, codes, np.arange(3.0), Design(np.zeros(480, np.int32), units))
    naive = run_trends(evidence, codes, np.arange(3.0), Design(np.zeros(480, np.int32)))
    assert naive.p.min() < 1e-20
    # 60 permutations of 30 columns: no p is below 1 / 1,801, and few are as small as that.
    assert by_unit.p.min() >= 1 / 1_801
    assert binom.sf(int((by_unit.p <= 0.05).sum()), 30, 0.05) > 1e-4


@pytest.mark.slow
def test_a_period_that_has_none_of_a_word_by_chance_is_no_finding_for_units_that_are_in_all_periods() -> None:
    """Words that some prompts give to some of their responses, whose periods are assigned at random."""
    rng = np.random.default_rng(5)
    units, n_periods, runs = 320, 8, 30
    owners = np.repeat(np.arange(units), n_periods)
    names = tuple(map(str, range(400)))
    found = 0
    for _ in range(runs):
        of_unit = (rng.random((units, 400)) < 0.06) * rng.uniform(0.1, 0.4, 400)
        has = rng.random((len(owners), 400)) < of_unit[owners]
        codes = rng.permuted(np.tile(np.arange(n_periods), (units, 1)), axis=1).ravel().astype(np.int32)
        evidence = Evidence("words", names, names, csr_matrix(has.astype(np.float32)))
        design = Design(np.zeros(len(codes), np.int32), owners.astype(np.int32))
        test = run_trends(evidence, codes, np.arange(n_periods, dtype=np.float64), design)
        found += bool(len(test.found(0.05)))
    assert binom.sf(found - 1, runs, 0.05) > 0.01, found
