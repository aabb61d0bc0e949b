"""Words that speak for concepts: how much each says, and which of them name the concept."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from saeindex.types import FloatArray, IntArray

# A word; the maximum number of words of a phrase.
TOKEN = re.compile(r"[^\W\d_]+(?:['’-][^\W\d_]+)*")
PHRASE_WORDS = 3
KEPT_FORMS = 200_000


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

    def items(self) -> Iterator[tuple[tuple[str, int], tuple[float, bool]]]:
        """Yield the entries, as :meth:`of` takes them."""
        words = np.repeat(np.arange(len(self.words)), np.diff(self.starts)).tolist()
        columns = words, self.concepts.tolist(), self.weights.tolist(), self.is_name.tolist()
        for word, row, weight, is_name in zip(*columns, strict=True):
            yield (self.words[word], row), (weight, is_name)

    @cached_property
    def _number(self) -> dict[str, int]:
        return {word: number for number, word in enumerate(self.words)}

    def found_in(self, text: str) -> Iterator[Said]:
        """Yield the words and phrases of the lexicon in a text; a form may be that of several."""
        tokens = list(TOKEN.finditer(text))
        known = self._number
        forms = [_forms(token[0].lower()) for token in tokens]
        for first, token in enumerate(tokens):
            before = [""]
            for last in range(first, min(first + PHRASE_WORDS, len(tokens))):
                phrases = {start + form for start in before for form in forms[last]}
                start, end = token.start(), tokens[last].end()
                yield from (Said(start, end, known[one]) for one in phrases if one in known)
                before = [f"{phrase} " for phrase in phrases]

    def entries(self, text: str) -> NDArray[np.int64]:
        """Return the numbers of the entries of all words in a text (e,)."""
        words = {said.word for said in self.found_in(text)}
        spans = [np.arange(self.starts[word], self.starts[word + 1]) for word in words]
        return np.concatenate(spans) if spans else np.zeros(0, np.int64)

    def name_in(self, text: str, concept: int) -> tuple[int, int] | None:
        """Return the span of the word of a text that names a concept's row, the surest; None if none does."""
        named: dict[tuple[int, int], float] = {}
        for said in self.found_in(text):
            own = slice(self.starts[said.word], self.starts[said.word + 1])
            is_own = (self.concepts[own] == concept) & self.is_name[own]
            for weight in self.weights[own][is_own].tolist():
                span = said.start, said.end
                named[span] = max(weight, named.get(span, weight))
        return max(named, key=lambda span: named[span]) if named else None


@lru_cache(KEPT_FORMS)
def _forms(word: str) -> tuple[str, ...]:
    """Return a word as it is and its base form: the singular of a noun, the infinitive of a verb."""
    from simplemma import lemmatize

    return tuple({word, lemmatize(word, lang="en").lower()})


def forms(phrase: str) -> set[str]:
    """Return a phrase in lower case, and with the base form of its last word."""
    *first, last = phrase.lower().split()
    return {" ".join([*first, form]) for form in _forms(last)}
