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
from saeindex.concepts.cover import likely, meant_from
from saeindex.concepts.inference import Asked, infer, pool_of
from saeindex.concepts.resolver import RECIPE, SAID_OF_SETS, Resolver, said_by
from saeindex.concepts.scorer import Scorer
from saeindex.errors import InvalidInputError, UnknownConceptError
from saeindex.indexing.points import point_id
from saeindex.search.query import Where
from saeindex.types import Resolve
from tests.evidence_reference import present_in
from tests.samples import RecordingEncoder, all_points, sample_records
from tests.search.sampled_indexes import memory_index

DESCRIPTIONS = [
    "sounds disappointed",
    "a short history",
    "about food",
    "a mathematical statement",
    "weather and storms",
    "talks about money",
]
NONSENSE = ["zzyzx qwfp", "xqjvkw bzptf", "qqqqqqqq", "asdkjh qwekjh zxmnc", "fnord grblx"]


@pytest.fixture
def resolver(papers: FeatureIndex) -> Resolver:
    return Resolver(papers.state)


@pytest.mark.parametrize("mode", ["strict", "best", "expand"])
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


def test_a_weak_label_counts_only_by_the_evidence_of_the_records(
    papers_without_sentences: FeatureIndex,
) -> None:
    resolver, galaxy = with_doubted_galaxy(papers_without_sentences)
    found = resolver.resolve("galaxy")
    assert found.resolved == "best"
    assert all(not match.is_weak for match in found.features)
    strict = resolver.resolve("galaxy", "strict")
    assert [match.id for match in strict.features] == [galaxy]


def test_a_weak_label_counts_where_there_is_no_evidence(
    tmp_path: Path, space: FeatureSpace, encoder: RecordingEncoder
) -> None:
    weak = next(label.text for label in space.labels if label.is_weak and label.kind == "meaning")
    with FeatureIndex.create(tmp_path / "few.idx", space, encoder=encoder) as index:
        index.upsert([Record("a", "roasted peppers"), Record("b", "tax reform")])
        found = index.concepts.resolve(weak)
    assert [match.label for match in found.features] == [weak]


@pytest.mark.parametrize("mode", ["strict", "best", "expand"])
def test_ids_and_families_need_no_evidence(resolver: Resolver, mode: Any) -> None:
    assert [match.id for match in resolver.resolve("#77", mode).features] == [77]
    family = resolver.resolve("family:#0", mode)
    assert len(family.features) > 1
    assert family.resolved == "strict"


@pytest.mark.parametrize("phrase", DESCRIPTIONS)
def test_ordinary_descriptions_resolve_by_evidence(
    papers: FeatureIndex, papers_codes: dict[str, set[int]], resolver: Resolver, phrase: str
) -> None:
    """The expected precision and recall are those of what a filter finds."""
    concept = resolver.resolve(phrase)
    sample = papers.state.sample()
    said = said_by(resolver.named(phrase), SAID_OF_SETS)
    request = Asked(papers.state.encode(phrase)[None], judged=said)
    scores = Scorer(
        infer(sample, pool_of(sample), request, papers.encoder, RECIPE), sample, RECIPE.neighbours
    ).of_sample[:, 0]
    likelihood = dict(zip(sample.rows.ids, likely(scores, meant_from(scores)), strict=True))
    chosen = [match.id for match in concept.features]
    present = {point_id(record_id): present_in(codes) for record_id, codes in papers_codes.items()}
    union = [likelihood[one] for one, features in present.items() if set(chosen) & features]
    assert len(union) == papers.count(f'"{phrase}"')
    assert 1 <= len(chosen) <= 8
    assert concept.resolved == "best"
    assert concept.precision == pytest.approx(float(np.mean(union)))
    assert concept.recall == pytest.approx(sum(union) / sum(likelihood.values()))
    for match in concept.features:
        having = [likelihood[one] for one, features in present.items() if match.id in features]
        assert match.score == pytest.approx(float(np.mean(having)) if having else 0.0)


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


def test_best_uses_only_trusted_features_and_expand_uses_any(resolver: Resolver) -> None:
    kinds: dict[str, list[bool]] = {"best": [], "expand": []}
    for mode, weak in kinds.items():
        for phrase in DESCRIPTIONS:
            named = {match.id for match in resolver.labels.named(phrase)}
            found = resolver.resolve(phrase, mode).features  # type: ignore[arg-type]
            weak += [match.is_weak for match in found if match.id not in named]
    assert not any(kinds["best"])
    assert any(kinds["expand"])


def test_expand_has_the_higher_expected_f1(resolver: Resolver) -> None:
    def expected_f1(mode: Any) -> float:
        found = [resolver.resolve(phrase, mode) for phrase in DESCRIPTIONS]
        pairs = [(c.precision or 0.0, c.recall or 0.0) for c in found]
        return float(np.mean([2 * p * r / (p + r) for p, r in pairs]))

    assert expected_f1("expand") >= expected_f1("best")


def test_a_phrase_near_to_labels_tells_them_and_keeps_its_feature(resolver: Resolver) -> None:
    found = resolver.resolve("galaxies")
    assert {match.id for match in found.named} == {
        match.id for match in resolver.resolve("galaxies", "strict").features
    }
    assert "galaxy" in [match.label for match in found.features]


@pytest.mark.parametrize("phrase", NONSENSE)
@pytest.mark.parametrize("mode", ["strict", "best", "expand"])
def test_nonsense_is_refused_with_the_nearest_labels(papers: FeatureIndex, phrase: str, mode: Any) -> None:
    with pytest.raises(UnknownConceptError, match="no feature of space") as refused:
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


def test_a_concept_is_cached_until_the_collection_changes(
    space: FeatureSpace, encoder: RecordingEncoder
) -> None:
    records = sample_records(80)
    index = memory_index(records[:60], space, encoder)
    first = index.concepts.resolve("sounds disappointed")
    assert index.concepts.resolve("sounds disappointed") is first
    index.upsert(records[60:])
    again = index.concepts.resolve("sounds disappointed")
    assert again is not first
    assert (again.precision, again.recall) != (first.precision, first.recall)


def test_a_higher_level_narrows_the_matches_of_a_phrase(any_papers: FeatureIndex) -> None:
    counts = [
        len(any_papers.search(where=Where('"sounds disappointed"', level=level), limit=240))
        for level in (None, "present", "typical", "strong")
    ]
    assert counts[0] == counts[1] >= counts[2] >= counts[3]
    assert counts[1] > counts[3]


def test_an_unknown_mode_is_refused_with_the_known_ones(papers: FeatureIndex) -> None:
    with pytest.raises(InvalidInputError, match="Use 'strict', 'best' or 'expand'"):
        papers.search("galaxies", where={"condition": '"dark matter"', "resolve": "loose"})
