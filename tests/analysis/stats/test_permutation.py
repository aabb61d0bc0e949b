"""Permutations are of whole units: p-values equal those over every assignment of units to groups."""

from __future__ import annotations

from itertools import combinations, permutations
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.sparse import csr_matrix

from saeindex.analysis.stats import permutation
from saeindex.analysis.stats.design import Design
from saeindex.analysis.stats.evidence import Evidence
from saeindex.analysis.stats.family_test import run_tests
from saeindex.analysis.stats.permutation import UnitTotals, against_chance, permuted_p
from saeindex.analysis.stats.stratified import StratifiedCounts, compare_groups, design_effects

UNITS, COLUMNS = 8, 40
SIZES = np.array([3, 9, 5, 12, 4, 7, 10, 6])
OWNERS = np.repeat(np.arange(UNITS), SIZES).astype(np.int32)
STRATA = np.zeros(len(OWNERS), np.int32)
GROUPS = (OWNERS >= UNITS // 2).astype(np.int32)


def alike_records(seed: int = 0) -> csr_matrix:
    """Return evidence (m, f) that records of a unit nearly always share."""
    rng = np.random.default_rng(seed)
    share = np.where(rng.random((UNITS, COLUMNS)) < 0.5, 0.85, 0.1)
    return csr_matrix((rng.random((len(OWNERS), COLUMNS)) < share[OWNERS]).astype(np.float32))


def p_with(has: csr_matrix, groups: NDArray[Any]) -> NDArray[np.float64]:
    """Return the p-values with the records in these groups (m,)."""
    codes = groups.astype(np.int32)
    counts = StratifiedCounts.of(has, codes, STRATA, 2)
    return compare_groups(counts, design_effects(has, codes, OWNERS)).p


def p_over_all_assignments(has: csr_matrix) -> NDArray[np.float64]:
    """Return the sorted p-values (a, f) over every choice of half of the units."""
    chosen = [np.isin(OWNERS, ids) for ids in combinations(range(UNITS), UNITS // 2)]
    return np.sort(np.concatenate([p_with(has, ~one) for one in chosen]))


def test_p_values_of_few_units_equal_those_over_every_assignment_of_units(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(permutation, "PERMUTATIONS", 4_000)
    has = alike_records()
    totals = UnitTotals.of(has, GROUPS, Design(STRATA, OWNERS), 2)
    p = p_with(has, GROUPS)
    every = p_over_all_assignments(has)
    expected = np.maximum(p, np.searchsorted(every, p * (1 + 1e-9), side="right") / len(every))
    found = against_chance(p, totals, seed=3)
    assert found == pytest.approx(expected, abs=0.01)
    # The test differs here: without permutations the smallest are several times smaller.
    assert (expected > 2 * p).any()


def test_a_difference_between_two_documents_is_not_found_however_many_records_they_have() -> None:
    has = csr_matrix(np.repeat([[1.0], [0.0]], 200, axis=0).astype(np.float32))
    groups = np.repeat([0, 1], 200).astype(np.int32)
    owners = np.repeat(np.arange(6), [67, 67, 66, 67, 67, 66]).astype(np.int32)
    evidence = Evidence("words", ("x",), ("x",), has)
    tested = run_tests(evidence, groups, 2, Design(np.zeros(400, np.int32), owners))
    # Of the 20 ways to choose three of six units, two separate them as well.
    assert 0.05 < tested.comparison.tested.p[0] < 0.25
    alone = run_tests(evidence, groups, 2, Design(np.zeros(400, np.int32)))
    assert alone.comparison.tested.p[0] < 1e-50


def test_each_permutation_keeps_units_whole_and_groups_as_large() -> None:
    groups = np.array([0, 0, 1, 1, 1, 2])
    seen = []

    def tested(permuted: NDArray[np.int64]) -> NDArray[np.float64]:
        seen.append(tuple(permuted.tolist()))
        return np.array([0.5, 0.01])

    p = permuted_p(np.array([0.02, 0.6]), groups, tested, seed=0)
    assert len(seen) == permutation.PERMUTATIONS
    assert set(seen) <= set(permutations(groups.tolist()))
    assert len(set(seen)) > 20
    count = 2 * len(seen)
    assert p == pytest.approx([(count / 2 + 1) / (count + 1), 1.0])


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
