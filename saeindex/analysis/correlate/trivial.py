"""Pairs of concepts that occur together for a trivial reason.

Some reasons are known before anything is counted: both concepts are in one family, their decoder directions
or labels are similar, or their labels share a word. Other reasons are found in the records: records with only
one concept are similar to records with only the other (two names of one thing), or both have the same word.
"""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from saeindex.collection.sample import tokens

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray
    from scipy.sparse import csc_matrix, csr_matrix

    from saeindex.collection.snapshot import Snapshot
    from saeindex.features import FeatureSpace

SAME, FAMILY, DECODER, LABEL, WORD_OF_LABEL = range(1, 6)
REASONS = (
    "the same concept",
    "the same family",
    "decoder directions alike",
    "labels alike",
    "labels share a word",
)
ALIKE = "what has only one is like what has only the other"
WORD = "one word stands in both"
# Chosen on the `choose` parts of two corpora, by the rank of planted pairs.
DECODER_COSINE, LABEL_COSINE, ALIKE_COSINE = 0.2, 0.5, 0.2
# The minimum share of a common word in the records of each concept, and its maximum share in all records.
WORD_SHARE, COMMON_WORD = 0.4, 0.1
# With fewer records that have only one of the concepts, all its records are used; the maximum number of them.
FEW, MAX_SAMPLED = 3, 1_000
# The size of the sample of all records, as a multiple of that maximum.
SAMPLED = 20
# Two sets of records are the same if they have more than this share in common, of their mean size.
SAME_RECORDS = 0.5
# The number of first letters by which words of labels are equal; the minimum length of a content word.
STEM, SHORTEST = 5, 4
# The maximum number of labels with a content word.
MAX_WITH_WORD = 20


class KnownTrivial:
    """Finds the trivial pairs of a space's features before anything is counted."""

    def __init__(self, space: FeatureSpace) -> None:
        """Read directions, labels and families of ``space``."""
        directions = np.asarray(space.directions, np.float32)
        lengths = np.maximum(np.linalg.norm(directions, axis=1, keepdims=True), 1e-9)
        self._directions, self._labels = directions / lengths, np.asarray(space.label_vectors, np.float32)
        groups = [family.features for family in space.families]
        self._families = _membership(groups, space.n_features)
        by_stem: dict[str, list[int]] = {}
        for feature, label in enumerate(space.labels):
            for stem in {word[:STEM] for word in tokens(label.text) if len(word) >= SHORTEST}:
                by_stem.setdefault(stem, []).append(feature)
        rare = [group for group in by_stem.values() if len(group) <= MAX_WITH_WORD]
        self._stems = _membership(rare, space.n_features)

    def __call__(self, a: NDArray[np.int64], b: NDArray[np.int64]) -> NDArray[np.int8]:
        """Return the number of the reason (p, q) for each pair of ``a`` (p,) and ``b`` (q,); 0 is none."""
        why = np.zeros((len(a), len(b)), np.int8)
        shared = (self._stems[a] @ self._stems[b].T).tocoo()
        why[shared.row, shared.col] = WORD_OF_LABEL
        why[self._labels[a] @ self._labels[b].T >= LABEL_COSINE] = LABEL
        why[np.abs(self._directions[a] @ self._directions[b].T) >= DECODER_COSINE] = DECODER
        shared = (self._families[a] @ self._families[b].T).tocoo()
        why[shared.row, shared.col] = FAMILY
        why[a[:, None] == b[None]] = SAME
        return why


def _membership(groups: Sequence[Sequence[int]], n: int) -> csr_matrix:
    """Return which feature (n, g) is in which group."""
    from scipy.sparse import csr_matrix

    features = np.array([f for group in groups for f in group], np.int64)
    owners = np.repeat(np.arange(len(groups)), [len(group) for group in groups])
    entries = np.ones(len(features), np.float32)
    return csr_matrix((entries, (features, owners)), shape=(n, max(1, len(groups))))


def rows_with(columns: csc_matrix, concept: int) -> NDArray[np.int64]:
    """Return the rows that have a concept, ascending."""
    span = slice(columns.indptr[concept], columns.indptr[concept + 1])
    rows: NDArray[np.int64] = np.sort(columns.indices[span]).astype(np.int64)
    return rows


class Distinct:
    """Finds for sets of rows whether nearly the same rows were seen before."""

    def __init__(self, records: int) -> None:
        """Begin with no set; rows are below ``records``."""
        self._sets: dict[int, NDArray[np.int64]] = {}
        self._inside = np.zeros(records, bool)

    def first_like(self, rows: NDArray[np.int64]) -> int | None:
        """Return the key of the first set with mostly the same rows, or None."""
        self._inside[rows] = True
        needed = SAME_RECORDS / 2
        twin = None
        for key, seen in self._sets.items():
            least = needed * (len(rows) + len(seen))
            if min(len(rows), len(seen)) > least and np.count_nonzero(self._inside[seen]) > least:
                twin = key
                break
        self._inside[rows] = False
        return twin

    def add(self, key: int, rows: NDArray[np.int64]) -> None:
        """Keep a set of rows."""
        self._sets[key] = rows


class SeenTrivial:
    """Finds from records the reason why a pair is trivial; slower, for pairs that would be listed."""

    def __init__(
        self, snapshot: Snapshot, kept: NDArray[np.int64], of_a: csc_matrix, of_b: csc_matrix
    ) -> None:
        """Bind a snapshot, the selected rows, and which of them have each concept of a side (m, n)."""
        self._snapshot, self._kept = snapshot, kept
        self._a, self._b = of_a, of_b

    def reason(self, a: int, b: int) -> str | None:
        """Return the reason why the pair is trivial, or None."""
        of_a, of_b = self.rows(a, b)
        only_a, only_b = (
            self._kept[self._alone(rows, other)] for rows, other in ((of_a, of_b), (of_b, of_a))
        )
        x = self._snapshot.vectors
        toward_a, toward_b = (
            np.asarray(x[rows], np.float64).mean(0) - self._mean for rows in (only_a, only_b)
        )
        lengths = float(np.linalg.norm(toward_a) * np.linalg.norm(toward_b))
        if float(toward_a @ toward_b) >= ALIKE_COSINE * max(lengths, 1e-12):
            return ALIKE
        words = self._snapshot.words
        share = np.minimum(words[only_a].mean(0), words[only_b].mean(0))
        is_shared = np.asarray(share).ravel() >= WORD_SHARE
        return WORD if bool((is_shared & (self._usual < COMMON_WORD)).any()) else None

    def rows(self, a: int, b: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Return the rows that have a, and those that have b."""
        return rows_with(self._a, a), rows_with(self._b, b)

    @property
    def _sampled(self) -> NDArray[np.int64]:
        return self._kept[: SAMPLED * MAX_SAMPLED]

    @cached_property
    def _mean(self) -> NDArray[np.float64]:
        return np.asarray(self._snapshot.vectors[self._sampled].mean(0), np.float64)

    @cached_property
    def _usual(self) -> NDArray[np.float64]:
        return np.asarray(self._snapshot.words[self._sampled].mean(0), np.float64).ravel()

    @staticmethod
    def _alone(rows: NDArray[np.int64], other: NDArray[np.int64]) -> NDArray[np.int64]:
        alone = np.setdiff1d(rows, other, assume_unique=True)
        # Rows are in random order: the first rows are a sample.
        return (alone if len(alone) >= FEW else rows)[:MAX_SAMPLED]
