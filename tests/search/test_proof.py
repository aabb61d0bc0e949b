"""Hits show what their records say of a query's concepts, with the sentence that proves it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from qdrant_client import QdrantClient

from saeindex import FeatureIndex, FeatureSpace, Record
from saeindex.config import SentenceStorage
from saeindex.features.evidence import Evidence
from saeindex.indexing.points import mentions_of, proofs
from saeindex.search.hits import Hit
from tests.evidence_reference import evidence_of, sentences_of
from tests.samples import RecordingEncoder, all_points

RAIN = "It was dry. \U0001f327\ufe0f Heavy RAINS flooded the streets on Monday. Nobody was hurt."
SAID = {
    "rain": RAIN,
    "music": "The jazz concert began late.\n\nWe heard a violin and a song about the rain.",
    "stars": "Two galaxies collide in the night sky. A quasar shines behind them.",
    "tax": "The senate voted on tax reform. The mayor was against it.",
}
PROMPTS = {
    "rain": "What is the weather like? Is there a galaxy?",
    "stars": "Tell me about rain. And about music, too.",
}
RECORDS = [
    Record(key, text, {}, {"prompt": PROMPTS[key]} if key in PROMPTS else {}) for key, text in SAID.items()
]
STORED: tuple[SentenceStorage, ...] = ("stored", "codes")
QUERIES: dict[str, dict[str, Any]] = {
    "a filter": {"where": '"rain"'},
    "a filter by number": {"where": "metadata.n = 1 OR NOT (NOT #RAIN)"},
    "a filter and a text": {"text": "the law", "where": 'possible("rain")'},
    "a text": {"text": "rain"},
    "a text with a vector of its own": {"text": "downpours of rain", "using": "sae"},
    "a steer": {"text": "something new", "steer": '+"rain":1'},
    "a steer by number": {"text": "something new", "steer": "+#RAIN:1"},
    "a steer away": {"text": "something new", "steer": '-"rain":0.5'},
    "what is excluded": {"where": 'NOT strong("rain")'},
}  # fmt: skip


def make(
    path: Path | str, space: FeatureSpace, encoder: RecordingEncoder, kept: SentenceStorage, **options: Any
) -> FeatureIndex:
    index = FeatureIndex.create(
        path, space, encoder=encoder, fields=("prompt",), sentences=kept, **options
    )  # fmt: skip
    index.upsert(RECORDS)
    return index


@pytest.fixture(params=["stored", "codes", "memory"])
def index(
    request: pytest.FixtureRequest, tmp_path: Path, space: FeatureSpace, encoder: RecordingEncoder
) -> FeatureIndex:
    if request.param == "memory":
        return make("few", space, encoder, "stored", client=QdrantClient(":memory:"))
    return make(tmp_path / "few.idx", space, encoder, request.param)


def number_of(space: FeatureSpace, name: str) -> int:
    assert space.evidence is not None
    named: list[int] = space.evidence.features.tolist()
    return next(one for one in named if space.labels[one].text == name)


def assert_proven(index: FeatureIndex, hits: Any, least: float = 0.5) -> dict[tuple[str, int], float]:
    """Compare the evidence of hits with the reference; return it by record and feature."""
    points = {point.payload["record_id"]: point for point in all_points(index)}
    found: dict[tuple[str, int], float] = {}
    for hit in hits:
        said = evidence_of(index.space, index.encoder, points[hit.id])
        for proof in hit.evidence:
            assert proof.evidence == round(said[proof.id].p, 2) >= least
            assert proof.label == index.space.labels[proof.id].text
            assert hit.text[proof.start : proof.start + len(proof.sentence)] == proof.sentence
            spans = points[hit.id].payload["spans"]
            number = said[proof.id].sentence
            assert [proof.start, proof.start + len(proof.sentence)] == spans[2 * number : 2 * number + 2]
            found[hit.id, proof.id] = proof.evidence
        shares = [proof.evidence for proof in hit.evidence]
        assert shares == sorted(shares, reverse=True)
        assert len({proof.id for proof in hit.evidence}) == len(hit.evidence)
    return found


@pytest.mark.parametrize("query", QUERIES.values(), ids=QUERIES)
def test_hits_prove_the_concepts_of_a_query_that_their_records_speak_of(
    index: FeatureIndex, query: dict[str, Any]
) -> None:
    with index:
        rain = number_of(index.space, "rain")
        query = {key: one.replace("RAIN", str(rain)) for key, one in query.items()}
        hits = index.search(**query, limit=10)
        is_doubted = query.get("where", "").startswith("possible")
        found = assert_proven(index, hits, 0.2 if is_doubted else 0.5)
        codes = {p.payload["record_id"]: set(p.payload["concepts"]) for p in all_points(index)}
        asked = {rain * 4, rain * 4 + 3} if is_doubted else {rain * 4}
        speaking = {hit.id for hit in hits if asked & codes[hit.id]}
        assert {key for key, feature in found if feature == rain} == speaking
        assert speaking or query["where"].startswith("NOT")


def test_the_proof_is_the_sentence_with_the_word_marked_after_other_sentences_and_emoji(
    index: FeatureIndex,
) -> None:
    with index:
        hits = {hit.id: hit for hit in index.search(where='"rain"')}
        assert set(hits) == {"rain", "music"}
        (proof,) = hits["rain"].evidence
        assert proof.sentence == "\U0001f327\ufe0f Heavy RAINS flooded the streets on Monday."
        assert proof.start == RAIN.index("\U0001f327")
        assert proof.word is not None and proof.sentence[slice(*proof.word)] == "RAINS"
        assert proof.parts(80) == ("\U0001f327\ufe0f Heavy ", "RAINS", " flooded the streets on Monday.")
        assert Hit.from_json(hits["rain"].to_json()) == hits["rain"]


def test_what_a_record_only_means_is_proven_without_a_word(
    papers: FeatureIndex,
) -> None:
    evidence = papers.space.evidence
    assert evidence is not None
    meant: set[int] = set()
    for point in all_points(papers):
        sentences = sentences_of(point)
        surest = [one for one in mentions_of(point.payload) if one.p >= 0.5]
        meant |= {
            one.feature for one in surest if evidence.word_of(sentences[one.sentence], one.feature) is None
        }
    assert len(meant) > 3
    for feature in sorted(meant)[:10]:
        hits = papers.search(where=f"#{feature}", limit=240)
        words = {proof.word for hit in hits for proof in hit.evidence}
        assert None in words and {proof.id for hit in hits for proof in hit.evidence} == {feature}
        for proof in (proof for hit in hits for proof in hit.evidence if proof.word is None):
            assert proof.parts(500)[:2] == ("", "")


def test_only_concepts_of_the_query_are_proven(index: FeatureIndex) -> None:
    with index:
        rain, tax = (number_of(index.space, name) for name in ("rain", "tax"))
        of_both = index.search(where='"rain" OR "tax"')
        assert {proof.id for hit in of_both for proof in hit.evidence} == {rain, tax}
        of_free = index.search(where=f'#{index.space.n_features - 1} OR record_id = "tax"')
        assert [hit.evidence for hit in of_free if hit.id == "tax"] == [()]
        assert all(hit.evidence == () for hit in index.search(where='record_id = "rain"'))
        plain, unmoved = (index.search("something new", steer=steer) for steer in (None, '+"rain":0'))
        but_scores = ([replace(hit, score=0.0) for hit in hits] for hits in (plain, unmoved))
        assert next(but_scores) == next(but_scores)
        assert [hit.score for hit in plain] == pytest.approx([hit.score for hit in unmoved], abs=1e-6)


def test_hits_prove_by_their_own_text_and_a_further_text_has_proofs_of_its_own(index: FeatureIndex) -> None:
    with index:
        rain, galaxy = (number_of(index.space, name) for name in ("rain", "galaxy"))
        assert {hit.id for hit in index.search(where=f"#{galaxy}")} == {"stars"}
        points = {point.payload["record_id"]: point for point in all_points(index)}
        for key, prompt in PROMPTS.items():
            payload = points[key].payload
            reference = evidence_of(index.space, index.encoder, points[key], "prompt")
            mentions = mentions_of(payload, "prompt")
            assert {one.feature: one.p for one in mentions} == {
                feature: round(one.p, 2) for feature, one in reference.items()
            }
            for proof in proofs(payload, index.space, mentions, "prompt"):
                assert prompt[proof.start :].startswith(proof.sentence)
        of_prompt = {one.feature: one for one in mentions_of(points["stars"].payload, "prompt")}
        (proof,) = proofs(points["stars"].payload, index.space, [of_prompt[rain]], "prompt")
        assert (proof.sentence, proof.start) == ("Tell me about rain.", 0)
        assert galaxy not in of_prompt
        assert mentions_of(points["tax"].payload, "prompt") == []


def test_without_sentences_there_are_neither_proofs_nor_evidence(
    tmp_path: Path, space: FeatureSpace, encoder: RecordingEncoder
) -> None:
    with make(tmp_path / "off.idx", space, encoder, "off") as index:
        for query in QUERIES.values():
            hits = index.search(**{key: one.replace("RAIN", "560") for key, one in query.items()})
            assert all(hit.evidence == () for hit in hits)
            assert all(one.evidence is None for hit in hits for one in hit.features)
        assert mentions_of(all_points(index)[0].payload) == []
        assert not index.state.snapshot().has_evidence


def test_records_that_do_not_even_possibly_speak_of_a_concept_are_the_others(index: FeatureIndex) -> None:
    with index:
        rain = number_of(index.space, "rain")
        said = {
            point.payload["record_id"]
            for point in all_points(index)
            if rain in evidence_of(index.space, index.encoder, point)
        }
        assert {"rain", "music"} <= said < set(SAID)
        hits = index.search("what about the rain", where=f"NOT possible(#{rain})", explain=True)
        assert {hit.id for hit in hits} == set(SAID) - said
        for hit in hits:
            assert rain not in {proof.id for proof in hit.evidence}
            assert hit.explanation is not None
            assert [clause.matched for clause in hit.explanation.clauses] == [True]
            assert rain not in {part.feature for part in hit.explanation.parts}


def test_a_card_counts_the_records_at_each_level_and_proves_the_surest(
    papers: FeatureIndex, papers_codes: dict[str, set[int]]
) -> None:
    assert papers.space.evidence is not None
    counted = 0
    for name in ("galaxy", "soup", "disappointment", "food"):
        feature = number_of(papers.space, name)
        card = papers.concepts.card(feature)
        assert list(card.records_at_level) == [
            sum(feature * 4 + level in codes for codes in papers_codes.values()) for level in range(4)
        ]
        for one in card.strongest if card.records_at_level[0] else ():
            assert one.proof is not None and one.proof.id == feature and one.proof.evidence >= 0.5
            assert one.text[one.proof.start :].startswith(one.proof.sentence)
            counted += 1
    free = papers.concepts.card(papers.space.sae.n_features - 1)
    assert all(one.proof is None for one in free.strongest)
    assert free.records_at_level[3] == free.records_at_level[0], "a free feature is present or absent"
    assert counted > 5


def test_a_calibrated_copy_takes_evidence_as_it_is(
    index: FeatureIndex, tmp_path: Path, encoder: RecordingEncoder, monkeypatch: pytest.MonkeyPatch
) -> None:
    def read_again(*_: object) -> None:
        raise AssertionError("what sentences say does not depend on levels")

    kept = ("evidence", "speaking", "evidence_prompt")
    with index:
        before = {p.id: [p.payload.get(one) for one in kept] for p in all_points(index)}
        monkeypatch.setattr(Evidence, "of_texts", read_again)
        index.copy(tmp_path / "copy.idx", calibrate=True)
    with FeatureIndex.open(tmp_path / "copy.idx", encoder=encoder) as copied:
        assert {p.id: [p.payload.get(one) for one in kept] for p in all_points(copied)} == before
