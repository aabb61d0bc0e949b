"""Comparisons: differences that sum to the difference of the scores, hits or not."""

from __future__ import annotations

import json
import math
from typing import Any

import pytest
from qdrant_client.models import FieldCondition, Filter, MatchValue

from saeindex import FeatureIndex
from saeindex.errors import InvalidInputError, NotFoundError
from saeindex.search.explain import Comparison
from saeindex.search.hits import compare

TEXT = "the price of copper"
MODES: list[dict[str, Any]] = [
    {},
    {"using": "sae"},
    {"steer": "+#7:2"},
    {"using": "fused"},
    {"using": "fused", "steer": "-#7:1"},
    {"using": "words"},
]


def summed(comparison: Comparison) -> None:
    total = math.fsum(part.value for part in comparison.differences)
    assert total == pytest.approx(comparison.score_a - comparison.score_b, abs=1e-5)
    sizes = [abs(part.value) for part in comparison.differences]
    assert sizes == sorted(sizes, reverse=True)


@pytest.mark.parametrize("mode", MODES)
def test_differences_sum_to_the_difference_of_the_scores(
    any_papers: FeatureIndex, mode: dict[str, Any]
) -> None:
    hits = any_papers.search(TEXT, explain=True, **mode)
    for a, b in zip(hits, hits[3:], strict=False):
        comparison = compare(a, b)
        summed(comparison)
        assert comparison.total == pytest.approx(a.score - b.score, abs=1e-5)
        by_id = any_papers.compare(TEXT, a.id, b.id, **mode)
        assert by_id.total == pytest.approx(comparison.total, abs=1e-5)
        assert len(by_id.differences) == len(comparison.differences)


@pytest.mark.parametrize("mode", MODES)
def test_records_that_are_not_hits_can_be_compared(papers: FeatureIndex, mode: dict[str, Any]) -> None:
    whole = papers.search(TEXT, limit=240, **mode)
    first, last = whole[0], whole[len(whole) - 1]
    comparison = papers.compare(TEXT, last.id, first.id, limit=1, **mode)
    summed(comparison)
    assert comparison.total == pytest.approx(last.score - first.score, abs=1e-5)
    nowhere = Filter(must=[FieldCondition(key="metadata.topic", match=MatchValue(value="none"))])
    if mode.get("using") in ("dense", "sae"):
        assert papers.compare(TEXT, last.id, first.id, query_filter=nowhere, **mode) == comparison


def test_a_comparison_can_be_printed_and_is_json(papers: FeatureIndex) -> None:
    first, second = papers.search(TEXT, limit=2)
    comparison = papers.compare(TEXT, second.id, first.id)
    assert f"{first.id} is {first.score - second.score:.4f} above {second.id}" in str(comparison)
    described = json.loads(json.dumps(comparison.to_json()))
    assert (described["a"], described["score_a"]) == (second.id, comparison.score_a)
    parts = described["differences"]
    assert math.fsum(one["a"] - one["b"] for one in parts) == pytest.approx(comparison.total, abs=1e-9)
    assert set(parts[0]) == {"kind", "feature", "label", "a", "b", "is_weak"}
    assert Comparison.from_json(described) == comparison


def test_invalid_comparisons_are_refused(papers: FeatureIndex) -> None:
    first, second = papers.search(TEXT, limit=2)
    with pytest.raises(InvalidInputError, match="explain=True"):
        compare(first, second)
    with pytest.raises(NotFoundError, match="nobody"):
        papers.compare(TEXT, first.id, "nobody")
