"""Diversity: fewer near-duplicates, more concepts, one fixed order."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from saeindex import FeatureIndex, FeatureSpace, Record
from saeindex.errors import InvalidInputError
from saeindex.features.calibration import LOUDEST
from saeindex.search.grouping import code_similarity, greedy_order
from tests.samples import RecordingEncoder, all_points, code_of, sample_records

QUESTION = "how prices and markets change"


@pytest.fixture(scope="module")
def copies(
    tmp_path_factory: pytest.TempPathFactory, space: FeatureSpace, session_encoder: RecordingEncoder
) -> Iterator[FeatureIndex]:
    """Eight near-copies of each of the texts of a few topics."""
    records = [
        Record(f"{record.id}-{copy}", f"{record.text.rstrip()} ({copy})", {"of": record.id})
        for record in sample_records(25, seed=31)
        for copy in range(8)
    ]
    path = tmp_path_factory.mktemp("copies") / "copies.idx"
    with FeatureIndex.create(path, space, encoder=session_encoder) as index:
        index.upsert(records)
        yield index


def concepts(index: FeatureIndex, diversity: float) -> int:
    """Return how many different features the ten hits have."""
    hits = index.search(QUESTION, diversity=diversity)
    found = {hit.id for hit in hits}
    codes = [code_of(p).indices for p in all_points(index) if p.payload["record_id"] in found]
    return len(np.unique(np.concatenate(codes)))


@pytest.mark.parametrize("using", ["dense", "sae", "fused"])
def test_diverse_hits_are_of_more_originals(copies: FeatureIndex, using: Any) -> None:
    originals = [
        len({hit.metadata["of"] for hit in copies.search(QUESTION, using=using, diversity=diversity)})
        for diversity in (0.0, 0.5)
    ]
    assert originals[0] <= 4
    assert originals[1] >= 2 * originals[0]


def test_diverse_hits_have_more_concepts(copies: FeatureIndex) -> None:
    assert concepts(copies, 0.5) > 1.3 * concepts(copies, 0.0)


def test_the_best_hit_stays_first_and_scores_are_unchanged(copies: FeatureIndex) -> None:
    plain = {hit.id: hit.score for hit in copies.search(QUESTION, limit=200)}
    diverse = copies.search(QUESTION, diversity=0.4, limit=30)
    assert diverse[0].id == next(iter(plain))
    assert all(plain[hit.id] == hit.score for hit in diverse)


def test_every_record_of_a_ranking_occurs_once(papers: FeatureIndex) -> None:
    plain = papers.search(QUESTION, limit=240)
    diverse = papers.search(QUESTION, limit=240, diversity=0.8)
    assert [hit.id for hit in plain] != [hit.id for hit in diverse]
    assert {hit.id for hit in plain} == {hit.id for hit in diverse}


def test_similarity_is_the_cosine_of_capped_shares_of_p90(papers: FeatureIndex) -> None:
    points = all_points(papers)[:40]
    similarity = code_similarity(points, papers.space.calibration)
    rows = np.zeros((len(points), papers.space.n_features))
    for row, point in enumerate(points):
        for feature, value in zip(code_of(point).indices, code_of(point).values, strict=True):
            rows[row, feature] = min(float(value) / papers.space.calibration.p90[feature], LOUDEST)
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    np.testing.assert_allclose(similarity, rows @ rows.T, atol=1e-9)


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 10_000), m=st.integers(1, 12), diversity=st.floats(0, 1))
def test_the_greedy_order_equals_the_definition(seed: int, m: int, diversity: float) -> None:
    rng = np.random.default_rng(seed)
    scores = -np.sort(-rng.normal(size=m))
    vectors = rng.random((m, 4))
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    similarity = vectors @ vectors.T
    spread = np.ptp(scores)
    relevance = (scores - scores.min()) / spread if spread else np.zeros(m)
    order: list[int] = []
    while len(order) < m:
        gains = {
            row: (1 - diversity) * relevance[row]
            - diversity * max((similarity[row, chosen] for chosen in order), default=0.0)
            for row in range(m)
            if row not in order
        }
        order.append(max(gains, key=lambda row: (round(gains[row], 12), -row)))
    found = greedy_order(scores, similarity, diversity)
    assert sorted(found) == list(range(m))
    assert found == order


@pytest.mark.parametrize("diversity", [-0.1, 1.1, float("nan"), True])
def test_a_diversity_outside_0_to_1_is_refused(papers: FeatureIndex, diversity: float) -> None:
    with pytest.raises(InvalidInputError, match="diversity"):
        papers.search(QUESTION, diversity=diversity)


@pytest.mark.parametrize("diversity", [0.0, 0.5, 1.0])
def test_an_empty_ranking_can_be_diversified(papers: FeatureIndex, diversity: float) -> None:
    assert len(papers.search(QUESTION, diversity=diversity, score_threshold=0.999)) == 0
    assert len(papers.search(where="#7 AND NOT #7", diversity=diversity)) == 0
