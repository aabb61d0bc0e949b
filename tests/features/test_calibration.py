"""Levels against numpy, and level codes against their definition."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from saeindex.features import Calibration
from saeindex.features.calibration import CalibrationMeter
from saeindex.types import SparseCode

FEATURES = 12


def sparse(z: NDArray[np.float32]) -> SparseCode:
    """Return a dense matrix (m, n) as a sparse code."""
    rows, indices = np.nonzero(z)
    indptr = np.concatenate([[0], np.cumsum(np.bincount(rows, minlength=len(z)))]).astype(np.int64)
    return SparseCode(indptr, indices.astype(np.int32), z[rows, indices], z.shape[1])


def random_code(seed: int, rows: int = 200) -> NDArray[np.float32]:
    rng = np.random.default_rng(seed)
    z = rng.gamma(2.0, size=(rows, FEATURES)) * (rng.random((rows, FEATURES)) < rng.random(FEATURES) ** 2)
    z[:, 3] = 0
    return z.astype(np.float32)


def test_thresholds_are_the_quantiles_of_each_feature_s_non_zeros() -> None:
    z = random_code(0)
    calibration = Calibration.measure(sparse(z))
    assert calibration.records == len(z)
    np.testing.assert_allclose(calibration.density, (z > 0).mean(0), rtol=1e-6)
    for feature in range(FEATURES):
        active = z[z[:, feature] > 0, feature]
        if len(active):
            np.testing.assert_allclose(calibration.median[feature], np.median(active), rtol=1e-6)
            np.testing.assert_allclose(calibration.p90[feature], np.percentile(active, 90), rtol=1e-6)


def test_a_feature_that_was_never_active_only_reaches_the_level_present() -> None:
    calibration = Calibration.measure(sparse(random_code(0)))
    assert np.isinf(calibration.median[3])
    assert calibration.density[3] == 0
    codes = calibration.concept_codes(np.array([3], np.int32), np.array([1e6], np.float32))
    assert codes.tolist() == [12]


@settings(max_examples=100, deadline=None)
@given(seed=st.integers(0, 10**6), row=st.integers(0, 199))
def test_a_record_has_one_code_for_each_level_that_is_reached(seed: int, row: int) -> None:
    z = random_code(seed)
    calibration = Calibration.measure(sparse(z))
    indices, values = sparse(z).row(row)
    expected = []
    for feature, value in zip(indices.tolist(), values, strict=True):
        active = z[z[:, feature] > 0, feature]
        thresholds = [0, np.float32(np.quantile(active, 0.5)), np.float32(np.quantile(active, 0.9))]
        expected += [feature * 4 + level for level in range(3) if value >= thresholds[level]]
    codes = calibration.concept_codes(indices, values)
    assert codes.tolist() == sorted(expected)
    assert calibration.levels(indices, values).tolist() == [
        max(code % 4 for code in expected if code // 4 == feature) for feature in indices.tolist()
    ]


def test_about_half_of_the_active_records_are_typical_and_a_tenth_strong() -> None:
    z = random_code(1, rows=4_000)
    calibration = Calibration.measure(sparse(z))
    for feature in np.flatnonzero((z > 0).sum(0) > 500):
        values = z[z[:, feature] > 0, feature]
        levels = calibration.levels(np.full(len(values), feature, np.int32), values)
        assert abs((levels >= 1).mean() - 0.5) < 0.01
        assert abs((levels >= 2).mean() - 0.1) < 0.01


def test_an_activation_at_a_threshold_has_its_level() -> None:
    # Of 11 values the sixth is the median and the tenth the p90, without interpolation.
    z = np.zeros((11, FEATURES), np.float32)
    z[:, 0] = np.arange(1, 12)
    calibration = Calibration.measure(sparse(z))
    assert (calibration.median[0], calibration.p90[0]) == (6.0, 10.0)
    levels = calibration.levels(np.zeros(11, np.int32), z[:, 0])
    assert levels.tolist() == [0, 0, 0, 0, 0, 1, 1, 1, 1, 2, 2]
    for value, codes in ((10.0, [0, 1, 2]), (6.0, [0, 1])):
        one = np.array([value], np.float32)
        assert calibration.concept_codes(np.array([0], np.int32), one).tolist() == codes


@settings(max_examples=50, deadline=None)
@given(values=st.lists(st.sampled_from([0.5, 1.0, 2.0]), min_size=1, max_size=40))
def test_equal_activations_have_equal_levels_and_the_largest_is_strong(values: list[float]) -> None:
    z = np.zeros((len(values), FEATURES), np.float32)
    z[:, 0] = values
    calibration = Calibration.measure(sparse(z))
    levels = calibration.levels(np.zeros(len(values), np.int32), z[:, 0])
    assert all(len(set(levels[z[:, 0] == value].tolist())) == 1 for value in set(values))
    assert levels[z[:, 0].argmax()] == 2
    # At least a tenth are strong, and half typical: ties can only add to them.
    assert (levels >= 2).sum() * 10 >= len(values)
    assert (levels >= 1).sum() * 2 >= len(values)


def test_an_empty_batch_and_an_empty_row_have_no_codes() -> None:
    empty = Calibration.measure(sparse(np.zeros((0, FEATURES), np.float32)))
    assert empty.records == 0
    codes = empty.concept_codes(np.zeros(0, np.int32), np.zeros(0, np.float32))
    assert codes.tolist() == []
    assert codes.dtype == np.int64


def test_a_saved_calibration_is_loaded_unchanged(tmp_path: Path) -> None:
    calibration = Calibration.measure(sparse(random_code(2)))
    calibration.save(tmp_path / "calibration.safetensors")
    loaded = Calibration.load(tmp_path / "calibration.safetensors")
    for name in ("density", "median", "p90"):
        np.testing.assert_array_equal(getattr(loaded, name), getattr(calibration, name))
    assert (loaded.records, loaded.digest()) == (calibration.records, calibration.digest())
    assert Calibration.measure(sparse(random_code(3))).digest() != calibration.digest()


def embeddings(rows: int) -> NDArray[np.float32]:
    return np.random.default_rng(5).normal(size=(rows, 7)).astype(np.float32)


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 10**6), cuts=st.lists(st.integers(0, 200), max_size=6))
def test_parts_in_any_order_give_the_calibration_of_the_whole(seed: int, cuts: list[int]) -> None:
    z, x = random_code(seed), embeddings(200)
    whole = Calibration.measure(sparse(z), x)
    order = np.random.default_rng(seed).permutation(200)
    meter = CalibrationMeter(FEATURES)
    for part in np.split(order, sorted(cuts)):
        meter.add(sparse(z[part]), x[part])
    measured = meter.measured()
    for name in ("records", "density", "median", "p90"):
        np.testing.assert_array_equal(getattr(measured, name), getattr(whole, name))
    assert measured.mean is not None
    np.testing.assert_allclose(measured.mean, x.mean(0, dtype=np.float64), rtol=1e-6, atol=1e-7)


def test_the_mean_is_known_only_if_every_embedding_was_given() -> None:
    z, x = random_code(4), embeddings(200)
    assert Calibration.measure(sparse(z)).mean is None
    meter = CalibrationMeter(FEATURES)
    meter.add(sparse(z[:50]), x[:50])
    meter.add(sparse(z[50:]))
    assert meter.measured().mean is None


def test_the_mean_is_saved_and_changes_no_digest(tmp_path: Path) -> None:
    code = sparse(random_code(2))
    with_mean, without = Calibration.measure(code, embeddings(200)), Calibration.measure(code)
    assert with_mean.digest() == without.digest()
    with_mean.save(tmp_path / "with.safetensors")
    without.save(tmp_path / "without.safetensors")
    loaded = Calibration.load(tmp_path / "with.safetensors")
    np.testing.assert_array_equal(loaded.mean, with_mean.mean)
    assert Calibration.load(tmp_path / "without.safetensors").mean is None


def test_a_rare_feature_can_keep_the_levels_of_the_space() -> None:
    ours, theirs = Calibration.measure(sparse(random_code(6))), Calibration.measure(sparse(random_code(7)))
    counts = (random_code(6) > 0).sum(0)
    min_count = int(np.median(counts))
    mixed = ours.with_rare_levels_of(theirs, min_count)
    np.testing.assert_array_equal(mixed.median, np.where(counts < min_count, theirs.median, ours.median))
    np.testing.assert_array_equal(mixed.p90, np.where(counts < min_count, theirs.p90, ours.p90))
    np.testing.assert_array_equal(mixed.density, ours.density)
