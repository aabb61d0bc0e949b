"""Tails of sums over units equal those of random assignments, also far out."""

from __future__ import annotations

from itertools import permutations

import numpy as np
import pytest
from numpy.typing import NDArray

from saeindex.analysis.stats.unit_sums import UnitValues

DRAWS = 40_000


def long_tailed(units: int, columns: int, seed: int) -> NDArray[np.float64]:
    """Return what units add for words that few of them repeat."""
    rng = np.random.default_rng(seed)
    size = rng.integers(1, 60, units)[:, None]
    counts = rng.binomial(size, rng.beta(0.3, 3, (units, columns)))
    excess: NDArray[np.float64] = counts - size * counts.sum(0) / size.sum()
    return excess


@pytest.mark.parametrize(
    "scores",
    [np.arange(45) < 27, np.arange(150) < 15, np.arange(400) < 60, np.arange(45) // 4, np.arange(150) // 20],
    ids=["27 of 45", "15 of 150", "60 of 400", "12 periods", "8 periods"],
)
def test_tails_are_those_of_random_assignments(scores: NDArray[np.int64]) -> None:
    scores = scores.astype(np.float64)
    values = long_tailed(len(scores), 10, 0)
    prepared = UnitValues(values)
    rng = np.random.default_rng(1)
    drawn = np.stack([rng.permutation(scores) for _ in range(DRAWS)])
    sums = drawn @ values
    for column in range(values.shape[1]):
        order = np.argsort(sums[:, column])
        for part, tolerance in ((0.05, 0.12), (0.005, 0.25)):
            at = order[int((1 - part) * DRAWS)]
            above = (sums[:, column] > sums[at, column] + 1e-6).mean()
            equal = (np.abs(sums[:, column] - sums[at, column]) <= 1e-6).mean()
            _, more = prepared.tails(drawn[at], np.array([column]))
            assert more[0] == pytest.approx(above + equal / 2, rel=tolerance)


def test_the_largest_sum_has_the_chance_of_its_assignments() -> None:
    values = np.array([5.0, 3.0, 3.0, 1.0, 0.0, 0.0])
    scores = np.array([2.0, 1.0, 1.0, 1.0, 0.0, 0.0])
    sums = np.array([np.dot(values, one) for one in permutations(scores)])
    less, more = UnitValues(values[:, None]).tails(scores, np.array([0]))
    assert more[0] == pytest.approx((sums == sums.max()).mean() / 2)
    assert less[0] == pytest.approx(1 - more[0])
    mirrored = UnitValues(-values[:, None]).tails(scores, np.array([0]))
    assert (mirrored[0][0], mirrored[1][0]) == pytest.approx((more[0], less[0]))


@pytest.mark.parametrize("values", [np.zeros(6), np.full(6, 3.0)])
def test_values_without_differences_say_nothing(values: NDArray[np.float64]) -> None:
    less, more = UnitValues(values[:, None]).tails(np.arange(6.0), np.array([0]))
    assert (less[0], more[0]) == (0.5, 0.5)


def test_units_of_one_group_say_nothing() -> None:
    less, more = UnitValues(np.arange(6.0)[:, None]).tails(np.ones(6), np.array([0]))
    assert (less[0], more[0]) == (0.5, 0.5)
