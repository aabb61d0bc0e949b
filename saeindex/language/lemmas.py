"""The words of English and their base forms: simplemma's dictionary, and its rules for other words."""

from __future__ import annotations

from collections import defaultdict
from functools import cache, lru_cache
from typing import TYPE_CHECKING
from unicodedata import normalize

from saeindex.files import cache_folder

if TYPE_CHECKING:
    from simplemma import Lemmatizer
    from simplemma.strategies.dictionaries import DictionaryFactory

ENGLISH, KEPT_WORDS = "en", 200_000


@cache
def _dictionaries() -> DictionaryFactory:
    """Return the dictionary as a trie in the user's cache: read in 2 ms where decoding takes .3 s."""
    from simplemma import __version__
    from simplemma.strategies.dictionaries import trie_dictionary_factory as tries

    tries.logger.setLevel("ERROR")  # where there can be no file, it is decoded, and nobody need know
    folder = cache_folder() / f"simplemma-{__version__}"
    return tries.TrieDictionaryFactory(disk_cache_dir=str(folder))


@cache
def _lemmatizer() -> Lemmatizer:
    from simplemma import Lemmatizer
    from simplemma.strategies import DefaultStrategy

    return Lemmatizer(lemmatization_strategy=DefaultStrategy(dictionary_factory=_dictionaries()))


@lru_cache(KEPT_WORDS)
def base_form(word: str) -> str:
    """Return the singular of a noun, the infinitive of a verb, in lower case."""
    return _lemmatizer().lemmatize(word, ENGLISH).lower()


@lru_cache(KEPT_WORDS)
def is_english(word: str) -> bool:
    """Return whether a word, in lower case, is in the dictionary, be it with a capital."""
    from simplemma.strategies import DictionaryLookupStrategy

    return DictionaryLookupStrategy(_dictionaries()).get_lemma(normalize("NFC", word), ENGLISH) is not None


@cache
def words_by_form() -> dict[str, list[str]]:
    """Return the words of the dictionary, in lower case, by their base forms where these are others."""
    from simplemma.strategies import DEFAULT_DICTIONARY_FACTORY  # decoded: a trie is slower to read whole

    found = defaultdict[str, list[str]](list)
    for word, base in DEFAULT_DICTIONARY_FACTORY.get_dictionary(ENGLISH).items():
        if word != base:
            found[base.lower()].append(word.lower())
    return found
