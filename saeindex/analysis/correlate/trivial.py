"""Pairs of concepts that occur together for a trivial reason.

Some reasons are known before anything is counted: both concepts are in one family, their decoder directions
or labels are similar, or their labels share a word. Other reasons are found in the records: records with only
one concept are similar to records with only the other (two names of one thing), or both have the same word.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
from scipy.sparse import csc_matrix, csr_matrix

from saeindex.collection.sample import tokens
from saeindex.sae.metrics import unit_rows

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from saeindex.collection.snapshot import Snapshot
    from saeindex.features import FeatureSpace
    from saeindex.types import Doubles, Ints

SAME, FAMILY, DECODER, LABEL, WORD_OF_LABEL = range(1, 6)
REASONS = (
    "the same concept", "the same family", "decoder directions alike", "labels alike", "labels share a word",
)  # fmt: skip
ALIKE = "what has only one is like what has only the other"
WORD = "one word stands in both"
# Chosen on the `choose` parts of two corpora, by the rank of planted pairs.
DECODER_COSINE, LABEL_COSINE, ALIKE_COSINE = 0.2, 0.5, 0.2
# The minimum share of a common word in the records of each concept, and its maximum share in all records.
WORD_SHARE, COMMON_WORD = 0.4, 0.1
# With fewer records that have only one of the concepts, all its records are used; the maximum number of them,
# and of a sample of all records.
FEW, MAX_SAMPLED, SAMPLED = 3, 1_000, 20_000
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
        self._directions = unit_rows(np.asarray(space.directions, np.float32))
        self._labels = np.asarray(space.label_vectors, np.float32)
        groups = [family.features for family in space.families]
        self._families = _membership(groups, space.n_features)
        by_stem: dict[str, list[int]] = {}
        for feature, label in enumerate(space.labels):
            for stem in {word[:STEM] for word in tokens(label.text) if len(word) >= SHORTEST}:
                by_stem.setdefault(stem, []).append(feature)
        rare = [group for group in by_stem.values() if len(group) <= MAX_WITH_WORD]
        self._stems = _membership(rare, space.n_features)

    def __call__(self, a: Ints, b: Ints) -> NDArray[np.int8]:
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
    features = np.array([f for group in groups for f in group], np.int64)
    owners = np.repeat(np.arange(len(groups)), [len(group) for group in groups])
    entries = np.ones(len(features), np.float32)
    return csr_matrix((entries, (features, owners)), shape=(n, max(1, len(groups))))


def rows_with(columns: csc_matrix, concept: int) -> Ints:
    """Return the rows that have a concept, ascending."""
    span = slice(columns.indptr[concept], columns.indptr[concept + 1])
    return np.sort(columns.indices[span]).astype(np.int64)


class Distinct(dict[int, "Ints"]):
    """Sets of rows by key; finds whether nearly the same rows were seen before."""

    def first_like(self, rows: Ints) -> int | None:
        """Return the key of the first set with mostly the same rows, or None."""
        inside = np.zeros(int(rows.max(initial=0)) + 1, bool)
        inside[rows] = True
        for key, seen in self.items():
            least = SAME_RECORDS / 2 * (len(rows) + len(seen))
            if min(len(rows), len(seen)) > least:
                known = seen[: np.searchsorted(seen, len(inside))]
                if np.count_nonzero(inside[known]) > least:
                    return key
        return None


class SeenTrivial:
    """Finds from records the reason why a pair is trivial; slower, for pairs that would be listed."""

    def __init__(self, snapshot: Snapshot, kept: Ints, of_a: csc_matrix, of_b: csc_matrix) -> None:
        """Bind a snapshot, the selected rows, and which of them have each concept of a side (m, n)."""
        self._snapshot, self._kept = snapshot, kept
        self._a, self._b = of_a, of_b

    def reason(self, a: int, b: int) -> str | None:
        """Return the reason why the pair is trivial, or None."""
        of_a, of_b = rows_with(self._a, a), rows_with(self._b, b)
        only = self._alone(of_a, of_b), self._alone(of_b, of_a)
        x, words = self._snapshot.vectors, self._snapshot.words
        toward_a, toward_b = (np.asarray(x[rows], np.float64).mean(0) - self._mean for rows in only)
        lengths = float(np.linalg.norm(toward_a) * np.linalg.norm(toward_b))
        if float(toward_a @ toward_b) >= ALIKE_COSINE * max(lengths, 1e-12):
            return ALIKE
        share = np.asarray(np.minimum(*(words[rows].mean(0) for rows in only))).ravel()
        return WORD if bool(((share >= WORD_SHARE) & (self._usual < COMMON_WORD)).any()) else None

    @cached_property
    def _mean(self) -> Doubles:
        return np.asarray(self._snapshot.vectors[self._kept[:SAMPLED]].mean(0), np.float64)

    @cached_property
    def _usual(self) -> Doubles:
        return np.asarray(self._snapshot.words[self._kept[:SAMPLED]].mean(0), np.float64).ravel()

    def _alone(self, rows: Ints, other: Ints) -> Ints:
        """Return records with one concept alone; rows are in random order, the first ones a sample."""
        alone = np.setdiff1d(rows, other, assume_unique=True)
        return self._kept[(alone if len(alone) >= FEW else rows)[:MAX_SAMPLED]]
