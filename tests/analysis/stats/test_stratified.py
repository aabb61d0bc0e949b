"""Counts, design effects and stratified tests agree with loops, and control their error rates."""

from __future__ import annotations

from typing import TypeAlias

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.sparse import csr_matrix
from scipy.sparse import random as random_matrix
from scipy.stats import norm

from saeindex.analysis.stats.design import Design
from saeindex.analysis.stats.evidence import Evidence
from saeindex.analysis.stats.stratified import StratifiedCounts, compare_groups, design_effects
from saeindex.analysis.stats.unit_totals import UnitTotals, run_tests

RNG = np.random.default_rng(0)
Codes: TypeAlias = NDArray[np.int32]


def some_evidence(records: int, columns: int, density: float, seed: int = 0) -> Evidence:
    """Return independent evidence, each piece in ``density`` of the records."""
    has = random_matrix(records, columns, density, "csr", np.float32, np.random.default_rng(seed))
    has.data[:] = 1
    names = tuple(str(i) for i in range(columns))
    return Evidence("words", names, names, has)


def test_counts_equal_those_of_a_loop() -> None:
    evidence = some_evidence(60, 7, 0.3)
    groups = RNG.integers(0, 3, 60).astype(np.int32)
    strata = RNG.integers(0, 4, 60).astype(np.int32)
    counts = StratifiedCounts.of(evidence.has, groups, strata, 3)
    dense = evidence.has.toarray()
    for s in range(4):
        for g in range(3):
            rows = (strata == s) & (groups == g)
            assert counts.n[s, g] == rows.sum()
            assert counts.k[s, g] == pytest.approx(dense[rows].sum(0))


def test_the_design_effect_is_the_ratio_of_unit_and_record_variance() -> None:
    units = np.repeat(np.arange(30), 5).astype(np.int32)
    groups = np.repeat([0, 1], 75).astype(np.int32)
    by_unit = csr_matrix(np.repeat((RNG.random((30, 4)) < 0.4), 5, axis=0).astype(np.float32))
    effects = design_effects(by_unit, groups, units)
    assert effects == pytest.approx(5 * 15 / 14, rel=1e-6)  # records of a unit are copies of each other
    assert (design_effects(by_unit, groups, None) == 1).all()
    alone = some_evidence(3_000, 20, 0.3).has
    many = np.repeat(np.arange(1_000), 3).astype(np.int32)
    assert design_effects(alone, (np.arange(3_000) % 2).astype(np.int32), many).mean() < 1.05


def unequal_units(columns: int = 6) -> tuple[csr_matrix, Codes, Codes]:
    """Return evidence of 12 units of 1 to 9 records, their units, and the groups of 4 units and of 8.

    Records of a unit are alike in the first half of the columns, and independent in the others.
    """
    rng = np.random.default_rng(11)
    units = np.repeat(np.arange(12), rng.integers(1, 10, 12)).astype(np.int32)
    has = rng.random((len(units), columns)) < 0.4
    half = columns // 2
    has[:, :half] = (rng.random((12, half)) < 0.5)[units]
    return csr_matrix(has.astype(np.float32)), units, (units >= 4).astype(np.int32)


def effect_by_loop(y: NDArray[np.float64], units: Codes, groups: Codes) -> float:
    """Return Σ_g U_g/(U_g-1) Σ_u (y_u - p_g m_u)² / Σ_g n_g p_g (1 - p_g), y_u the sum of m_u records."""
    between, within = 0.0, 0.0
    for group in np.unique(groups):
        in_group = groups == group
        share = y[in_group].mean()
        members = np.unique(units[in_group])
        spread = sum((y[units == u].sum() - share * (units == u).sum()) ** 2 for u in members)
        between += len(members) / (len(members) - 1) * spread
        within += in_group.sum() * share * (1 - share)
    return between / within


def test_the_design_effect_of_unequal_units_and_groups_equals_that_of_a_loop() -> None:
    has, units, groups = unequal_units()
    expected = [effect_by_loop(y, units, groups) for y in has.toarray().T.astype(np.float64)]
    assert min(expected) < 0.95 and max(expected) > 2
    assert design_effects(has, groups, units, min_effect=0.0) == pytest.approx(expected, rel=1e-9)
    assert design_effects(has, groups, units) == pytest.approx(np.maximum(1.0, expected), rel=1e-9)
    _, counted = UnitTotals.of(has, groups, Design(np.zeros(len(units), np.int32), units), 2).counted(
        np.repeat([0, 1], [4, 8])
    )
    assert counted == pytest.approx(np.maximum(1.0, expected), rel=1e-9)


def test_units_of_records_that_differ_give_no_more_evidence_than_independent_records() -> None:
    # Each unit has one record with the evidence and one without: shares do not vary between units at all.
    units = np.repeat(np.arange(40), 2).astype(np.int32)
    groups = (units >= 20).astype(np.int32)
    has = csr_matrix((np.arange(80) % 2)[:, None].astype(np.float32))
    assert design_effects(has, groups, units, min_effect=0.0)[0] == pytest.approx(0.0, abs=1e-9)
    assert design_effects(has, groups, units)[0] == 1.0


def test_strata_are_tested_by_mantel_haenszel() -> None:
    k = np.array([[[40.0], [30.0]], [[90.0], [70.0]], [[25.0], [24.0]]])
    n = np.array([[100.0, 110.0], [200.0, 190.0], [80.0, 75.0]])
    tested = compare_groups(StratifiedCounts(k, n), np.ones(1))
    total, size = k.sum(1)[:, 0], n.sum(1)
    expected = n[:, 0] * total / size
    variance = n[:, 0] * n[:, 1] * total * (size - total) / (size**2 * (size - 1))
    z = (k[:, 0, 0].sum() - expected.sum()) / np.sqrt(variance.sum())
    # The normal approximation serves here: counts are large, and groups equal.
    assert tested.p[0] == pytest.approx(2 * norm.sf(abs(z)), rel=0.02)
    weights = n[:, 0] * n[:, 1] / size
    rates = k[:, 0, 0] / n[:, 0] - k[:, 1, 0] / n[:, 1]
    assert tested.effect[0] == pytest.approx((weights * rates).sum() / weights.sum())
    assert tested.low[0] < tested.effect[0] < tested.high[0]


def test_stratification_removes_a_confounder() -> None:
    stratum = (np.arange(4_000) % 2).astype(np.int32)
    groups = (RNG.random(4_000) < np.where(stratum == 1, 0.8, 0.2)).astype(np.int32)
    has = csr_matrix((RNG.random((4_000, 50)) < np.where(stratum == 1, 0.4, 0.1)[:, None]).astype(np.float32))
    names = tuple(map(str, range(50)))
    evidence = Evidence("words", names, names, has)
    plain = run_tests(evidence, groups, 2, Design(np.zeros(4_000, np.int32)))
    within = run_tests(evidence, groups, 2, Design(stratum))
    assert len(plain.found(0.05)) == 50
    assert len(within.found(0.05)) <= 1


def test_copies_of_a_record_add_no_evidence() -> None:
    evidence = some_evidence(60, 300, 0.3, seed=3)
    units = np.repeat(np.arange(60), 20).astype(np.int32)
    repeated = Evidence("words", evidence.keys, evidence.labels, evidence.has[units])
    groups = (units >= 30).astype(np.int32)
    design = Design(np.zeros(len(units), np.int32))
    naive = run_tests(repeated, groups, 2, design)
    assert len(naive.found(0.05)) > 100
    assert not len(run_tests(repeated, groups, 2, Design(design.strata, units)).found(0.05))


def test_of_three_groups_the_one_that_differs_is_named() -> None:
    groups = (np.arange(1_500) % 3).astype(np.int32)
    has = (RNG.random((1_500, 30)) < 0.2).astype(np.float32)
    has[:, 0] = RNG.random(1_500) < np.where(groups == 2, 0.5, 0.2)
    has[:, 1] = RNG.random(1_500) < np.where(groups == 0, 0.2, 0.5)  # two share it
    names = tuple(map(str, range(30)))
    test = run_tests(
        Evidence("words", names, names, csr_matrix(has)), groups, 3, Design(np.zeros(1_500, np.int32))
    )
    found = {(names[test.comparison.column[i]], int(test.comparison.group[i])) for i in test.found(0.05)}
    assert found == {("0", 2)}


def test_an_interval_covers_the_difference_in_95_percent_of_runs() -> None:
    k1, k2 = RNG.binomial(120, 0.1, 4_000), RNG.binomial(400, 0.04, 4_000)
    counts = StratifiedCounts(np.stack([k1, k2])[None].astype(float), np.array([[120.0, 400.0]]))
    tested = compare_groups(counts, np.ones(4_000))
    is_covered = (tested.low <= 0.06) & (tested.high >= 0.06)
    assert 0.93 < is_covered.mean() < 0.98


@pytest.mark.parametrize("n_strata", [1, 3])
def test_an_interval_includes_zero_exactly_where_its_test_finds_nothing(n_strata: int) -> None:
    rng = np.random.default_rng(5)
    n = rng.integers(10, 60, (n_strata, 2)).astype(float)
    k = rng.binomial(n[:, :, None].astype(int), rng.uniform(0.02, 0.5, 20_000)).astype(float)
    tested = compare_groups(StratifiedCounts(k, n), np.ones(20_000))
    is_found = tested.p <= 0.05
    assert 200 < is_found.sum() < 1_500
    # At a p of .05 itself the end is 0 up to rounding.
    sure = np.abs(tested.p - 0.05) > 1e-9
    for low, high in ((tested.low, tested.high), (tested.log_odds_low, tested.log_odds_high)):
        assert (((low > 0) | (high < 0)) == is_found)[sure].all()
        assert (low <= high).all()
    assert (tested.low <= tested.effect).all() and (tested.effect <= tested.high).all()
