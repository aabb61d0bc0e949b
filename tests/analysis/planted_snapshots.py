"""Snapshots with known correlations."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_matrix

from benchmarks.snapshots import snapshot_of
from saeindex import FeatureSpace
from saeindex.collection.snapshot import Snapshot


def made_snapshot(
    space: FeatureSpace,
    present: NDArray[np.bool_],
    features: Sequence[int],
    *,
    texts: Sequence[str] | None = None,
    metadata: Sequence[dict[str, Any]] | None = None,
    field: str = "",
    seed: int = 0,
) -> Snapshot:
    """Return records with ``features[j]`` strong where ``present`` (m, len(features)) is true.

    Embeddings are random, so that no records are similar.
    """
    m = len(present)
    rows, columns = np.nonzero(present)
    strengths = np.full(len(rows), 1_000.0, np.float32)
    ids = np.asarray(features)[columns]
    activations = csr_matrix((strengths, (rows, ids)), shape=(m, space.n_features))
    vectors = np.random.default_rng(seed).standard_normal((m, space.encoder.dimension)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    return snapshot_of(
        space,
        [f"r{number}" for number in range(m)],
        vectors,
        activations,
        texts or [f"word{number}" for number in range(m)],
        metadata or [{}] * m,
        field,
    )


def unlike_features(space: FeatureSpace, count: int) -> list[int]:
    """Return features with trusted labels that are not similar by family, label or direction."""
    from saeindex.analysis.correlate.trivial import KnownTrivial

    known = KnownTrivial(space)
    trusted = (feature for feature, label in enumerate(space.labels) if not label.is_weak)
    found = [next(trusted)]
    for feature in trusted:
        if not known(np.array([feature]), np.array(found)).any():
            found.append(feature)
        if len(found) == count:
            return found
    raise AssertionError("the space has fewer such features")
