"""Points in any number whose statistics are known: records made of real sentences, encoded once each.

A record has a *theme*, of a Zipf distribution; more than half of its sentences are of the theme's, the others
of all, again by Zipf. Its vector is the unit sum of those of its sentences, with some noise, its evidence
the largest of theirs, so nothing is encoded. Half of the records are of group "b", where ``PLANTED`` themes
are ``RAISED`` times as frequent. Level codes are counted by group while they are made: what analyses must
find.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from dataclasses import dataclass, field
from itertools import pairwise
from multiprocessing import get_context
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

import numpy as np

from saeindex import FeatureIndex, Record
from saeindex.config import DEFAULT_WORDS, LEVEL_STRIDE, SentenceStorage
from saeindex.features.evidence import TextMentions
from saeindex.indexing.points import Coded, PreparedRecord, build_points, content_hash
from saeindex.indexing.sentences import Sentences
from saeindex.indexing.words import words_of

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from saeindex.features import FeatureSpace
    from saeindex.protocols import Point, TextEncoder
    from saeindex.types import FloatArray

    # Points, the number of records of each group in which a feature is present (2, n), and of all (2,).
    _Made: TypeAlias = tuple[list[Point], NDArray[np.int64], NDArray[np.int64]]

THEMES, OF_THEME, SHARE = 200, 256, 0.6
PLANTED, RAISED = range(20, 25), 4.0
BATCH, AHEAD = 2_000, 2
# What no two records have in common (of a component; its length is .02): else many would have equal scores.
NOISE = 0.001
GROUPS = ("a", "b")
# Between sentences, which are paragraphs: whatever they are, they end there.
SEPARATOR = "\n\n"


@dataclass(eq=False)
class Population:
    """Sentences with their unit ``vectors`` (s, d), and the counts of the points that were made of them.

    ``having`` (2, n) is the number of records of each group in which a feature is present.
    """

    texts: Sequence[str]
    vectors: FloatArray
    space: FeatureSpace
    seed: int = 0
    records: NDArray[np.int64] = field(default_factory=lambda: np.zeros(2, np.int64))

    def __post_init__(self) -> None:
        """Find the evidence of each sentence, and the sentences of each theme."""
        evidence = self.space.evidence
        assert evidence is not None
        found = evidence.of_texts(self.texts, self.vectors, range(len(self.texts) + 1))
        self._features, self._percents, self._ends = found.features, found.percents, found.ends
        rng = np.random.default_rng(self.seed)
        seeds = rng.choice(len(self.texts), THEMES, replace=False)
        self._of_theme = np.argsort(-(self.vectors[seeds] @ self.vectors.T), axis=1)[:, :OF_THEME]
        self._order = rng.permutation(len(self.texts))
        self.having = np.zeros((2, self.space.n_features), np.int64)
        usual = 1 / np.arange(1, THEMES + 1)
        raised = usual * np.where(np.isin(np.arange(THEMES), PLANTED), RAISED, 1.0)
        self._frequency = np.stack([usual / usual.sum(), raised / raised.sum()])

    def points(self, count: int, lengths: Sequence[int], sentences: SentenceStorage) -> Iterator[list[Point]]:
        """Yield ``count`` points of so many sentences each, in batches, which a second process makes ahead.

        Those before are counted already.
        """
        first = int(self.records.sum())
        sizes = [(at, min(BATCH, first + count - at)) for at in range(first, first + count, BATCH)]
        with ProcessPoolExecutor(1, get_context("spawn"), _begin, (self,)) as process:
            waiting: deque[Future[_Made]] = deque()
            for start, size in [*sizes, *[(0, 0)] * AHEAD]:
                if size:
                    waiting.append(process.submit(_made, start, size, lengths, sentences))
                if len(waiting) > AHEAD or (waiting and not size):
                    points, having, records = waiting.popleft().result()
                    self.having += having
                    self.records += records
                    yield points

    def batch(self, start: int, count: int, lengths: Sequence[int], storage: SentenceStorage) -> _Made:
        """Return ``count`` points, and their counts."""
        rng = np.random.default_rng((self.seed, start))
        groups = rng.integers(0, 2, count)
        themes = np.array([rng.choice(THEMES, p=self._frequency[group]) for group in groups])
        sizes = rng.choice(lengths, count)
        owners = np.repeat(np.arange(count), sizes)
        zipf = np.minimum(len(self.texts) ** rng.random(len(owners)), len(self.texts) - 1).astype(np.int64)
        own = self._of_theme[themes[owners], rng.integers(0, OF_THEME, len(owners))]
        rows = np.where(rng.random(len(owners)) < SHARE, own, self._order[zipf])
        ends = np.concatenate([[0], np.cumsum(sizes)])
        dense = np.add.reduceat(self.vectors[rows], ends[:-1])
        dense += NOISE * rng.standard_normal(dense.shape, np.float32)
        dense /= np.linalg.norm(dense, axis=1, keepdims=True)
        said = [self.texts[row] for row in rows]
        spans = [list(_spans(said[a:b])) for a, b in pairwise(ends)]
        kept = None if storage == "off" else Sentences.of_texts(
            said, self.vectors[rows], spans, storage == "stored"
        )  # fmt: skip
        mentions = None if kept is None else self._mentions(rows, owners, ends)
        texts = [SEPARATOR.join(said[a:b]) for a, b in pairwise(ends)]
        words = words_of(texts, DEFAULT_WORDS)
        coded = Coded.of(self.space, dense, self.space.encode(dense), kept, mentions, words)
        having = self._count(coded, groups)
        records = [
            Record(
                str(start + i), texts[i],
                {"group": GROUPS[groups[i]], "theme": int(themes[i]), "number": start + i},
            )
            for i in range(count)
        ]  # fmt: skip
        prepared = [
            PreparedRecord(one, content_hash(one), spans=(own,))
            for one, own in zip(records, spans, strict=True)
        ]
        return list(build_points(prepared, coded)), having, np.bincount(groups, minlength=2)

    def _mentions(
        self, rows: NDArray[np.int64], owners: NDArray[np.int64], ends: NDArray[np.int64]
    ) -> TextMentions:
        """Return the evidence of records, of each feature the largest of their sentences'."""
        many = np.diff(self._ends)[rows]
        place = np.repeat(np.arange(len(rows)), many)
        within = np.arange(many.sum()) - np.repeat(np.cumsum(many) - many, many)
        entry = self._ends[rows][place] + within
        features, percents, record = self._features[entry], self._percents[entry], owners[place]
        order = np.lexsort((place, -percents, features, record))
        key = record[order] * self.space.n_features + features[order]
        order = order[np.diff(key, prepend=-1) != 0]
        counts = np.bincount(record[order], minlength=len(ends) - 1)
        number = place[order] - ends[record[order]]
        return TextMentions(
            features[order], percents[order], number, np.concatenate([[0], np.cumsum(counts)])
        )

    def _count(self, coded: Coded, groups: NDArray[np.int64]) -> NDArray[np.int64]:
        codes, group = np.array(coded.levels), np.repeat(groups, np.diff(coded.ends))
        present = [codes[(group == side) & (codes % LEVEL_STRIDE == 0)] // LEVEL_STRIDE for side in (0, 1)]
        return np.stack([np.bincount(own, minlength=self.space.n_features) for own in present])


# In the process that makes the points.
_POPULATION = list[Population]()


def _begin(population: Population) -> None:
    _POPULATION.append(population)


def _made(start: int, count: int, lengths: Sequence[int], storage: SentenceStorage) -> _Made:
    return _POPULATION[0].batch(start, count, lengths, storage)


def _spans(sentences: Sequence[str]) -> Iterator[tuple[int, int]]:
    start = 0
    for sentence in sentences:
        yield start, start + len(sentence)
        start += len(sentence) + len(SEPARATOR)


def generated(
    path: Path,
    population: Population,
    count: int,
    encoder: TextEncoder,
    lengths: Sequence[int] = (5, 6, 7, 8),
    sentences: SentenceStorage = "stored",
) -> FeatureIndex:
    """Return a new index of ``count`` points."""
    index = FeatureIndex.create(
        path, population.space, encoder=encoder, sentences=sentences,
        payload_indexes={"metadata.number": "integer-range", "metadata.group": "keyword"},
    )  # fmt: skip
    with index._current.write() as write:
        for points in population.points(count, lengths, sentences):
            with write.points() as store:
                store.upsert(points)
    return index
