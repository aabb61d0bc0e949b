"""Tests of many tables at once agree with scipy's tests of one, and control their level."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.sparse import csr_matrix
from scipy.stats import binom, hypergeom

from saeindex.analysis.stats.two_by_two import adjusted, one_sided, two_sided
from saeindex.analysis.stats.unit_totals import compare_pairs


def midp(k1: int, n1: int, k2: int, n2: int) -> float:
    """Return the doubled mid-p value of one table, from scipy's hypergeometric distribution."""
    of_first = hypergeom(n1 + n2, n1, k1 + k2)
    below = of_first.cdf(k1) - 0.5 * of_first.pmf(k1)
    above = of_first.sf(k1 - 1) - 0.5 * of_first.pmf(k1)
    return float(min(1.0, 2 * min(below, above)))


@settings(max_examples=150, deadline=None)
@given(st.integers(1, 400), st.integers(1, 400), st.data())
def test_small_tables_are_tested_exactly(n1: int, n2: int, data: st.DataObject) -> None:
    k1, k2 = data.draw(st.integers(0, min(n1, 19))), data.draw(st.integers(0, min(n2, 19)))
    expected = min(k1 + k2, n1 + n2 - k1 - k2) * min(n1, n2) / (n1 + n2)
    assert expected < 20
    assert two_sided(k1, n1, k2, n2)[0] == pytest.approx(midp(k1, n1, k2, n2), abs=1e-9)


def test_exact_and_approximate_tails_agree_where_they_meet() -> None:
    k = np.arange(5, 90)
    found = two_sided(k, 500, 40, 500)
    exact = [midp(int(one), 500, 40, 500) for one in k]
    assert np.abs(np.log(found) - np.log(exact)).max() < 0.02


@settings(max_examples=50, deadline=None)
@given(st.integers(0, 30), st.integers(30, 200), st.integers(0, 30), st.integers(30, 200))
def test_swapping_the_groups_changes_the_sign(k1: int, n1: int, k2: int, n2: int) -> None:
    below, above = one_sided(k1, n1, k2, n2)
    swapped = one_sided(k2, n2, k1, n1)
    assert above[0] == pytest.approx(swapped[0][0], abs=1e-9)
    assert below[0] == pytest.approx(swapped[1][0], abs=1e-9)


def test_the_level_is_controlled_with_unequal_groups() -> None:
    rng = np.random.default_rng(0)
    totals = rng.integers(5, 400, 20_000)
    k1 = rng.hypergeometric(100, 2_000, totals)
    p = two_sided(k1, 100, totals - k1, 2_000)
    for level in (0.05, 0.01, 0.001):
        assert (p <= level).mean() <= level * 1.35 + 3e-4


def test_false_discovery_rates_equal_the_definition() -> None:
    p = np.array([0.001, 0.2, 0.01, 0.04, 0.9])
    by_hand = np.array([0.001 * 5, 0.2 * 5 / 4, 0.01 * 5 / 2, 0.04 * 5 / 3, 0.9])
    assert adjusted(p) == pytest.approx(by_hand)
    harmonic = sum(1 / i for i in range(1, 6))
    assert adjusted(p, "by") == pytest.approx(np.minimum(1, by_hand * harmonic))
    assert len(adjusted([])) == 0


def test_paired_groups_are_tested_by_discordant_pairs() -> None:
    first, second = np.zeros(40), np.zeros(40)
    first[:12], second[10:15] = 1, 1  # two pairs agree, ten are only the first's, three only the second's
    has = csr_matrix(np.concatenate([first, second])[:, None])
    groups, units = np.repeat([0, 1], 40).astype(np.int32), np.tile(np.arange(40), 2).astype(np.int32)
    tested, pairs = compare_pairs(has, groups, np.zeros(80, np.int32), units)
    half = binom.sf(9, 13, 0.5) - 0.5 * binom.pmf(10, 13, 0.5)
    assert pairs == 40
    assert tested.more[0] == pytest.approx(half)
    assert tested.effect[0] == pytest.approx(7 / 40)
