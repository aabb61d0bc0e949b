"""Words that speak for concepts: how much each says, and which of them name the concept."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from saeindex.language.lemmas import KEPT_WORDS, base_form, words_by_form

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from saeindex.types import FloatArray, IntArray, Ints

# A word; the maximum number of words of a phrase.
TOKEN = re.compile(r"[^\W\d_]+(?:['’-][^\W\d_]+)*")
PHRASE_WORDS = 6
KEPT_TEXTS = 1_024
# What separates texts that are read together, and the number of a form that is none of a lexicon's.
END, NO_FORM = "\0", 2**31 - 1
_TOKEN_OR_END = re.compile(rf"{TOKEN.pattern}|{END}")


@dataclass(frozen=True, eq=False)
class Lexicon:
    """``words`` and phrases in their base forms, in lower case, and what each says of concepts.

    The entries of word ``w`` are from ``starts[w]`` to ``starts[w + 1]``: the row of a concept (e,), the
    ``weights`` (e,) that the word adds to the log-odds of its evidence, and whether it names the concept,
    is a synonym or a narrower term (``is_name`` (e,)), rather than a word that is often near to it.
    """

    words: tuple[str, ...]
    starts: Ints
    concepts: IntArray
    weights: FloatArray
    is_name: NDArray[np.bool_]
    _named: dict[str, dict[int, tuple[int, int]]] = field(default_factory=dict, init=False, repr=False)

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
        return Lexicon(
            tuple(known),
            starts + np.concatenate([[0], np.cumsum(counts)]),
            np.insert(self.concepts, at, rows),
            np.insert(self.weights, at, weights),
            np.insert(self.is_name, at, True),
        )

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
    def _trie(self) -> Trie:
        return Trie.of(self.words)

    def entries(self, texts: Sequence[str]) -> tuple[Ints, Ints]:
        """Return the texts (e,) and the numbers of the entries (e,) of all words in texts, text by text."""
        tokens = _TOKEN_OR_END.findall(END.join(text.replace(END, " ") for text in texts))
        firsts, _, words = self._trie.found(tokens)
        owners = np.cumsum(np.array([token == END for token in tokens], bool))[firsts]
        said = np.unique(owners * len(self.words) + words)
        which, entries = self._entries_of(said % max(1, len(self.words)))
        return (said // max(1, len(self.words)))[which], entries

    def _entries_of(self, words: Ints) -> tuple[Ints, Ints]:
        """Return the places (e,) of words in ``words``, and the numbers of their entries (e,)."""
        counts = self.starts[words + 1] - self.starts[words]
        ends = np.cumsum(counts)
        within = np.arange(int(counts.sum())) - np.repeat(ends - counts, counts)
        return np.repeat(np.arange(len(words)), counts), np.repeat(self.starts[words], counts) + within

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
        return self.names_in([text])[text].get(concept)

    def names_in(self, texts: Collection[str]) -> dict[str, dict[int, tuple[int, int]]]:
        """Return for each text the span of the surest word that names a row, of equals the first."""
        known, every = self._named, dict.fromkeys(texts)
        if not (fresh := [text for text in every if text not in known]):
            return known
        if len(known) + len(fresh) > KEPT_TEXTS:
            self.__dict__["_named"] = known = {}
            fresh = [*every]
        found = [list(TOKEN.finditer(text)) for text in fresh]
        firsts, lasts, words = self._trie.found(
            [word for own in found for word in (*(one[0] for one in own), END)]
        )
        at, entries = self._entries_of(words)
        at, entries = at[self.is_name[entries]], entries[self.is_name[entries]]
        spans = np.array([span for own in found for span in (*(one.span() for one in own), (0, 0))], np.int64)
        starts, ends = spans[firsts[at], 0], spans[lasts[at], 1]
        owners = np.repeat(np.arange(len(fresh)), [len(own) + 1 for own in found])[firsts[at]]
        named: list[dict[int, tuple[int, int]]] = [{} for _ in fresh]
        order = np.lexsort((-ends, starts, -self.weights[entries]))
        columns = (each[order].tolist() for each in (owners, self.concepts[entries], starts, ends))
        for owner, row, start, end in zip(*columns, strict=True):
            named[owner].setdefault(row, (start, end))
        known.update(zip(fresh, named, strict=True))
        return known


class Trie:
    """Words and phrases by their forms, which have numbers, for many texts in a few operations on arrays.

    The node of a first word is the number of its form; that of a further word is ``n_forms`` and its place in
    ``keys``, which are the node before it * ``n_forms`` + its form, ascending. ``words`` has the number of
    the word that ends at a node, or -1, and ``is_open`` whether a phrase goes on there.
    """

    def __init__(self, forms: Mapping[str, int], keys: Ints, words: Ints) -> None:
        """``forms`` are numbered from 0."""
        self._numbers, self._keys, self._words = _Numbers(forms), keys, words
        self._n_forms = len(forms)
        self._is_open = np.zeros(len(words), bool)
        self._is_open[keys // max(1, len(forms))] = True

    @classmethod
    def of(cls, words: Sequence[str]) -> Trie:
        """Return the trie of words, and of phrases of at most ``PHRASE_WORDS``."""
        parts = " ".join(words).split(" ") if words else []
        forms = {form: number for number, form in enumerate(dict.fromkeys(parts))}
        lengths = np.array([word.count(" ") + 1 for word in words], np.int64)
        starts = np.cumsum(lengths) - lengths
        flat = np.fromiter(map(forms.__getitem__, parts), np.int64, len(parts))
        nodes, levels, count = flat[starts], [np.zeros(0, np.int64)], len(forms)
        for depth in range(1, PHRASE_WORDS):
            longer = np.flatnonzero(lengths > depth)
            own = nodes[longer] * len(forms) + flat[starts[longer] + depth]
            level, place = np.unique(own, return_inverse=True)
            nodes[longer] = count + place
            levels.append(level)
            count += len(level)
        of_nodes = np.full(count, -1, np.int64)
        whole = lengths <= PHRASE_WORDS
        of_nodes[nodes[whole]] = np.flatnonzero(whole)
        return cls(forms, np.concatenate(levels), of_nodes)

    def found(self, tokens: Sequence[str]) -> tuple[Ints, Ints, Ints]:
        """Return the first and the last token (f,) of each word or phrase that is found, and its number."""
        numbers = np.fromiter(map(self._numbers.__getitem__, tokens), np.int64, len(tokens))
        forms = np.stack([numbers >> 32, numbers & NO_FORM])
        variants, at = np.nonzero(forms != NO_FORM)
        nodes, found = forms[variants, at], []
        for depth in range(PHRASE_WORDS):
            is_word = self._words[nodes] >= 0
            found.append((at[is_word] - depth, at[is_word], self._words[nodes[is_word]]))
            goes_on = self._is_open[nodes] & (at + 1 < len(tokens))
            if not goes_on.any():
                break
            at, nodes = np.tile(at[goes_on] + 1, 2), np.tile(nodes[goes_on], 2)
            half = len(at) // 2
            own = np.concatenate([forms[0, at[:half]], forms[1, at[half:]]])
            wanted = nodes * self._n_forms + own
            place = np.searchsorted(self._keys, wanted)
            is_next = (own != NO_FORM) & (self._keys[np.minimum(place, len(self._keys) - 1)] == wanted)
            at, nodes = at[is_next], self._n_forms + place[is_next]
        first, last, words = (np.concatenate(each) for each in zip(*found, strict=True))
        return first, last, words


class _Numbers(dict[str, int]):
    """The numbers of the two forms of a word as it is written, in 32 bits each; ``NO_FORM`` if not known."""

    def __init__(self, forms: Mapping[str, int]) -> None:
        super().__init__({END: NO_FORM << 32 | NO_FORM})
        self._forms = forms

    def __missing__(self, token: str) -> int:
        if len(self) > KEPT_WORDS:
            self.clear()
            self[END] = NO_FORM << 32 | NO_FORM
        numbers = [self._forms.get(form, NO_FORM) for form in forms_of(token.lower())]
        self[token] = found = numbers[0] << 32 | (numbers[1] if len(numbers) > 1 else NO_FORM)
        return found


def forms_of(word: str) -> tuple[str, ...]:
    """Return a word as it is and its base form: the singular of a noun, the infinitive of a verb."""
    return tuple({word, base_form(word)})


def words_of(form: str) -> set[str]:
    """Return the words that have a base form, all in lower case, as far as they are known."""
    return {form, f"{form}s", f"{form}d", f"{form[:-1]}ies", *words_by_form().get(form, ())}


def forms(phrase: str) -> set[str]:
    """Return a phrase in lower case, and with the base form of its last word; none of a single letter.

    Only its letters count: "5G network" is "g network", in texts as well.
    """
    *first, last = TOKEN.findall(phrase.lower()) or [""]
    return {" ".join([*first, form]) for form in forms_of(last)} if first or len(last) > 1 else set()
