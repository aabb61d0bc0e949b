"""Products of weights have the tails of permutations, whole or soft, common or sparse."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.stats import hypergeom, norm

from saeindex.analysis.stats.score_sums import product_p

Doubles = NDArray[np.float64]


def soft(rng: np.random.Generator, units: int, share: float) -> Doubles:
    """Return weights like those of a described concept: near 0 but for a few."""
    scores = rng.normal(size=units)
    weights: Doubles = 1 / (1 + np.exp(-3 * (scores - norm.isf(share))))
    return weights


def with_product(a: Doubles, b: Doubles, wanted: float, rng: np.random.Generator) -> Doubles:
    """Return ``b`` in an order in which Σ a b is close to ``wanted``."""
    ordered = rng.permutation(b)
    for _ in range(60_000):
        total = float(a @ ordered)
        i, j = rng.integers(len(a), size=2)
        changed = (a[i] - a[j]) * (ordered[j] - ordered[i])
        if abs(total + changed - wanted) < abs(total - wanted):
            ordered[[i, j]] = ordered[[j, i]]
    return ordered


@pytest.mark.parametrize(("units", "of_a", "of_b"), [(280, 14, 20), (1_000, 20, 50), (280, 60, 30)])
def test_whole_weights_have_the_tails_of_fishers_test(units: int, of_a: int, of_b: int) -> None:
    chance = hypergeom(units, of_a, of_b)
    compared = 0
    for k in range(min(of_a, of_b) + 1):
        half = chance.pmf(k) / 2
        exact = 2 * min(chance.sf(k) + half, chance.cdf(k) - half)
        if 1e-5 < exact < 0.05 and k > chance.mean():
            a, b = np.zeros(units), np.zeros(units)
            a[:of_a], b[:k], b[of_a : of_a + of_b - k] = 1, 1, 1
            assert 0.97 < product_p(a, b) / exact < 1.5
            compared += 1
    assert compared >= 3


@pytest.mark.parametrize(
    ("units", "share_a", "share_b"), [(280, 0.05, 0.02), (1_000, 0.02, 0.02), (2_000, 0.05, 0.05)]
)
def test_sparse_soft_weights_have_the_tails_of_permutations(
    units: int, share_a: float, share_b: float
) -> None:
    rng = np.random.default_rng(0)
    a, b = soft(rng, units, share_a), soft(rng, units, share_b)
    sums = np.array([a @ rng.permutation(b) for _ in range(20_000)])
    for share in (0.02, 0.002):
        wanted = float(np.quantile(sums, 1 - share))
        ordered = with_product(a, b, wanted, rng)
        assert a @ ordered == pytest.approx(wanted, rel=0.01)
        permuted = 2 * float((sums >= a @ ordered).mean())
        assert 0.6 < product_p(a, ordered) / permuted < 1.7
        # The normal approximation is far too small there.
        z = (a - a.mean()) @ (ordered - b.mean()) / (a.std() * b.std()) / np.sqrt(units)
        assert 2 * norm.sf(z) < 0.9 * permuted


def test_a_constant_weight_says_nothing() -> None:
    assert product_p(np.ones(50), np.arange(50.0)) == 1.0
    assert product_p(np.zeros(0), np.zeros(0)) == 1.0
