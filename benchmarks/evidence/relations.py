"""Which words speak for which concepts, and what is known of each pair: the columns of the fit."""

from __future__ import annotations

import math
import re
import zlib
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from benchmarks import data
from benchmarks.evidence.dictionary import Entry
from benchmarks.vocabulary.wordnet import WordNet
from saeindex.features.lexicon import PHRASE_WORDS, TOKEN, forms
from saeindex.sae.metrics import unit_rows

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from saeindex.protocols import TextEncoder
    from saeindex.types import FloatArray

# Share of a word's senses that are the concept's, from which on it names it; the maximum number of narrower
# synsets of a concept; cosine from which on a word that does not name a concept may speak for it.
MIN_SHARE, MAX_NARROWER, MIN_NEAR = 0.2, 4_000, 0.42
NAME, SYNONYM, NARROWER = 3, 2, 1
COLUMNS = ("synonym", "narrower", "share", "senses", "written", "near_name", "near_direction", "vague")
BLOCK = 2_000
# Words that say nothing of what a text is about, beside those of scikit-learn.
FUNCTION_WORDS = frozenset({"just"})


@dataclass(frozen=True, eq=False)
class Relations:
    """Pairs of a word and a concept: their numbers (r, 2), ``columns`` (r, 8), and which are names."""

    words: tuple[str, ...]
    pairs: NDArray[np.int32]
    columns: FloatArray
    is_name: NDArray[np.bool_]

    def third(self, names: Sequence[str], number: int) -> NDArray[np.bool_]:
        """Return which relations are in a third (0, 1 or 2) of the synonyms and narrower terms (r,)."""
        own = [forms(name) for name in names]
        pairs = zip(self.pairs.tolist(), self.is_name.tolist(), strict=True)
        return np.array([
            is_name
            and (word := self.words[place]) not in own[concept]
            and zlib.crc32(f"{word}|{concept}".encode()) % 3 == number
            for (place, concept), is_name in pairs
        ])  # fmt: skip

    def without(self, withheld: NDArray[np.bool_]) -> Relations:
        """Return the relations as if some of them (r,) were in no list of words."""
        columns = self.columns.copy()
        listed = [COLUMNS.index(name) for name in ("synonym", "narrower", "share", "written", "vague")]
        columns[np.flatnonzero(withheld)[:, None], listed] = 0
        return replace(self, columns=columns, is_name=self.is_name & ~withheld)


def whole_wordnet() -> WordNet:
    """Return WordNet with the synsets of all parts: a dictionary judges nothing."""
    wordnet = WordNet()
    for part in ("choose", "test"):
        for record in data.read("oewn", part):
            wordnet.synsets[record.id] = record.metadata
            for lemma in record.metadata["lemmas"]:
                wordnet.by_lemma[lemma.lower()].append(record.id)
            for broader in record.metadata["hypernyms"]:
                wordnet.below[broader].append(record.id)
    return wordnet


def naming(entries: Sequence[Entry], wordnet: WordNet) -> dict[tuple[str, int], tuple[int, float]]:
    """Return the kind of each word that names a concept, and the share of its senses that it means."""
    found: dict[tuple[str, int], tuple[int, float]] = {}
    for number, entry in enumerate(entries):
        own = set(entry.synsets)
        below = set().union(*map(wordnet.narrower, own)) if own else set()
        kinds = {NARROWER: below if len(below) < MAX_NARROWER else own, SYNONYM: own}
        for kind, synsets in kinds.items():
            for word in {lemma.lower() for one in synsets for lemma in wordnet.synsets[one]["lemmas"]}:
                senses = wordnet.by_lemma[word]
                share = sum(one in synsets for one in senses) / len(senses)
                if share >= MIN_SHARE:
                    found[word, number] = kind, share
        senses = wordnet.by_lemma.get(entry.name.lower(), [])
        share = sum(one in own for one in senses) / len(senses) if senses else 1.0
        for name in forms(entry.name.lower()):
            found[name, number] = NAME, share
    return found


def related(
    entries: Sequence[Entry], wordnet: WordNet, encoder: TextEncoder, directions: FloatArray
) -> Relations:
    """Return all pairs of words and concepts; ``directions`` (c, d) are those of the concepts' features."""
    from sklearn.feature_extraction.text import ENGLISH_STOP_WORDS

    named = naming(entries, wordnet)
    written = {(form, i) for i, entry in enumerate(entries) for word in entry.words for form in forms(word)}
    words = sorted(
        {word for word, _ in [*named, *written]} | set(wordnet.by_lemma),
        key=lambda word: (word.count(" "), word),
    )
    words = [word for word in words if _is_said(word)]
    number = {word: place for place, word in enumerate(words)}
    vectors = encoder.encode_query(words)
    centre = vectors.mean(0)
    vectors = unit_rows(vectors - centre)
    names = unit_rows(encoder.encode_query([entry.name for entry in entries]) - centre)
    keys = {(number[word], concept) for word, concept in [*named, *written] if word in number}
    keys |= set(_near(vectors, names))
    empty = ENGLISH_STOP_WORDS | FUNCTION_WORDS
    keys = {(w, c) for w, c in keys if words[w] not in empty or named.get((words[w], c), (0, 0))[0] == NAME}
    pairs = np.array(sorted(keys), np.int32)
    kinds = [named.get((words[w], c), (0, 0.0)) for w, c in pairs.tolist()]
    kind, share = (np.array(column, np.float32) for column in zip(*kinds, strict=True))
    senses = np.array([math.log1p(len(wordnet.by_lemma.get(word, ()))) for word in words], np.float32)
    is_vague = np.array([entry.is_vague for entry in entries], np.float32)
    columns = [
        kind == SYNONYM,
        kind == NARROWER,
        share,
        senses[pairs[:, 0]],
        np.array([(words[w], c) in written for w, c in pairs.tolist()], np.float32),
        _cosines(vectors, names, pairs),
        _cosines(vectors, unit_rows(directions), pairs),
        is_vague[pairs[:, 1]] * (kind == NAME),
    ]
    return Relations(tuple(words), pairs, np.stack(columns, 1).astype(np.float32), kind > 0)


def _is_said(word: str) -> bool:
    """Return whether a lexicon finds a word or phrase in texts."""
    tokens = TOKEN.findall(word)
    return 0 < len(tokens) <= PHRASE_WORDS and " ".join(tokens) == word and bool(re.search("[a-z]{2}", word))


def _near(vectors: FloatArray, names: FloatArray) -> Iterator[tuple[int, int]]:
    for start in range(0, len(vectors), BLOCK):
        near = np.argwhere(vectors[start : start + BLOCK] @ names.T >= MIN_NEAR)
        near[:, 0] += start
        yield from map(tuple, near.tolist())


def _cosines(left: FloatArray, right: FloatArray, pairs: NDArray[np.int32]) -> FloatArray:
    blocks = np.array_split(pairs, max(1, len(pairs) // 100_000))
    return np.concatenate([np.einsum("ij,ij->i", left[b[:, 0]], right[b[:, 1]]) for b in blocks])


def by_word(relations: Relations) -> dict[str, list[int]]:
    """Return the numbers of the pairs of each word."""
    found: dict[str, list[int]] = defaultdict(list)
    for number, (word, _) in enumerate(relations.pairs.tolist()):
        found[relations.words[word]].append(number)
    return found
