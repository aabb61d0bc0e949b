"""The steps of clustering against independent computations: fits, measures, the baseline, the verdict."""

from __future__ import annotations

import networkx as nx
import numpy as np
import pytest
from scipy.sparse import csr_matrix
from sklearn.metrics import jaccard_score, normalized_mutual_info_score, silhouette_samples

from saeindex.analysis.cluster.anchored_em import EXAMPLE, Whitened, settle, smoothed, soft, standardised
from saeindex.analysis.cluster.cluster import jaccard
from saeindex.analysis.cluster.quality import (
    FAILS_FROM,
    agreement,
    conductances,
    distinctive,
    judge,
    neighbour_graph,
    signs_of,
    silhouettes,
)
from saeindex.analysis.cluster.results import Signs
from saeindex.collection.sample import nearest_rows

RNG = np.random.default_rng(5)
G = RNG.normal(size=(40, 6))


def whitened(g: np.ndarray) -> Whitened:
    return Whitened(g, (g**2).sum(1) / len(g))


def clouds(separation: float, count: int = 60) -> tuple[np.ndarray, np.ndarray]:
    """Two clouds of points in ten dimensions, the first cloud twice as large; and the cloud of each point."""
    truth = np.repeat([0, 1], [2 * count, count])
    x = np.random.default_rng(1).normal(size=(3 * count, 10))
    x[:, 0] += separation * truth
    return x - x.mean(0), truth


def test_a_fit_leaves_its_own_record_out() -> None:
    shares = soft(RNG.normal(size=(40, 3)))
    weight = RNG.uniform(0.5, 2.0, 40)
    centred = weight[:, None] * (shares - shares.mean(0))
    for row in range(5):
        others = np.delete(np.arange(40), row)
        expected = G[row] @ (G[others].T @ centred[others]) / 40
        assert whitened(G).fit(shares, weight)[row] == pytest.approx(expected, abs=1e-12)


def test_em_converges_to_the_separation_from_a_vague_start() -> None:
    x, truth = clouds(6.0)
    vague = np.stack([-truth, truth], 1) + np.random.default_rng(2).normal(scale=2.0, size=(len(x), 2))
    start = standardised(vague)
    ended = settle(whitened(x), start)
    assert agreement(truth, start.argmax(1))["ari"] < 0.5
    assert agreement(truth, ended.codes)["ari"] > 0.7


def test_each_round_adds_the_start_to_the_fit_by_the_other_records() -> None:
    start = standardised(RNG.normal(size=(40, 2)))
    shares = np.exp(5.0 * start) / np.exp(5.0 * start).sum(1, keepdims=True)
    for _ in range(30):
        centred = shares - shares.mean(0)
        fit = np.array([
            sum((G[row] @ G[other]) * centred[other] for other in range(40) if other != row) / 40
            for row in range(40)
        ])  # fmt: skip
        logits = (fit - fit.mean(0)) / fit.std(0) + 0.4 * start
        moved = np.abs(np.exp(5.0 * logits) / np.exp(5.0 * logits).sum(1, keepdims=True) - shares).mean()
        shares = np.exp(5.0 * logits) / np.exp(5.0 * logits).sum(1, keepdims=True)
        if moved < 1e-3 / 2:
            break
    ended = settle(whitened(G), start)
    np.testing.assert_allclose(ended.logits, logits, atol=1e-6)
    np.testing.assert_allclose(ended.shares, shares, atol=1e-6)


@pytest.mark.parametrize("seed", [1, 2, 3, 8])
def test_clusters_stay_near_the_described_values_beside_another_separation(
    seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Records separate along two axes: the start describes the first, and the second is larger.
    rng = np.random.default_rng(seed)
    described, other = rng.integers(0, 2, (2, 300))
    x = rng.normal(size=(300, 10))
    x[:, 0] += 3.5 * described
    x[:, 1:3] += 3.0 * other[:, None]
    vague = np.stack([-described, described], 1) + rng.normal(scale=0.5, size=(300, 2))
    start = standardised(vague + 0.3 * np.stack([-other, other], 1))
    ended = settle(whitened(x - x.mean(0)), start)
    assert agreement(described, ended.codes)["ari"] > 0.8
    monkeypatch.setattr("saeindex.analysis.cluster.anchored_em.ANCHOR", 0.0)
    adrift = settle(whitened(x - x.mean(0)), start)
    assert agreement(other, adrift.codes)["ari"] > 0.8


def test_an_unsupported_start_is_not_kept() -> None:
    x, _ = clouds(0.0)
    start = standardised(np.random.default_rng(3).normal(size=(len(x), 2)))
    ended = settle(whitened(x), start)
    signs = signs_of(whitened(x), ended, np.random.default_rng(4).integers(0, 2, len(x)))
    assert abs(signs.told) < 0.3
    assert not judge(signs).expressible


def test_examples_stay_in_their_cluster() -> None:
    x, truth = clouds(6.0)
    known = np.full(len(x), -1)
    known[:4] = 1
    ended = settle(whitened(x), standardised(np.stack([-truth, truth], 1) * 1.0), known)
    assert (ended.codes[:4] == 1).all() and (ended.codes[4:120] == 0).mean() > 0.9
    assert EXAMPLE > 1


def test_without_neighbours_scores_are_unchanged() -> None:
    scores = RNG.normal(size=(5, 2))
    assert smoothed(scores, np.zeros((5, 0), np.int64)) is scores


def test_conductance_equals_that_of_the_graph() -> None:
    nearest = nearest_rows(G.astype(np.float32), G.astype(np.float32), 4, skip_self=True)
    codes = np.repeat([0, 1, 2], [10, 25, 5])
    graph = neighbour_graph(nearest)
    drawn = nx.from_scipy_sparse_array(graph)
    expected = [nx.conductance(drawn, np.flatnonzero(codes == code).tolist()) for code in range(3)]
    assert conductances(graph, codes, 4) == pytest.approx([*expected, 1.0])


def test_silhouettes_rise_with_separation() -> None:
    means = []
    for separation in (0.0, 3.0, 8.0):
        x, truth = clouds(separation)
        mine = silhouettes(x.astype(np.float32), truth, 3)
        theirs = silhouette_samples(x, truth, metric="cosine")
        means.append(mine.mean())
        assert np.all(np.abs(mine) <= 1)
        if separation == 8.0:
            assert np.corrcoef(mine, theirs)[0, 1] > 0.8
    assert means == sorted(means)


def test_lift_is_the_share_over_the_base_rate() -> None:
    has = csr_matrix(np.array([[1, 0], [1, 1], [0, 1], [0, 1]], np.float32))
    over, lift = distinctive(has, np.array([0, 0, 1, 1]), 2)
    assert lift == pytest.approx(np.array([[2.0, 2 / 3], [0.0, 4 / 3]]))
    assert over[0, 0] == pytest.approx(2 * 0.5 / np.sqrt(2 * 0.25 + 1))


def test_agreement_equals_that_of_scikit_learn() -> None:
    a, b = RNG.integers(0, 3, 50), RNG.integers(0, 4, 50)
    assert agreement(a, b)["nmi"] == pytest.approx(normalized_mutual_info_score(a, b))
    assert agreement(a, a) == pytest.approx({"nmi": 1.0, "ari": 1.0})


def test_jaccard_equals_that_of_scikit_learn() -> None:
    a, b = RNG.random((6, 20)) < 0.3, RNG.random((5, 20)) < 0.3
    found = jaccard(csr_matrix(a.astype(np.float32)), csr_matrix(b.astype(np.float32)))
    expected = [[jaccard_score(one, other, zero_division=0) for other in b] for one in a]
    assert found == pytest.approx(np.array(expected))


def test_the_failure_score_rises_with_the_drift_of_records() -> None:
    scores = [Signs(kept, 0.5, 0.8, 0.5).failure_score for kept in (0.1, 0.4, 0.7, 1.0)]
    assert scores == sorted(scores, reverse=True)
    assert all(0 < score < 1 for score in scores)


def test_a_negative_verdict_gives_its_reasons() -> None:
    refused = judge(Signs(0.05, 0.0, 0.3, 0.0))
    assert not refused.expressible and (refused.failure_score or 0) >= FAILS_FROM
    for part in ("drifted", "not where the words", "similar records differ", "next to no records"):
        assert part in refused.reason
    assert "NOT EXPRESSIBLE" in str(refused)
    accepted = judge(Signs(0.9, 0.9, 0.8, 0.5))
    assert accepted.expressible and accepted.signs is not None and accepted.signs.kept == 0.9
