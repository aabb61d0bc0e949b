"""Records as matrices: their vectors, their concepts and their words, row by row."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from saeindex.config import CONCEPTS, DENSE, LEVEL_STRIDE
from saeindex.indexing.points import codes_of
from saeindex.language.speech import readable
from saeindex.protocols import Point, PointId

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from scipy.sparse import csr_matrix

    from saeindex.features import FeatureSpace
    from saeindex.types import FloatArray

# Characters of a text that are read: the rest hardly changes its set of words.
READ_CHARS = 4_000
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

    def take(self, rows: NDArray[np.int64]) -> Rows:
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
    return set(WORD.findall(readable(text[:READ_CHARS]).lower()))


def read_rows(points: Sequence[Point], space: FeatureSpace, places: Mapping[str, int]) -> Rows:
    """Return points (with both vectors and their text) as rows; ``places`` maps words to columns."""
    x = np.array([point.vectors[DENSE] for point in points], np.float32).reshape(
        len(points), space.sae.dimension
    )
    found = [tokens(point.payload.get("text", "")) for point in points]
    return Rows(tuple(p.id for p in points), x, concept_matrix(points, space), word_matrix(found, places))


def concept_matrix(points: Sequence[Point], space: FeatureSpace) -> csr_matrix:
    """Return the points' activations relative to each feature's p90, capped (m, n)."""
    return concept_parts(codes_of(points, space.n_features).to_csr(), space)


def word_matrix(found: Sequence[set[str]], places: Mapping[str, int]) -> csr_matrix:
    """Return the presence of words, divided by the root of a text's number of different words (m, v)."""
    from scipy.sparse import csr_matrix

    columns = [sorted(places[word] for word in words if word in places) for words in found]
    starts = np.cumsum([0, *(len(row) for row in columns)], dtype=np.int64)
    indices = np.fromiter((c for row in columns for c in row), np.int32, int(starts[-1]))
    weights = np.array([(len(words) + 1) ** -0.5 for words in found], np.float32)
    values = np.repeat(weights, np.diff(starts))
    return csr_matrix((values, indices, starts), shape=(len(found), max(1, len(places))))


def presence(points: Sequence[Point], n_features: int) -> csr_matrix:
    """Return a matrix (m, n_features) with a 1 where a point, with its level codes, has a feature."""
    from scipy.sparse import csr_matrix

    present = [
        [code // LEVEL_STRIDE for code in point.payload.get(CONCEPTS, ()) if code % LEVEL_STRIDE == 0]
        for point in points
    ]
    starts = np.cumsum([0, *map(len, present)], dtype=np.int64)
    indices = np.fromiter((one for own in present for one in own), np.int32, int(starts[-1]))
    return csr_matrix((np.ones(len(indices), np.float32), indices, starts), shape=(len(points), n_features))


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


def word_parts(words: csr_matrix) -> csr_matrix:
    """Return the presence of words (m, v), divided by the root of a record's number of different words."""
    from scipy.sparse import diags

    counts = np.asarray(words.sum(1), np.float64).ravel()
    return (diags((counts + 1) ** -0.5) @ words).tocsr().astype(np.float32)
