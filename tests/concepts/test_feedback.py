"""Feedback on inferred evidence, and its effect on the next search."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest

from saeindex import FeatureIndex
from saeindex.concepts.feedback import Feedback
from saeindex.concepts.inference import Recipe
from saeindex.errors import InvalidInputError
from saeindex.search.hits import Hits
from tests.samples import all_points, code_of, prepared

PROPERTY = "an expression of disappointment"


@pytest.fixture(scope="module")
def hits(papers: FeatureIndex) -> Hits:
    return papers.search(property=PROPERTY, against=["a question"], like=["doc-4"], limit=240)


def mean_scores(index: FeatureIndex, feature: int, feedback: Feedback) -> tuple[float, float]:
    """Return the mean score of the records with a feature, and of the others."""
    points = all_points(index)
    having = {p.payload["record_id"] for p in points if feature in code_of(p).indices}
    scores = {hit.id: hit.score for hit in index.search(feedback=feedback, limit=240)}
    assert 0 < len(having) < len(scores) == len(points) - 1  # without the example
    return (
        float(np.mean([score for i, score in scores.items() if i in having])),
        float(np.mean([score for i, score in scores.items() if i not in having])),
    )


def frequent(index: FeatureIndex) -> list[int]:
    """Return features that a tenth of the records or more have."""
    share = index.state.sample().concept_share
    return [int(i) for i in np.flatnonzero((share > 0.1) & (share < 0.6))]


def evidence(hits: Hits) -> Feedback:
    assert hits.feedback is not None
    return hits.feedback


def test_hits_have_the_inferred_evidence(papers: FeatureIndex, hits: Hits) -> None:
    feedback = hits.feedback
    assert isinstance(feedback, Feedback)
    assert (feedback.description, feedback.against, feedback.like) == (PROPERTY, ("a question",), ("doc-4",))
    assert len(feedback.concepts) == 20
    assert all(papers.space.labels[c.id].text == c.label for c in feedback.concepts)
    sizes = [abs(concept.weight) for concept in feedback.concepts]
    assert sizes == sorted(sizes, reverse=True)
    assert {"disappointed", "deeply"} & {word.word for word in feedback.words}
    assert papers.search("galaxies").feedback is None


def test_a_concept_has_the_sentence_of_the_hits_that_speaks_of_it_most(hits: Hits) -> None:
    shown = [one for one in evidence(hits).concepts if one.sentence]
    assert shown and all(one.weight > 0 for one in shown)
    for one in shown:
        surest = max(proof.evidence for hit in hits for proof in hit.evidence if proof.id == one.id)
        assert any(
            proof.sentence == one.sentence and proof.evidence == surest
            for hit in hits
            for proof in hit.evidence
            if proof.id == one.id
        )
    assert shown[0].sentence[:40] in str(hits.feedback)
    assert Hits.from_json(hits.to_json()).feedback == hits.feedback
    few = hits[:2].feedback
    assert few is not None and sum(bool(one.sentence) for one in few.concepts) <= len(shown)


def test_the_feedback_of_a_search_repeats_it_exactly(papers: FeatureIndex, hits: Hits) -> None:
    for given in (evidence(hits), evidence(hits).model_dump_json(), evidence(hits).model_dump(mode="json")):
        again = papers.search(feedback=given, limit=240)
        assert [(hit.id, hit.score) for hit in again] == [(hit.id, hit.score) for hit in hits]
        assert again.feedback == evidence(hits)


def test_any_feedback_survives_json(hits: Hits) -> None:
    full = evidence(hits).accept(5, 9).reject(7, words=("Sadly",)).reweighted({11: 0.25}, {"deeply": -2})
    assert Feedback.read(full.model_dump_json()) == full
    assert Feedback.read(json.loads(full.model_dump_json())) == full
    assert Feedback.read(full) is full
    assert full.judged == {5: "accepted", 9: "accepted", 7: "rejected"}
    assert full.word_weights == {"sadly": 0.0, "deeply": -2.0}


def test_accepting_a_concept_raises_its_records_and_rejecting_lowers_them(
    papers: FeatureIndex, hits: Hits
) -> None:
    for feature in frequent(papers)[:4]:
        before, others_before = mean_scores(papers, feature, evidence(hits))
        accepted, others_accepted = mean_scores(papers, feature, evidence(hits).accept(feature))
        rejected, others_rejected = mean_scores(papers, feature, evidence(hits).reject(feature))
        assert accepted - others_accepted > before - others_before
        assert rejected - others_rejected < before - others_before


def test_a_query_by_a_concept_alone_ranks_its_records_first(papers: FeatureIndex) -> None:
    feature = frequent(papers)[0]
    found = papers.search(feedback=Feedback().accept(feature), limit=10, explain=True)
    records = papers.get([hit.id for hit in found], include=["vectors"])
    assert all(record.sae is not None and feature in record.sae.indices for record in records)
    for hit in found:
        assert hit.explanation is not None
        assert hit.explanation.total == pytest.approx(hit.score, abs=1e-5)


def test_judged_concepts_are_shown_with_the_verdict(papers: FeatureIndex, hits: Hits) -> None:
    first, second = frequent(papers)[:2]
    shown = evidence(papers.search(feedback=evidence(hits).accept(first).reject(second)))
    verdicts = {concept.id: concept.verdict for concept in shown.concepts[:2]}
    assert verdicts == {first: "accepted", second: "rejected"}
    weights = {concept.id: concept.weight for concept in shown.concepts}
    assert weights[first] >= Recipe().judged
    assert weights[second] <= -Recipe().judged
    assert "accepted" in str(shown)
    assert f"#{second}" in str(shown)


def test_weights_are_used_as_given(papers: FeatureIndex, hits: Hits) -> None:
    feature = evidence(hits).concepts[0].id
    changed = evidence(hits).reweighted({feature: 0.0}, {"disappointed": 0.0, "question": 3.0})
    rescorer = prepared(papers, feedback=changed).rescorer
    assert rescorer is not None
    inferred = rescorer.scorer.inference
    places = papers.state.sample().places
    assert inferred.concepts[0, feature] == 0.0
    assert inferred.words[0, places["disappointed"]] == 0.0
    # Displayed weights are the effect of a word on a text of a hundred words; "question" is not a word here.
    assert "question" not in places
    deeply = evidence(papers.search(feedback=evidence(hits).reweighted(words={"Deeply": 1.5})))
    assert next(word.weight for word in deeply.words if word.word == "deeply") == pytest.approx(1.5)


def test_a_word_with_weight_zero_is_in_no_explanation(papers: FeatureIndex, hits: Hits) -> None:
    found = papers.search(feedback=evidence(hits).reject(words=("disappointed",)), explain=True)
    parts = [part for hit in found if hit.explanation for part in hit.explanation.parts]
    assert "disappointed" not in {part.label for part in parts if part.kind == "word"}
    assert any("disappointed" in hit.text for hit in found)


def test_a_later_verdict_replaces_the_earlier_in_a_new_object(hits: Hits) -> None:
    feedback = evidence(hits)
    assert feedback.accept(5).reject(5).judged == {5: "rejected"}
    assert feedback.judged == {}
    assert feedback.reweighted({5: 1.0}).concept_weights == {5: 1.0}
    assert feedback.concept_weights == {}


@pytest.mark.parametrize(
    "given",
    [
        {"description": "sad", "mood": 1},
        {"concepts": [{"id": 1, "label": "a", "weight": 1.0, "extra": 2}]},
        {"word_weights": {"a": float("nan")}},
        {"concept_weights": {"1": float("inf")}},
        {"concept_weights": {"1": 100.5}},
        {"concept_weights": {"one": 1.0}},
        {"concepts": [{"id": 1, "label": "a", "weight": float("nan")}]},
        {"judged": {"1": "perhaps"}},
        {"judged": {str(i): "accepted" for i in range(1_001)}},
        {"word_weights": {str(i): 1.0 for i in range(1_001)}},
        {"like": "doc-1"},
        {"like": [{"id": 1}]},
        {"like": ["x"] * 1_001},
        {"against": ["x" * 100_001]},
        {"description": 7},
        [],
        7,
        None,
        "",
        "[]",
        '{"description": NaN}',
        '{"description": "\\ud800"}',
        '{"judged": ' * 5_000,
    ],
    ids=lambda given: str(given)[:40],
)
def test_json_that_is_not_feedback_is_refused(given: Any) -> None:
    with pytest.raises(InvalidInputError, match=r"^feedback: .* Use hits\.feedback\.$"):
        Feedback.read(given)


@pytest.mark.parametrize("weight", [float("nan"), float("inf"), 101, -1e9])
def test_an_invalid_weight_is_refused(weight: float) -> None:
    with pytest.raises(InvalidInputError, match="out of range"):
        Feedback(description="sad").reweighted({5: weight})
    with pytest.raises(InvalidInputError, match="out of range"):
        Feedback(description="sad").reweighted(words={"sad": weight})


def test_a_verdict_without_a_feature_number_is_refused() -> None:
    with pytest.raises(InvalidInputError, match=r"judged\.sad.* should be a valid integer"):
        Feedback(description="sad").accept("sad")  # type: ignore[arg-type]
