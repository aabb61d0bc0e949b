"""The greedy choice of features, compared with a loop that tries every feature in every step."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.sparse import csr_matrix

from saeindex.concepts.cover import MIN_RECORDS, MOST, Cover, cover, likely, meant_from

M, N = 200, 40


def random_records(seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Return each record's likelihood and features, some of which are informative."""
    rng = np.random.default_rng(seed)
    likelihood = likely(rng.normal(size=M), 1.0)
    present = rng.random((M, N)) < rng.uniform(0.005, 0.4, N)
    for feature in range(0, N, 5):
        present[:, feature] = (rng.random(M) < likelihood) & (rng.random(M) < 0.4)
    return likelihood, present


def f1(likelihood: np.ndarray, present: np.ndarray, features: list[int]) -> float:
    union = present[:, features].any(axis=1)
    return float(2 * likelihood[union].sum() / (union.sum() + likelihood.sum()))


def exhaustive(likelihood: np.ndarray, present: np.ndarray, allowed: list[int], most: int) -> list[int]:
    chosen: list[int] = []
    best = 0.0
    while len(chosen) < most:
        tried = [i for i in allowed if present[:, i].sum() >= 5]
        if not tried:
            break
        scores = {i: f1(likelihood, present, [*chosen, i]) for i in tried}
        best_feature = max(tried, key=lambda i: scores[i])
        if scores[best_feature] <= best * 1.01:
            break
        best = scores[best_feature]
        chosen.append(best_feature)
    return chosen


@pytest.mark.parametrize("seed", range(12))
def test_the_choice_equals_an_exhaustive_greedy_loop(seed: int) -> None:
    likelihood, present = random_records(seed)
    allowed = np.arange(0 if seed % 2 else 10, N)
    found = cover(likelihood, csr_matrix(present.astype(np.float32)), allowed, 8)
    assert list(found.features) == exhaustive(likelihood, present, allowed.tolist(), 8)


@pytest.mark.parametrize("seed", range(4))
def test_precision_recall_and_shares_are_those_of_the_union(seed: int) -> None:
    likelihood, present = random_records(seed)
    found = cover(likelihood, csr_matrix(present.astype(np.float32)), np.arange(N), 8)
    union = present[:, list(found.features)].any(axis=1)
    assert found.precision == pytest.approx(likelihood[union].mean())
    assert found.recall == pytest.approx(likelihood[union].sum() / likelihood.sum())
    shares = [likelihood[present[:, i]].mean() for i in found.features]
    assert found.shares == pytest.approx(shares)


def test_without_allowed_features_nothing_is_chosen() -> None:
    likelihood, present = random_records(2)
    matrix = csr_matrix(present.astype(np.float32))
    assert cover(likelihood, matrix, np.arange(0), 8) == Cover((), (), 0.0, 0.0)
    assert cover(likelihood, csr_matrix((M, N), dtype=np.float32), np.arange(N), 8) == Cover((), (), 0.0, 0.0)
    assert cover(likelihood, matrix, np.arange(N), 0).features == ()


def test_very_rare_features_are_not_chosen() -> None:
    likelihood = np.array([1.0] * 4 + [0.001] * 96)
    present = np.zeros((100, 1), np.float32)
    present[:4] = 1
    assert cover(likelihood, csr_matrix(present), np.arange(1), 8).features == ()
    present[4] = 1
    assert cover(likelihood, csr_matrix(present), np.arange(1), 8).features == (0,)


def test_likelihood_is_one_half_at_the_floor_and_rises() -> None:
    scores = np.linspace(-6, 6, 25)
    found = likely(scores, 1.0)
    assert found[np.flatnonzero(scores == 1.0)[0]] == 0.5
    assert (np.diff(found) > 0).all()
    assert ((found > 0) & (found < 1)).all()


@pytest.mark.parametrize("share", [0.02, 0.1, 0.3, 0.5])
def test_a_group_that_stands_apart_is_meant_whatever_its_size(share: float) -> None:
    rng = np.random.default_rng(1)
    apart = np.arange(1_000) < share * 1_000
    scores = rng.normal(size=1_000) + 6 * apart
    scores = (scores - scores.mean()) / scores.std()
    assert ((scores >= meant_from(scores)) == apart).mean() > 0.99


def test_a_threshold_is_between_scores_and_leaves_some_on_either_side() -> None:
    rng = np.random.default_rng(2)
    for size in (2 * MIN_RECORDS, 50, 500):
        scores = rng.normal(size=size)
        above = (scores >= meant_from(scores)).sum()
        assert MIN_RECORDS <= above <= MOST * size
    few = np.array([2.0, 0.5, -2.5])
    assert (few >= meant_from(few)).sum() == 1
    assert meant_from(np.ones(1)) == 1.0


def test_named_features_come_first_if_most_of_their_records_are_meant() -> None:
    likelihood = np.array([0.9] * 20 + [0.1] * 80)
    present = np.zeros((100, 4), np.float32)
    present[:10, 0] = present[10:20, 1] = present[15:60, 2] = 1
    found = cover(likelihood, csr_matrix(present), np.array([0]), 8, named=[2, 1, 3])
    assert found.features == (1, 0)
    assert found.shares == pytest.approx((0.9, 0.9))
