"""Words that speak for concepts: how much each says, and which of them name the concept."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from saeindex.types import FloatArray, IntArray

# A word; the maximum number of words of a phrase.
TOKEN = re.compile(r"[^\W\d_]+(?:['’-][^\W\d_]+)*")
PHRASE_WORDS = 6
KEPT_FORMS, KEPT_TEXTS = 200_000, 64


@dataclass(frozen=True, slots=True)
class Said:
    """A word or phrase of a text: its span in characters, and its number in a lexicon."""

    start: int
    end: int
    word: int


@dataclass(frozen=True, eq=False)
class Lexicon:
    """``words`` and phrases in their base forms, in lower case, and what each says of concepts.

    The entries of word ``w`` are from ``starts[w]`` to ``starts[w + 1]``: the row of a concept (e,), the
    ``weights`` (e,) that the word adds to the log-odds of its evidence, and whether it names the concept,
    is a synonym or a narrower term (``is_name`` (e,)), rather than a word that is often near to it.
    """

    words: tuple[str, ...]
    starts: NDArray[np.int64]
    concepts: IntArray
    weights: FloatArray
    is_name: NDArray[np.bool_]

    @classmethod
    def of(cls, entries: Mapping[tuple[str, int], tuple[float, bool]]) -> Lexicon:
        """Return a lexicon of entries by word and row: the weight, and whether the word is a name."""
        ordered = sorted(entries)
        words, counts = np.unique([word for word, _ in ordered], return_counts=True)
        weights, is_name = zip(*(entries[one] for one in ordered), strict=True) if ordered else ((), ())
        return cls(
            tuple(words.tolist()),
            np.concatenate([[0], np.cumsum(counts)]).astype(np.int64),
            np.array([row for _, row in ordered], np.int32),
            np.array(weights, np.float16).astype(np.float32),  # as a file has them
            np.array(is_name, bool),
        )

    def extended(self, entries: Mapping[tuple[str, int], float]) -> Lexicon:
        """Return the lexicon with further names of concepts: the weight by word and row."""
        known = dict(self._number)
        for word, _ in entries:
            known.setdefault(word, len(known))
        starts = np.concatenate([self.starts, np.full(len(known) - len(self.words), self.starts[-1])])
        words = np.array([known[word] for word, _ in entries], np.int64)
        order = np.argsort(words, kind="stable")
        at = starts[words[order] + 1]
        rows = np.array([row for _, row in entries], np.int32)[order]
        weights = np.array(list(entries.values()), np.float32)[order]
        counts = np.bincount(words, minlength=len(known))
        found = Lexicon(
            tuple(known),
            starts + np.concatenate([[0], np.cumsum(counts)]),
            np.insert(self.concepts, at, rows),
            np.insert(self.weights, at, weights),
            np.insert(self.is_name, at, True),
        )
        # To compute these anew for all words takes longer than the rest.
        vars(found).update(_number=known, _openers=self._openers | _openers(word for word, _ in entries))
        return found

    def surest_names(self) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Return the weight of each word as a name of any concept, and of each row's surest name, else 0."""
        entries = np.flatnonzero(self.is_name)
        words = np.searchsorted(self.starts, entries, side="right") - 1
        of_words = np.zeros(len(self.words), np.float32)
        of_rows = np.zeros(int(self.concepts.max(initial=-1)) + 1, np.float32)
        np.maximum.at(of_words, words, self.weights[entries])
        np.maximum.at(of_rows, self.concepts[entries], self.weights[entries])
        return of_words, of_rows

    def items(self) -> Iterator[tuple[tuple[str, int], tuple[float, bool]]]:
        """Yield the entries, as :meth:`of` takes them."""
        words = np.repeat(np.arange(len(self.words)), np.diff(self.starts)).tolist()
        columns = words, self.concepts.tolist(), self.weights.tolist(), self.is_name.tolist()
        for word, row, weight, is_name in zip(*columns, strict=True):
            yield (self.words[word], row), (weight, is_name)

    @cached_property
    def _number(self) -> dict[str, int]:
        return {word: number for number, word in enumerate(self.words)}

    @cached_property
    def _openers(self) -> frozenset[str]:
        return _openers(self.words)

    def found_in(self, text: str) -> Iterator[Said]:
        """Yield the words and phrases of the lexicon in a text; a form may be that of several."""
        known = self._number
        for start, end, form in forms_in(text, known, self._openers):
            yield Said(start, end, known[form])

    def entries(self, texts: Sequence[str]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Return the texts (e,) and the numbers of the entries (e,) of all words in texts, text by text."""
        words = [sorted({said.word for said in self.found_in(text)}) for text in texts]
        owners = np.repeat(np.arange(len(texts)), [len(own) for own in words])
        flat = np.array([word for own in words for word in own], np.int64)
        counts = self.starts[flat + 1] - self.starts[flat]
        ends = np.cumsum(counts)
        within = np.arange(int(counts.sum())) - np.repeat(ends - counts, counts)
        return np.repeat(owners, counts), np.repeat(self.starts[flat], counts) + within

    def names_by(self, form: str) -> list[tuple[int, float]]:
        """Return the rows of the concepts that a base form names, and its weights."""
        word = self._number.get(form)
        if word is None:
            return []
        own = np.arange(self.starts[word], self.starts[word + 1])
        own = own[self.is_name[own]]
        return list(zip(self.concepts[own].tolist(), self.weights[own].tolist(), strict=True))

    def name_in(self, text: str, concept: int) -> tuple[int, int] | None:
        """Return the span of the word of a text that names a concept's row, the surest; None if none does."""
        names, openers = self._names_of(concept)
        places = _first_places(text)
        found: Iterable[tuple[int, int, str]] = (
            ((*places[form], form) for form in names.keys() & places.keys())
            if openers.isdisjoint(places)
            else forms_in(text, names, openers)
        )
        surest = max(((names[form], -start, end) for start, end, form in found), default=None)
        return None if surest is None else (-surest[1], surest[2])

    def _names_of(self, concept: int) -> tuple[dict[str, float], frozenset[str]]:
        """Return the words that name a concept's row, with their weights, and what its phrases begin with."""
        if concept not in self._named:
            every, concepts = self._names
            entries = every[slice(*np.searchsorted(concepts, (concept, concept + 1)))]
            words = np.searchsorted(self.starts, entries, side="right") - 1
            found = zip(words.tolist(), self.weights[entries].tolist(), strict=True)
            names = {self.words[word]: weight for word, weight in found}
            self._named[concept] = names, _openers(names)
        return self._named[concept]

    @cached_property
    def _names(self) -> tuple[NDArray[np.int64], NDArray[np.int32]]:
        """The entries of names by concept, and their concepts."""
        entries = np.flatnonzero(self.is_name)
        entries = entries[np.argsort(self.concepts[entries], kind="stable")]
        return entries, self.concepts[entries]

    @cached_property
    def _named(self) -> dict[int, tuple[dict[str, float], frozenset[str]]]:
        return {}


def _openers(words: Iterable[str]) -> frozenset[str]:
    """Return what the phrases among words begin with: all of each but its last words."""
    split = (word.split(" ") for word in words if " " in word)
    return frozenset(" ".join(words[:count]) for words in split for count in range(1, len(words)))


def forms_in(text: str, known: Collection[str], openers: Collection[str]) -> Iterator[tuple[int, int, str]]:
    """Yield start, end and form of each known word or phrase; phrases begin with one of ``openers``."""
    tokens = _tokens(text)
    for first, (start, end, own) in enumerate(tokens, 1):
        for form in own:
            if form in known:
                yield start, end, form
        before = [form for form in own if form in openers]
        for _, last, further in tokens[first : first + PHRASE_WORDS - 1] if before else ():
            before = [f"{begun} {form}" for begun in before for form in further]
            for phrase in before:
                if phrase in known:
                    yield start, last, phrase
            before = [phrase for phrase in before if phrase in openers]


@lru_cache(KEPT_TEXTS)
def _tokens(text: str) -> tuple[tuple[int, int, tuple[str, ...]], ...]:
    """Return start, end and forms of each word: a sentence is asked for several concepts."""
    return tuple((*token.span(), forms_of(token[0].lower())) for token in TOKEN.finditer(text))


@lru_cache(KEPT_TEXTS)
def _first_places(text: str) -> Mapping[str, tuple[int, int]]:
    """Return start and end of the first word of each form."""
    return {form: (start, end) for start, end, own in reversed(_tokens(text)) for form in own}


@lru_cache(KEPT_FORMS)
def forms_of(word: str) -> tuple[str, ...]:
    """Return a word as it is and its base form: the singular of a noun, the infinitive of a verb."""
    from simplemma import lemmatize

    return tuple({word, lemmatize(word, lang="en").lower()})


def forms(phrase: str) -> set[str]:
    """Return a phrase in lower case, and with the base form of its last word; none of a single letter.

    Only its letters count: "5G network" is "g network", in texts as well.
    """
    *first, last = TOKEN.findall(phrase.lower()) or [""]
    return {" ".join([*first, form]) for form in forms_of(last)} if first or len(last) > 1 else set()
