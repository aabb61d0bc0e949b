"""Estimates compared with exact counts, for random expressions and a small sample."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from qdrant_client.models import FieldCondition, Filter, MatchValue, Range

from saeindex import FeatureIndex, FeatureSpace
from saeindex.search import plan, planner
from saeindex.search.plan import sampled_share
from tests.samples import RecordingEncoder, sample_records

RECORDS, SAMPLED = 900, 300


@pytest.fixture(scope="module")
def index(
    tmp_path_factory: pytest.TempPathFactory, space: FeatureSpace, session_encoder: RecordingEncoder
) -> Iterator[FeatureIndex]:
    """An index of which only the first third is sampled."""
    path = tmp_path_factory.mktemp("estimates") / "estimates.idx"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(planner, "SAMPLED", SAMPLED)
        patch.setattr(plan, "COUNTED_TO", SAMPLED)
        with FeatureIndex.create(
            path, space, encoder=session_encoder, payload_indexes={"metadata.year": "integer-range"}
        ) as made:
            made.upsert(sample_records(RECORDS, seed=31))
            yield made


@pytest.fixture(scope="module")
def leaves(index: FeatureIndex) -> list[str]:
    """Concepts of every density, and conditions on an indexed field and on others."""
    counts = index.state.store.facet("concepts", None, 100_000)
    active = [(code // 4, count) for code, count in counts if isinstance(code, int) and code % 4 == 0]
    chosen = [f"#{feature}" for feature, count in active if count > 5][::6]
    topics = [f'metadata.topic = "{topic}"' for topic in ("astronomy", "cooking", "music")]
    return [*chosen, *topics, "metadata.year >= 2010", "metadata.year = 1999", "metadata.score < 0.3"]


def expression(leaves: list[str], rng: np.random.Generator, depth: int = 2) -> str:
    if depth == 0:
        leaf = leaves[int(rng.integers(len(leaves)))]
        return f"NOT ({leaf})" if rng.random() < 0.3 else leaf
    parts = [expression(leaves, rng, depth - 1) for _ in range(int(rng.integers(2, 4)))]
    kind = int(rng.integers(3))
    joined = (" AND ", " OR ", ", ")[kind].join(f"({part})" for part in parts)
    return joined if kind < 2 else f"AT LEAST {int(rng.integers(1, len(parts) + 1))} OF ({joined})"


def test_nineteen_of_twenty_counts_lie_within_the_interval(index: FeatureIndex, leaves: list[str]) -> None:
    rng = np.random.default_rng(3)
    within = []
    for number in range(100):
        where = expression(leaves, rng, depth=number % 3)
        estimate, matching = index.plan("anything", where=where).estimate, index.count(where)
        assert 0 <= estimate.low <= estimate.points <= estimate.high <= RECORDS
        within.append(estimate.low <= matching <= estimate.high)
    assert np.mean(within) >= 0.95


def test_an_interval_is_narrow_if_the_sample_is_large(index: FeatureIndex) -> None:
    estimate = index.plan("anything", where="metadata.score < 0.5").estimate
    assert 0.3 * RECORDS < estimate.low < estimate.high < 0.7 * RECORDS
    assert estimate.why == f"{estimate.points / RECORDS * SAMPLED:.0f} of {SAMPLED} sampled points"


def test_a_small_index_is_counted(papers: FeatureIndex) -> None:
    for where in ("metadata.year = 2003", "#1041", 'NOT metadata.topic = "music"'):
        estimate = papers.plan("anything", where=where).estimate
        assert estimate.is_certain and estimate.points == papers.count(where) and estimate.why == "counted"


def test_conditions_that_never_occur_together_are_not_treated_as_independent(index: FeatureIndex) -> None:
    both = 'metadata.topic = "music" AND metadata.topic = "cooking"'
    assert index.plan("anything", where=both).estimate.high < 0.02 * RECORDS
    either = 'metadata.topic = "music" OR NOT metadata.topic = "music"'
    assert index.plan("anything", where=either).estimate.points == pytest.approx(RECORDS)


def test_a_native_filter_is_evaluated_on_the_sample(index: FeatureIndex) -> None:
    year = FieldCondition(key="metadata.year", range=Range(lt=2000))
    topic = FieldCondition(key="metadata.topic", match=MatchValue(value="music"))
    for query_filter in (Filter(must=[year]), Filter(must_not=[topic]), Filter(must=[year, topic])):
        for where in (None, "metadata.score < 0.7"):
            estimate = index.plan("anything", where=where, query_filter=query_filter).estimate
            assert estimate.low <= index.count(where, query_filter) <= estimate.high


def test_estimates_follow_added_and_deleted_records(
    tmp_path: Path, space: FeatureSpace, encoder: RecordingEncoder
) -> None:
    where = 'metadata.topic = "music"'
    records = sample_records(120, seed=5)
    with FeatureIndex.create(tmp_path / "i", space, encoder=encoder) as index:
        assert index.plan("anything", where=where).estimate.high == 0
        for step in (records[:100], records[100:103], records[103:]):
            index.upsert(step)
            estimate = index.plan("anything", where=where).estimate
            assert estimate.low <= index.count(where) <= estimate.high
        index.delete([record.id for record in records[:3]])
        estimate = index.plan("anything", where=where).estimate
        assert estimate.low <= index.count(where) <= estimate.high < 120


@pytest.mark.parametrize(("selected", "seen"), [(0, 50), (7, 50), (50, 50), (400, 1_000)])
def test_wilson_s_interval_equals_that_of_scipy(selected: int, seen: int) -> None:
    from scipy.stats import binomtest

    expected = binomtest(selected, seen).proportion_ci(0.95, method="wilson")
    low, high = sampled_share(selected, seen, 10**9)
    assert (low, high) == pytest.approx((expected.low, expected.high), abs=1e-4)
    assert sampled_share(selected, seen, seen) == (selected / seen, selected / seen)
