"""Fused search against its formula: of the text, its nearest sentence and its words, as an index has them."""

from __future__ import annotations

from collections.abc import Iterator
from math import log
from typing import Any

import pytest
from qdrant_client import QdrantClient

from saeindex import FeatureIndex, FeatureSpace, Query, Record
from saeindex.config import SentenceStorage
from saeindex.errors import InvalidInputError
from saeindex.indexing.sentences import sentences_in, spans_in
from saeindex.indexing.words import words_in, words_of
from saeindex.search import plan
from tests.samples import RandomEncoder, prepared, sample_records

RECORDS = [
    *sample_records(150, seed=3),
    Record("code", "The copper pipe of the house was replaced. It was part KRT-17. Nobody knew."),
    Record("empty", "…"),
]
TEXTS = ["violin researchers", "krt-17", "why is frost in the valley", "of the"]
KEPT: list[tuple[SentenceStorage, str]] = [
    ("stored", "english"), ("codes", "english"), ("stored", "off"), ("off", "off"),
]  # fmt: skip


@pytest.fixture(scope="module", params=[(*KEPT[0], True), *((*one, False) for one in KEPT)], ids=str)
def index(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, space: FeatureSpace
) -> Iterator[FeatureIndex]:
    sentences, words, is_local = request.param
    client = QdrantClient(":memory:") if is_local else None
    path = "texts" if is_local else tmp_path_factory.mktemp("fused") / "texts.idx"
    with FeatureIndex.create(
        path, space, client=client, encoder=RandomEncoder(space.encoder), sentences=sentences, words=words
    ) as made:
        made.upsert(RECORDS, learn_terms=False)
        yield made


def expected(index: FeatureIndex, text: str, **options: Any) -> dict[str, float]:
    """Return the fused score of each record, from their texts alone."""
    known, vector = index.state.manifest, prepared(index, text, **options).vector
    rows = words_of([one.text for one in RECORDS], "english")
    weights = [dict(zip(row.indices.tolist(), row.values.tolist(), strict=True)) for row in rows]
    counts = {word: sum(word in row for row in weights) for word in words_in(text, "english")}
    total = len(RECORDS)
    rarity = {w: log(1 + (total - n + 0.5) / (n + 0.5)) for w, n in counts.items() if n}
    of_one = min(8.0, max(5.0, log(1 + (total - 0.5) / 1.5)))
    names = words_in(text, "english")
    codes = {
        w
        for w in rarity
        if any(map(str.isdigit, names[w])) and not (names[w].isdigit() and len(names[w]) < 4)
    }
    rare = {word: (one / of_one) ** (1 if word in codes else 4) for word, one in rarity.items()}
    most = {word: (2 if word in codes else 0.8) / max(1, sum(rare.values())) for word in rarity}
    asked = {word: 0.3 * one / sum(rarity.values()) + most[word] * rare[word] for word, one in rarity.items()}
    mean = index.space.calibration.mean
    assert mean is not None
    spread = 1 - float(mean @ mean)
    asked = {word: spread * one for word, one in asked.items()} if known.words == "english" else {}
    has_sentences = known.sentences == "stored"
    whole = 1 + 0.5 * has_sentences + sum(asked.values())
    found = {}
    for record, row in zip(RECORDS, weights, strict=True):
        (own,) = index.encoder.encode_document([record.text.strip()]) @ vector
        parts = sentences_in(record.text, spans_in(record.text))
        nearest = (index.encoder.encode_document(parts) @ vector).max() if parts else own
        score = own + 0.5 * has_sentences * nearest
        found[record.id] = (score + sum(one * row.get(w, 0) / 2.2 for w, one in asked.items())) / whole
    return found


@pytest.mark.parametrize("options", [{}, {"steer": "+#7:1"}], ids=["plain", "steered"])
def test_a_fused_score_equals_the_formula(index: FeatureIndex, options: dict[str, Any]) -> None:
    for text in TEXTS:
        wanted = expected(index, text, **options)
        hits = index.search(text, using="fused", limit=200, explain=True, **options)
        assert {hit.id for hit in hits} == wanted.keys()
        assert [hit.score for hit in hits] == sorted((hit.score for hit in hits), reverse=True)
        for hit in hits:
            assert hit.score == pytest.approx(wanted[hit.id], abs=1e-3)  # of vectors in one byte a number
            assert hit.score <= 1
            assert hit.explanation is not None
            assert hit.explanation.total == pytest.approx(hit.score, abs=1e-5)
            assert sum(part.value for part in hit.explanation.parts) == pytest.approx(hit.score, abs=1e-5)


def test_a_code_is_first_where_words_are_kept(index: FeatureIndex) -> None:
    for text in ("krt-17", "what is KRT17?", "tell me about violin concertos with krt-17 in the valley"):
        (hit,) = index.search(text, using="fused", limit=1)
        assert hit.id == "code" or index.state.manifest.words == "off"


def test_a_deeper_search_goes_on_where_the_pages_before_ended(
    index: FeatureIndex, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(plan, "POOL", 20)
    monkeypatch.setattr(plan, "WITH_WORDS", 20)
    where: list[dict[str, Any]] = [{}, {"where": "metadata.year < 2010"}]
    for options in where:
        whole = index.search("violin researchers", using="fused", limit=500, **options)
        assert len(whole) == len({hit.id for hit in whole}) == index.count(options.get("where"))
        pages = [
            index.search("violin researchers", using="fused", limit=7, offset=at, **options)
            for at in range(0, len(whole) + 7, 7)
        ]
        assert [(hit.id, hit.score) for page in pages for hit in page] == [
            (hit.id, hit.score) for hit in whole
        ]
        ids = {hit.id: hit.score for hit in whole}
        assert {hit.id: hit.score for hit in pages[0]}.items() <= ids.items()


@pytest.mark.parametrize("depth", [20, 1_000])
def test_a_threshold_keeps_all_that_reach_it(
    index: FeatureIndex, monkeypatch: pytest.MonkeyPatch, depth: int
) -> None:
    every = index.search("violin researchers", using="fused", limit=500)
    monkeypatch.setattr(plan, "POOL", depth)
    monkeypatch.setattr(plan, "WITH_WORDS", depth)
    for least in (every[4].score, 0.0):
        kept = index.search("violin researchers", using="fused", limit=500, score_threshold=least)
        assert {hit.id for hit in kept} == {hit.id for hit in every if hit.score >= least}


def test_a_steer_away_takes_the_words_that_name_it_out(index: FeatureIndex) -> None:
    committee = next(i for i, label in enumerate(index.space.labels) if label.text == "committee")
    asked: dict[str, Any] = {"text": "committee researchers", "using": "fused", "limit": 200}
    hits = index.search(**asked, steer=f"-#{committee}:1", explain=True)
    words = {p.label for hit in hits if hit.explanation for p in hit.explanation.parts if p.kind == "word"}
    assert "committee" not in words
    if index.state.manifest.words == "english":
        assert "researchers" in words
        plain = {hit.id: hit.score for hit in index.search(**asked)}
        for hit in hits:
            assert hit.steered is not None
            assert hit.steered.score_before == pytest.approx(plain[hit.id], abs=1e-5)


def test_explained_and_unexplained_scores_are_bitwise_equal(index: FeatureIndex) -> None:
    for text in TEXTS:
        query = Query(text, using="fused", limit=20, offset=3, where="NOT #7")
        plain, explained = index.search(query), index.search(query, explain=True)
        assert [(hit.id, hit.score) for hit in plain] == [(hit.id, hit.score) for hit in explained]


def test_the_former_options_of_a_fusion_are_refused(index: FeatureIndex) -> None:
    with pytest.raises(InvalidInputError, match="using"):
        index.search("violin", using={"fusion": "rrf"})  # type: ignore[call-overload]
