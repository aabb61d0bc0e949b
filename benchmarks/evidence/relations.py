"""Which words speak for which concepts, and what is known of each pair: the columns of the fit."""

from __future__ import annotations

import math
import re
import zlib
from collections.abc import Iterable, Iterator, Mapping, Sequence, Set
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from benchmarks import data
from benchmarks.evidence.dictionary import Entry
from benchmarks.vocabulary.wordnet import WordNet
from saeindex.features.evidence import fifth_nearest
from saeindex.features.evidence_fit import directions_of
from saeindex.features.lexicon import PHRASE_WORDS, TOKEN, forms
from saeindex.sae.metrics import unit_rows

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from saeindex.protocols import TextEncoder
    from saeindex.types import FloatArray

# Share of a word's senses that are the concept's, from which on it names it; the maximum number of narrower
# synsets of a concept; cosine of a word and a name from which on the word may speak for the concept though it
# is in no list; how many of a concept's listed words a word is compared with, those that are nearest to it.
MIN_SHARE, MAX_NARROWER, MIN_NEAR, NEAREST_WORDS = 0.2, 4_000, 0.3, 3
NAME, SYNONYM, NARROWER = 3, 2, 1
# What is known of a pair: the kind of name, the share of the word's senses that the concept is and the
# logarithm of their number, whether a reader wrote the word for it, and cosines: of the word with the name,
# the direction, the latter over that of the fifth nearest concept, the listed words, and of the definitions.
COLUMNS = (
    "synonym", "narrower", "share", "senses", "written",
    "near_name", "near_direction", "margin", "near_words", "near_definition",
)  # fmt: skip
LISTED = [COLUMNS.index(name) for name in ("synonym", "narrower", "share", "written")]
BLOCK = 2_000
# Words that say nothing of what a text is about, beside those of scikit-learn.
FUNCTION_WORDS = frozenset({"just"})


@dataclass(frozen=True, eq=False)
class Relations:
    """Pairs of a word and a concept: their numbers (r, 2), ``columns`` (r, k), and which are names.

    ``vectors`` (w, d) are those of the words, ``directions`` (c, d) those of the concepts.
    """

    words: tuple[str, ...]
    vectors: FloatArray
    pairs: NDArray[np.int32]
    columns: FloatArray
    is_name: NDArray[np.bool_]
    directions: FloatArray

    def column(self, name: str) -> FloatArray:
        """Return a column (r,) by its name, a view that can be written to."""
        return self.columns[:, COLUMNS.index(name)]

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
        """Return the relations as if some of them (r,) were in no list; those that are not near are none."""
        found = replace(self, columns=self.columns.copy(), is_name=self.is_name & ~withheld)
        found.columns[np.flatnonzero(withheld)[:, None], LISTED] = 0
        found.column("near_words")[:] = found.nearness_to_listed()
        found.columns[withheld & (found.column("near_name") < MIN_NEAR)] = 0
        return found

    def nearness_to_listed(self) -> FloatArray:
        """Return the mean cosine of each pair's word with the nearest other words listed for its concept."""
        is_listed = self.is_name | (self.column("written") > 0)
        order = np.argsort(self.pairs[:, 1], kind="stable")
        found = np.zeros(len(order), np.float32)
        for own in np.split(order, np.cumsum(np.bincount(self.pairs[:, 1]))[:-1]):
            words = self.pairs[own, 0]
            listed = words[is_listed[own]]
            cosines = self.vectors[words] @ self.vectors[listed].T
            cosines[words[:, None] == listed] = 0
            found[own] = np.sort(np.maximum(cosines, 0), axis=1)[:, -NEAREST_WORDS:].sum(1) / NEAREST_WORDS
        return found


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


def related(entries: Sequence[Entry], wordnet: WordNet, encoder: TextEncoder) -> Relations:
    """Return all pairs of words and concepts."""
    named = naming(entries, wordnet)
    written = {(form, i) for i, entry in enumerate(entries) for word in entry.words for form in forms(word)}
    words = sorted(
        {word for word, _ in [*named, *written]} | set(wordnet.by_lemma),
        key=lambda word: (word.count(" "), word),
    )
    words = [word for word in words if _is_said(word)]
    vectors = encoder.encode_query(words)
    centre = vectors.mean(0)
    named_so = [(entry.shown, entry.gloss, entry.words) for entry in entries]
    vectors, directions = unit_rows(vectors - centre), directions_of(named_so, encoder)
    names = unit_rows(encoder.encode_query([entry.name for entry in entries]) - centre)
    pairs = _pairs(words, named, written, _near(vectors, names))
    kinds = [named.get((words[w], c), (0, 0.0)) for w, c in pairs.tolist()]
    kind, share = (np.array(column, np.float32) for column in zip(*kinds, strict=True))
    senses = np.array([math.log1p(len(wordnet.by_lemma.get(word, ()))) for word in words], np.float32)
    near_direction = _cosines(vectors, directions, pairs)
    columns = {
        "synonym": kind == SYNONYM,
        "narrower": kind == NARROWER,
        "share": share,
        "senses": senses[pairs[:, 0]],
        "written": np.array([(words[w], c) in written for w, c in pairs.tolist()], np.float32),
        "near_name": _cosines(vectors, names, pairs),
        "near_direction": near_direction,
        "margin": near_direction - _fifths(vectors, directions)[pairs[:, 0]],
        "near_words": np.zeros(len(pairs)),
        "near_definition": _near_definitions(words, pairs, entries, wordnet, encoder),
    }
    stacked = np.stack([columns[name] for name in COLUMNS], 1).astype(np.float32)
    found = Relations(tuple(words), vectors, pairs, stacked, kind > 0, directions)
    return found.without(np.zeros(len(pairs), bool))


def _pairs(
    words: Sequence[str], named: Mapping[tuple[str, int], tuple[int, float]], written: Set[tuple[str, int]],
    near: Iterable[tuple[int, int]],
) -> NDArray[np.int32]:  # fmt: skip
    """Return the pairs (r, 2) that are listed or near; a word that says nothing speaks as a name alone."""
    from sklearn.feature_extraction.text import ENGLISH_STOP_WORDS

    number = {word: place for place, word in enumerate(words)}
    keys = {(number[word], concept) for word, concept in [*named, *written] if word in number} | {*near}
    empty = ENGLISH_STOP_WORDS | FUNCTION_WORDS
    return np.array(
        sorted(
            (word, concept)
            for word, concept in keys
            if words[word] not in empty or named.get((words[word], concept), (0, 0))[0] == NAME
        ),
        np.int32,
    )


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


def _fifths(vectors: FloatArray, directions: FloatArray) -> FloatArray:
    """Return the cosine of each word with the direction that is the fifth nearest to it (w,)."""
    starts = range(0, len(vectors), BLOCK)
    return np.concatenate([fifth_nearest(vectors[at : at + BLOCK] @ directions.T) for at in starts])


def _near_definitions(
    words: Sequence[str], pairs: NDArray[np.int32], entries: Sequence[Entry], wordnet: WordNet,
    encoder: TextEncoder,
) -> FloatArray:  # fmt: skip
    """Return the largest cosine of a definition of each pair's word with that of its concept (r,)."""
    place = {synset: number for number, synset in enumerate(wordnet.synsets)}
    vectors = encoder.encode_document([str(one["definition"]) for one in wordnet.synsets.values()])
    of_words = unit_rows(vectors - vectors.mean(0))
    own = encoder.encode_document([f"{entry.name}: {entry.gloss}" for entry in entries])
    of_concepts = unit_rows(own - own.mean(0))
    senses = [[place[synset] for synset in wordnet.by_lemma.get(word, ())] for word in words]
    rows = np.repeat(np.arange(len(pairs)), [len(senses[word]) for word in pairs[:, 0].tolist()])
    compared = [(sense, concept) for word, concept in pairs.tolist() for sense in senses[word]]
    found = np.zeros(len(pairs), np.float32)
    np.maximum.at(found, rows, _cosines(of_words, of_concepts, np.array(compared, np.int32)))
    return found
