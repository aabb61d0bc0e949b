"""Comparisons within units: McNemar's test for one record per side, shares for several."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.sparse import csr_matrix
from scipy.stats import binom

from saeindex.analysis.stats.unit_totals import compare_pairs


def difference_by_loop(
    y: NDArray[Any], groups: NDArray[Any], strata: NDArray[Any], units: NDArray[Any]
) -> NDArray[np.float64]:
    """Return each pair's share of the first group's records with ``y`` (m,) less that of the second's."""
    found = []
    for unit in np.unique(units):
        for stratum in np.unique(strata):
            sides = [y[(units == unit) & (strata == stratum) & (groups == group)] for group in (0, 1)]
            if all(len(side) for side in sides):
                found.append(sides[0].mean() - sides[1].mean())
    return np.array(found)


def test_one_record_on_each_side_is_mcnemar_s_exact_test_mid_p() -> None:
    rng = np.random.default_rng(0)
    units, groups = np.tile(np.arange(50), 2), np.repeat([0, 1], 50)
    has = rng.random((100, 20)) < np.where(groups == 0, 0.5, 0.3)[:, None]
    tested, pairs = compare_pairs(
        csr_matrix(has.astype(np.float32)), groups.astype(np.int32), np.zeros(100, np.int32),
        units.astype(np.int32),
    )  # fmt: skip
    assert pairs == 50
    up, down = (has[:50] & ~has[50:]).sum(0), (~has[:50] & has[50:]).sum(0)
    n, larger = up + down, np.maximum(up, down)
    mid_p = 2 * binom.sf(larger, n, 0.5) + binom.pmf(larger, n, 0.5)
    assert tested.p == pytest.approx(np.minimum(1.0, mid_p), abs=1e-9)
    assert tested.effect == pytest.approx(has[:50].mean(0) - has[50:].mean(0))


@pytest.mark.parametrize("n_strata", [1, 2])
def test_several_records_of_a_unit_in_a_group_count_as_their_share(n_strata: int) -> None:
    rng = np.random.default_rng(n_strata)
    m = 400
    units, strata = rng.integers(0, 30, m), rng.integers(0, n_strata, m)
    groups = (rng.random(m) < 0.3).astype(int)
    has = rng.random((m, 8)) < np.where(groups == 0, 0.5, 0.25)[:, None]
    tested, pairs = compare_pairs(
        csr_matrix(has.astype(np.float32)),
        *(codes.astype(np.int32) for codes in (groups, strata, units)),
    )
    for column in range(8):
        difference = difference_by_loop(has[:, column], groups, strata, units)
        assert pairs == len(difference)
        assert tested.effect[column] == pytest.approx(difference.mean(), abs=1e-9)
        up, down = difference[difference > 0].sum(), -difference[difference < 0].sum()
        assert tested.log_odds[column] == pytest.approx(np.log((up + 0.5) / (down + 0.5)), abs=1e-9)


def test_a_unit_with_many_records_weighs_as_much_as_any_other() -> None:
    # One unit has 100 records in the first group; the others contradict it with one each.
    units = np.array([0] * 101 + [1, 1, 2, 2, 3, 3])
    groups = np.array([0] * 100 + [1] + [0, 1] * 3)
    y = np.array([1] * 100 + [0] + [0, 1] * 3)
    tested, pairs = compare_pairs(
        csr_matrix(y[:, None].astype(np.float32)),
        groups.astype(np.int32), np.zeros(len(y), np.int32), units.astype(np.int32),
    )  # fmt: skip
    assert pairs == 4
    assert tested.effect[0] == pytest.approx((1 - 3) / 4)
    # One of four pairs is up, by chance at most one is with 5 / 16: half of the ties, both sides.
    assert tested.p[0] == pytest.approx(2 * (1 / 16 + 4 / 16 / 2))


def test_copies_of_records_within_units_change_no_test() -> None:
    rng = np.random.default_rng(5)
    units, groups = np.tile(np.arange(40), 2), np.repeat([0, 1], 40)
    has = rng.random((80, 10)) < np.where(groups == 0, 0.5, 0.2)[:, None]
    copies = np.repeat(np.arange(80), rng.integers(1, 6, 80))
    once, again = (
        compare_pairs(
            csr_matrix(has[rows].astype(np.float32)), groups[rows].astype(np.int32),
            np.zeros(len(rows), np.int32), units[rows].astype(np.int32),
        )[0]
        for rows in (np.arange(80), copies)
    )  # fmt: skip
    for name in ("p", "effect", "low", "high", "log_odds"):
        np.testing.assert_allclose(getattr(again, name), getattr(once, name), atol=1e-6)
