"""A phrase that is the name of no concept is answered by the records that speak of it."""

from __future__ import annotations

from pathlib import Path
from typing import get_args

import numpy as np
import pytest

from saeindex import FeatureIndex, FeatureSpace, Record
from saeindex.concepts import scan
from saeindex.concepts.inference import WITHOUT_WORDS, Asked, Scorer, infer, pool_of
from saeindex.concepts.resolver import SAID_OF_SETS, Concept, Resolver, said_by
from saeindex.concepts.scan import MIN_APART, MOST_APART, RANKS, WRITTEN, best_set, stands_apart
from saeindex.concepts.words import Words
from saeindex.config import SentenceStorage
from saeindex.errors import InvalidInputError, UnknownConceptError
from saeindex.search import planner
from saeindex.search.query import Where
from saeindex.types import LevelName
from tests.samples import RecordingEncoder, all_points, sample_records
from tests.search.sampled_indexes import memory_index

DESCRIPTIONS = [
    "recounts the past",
    "about food",
    "a mathematical statement",
    "weather and storms",
    "talks about money",
]
SAYING = [
    "We had brunch on the terrace, with eggs and coffee.",
    "The brunch was cold and the waiter was slow.",
    "My phone broke after a week and nobody answered.",
    "The hotel is near the station and very quiet.",
    "I returned the shoes because they were too small.",
    "The film was long, and I liked the music a lot.",
]


def said(count: int) -> list[Record]:
    return [Record(f"r{i}", f"{SAYING[i % len(SAYING)]} That was visit {i}.") for i in range(count)]


@pytest.fixture(scope="module")
def visits(tmp_path_factory: pytest.TempPathFactory) -> FeatureIndex:
    index = FeatureIndex.create(tmp_path_factory.mktemp("scan") / "visits.idx")
    index.upsert(said(60), learn_terms=False)
    return index


@pytest.fixture(scope="module")
def long_texts(tmp_path_factory: pytest.TempPathFactory) -> FeatureIndex:
    by_topic: dict[str, list[str]] = {}
    for one in sample_records(300):
        by_topic.setdefault(one.metadata["topic"], []).append(one.text)
    index = FeatureIndex.create(tmp_path_factory.mktemp("scan") / "long.idx")
    index.upsert(
        [
            Record(f"{topic}-{start}", " ".join(texts[start : start + 3]), {"topic": topic})
            for topic, texts in by_topic.items()
            for start in range(0, len(texts) - 2, 3)
        ],
        learn_terms=False,
    )
    return index


# What is found ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("phrase", DESCRIPTIONS)
def test_a_description_is_the_records_that_stand_apart_by_their_score(
    papers: FeatureIndex, phrase: str
) -> None:
    concept = papers.concepts.resolve(phrase)
    sample, resolver = papers.state.sample(), Resolver(papers.state)
    asked = Asked(papers.state.encode(phrase)[None], judged=said_by(resolver.named(phrase), SAID_OF_SETS))
    inferred = infer(sample, pool_of(sample), asked, papers.encoder, WITHOUT_WORDS)
    scores = Scorer(inferred, sample, WITHOUT_WORDS.neighbours).of_sample[:, 0]
    apart = {one for one, z in zip(sample.rows.ids, scores, strict=True) if z >= stands_apart(scores)}
    texts = {point.id: point.payload["text"] for point in all_points(papers)}
    saying = {one for one, text in texts.items() if phrase in text.lower()}
    hits = papers.search(where=f'"{phrase}"', limit=240)
    assert {hit.text for hit in hits} == {texts[one] for one in apart | saying}
    assert (concept.features, concept.records) == ((), len(hits))
    assert 0 < (concept.precision or 0) < 1
    assert 0 < (concept.recall or 0) <= 1


def test_a_class_of_long_texts_is_found_as_a_whole(long_texts: FeatureIndex) -> None:
    """None of their sentences need say what a class of texts is about."""
    for phrase, topic in (("stars and planets", "astronomy"), ("elections and government", "politics")):
        hits = long_texts.search(where=f'"{phrase}"', limit=100)
        own = [hit for hit in hits if hit.metadata["topic"] == topic]
        assert len(own) > 2 / 3 * max(len(hits), long_texts.count(f'metadata.topic = "{topic}"'))


def test_a_single_word_is_what_says_it_and_what_means_it_surely(long_texts: FeatureIndex) -> None:
    """It describes no class: those that fit it best would be present although few of them mean it."""
    found = Resolver(long_texts.state).scan("reform")
    payloads = [point.payload for point in all_points(long_texts)]
    assert {one["record_id"] for one in payloads if "reform" in one["text"]} <= found.at("present")
    assert found.at("present") <= found.at("possible")
    assert all((one.p >= 0.5) == (one.rank >= RANKS["present"]) for one in found.records.values())


def test_words_are_found_where_they_are_said(visits: FeatureIndex) -> None:
    saying = {one.id for one in said(60) if "brunch" in one.text}
    assert {hit.id for hit in visits.search(where='typical("Brunches")', limit=100)} >= saying
    assert {hit.id for hit in visits.search(where='typical("brunch")', limit=100)} == saying
    concept = visits.concepts.resolve("brunch")
    assert visits.count('"brunch"') == concept.records
    assert visits.count('NOT "brunch"') == 60 - concept.records


def test_what_has_digits_is_found_as_it_is_written(visits: FeatureIndex) -> None:
    for phrase, wanted in (("visit 7", {"r7"}), ("VISIT  12", {"r12"})):
        assert {hit.id for hit in visits.search(where=f'possible("{phrase}")', limit=100)} == wanted
    assert (visits.concepts.resolve("visit 7").precision or 0) >= WRITTEN
    assert visits.count('possible("70 visits to a hotel")') == 0


@pytest.mark.parametrize(
    ("phrase", "alike"),
    [("brunch on the terrace", " “BRUNCH-on the  terrace!” "), ("café’s corner", "cafe\u0301's CORNER")],
)
def test_case_hyphens_punctuation_and_forms_of_unicode_are_the_same(
    visits: FeatureIndex, phrase: str, alike: str
) -> None:
    assert visits.concepts.resolve(alike).records == visits.concepts.resolve(phrase).records
    sentence = f"At the {phrase}, we met."
    assert Words(alike).said_in([sentence]) == (0, [])
    span = Words(alike).in_one(sentence)
    assert span is not None
    assert sentence[slice(*span)] == phrase


def test_a_phrase_with_a_denial_is_said_with_one() -> None:
    sentences = ["It is easy to use.", "It isn't that easy to use.", "Nobody can use it easily."]
    assert Words("not easy to use").said_in(sentences) == (None, [1])
    assert Words("easy to use").said_in(sentences) == (0, [])


@pytest.mark.parametrize(
    ("phrase", "sentence", "is_said"),
    [
        ("day to day", "This is your day.", False), ("9/11", "Of 11 guests 9 came.", False),
        ("C", "He writes C# and C++.", False), ("$5", "It costs $5.99.", False), ("5", "Rated 1.5.", False),
        ("C++", "Written in C++.", True), ("buy", "We bought it.", True), ("mice", "A mouse ran.", True),
        ("Mr. Smith", "Then Mr Smith came.", True), ("works, but slowly", "It works but slowly.", True),
        ("well-made", "The case is well made.", True), ("back up", "Back up your files.", True),
    ],
)  # fmt: skip
def test_what_a_sentence_says(phrase: str, sentence: str, is_said: bool) -> None:
    said = Words(phrase).said_in([sentence])
    assert (said.written == 0) == is_said
    assert bool(Words(phrase).in_one(sentence)) == is_said


def test_a_form_of_a_name_is_its_concept(visits: FeatureIndex) -> None:
    for name, form in (("price", "prices"), ("bug", "Bugs"), ("physician", "physicians")):
        of_name, of_form = (visits.concepts.resolve(one).features for one in (name, form))
        assert [one.id for one in of_name] == [one.id for one in of_form] != []


def test_numbers_must_be_in_the_sentence_that_means_it(visits: FeatureIndex) -> None:
    assert visits.count('possible("visits 7 hotels near the station")') <= 1
    concept = visits.concepts.resolve("a hotel near the station")
    assert (concept.records or 0) >= 10


LETTERS = {
    "plan B": "We went back to plan B after the storm.",
    "hepatitis C vaccine": "There is no vaccine against hepatitis C yet.",
    "USB-C cable": "The USB-C cable broke after a week.",
    "rock 'n' roll": "My father still loves rock 'n' roll.",
    "İstanbul": "We flew to İstanbul in May.",
    "½": "Add ½ cup of sugar and stir.",
}


def test_letters_alone_are_found_as_they_are_written(
    tmp_path: Path, space: FeatureSpace, encoder: RecordingEncoder
) -> None:
    others = ["There is no plan for the storm.", "The hepatitis B vaccine is safe.", "The cable broke."]
    texts = [*LETTERS.values(), *others, *SAYING]
    with FeatureIndex.create(tmp_path / "letters.idx", space, encoder=encoder) as index:
        index.upsert([Record(f"r{i}", text) for i, text in enumerate(texts)], learn_terms=False)
        for row, phrase in enumerate(LETTERS):
            assert {hit.id for hit in index.search(where=f'"{phrase}"')} == {f"r{row}"}


def test_all_that_have_the_words_say_it_where_all_speak_of_the_same(
    space: FeatureSpace, encoder: RecordingEncoder
) -> None:
    texts = [f"The guest said that the soup was cold on visit {i}." for i in range(80)]
    index = memory_index([Record(f"r{i}", text) for i, text in enumerate(texts)], space, encoder)
    assert index.count('"cold soup"') == index.count('"soup was cold"') == 80


def test_scripts_without_spaces_are_said_and_are_not_meant(
    space: FeatureSpace, encoder: RecordingEncoder
) -> None:
    texts = ["这个电池很好。", "电池寿命太短了。", "今天天气很好。"]
    index = memory_index([Record(f"r{i}", text) for i, text in enumerate(texts)], space, encoder)
    assert {hit.id for hit in index.search(where='possible("电池")')} == {"r0", "r1"}


@pytest.mark.parametrize("phrase", ["a", "it is", "Not!", "…"])
def test_common_words_alone_are_refused(visits: FeatureIndex, phrase: str) -> None:
    with pytest.raises(UnknownConceptError, match="say little"):
        visits.count(f'"{phrase}"')


@pytest.mark.parametrize("count", [12, 200])
def test_alike_records_are_all_found_or_none(
    space: FeatureSpace, encoder: RecordingEncoder, count: int
) -> None:
    index = memory_index([Record(f"r{i}", "The cat sat on the mat.") for i in range(count)], space, encoder)
    assert index.count('possible("poor battery life")') == 0
    assert index.count('"the cat sat"') == count
    for phrase in ("a pet that sits somewhere", "animals at home"):
        assert index.count(f'"{phrase}"') in (0, count)


def test_an_empty_index_has_none(space: FeatureSpace, encoder: RecordingEncoder) -> None:
    index = memory_index([], space, encoder)
    assert index.count('"poor battery life" OR "zebra"') == 0


def test_levels_are_nested_and_not_is_the_complement(visits: FeatureIndex) -> None:
    for phrase in ("brunch", "bad service at a restaurant"):
        counts = [visits.count(Where(f'"{phrase}"', level=level).condition) for level in get_args(LevelName)]
        found = [
            {hit.id for hit in visits.search(where=Where(f'"{phrase}"', level=level), limit=100)}
            for level in get_args(LevelName)
        ]
        assert len(set(counts)) == 1
        assert found[0] >= found[1] >= found[2] >= found[3]
        assert visits.count(f'NOT "{phrase}"') == 60 - len(found[1])


def test_a_hit_shows_the_sentence_and_marks_the_word(visits: FeatureIndex) -> None:
    for hit in visits.search("food", where='typical("brunch")', limit=5, explain=True):
        proof = next(one for one in hit.evidence if one.label == "brunch")
        assert proof.id is None
        assert proof.evidence >= WRITTEN
        assert proof.word is not None
        assert proof.sentence[slice(*proof.word)].lower() == "brunch"
        assert hit.text[proof.start :].startswith(proof.sentence)
        assert hit.explanation is not None
        assert [clause.matched for clause in hit.explanation.clauses] == [True]
        assert type(hit).from_json(hit.to_json()) == hit


def test_phrases_combine_with_concepts_fields_and_levels(visits: FeatureIndex) -> None:
    brunch = {hit.id for hit in visits.search(where='"brunch"', limit=100)}
    cold = {hit.id for hit in visits.search(where='"cold"', limit=100)}
    both = {hit.id for hit in visits.search(where='"brunch" AND NOT "cold"', limit=100)}
    assert both == brunch - cold
    assert {
        hit.id for hit in visits.search(where='AT LEAST 1 OF ("brunch", "cold")', limit=100)
    } == brunch | cold


def test_the_plan_says_how_many_and_how_sure(visits: FeatureIndex) -> None:
    plan = visits.plan("food", where='"brunch"')
    concept = visits.concepts.resolve("brunch")
    found = f"Phrase 'brunch' = {concept.records} records present, expected precision"
    assert found in str(plan)
    assert plan.estimate.points == concept.records
    assert plan.concepts[0] == concept


def test_groups_of_an_analysis_take_phrases(visits: FeatureIndex) -> None:
    concept = visits.concepts.resolve("brunch")
    found = visits.diff('"brunch"', 'NOT "brunch"', confirm=False, examples=0)
    assert found.groups == {"a": concept.records, "b": 60 - (concept.records or 0)}


# When it changes, and when it cannot be -------------------------------------------------------------


def test_it_is_kept_until_the_records_change(space: FeatureSpace, encoder: RecordingEncoder) -> None:
    records = sample_records(80)
    index = memory_index(records[:60], space, encoder)
    first = Resolver(index.state)
    assert first.scan("sounds disappointed") is first.scan("sounds disappointed")
    before = index.concepts.resolve("sounds disappointed")
    index.upsert(records[60:])
    again = index.concepts.resolve("sounds disappointed")
    assert (again.records, again.precision) != (before.records, before.precision)
    assert again.records == index.count('"sounds disappointed"')


@pytest.mark.parametrize("sentences", ["off", "codes"])
def test_an_index_without_vectors_of_sentences_says_so(
    tmp_path: Path, space: FeatureSpace, encoder: RecordingEncoder, sentences: SentenceStorage
) -> None:
    with FeatureIndex.create(tmp_path / "few.idx", space, encoder=encoder, sentences=sentences) as index:
        index.upsert(sample_records(20))
        with pytest.raises(InvalidInputError, match="no vectors of sentences") as refused:
            index.count('"sounds disappointed"')
    assert "--sentences stored" in refused.value.do


def scanned(index: FeatureIndex, phrase: str, **limits: int) -> scan.Scan:
    """Return what is read for a phrase with other limits of what is read."""
    with pytest.MonkeyPatch.context() as patch:
        for name, limit in limits.items():
            patch.setattr(scan, name, limit)
        index.refresh()
        found = Resolver(index.state).scan(phrase)
    index.refresh()
    return found


@pytest.mark.parametrize("phrase", ["talks about bad weather", "galaxy rotation 17", "praise for the food"])
def test_the_engine_finds_what_reading_all_finds(papers: FeatureIndex, phrase: str) -> None:
    every, some = scanned(papers, phrase), scanned(papers, phrase, FIRST=80, PAGE=80)
    assert some.at("possible") == every.at("possible")
    assert some.expected == pytest.approx(every.expected, rel=0.1)
    assert some.is_all


def test_where_more_may_speak_of_a_phrase_than_are_read_the_count_is_a_bound(papers: FeatureIndex) -> None:
    every, some = (
        scanned(papers, "about food", **limits)
        for limits in ({}, {"FIRST": 80, "PAGE": 80, "NEAREST": 10, "AS_A_WHOLE": 10})
    )
    assert every.is_all and not some.is_all
    assert some.at("present") < every.at("present")
    assert Concept("about food", (), records=3, is_lower_bound=True).counted == "at least 3 records"


def test_the_phrases_of_a_condition_are_bounded(
    visits: FeatureIndex, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(planner, "KEPT_SCANS", 3)
    many = [f'"the hotel of visit {i}"' for i in range(4)]
    visits.count(" OR ".join(many[:3]))
    with pytest.raises(InvalidInputError, match="more than 3 phrases"):
        visits.count(" OR ".join(many))


def test_what_is_more_often_wrong_than_right_is_not_deleted_and_warned_of(papers: FeatureIndex) -> None:
    concept = papers.concepts.resolve("about food")
    assert concept.records
    assert (concept.precision or 0) < 0.5
    with pytest.raises(InvalidInputError, match="are expected to be right") as refused:
        papers.delete(where='NOT "about food"')
    assert "by id" in refused.value.do
    found = f"{concept.records} records found for 'about food', of which"
    assert any(warning.startswith(found) for warning in papers.plan(where='"about food"').warnings)


@pytest.mark.parametrize("condition", ['NOT "{}"', 'possible("{}")', '"brunch" OR NOT "{}"'])
def test_what_no_record_speaks_of_does_not_delete_all(visits: FeatureIndex, condition: str) -> None:
    with pytest.raises(InvalidInputError, match="no record that speaks of it"):
        visits.delete(where=condition.format("the hotel of visit 99"))


# The threshold ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("share", [0.02, 0.1, 0.3, 0.5])
def test_a_group_that_stands_apart_is_meant_whatever_its_size(share: float) -> None:
    rng = np.random.default_rng(1)
    apart = np.arange(1_000) < share * 1_000
    scores = rng.normal(size=1_000) + 6 * apart
    scores = (scores - scores.mean()) / scores.std()
    assert ((scores >= stands_apart(scores)) == apart).mean() > 0.99


def test_the_best_set_has_the_largest_expected_f1() -> None:
    p = np.array([0.1, 0.9, 0.2, 0.85, 0.15, 0.1])
    assert np.flatnonzero(best_set(p, np.ones(6))).tolist() == [1, 3]
    assert best_set(np.full(8, 0.3), np.ones(8)).all()
    assert np.flatnonzero(best_set(np.array([0.02, 0.6, 0.01]), np.ones(3))).tolist() == [1]


def test_a_threshold_is_between_scores_and_leaves_some_on_either_side() -> None:
    rng = np.random.default_rng(2)
    for size in (2 * MIN_APART, 50, 500):
        scores = rng.normal(size=size)
        above = (scores >= stands_apart(scores)).sum()
        assert MIN_APART <= above <= MOST_APART * size
    assert stands_apart(np.array([2.0, 0.5, -2.5])) == np.inf


def test_what_is_alike_but_for_rounding_does_not_stand_apart() -> None:
    rounded = 1e-6 * np.random.default_rng(3).normal(size=100)
    assert stands_apart(rounded) == np.inf
    scores = np.concatenate([rounded[:60] + 2, rounded[60:] - 3])
    assert (scores >= stands_apart(scores)).sum() == 60
