"""Filtering after the scan and within it give bitwise equal results."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from saeindex import FeatureIndex
from saeindex.protocols import Point, SearchRequest
from saeindex.search import plan as choices
from saeindex.search import retrieval as scoring
from saeindex.testing.sample_filters import sample_filter
from tests.samples import prepared, sample_records

TEXTS = [record.text for record in sample_records(5, seed=23)]


def shown(points: list[Point]) -> list[tuple[object, float | None]]:
    return [(point.id, point.score) for point in points]


@pytest.mark.parametrize("postfilter", [1, 10, 60, 239, 240, 500])
def test_filtering_after_the_scan_changes_no_result(papers: FeatureIndex, postfilter: int) -> None:
    plan = prepared(papers, TEXTS[0], where="NOT #5")
    requests = [
        SearchRequest(plan.vector, query_filter=plan.query_filter, limit=limit, offset=offset)
        for limit, offset in ((1, 0), (10, 0), (10, 25), (240, 0))
    ]
    requests += [replace(request, score_threshold=0.15) for request in requests]
    requests.append(
        SearchRequest(plan.vector, query_filter=prepared(papers, where="#5 AND NOT #5").query_filter)
    )
    for request in requests:
        assert shown(papers.state.store.search(replace(request, postfilter=postfilter))) == shown(
            papers.state.store.search(request)
        )


def test_equal_scores_at_the_cutoff_stay_in_id_order(papers: FeatureIndex) -> None:
    zero = np.zeros(384, np.float32)
    zero[0] = 1e-30  # all scores are nearly equal
    plan = prepared(papers, TEXTS[1], where="NOT #5")
    request = SearchRequest(plan.vector * 0 + zero, query_filter=plan.query_filter, limit=5)
    for postfilter in (5, 8, 50):
        assert shown(papers.state.store.search(replace(request, postfilter=postfilter))) == shown(
            papers.state.store.search(request)
        )


def test_a_search_is_the_same_wherever_its_filter_is_applied(
    papers: FeatureIndex, monkeypatch: pytest.MonkeyPatch
) -> None:
    wheres = [
        "NOT #5",
        "metadata.year >= 1995",
        "NOT #5 AND metadata.year < 2020",
        "#5 OR metadata.year > 2000",
    ]
    options: list[Any] = [{"where": where, "limit": limit} for where in wheres for limit in (3, 40)]

    def found() -> list[list[tuple[str, float]]]:
        return [
            [(hit.id, hit.score) for hit in papers.search(text, using="dense", **each)]
            for text in TEXTS
            for each in options
        ]

    within = found()
    monkeypatch.setattr(choices, "AFTER_FROM", 1)
    monkeypatch.setattr(scoring, "MIN_POSTFILTERED", 5)
    assert papers.plan(TEXTS[0], using="dense", where="NOT #5").choices.after.value
    assert found() == within


def test_random_filters_after_the_scan_change_no_result(papers: FeatureIndex) -> None:
    rng = np.random.default_rng(4)
    vector = prepared(papers, TEXTS[2]).vector
    for _ in range(40):
        request = SearchRequest(vector, query_filter=sample_filter(rng), limit=int(rng.integers(1, 30)))
        postfiltered = replace(request, postfilter=int(rng.integers(1, 300)))
        assert shown(papers.state.store.search(postfiltered)) == shown(papers.state.store.search(request))
