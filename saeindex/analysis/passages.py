"""Records of several passages: one row each, so that analyses count records."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from scipy.sparse import csr_matrix

    from saeindex.analysis.snapshot import Snapshot


def merged_passages(snapshot: Snapshot, numbers: NDArray[np.int32]) -> Snapshot:
    """Return one row per record of a snapshot whose rows are passages with these ``numbers`` (p,).

    A record has the strongest activation of each feature, the mean direction of its passages (of those that
    have a vector), all their words, and the sum of their lengths. Its row stands where its first passage
    stood, so the order stays random.
    """
    first = np.flatnonzero(np.asarray(numbers) == 0).tolist()
    place = {snapshot.ids[row]: position for position, row in enumerate(first)}
    # A passage whose first is missing is what an interrupted write left: it belongs to no whole record.
    owner = np.array([place.get(record, -1) for record in snapshot.ids], np.int64)
    kept = owner >= 0
    vectors = np.zeros((len(first), snapshot.vectors.shape[1]), np.float32)
    np.add.at(vectors, owner[kept], snapshot.vectors[kept])
    vectors /= np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-9)
    lengths = np.bincount(owner[kept], snapshot.lengths[kept], len(first)).astype(np.int32)
    words = strongest(snapshot.words, owner, len(first))
    return replace(
        snapshot,
        ids=tuple(snapshot.ids[row] for row in first),
        vectors=vectors,
        activations=strongest(snapshot.activations, owner, len(first)),
        words=words,
        lengths=lengths,
        metadata=[snapshot.metadata[row] for row in first],
    )


def strongest(matrix: csr_matrix, owner: NDArray[np.int64], count: int) -> csr_matrix:
    """Return the maximum over the rows of each owner (count, n); rows of owner -1 are left out."""
    from scipy.sparse import csr_matrix

    rows = np.repeat(owner, np.diff(matrix.indptr))
    kept = rows >= 0
    keys = rows[kept] * matrix.shape[1] + np.asarray(matrix.indices)[kept]
    order = np.argsort(keys, kind="stable")
    keys, values = keys[order], np.asarray(matrix.data)[kept][order]
    distinct, starts = np.unique(keys, return_index=True)
    highest = np.maximum.reduceat(values, starts) if len(starts) else values
    return csr_matrix((highest, divmod(distinct, matrix.shape[1])), shape=(count, matrix.shape[1]))
