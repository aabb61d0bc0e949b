"""What a query asks for in words: BM25, of which what depends on the collection is in the query.

    score = Σ_w i_w b_w / (2.2 Σ_w i_w)          i_w = ln(1 + (N - n_w + .5) / (n_w + .5))

b_w is the stored weight of a word in the text, at most 2.2, N the number of records, n_w of those with the
word: so the score is the share of the most that a text can have for this query, and neither a filter nor the
other hits have a say in it. n is counted where it is below 1,024; else it is that among the first 1,024
records in the order of their ids, which are hashes.

In a fused score a word weighs  .3 i_w / Σ i + .8 r_w / max(1, Σ r),  r_w = (i_w / i_1)⁴  with i_1 the rarity
of a word of one record, from 5 to 8: a rare word is found in a long question, and common ones add little.
What is looked up as it is, such as a code, an address or a long number, weighs 2 i_w / i_1 in place of .8
r_w: a text that says the same of another number is no answer. The first sum has the words that no record has,
too: they leave so much less to the others. All of it is multiplied by 1 - |x̄|², x̄ the mean vector of texts in
the space: any two have the cosine |x̄|² on average, so this is what is left between cosines (.98 with
MiniLM; .49 with bge-small, with which full weights found no more words, and ranked answers worse).
"""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass
from functools import cached_property
from itertools import chain, islice
from math import log, log10
from typing import TYPE_CHECKING
from unicodedata import normalize

import numpy as np

from saeindex.collection.records import existing_ids, ids_that_say
from saeindex.collection.state import IndexState, Memo
from saeindex.config import DEFAULT_WORDS, TEXT, WORDS
from saeindex.indexing.words import MOST, words_in, words_of
from saeindex.language.lemmas import is_english
from saeindex.language.literal import INDEXED, is_unspaced
from saeindex.protocols import Point, SearchRequest, SparseVector
from saeindex.stores.base import PAGE, first_points, pages
from saeindex.types import Part

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping, Sequence

    from saeindex.types import Doubles

# The most records with a word that are counted, the words whose numbers are kept, and the first words of a
# query, which are searched for: the encoder reads no more either.
COUNTED, KEPT, MOST_ASKED = 1_024, 16_384, 256
# By how many times more records than are counted have a word for sure.
COMMON = 4
# Records whose words are known where a word is in none, and letters of words whose nearest is looked for: of
# short ones one letter may differ. So many words in no text, if most are, are of another language.
FOREIGN = 3
READ, LEAST_LETTERS, SHORT = 4_000, 3, 5
_WORD = re.compile(r"[^\W_]+(?:[-.'’][^\W_]+)*")
# Weights of all words, of rare ones and of codes beside 1 of a text's cosine and .5 of its nearest
# sentence's. Chosen on questions and known words of `choose` parts, and codes on tickets of one desk;
# `benchmarks words` has what they are worth elsewhere.
ALL, RARE, CODE, STEEP, LEAST, LARGEST = 0.3, 0.8, 2.0, 4, 5.0, 8.0
# What is looked up as it is: a word with a digit, but no short number, ordinal or decade; an address.
_CODE = re.compile(r"(?!\d{1,3}$|\d+(?:st|nd|rd|th|s)$).*[\d@].*", re.IGNORECASE)


@dataclass(frozen=True, eq=False)
class AskedWords:
    """The words of a query as they are written, by their hashes, and their rarity in ``total`` records.

    Those that are ``gone`` are not searched for: a steer leads away from what they name. The texts are in
    ``language``; ``spread`` is what the encoder leaves between cosines. ``counted`` are the numbers of all
    records and of those with each word, by which further pages of a search are ranked, too.
    """

    names: Mapping[int, str]
    every: Mapping[int, float]
    total: int
    language: str
    spread: float
    gone: frozenset[int] = frozenset()
    counted: tuple[float, ...] = ()

    @cached_property
    def rarity(self) -> Mapping[int, float]:
        """The rarity of each word that is searched for."""
        return {index: one for index, one in self.every.items() if index not in self.gone}

    @cached_property
    def shares(self) -> SparseVector:
        """The weights of a search for words alone."""
        found = np.array([*self.rarity.values()])
        return self._vector(found / max(1e-9, found.sum()))

    @cached_property
    def fused(self) -> SparseVector:
        """The weights of a fused search; they sum to :attr:`weight` for a text that has no other words."""
        return self._vector(self._weights)

    @cached_property
    def weight(self) -> float:
        """The most that words add to a fused score."""
        return float(self._weights.sum())

    @cached_property
    def _weights(self) -> Doubles:
        found = np.array([*self.rarity.values()])
        is_code = np.array([_CODE.fullmatch(self.names[index]) is not None for index in self.rarity], bool)
        share = found / min(max(_rarity(1, self.total), LEAST), LARGEST)
        rare = np.where(is_code, share, share**STEEP)
        # What no text has is asked for, too: the other words are so much less of the question.
        absent = _rarity(0, self.total) * sum(index not in self.every for index in self.names)
        most = np.where(is_code, CODE, RARE) / max(1.0, rare.sum())
        weights: Doubles = ALL * found / max(1e-9, found.sum() + absent) + most * rare
        return self.spread * weights

    def _vector(self, weights: Doubles) -> SparseVector:
        return SparseVector(np.array([*self.rarity], np.int32), (weights / MOST).astype(np.float32))

    def of_texts(self, texts: Sequence[str]) -> list[float]:
        """Return what the words of each text add to a fused score."""
        asked, every = self.fused.by_index, words_of(texts, self.language)
        return [sum(asked.get(i, 0.0) * value for i, value in own.by_index.items()) for own in every]

    def parts(self, vector: SparseVector, point: Point) -> list[Part]:
        """Return what each word that a point (with its words) has adds to its score, the largest first."""
        own = point.vectors.get(WORDS)
        if not isinstance(own, SparseVector):
            return []
        asked, has = vector.by_index, own.by_index.items()
        found = [Part("word", None, self.names[i], asked[i] * value) for i, value in has if i in asked]
        return sorted(found, key=lambda part: -part.value)


def asked_words(
    state: IndexState, text: str, away: Iterable[str] = (), known: Sequence[float] = ()
) -> AskedWords:
    """Return the words of a query that some record has, without those of texts that it is moved away from.

    ``known`` is what was counted for a page before this one.
    """
    language, total = state.manifest.words, state.total
    names = dict(islice(words_in(text, language).items(), MOST_ASKED))
    gone = words_in(" ".join(away), language)
    if len(known) == len(names) + 1:
        total, counts = int(known[0]), dict(zip(sorted(names), known[1:], strict=True))
    else:
        counts = {index: state.derived(_Counts).of(index) for index in sorted(names)}
    return AskedWords(
        names,
        {index: _rarity(n, total) for index, n in counts.items() if n},
        total,
        language,
        1.0 if (mean := state.space.calibration.mean) is None else 1.0 - float(mean @ mean),
        frozenset(gone),
        (total, *counts.values()),
    )


def _rarity(count: float, total: int) -> float:
    return log(1 + (total - count + 0.5) / (count + 0.5))


@dataclass(frozen=True, slots=True)
class Absent:
    """A word of a query that no text has; the ``nearest`` that some have, and how many these are.

    ``is_replaced`` if the query was read with that one in its place, ``is_id`` if it is the id of a record.
    """

    word: str
    nearest: str | None = None
    records: int = 0
    is_replaced: bool = False
    is_id: bool = False

    def __str__(self) -> str:
        if self.is_replaced:
            return f"Read {self.word!r} as {self.nearest!r}: it is in no text"
        if self.is_id:
            return f"{self.word!r} is in no text, but is the id of a record"
        found = f"In no text: {self.word!r}"
        return f"{found}; {self.nearest!r} is in {self.records:,}" if self.nearest else found


def absent_words(
    state: IndexState, asked: AskedWords, is_replaced: bool, said: Collection[str] = ()
) -> tuple[Absent, ...]:
    """Return the words of a query that no text has, and what they may be meant for.

    The nearest are looked for in the first 4,000 records, or in all if they are to be read in their place.
    A number or an address is in none if no text has it whole, what else is joined by marks if a part of it
    is. What begins as texts in ``said`` is asked for so; scripts without spaces have no words to be named.
    """
    present = {asked.names[index] for index in asked.every}
    absent = dict.fromkeys(one for one in asked.names.values() if one not in present and not is_unspaced(one))
    lost = [one for one in absent if _is_whole(one) or any(part in absent for part in INDEXED.findall(one))]
    lost = [one for one in lost if not any(one in text for text in said)]
    # A text may have it within what is joined by further marks: 5.0.0 in 5.0.0-beta.
    lost = [
        one
        for one in lost
        if not (_is_whole(one) and any(ids_that_say(state.store, one, state.has_unspaced, READ)))
    ]
    whole = [one for one in lost if not any(one in other and one != other for other in lost)]
    if not whole or not state.total:
        return ()
    ids = existing_ids(state.store, whole)
    is_known = is_english if state.manifest.words == DEFAULT_WORDS else (lambda _: False)
    read = None if is_replaced else READ
    is_foreign = not is_replaced and len(whole) >= FOREIGN and 2 * len(whole) > len(asked.names)
    return tuple(
        Absent(word, is_id=word in ids)  # a word that is none of this collection is no misspelling
        if is_foreign or word in ids or len(word) < LEAST_LETTERS or is_known(word.lower())
        else state.derived(_Lexicon, read).nearest(word, is_replaced)
        for word in whole
    )


def _is_whole(word: str) -> bool:
    """Return whether what is joined by marks is more than its parts: INV-2024-0117, me@example.com."""
    return not word.isalnum() and ("@" in word or any(map(str.isdigit, word)))


class _Lexicon:
    """The words of the texts of the first records, or of all, in lower case, and parts of what is joined."""

    def __init__(self, state: IndexState, most: int | None) -> None:
        self._state, self._words = state, Counter[str]()
        read = islice(pages(state.store, None, PAGE, [TEXT]), most and most // PAGE)
        for point in chain.from_iterable(page.points for page in read):
            text = point.payload.get(TEXT, "").lower()
            self._words.update({*_WORD.findall(text), *INDEXED.findall(text)})
        self._bare = {one: _bare(one) for one in self._words}

    def nearest(self, word: str, is_replaced: bool) -> Absent:
        """Return a word with the one that takes the fewest letters to become it: one of five, else two.

        Of its digits two neighbours may have changed places: RB-20111 is another order than RB-20105.
        """
        from rapidfuzz.distance import OSA
        from rapidfuzz.process import extract

        asked, language = word.lower(), self._state.manifest.words
        most = 1 if len(asked) <= SHORT or _digits(asked) else 2
        found = extract(_bare(asked), self._bare, scorer=OSA.distance, score_cutoff=most, limit=None)
        near = [(one, letters) for _, letters, one in found if _digits(one) == _digits(asked)]
        if not near:
            return Absent(word)
        best = min(near, key=lambda one: (self._cost(*one), one[0][0] != asked[0], one[0]))[0]
        counts: _Counts = self._state.derived(_Counts)
        hashes = words_in(best, language)
        whole = [index for index, name in hashes.items() if name == best] or [*hashes]
        count = min((counts.of(index) for index in whole), default=0.0)
        return Absent(word, best, round(count), is_replaced) if count else Absent(word)

    def _cost(self, word: str, letters: int) -> float:
        """Return how unlikely a word is meant: ten times as many records are worth a letter."""
        return letters - log10(self._words[word])


def _bare(word: str) -> str:
    """Return a word without accents."""
    return word if word.isascii() else re.sub("[\u0300-\u036f]", "", normalize("NFD", word))


def _digits(word: str) -> list[str]:
    return sorted(filter(str.isdigit, word))


class _Counts:
    """The number of records with a word, by its hash."""

    def __init__(self, state: IndexState) -> None:
        self._store, self._total, self._kept = state.store, state.total, Memo[float](KEPT)

    def of(self, word: int) -> float:
        return self._kept.get(word, lambda: self._counted(word))

    def _counted(self, word: int) -> float:
        asked = SparseVector(np.array([word], np.int32), np.ones(1, np.float32))
        if self._total > COMMON * COUNTED and self._usual(word) > COMMON * COUNTED:
            return self._usual(word)
        count = len(self._store.scores(SearchRequest(asked, using=WORDS, limit=COUNTED)))
        return count if count < COUNTED else max(COUNTED, self._usual(word))

    def _usual(self, word: int) -> float:
        return self._total * self._shares[word] / COUNTED

    @cached_property
    def _shares(self) -> Counter[int]:
        points = first_points(self._store, COUNTED, COUNTED, False, [WORDS])
        own = (point.vectors.get(WORDS) for point in points)
        return Counter(i for one in own if isinstance(one, SparseVector) for i in one.indices.tolist())
