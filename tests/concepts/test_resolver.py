"""Phrases resolve by label or by the collection's evidence, or they are errors."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pytest

from saeindex import FeatureIndex, FeatureSpace, Record
from saeindex.collection.state import IndexState
from saeindex.concepts.resolver import Resolver
from saeindex.errors import InvalidInputError, UnknownConceptError
from saeindex.search.query import Where
from saeindex.types import Resolve
from tests.samples import all_points

NONSENSE = ["zzyzx qwfp", "xqjvkw bzptf", "qqqqqqqq", "asdkjh qwekjh zxmnc", "fnord grblx"]


@pytest.fixture
def resolver(papers: FeatureIndex) -> Resolver:
    return Resolver(papers.state)


@pytest.mark.parametrize("mode", get_args(Resolve))
def test_a_label_is_its_own_feature_if_it_is_trusted_or_labels_alone_count(
    resolver: Resolver, space: FeatureSpace, mode: Any
) -> None:
    times = Counter(label.text for label in space.labels)
    alone = [
        feature
        for feature, label in enumerate(space.labels)
        if times[label.text] == 1 and (mode == "strict" or not label.is_weak) and space.is_named[feature]
    ]
    for feature in alone[:: len(alone) // 8]:
        label = space.labels[feature].text
        for phrase in (label, label.upper()):
            found = resolver.resolve(phrase, mode)
            assert feature in {match.id for match in found.features}
            assert {match.label for match in found.features} == {label}


def with_doubted_galaxy(index: FeatureIndex) -> tuple[Resolver, int]:
    """Return the resolver of an index whose label "galaxy" is weak, and the feature."""
    space = index.space
    galaxy = next(feature for feature, label in enumerate(space.labels) if label.text == "galaxy")
    labels = list(space.labels)
    labels[galaxy] = replace(labels[galaxy], trust=0.5, sure=None)
    state, doubted = index.state, replace(space, labels=tuple(labels))
    collection = IndexState(state.store, state.manifest, doubted, state.encode, lambda: index.encoder)
    return Resolver(collection), galaxy


def test_the_name_of_a_concept_that_records_speak_of_is_that_concept_alone(papers: FeatureIndex) -> None:
    resolver, galaxy = with_doubted_galaxy(papers)
    for phrase in ("galaxy", "Galaxy", "GALAXY"):
        for mode in get_args(Resolve):
            found = resolver.resolve(phrase, mode)
            assert ([match.id for match in found.features], found.resolved) == ([galaxy], "strict")
            assert (found.precision, found.recall) == (None, None)
    assert resolver.resolve("galaxies and stars").resolved == "best", "other phrases need the records"


@pytest.mark.parametrize("mode", get_args(Resolve))
def test_ids_and_families_need_no_evidence(resolver: Resolver, mode: Any) -> None:
    assert [match.id for match in resolver.resolve("#77", mode).features] == [77]
    family = resolver.resolve("family:#0", mode)
    assert len(family.features) > 1
    assert family.resolved == "strict"


@pytest.mark.parametrize(
    ("phrase", "topic"),
    [
        ("weather and storms", "weather"),
        ("talks about money", "finance"),
        ("about food", "cooking"),
        ("stars and planets", "astronomy"),
        ("illness and treatment", "medicine"),
        ("playing music", "music"),
        ("elections and government", "politics"),
    ],
)
def test_a_description_finds_the_records_of_its_topic(papers: FeatureIndex, phrase: str, topic: str) -> None:
    hits = papers.search(where=f'"{phrase}"', limit=240)
    found = sum(hit.metadata["topic"] == topic for hit in hits)
    assert found > 2 / 3 * papers.count(f'metadata.topic = "{topic}"')
    assert found > 2 / 3 * len(hits)


def test_a_tone_finds_more_of_its_records_than_others(papers: FeatureIndex) -> None:
    hits = papers.search(where='"deeply disappointed"', limit=240)
    found = sum("disappointed" in hit.text for hit in hits)
    wanted = sum("disappointed" in point.payload["text"] for point in all_points(papers))
    assert found >= 0.5 * wanted
    assert found / len(hits) > 2 * wanted / papers.count()


@pytest.mark.parametrize(
    ("phrase", "name"), [("galaxies", "galaxy"), ("GALAXIES", "galaxy"), ("automobile", "car")]
)
def test_a_form_of_a_name_and_another_word_for_it_are_the_concept(
    resolver: Resolver, phrase: str, name: str
) -> None:
    found = resolver.resolve(phrase)
    assert [match.label for match in found.features] == [name]
    assert found.records is None


@pytest.mark.parametrize("word", ["train", "Trains"])
def test_a_word_of_several_meanings_is_all_of_them(tmp_path: Path, word: str) -> None:
    """Who writes a word that leaves open what is meant finds what speaks of any of its meanings."""
    texts = {
        "rail": "The train was late and the station was crowded.",
        "sport": "We train for the marathon every morning.",
        "rain": "It rained all day.",
    }
    with FeatureIndex(tmp_path / "trains.idx") as index:
        index.upsert([Record(name, text) for name, text in texts.items()])
        meanings = {match.label for match in index.concepts.resolve(word).features}
        assert meanings == {"railway train", "training for something"}
        for phrase, expected in ((word, {"rail", "sport"}), ("railway train", {"rail"})):
            assert {hit.id for hit in index.search(where=f'"{phrase}"')} == expected


@pytest.mark.parametrize("phrase", NONSENSE)
@pytest.mark.parametrize("mode", get_args(Resolve))
def test_nonsense_is_refused_with_the_nearest_labels(papers: FeatureIndex, phrase: str, mode: Any) -> None:
    with pytest.raises(UnknownConceptError, match=r"no feature of space|no record says it") as refused:
        papers.search("galaxies", where=Where(f'"{phrase}"', resolve=mode))
    assert refused.value.do.startswith("Nearest: #")
    assert refused.value.do.count("(") >= 5


@pytest.mark.parametrize("phrase", NONSENSE)
def test_nonsense_is_refused_as_a_steering_target(papers: FeatureIndex, phrase: str) -> None:
    with pytest.raises(UnknownConceptError):
        papers.search("galaxies", steer=f'+"{phrase}"')


@pytest.mark.parametrize("seed", range(3))
def test_random_letters_are_refused(resolver: Resolver, seed: int) -> None:
    letters = np.random.default_rng(seed).choice(list("bcdfghjklmnpqrstvwxz"), 9)
    with pytest.raises(UnknownConceptError):
        resolver.check_meaning("".join(letters))


def test_a_higher_level_narrows_the_matches_of_a_phrase(any_papers: FeatureIndex) -> None:
    counts = [
        len(any_papers.search(where=Where('"talks about money"', level=level), limit=240))
        for level in (None, "present", "typical", "strong")
    ]
    assert counts[0] == counts[1] >= counts[2] >= counts[3]
    assert counts[1] > counts[3]


def test_an_unknown_mode_is_refused_with_the_known_ones(papers: FeatureIndex) -> None:
    with pytest.raises(InvalidInputError, match="Use 'strict' or 'best'"):
        papers.search("galaxies", where={"condition": '"dark matter"', "resolve": "loose"})
