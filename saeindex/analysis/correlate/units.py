"""Records that are not independent count together as one: those of an author, or answers to one prompt.

Each record of a unit of size s counts 1/s, so that a unit counts as one record. A mean over a unit varies
no more than a single record does: tests that take it for one err on the safe side.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from saeindex.analysis.stats.choices import AUTO
from saeindex.config import DOCUMENT
from saeindex.errors import InvalidInputError

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from scipy.sparse import csr_matrix

    from saeindex.collection.snapshot import Snapshot

    Doubles = NDArray[np.float64]

# Equal texts are known by so many components of their embeddings, equal to so many decimals.
COMPARED, DECIMALS = 6, 3


@dataclass(frozen=True, eq=False)
class Units:
    """The unit of each record, ``codes`` (m,), and the number of records of each unit, ``sizes`` (u,)."""

    codes: NDArray[np.int64]
    sizes: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.sizes)

    @property
    def are_records(self) -> bool:
        """Whether each record is a unit of its own."""
        return len(self.sizes) == len(self.codes)

    @property
    def weights(self) -> Doubles:
        """The weight of each record (m,)."""
        weights: Doubles = 1.0 / self.sizes[self.codes]
        return weights

    def count(self, which: NDArray[np.bool_]) -> int:
        """Return the number of units with one of these records (m,)."""
        return len(np.unique(self.codes[which]))

    def mean(self, values: Doubles) -> Doubles:
        """Return the mean of values (m,) over each unit (u,)."""
        if self.are_records:
            return values
        means: Doubles = np.bincount(self.codes, values, len(self.sizes)) / self.sizes
        return means

    def means(self, matrix: csr_matrix) -> csr_matrix:
        """Return the mean of rows (m, n) over each unit (u, n)."""
        from scipy.sparse import csr_matrix

        if self.are_records:
            return matrix
        shape = (len(self.sizes), len(self.codes))
        averaging = csr_matrix((self.weights, (self.codes, np.arange(len(self.codes)))), shape=shape)
        return (averaging @ matrix).tocsr()


def units_of(snapshot: Snapshot, other: Snapshot | None, kept: NDArray[np.int64], unit: str | None) -> Units:
    """Return the units of the records that count: those of a field, where one is named.

    "auto" is the document where there is one. Else, across two fields, records with the same text in the
    further one are one: answers to one prompt (of two further fields the first counts). A record without a
    value is a unit of its own.
    """
    if unit == AUTO:
        unit = DOCUMENT if snapshot.has_documents else None
    if unit is not None:
        codes = snapshot.column(unit).codes[kept].astype(np.int64)
        alone = np.flatnonzero(codes < 0)
        codes[alone] = codes.max(initial=0) + 1 + np.arange(len(alone))
    elif other is not None:
        # Not the main texts: equal answers may be a finding.
        codes = _same_text(snapshot if snapshot.field or not other.field else other, kept)
    else:
        codes = np.arange(len(kept))
    _, codes, sizes = np.unique(codes, return_inverse=True, return_counts=True)
    return Units(codes.ravel(), sizes)


def _same_text(snapshot: Snapshot, kept: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return the same number for records whose texts have the same embedding."""
    seen = np.round(np.asarray(snapshot.vectors[kept, :COMPARED], np.float64), DECIMALS)
    return np.unique(seen, axis=0, return_inverse=True)[1].ravel().astype(np.int64)


def aligned_rows(
    snapshot: Snapshot, other: Snapshot | None, rows: NDArray[np.int64] | None
) -> NDArray[np.int64]:
    """Return the selected rows that have a text in both fields; InvalidInputError if there are too few."""
    kept = np.arange(len(snapshot)) if rows is None else np.unique(rows)
    if other is not None:
        if other.space.fingerprint != snapshot.space.fingerprint or list(other.ids) != list(snapshot.ids):
            raise InvalidInputError(
                "correlate two fields", "they are of different records", "Take both from one index."
            )
        kept = kept[(snapshot.lengths[kept] > 0) & (other.lengths[kept] > 0)]
    if len(kept) < 2:
        raise InvalidInputError(
            "correlate", f"{len(kept)} records", "Select more, or a field that the records have."
        )
    return kept
