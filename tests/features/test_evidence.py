"""Evidence by hand, by the reference of the tests, and saved."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from math import exp, log, sqrt
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from saeindex import FeatureSpace
from saeindex.features.evidence import Evidence, LogOdds, Mention, TextMentions, level_codes
from saeindex.features.lexicon import Lexicon
from saeindex.features.taxonomy import DefinedConcept
from tests.evidence_reference import reference
from tests.samples import RandomEncoder, RecordingEncoder

if TYPE_CHECKING:
    from saeindex.types import FloatArray

NAMED, NEAR = LogOdds(4.0, 1.0, 0.5, -3.0), LogOdds(2.0, -1.0, 0.25, -2.0)
# The features of the concepts; six axes of as many dimensions are their directions.
FEATURES = [3, 10, 11, 20, 40, 41]


def tiny(n_concepts: int = 6) -> Evidence:
    """Evidence of ``n_concepts``: "cat" names the first, "dog" is near to it and names the second."""
    lexicon = Lexicon(
        ("cat", "dog"),
        np.array([0, 1, 3], np.int64),
        np.array([0, 0, 1][: 3 if n_concepts > 1 else 2] + [0] * (n_concepts == 1), np.int32),
        np.array([2.5, 1.5, 3.0], np.float32),
        np.array([True, False, n_concepts > 1]),
    )
    features = np.array(FEATURES[:n_concepts], np.int32)
    directions = np.eye(6, dtype=np.float32)[:n_concepts]
    return Evidence(features, directions, np.full(6, 0.5, np.float32), lexicon, NAMED, NEAR, NEAR)


def vector(*nearness: float) -> FloatArray:
    """Return the vector (1, 6) whose cosines with the axes, about the mean, are these."""
    assert sqrt(sum(one * one for one in nearness)) == pytest.approx(1, abs=1e-6)
    return np.array([nearness], np.float32) * 3 + 0.5


def found(evidence: Evidence, sentences: list[str], vectors: FloatArray) -> dict[int, tuple[int, float]]:
    """Return the sentence and the evidence of each feature; each is said by one sentence."""
    said = evidence.of_sentences(sentences, vectors)
    features = evidence.features[said.concepts].tolist()
    assert len(set(features)) == len(features)
    return dict(zip(features, zip(said.sentences.tolist(), said.p.tolist(), strict=True), strict=True))


def p(log_odds: float) -> float:
    return 1 / (1 + exp(-log_odds))


def test_the_log_odds_of_a_sentence_are_those_that_are_computed_by_hand() -> None:
    # The nearness of the concepts; the fifth is -.2.
    x = vector(0.7, 0.6, 0.2, 0.0, -0.2, -sqrt(1 - 0.93))
    said = found(tiny(), ["A cat sat with us"], x)
    length = log(5)
    by_name = 2.5 + 4.0 * 0.7 + 1.0 * (0.7 + 0.2) + 0.5 * length - 3.0
    by_vector = {row: 2.0 * near - 1.0 * (near + 0.2) + 0.25 * length - 2.0 for row, near in enumerate((
        0.7, 0.6, 0.2, 0.0, -0.2,
    ))}  # fmt: skip
    expected = {3: p(by_name)} | {
        FEATURES[row]: p(value) for row, value in by_vector.items() if row and p(value) >= 0.2
    }
    assert len(expected) > 1
    assert {feature: share for feature, (_, share) in said.items()} == pytest.approx(expected, abs=1e-6)


def test_the_largest_of_several_words_and_of_the_vector_counts_for_each_concept() -> None:
    x = vector(0.6, 0.6, 0.4, 0.3, 0.1, sqrt(1 - 0.98))
    fifth, length = sqrt(1 - 0.98), log(2)
    both = found(tiny(), ["dog cat"], x)
    near_to_first = 1.5 + 2.0 * 0.6 - 1.0 * (0.6 - fifth) + 0.25 * length - 2.0
    named_first = 2.5 + 4.0 * 0.6 + 1.0 * (0.6 - fifth) + 0.5 * length - 3.0
    named_second = 3.0 + 4.0 * 0.6 + 1.0 * (0.6 - fifth) + 0.5 * length - 3.0
    assert both[3][1] == pytest.approx(p(max(near_to_first, named_first)), abs=1e-6)
    assert both[10][1] == pytest.approx(p(named_second), abs=1e-6)
    alone = found(tiny(), ["two dogs"], x)
    assert alone[3][1] == pytest.approx(p(near_to_first), abs=1e-6)
    by_vector = 2.0 * 0.6 - 1.0 * (0.6 - fifth) + 0.25 * length - 2.0
    assert alone[3][1] > p(by_vector) and found(tiny(), ["two fish"], x)[3][1] == pytest.approx(p(by_vector))


def test_a_word_that_says_less_than_the_vector_changes_nothing() -> None:
    """A name whose model gives less: a weight below what the other model says of the vector alone."""
    x = vector(0.1, 0.9, 0.3, 0.2, 0.2, 0.1)
    doubtful = replace(tiny(), named=LogOdds(0.0, 0.0, 0.0, -20.0))
    same = found(doubtful, ["one cat here"], x), found(doubtful, ["one fish here"], x)
    assert same[0] == same[1] != {}


def test_less_than_a_fifth_is_not_evidence() -> None:
    x = vector(0.5, 0.5, 0.5, 0.5, 0.0, 0.0)
    for base, is_said in ((log(0.2 / 0.8) + 1e-4, True), (log(0.2 / 0.8) - 1e-4, False)):
        flat = replace(tiny(), meant=LogOdds(0.0, 0.0, 0.0, base))
        said = found(flat, ["no known word"], x)
        assert list(said) == (FEATURES if is_said else [])


def test_with_fewer_than_five_concepts_the_least_near_is_the_one_that_others_are_compared_with() -> None:
    x = vector(0.6, 0.4, 0.2, 0.4, 0.4, sqrt(1 - 0.88))
    for count, last in ((1, 0.6), (2, 0.4), (3, 0.2)):
        said = found(tiny(count), ["a cat"], x)
        expected = 2.5 + 4.0 * 0.6 + 1.0 * (0.6 - last) + 0.5 * log(2) - 3.0
        assert said[3][1] == pytest.approx(p(expected), abs=1e-6)
        assert set(said) <= set(FEATURES[:count])


def test_a_text_has_the_largest_evidence_of_its_sentences_and_the_number_of_the_first_that_gives_it() -> None:
    x = np.concatenate([vector(0.5, 0.5, 0.5, 0.5, 0, 0)] * 6)
    sentences = ["a fish", "a cat", "two cats", "the dog", "a cat that purrs", "a dog"]
    first, empty, second = tiny().of_texts(sentences, x, [0, 3, 3, 6])
    assert empty == []
    whole = {**found(tiny(), ["a cat"], x[:1]), 10: found(tiny(), ["the dog"], x[:1])[10]}
    by_feature = {one.feature: one for one in first}
    assert by_feature[3] == Mention(3, round(whole[3][1], 2), 1), "the first of two that are equal"
    by_feature = {one.feature: one for one in second}
    longest = found(tiny(), ["a cat that purrs"], x[:1])[3][1]
    assert longest > whole[3][1], "more words say more, with these weights"
    assert by_feature[3] == Mention(3, round(longest, 2), 1)
    assert by_feature[10] == Mention(10, round(whole[10][1], 2), 0)
    for own in (first, second):
        assert [one.feature for one in own] == sorted(one.feature for one in own)


def test_no_sentences_say_nothing() -> None:
    none = np.zeros((0, 6), np.float32)
    said = tiny().of_sentences([], none)
    assert [len(each) for each in said] == [0, 0, 0]
    assert list(tiny().of_texts([], none, [0])) == []
    assert list(tiny().of_texts([], none, [0, 0, 0])) == [[], []]


def test_many_sentences_are_read_in_blocks_as_they_are_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(3)
    x = rng.normal(size=(50, 6)).astype(np.float32)
    sentences = [("a cat", "some dogs", "no fish at all")[n % 3] for n in range(50)]
    whole = tiny().of_sentences(sentences, x)
    monkeypatch.setattr("saeindex.features.evidence.BLOCK", 7)
    parts = tiny().of_sentences(sentences, x)
    np.testing.assert_array_equal(whole.sentences, parts.sentences)
    np.testing.assert_array_equal(whole.concepts, parts.concepts)
    np.testing.assert_allclose(whole.p, parts.p, atol=1e-6)
    assert whole.sentences.max() > 40 and (np.diff(whole.sentences) >= 0).all()


@pytest.mark.parametrize(
    ("share", "levels"),
    [
        (0.2, [3]), (0.49, [3]), (0.5, [0, 3]), (0.69, [0, 3]), (0.7, [0, 1, 3]), (0.89, [0, 1, 3]),
        (0.9, [0, 1, 2, 3]), (1.0, [0, 1, 2, 3]),
    ],
)  # fmt: skip
def test_levels_are_reached_from_their_evidence_on(share: float, levels: list[int]) -> None:
    said = TextMentions.of([[Mention(2, share, 0), Mention(9, 0.2, 4)]])
    assert level_codes(said).tolist() == [*(8 + level for level in levels), 39]


def test_the_shipped_evidence_equals_the_reference(space: FeatureSpace, encoder: RecordingEncoder) -> None:
    texts = [
        ["The galaxies collided.", "My children went to a birthday party in New York!", "Why?"],
        ["\U0001f389 WE WON the championship", "I am so sad about the high blood pressure of my dog."],
        ["今天天气很好。", "12 34"],
    ]
    assert space.evidence is not None
    flat = [one for own in texts for one in own]
    for vectors in (encoder.encode_document(flat), RandomEncoder(space.encoder).encode_document(flat)):
        found = space.evidence.of_texts(flat, vectors, [0, 3, 5, 7])
        at = 0
        for own, mentions in zip(texts, found, strict=True):
            wanted = reference(space.evidence, own, vectors[at : at + len(own)])
            assert [one.feature for one in mentions] == list(wanted)
            assert [one.p for one in mentions] == [round(one.p, 2) for one in wanted.values()]
            assert [one.sentence for one in mentions] == [one.sentence for one in wanted.values()]
            at += len(own)
    said = {space.labels[one.feature].text: one for one in found[0]}
    assert said["galaxy"].sentence == 0 and said["birthday"].sentence == 1


@pytest.mark.parametrize(
    ("sentence", "name", "word"),
    [
        ("The GALAXIES collided.", "galaxy", "GALAXIES"),
        ("\U0001f389\U0001f469\u200d\U0001f680 Happy birthday, Ann!", "birthday", "birthday"),
        ("Nothing of the kind is here.", "galaxy", None),
    ],
)
def test_the_word_of_a_concept_is_found_by_its_feature(
    space: FeatureSpace, sentence: str, name: str, word: str | None
) -> None:
    assert space.evidence is not None
    feature = next(
        one for one in space.evidence.features.tolist() if space.labels[one].text.casefold() == name
    )
    span = space.evidence.word_of(sentence, feature)
    assert (None if span is None else sentence[slice(*span)]) == word


# What is saved ----------------------------------------------------------------------------------------


def altered(values: Any, by: float = 1) -> Any:
    changed = values.copy()
    changed[-1] += by
    return changed


def with_lexicon(evidence: Evidence, **changes: object) -> Evidence:
    return replace(evidence, lexicon=replace(evidence.lexicon, **changes))  # type: ignore[arg-type]


CHANGES: dict[str, Callable[[Evidence], Evidence]] = {
    "features": lambda one: replace(one, features=altered(one.features)),
    "directions": lambda one: replace(one, directions=altered(one.directions, 0.25)),
    "mean": lambda one: replace(one, mean=altered(one.mean, 0.25)),
    "words": lambda one: with_lexicon(one, words=("cat", "dogs")),
    "order of words": lambda one: with_lexicon(one, words=("dog", "cat")),
    "starts": lambda one: with_lexicon(one, starts=np.array([0, 2, 3])),
    "concepts": lambda one: with_lexicon(one, concepts=altered(one.lexicon.concepts)),
    "weights": lambda one: with_lexicon(one, weights=altered(one.lexicon.weights, 0.25)),
    "names": lambda one: with_lexicon(one, is_name=~one.lexicon.is_name),
    "model of names": lambda one: replace(one, named=replace(one.named, margin=1.25)),
    "model of vectors": lambda one: replace(one, meant=replace(one.meant, base=-2.25)),
    "model of others": lambda one: replace(one, near=replace(one.near, base=-2.25)),
    "models": lambda one: replace(one, named=one.near, near=one.named),
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_the_digest_changes_with_any_part(change: Callable[[Evidence], Evidence]) -> None:
    assert tiny().digest == tiny().digest
    assert change(tiny()).digest != tiny().digest


def test_saved_evidence_is_loaded_unchanged(tmp_path: Path) -> None:
    assert Evidence.load(tmp_path) is None
    evidence = tiny()
    evidence.save(tmp_path)
    loaded = Evidence.load(tmp_path)
    assert loaded is not None
    assert loaded.digest == evidence.digest
    x = vector(0.8, 0.4, 0.2, 0.0, -0.2, -sqrt(1 - 0.88))
    assert found(loaded, ["A cat and dogs"], x) == found(evidence, ["A cat and dogs"], x)
    assert (loaded.named, loaded.near, loaded.lexicon.words) == (NAMED, NEAR, ("cat", "dog"))


def test_weights_that_files_cannot_hold_are_rounded_before_they_are_hashed(tmp_path: Path) -> None:
    entries = {("cat", 0): (0.1, True), ("dog", 1): (2.00001, False), ("cat", 1): (1 / 3, False)}
    evidence = replace(tiny(), lexicon=Lexicon.of(entries))
    evidence.save(tmp_path)
    loaded = Evidence.load(tmp_path)
    assert loaded is not None and loaded.digest == evidence.digest


def test_own_concepts_have_their_names_and_words_and_those_of_a_known_concept_of_the_name() -> None:
    """Unless they are defined otherwise; what a name says is what names usually say."""
    directions = np.eye(9, 6, dtype=np.float32)
    concepts = {
        2: DefinedConcept("Cat"),
        5: DefinedConcept("dog", "a device that holds a log"),
        7: DefinedConcept(
            "garden gnomes", words=("dwarf", "5G", "100 %", "5G phone", "a card that has not arrived yet")
        ),
    }
    mean = np.zeros(6, np.float32)
    known = {("cat", ""): 0, ("cat", "a pet"): 0, ("dog", ""): 1, ("dog", "another pet"): 1}
    own = tiny().of_concepts(known, concepts, directions, mean)
    assert own.features.tolist() == [2, 5, 7]
    np.testing.assert_array_equal(own.directions, directions[[2, 5, 7]])
    usual = 2.75  # the median of what the two names say
    assert dict(own.lexicon.items()) == {
        ("cat", 0): (2.5, True),
        ("dog", 0): (1.5, False),
        ("dog", 1): (usual, True),
        ("garden gnomes", 2): (usual, True),
        ("garden gnome", 2): (usual, True),
        ("dwarf", 2): (usual, True),
        ("g phone", 2): (usual, True),
        ("a card that has not arrived yet", 2): (usual, True),
    }
    assert own.word_of("My 5G phone", 7) == (4, 11)
    few = [replace(one, margin=0.0) for one in (NAMED, NEAR, NEAR)]
    assert ([own.named, own.near, own.meant], own.mean.tolist()) == (few, [0.0] * 6)
    meant = LogOdds(20.0, 0.0, 0.0, -8.0)
    as_known = {0: DefinedConcept("dog", "another pet")} | dict.fromkeys(range(1, 100), DefinedConcept("x"))
    many = tiny().of_concepts(known, as_known, np.eye(100, 6, dtype=np.float32), mean, meant)
    assert (many.named, many.near, many.meant) == (NAMED, NEAR, meant)
    assert dict(many.lexicon.items())["dog", 0] == (3.0, True)


def test_words_that_do_not_fit_to_their_entries_are_refused(tmp_path: Path) -> None:
    tiny().save(tmp_path)
    (tmp_path / "words.txt").write_text("cat\n")
    with pytest.raises(ValueError, match="do not fit"):
        Evidence.load(tmp_path)


def test_a_space_is_saved_with_its_evidence_and_without_it_is_another(
    tmp_path: Path, space: FeatureSpace
) -> None:
    again = FeatureSpace.load(space.save(tmp_path / "space"))
    assert again.evidence is not None and space.evidence is not None
    assert again.evidence.digest == space.evidence.digest
    assert again.fingerprint == space.fingerprint
    assert replace(space, evidence=None).fingerprint != space.fingerprint
