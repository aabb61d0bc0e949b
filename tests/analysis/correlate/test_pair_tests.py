"""Statistics of pairs against scipy, sklearn and loops; and the error rate under independence."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy.sparse import csr_matrix
from scipy.stats import chi2_contingency, false_discovery_control, hypergeom
from scipy.stats.contingency import odds_ratio

from saeindex.analysis.correlate.pair_tests import PairTables, corrected, count_pairs


def none_trivial(a: NDArray[np.int64], b: NDArray[np.int64]) -> NDArray[np.int8]:
    return np.zeros((len(a), len(b)), np.int8)


def tables(both: list[int], of_a: list[int], of_b: list[int], records: int) -> PairTables:
    none = np.zeros(len(both), np.int64)
    seen, first, second = (np.array(values, np.float64) for values in (both, of_a, of_b))
    return PairTables(none, none, seen, first, second, records)


@st.composite
def a_table(draw: st.DrawFn) -> tuple[int, int, int, int]:
    records = draw(st.integers(2, 400))
    of_a, of_b = draw(st.integers(0, records)), draw(st.integers(0, records))
    both = draw(st.integers(max(0, of_a + of_b - records), min(of_a, of_b)))
    return both, of_a, of_b, records


@settings(max_examples=200, deadline=None)
@given(a_table())
def test_mid_p_is_the_two_sided_hypergeometric_mid_p_value(
    table: tuple[int, int, int, int],
) -> None:
    both, of_a, of_b, records = table
    chance = hypergeom(records, of_a, of_b)
    above, below = (chance.sf(both), chance.cdf(both - 1)) if both else (chance.sf(both), 0.0)
    half = chance.pmf(both) / 2
    expected = min(1.0, 2 * (min(above, below) + half))
    got = tables([both], [of_a], [of_b], records).p_values()[0]
    # Where counts are large the tail is a saddlepoint's, and near the middle a normal's.
    assert got == pytest.approx(expected, rel=0.02, abs=0.03 if expected > 0.25 else 1e-12)


def test_statistics_of_a_pair_equal_those_of_libraries() -> None:
    both, of_a, of_b, records = 30, 80, 120, 1_000
    pair = tables([both], [of_a], [of_b], records)
    cells = [[both, of_a - both], [of_b - both, records - of_a - of_b + both]]
    g2 = chi2_contingency(cells, correction=False, lambda_="log-likelihood").statistic
    assert pair.g2[0] == pytest.approx(g2)
    assert pair.expected[0] == pytest.approx(9.6)
    assert pair.lift[0] == pytest.approx(30 / 9.6)
    assert pair.npmi[0] == pytest.approx(np.log(30 / 9.6) / -np.log(0.03))
    value, low, high = (float(part[0]) for part in pair.log_odds())
    sample = odds_ratio(cells, kind="sample")
    interval = sample.confidence_interval(0.95)
    # Half a record is added to each cell.
    assert value == pytest.approx(np.log(sample.statistic), abs=0.02)
    assert (low, high) == pytest.approx((np.log(interval.low), np.log(interval.high)), abs=0.05)


def test_exclusive_and_inseparable_pairs_are_at_the_ends_of_the_scale() -> None:
    pair = tables([0, 50], [50, 50], [50, 50], 1_000)
    np.testing.assert_allclose(pair.npmi, [-1.0, 1.0])
    assert pair.evidence[0] < 0 < pair.evidence[1]
    assert np.isfinite(np.concatenate(pair.log_odds())).all()


@pytest.mark.parametrize("is_cross", [False, True])
def test_the_counts_of_all_pairs_equal_those_of_a_loop(
    is_cross: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("saeindex.analysis.correlate.pair_tests.BLOCK", 7)
    rng = np.random.default_rng(0)
    dense = rng.random((60, 25)) < rng.random(25) * 0.6
    other = rng.random((60, 18)) < 0.3 if is_cross else dense
    present = csr_matrix(dense.astype(np.float32))
    against = csr_matrix(other.astype(np.float32)) if is_cross else None
    min_support = 4
    found, tested, removed = count_pairs(present, against, min_support, 1.0, none_trivial, [])
    expected, possible = {}, 0
    for i in range(25):
        for j in range(other.shape[1]) if is_cross else range(i + 1, 25):
            of_a, of_b, both = dense[:, i].sum(), other[:, j].sum(), (dense[:, i] & other[:, j]).sum()
            if min(of_a, of_b) >= min_support:
                possible += 1
                if both >= min_support or of_a * of_b / 60 >= min_support:
                    expected[i, j] = (both, of_a, of_b)
    keys = zip(found.a.tolist(), found.b.tolist(), strict=True)
    counts = zip(found.both.tolist(), found.of_a.tolist(), found.of_b.tolist(), strict=True)
    assert dict(zip(keys, counts, strict=True)) == expected
    assert (tested, removed) == (possible, {})
    assert len(expected) > 50


def test_uninformative_pairs_are_counted_by_reason_and_not_tested() -> None:
    present = csr_matrix(np.ones((20, 6), np.float32))

    def why(a: NDArray[np.int64], b: NDArray[np.int64]) -> NDArray[np.int8]:
        return np.where((a[:, None] + b[None]) % 3 == 0, 1 + (b[None] > 3), 0).astype(np.int8)

    _, tested, removed = count_pairs(present, None, 1, 0.05, why, ["small", "large"])
    trivial = [(i, j) for i in range(6) for j in range(i + 1, 6) if (i + j) % 3 == 0]
    assert tested == 15 - len(trivial)
    assert removed == {"small": sum(j <= 3 for _, j in trivial), "large": sum(j > 3 for _, j in trivial)}


@pytest.mark.parametrize("method", ["bh", "by"])
def test_q_values_treat_untested_pairs_as_p_1(method: str) -> None:
    p = np.random.default_rng(1).random(40) ** 6
    expected = false_discovery_control(np.concatenate([p, np.ones(160)]), method=method)[:40]
    np.testing.assert_allclose(corrected(p, 200, method), expected)  # type: ignore[arg-type]
    assert not len(corrected(np.zeros(0), 10))


def test_independent_concepts_are_rarely_found_to_go_together() -> None:
    runs_with_finding = 0
    for seed in range(40):
        rng = np.random.default_rng(seed)
        dense = rng.random((300, 40)) < rng.uniform(0.01, 0.4, 40)
        pairs, tested, _ = count_pairs(csr_matrix(dense.astype(np.float32)), None, 5, 0.05, none_trivial, [])
        runs_with_finding += bool((corrected(pairs.p_values(), tested) < 0.05).any())
    # 5 % of 40 are 2; 6 or more would happen in one of 70 such tests.
    assert runs_with_finding <= 5
