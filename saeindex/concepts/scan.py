"""The records that speak of a phrase that is the name of no concept.

A record *says* a phrase with its words (:mod:`saeindex.concepts.words`). Otherwise it *means* it: where texts
have several sentences, or records are few, by the nearness of the nearest sentence, as evidence of concepts
does; and many texts, long or short, as a whole, by how they fit the property that the phrase describes
(:mod:`saeindex.concepts.inference`): what stands apart means it.

The engine finds the records with its words, those with the nearest sentences, and those that fit best as a
whole; these are read, and the first records of the index, which stand for all others.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from scipy.special import expit

from saeindex.concepts.inference import WITHOUT_WORDS, Asked, scored_by
from saeindex.concepts.words import NOT_SAID, Words
from saeindex.config import DENSE, SAE, SENTENCES, SPANS, TEXT
from saeindex.errors import InvalidInputError, copy_command
from saeindex.features.evidence import LEAST
from saeindex.indexing.sentences import spans_from, stored_sentences
from saeindex.indexing.terms import MIN_RECORDS
from saeindex.language.fields import RECORD_ID
from saeindex.language.literal import is_unspaced
from saeindex.language.speech import masked
from saeindex.protocols import Fusion, Point, PointId, SearchRequest
from saeindex.sae.metrics import unit_rows
from saeindex.stores.base import first_points, pages
from saeindex.types import LevelName, Proof

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from saeindex.collection.state import IndexState
    from saeindex.types import Doubles, FloatArray, Ints

# Records that are asked of the engine by their nearest sentence, and as a whole; so many with the words are
# read at most, in pages. The first records of an index, which stand for the others. Of what the engine gives,
# the share at the end: if some of it is present, there may be more.
NEAREST, AS_A_WHOLE, MOST_SAYING, PAGE, FIRST, END = 1_024, 2_048, 16_384, 1_024, 1_024, 0.1
READ = [RECORD_ID, TEXT, SPANS]
# The nearness of a sentence that cannot mean a phrase, as it lacks its digits or signs.
NEVER = -1.0
# How sure it is that a record speaks of a phrase that it has as it is written.
WRITTEN = 0.8
# Sentences of a usual record from which on each is judged by itself, and the log-odds that one means a
# phrase, by its nearness about the mean of sentences. Fitted on 543 pairs of `choose`, read blind; of phrases
# left out in turn, what is expected to be right in .12, .26, .42, .60 and .81 of the cases is so in .11, .29,
# .52, .47 and .79. That a sentence has all telling words adds to them: of 28 such pairs .79 are right.
SEVERAL, NEAR, SCATTERED = 2.0, (12.0, -5.5), 1.1
# Records above and below the threshold differ most there as a whole, where fewer count a little more (1.0:
# all alike); the least number and the largest share of records above it. If so many say the phrase, what does
# not say it must stand so much further apart. A single word is no description of a group: what does not say
# it is as sure as a concept is to have a level.
FEWER, MIN_APART, MOST_APART, MANY_SAY, FURTHER, SAME = 0.9, 5, 0.6, 5, 1.0, 1e-4
# How sure it is that a record means a phrase as a whole, as log-odds: by how far it is above the threshold,
# up to ``FARTHEST``, by how far those above are from the mean, by their product, by the mean cosine of the
# records nearest to the phrase, and a constant. Fitted on 133 descriptions of the `choose` parts of 13
# corpora, and, at half the weight, on 15 of other corpora for each. Corpora left out in turn, fifths of the
# descriptions that are expected to have the precisions .18, .25, .33, .43 and .65 have .21, .22, .26, .37 and
# .79. Where all together are less sure than ``LEAST_SURE``, no record means it: 4 of the 133, half of the
# others'.
MEANT, FARTHEST, LEAST_SURE = (-0.08, -0.19, 0.43, 5.3, -3.28), 2.0, 0.15
# The same of a record of several sentences, by the nearness of the nearest and by how far the record is above
# the threshold: what a few sentences of a collection are about. Fitted on 437 pairs of 50 such phrases on the
# `choose` parts of five corpora, read blind; left out in turn, AUROC .88 (.87 by nearness, .77 as a whole).
# If ``SEVERAL_MEAN`` records are as ``LIKELY``, those found as a whole are less sure than they seem (of .34,
# .45, .56, .70 were .14, .26, .40, .44 right). If these or two sentences mean the phrase, and as a whole the
# records are less sure than ``SURER``, or if ``MANY_MEAN`` are likely, the records are present that have the
# largest expected F1. Of what is found for the 50 phrases, .40 is right for .50 expected (.30 for .52 as a
# whole, where 45 of the 50 find 60 records or more; 11 now), with .95 of what is right; of 35 descriptions of
# classes of four such corpora the F1 is .38 (precision .40), as it is as a whole (.35).
BOTH, LIKELY, SEVERAL_MEAN, MANY_MEAN, LESS_SURE, SURER = (8.85, 1.05, -6.42), 0.3, 4, 15, 0.5, 0.3
# The levels; how far above the threshold what is possible and what is present as a whole begins, and the
# evidence from which on each level does.
RANKS: Mapping[LevelName, int] = {"possible": 1, "present": 2, "typical": 3, "strong": 4}
ABOVE, RISING = (-0.5, 0.0), sorted(LEAST)


class Spoken(NamedTuple):
    """The level that a record has a phrase at (1 to 4), how sure it is, and the sentence that speaks most."""

    rank: int
    p: float
    sentence: int


@dataclass(frozen=True, eq=False)
class Scan:
    """What records possibly speak of a phrase, by id; ``expected`` is how many of all do so clearly.

    ``is_said`` if one says it with its words. Without ``is_all`` there are more than were read.
    """

    words: Words
    records: Mapping[str, Spoken]
    expected: float
    is_said: bool
    is_all: bool

    def at(self, level: LevelName) -> frozenset[str]:
        """Return the ids of the records that have the phrase at a level."""
        return self._by_level[level]

    @cached_property
    def _by_level(self) -> dict[LevelName, frozenset[str]]:
        return {
            level: frozenset(one for one, spoken in self.records.items() if spoken.rank >= rank)
            for level, rank in RANKS.items()
        }

    def _sure(self, level: LevelName) -> list[float]:
        """Return how sure it is of each record at a level."""
        return [spoken.p for spoken in self.records.values() if spoken.rank >= RANKS[level]]

    def precision(self, level: LevelName = "present") -> float:
        """Return the expected share of the records at a level that speak of it clearly, 0 of none."""
        sure = self._sure(level)
        return float(np.mean(sure)) if sure else 0.0

    @property
    def recall(self) -> float:
        """The expected share of the records that speak of it clearly that are present."""
        return sum(self._sure("present")) / self.expected if self.expected else 0.0

    def proofs(self, payload: Mapping[str, Any]) -> Iterator[Proof]:
        """Yield the sentence by which the record of a payload speaks of the phrase, if it possibly does."""
        if spoken := self.records.get(payload[RECORD_ID]):
            start, end = spans_from(payload[SPANS])[spoken.sentence]
            sentence = masked(payload[TEXT])[start:end]
            found = self.words.in_one(sentence)
            yield Proof(None, self.words.phrase, round(spoken.p, 2), sentence, start, found)


class Read(NamedTuple):
    """What is read of the record of a point for a phrase: the sentence that speaks most, and how near it is.

    ``said`` is how sure its words are, 0 if it has them not; ``score`` how well it fits as a whole.
    """

    point: PointId
    id: str
    sentence: int
    near: float
    said: float
    score: float


class Usual(NamedTuple):
    """The first records of an index, whose ids are random: what is usual there.

    The points (m,), their record ids and rows in the sample, the ``vectors`` (s, d) of their sentences, and
    the first of each; the means of these and of all texts (d,); if records are many, if they are short, and
    if there are words without spaces between them.
    """

    points: Sequence[PointId]
    ids: Sequence[str]
    rows: Sequence[int]
    vectors: FloatArray
    starts: Ints
    means: tuple[FloatArray, FloatArray]
    are_many: bool
    are_short: bool
    is_unspaced: bool

    @classmethod
    def of(cls, state: IndexState) -> Usual:
        """Read the first records of a state."""
        evidence, sample = state.space.evidence, state.sample() if state.total else None
        place = {} if sample is None else {point: row for row, point in enumerate(sample.rows.ids)}
        read = first_points(state.store, FIRST, PAGE, [RECORD_ID], [SENTENCES])
        points = [point for point in read if SENTENCES in point.vectors and point.id in place]
        own: list[Any] = [point.vectors[SENTENCES] for point in points]
        mean = state.sample().mean if evidence is None else evidence.mean
        vectors = np.concatenate([np.zeros((0, len(mean)), np.float32), *own])
        are_many = len(points) >= MIN_RECORDS
        return cls(
            [point.id for point in points],
            [point.payload[RECORD_ID] for point in points],
            [place[point.id] for point in points],
            vectors,
            np.cumsum([0, *map(len, own)])[:-1],
            (vectors.mean(0) if are_many else mean, mean),
            are_many,
            len(vectors) < SEVERAL * len(points),
            sample is not None and any(map(is_unspaced, sample.words)),
        )


class Scanner:
    """Reads records of a state for a phrase; ``named`` are features whose names say it, with weights."""

    def __init__(self, state: IndexState, phrase: str, named: Mapping[int, float], can_mean: bool) -> None:
        """Learn what is usual; InvalidInputError without sentences.

        Without ``can_mean``, as the encoder cannot read the phrase, records only say it.
        """
        if state.manifest.sentences != "stored":
            asked = f"the phrase {phrase!r:.80}, which is the name of no concept"
            found, copied = "the index has no vectors of sentences", copy_command(state.store.name)
            do = f"Use the name of a concept or #id, or run {copied} with --sentences stored."
            raise InvalidInputError(asked, found, do)
        self._state, self._can_mean, self._words = state, can_mean, Words(phrase)
        self._usual = usual = state.derived(Usual.of)
        vector = state.encode(self._words.plain)
        # About what is usual here, and, as all may be about the phrase, about what is usual elsewhere.
        self._directions = [(mean, unit_rows((vector - mean)[None])[0]) for mean in usual.means]
        self._scorer, self._by_sentence = None, not (usual.are_many and usual.are_short)
        self._of_sample = np.zeros(0)
        if usual.are_many:
            sample = state.sample()
            meant = Asked(vector[None], judged=named)
            self._scorer = scored_by(sample, meant, state.encoder, WITHOUT_WORDS, state.nearest(vector))
            self._similarity, self._of_sample = sample.similarity(vector), self._scorer.of_sample[:, 0]
        self._floor = stands_apart(self._of_sample)

    def scan(self) -> Scan:
        """Read the records that may speak of it."""
        found, is_all = self._saying()
        last: Collection[PointId] = ()
        if self._can_mean and (self._words.has_codes or self._state.total > len(self._usual.points)):
            last = self._meaning(found)
        first = [one for one in self._first() if one.point not in found]
        others = self._state.total - len(found) - len(first)
        weight = np.ones(len(found) + len(first))
        weight[len(found) :] += max(0, others) / max(1, len(first))
        read = [*found.values(), *first]
        columns = zip(*read, strict=True) if read else [()] * len(Read._fields)
        points, ids, *measured = columns
        sentences, near, said, score = (np.array(column) for column in measured)
        can_mean = near > NEVER
        rank, p = self._meant(near, score, weight, int((said > 0).sum()))
        rank = np.maximum(rank * can_mean, np.digitize(said, RISING))
        p = np.maximum(p * can_mean, said)
        spoken = zip(ids, map(Spoken, rank.tolist(), p.tolist(), sentences.tolist()), strict=True)
        kept = {one: spoken for one, spoken in spoken if spoken.rank}
        present = {point for point, level in zip(points, rank, strict=True) if level >= RANKS["present"]}
        is_all = is_all and present.isdisjoint(last)
        return Scan(self._words, kept, float(weight @ p), bool((said > 0).any()), is_all)

    def _saying(self) -> tuple[dict[PointId, Read], bool]:
        """Return what is read of the records with the words of the phrase, and whether these are all."""
        found: dict[PointId, Read] = {}
        condition = None if self._usual.is_unspaced else self._words.condition(TEXT)
        store, parts = self._state.store, self._parts if condition else []
        for page in pages(store, condition, PAGE, READ, parts):
            points = page.points
            if condition is None:  # the words of texts tell it, and the rest is read of what says it
                sentences = {one.id: stored_sentences(one.payload) for one in points if SPANS in one.payload}
                said = [own for own, each in sentences.items() if self._words.said_in(each) != NOT_SAID]
                points = store.get(said, READ, self._parts)
            found |= {one.point: one for one in self._read(points, can_say=True)}
            if len(found) >= MOST_SAYING and page.cursor is not None:
                return found, False
        return found, True

    def _meaning(self, found: dict[PointId, Read]) -> list[PointId]:
        """Add what is read of the records that are nearest, and of those that fit best.

        Return the last of these, unless the engine has found all.
        """
        requests, last = list[tuple[SearchRequest, float]](), list[Any]()
        if self._by_sentence:
            direction = self._directions[0][1]
            requests.append((SearchRequest(direction, SENTENCES, NEAREST), -math.inf))
        if self._scorer is not None and math.isfinite(self._floor):
            sources = tuple(self._scorer.requests(AS_A_WHOLE))
            request = SearchRequest(Fusion(), prefetch=sources, limit=AS_A_WHOLE)
            requests.append((request, self._floor + ABOVE[0]))
        codes = self._words.condition(TEXT, codes_alone=True)
        for request, least in requests:
            wanted = replace(request, query_filter=codes, with_payload=False)
            ids = [point.id for point in self._state.store.search(wanted)]
            last += ids[int((1 - END) * len(ids)) :] if len(ids) == request.limit else []
            fresh = [one for one in ids if one not in found]
            for start in range(0, len(fresh), PAGE):
                points = self._state.store.get(fresh[start : start + PAGE], READ, self._parts)
                found |= {one.point: one for one in self._read(points, False, least)}
        return last

    @property
    def _parts(self) -> list[str]:
        return [] if self._scorer is None else [DENSE, SAE]

    def _first(self) -> Iterator[Read]:
        """Yield what is known of the first records, which have not all the words of the phrase."""
        usual, rows = self._usual, np.arange(len(self._usual.points))
        if not len(rows):
            return
        (mean, way), score = self._directions[0], np.zeros(len(rows))
        near = unit_rows(usual.vectors - mean) @ way
        best = np.maximum.reduceat(near, usual.starts)
        owners = np.repeat(rows, np.diff(usual.starts, append=len(near)))
        sentence = np.full(len(rows), len(near))
        np.minimum.at(sentence, owners, np.where(near == best[owners], np.arange(len(near)), len(near)))
        if self._scorer is not None:
            score = self._of_sample[usual.rows]
        best = best if self._can_mean and not self._words.has_codes else np.full(len(rows), NEVER)
        columns = (sentence - usual.starts).tolist(), best.tolist(), [0.0] * len(rows), score.tolist()
        yield from map(Read, usual.points, usual.ids, *columns)

    def _read(self, points: Sequence[Point], can_say: bool, least: float = -math.inf) -> Iterator[Read]:
        """Yield what is read of each record that fits so well at least as a whole.

        Its words are read only if these can say the phrase.
        """
        scores = np.zeros(len(points))
        if self._scorer is not None and len(points):
            scores = self._scorer(self._state.rows(points)).total
        fitting = {
            point.id: score for point, score in zip(points, scores.tolist(), strict=True) if score >= least
        }
        found = self._state.store.get(list(fitting), False, [SENTENCES])
        vectors_of = {point.id: point.vectors[SENTENCES] for point in found if SENTENCES in point.vectors}
        points = [point for point in points if point.id in vectors_of]
        if not points:
            return
        own: list[Any] = [vectors_of[point.id] for point in points]
        vectors, ends = np.concatenate(own), np.cumsum([len(one) for one in own])[:-1]
        nearness = (np.split(unit_rows(vectors - mean) @ way, ends) for mean, way in self._directions)
        for point, near, general in zip(points, *nearness, strict=True):
            sentences = stored_sentences(point.payload) if can_say or self._words.has_codes else []
            if self._words.has_codes or not self._can_mean:
                can_mean = [self._can_mean and self._words.can_mean(one) for one in sentences]
                meaning = np.where(can_mean, near, NEVER)
            else:
                meaning = near
            row, said = int(meaning.argmax()), 0.0
            written, scattered = self._words.said_in(sentences)
            if written is not None:
                row, said = written, WRITTEN
            elif scattered:
                sure = np.maximum(near, general)
                row = max(scattered, key=lambda one: float(sure[one]))
                said = float(expit(NEAR[0] * sure[row] + NEAR[1] + SCATTERED))
            yield Read(point.id, point.payload[RECORD_ID], row, float(meaning.max()), said, fitting[point.id])

    def _meant(self, near: Doubles, scores: Doubles, weight: Doubles, saying: int) -> tuple[Ints, Doubles]:
        """Return the level at which records mean the phrase (0: none), and how sure it is (m,).

        Each stands for ``weight`` (m,) records.
        """
        alone = expit(NEAR[0] * near + NEAR[1]) * self._by_sentence
        floor, of_sample = self._floor, self._of_sample
        if math.isinf(floor):
            return np.digitize(alone, RISING), alone
        above, apart = np.clip(scores - floor, -FARTHEST, FARTHEST), of_sample[of_sample >= floor].mean()
        few_mean = weight[np.digitize(alone, RISING) >= RANKS["present"]].sum() > 1
        if self._by_sentence:
            alone = expit(BOTH[0] * near + BOTH[1] * above + BOTH[2])
        likely = weight[alone >= LIKELY].sum()
        of_group = MEANT[1] * apart + MEANT[3] * self._similarity + MEANT[4]
        of_group -= LESS_SURE * (likely >= SEVERAL_MEAN)
        p = expit((MEANT[0] + MEANT[2] * apart) * above + of_group)
        if self._words.is_single:
            p = alone if self._by_sentence else p
            rank = np.digitize(p, RISING)
            return rank, p * (rank > 0)
        rank = np.digitize(scores - floor - FURTHER * (saying >= MANY_SAY), ABOVE)
        is_present = rank == RANKS["present"]
        sure = (weight * p)[is_present].sum() / max(1, weight[is_present].sum())
        if likely >= MANY_MEAN or (sure < SURER and (likely >= SEVERAL_MEAN or few_mean)):
            return np.maximum(np.digitize(alone, RISING), RANKS["present"] * best_set(alone, weight)), alone
        if sure < LEAST_SURE:
            return np.digitize(alone, RISING), alone
        rank = np.where(is_present, np.maximum(rank, np.digitize(p, RISING)), rank)
        return np.maximum(rank, np.digitize(alone, RISING)), np.maximum(p, alone)


def best_set(p: Doubles, weight: Doubles) -> NDArray[np.bool_]:
    """Return which records (m,), each right with probability ``p``, have the largest expected F1 together.

    It is that of the expected counts: of k records, twice their sum over k and the sum of all. Each stands
    for ``weight`` (m,) records.
    """
    order = np.argsort(-p)
    right = np.cumsum((weight * p)[order])
    expected = right / (np.cumsum(weight[order]) + right[-1:])
    chosen = np.zeros(len(p), bool)
    chosen[order[: int(expected.argmax()) + 1]] = True
    return chosen


def stands_apart(scores: Doubles) -> float:
    """Return the score (in deviations above the mean of all (m,)) from which records are meant.

    There the variance between the records above and below is largest, as in Otsu 1979 (IEEE Trans. SMC), with
    the odds of being above to the power ``FEWER``: a phrase means a group that stands apart, of any size.
    It is infinite where none does: scores that are the ``SAME`` but for rounding are not told apart.
    """
    order = np.sort(scores)[::-1]
    above = np.arange(1, len(order))
    mean = np.cumsum(order)[:-1] / np.maximum(above, 1)
    apart = np.maximum(mean, 0.0) ** 2 * (above / (len(order) - above)) ** FEWER
    apart[(above < MIN_APART) | (above > MOST_APART * len(order)) | (order[:-1] - order[1:] < SAME)] = 0.0
    if not apart.any():
        return math.inf
    last = int(apart.argmax())
    return float(order[last] + order[last + 1]) / 2
