"""Whole units are assigned to groups: p-values equal those over every assignment."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.sparse import csr_matrix

from saeindex.analysis.stats.design import Design
from saeindex.analysis.stats.evidence import Evidence
from saeindex.analysis.stats.stratified import StratifiedCounts, design_effects
from saeindex.analysis.stats.unit_totals import UnitTotals, run_tests

UNITS, COLUMNS = 12, 40
SIZES = np.array([3, 9, 5, 12, 4, 7, 10, 6, 8, 2, 11, 13])
OWNERS = np.repeat(np.arange(UNITS), SIZES).astype(np.int32)
GROUPS = (OWNERS >= UNITS // 2).astype(np.int32)


def alike_records(seed: int = 0) -> csr_matrix:
    """Return evidence (m, f) that records of a unit nearly always share."""
    rng = np.random.default_rng(seed)
    share = np.where(rng.random((UNITS, COLUMNS)) < 0.5, 0.85, 0.1)
    return csr_matrix((rng.random((len(OWNERS), COLUMNS)) < share[OWNERS]).astype(np.float32))


def over_all_assignments(has: csr_matrix, strata: NDArray[np.int32]) -> NDArray[np.float64]:
    """Return Mantel and Haenszel's sums (a, f) over every choice of half of the units."""
    dense = has.toarray().astype(np.float64)
    expected = np.stack([dense[strata == stratum].mean(0) for stratum in range(strata.max() + 1)])
    excess = np.stack([(dense - expected[strata])[unit == OWNERS].sum(0) for unit in range(UNITS)])
    return np.stack([excess[list(ids)].sum(0) for ids in combinations(range(UNITS), UNITS // 2)])


@pytest.mark.parametrize("n_strata", [1, 3])
def test_tails_equal_those_over_every_assignment_of_units(n_strata: int) -> None:
    strata = np.random.default_rng(4).integers(0, n_strata, len(OWNERS)).astype(np.int32)
    has = alike_records()
    totals = UnitTotals.of(has, GROUPS, Design(strata, OWNERS), 2)
    less, more = totals.tails(0, 1, np.arange(COLUMNS))
    sums = over_all_assignments(has, strata)
    observed = sums[0]  # the first combination is that of the first units, which are group 0
    equal = (np.abs(sums - observed) < 1e-9).mean(0) / 2
    # The steps of so few assignments are a sixth of the smallest tails here.
    np.testing.assert_allclose(more, (sums > observed + 1e-9).mean(0) + equal, rtol=0.15, atol=0.004)
    np.testing.assert_allclose(less, (sums < observed - 1e-9).mean(0) + equal, rtol=0.15, atol=0.004)


def test_a_difference_between_two_documents_is_not_found_however_many_records_they_have() -> None:
    has = csr_matrix(np.repeat([[1.0], [0.0]], 200, axis=0).astype(np.float32))
    groups = np.repeat([0, 1], 200).astype(np.int32)
    owners = np.repeat(np.arange(6), [67, 67, 66, 67, 67, 66]).astype(np.int32)
    evidence = Evidence("words", ("x",), ("x",), has)
    tested = run_tests(evidence, groups, 2, Design(np.zeros(400, np.int32), owners))
    # One of the 20 ways to choose three of six units, and half of it counts, on both sides.
    assert tested.comparison.tested.p[0] == pytest.approx(0.05)
    alone = run_tests(evidence, groups, 2, Design(np.zeros(400, np.int32)))
    assert alone.comparison.tested.p[0] < 1e-50


def test_each_of_three_groups_is_tested_with_the_units_of_two_alone() -> None:
    has = alike_records(1)
    three = (OWNERS % 3).astype(np.int32)
    design = Design(np.zeros(len(OWNERS), np.int32), OWNERS)
    less, _ = UnitTotals.of(has, three, design, 3).tails(0, 2, np.arange(COLUMNS))
    rows = np.flatnonzero(three != 1)
    pair = Design(design.strata[rows], OWNERS[rows])
    own, _ = UnitTotals.of(has[rows], (three[rows] == 2).astype(np.int32), pair, 2).tails(
        0, 1, np.arange(COLUMNS)
    )
    np.testing.assert_allclose(less, own)


def test_counts_with_permuted_units_equal_a_recount_of_the_records() -> None:
    rng = np.random.default_rng(2)
    has, strata = alike_records(), rng.integers(0, 3, len(OWNERS)).astype(np.int32)
    totals = UnitTotals.of(has, GROUPS, Design(strata, OWNERS), 2)
    for _ in range(5):
        groups = rng.permutation(np.arange(UNITS) % 2)
        counts, effects = totals.counted(groups)
        expected = StratifiedCounts.of(has, groups[OWNERS].astype(np.int32), strata, 2)
        np.testing.assert_allclose(counts.k, expected.k)
        np.testing.assert_allclose(counts.n, expected.n)
        np.testing.assert_allclose(
            effects, design_effects(has, groups[OWNERS].astype(np.int32), OWNERS), rtol=1e-9
        )
