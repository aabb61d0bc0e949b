"""Fused search against its formulas, and one request against two lists."""

from __future__ import annotations

import numpy as np
import pytest

from saeindex import FeatureIndex, Query
from saeindex.errors import InvalidInputError
from saeindex.search.query import Fused
from saeindex.search.retrieval import WEIGHTS, summands
from saeindex.types import FusionMethod
from tests.samples import all_points, code_of, dense, prepared, sample_records

TEXTS = [record.text for record in sample_records(6, seed=17)]
METHODS: list[FusionMethod] = ["rrf", "dbsf", "weighted"]


def lists(index: FeatureIndex, text: str, steer: str = "") -> dict[str, list[tuple[str, float]]]:
    """Return each source's whole ranking (record id, float32 score), from vectors alone."""
    vector = prepared(index, text, steer=steer).vector
    code = index.space.sae.encode(vector[None]).to_csr().toarray()[0]
    found: dict[str, list[tuple[str, float]]] = {"dense": [], "sae": []}
    for point in all_points(index):
        own = code_of(point)
        cosine = dense(point).astype(float) @ vector.astype(float)
        product = own.values.astype(float) @ code[own.indices].astype(float)
        found["dense"].append((point.payload["record_id"], float(cosine)))
        found["sae"] += [(point.payload["record_id"], float(product))] if product else []
    return {name: sorted(scored, key=lambda item: -item[1]) for name, scored in found.items()}


def expected(index: FeatureIndex, text: str, method: str, steer: str = "") -> dict[str, float]:
    totals: dict[str, float] = {}
    for name, ranked in lists(index, text, steer).items():
        scores = np.array([score for _, score in ranked])
        for rank, (record, score) in enumerate(ranked):
            value = {
                "rrf": 1 / (2 + rank),
                "dbsf": (score - (scores.mean() - 3 * scores.std(ddof=1))) / (6 * scores.std(ddof=1)),
                "weighted": WEIGHTS[name] * (score - scores.min()) / np.ptp(scores),
            }[method]
            totals[record] = totals.get(record, 0.0) + float(value)
    return totals


@pytest.mark.parametrize("steer", ["", "+#7:2"])
@pytest.mark.parametrize("method", METHODS)
def test_a_fused_score_equals_the_formula(papers: FeatureIndex, method: FusionMethod, steer: str) -> None:
    for text in TEXTS:
        wanted = expected(papers, text, method, steer)
        hits = papers.search(text, using=Fused(method), steer=steer, limit=240)
        assert len(hits) == len(wanted)
        # Nearly equal float32 scores may be in another order in a list of exact ones.
        tolerance = 0.02 if method == "rrf" else 1e-4
        assert all(hit.score == pytest.approx(wanted[hit.id], abs=tolerance) for hit in hits)
        assert [hit.score for hit in hits] == sorted((hit.score for hit in hits), reverse=True)


@pytest.mark.parametrize("method", METHODS)
def test_explained_and_unexplained_fused_scores_are_bitwise_equal(
    papers: FeatureIndex, method: FusionMethod
) -> None:
    for text in TEXTS[:3]:
        query = Query(text, using=Fused(method), limit=20, offset=3, where="NOT #7")
        plain, explained = papers.search(query), papers.search(query, explain=True)
        assert [(hit.id, hit.score) for hit in plain] == [(hit.id, hit.score) for hit in explained]


def test_the_parts_of_reciprocal_ranks_name_each_rank(papers: FeatureIndex) -> None:
    ranks = {
        name: {hit.id: rank for rank, hit in enumerate(papers.search(TEXTS[0], using=name, limit=240), 1)}
        for name in ("dense", "sae")
    }
    for hit in papers.search(TEXTS[0], using="fused", explain=True, limit=30):
        assert hit.explanation is not None
        for part, source in zip(hit.explanation.parts, hit.explanation.sources, strict=True):
            assert source.rank == ranks[source.name].get(hit.id)
            assert part.kind == "source"
            if source.rank is None:
                assert (part.value, source.score, source.explanation) == (0.0, None, None)
            else:
                assert part.label == f"{source.name} rank {source.rank}"
                assert part.value == 1 / (1 + source.rank)


@pytest.mark.parametrize("method", METHODS)
def test_the_score_of_each_source_is_explained(papers: FeatureIndex, method: FusionMethod) -> None:
    seen = 0
    for text in TEXTS:
        for hit in papers.search(text, using=Fused(method), explain=True):
            assert hit.explanation is not None
            for source in hit.explanation.sources:
                if source.explanation is not None:
                    assert source.score is not None
                    assert source.explanation.total == pytest.approx(source.score, abs=1e-5)
                    seen += 1
    assert seen > 80


@pytest.mark.parametrize("method", METHODS)
def test_a_threshold_applies_to_the_fused_score(papers: FeatureIndex, method: FusionMethod) -> None:
    hits = papers.search(TEXTS[1], using=Fused(method), limit=50)
    threshold = hits[9].score
    for explain in (False, True):
        kept = papers.search(
            TEXTS[1], using=Fused(method), limit=50, score_threshold=threshold, explain=explain
        )
        assert [hit.id for hit in kept] == [hit.id for hit in hits if hit.score >= threshold]


def test_empty_and_single_lists_can_be_fused() -> None:
    for method in METHODS:
        assert summands([], method, 0.7) == []
    assert summands([0.4], "weighted", 0.7) == [0.7]
    assert summands([0.4], "dbsf", 0.7) == [0.5]
    assert summands([0.4, 0.4], "weighted", 0.3) == [0.3, 0.3]


def test_an_unknown_fusion_is_refused(papers: FeatureIndex) -> None:
    with pytest.raises(InvalidInputError, match="fusion"):
        papers.search(TEXTS[0], using=Fused("sum"))  # type: ignore[arg-type]
