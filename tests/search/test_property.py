"""Search by property: equal on every store, explained, filtered, paged, and refused if invalid."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from saeindex import FeatureIndex, FeatureSpace, Query, Record
from saeindex.concepts.feedback import Feedback
from saeindex.concepts.inference import Asked, Recipe, Scorer, infer, pool_of
from saeindex.concepts.resolver import said_by
from saeindex.errors import InvalidInputError, NotFoundError, UnknownConceptError
from saeindex.operations.search import searcher_of
from saeindex.search.property import interpembed_code
from saeindex.search.query import GroupBy, Property
from tests.samples import RecordingEncoder, sample_records
from tests.search.sampled_indexes import memory_index, sampled

LIKE, UNLIKE = ["doc-4", "doc-17", "doc-30"], ["doc-5", "doc-6"]
QUERIES: dict[str, dict[str, Any]] = {
    "lone": {"property": "an expression of disappointment"},
    "against": {"property": "a question", "against": ["a complaint", "a mathematical statement"]},
    "like": {"like": LIKE},
    "like and unlike": {"like": LIKE, "unlike": UNLIKE},
    "property and examples": {"property": "a complaint", "like": LIKE, "unlike": UNLIKE},
    "property and counter-examples": {"property": "a complaint", "unlike": UNLIKE},
    "text and property": {"text": "galaxies", "property": "a complaint"},
    "text and like": {"text": "galaxies", "like": LIKE, "against": ["medicine"]},
    "steered": {"property": "a complaint", "steer": "+medicine:0.5"},
    "feedback": {"feedback": Feedback(description="a complaint").accept(5).reject(7, words=("sadly",))},
}


@pytest.fixture(scope="module")
def other_papers(space: FeatureSpace, session_encoder: RecordingEncoder) -> FeatureIndex:
    return memory_index(sample_records(240), space, session_encoder)


@pytest.fixture
def sampled_papers(other_papers: FeatureIndex) -> Iterator[FeatureIndex]:
    """An index of which only a quarter is sampled."""
    with sampled(60, nearest=30):
        yield other_papers


def ids(index: FeatureIndex, **options: Any) -> list[str]:
    return [hit.id for hit in index.search(**options)]


@pytest.mark.parametrize("options", QUERIES.values(), ids=QUERIES)
def test_both_engines_give_the_same_hits(
    papers: FeatureIndex, memory_papers: FeatureIndex, options: dict[str, Any]
) -> None:
    found, expected = papers.search(**options, limit=40), memory_papers.search(**options, limit=40)
    assert [hit.id for hit in found] == [hit.id for hit in expected]
    assert [hit.score for hit in found] == pytest.approx([hit.score for hit in expected], abs=1e-4)


@pytest.mark.parametrize("options", QUERIES.values(), ids=QUERIES)
def test_the_parts_of_a_property_score_sum_to_it(
    papers: FeatureIndex, sampled_papers: FeatureIndex, options: dict[str, Any]
) -> None:
    for index in (papers, sampled_papers):
        for hit in index.search(**options, limit=8, explain=True):
            assert hit.explanation is not None
            assert hit.explanation.total == pytest.approx(hit.score, abs=1e-5)
            assert math.fsum(p.value for p in hit.explanation.parts) == pytest.approx(hit.score, abs=1e-5)


def test_the_parts_of_a_hit_have_a_kind(papers: FeatureIndex) -> None:
    hits = papers.search("galaxies", property="a question", against=["a complaint"], explain=True, limit=3)
    for hit in hits:
        assert hit.explanation is not None
        kinds = [part.kind for part in hit.explanation.parts]
        for once in ("residual", "neighbours", "against", "bias", "text"):
            assert kinds.count(once) == 1
        assert {part.feature for part in hit.explanation.parts if part.kind == "feature"} >= {
            activation.id for activation in hit.features if activation.activation > 0
        }
        words = {part.label for part in hit.explanation.parts if part.kind == "word"}
        assert words <= set(re.findall(r"\w+|[?!]", hit.text.lower()))


def test_scores_equal_an_inference_computed_outside_the_index(papers: FeatureIndex) -> None:
    sample = papers.state.sample()
    vectors = np.stack([papers.state.encode(text) for text in ("a question", "a complaint")])
    said = said_by(searcher_of(papers.state).planner.resolver.named("a question"))
    found = infer(sample, pool_of(sample), Asked(vectors, judged=said), papers.encoder)
    scores = dict(
        zip(sample.rows.ids, Scorer(found, sample, Recipe().neighbours).of_sample[:, 0], strict=True)
    )
    hits = papers.search(property="a question", against=["a complaint"], limit=240)
    assert [hit.score for hit in hits] == pytest.approx(sorted(scores.values(), reverse=True), abs=1e-6)


def test_a_property_search_finds_records_with_the_property(
    papers: FeatureIndex, records: list[Record]
) -> None:
    texts = [hit.text for hit in papers.search(property="an expression of disappointment", limit=10)]
    assert sum("disappointed" in text or "Sadly" in text for text in texts) >= 8
    like = [record.id for record in records if "We prove" in record.text][:3]
    texts = [hit.text for hit in papers.search(like=like, limit=10)]
    assert sum("We prove" in text for text in texts) >= 8


def test_the_sampled_and_the_whole_collection_mostly_agree(
    papers: FeatureIndex, sampled_papers: FeatureIndex
) -> None:
    query = {"property": "an expression of disappointment", "limit": 30}
    assert len(set(ids(papers, **query)) & set(ids(sampled_papers, **query))) >= 20


def test_a_filter_keeps_the_ranking_of_matching_records(any_papers: FeatureIndex) -> None:
    query: dict[str, Any] = {"property": "a complaint", "limit": 240}
    where = 'metadata.topic IN ("music", "cooking") AND NOT #5'
    passing = set(ids(any_papers, where=where, limit=240))
    assert 0 < len(passing) < 240
    assert ids(any_papers, where=where, **query) == [i for i in ids(any_papers, **query) if i in passing]


def test_pages_of_a_property_search_are_cut_from_one_ranking(any_papers: FeatureIndex) -> None:
    query: dict[str, Any] = {"property": "a complaint", "against": ["praise"]}
    whole = ids(any_papers, **query, limit=50)
    paged = [i for start in range(0, 50, 7) for i in ids(any_papers, **query, limit=7, offset=start)]
    assert paged[:50] == whole
    assert len(set(whole)) == 50


def test_the_same_search_gives_bitwise_equal_scores(papers: FeatureIndex) -> None:
    for options in QUERIES.values():
        first, second = (papers.search(**options, limit=50) for _ in range(2))
        assert [(hit.id, hit.score) for hit in first] == [(hit.id, hit.score) for hit in second]
    first = papers.search(property="a complaint")
    papers.refresh()  # its inference is removed with the state
    second = papers.search(property="a complaint")
    assert [(hit.id, hit.score) for hit in first] == [(hit.id, hit.score) for hit in second]


def test_counter_examples_alone_lower_similar_records(papers: FeatureIndex) -> None:
    plain = papers.search(property="a complaint", limit=240)
    unlike = [hit.id for hit in plain[:12]]
    without = papers.search(property="a complaint", unlike=unlike, limit=240)
    before = np.mean([hit.score for hit in plain if hit.id in unlike])
    assert np.mean([hit.score for hit in without if hit.id in unlike]) < before - 0.1


def test_thresholds_groups_and_comparisons_work_on_property_scores(papers: FeatureIndex) -> None:
    hits = papers.search(property="a complaint", score_threshold=1.0, limit=240)
    assert hits
    assert all(hit.score >= 1.0 for hit in hits)
    groups = papers.search(property="a complaint", group_by=GroupBy("metadata.topic", size=2)).groups
    assert all(group.hits[0].score >= group.hits[-1].score for group in groups)
    comparison = papers.compare(Query(property="a complaint"), "doc-1", "doc-2")
    total = sum(part.value for part in comparison.differences)
    assert total == pytest.approx(comparison.score_a - comparison.score_b, abs=1e-5)


def test_examples_are_no_hits_and_matches_are_counted(papers: FeatureIndex) -> None:
    hits = papers.search(like=["doc-3", "doc-5"], unlike=["doc-4"], limit=240, total=True)
    assert not {"doc-3", "doc-5"} & {hit.id for hit in hits}
    assert hits.total == len(papers) - 2
    some = papers.search("a complaint", where="metadata.year > 2000", limit=3, total=True)
    assert some.total == papers.count("metadata.year > 2000") > 3
    assert papers.search("a complaint", where="metadata.year > 2000", limit=3).total is None


def test_unknown_examples_are_named(papers: FeatureIndex) -> None:
    with pytest.raises(NotFoundError, match=r"^like: no record 'doc-999'"):
        papers.search(property="sad", like=["doc-3", "doc-999"])
    with pytest.raises(NotFoundError, match=r"^unlike: no record 'doc-999'"):
        papers.search(property="sad", like=["doc-3"], unlike=["doc-4", "doc-999"])


@pytest.mark.parametrize(
    ("options", "found"),
    [
        ({"property": "   "}, "empty description"),
        ({"against": ["happy"]}, "empty text"),
        ({"like": ["doc-1"], "against": ["happy"]}, "no description"),
        ({"unlike": ["doc-1"]}, "empty text"),
        ({"text": "galaxies", "against": ["medicine"]}, "no description"),
        ({"like": ["doc-1"] * 1_001}, "at most 1000 items"),
        ({"property": "sad", "against": ["x"] * 1_001}, "at most 1000 items"),
        ({"like": ["doc-1"], "steer": "+medicine"}, "only examples"),
        ({"property": "sad", "like": "doc-1"}, "Give a list"),
        ({"property": "sad", "against": "happy"}, "Give a list"),
        ({"property": "x" * 100_001}, "100001 characters"),
        ({"property": {"description": "sad", "method": "magic"}}, "no such choice"),
        ({"feedback": Feedback(description="sad"), "property": "sad"}, "a property or examples beside it"),
        ({"feedback": Feedback()}, "nothing to look for"),
        ({"feedback": {"description": " "}}, "empty description"),
        ({"feedback": {"description": "sad", "mood": 1}}, "not known here"),
    ],
)
def test_invalid_property_queries_are_refused(
    papers: FeatureIndex, options: dict[str, Any], found: str
) -> None:
    with pytest.raises(InvalidInputError, match=found):
        papers.search(**options)


def test_feedback_on_features_of_another_space_is_refused(papers: FeatureIndex) -> None:
    for given in (Feedback(description="sad").accept(9_999), {"judged": {"-1": "accepted"}}):
        with pytest.raises(UnknownConceptError, match="has features #0 to #"):
            papers.search(feedback=given)


def test_the_baseline_weighs_the_nearest_labels_by_similarity_and_rank(papers: FeatureIndex) -> None:
    space, vector = papers.space, papers.state.encode("a complaint")
    similarity = {
        i: float(space.label_vectors[i] @ vector)
        for i in range(space.n_features)
        if np.isfinite(space.calibration.p90[i])
    }
    ranked = sorted(similarity, key=lambda i: -similarity[i])[:100]
    expected = {
        i: max(0.0, similarity[i]) * math.exp(-rank / 30) / float(space.calibration.p90[i])
        for rank, i in enumerate(ranked)
    }
    code = interpembed_code(vector, space)
    assert dict(zip(code.indices.tolist(), code.values.tolist(), strict=True)) == pytest.approx(
        expected, rel=1e-4
    )
    hits = papers.search(property=Property("a complaint", method="interpembed"), explain=True)
    for hit in hits:
        assert hit.explanation is not None
        assert hit.explanation.total == pytest.approx(hit.score, abs=1e-5)
