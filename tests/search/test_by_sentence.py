"""Search by text and nearest sentence: its scores, its pages, and what it says of itself."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from qdrant_client import QdrantClient

from saeindex import FeatureIndex, FeatureSpace, Record
from saeindex.errors import InvalidInputError
from tests.samples import RecordingEncoder, sample_records

QUESTION = "why is my wrist broken?"
BURIED = Record(
    "buried",
    "The valley was quiet in July. Why a broken wrist hurts for weeks is easy to say. Copper was cheap.",
)


@pytest.fixture(scope="module", params=["edge", "memory"])
def index(
    request: pytest.FixtureRequest,
    tmp_path_factory: pytest.TempPathFactory,
    space: FeatureSpace,
    session_encoder: RecordingEncoder,
) -> Iterator[FeatureIndex]:
    path = tmp_path_factory.mktemp("sentences") / "texts.idx"
    client = QdrantClient(":memory:") if request.param == "memory" else None
    with FeatureIndex.create(
        "texts" if client else path, space, client=client, encoder=session_encoder
    ) as made:
        made.upsert([*sample_records(150, seed=3), BURIED], learn_terms=False)
        yield made


def cosines(index: FeatureIndex, record: Record) -> tuple[float, float]:
    """Return the cosine of a record's text to the question, and that of its nearest sentence."""
    from saeindex.indexing.sentences import sentences_in, spans_in

    question = index.encoder.encode_query([QUESTION])[0]
    sentences = sentences_in(record.text, spans_in(record.text))
    whole, *each = index.encoder.encode_document([record.text, *sentences]) @ question
    return float(whole), float(np.max(each))


def test_a_score_is_of_the_text_and_its_nearest_sentence(index: FeatureIndex) -> None:
    hits = index.search(QUESTION, using="sentences", limit=100)
    scores = {hit.id: hit.score for hit in hits}
    for record in (BURIED, *sample_records(20, seed=3)):
        whole, nearest = cosines(index, record)
        if record.id in scores:
            expected = (whole + nearest / 2) / 1.5
            assert scores[record.id] == pytest.approx(expected, abs=0.003)  # of vectors in one byte a number
    assert [hit.score for hit in hits] == sorted(scores.values(), reverse=True)


def test_a_sentence_that_answers_lifts_its_text(index: FeatureIndex) -> None:
    places = [
        [hit.id for hit in index.search(QUESTION, using=using, limit=151)].index("buried")
        for using in ("dense", "sentences")
    ]
    assert places[1] < places[0]


def test_pages_filters_and_thresholds_are_those_of_one_ranking(index: FeatureIndex) -> None:
    every = index.search(QUESTION, using="sentences", limit=20)
    page = index.search(QUESTION, using="sentences", offset=5, limit=5)
    assert [hit.id for hit in page] == [hit.id for hit in every[5:10]]
    least = every[7].score
    above = index.search(QUESTION, using="sentences", score_threshold=least, limit=20)
    assert [hit.id for hit in above] == [hit.id for hit in every[:8]]
    music = index.search(QUESTION, using="sentences", where='metadata.topic = "music"', limit=20)
    assert {hit.metadata["topic"] for hit in music} == {"music"}
    assert music[0].score == pytest.approx(
        next(
            hit.score for hit in index.search(QUESTION, using="sentences", limit=151) if hit.id == music[0].id
        )
    )


def test_parts_add_up_steered_and_compared(index: FeatureIndex) -> None:
    hits = index.search(QUESTION, using="sentences", steer="+medicine:1", explain=True, limit=5)
    for hit in hits:
        assert hit.explanation is not None
        assert hit.explanation.total == pytest.approx(hit.score, abs=1e-5)
        assert [part.kind for part in hit.explanation.parts].count("sentence") == 1
        assert hit.steered is not None
    different = index.compare(QUESTION, hits[0].id, "buried", using="sentences")
    assert different.score_a - different.score_b == pytest.approx(sum(d.value for d in different.differences))


def test_the_plan_says_it(index: FeatureIndex) -> None:
    plan = str(index.plan(QUESTION, using="sentences"))
    assert "Score the first 1,000 by dense: 1 dense + 0.5 sentences" in plan
    assert "search dense; search sentences; get the page" in plan


def test_it_needs_vectors_of_sentences(
    tmp_path: Path, space: FeatureSpace, session_encoder: RecordingEncoder
) -> None:
    with FeatureIndex.create(tmp_path / "i", space, encoder=session_encoder, sentences="codes") as index:
        index.upsert([BURIED])
        with pytest.raises(InvalidInputError, match="keeps no vectors of sentences"):
            index.search(QUESTION, using="sentences")
