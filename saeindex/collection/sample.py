"""A random sample of a collection's records, read once and cached.

Point ids are UUIDv5, hashes of the record ids: the first points in id order are a uniform random sample,
at the cost of one scroll.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from saeindex.config import CONCEPTS, DENSE, LEVEL_STRIDE, SAE
from saeindex.encoders.cache import EmbeddingCache
from saeindex.indexing.points import codes_of
from saeindex.language.speech import readable
from saeindex.protocols import Point, PointId, TextEncoder, VectorStore
from saeindex.sae.metrics import nearest
from saeindex.stores.base import first_points
from saeindex.stores.point_checks import id_order

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray
    from scipy.sparse import csr_matrix

    from saeindex.features import FeatureSpace
    from saeindex.types import FloatArray, Ints

SAMPLE = 4_096
PAGE = 1_024
# The payload and the vectors that are read.
OF_SAMPLE = ["text"], [DENSE, SAE]
# Number of records below which a sample counts for less: it is more noise than evidence.
FEW = 50
NEIGHBOURS = 10
# Minimum records of a word, and maximum number of words, of which the rarest are left out.
MIN_RECORDS, MAX_WORDS = 2, 20_000
# Number of words that are embedded, the most frequent first.
MAX_NAMED = 4_000


class NamedWords(NamedTuple):
    """Words with embeddings: columns, centred unit vectors (w, d), and the mean that was subtracted."""

    columns: Ints
    vectors: FloatArray
    mean: FloatArray


@dataclass(frozen=True, eq=False)
class CollectionSample:
    """Up to 4,096 random records of ``total``; each represents ``weight`` records."""

    space: FeatureSpace
    rows: Rows
    places: Mapping[str, int]
    total: int
    cache: Path | None = None
    # The rows with all their words, and these by column: after a write, another sample is made of it.
    whole: tuple[Rows, Sequence[str]] | None = None
    _named: list[NamedWords] = field(default_factory=list)

    @property
    def weight(self) -> float:
        """The number of records that each row represents."""
        return self.total / max(1, len(self.rows))

    @property
    def trust(self) -> float:
        """The weight of the sample as evidence, 0 to 1: low for few records."""
        return len(self.rows) / (len(self.rows) + FEW)

    @cached_property
    def mean(self) -> FloatArray:
        """The mean embedding (d,), for few records shrunk towards the space's own mean."""
        mean: FloatArray = self.rows.x.mean(0)
        usual = self.space.calibration.mean
        if usual is not None:
            mean = (self.trust * mean + (1 - self.trust) * usual).astype(np.float32)
        return mean

    def similarity(self, vector: FloatArray) -> float:
        """Return the mean cosine of the ten records nearest to a vector (d,), 0 of none."""
        near = nearest_rows(vector[None], self.rows.x, NEIGHBOURS)[0]
        return float((self.rows.x[near] @ vector).mean()) if len(near) else 0.0

    @cached_property
    def present(self) -> csr_matrix:
        """The presence (0 or 1) of concepts in records."""
        return binarized(self.rows.concepts)

    @cached_property
    def occurring(self) -> csr_matrix:
        """The presence (0 or 1) of words in records."""
        return binarized(self.rows.words)

    @cached_property
    def concept_share(self) -> FloatArray:
        """The share of records that have each concept (n,)."""
        share: FloatArray = np.asarray(self.present.mean(0), np.float32).ravel()
        return share

    @cached_property
    def word_share(self) -> FloatArray:
        """The share of records that have each word (v,)."""
        share: FloatArray = np.asarray(self.occurring.mean(0), np.float32).ravel()
        return share

    @cached_property
    def background(self) -> FloatArray:
        """The mean label vector, weighted by the frequency of the labels' features (d,)."""
        share = self.concept_share
        mean: FloatArray = share @ self.space.label_vectors / max(float(share.sum()), 1e-6)
        return mean

    @cached_property
    def neighbours(self) -> Ints:
        """The rows nearest to each row, without the row itself (m, up to 10)."""
        return nearest_rows(self.rows.x - self.mean, self.rows.x - self.mean, NEIGHBOURS, skip_self=True)

    @cached_property
    def _rows_by_id(self) -> dict[PointId, int]:
        return {point_id: row for row, point_id in enumerate(self.rows.ids)}

    def neighbours_of(self, rows: Rows) -> Ints:
        """Return the sampled rows nearest to each of ``rows`` (m, up to 10); a sampled row is not its own."""
        here = np.array([self._rows_by_id.get(one, -1) for one in rows.ids], np.int64)
        found = np.zeros((len(rows), self.neighbours.shape[1]), np.int64)
        found[here >= 0] = self.neighbours[here[here >= 0]]
        if len(fresh := np.flatnonzero(here < 0)):
            found[fresh] = nearest_rows(rows.x[fresh] - self.mean, self.rows.x - self.mean, found.shape[1])
        return found

    @cached_property
    def words(self) -> tuple[str, ...]:
        """The words, by column."""
        return tuple(self.places)

    def named_words(self, encoder: TextEncoder) -> NamedWords:
        """Return the most frequent words with embeddings; they are computed once and cached on disk."""
        if not self._named:
            frequent = np.argsort(-self.word_share[: len(self.words)], kind="stable")
            often = self.word_share * len(self.rows) > MIN_RECORDS
            columns = [int(i) for i in frequent if len(self.words[i]) > 1 and often[i]][:MAX_NAMED]
            vectors = EmbeddingCache(self.cache).embed([self.words[i] for i in columns], encoder)
            mean = vectors.mean(0) if len(vectors) else self.mean
            centred = vectors - mean
            lengths = np.maximum(np.linalg.norm(centred, axis=1, keepdims=True), 1e-9)
            self._named.append(NamedWords(np.array(columns, np.int64), centred / lengths, mean))
        return self._named[0]


def read_sample(
    store: VectorStore,
    space: FeatureSpace,
    total: int,
    cache: Path | None = None,
    former: CollectionSample | None = None,
    changed: Collection[PointId] = (),
) -> CollectionSample:
    """Read a sample of ``store``, which has ``total`` points.

    If a ``former`` sample is given, and the points ``changed`` since, only these are read.
    """
    rows = None
    if former is not None and former.whole is not None:
        before, known = former.whole[0], Words(former.whole[1])
        points = store.get(list(changed), *OF_SAMPLE)
        if former.total > len(before):  # those after its last may have others before them
            points = [point for point in points if id_order(point.id) <= id_order(before.ids[-1])]
        fresh = _rows(points, space, known.presence(_texts(points)))
        stay = [row for row, one in enumerate(before.ids) if one not in changed]
        every = before.widened(len(known.numbers)).take(np.array(stay, np.int64)).joined(fresh)
        order = sorted(range(len(every)), key=lambda row: id_order(every.ids[row]))
        rows = every.take(np.array(order[:SAMPLE], np.int64))
    if rows is None or len(rows) < min(SAMPLE, total):
        known, points = Words(), first_points(store, SAMPLE, PAGE, *OF_SAMPLE)
        rows = _rows(points, space, known.presence(_texts(points)))
    vocabulary = tuple(known.numbers)
    columns = frequent(rows.words, vocabulary)
    places = {vocabulary[column]: place for place, column in enumerate(columns)}
    own = replace(rows, words=word_parts(rows.words, columns))
    return CollectionSample(space, own, places, max(total, len(rows)), cache, (rows, vocabulary))


def frequent(words: csr_matrix, vocabulary: Sequence[str]) -> Ints:
    """Return the columns of the words (m, v) that are read of a sample, in the order of the alphabet."""
    counts = np.bincount(words.indices, minlength=len(vocabulary))
    often = np.flatnonzero(counts >= MIN_RECORDS).tolist()
    often.sort(key=lambda one: (-counts[one], vocabulary[one]))
    return np.array(sorted(often[:MAX_WORDS], key=vocabulary.__getitem__), np.int64)


def nearest_rows(queries: FloatArray, among: FloatArray, count: int, skip_self: bool = False) -> Ints:
    """Return for each row of ``queries`` (a, d) the ``count`` rows of ``among`` (b, d) nearest by cosine.

    With ``skip_self`` row i of ``queries`` is row i of ``among``, and is not its own neighbour.
    """
    count = min(count, len(among) - skip_self)
    if count < 1:
        return np.zeros((len(queries), 0), np.int64)
    return nearest(queries, among, count, without_itself=skip_self)


# Characters of a text that are read: the rest hardly changes its set of words.
READ_CHARS = 4_000
# Parts of texts between spaces that are known at once.
MAX_APART = 200_000
# Words, and the marks of a question and an exclamation.
WORD = re.compile(r"[^\W_]+(?:['’][^\W_]+)?|[?!]")


@dataclass(frozen=True, eq=False)
class Rows:
    """Records: ``x`` (m, d), ``concepts`` (m, n) relative to their p90, ``words`` (m, v) by text length."""

    ids: tuple[PointId, ...]
    x: FloatArray
    concepts: csr_matrix
    words: csr_matrix

    def __len__(self) -> int:
        return len(self.ids)

    def widened(self, count: int) -> Rows:
        """Return the rows with so many columns of words, of which the last are empty."""
        words = self.words.copy()
        words.resize(len(self), max(1, count))
        return replace(self, words=words)

    def take(self, rows: Ints) -> Rows:
        """Return the rows at these positions, in this order."""
        return Rows(tuple(self.ids[i] for i in rows), self.x[rows], self.concepts[rows], self.words[rows])

    def joined(self, other: Rows) -> Rows:
        """Return these rows, followed by the rows of ``other`` that are not among them."""
        from scipy.sparse import vstack

        known = set(self.ids)
        fresh = [i for i, point_id in enumerate(other.ids) if point_id not in known]
        if not fresh:
            return self
        more = other.take(np.array(fresh))
        return Rows(
            self.ids + more.ids,
            np.concatenate([self.x, more.x]),
            vstack([self.concepts, more.concepts], "csr"),
            vstack([self.words, more.words], "csr"),
        )


def tokens(text: str) -> set[str]:
    """Return the different words that are read of a text, lower-cased."""
    return set(WORD.findall(_read(text)))


def _read(text: str) -> str:
    return readable(text[:READ_CHARS]).lower()


class Words:
    """Numbers words as they come, and finds those of texts; what is between spaces is taken apart once."""

    def __init__(self, known: Iterable[str] = ()) -> None:
        """``known`` are numbered already."""
        self.numbers = {word: number for number, word in enumerate(known)}
        self._apart: dict[str, tuple[int, ...]] = {}

    def of(self, texts: Iterable[str]) -> tuple[Ints, Ints]:
        """Return the number of different words that are read of each text (m,), and which, ascending."""
        if len(self._apart) > MAX_APART:
            self._apart.clear()
        apart, numbers, found = self._apart, self.numbers, list[set[int]]()
        for text in texts:
            parts = _read(text).split()
            for part in parts:
                if part not in apart:
                    words = WORD.findall(part)
                    apart[part] = tuple([numbers.setdefault(word, len(numbers)) for word in words])
            found.append({*chain.from_iterable(map(apart.__getitem__, parts))})
        flat = np.fromiter(chain.from_iterable(found), np.int64)
        sizes = np.fromiter(map(len, found), np.int64, len(found))
        most = len(numbers) + 1
        return sizes, np.sort(np.repeat(np.arange(len(found)), sizes) * most + flat) % most

    def presence(self, texts: Iterable[str]) -> csr_matrix:
        """Return a matrix (m, v) with a 1 where a text has a word."""
        sizes, columns = self.of(texts)
        return _indicators(sizes, columns, max(1, len(self.numbers)))


def read_rows(points: Sequence[Point], space: FeatureSpace, places: Mapping[str, int]) -> Rows:
    """Return points (with both vectors and their text) as rows; ``places`` maps words to columns."""
    return _rows(points, space, word_matrix([*map(tokens, _texts(points))], places))


def _rows(points: Sequence[Point], space: FeatureSpace, words: csr_matrix) -> Rows:
    shape = len(points), space.sae.dimension
    x = np.array([point.vectors[DENSE] for point in points], np.float32).reshape(shape)
    concepts = concept_parts(codes_of(points, space.n_features).to_csr(), space)
    return Rows(tuple(point.id for point in points), x, concepts, words)


def _texts(points: Iterable[Point]) -> Iterator[str]:
    return (point.payload.get("text", "") for point in points)


def word_matrix(found: Sequence[set[str]], places: Mapping[str, int]) -> csr_matrix:
    """Return the presence of words, divided by the root of a text's number of different words (m, v)."""
    from scipy.sparse import csr_matrix

    known = [places.keys() & words for words in found]
    starts = np.cumsum([0, *map(len, known)], dtype=np.int64)
    indices = np.fromiter(map(places.__getitem__, chain.from_iterable(known)), np.int32, int(starts[-1]))
    weights = np.array([(len(words) + 1) ** -0.5 for words in found], np.float32)
    values = np.repeat(weights, np.diff(starts))
    matrix = csr_matrix((values, indices, starts), shape=(len(found), max(1, len(places))))
    matrix.sort_indices()
    return matrix


def presence(points: Sequence[Point], n_features: int) -> csr_matrix:
    """Return a matrix (m, n_features) with a 1 where a point, with its level codes, has a feature."""
    present = [
        [code // LEVEL_STRIDE for code in point.payload.get(CONCEPTS, ()) if code % LEVEL_STRIDE == 0]
        for point in points
    ]
    indices = np.fromiter(chain.from_iterable(present), np.int32)
    return _indicators([*map(len, present)], indices, n_features)


def _indicators(sizes: ArrayLike, columns: NDArray[np.integer], count: int) -> csr_matrix:
    """Return a matrix (m, count) with a 1 in these columns, so many of each row (m,)."""
    from scipy.sparse import csr_matrix

    starts = np.concatenate([[0], np.cumsum(sizes, dtype=np.int64)])
    ones = np.ones(len(columns), np.float32)
    return csr_matrix((ones, columns, starts), shape=(len(starts) - 1, count))


def binarized(matrix: csr_matrix) -> csr_matrix:
    """Return ``matrix`` with every stored entry replaced by 1."""
    binary = matrix.copy()
    binary.data = np.ones_like(binary.data)
    return binary


def concept_parts(activations: csr_matrix, space: FeatureSpace) -> csr_matrix:
    """Return activations (m, n) relative to each feature's p90, capped."""
    parts = activations.astype(np.float32)
    parts.data = space.calibration.loudness(parts.indices, parts.data)
    return parts


def word_parts(words: csr_matrix, columns: Ints) -> csr_matrix:
    """Return the presence of some words (m, v), divided by the root of a record's number of different words.

    ``words`` has all; of no words there is one column, which is empty.
    """
    from scipy.sparse import csr_matrix, diags

    if not len(columns):
        return csr_matrix((words.shape[0], 1), dtype=np.float32)
    counts = np.asarray(words.sum(1), np.float64).ravel()
    return (diags((counts + 1) ** -0.5) @ words[:, columns]).tocsr().astype(np.float32)
