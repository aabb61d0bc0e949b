"""The features of one space that correspond to those of another, and the labels that a person gave to them.

Features are matched one to one by the assignment that maximises the summed similarity of the pairs above a
threshold. The similarity is the cosine of the decoder directions, or, if embeddings are given, the mean of
this cosine and the correlation of the activations. Two fits on the same texts share less than half of their
features at a cosine of .7: the others have no counterpart.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from saeindex.errors import MismatchError
from saeindex.features.labelling import refreshed, with_scores
from saeindex.features.labels import CONCEPT, MANUAL
from saeindex.features.trust import label_scores

if TYPE_CHECKING:
    from saeindex.features.space import Space, SpaceT
    from saeindex.types import FloatArray, SparseCode

FLOOR = 0.7


class SpaceMap(NamedTuple):
    """The counterpart of each old feature that has one, and the ``similarity`` of all (n_old, n_new)."""

    matches: dict[int, int]
    similarity: FloatArray


def map_spaces(old: Space, new: Space, vectors: FloatArray | None = None) -> SpaceMap:
    """Match the features of two spaces over one encoder.

    ``vectors`` (m, d) are embeddings of texts to compare activations on; rare features need thousands to be
    active at all. Pairs below .7 are not matched. Raises MismatchError for spaces over different encoders.
    """
    from scipy.optimize import linear_sum_assignment

    if differing := old.encoder.differences(new.encoder):
        asked = f"map {old.name!r} to {new.name!r}"
        found = "; ".join(f"{key}: {ours!r} and {theirs!r}" for key, (ours, theirs) in differing.items())
        raise MismatchError(asked, found, "Fit the new space on the encoder of the old space.")
    similarity = cosine = old.sae.directions @ new.sae.directions.T
    if vectors is not None and len(vectors):
        correlation = activation_correlation(old.sae.encode(vectors), new.sae.encode(vectors))
        was_active = np.outer((correlation != 0).any(1), (correlation != 0).any(0))
        similarity = np.where(was_active, (cosine + correlation) / 2, cosine)
    # Pairs below the threshold count as 0: the assignment must not give up a good pair for them.
    rows, columns = linear_sum_assignment(np.where(similarity >= FLOOR, similarity, 0), maximize=True)
    pairs = zip(rows.tolist(), columns.tolist(), strict=True)
    return SpaceMap({i: j for i, j in pairs if similarity[i, j] >= FLOOR}, similarity)


def named_alike(old: Space, new: Space) -> dict[int, int]:
    """Return the new number of each named concept of the old space that the new one has, of any encoder."""
    place = {label.text: feature for feature, label in enumerate(new.labels) if label.method == CONCEPT}
    names = ((f, label.text) for f, label in enumerate(old.labels) if label.method == CONCEPT)
    return {feature: place[name] for feature, name in names if name in place}


def carry_manual_labels(old: Space, new: SpaceT, vectors: FloatArray | None = None) -> SpaceT:
    """Return the new space with the manual labels of the old space, on the corresponding features.

    ``vectors`` (m, d) are embeddings of texts: features are then matched by their activations too, and the
    labels' trust is measured on them. A label whose feature has no match is listed with the nearest feature
    in ``report["labels"]["lost_manual"]``. The fingerprint stays: labels are not part of it. Raises
    MismatchError for spaces over different encoders.
    """
    manual = [i for i, label in enumerate(old.labels) if label.method == MANUAL]
    if not manual:
        return new
    found = map_spaces(old, new, vectors)
    labels, label_vectors = list(new.labels), new.label_vectors.copy()
    moved = {i: found.matches[i] for i in manual if i in found.matches}
    for i, j in moved.items():
        own = labels[j]
        description = own.description or old.labels[i].description
        labels[j] = replace(old.labels[i], description=description, broader=own.broader, kind=own.kind)
        label_vectors[j] = old.label_vectors[i]
    carried = refreshed(replace(new, labels=tuple(labels), label_vectors=label_vectors))
    if vectors is not None and len(vectors):
        scores = label_scores(carried.label_vectors, vectors, carried.encode(vectors), carried.calibration)
        carried = refreshed(with_scores(carried, scores, {*moved.values()}))
    carried.report["labels"]["lost_manual"] = [
        {
            "id": i,
            "label": old.labels[i].text,
            "nearest": (nearest := int(found.similarity[i].argmax())),
            "similarity": round(float(found.similarity[i, nearest]), 4),
        }
        for i in manual
        if i not in moved
    ]
    return carried


def activation_correlation(old: SparseCode, new: SparseCode) -> FloatArray:
    """Return the Pearson correlation (n_old, n_new) of activations over texts; 0 for inactive features."""
    a, b = old.to_csr().astype(np.float64), new.to_csr().astype(np.float64)
    means = [np.asarray(one.mean(0)).ravel() for one in (a, b)]
    squares = [np.asarray(one.multiply(one).mean(0)).ravel() for one in (a, b)]
    scale = np.sqrt(np.outer(*(s - m**2 for s, m in zip(squares, means, strict=True))).clip(0))
    covariance = (a.T @ b).toarray() / max(1, a.shape[0]) - np.outer(*means)
    correlation = np.divide(covariance, scale, out=np.zeros_like(covariance), where=scale > 1e-12)
    return np.asarray(np.clip(correlation, -1, 1), np.float32)
