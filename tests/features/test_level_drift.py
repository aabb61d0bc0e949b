"""Drift compared with scipy's exact test of each feature, and on corpora without drift."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.stats import false_discovery_control, fisher_exact

from saeindex.features import Calibration
from saeindex.features.level_drift import FDR, LevelDrift, counts_by_level, level_drift
from saeindex.types import SparseCode

N = 300


def corpus(
    seed: int, records: int, active_rates: NDArray[np.float64], scale: float = 1.0
) -> NDArray[np.float32]:
    """Return activations (records, n): feature i active at ``rates[i]``, gamma distributed."""
    rng = np.random.default_rng(seed)
    z = rng.gamma(3.0, scale, size=(records, N)) * (rng.random((records, N)) < active_rates)
    return z.astype(np.float32)


def calibrated(z: NDArray[np.float32]) -> Calibration:
    levels = [[np.quantile(c[c > 0], s) if (c > 0).any() else np.inf for s in (0.5, 0.9)] for c in z.T]
    median, p90 = np.array(levels, np.float32).T
    return Calibration(len(z), (z > 0).mean(0).astype(np.float32), median, p90)


def counts(z: NDArray[np.float32], calibration: Calibration) -> NDArray[np.int64]:
    reached = [(z > 0).sum(0), (z >= calibration.median).sum(0), (z >= calibration.p90).sum(0)]
    return np.stack(reached, axis=1).astype(np.int64)


def dense_code(z: NDArray[np.float32]) -> SparseCode:
    rows, indices = np.nonzero(z)
    indptr = np.searchsorted(rows, np.arange(len(z) + 1))
    return SparseCode(indptr.astype(np.int64), indices.astype(np.int32), z[rows, indices], z.shape[1])


def drift_of(fit: NDArray[np.float32], here: NDArray[np.float32]) -> LevelDrift:
    calibration = calibrated(fit)
    return level_drift(calibration, counts(here, calibration), len(here))


@pytest.fixture
def active_rates() -> NDArray[np.float64]:
    return np.random.default_rng(0).beta(0.8, 12, size=N)


@pytest.mark.parametrize("records", [1, 7, 300])
def test_the_rates_equal_fisher_s_test_on_each_feature(
    active_rates: NDArray[np.float64], records: int
) -> None:
    fit, here = corpus(1, 2_000, active_rates), corpus(2, records, active_rates[::-1])
    drift = drift_of(fit, here)
    ours, theirs = (fit > 0).sum(0), (here > 0).sum(0)
    p = []
    for a, b in zip(ours.tolist(), theirs.tolist(), strict=True):
        table = [[b, records - b], [a, len(fit) - a]]
        tails = [fisher_exact(table, alternative=side).pvalue for side in ("less", "greater")]
        p.append(min(1.0, 2 * min(tails)))
    tested = ours + theirs > 0
    expected = np.ones(N)
    expected[tested] = false_discovery_control(np.array(p)[tested])
    np.testing.assert_allclose(drift.density_q, expected, rtol=1e-7, atol=1e-12)


@pytest.mark.parametrize("records", [5, 50, 1_000, 5_000])
def test_a_sample_of_the_same_corpus_has_no_drift(active_rates: NDArray[np.float64], records: int) -> None:
    drift = drift_of(corpus(3, 5_000, active_rates), corpus(4, records, active_rates))
    assert drift.denser + drift.rarer <= FDR * N
    assert not drift.levels_are_off
    if records >= 1_000:
        assert drift.typical_share == pytest.approx(0.5, abs=0.03)
        assert drift.strong_share == pytest.approx(0.1, abs=0.02)


def test_features_that_became_frequent_or_rare_are_counted(active_rates: NDArray[np.float64]) -> None:
    active_rates = np.clip(active_rates, 0.02, 0.2)
    changed = active_rates.copy()
    changed[:20], changed[20:50] = active_rates[:20] * 4, active_rates[20:50] / 8
    drift = drift_of(corpus(5, 5_000, active_rates), corpus(6, 5_000, changed))
    assert (drift.denser, drift.rarer) == (20, 30)
    assert (drift.density_ratio[:20] > 2).all()
    assert not drift.levels_are_off
    assert "20 concepts are twice" in drift.summary()


@pytest.mark.parametrize("scale", [2.0, 0.4])
def test_activations_of_another_strength_are_level_drift(
    active_rates: NDArray[np.float64], scale: float
) -> None:
    drift = drift_of(corpus(7, 3_000, active_rates), corpus(8, 3_000, active_rates, scale))
    assert drift.levels_are_off
    assert drift.off_share > 0.8
    assert drift.typical_share is not None
    assert (drift.typical_share > 0.75) == (scale > 1)
    assert drift.denser + drift.rarer <= FDR * N


def test_drift_of_levels_in_both_directions_is_detected(
    active_rates: NDArray[np.float64],
) -> None:
    fit, here = corpus(7, 3_000, active_rates), corpus(8, 3_000, active_rates)
    here[:, ::2] *= 2
    here[:, 1::2] *= 0.4
    drift = drift_of(fit, here)
    assert drift.typical_share == pytest.approx(0.5, abs=0.1)
    assert drift.levels_are_off
    frequent = drift.present > 100
    assert (drift.is_off[::2] & (drift.typical[::2] > 0.75))[frequent[::2]].all()
    assert (drift.is_off[1::2] & (drift.typical[1::2] < 0.25))[frequent[1::2]].all()
    assert drift.to_json()["levels_off"] == int(drift.is_off.sum())


def test_the_share_of_typical_records_is_tested_by_fisher_s_test(active_rates: NDArray[np.float64]) -> None:
    fit, here = corpus(9, 1_000, active_rates), corpus(10, 400, active_rates, 1.2)
    calibration = calibrated(fit)
    drift = drift_of(fit, here)
    tested = ((here > 0).sum(0) >= 10) & ((fit > 0).sum(0) > 0)
    p = []
    for i in np.flatnonzero(tested):
        active, typical = (here[:, i] > 0).sum(), (here[:, i] >= calibration.median[i]).sum()
        fit_active = (fit[:, i] > 0).sum()
        half = (fit_active + 1) // 2
        table = [[typical, active - typical], [half, fit_active - half]]
        p.append(min(1, 2 * min(fisher_exact(table, alternative=s).pvalue for s in ("less", "greater"))))
    np.testing.assert_allclose(drift.typical_q[tested], false_discovery_control(p), rtol=1e-7, atol=1e-12)
    assert (drift.typical_q[~tested] == 1).all()


def test_shares_of_a_corpus_with_equal_activations_count_those_at_the_thresholds() -> None:
    # Each feature has 30 activations of 1 and 10 of 2: the median is 1 and the p90 is 2.
    z = np.repeat(np.repeat([1.0, 2.0], [30, 10])[:, None], N, 1).astype(np.float32)
    z = np.vstack([z, np.zeros((60, N), np.float32)])
    calibration = Calibration.measure(dense_code(z))
    assert (calibration.median == 1).all() and (calibration.p90 == 2).all()
    facet: Counter[int] = Counter()
    for row in z:
        active = np.flatnonzero(row).astype(np.int32)
        facet.update(calibration.concept_codes(active, row[active]).tolist())
    drift = level_drift(calibration, counts_by_level(facet.items(), N), len(z))
    assert (drift.typical_share, drift.strong_share) == (1.0, 0.25)
    assert (drift.present == 40).all()


def test_too_few_records_are_reported() -> None:
    none = drift_of(corpus(1, 100, np.full(N, 0.1)), np.zeros((0, N), np.float32))
    assert none.typical_share is None
    assert none.summary() == "nothing is stored yet"
    for records in (4, 30):
        few = drift_of(corpus(1, 100, np.full(N, 0.1)), corpus(9, records, np.full(N, 0.1), 3.0))
        assert not few.levels_are_off
        assert "too few records" in few.summary()
    never = np.full(N, np.inf, np.float32)
    unmeasured = level_drift(Calibration(0, np.zeros(N, np.float32), never, never), np.ones((N, 3), int), 9)
    assert "not calibrated" in unmeasured.summary()
    assert (unmeasured.density_q == 1).all()


def test_facets_become_counts_by_level() -> None:
    counted = counts_by_level([(4, 7), (5, 3), (6, 1), (8, 2)], 4)
    assert counted.tolist() == [[0, 0, 0], [7, 3, 1], [2, 0, 0], [0, 0, 0]]
