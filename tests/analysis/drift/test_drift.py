"""Drift over periods: the tests agree with other computations, control error rates, and report changes."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.sparse import csr_matrix
from scipy.special import comb, expit
from scipy.stats import binom, norm
from sklearn.linear_model import LogisticRegression

from saeindex import FeatureIndex, FeatureSpace
from saeindex.analysis.drift.drift import drift, fitted_shares, periods_of
from saeindex.analysis.drift.trend_test import TrendTest, contrast_test, run_trends, searched
from saeindex.analysis.stats.design import Design
from saeindex.analysis.stats.evidence import Evidence
from saeindex.analysis.stats.options import DriftOptions
from saeindex.analysis.stats.stratified import StratifiedCounts
from saeindex.errors import InvalidInputError
from tests.analysis.planted_snapshots import made_snapshot, unlike_features

RNG = np.random.default_rng(1)


def evidence_from(has: NDArray[Any]) -> Evidence:
    names = tuple(str(column) for column in range(has.shape[1]))
    return Evidence("words", names, names, csr_matrix(has.astype(np.float32)))


def trends_of(has: NDArray[Any], codes: NDArray[Any], units: NDArray[Any] | None = None) -> TrendTest:
    scores = np.arange(codes.max() + 1, dtype=np.float64)
    own = None if units is None else units.astype(np.int32)
    design = Design(np.zeros(len(codes), np.int32), own)
    return run_trends(evidence_from(has), codes.astype(np.int32), scores, design)


def test_one_stratum_is_tested_by_cochran_armitage() -> None:
    k, n = np.array([20.0, 35.0, 60.0, 70.0]), np.array([200.0, 210.0, 190.0, 220.0])
    x = np.array([0.0, 1.0, 2.0, 5.0])
    found = contrast_test(StratifiedCounts(k[None, :, None], n[None]), x, np.ones(1))
    share = k.sum() / n.sum()
    total = (x * (k - n * share)).sum()
    variance = share * (1 - share) * ((n * x**2).sum() - (n * x).sum() ** 2 / n.sum())
    variance *= n.sum() / (n.sum() - 1)  # that of the hypergeometric
    assert found.z[0] == pytest.approx(total / np.sqrt(variance))


def exact_tails(n: NDArray[Any], drawn: int, at: int) -> tuple[float, float]:
    """Return the mid-p values of a sum of scores 0, 1, … of ``drawn`` records of all, by convolution."""
    ways = np.zeros((drawn + 1, drawn * (len(n) - 1) + 1))
    ways[0, 0] = 1.0
    for score, size in enumerate(n.tolist()):
        grown = np.zeros_like(ways)
        for j in range(min(size, drawn) + 1):
            grown[j:, score * j :] += comb(size, j) * ways[: drawn + 1 - j, : ways.shape[1] - score * j]
        ways = grown
    chances = ways[drawn] / ways[drawn].sum()
    half = chances[at] / 2
    return float(chances[:at].sum() + half), float(chances[at + 1 :].sum() + half)


@pytest.mark.parametrize(
    ("sizes", "drawn"),
    [
        ([50, 50, 100, 200, 500], 45),
        ([8_000, 500, 50], 60),
        ([10, 10, 600], 60),
        ([30, 40, 20, 50], 40),
        ([50] * 6, 150),
    ],
)
def test_the_tail_of_a_trend_is_right_for_uneven_periods(sizes: list[int], drawn: int) -> None:
    n, scores = np.array(sizes), np.arange(float(len(sizes)))
    a = scores - (n * scores).sum() / n.sum()
    mean, width = drawn * (n * scores).sum() / n.sum(), (n * a**2).sum()
    spread = np.sqrt(drawn * (n.sum() - drawn) / n.sum() / (n.sum() - 1) * width)
    compared = 0
    for deviation in (-4, -3, -2.2, 2.2, 3, 4):
        at = round(mean + deviation * spread)
        # Any counts with this total and this sum of scores have the same statistic.
        k = n * drawn / n.sum() + (at - mean) * n * a / width
        found = contrast_test(StratifiedCounts(k[None, :, None], n[None].astype(float)), scores, np.ones(1))
        if abs(found.z[0]) > 1.6 and 0 < at < drawn * (len(n) - 1):
            less, more = exact_tails(n, drawn, at)
            ratio = found.more[0] / more if deviation > 0 else found.less[0] / less
            assert 0.95 < ratio < 1.5
            compared += 1
    assert compared >= 3


@pytest.mark.slow
def test_no_drift_is_found_by_chance_in_very_uneven_periods() -> None:
    sizes = [50, 50, 100, 200, 500, 2_000, 8_000, 20_000]
    codes, rng = np.repeat(np.arange(8), sizes), np.random.default_rng(0)
    runs = 60
    with_findings = 0
    for _ in range(runs):
        has = rng.random((len(codes), 200)) < rng.uniform(0.002, 0.2, 200)
        with_findings += len(trends_of(has, codes).found(0.05)) > 0
    assert binom.sf(with_findings - 1, runs, 0.05) > 0.001


def test_strata_are_combined_by_mantel_s_test() -> None:
    has, codes = RNG.random((900, 3)) < 0.4, RNG.integers(0, 5, 900)
    strata = RNG.integers(0, 4, 900)
    counts = StratifiedCounts.of(
        csr_matrix(has.astype(np.float32)), codes.astype(np.int32), strata.astype(np.int32), 5
    )
    found = contrast_test(counts, np.arange(5.0), np.ones(3))
    for column in range(3):
        total, variance = 0.0, 0.0
        for stratum in range(4):
            x, y = codes[strata == stratum].astype(float), has[strata == stratum, column].astype(float)
            m = len(x)
            total += float((x * y).sum() - x.mean() * y.sum())
            variance += float(((x - x.mean()) ** 2).sum() * ((y - y.mean()) ** 2).sum() / (m - 1))
        assert found.z[column] == pytest.approx(total / np.sqrt(variance))


@pytest.mark.parametrize(("n_with", "sizes"), [(6, [40, 50, 30, 60, 45]), (9, [200, 30, 20, 10, 5])])
def test_small_counts_have_the_tails_of_all_permutations(n_with: int, sizes: list[int]) -> None:
    scores = np.repeat(np.arange(5.0), sizes)
    totals = np.array([RNG.choice(scores, n_with, replace=False).sum() for _ in range(60_000)])
    drawn = np.array(
        [np.bincount(RNG.choice(scores, n_with, replace=False).astype(int), minlength=5) for _ in range(400)]
    )
    n = np.array([sizes], np.float64)
    found = contrast_test(StratifiedCounts(drawn.T[None].astype(float), n), np.arange(5.0), np.ones(400))
    observed = drawn @ np.arange(5.0)
    for one in np.flatnonzero(np.abs(found.z) > 2):
        above = (totals > observed[one]).mean() + (totals == observed[one]).mean() / 2
        exact = min(above, 1 - above)
        tail = min(found.more[one], found.less[one])
        assert 0.6 * exact - 1e-3 < tail < 1.8 * exact + 4e-3


def test_the_choice_of_the_best_split_is_corrected_for() -> None:
    records = np.array([100.0, 200, 50, 300, 100, 150])
    x = RNG.standard_normal((60_000, 6)) * np.sqrt(records)
    x -= records * (x.sum(1) / records.sum())[:, None]
    before = np.cumsum(records)[:-1]
    spread = np.sqrt(before * (records.sum() - before) / records.sum())
    best = np.abs(np.cumsum(x, 1)[:, :-1] / spread).max(1)
    for bound in (2.0, 2.5, 3.0):
        p = 2 * norm.sf(bound)
        assert p < searched(np.array([p]), records)[0] <= 5 * p
        assert searched(np.array([p]), records)[0] == pytest.approx((best > bound).mean(), rel=0.2)


def test_randomly_permuted_records_have_no_drift() -> None:
    found = 0
    for run in range(30):
        rng = np.random.default_rng(run)
        has = rng.random((600, 200)) < np.exp(rng.uniform(np.log(0.01), np.log(0.4), 200))
        found += len(trends_of(has, rng.integers(0, 6, 600)).found(0.05)) > 0
    assert found <= 4  # of 30, where 1.5 are expected


def test_records_of_a_unit_count_as_one() -> None:
    naive, found_by_unit = 0, 0
    for run in range(5):
        rng = np.random.default_rng(run)
        units = np.repeat(np.arange(40), 25)
        has = rng.random((1_000, 100)) < (rng.random((40, 100)) < 0.3)[units] * 0.8 + 0.05
        codes = rng.permutation(np.arange(40) % 5)[units]
        naive += len(trends_of(has, codes).found(0.05)) > 0
        found_by_unit += len(trends_of(has, codes, units).found(0.05)) > 0
    assert naive == 5 and found_by_unit <= 1


def test_an_author_with_records_in_several_periods_counts_as_one() -> None:
    naive, found_by_unit = 0, 0
    for run in range(6):
        rng = np.random.default_rng(run)
        units = np.repeat(np.arange(60), 20)
        has = rng.random((1_200, 100)) < (rng.random((60, 100)) < 0.3)[units] * 0.7 + 0.05
        codes = rng.permutation(np.arange(60) % 6)[units] + rng.choice([-1, 0, 1], 1_200, p=[0.1, 0.8, 0.1])
        codes = np.clip(codes, 0, 5)
        naive += len(trends_of(has, codes).found(0.05)) > 0
        found_by_unit += len(trends_of(has, codes, units).found(0.05)) > 0
    assert naive == 6 and found_by_unit <= 1


def test_a_prompt_with_every_version_is_compared_with_itself() -> None:
    units, codes = np.repeat(np.arange(200), 4), np.tile(np.arange(4), 200)
    by_prompt = RNG.random(200) < 0.5
    share = np.where(by_prompt[units], 0.85, 0.05) + 0.035 * codes
    has = (RNG.random(800) < share)[:, None]
    alone, paired = trends_of(has, codes), trends_of(has, codes, units)
    assert paired.design[0] < 0.6
    assert paired.trend.p[0] < alone.trend.p[0] / 3


def test_lines_and_steps_are_distinguished(space: FeatureSpace) -> None:
    features = unlike_features(space, 5)
    year = np.repeat(np.arange(2010, 2018), 300)
    share = np.stack(
        [
            0.05 + 0.04 * (year - 2010),
            np.where(year >= 2014, 0.3, 0.05),
            np.where(year >= 2015, 0.2, 0.0),
            np.where(year < 2012, 0.2, 0.0),
            np.full(len(year), 0.2),
        ],
        axis=1,
    )
    present = RNG.random(share.shape) < share
    snapshot = made_snapshot(space, present, features, metadata=[{"year": int(one)} for one in year])
    found = drift(snapshot, "metadata.year", options=DriftOptions(families=("concepts",)))
    reported = {one.key: one for one in found}
    kinds = {features.index(int(key)): (one.kind, one.at) for key, one in reported.items()}
    assert kinds == {0: ("trend", None), 1: ("change", "2014"), 2: ("new", "2015"), 3: ("vanished", "2012")}
    line, step, new = (reported[features[i]] for i in range(3))
    assert line.slope == pytest.approx(0.04, abs=0.01)
    assert line.slope_ci[0] < 0.04 < line.slope_ci[1] and line.ci[0] < 0.28 < line.ci[1]
    assert step.ci[0] < 0.25 < step.ci[1]
    assert new.bound == pytest.approx(3 / 1_500) and new.shares[:5] == (0.0,) * 5
    assert step.shares[6] == pytest.approx(present[year == 2016, 1].mean())
    assert {"early", "late"} <= step.examples.keys() and step.examples["late"]


def test_a_year_of_one_speech_is_the_unit(space: FeatureSpace) -> None:
    features = unlike_features(space, 30)
    year = np.repeat(np.arange(1900, 1940), 20)
    rng = np.random.default_rng(5)
    present = rng.random((800, 30)) < (rng.random((40, 30)) < 0.3)[year - 1900] * 0.7 + 0.05
    snapshot = made_snapshot(space, present, features, metadata=[{"year": int(one)} for one in year])
    found = drift(snapshot, "metadata.year", options=DriftOptions(families=("concepts",)))
    assert found.unit == "metadata.year" and len(found.periods) <= 12
    naive = drift(snapshot, "metadata.year", options=DriftOptions(families=("concepts",), unit=None))
    assert len(found) == 0 < len(naive)


def test_an_interval_agrees_with_its_test_where_one_document_decides(space: FeatureSpace) -> None:
    rng = np.random.default_rng(0)
    document = np.repeat(np.arange(26), rng.integers(8, 60, 26))
    share = rng.random((26, 40)) * 0.01
    for column in share.T:
        column[rng.choice(6, 2, replace=False)] += 0.15 + rng.random() * 0.6
    has = rng.random((len(document), 40)) < share[document]
    metadata = [{"year": 1900 + 4 * int(one), "document": int(one)} for one in document]
    snapshot = made_snapshot(space, has, unlike_features(space, 40), metadata=metadata)
    options = DriftOptions(unit="metadata.document", families=("concepts",))
    found = drift(snapshot, "metadata.year", options=options)
    assert len(found) > 5 and {one.kind for one in found} >= {"change"}
    for one in found:
        assert one.p <= 0.05 and (one.ci[0] > 0 or one.ci[1] < 0), (one.p, one.ci)


def test_periods_come_from_numbers_dates_and_orders(space: FeatureSpace) -> None:
    days = [f"20{year}-0{month}-15" for year in (20, 21, 22, 23) for month in (2, 5, 8)] * 30
    metadata = [{"day": day, "model": f"v{i % 4}", "number": i} for i, day in enumerate(days)]
    snapshot = made_snapshot(space, np.zeros((360, 1), bool), [0], metadata=metadata)
    dated = periods_of(snapshot, "metadata.day")
    assert len(dated.periods) == 12 and dated.per == "year"
    assert dated.scores[-1] - dated.scores[0] == pytest.approx(3.5, abs=0.02)
    ordered = periods_of(snapshot, "metadata.model", order=["v3", "v0", "v2"])
    assert ordered.names == ("v3", "v0", "v2") and ordered.scores.tolist() == [0, 1, 2]
    assert "90 records" in ordered.groups.notes[0]
    binned = periods_of(snapshot, "metadata.number", max_periods=6)
    assert [one.records for one in binned.periods] == [60] * 6
    assert binned.periods[0].name == "0 to 59"


@pytest.mark.parametrize(
    ("over", "order", "message"),
    [
        ("metadata.model", None, "Correct them, use a field of numbers or ISO dates, or give the order"),
        ("metadata.model", ["v0", "v9", "v1"], "no record has 'v9'"),
        ("metadata.model", ["v0", "v1"], "2 different values"),
        ("metadata.number", None, "compared with diff"),
    ],
)
def test_values_without_an_order_are_reported(
    space: FeatureSpace, over: str, order: list[str] | None, message: str
) -> None:
    metadata = [{"model": f"v{i % 3}", "number": i % 2} for i in range(60)]
    snapshot = made_snapshot(space, np.zeros((60, 1), bool), [0], metadata=metadata)
    with pytest.raises(InvalidInputError, match=message):
        periods_of(snapshot, over, order=order)


@pytest.mark.parametrize("wrong", [{"alpha": 0.0}, {"method": "x"}, {"periods": 2}, {"families": ("moods",)}])
def test_wrong_options_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(InvalidInputError):
        DriftOptions(**wrong)


def test_an_index_reports_drift(papers: FeatureIndex) -> None:
    found = papers.drift("metadata.year", where='metadata.topic != "music"', examples=1)
    reported = found.to_json()
    assert {"over", "periods", "tested", "alpha", "results", "words"} <= reported.keys()
    assert sum(one["records"] for one in reported["periods"]) < 240
    assert set(reported["periods"][0]) == {"name", "first", "last", "records"}
    assert str(found).startswith(f"{sum(one.records for one in found.periods)} records by metadata.year")
    assert found.tables()["periods"] == reported["periods"]
    with pytest.raises(InvalidInputError, match="speed"):
        papers.drift("metadata.year", speed=3)  # type: ignore[call-arg]


def test_a_line_is_fitted_as_by_logistic_regression() -> None:
    rng = np.random.default_rng(7)
    scores = np.array([0.0, 1.0, 4.0, 9.0])
    n = rng.integers(50, 300, (3, 4)).astype(float)
    chance = expit(np.array([[-2.0], [-1.0], [-3.0]]) + 0.25 * scores)
    k = rng.binomial(n.astype(int), chance).astype(float)
    fitted = fitted_shares(StratifiedCounts(k[:, :, None], n), scores)
    strata, periods = np.indices(n.shape)
    design = np.column_stack([np.eye(3)[strata.ravel()], scores[periods.ravel()]])
    model = LogisticRegression(C=1e8, fit_intercept=False, max_iter=2_000, tol=1e-10)
    twice, answers = np.concatenate([design, design]), np.repeat([1, 0], n.size)
    model.fit(twice, answers, np.concatenate([k.ravel(), (n - k).ravel()]))
    by_model = (n.sum(1) / n.sum()) @ model.predict_proba(design)[:, 1].reshape(n.shape)
    np.testing.assert_allclose(fitted, by_model, atol=1e-4)


def test_the_effect_of_a_finding_is_the_difference_of_its_fitted_shares(space: FeatureSpace) -> None:
    rng = np.random.default_rng(8)
    years = np.repeat(np.arange(1990, 2010), [20, 400, *[60] * 17, 900])
    chance = np.column_stack([
        expit((years - 2000) / 3), 0.3 + 0.4 * (years > 2002), np.full(len(years), 0.2),
        0.02 * (years > 2000),
    ])  # fmt: skip
    has = rng.random(chance.shape) < chance
    snapshot = made_snapshot(
        space, has, unlike_features(space, 4), metadata=[{"year": int(one)} for one in years]
    )
    found = drift(snapshot, "metadata.year", options=DriftOptions(unit=None, families=("concepts",)))
    assert found.per == "year"
    assert len(found) >= 2
    for one in found:
        assert one.effect == pytest.approx(one.fitted[-1] - one.fitted[0], abs=1e-9)
        assert all(0 <= share <= 1 for share in one.fitted)
        assert one.slope == pytest.approx(
            one.effect / (found.periods[-1].last - found.periods[0].first), rel=0.2
        )
        assert one.ci[0] > 0 or one.ci[1] < 0
    text = str(found)
    assert "points per year" in text and "per 1" not in text
    assert "fitted, first" in text
