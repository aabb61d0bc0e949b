"""Explanations: a hit's score as a sum over features, residual and bias.

For a dense search the score is q·x with x = sum_i z_i d_i + b + r, so

    score = sum_i z_i (q·d_i)  +  q·b  +  q·r

For a search in the sparse vector it is sum_i q_i z_i over the shared features.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from saeindex.types import Activation, Explanation, Part

if TYPE_CHECKING:
    from saeindex.features import FeatureSpace
    from saeindex.protocols import SparseVector
    from saeindex.types import FloatArray


def explain_dense(
    query: FloatArray, document: FloatArray, code: SparseVector, space: FeatureSpace
) -> Explanation:
    """Return the parts of the cosine of ``query`` and ``document`` (unit vectors, (d,)), largest first."""
    q, x = query.astype(np.float64), document.astype(np.float64)
    q, x = q / np.linalg.norm(q), x / np.linalg.norm(x)
    directions = space.sae.directions[code.indices].astype(np.float64)
    contributions = code.values * (directions @ q)
    bias = space.sae.bias.numpy().astype(np.float64)
    residual = x - code.values.astype(np.float64) @ directions - bias
    parts = _feature_parts(code.indices, contributions, space)
    parts.append(Part("residual", None, "not in the dictionary", float(q @ residual)))
    parts.append(Part("bias", None, "common to all records", float(q @ bias)))
    return Explanation(tuple(parts), float(sum(part.value for part in parts)))


def explain_sparse(query: SparseVector, code: SparseVector, space: FeatureSpace) -> Explanation:
    """Return the parts of the dot product of two sparse codes, largest first."""
    shared, ours, theirs = np.intersect1d(query.indices, code.indices, return_indices=True)
    contributions = query.values[ours].astype(np.float64) * code.values[theirs]
    parts = _feature_parts(shared, contributions, space)
    return Explanation(tuple(parts), float(contributions.sum()))


def activations(code: SparseVector | None, space: FeatureSpace, limit: int = 10) -> tuple[Activation, ...]:
    """Return a record's strongest features with their labels."""
    if code is None:
        return ()
    order = np.argsort(-code.values, kind="stable")[:limit]
    pairs = zip(code.indices[order].tolist(), code.values[order].tolist(), strict=True)
    return tuple(Activation(i, space.labels[i].text, value, space.labels[i].is_weak) for i, value in pairs)


def _feature_parts(indices: np.ndarray, contributions: np.ndarray, space: FeatureSpace) -> list[Part]:
    order = np.argsort(-np.abs(contributions), kind="stable")
    labels = [space.labels[int(indices[i])] for i in order]
    return [
        Part("feature", int(indices[i]), label.text, float(contributions[i]), label.is_weak)
        for i, label in zip(order, labels, strict=True)
    ]
