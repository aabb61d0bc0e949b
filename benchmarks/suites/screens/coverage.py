"""The share of a collection's content words that a named concept or a term has as its name."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from benchmarks.evidence.relations import whole_wordnet
from saeindex.features.lexicon import TOKEN
from saeindex.language.lemmas import base_form

if TYPE_CHECKING:
    from saeindex.features import FeatureSpace

# Parts of speech of WordNet: nouns, verbs, adjectives, their satellites; and the letters of a content word.
CONTENT, LETTERS = frozenset("nvas"), 3


def token_coverage(texts: Sequence[str], space: FeatureSpace) -> float:
    """Return the share of nouns, verbs and adjectives in texts that are, alone or in a phrase, a name."""
    from sklearn.feature_extraction.text import ENGLISH_STOP_WORDS

    wordnet = whole_wordnet()
    names = space.names
    phrases = {name for name in names if " " in name}
    total = covered = 0
    for text in texts:
        words = [token[0].lower() for token in TOKEN.finditer(text)]
        bases = [base_form(word) for word in words]
        is_named = [word in names or base in names for word, base in zip(words, bases, strict=True)]
        for place, (first, second) in enumerate(zip(words, bases[1:], strict=False)):
            if f"{first} {second}" in phrases:
                is_named[place] = is_named[place + 1] = True
        for word, base, named in zip(words, bases, is_named, strict=True):
            if len(word) < LETTERS or word in ENGLISH_STOP_WORDS or base in ENGLISH_STOP_WORDS:
                continue
            senses = (*wordnet.by_lemma.get(word, ()), *wordnet.by_lemma.get(base, ()))
            if named or any(sense[-1] in CONTENT for sense in senses):
                total += 1
                covered += named
    return covered / max(1, total)
