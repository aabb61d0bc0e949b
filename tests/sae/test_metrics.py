"""Errors, neighbours, rankings and stability against sklearn, scipy and plain loops."""

from __future__ import annotations

from itertools import permutations

import numpy as np
import pytest
from numpy.typing import NDArray
from sklearn.metrics.pairwise import cosine_similarity
from sklearn.neighbors import NearestNeighbors

from saeindex.errors import InvalidInputError
from saeindex.sae import metrics
from saeindex.sae.metrics import (
    cosines,
    nearest,
    neighbour_overlap,
    nmse,
    seed_stability,
)

Floats = NDArray[np.float32]


def vectors(seed: int, rows: int = 120, dimension: int = 12) -> Floats:
    return np.random.default_rng(seed).normal(size=(rows, dimension)).astype(np.float32)


def noisy(x: Floats, seed: int, noise: float = 0.5) -> Floats:
    return (x + noise * vectors(seed, *x.shape)).astype(np.float32)


@pytest.fixture(autouse=True, params=[7, 512])
def block(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Block sizes that divide the rows, and one larger than all: results must not depend on it."""
    monkeypatch.setattr(metrics, "QUERY_BLOCK", request.param)


# Errors -----------------------------------------------------------------------------------------------


def test_nmse_is_the_error_as_a_share_of_the_variance_about_the_fit_mean() -> None:
    x, mean = vectors(0), vectors(1, 1)[0]
    reconstructed = noisy(x, 2)
    error = np.mean([np.sum((a - b) ** 2) for a, b in zip(x, reconstructed, strict=True)])
    variance = np.mean([np.sum((a - mean) ** 2) for a in x])
    assert nmse(x, reconstructed, mean) == pytest.approx(error / variance, rel=1e-5)
    assert nmse(x, x, mean) == 0
    assert nmse(x, np.broadcast_to(mean, x.shape), mean) == pytest.approx(1, rel=1e-6)


def test_cosines_equal_sklearn_and_are_0_for_a_zero_row() -> None:
    x, other = vectors(3), noisy(vectors(3), 4)
    np.testing.assert_allclose(cosines(x, other), np.diag(cosine_similarity(x, other)), atol=1e-6)
    assert cosines(x, np.zeros_like(x)).tolist() == [0] * len(x)


# Neighbours -------------------------------------------------------------------------------------------


def test_nearest_neighbours_equal_those_of_sklearn() -> None:
    x, queries = vectors(5), vectors(6, 30)
    searched = NearestNeighbors(n_neighbors=10, metric="cosine", algorithm="brute").fit(x)
    np.testing.assert_array_equal(nearest(queries, x), searched.kneighbors(queries, return_distance=False))
    np.testing.assert_array_equal(
        nearest(x, x, without_itself=True), searched.kneighbors(return_distance=False)
    )


def test_overlap_is_the_mean_share_of_neighbours_that_stay() -> None:
    x = vectors(7)
    reconstructed = noisy(x, 8)

    def neighbours(queries: Floats, documents: Floats) -> list[set[int]]:
        similarity = cosine_similarity(queries, documents)
        np.fill_diagonal(similarity, -np.inf)
        return [set(np.argsort(-row)[:10].tolist()) for row in similarity]

    true = neighbours(x, x)
    for queries in (None, x):
        found = neighbours(reconstructed if queries is None else queries, reconstructed)
        expected = np.mean([len(a & b) / 10 for a, b in zip(true, found, strict=True)])
        assert neighbour_overlap(x, reconstructed, queries=queries) == pytest.approx(expected)
    assert neighbour_overlap(x, x) == 1
    assert neighbour_overlap(x, 3 * x) == 1


def test_too_few_records_for_ten_neighbours_is_an_error() -> None:
    with pytest.raises(InvalidInputError, match="10 records"):
        neighbour_overlap(vectors(0, 10), vectors(0, 10))
    assert neighbour_overlap(vectors(0, 11), vectors(0, 11)) == 1


# Stability --------------------------------------------------------------------------------------------


def test_pairs_are_the_optimal_assignment() -> None:
    a, b = vectors(13, 5, 4), vectors(14, 6, 4)
    cosine = cosine_similarity(a, b)
    best = max(permutations(range(6), 5), key=lambda p: sum(cosine[i, j] for i, j in enumerate(p)))
    pairs = np.array([cosine[i, j] for i, j in enumerate(best)])
    assert seed_stability(a, b, threshold=0.4) == pytest.approx((pairs > 0.4).mean())


def test_a_permuted_and_scaled_dictionary_is_matched_completely() -> None:
    a = vectors(15, 60)
    shuffled = a[np.random.default_rng(1).permutation(60)] * 3
    assert seed_stability(a, shuffled) == seed_stability(a, shuffled, 10) == 1


def test_a_feature_matches_at_most_once() -> None:
    a = np.repeat(vectors(16, 1), 4, axis=0)
    assert seed_stability(a, np.concatenate([a[:1], -vectors(17, 3)])) == 0.25


def test_a_prefix_is_matched_with_the_whole_other_dictionary() -> None:
    a = vectors(18, 40)
    assert seed_stability(a, a[::-1].copy(), 5) == 1


@pytest.mark.parametrize("other", [(10, 5), (20_000, 12)])
def test_incomparable_dictionaries_are_refused(other: tuple[int, int]) -> None:
    with pytest.raises(InvalidInputError, match="compare dictionaries"):
        seed_stability(vectors(0), np.zeros(other, np.float32))
