"""The greedy choice of features, compared with a loop that tries every feature in every step."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.sparse import csr_matrix

from saeindex.concepts.resolver import Cover, cover, likely

M, N = 200, 40


def random_records(seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Return each record's likelihood and features, some of which are informative."""
    rng = np.random.default_rng(seed)
    likelihood = likely(rng.normal(size=M), 1.0, 2.0)
    present = rng.random((M, N)) < rng.uniform(0.005, 0.4, N)
    for feature in range(0, N, 5):
        present[:, feature] = (rng.random(M) < likelihood) & (rng.random(M) < 0.4)
    return likelihood, present


def f1(likelihood: np.ndarray, present: np.ndarray, features: list[int]) -> float:
    union = present[:, features].any(axis=1)
    return float(2 * likelihood[union].sum() / (union.sum() + likelihood.sum()))


def exhaustive(
    likelihood: np.ndarray, present: np.ndarray, allowed: list[int], most: int, named: list[int]
) -> list[int]:
    chosen = list(named)
    best = f1(likelihood, present, chosen)
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
@pytest.mark.parametrize("named", [[], [3], [0, 1]])
def test_the_choice_equals_an_exhaustive_greedy_loop(seed: int, named: list[int]) -> None:
    likelihood, present = random_records(seed)
    allowed = np.arange(0 if seed % 2 else 10, N)
    found = cover(likelihood, csr_matrix(present.astype(np.float32)), allowed, 8, named)
    assert list(found.features) == exhaustive(likelihood, present, allowed.tolist(), 8, named)


@pytest.mark.parametrize("seed", range(4))
def test_precision_recall_and_shares_are_those_of_the_union(seed: int) -> None:
    likelihood, present = random_records(seed)
    found = cover(likelihood, csr_matrix(present.astype(np.float32)), np.arange(N), 8)
    union = present[:, list(found.features)].any(axis=1)
    assert found.precision == pytest.approx(likelihood[union].mean())
    assert found.recall == pytest.approx(likelihood[union].sum() / likelihood.sum())
    shares = [likelihood[present[:, i]].mean() for i in found.features]
    assert found.shares == pytest.approx(shares)


def test_named_features_are_always_kept() -> None:
    likelihood, present = random_records(1)
    present[:, 7] = False
    found = cover(likelihood, csr_matrix(present.astype(np.float32)), np.arange(N), 8, named=[7])
    assert found.features[0] == 7
    assert len(found.features) > 1
    assert found.shares[0] == 0.0
    assert cover(likelihood, csr_matrix(present.astype(np.float32)), np.arange(0), 8, [7, 2]).features == (
        7,
        2,
    )


def test_allowed_features_are_added_to_named_ones() -> None:
    likelihood = np.array([0.9] * 20 + [0.1] * 80)
    present = np.zeros((100, 3), np.float32)
    present[:10, 2] = present[10:20, 0] = 1
    found = cover(likelihood, csr_matrix(present), np.array([2]), 8, named=[0, 1])
    assert found.features == (0, 1, 2)


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
    found = likely(scores, 1.0, 2.0)
    assert found[np.flatnonzero(scores == 1.0)[0]] == 0.5
    assert (np.diff(found) > 0).all()
    assert ((found > 0) & (found < 1)).all()
