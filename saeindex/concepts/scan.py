"""The records that speak of a phrase that is the name of no concept: all records of a state are read.

A record *says* a phrase with its words. Otherwise it *means* it, if its texts have several sentences by the
nearness of the nearest one, as evidence of concepts does; short texts are judged as a whole, by how they fit
the property that the phrase describes (:mod:`saeindex.concepts.scorer`): what stands apart means it.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from scipy.special import expit

from saeindex.concepts.inference import Asked, Recipe, infer, pool_of
from saeindex.concepts.scorer import Scorer
from saeindex.config import DENSE, SAE, SENTENCES, SPANS, TEXT
from saeindex.errors import InvalidInputError, copy_command
from saeindex.features.evidence import LEAST
from saeindex.features.lexicon import TOKEN, Lexicon, forms
from saeindex.indexing.sentences import spans_from, stored_sentences
from saeindex.indexing.terms import Surroundings
from saeindex.language.fields import RECORD_ID
from saeindex.sae.metrics import unit_rows
from saeindex.stores.base import pages
from saeindex.types import LevelName, Proof

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from saeindex.collection.state import IndexState
    from saeindex.protocols import Point
    from saeindex.types import FloatArray

    Doubles = NDArray[np.float64]

# Words of the collection help to rank; for a set of records they changed nothing, and need an encoding.
RECIPE = Recipe(first_words=0.0, meant_words=0.0, most_meant=math.inf)
# The most records that are read for a phrase, and how many are in memory at a time.
MAX_SCANNED, PAGE = 100_000, 1_024
# How sure it is that a record speaks of a phrase that it has as it is written, or of which a sentence has all
# telling words, two at least: of 28 such sentences of `choose`, read blind, .79 speak of it clearly. Only
# texts with the words' first letters are looked at.
WRITTEN, SCATTERED, BEGINNING = 0.8, 0.7, 3
# Sentences of a usual record from which on each is judged by itself, and the log-odds that one means a
# phrase, by its nearness about the mean of sentences. Fitted on 543 pairs of `choose`, read blind; of phrases
# left out in turn, what is expected to be right in .12, .26, .42, .60 and .81 of the cases is so in .11, .29,
# .52, .47 and .79.
SEVERAL, NEAR = 2.0, (12.0, -5.5)
# Short records above and below the threshold differ most there, where fewer count a little more (1.0: all
# alike); the least number and the largest share of records above it. If so many say the phrase, or it is a
# single word, what does not say it must stand so much further apart.
FEWER, MIN_APART, MOST_APART, MANY_SAY, FURTHER = 0.9, 5, 0.6, 5, 1.0
# How sure it is that a short record means a phrase, as log-odds: by how far it is above the threshold, up to
# ``FARTHEST``, by how far those above are from the mean, by their product, and a constant. Fitted on 133
# descriptions of the `choose` parts of 13 corpora. Left out in turn, the quarters of descriptions that are
# expected to have the precisions .20, .26, .33 and .70 have .23, .22, .31 and .72.
MEANT, FARTHEST = (0.31, 0.46, 0.35, -2.51), 2.0
# The levels, how far above the threshold each begins, and the evidence from which on it does.
RANKS: Mapping[LevelName, int] = {"possible": 1, "present": 2, "typical": 3, "strong": 4}
ABOVE, RISING = (-0.5, 0.0, 0.5, 1.0), sorted(LEAST)


class Spoken(NamedTuple):
    """The level that a record has a phrase at (1 to 4), how sure it is, and the sentence that speaks most."""

    rank: int
    p: float
    sentence: int


@dataclass(frozen=True, eq=False)
class Scan:
    """What records possibly speak of a phrase, by id; ``expected`` is how many of all do so clearly.

    ``is_said`` if one says it with its words.
    """

    words: Words
    records: Mapping[str, Spoken]
    expected: float
    is_said: bool

    def at(self, level: LevelName) -> frozenset[str]:
        """Return the ids of the records that have the phrase at a level."""
        return self._by_level[level]

    @cached_property
    def _by_level(self) -> dict[LevelName, frozenset[str]]:
        return {
            level: frozenset(one for one, spoken in self.records.items() if spoken.rank >= rank)
            for level, rank in RANKS.items()
        }

    @cached_property
    def _sure(self) -> list[float]:
        """How sure it is of each present record."""
        return [spoken.p for spoken in self.records.values() if spoken.rank >= RANKS["present"]]

    @property
    def precision(self) -> float:
        """The expected share of the present records that speak of it clearly."""
        return float(np.mean(self._sure)) if self._sure else 0.0

    @property
    def recall(self) -> float:
        """The expected share of the records that speak of it clearly that are present."""
        return sum(self._sure) / self.expected if self.expected else 0.0

    def proofs(self, payload: Mapping[str, Any]) -> Iterator[Proof]:
        """Yield the sentence by which the record of a payload speaks of the phrase, if it possibly does."""
        if spoken := self.records.get(payload[RECORD_ID]):
            start, end = spans_from(payload[SPANS])[spoken.sentence]
            sentence = payload[TEXT][start:end]
            found = self.words.in_one(sentence)
            yield Proof(None, self.words.phrase, round(spoken.p, 2), sentence, start, found)


class Usual(NamedTuple):
    """What is usual in a collection: the mean of its sentences (d,), and whether records have several."""

    mean: FloatArray
    has_several: bool

    @classmethod
    def of(cls, state: IndexState) -> Usual:
        """Read the first records of a state."""
        evidence = state.space.evidence
        around = Surroundings.of(state.store, state.sample().mean if evidence is None else evidence.mean)
        records = int(around.owners.max(initial=-1)) + 1
        return cls(around.usual, 0 < SEVERAL * records <= len(around.owners))


class Scanner:
    """Reads the records of a state for a phrase; ``named`` are features whose names say it, with weights."""

    def __init__(self, state: IndexState, phrase: str, named: Mapping[int, float]) -> None:
        """Learn what is usual; InvalidInputError without sentences, or of too many records."""
        asked, total = f"the phrase {phrase!r:.80}, which is the name of no concept", state.total
        if state.manifest.sentences != "stored":
            found, copied = "the index has no vectors of sentences", copy_command(state.store.name)
            do = f"Use the name of a concept or #id, or run {copied} with --sentences stored."
            raise InvalidInputError(asked, found, do)
        if total > MAX_SCANNED:
            found = f"{total:,} records, of which at most {MAX_SCANNED:,} are read for it"
            do = "Define it (index.concepts.define), or use the name of a concept."
            raise InvalidInputError(asked, found, do)
        vector, usual = state.encode(phrase), state.derived(Usual.of)
        self._state, self._words, self._usual = state, Words(phrase), usual.mean
        self._direction = unit_rows((vector - self._usual)[None])[0]
        self._scorer = None
        if not usual.has_several:
            sample = state.sample()
            pool, meant = pool_of(sample, state.nearest(vector)), Asked(vector[None], judged=named)
            inferred = infer(sample, pool, meant, state.encoder, RECIPE)
            self._scorer = Scorer(inferred, sample, RECIPE.neighbours)

    def scan(self) -> Scan:
        """Read all records."""
        ids, said = list[str](), list[tuple[int, float]]()
        rows, near, scores = list[int](), list[float](), [np.zeros(0)]
        parts = [SENTENCES] if self._scorer is None else [DENSE, SAE, SENTENCES]
        for page in pages(self._state.store, None, PAGE, [RECORD_ID, TEXT, SPANS], parts):
            points = [point for point in page.points if SENTENCES in point.vectors]
            if points:
                ids += [point.payload[RECORD_ID] for point in points]
                said += [self._words.in_any(stored_sentences(point.payload)) for point in points]
                for row, most in self._nearest(points):
                    rows.append(row)
                    near.append(most)
                if self._scorer is not None:
                    scores.append(self._scorer(self._state.rows(points)).total)
        saying, sure = (np.array(each) for each in zip(*said, strict=True)) if said else (np.zeros(0),) * 2
        says = saying >= 0
        rank, p = self._meant(np.array(near), np.concatenate(scores), int(says.sum()))
        rank = np.where(says, np.maximum(rank, np.digitize(sure, RISING)), rank)
        p = np.where(says, sure, p)
        columns = rank.tolist(), p.tolist(), np.where(says, saying, rows).astype(int).tolist()
        found = zip(ids, map(Spoken._make, zip(*columns, strict=True)), strict=True)
        kept = {one: spoken for one, spoken in found if spoken.rank}
        return Scan(self._words, kept, float(p.sum()), bool(says.any()))

    def _meant(self, near: Doubles, scores: Doubles, saying: int) -> tuple[NDArray[np.int64], Doubles]:
        """Return the level at which records mean the phrase (0: none), and how sure it is (m,).

        What has digits is not meant by others, if records say it.
        """
        if saying and not self._words.is_of_letters:
            return np.zeros(len(near), np.int64), np.zeros(len(near))
        if self._scorer is None:
            p = expit(NEAR[0] * near + NEAR[1])
            return np.digitize(p, RISING), p
        of_sample = self._scorer.of_sample[:, 0]
        floor = stands_apart(of_sample)
        above, apart = scores - floor, float(of_sample[of_sample >= floor].mean())
        clipped = np.clip(above, -FARTHEST, FARTHEST)
        columns = clipped, np.full(len(above), apart), clipped * apart, np.ones(len(above))
        further = FURTHER if saying >= MANY_SAY or self._words.is_single else 0.0
        return np.digitize(above - further, ABOVE), expit(np.stack(columns, 1) @ MEANT)

    def _nearest(self, points: Sequence[Point]) -> list[tuple[int, float]]:
        """Return the number of the sentence of each record that is nearest to the phrase, and how near."""
        own: list[Any] = [point.vectors[SENTENCES] for point in points]
        near = unit_rows(np.concatenate(own).astype(np.float32) - self._usual) @ self._direction
        parts = np.split(near, np.cumsum([len(one) for one in own])[:-1])
        return [(int(part.argmax()), float(part.max())) for part in parts]


def stands_apart(scores: Doubles) -> float:
    """Return the score (in deviations above the mean of all (m,)) from which records are meant.

    There the variance between the records above and below is largest, as in Otsu 1979 (IEEE Trans. SMC), with
    the odds of being above to the power ``FEWER``: a phrase means a group that stands apart, of any size.
    """
    order = np.sort(scores)[::-1]
    above = np.arange(1, len(order))
    mean = np.cumsum(order)[:-1] / np.maximum(above, 1)
    apart = np.maximum(mean, 0.0) ** 2 * (above / (len(order) - above)) ** FEWER
    apart[(above < MIN_APART) | (above > MOST_APART * len(order))] = 0.0
    if not apart.any():
        return float(order[0])
    last = int(apart.argmax())
    return float(order[last] + order[last + 1]) / 2


class Words:
    """Finds a ``phrase`` in sentences: as it is written, or, of letters alone, all its telling words.

    ``is_single`` if it is one word, ``is_of_letters`` if it has no digits or signs.
    """

    def __init__(self, phrase: str) -> None:
        """Find its telling words."""
        from sklearn.feature_extraction.text import ENGLISH_STOP_WORDS

        self.phrase, parts = phrase, phrase.split()
        written = r"\s+".join(map(re.escape, parts))
        self._written = re.compile(rf"(?<!\w){written}(?!\w)", re.IGNORECASE)
        words = TOKEN.findall(phrase.lower())
        self.is_of_letters = words == phrase.lower().split()
        telling = [word for word in words if word not in ENGLISH_STOP_WORDS] or words
        is_searched = self.is_of_letters and len(telling) > (len(words) > 1)
        self._count = len(telling) if is_searched else 0
        self._forms = Lexicon.of({
            (form, row): (1.0, True) for row, word in enumerate(telling) for form in forms(word)
        })  # fmt: skip
        self._begins = [word[:BEGINNING] for word in telling]
        self.is_single = self.is_of_letters and len(words) == 1

    def in_any(self, sentences: Sequence[str]) -> tuple[int, float]:
        """Return the number of the first sentence that has the phrase, and how sure; -1 if none has it."""
        for row, one in enumerate(sentences):
            if self._written.search(one):
                return row, WRITTEN
        return next(((row, SCATTERED) for row, one in enumerate(sentences) if self.in_one(one)), (-1, 0.0))

    def in_one(self, sentence: str) -> tuple[int, int] | None:
        """Return the span of the phrase, or of its first telling word; None if it is not there."""
        if found := self._written.search(sentence):
            return found.span()
        lower = sentence.lower()
        if not self._count or not all(begins in lower for begins in self._begins):
            return None
        spans = [self._forms.name_in(sentence, row) for row in range(self._count)]
        return spans[0] if all(spans) else None
