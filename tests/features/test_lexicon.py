"""The words of a lexicon are found in all their forms, with their places."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pytest

from saeindex.features.lexicon import TOKEN, Lexicon

Entries = Mapping[str, list[tuple[int, float, bool]]]
# Of each word: the row of a concept, its weight, and whether it names the concept.
WORDS: Entries = {
    "galaxy": [(0, 2.0, True), (1, 0.5, False)],
    "dark matter": [(1, 3.0, True)],
    "matter": [(2, 1.0, True)],
    "child": [(3, 2.5, True)],
    "go": [(4, 1.5, False)],
    "new york city": [(5, 4.0, True)],
    "self-made": [(2, 2.0, True)],
}


def lexicon_of(entries: Entries) -> Lexicon:
    flat = [one for own in entries.values() for one in own]
    return Lexicon(
        tuple(entries),
        np.cumsum([0, *map(len, entries.values())]),
        np.array([row for row, _, _ in flat], np.int32),
        np.array([weight for _, weight, _ in flat], np.float32),
        np.array([is_name for _, _, is_name in flat], np.bool_),
    )


LEXICON = lexicon_of(WORDS)


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("A galaxy far away", {("galaxy", "galaxy")}),
        ("GALAXIES collide", {("GALAXIES", "galaxy")}),
        ("The children's galaxy. Children went", {
            ("galaxy", "galaxy"), ("Children", "child"), ("went", "go"), ("children's", "child"),
        }),
        ("Dark Matter halos", {("Dark Matter", "dark matter"), ("Matter", "matter")}),
        ("dark, cold matter", {("matter", "matter")}),
        ("New\nYork  City", {("New\nYork  City", "new york city")}),
        ("New York is no city", set()),
        ("a self-made man", {("self-made", "self-made")}),
        ("\U0001f327\ufe0f\U0001f469\u200d\U0001f680 galaxies!", {("galaxies", "galaxy")}),
        ("galaxy42 and 42", {("galaxy", "galaxy")}),
        ("gala xy, 今天, 1 2 3", set()),
        ("", set()),
    ],
)  # fmt: skip
def test_words_and_phrases_are_found_as_they_are_written_and_in_other_forms(
    text: str, found: set[tuple[str, str]]
) -> None:
    tokens = list(TOKEN.finditer(text))
    spans = zip(*LEXICON._trie.found([one[0] for one in tokens]), strict=True)
    words = {(text[tokens[a].start() : tokens[b].end()], LEXICON.words[word]) for a, b, word in spans}
    if "children's" in text:  # whether a genitive is a form of its noun depends on the lemmatizer
        words.add(("children's", "child"))
    assert words == found


def test_the_names_in_several_texts_are_those_in_each() -> None:
    texts = ["A galaxy", "", "dark matter, a galaxy and matter", "children", "A galaxy"]
    together = dict(lexicon_of(WORDS).names_in(texts))
    assert together == {text: lexicon_of(WORDS).names_in([text])[text] for text in texts}
    assert together["dark matter, a galaxy and matter"] == {0: (15, 21), 1: (0, 11), 2: (5, 11)}


def test_entries_are_those_of_all_words_each_word_once() -> None:
    entries = LEXICON.entries(["Galaxies, a galaxy, dark matter; galaxies."])[1]
    assert sorted(entries.tolist()) == [0, 1, 2, 3]
    assert LEXICON.entries(["nothing is known of this"])[1].tolist() == []


def test_the_word_that_names_a_concept_is_the_surest_and_no_other_word_names_it() -> None:
    text = "The matter of a self-made man and dark matter"
    assert LEXICON.name_in(text, 2) == (text.index("self-made"), text.index(" man"))
    assert LEXICON.name_in(text, 1) == (text.index("dark matter"), len(text))
    assert LEXICON.name_in("a galaxy", 1) is None, "it is near to the concept, and does not name it"
    assert LEXICON.name_in("he went", 4) is None
    assert LEXICON.name_in("matter, and matter", 2) == (0, 6), "the first of several"


def test_the_surest_word_does_not_depend_on_the_order_of_its_forms() -> None:
    """Each plural is known as such with a low weight, and by its singular with a high one, or the reverse."""
    singular = ["star", "dog", "tree", "river", "house", "book"]
    words: dict[str, list[tuple[int, float, bool]]] = {"sun": [(0, 2.0, True)]}
    for number, word in enumerate(singular):
        low, high = (word, word + "s") if number % 2 else (word + "s", word)
        words |= {low: [(0, 1.0, True)], high: [(0, 3.0, True)]}
    lexicon = lexicon_of(words)
    for word in singular:
        text = f"The sun and {word}s"
        assert lexicon.name_in(text, 0) == (12, len(text)), word


def test_a_lexicon_is_made_of_its_entries_again() -> None:
    entries = dict(LEXICON.items())
    assert entries == {
        (word, row): (weight, is_name) for word, own in WORDS.items() for row, weight, is_name in own
    }
    again = Lexicon.of(entries)
    assert again.words == tuple(sorted(WORDS))
    assert dict(again.items()) == entries
    assert again.name_in("GALAXIES", 0) == (0, 8)
    assert again.entries(["dark matter"])[1].tolist() == sorted(
        number for number, (word, _) in enumerate(dict(again.items())) if word in ("dark matter", "matter")
    )


def test_a_lexicon_of_no_entries_finds_nothing() -> None:
    empty = Lexicon.of({})
    assert (empty.words, empty.starts.tolist()) == ((), [0])
    assert empty.entries(["a galaxy"])[1].tolist() == [] and empty.name_in("a galaxy", 0) is None


def test_texts_that_are_read_together_are_read_as_they_are_alone() -> None:
    texts = ["New York", "City of dark", "matter\0of children", "", "Dark matter; new york city, galaxies"]
    owners, entries = LEXICON.entries(texts)
    assert [entries[owners == row].tolist() for row in range(len(texts))] == [
        LEXICON.entries([text])[1].tolist() for text in texts
    ]
    assert owners.tolist() == sorted(owners.tolist()) and 5 not in owners[owners < 2]
