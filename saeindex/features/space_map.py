"""Mapping between versions of a space: the new feature for each old feature, and the lost features.

Features are matched one to one by the assignment that maximises the summed similarity of the pairs above a
threshold. The similarity is the cosine of the decoder directions, or, if embeddings are given, the mean of
this cosine and the correlation of the activations. Two fits on the same texts share less than half of their
features at a cosine of .7, so each pair has a confidence, and features without a match are listed as lost.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from saeindex.errors import InvalidInputError, MismatchError
from saeindex.features.labelling import refreshed, with_scores
from saeindex.features.labels import MANUAL, FeatureLabel
from saeindex.features.trust import label_scores

if TYPE_CHECKING:
    from saeindex.features.space import Space, SpaceT
    from saeindex.types import FloatArray, SparseCode

MATCH_FLOOR = 0.7
CARRIED = "carried"
CHANCE = 0.5  # AUROC of an uninformative label


@dataclass(frozen=True, slots=True)
class MappedFeature:
    """An old feature and the new feature that corresponds to it.

    ``confidence`` in 0…1 is the similarity used for matching: ``cosine``, or its mean with ``correlation``,
    which is None without embeddings.
    """

    old: int
    new: int
    old_label: str
    new_label: str
    confidence: float
    cosine: float
    correlation: float | None


@dataclass(frozen=True, slots=True)
class UnmatchedFeature:
    """A feature without a match, and the nearest feature of the other space (which may be matched)."""

    id: int
    label: str
    method: str
    trust: float | None
    is_weak: bool
    density: float
    nearest: int
    similarity: float


@dataclass(frozen=True, slots=True)
class SpaceMapping:
    """The matches of two spaces in the order of the old features, and the features of only one space."""

    matches: tuple[MappedFeature, ...]
    lost: tuple[UnmatchedFeature, ...]
    gained: tuple[UnmatchedFeature, ...]
    threshold: float

    def summary(self) -> dict[str, Any]:
        """Return counts, the mean confidence, and the share of the old activity that is matched."""
        confidences = [match.confidence for match in self.matches]
        return {
            "matched": len(self.matches),
            "lost": len(self.lost),
            "lost_manual_labels": sum(feature.method == MANUAL for feature in self.lost),
            "gained": len(self.gained),
            "mean_confidence": float(np.mean(confidences)) if confidences else None,
            "lost_density": float(sum(feature.density for feature in self.lost)),
            "threshold": self.threshold,
        }

    def to_json(self) -> dict[str, Any]:
        """Return everything as JSON; lost features are sorted by density, highest first."""
        return {
            **self.summary(),
            "matches": [asdict(match) for match in self.matches],
            "lost_features": [asdict(feature) for feature in self.lost],
            "gained_features": [asdict(feature) for feature in self.gained],
        }


def map_spaces(
    old: Space,
    new: Space,
    vectors: FloatArray | None = None,
    *,
    threshold: float = MATCH_FLOOR,
) -> SpaceMapping:
    """Match the features of two spaces over one encoder.

    ``vectors`` (m, d) are embeddings of texts to compare activations on; rare features need thousands to be
    active at all. Pairs below ``threshold`` are not matched. Raises MismatchError for spaces over different
    encoders.
    """
    from scipy.optimize import linear_sum_assignment

    if differing := old.encoder.differences(new.encoder):
        raise MismatchError(
            f"map {old.name!r} to {new.name!r}",
            "; ".join(f"{key}: {ours!r} and {theirs!r}" for key, (ours, theirs) in differing.items()),
            "Fit the new space on the encoder of the old space.",
        )
    if not 0 < threshold <= 1:
        raise InvalidInputError(
            f"a threshold of {threshold}", "not in 0 to 1", "Give a similarity, such as 0.7."
        )
    similarity = cosine = old.sae.directions @ new.sae.directions.T
    correlation = None
    if vectors is not None and len(vectors):
        correlation = activation_correlation(old.sae.encode(vectors), new.sae.encode(vectors))
        was_active = np.outer((correlation != 0).any(1), (correlation != 0).any(0))
        similarity = np.where(was_active, (cosine + correlation) / 2, cosine)
    # Pairs below the threshold count as 0: the assignment must not give up a good pair for them.
    rows, columns = linear_sum_assignment(np.where(similarity >= threshold, similarity, 0), maximize=True)
    is_match = similarity[rows, columns] >= threshold
    rows, columns = rows[is_match], columns[is_match]
    matches = tuple(
        MappedFeature(
            i,
            j,
            old.labels[i].text,
            new.labels[j].text,
            min(1.0, float(similarity[i, j])),
            float(cosine[i, j]),
            None if correlation is None else float(correlation[i, j]),
        )
        for i, j in zip(rows.tolist(), columns.tolist(), strict=True)
    )
    lost = _unmatched(old, similarity, set(rows.tolist()))
    return SpaceMapping(matches, lost, _unmatched(new, similarity.T, set(columns.tolist())), threshold)


def carry_labels(old: Space, new: SpaceT, mapping: SpaceMapping) -> SpaceT:
    """Return the new space with the old labels where they are worth keeping.

    A manual label always moves with its feature. Any other label moves if its reduced trust,
    0.5 + (trust - 0.5) · confidence, is above the trust of the new space's own label; its method then says
    that it was carried. The fingerprint stays: labels are not part of it.
    """
    labels, vectors = list(new.labels), new.label_vectors.copy()
    for match in mapping.matches:
        label = carried_label(old.labels[match.old], new.labels[match.new], match.confidence)
        if label is not None:
            labels[match.new] = label
            vectors[match.new] = old.label_vectors[match.old]
    return refreshed(replace(new, labels=tuple(labels), label_vectors=vectors))


def carry_manual_labels(old: Space, new: SpaceT, vectors: FloatArray | None = None) -> SpaceT:
    """Return the new space with the manual labels of the old space, on the corresponding features.

    ``vectors`` (m, d) are embeddings of texts: features are then matched by their activations too, and the
    labels' trust is measured on them. A label whose feature has no match is listed with the nearest feature
    in ``report["labels"]["lost_manual"]``. Raises MismatchError for spaces over different encoders.
    """
    manual = {i for i, label in enumerate(old.labels) if label.method == MANUAL}
    if not manual:
        return new
    mapping = map_spaces(old, new, vectors)
    ours = tuple(match for match in mapping.matches if match.old in manual)
    carried = carry_labels(old, new, replace(mapping, matches=ours))
    if vectors is not None and len(vectors):
        scores = label_scores(carried.label_vectors, vectors, carried.encode(vectors), carried.calibration)
        carried = refreshed(with_scores(carried, scores, {match.new for match in ours}))
    lost = [
        {"id": f.id, "label": f.label, "nearest": f.nearest, "similarity": round(f.similarity, 4)}
        for f in mapping.lost
        if f.id in manual
    ]
    carried.report["labels"]["lost_manual"] = lost
    return carried


def carried_label(old: FeatureLabel, new: FeatureLabel, confidence: float) -> FeatureLabel | None:
    """Return the label that the new feature takes over, or None if it keeps its own."""
    of_feature: dict[str, Any] = {"broader": new.broader, "kind": new.kind}
    if old.method == MANUAL:
        return replace(old, description=new.description or old.description, **of_feature)
    if new.method == MANUAL or old.trust is None:
        return None
    trust = CHANCE + (old.trust - CHANCE) * confidence
    if old.text == new.text or (new.trust is not None and new.trust >= trust):
        return None
    method = old.method if old.method.startswith(CARRIED) else f"{CARRIED} {old.method}"
    return replace(old, method=method, trust=trust, **of_feature)


def activation_correlation(old: SparseCode, new: SparseCode) -> FloatArray:
    """Return the Pearson correlation (n_old, n_new) of activations over texts; 0 for inactive features."""
    a, b = old.to_csr().astype(np.float64), new.to_csr().astype(np.float64)
    means = [np.asarray(one.mean(0)).ravel() for one in (a, b)]
    squares = [np.asarray(one.multiply(one).mean(0)).ravel() for one in (a, b)]
    scale = np.sqrt(np.outer(*(s - m**2 for s, m in zip(squares, means, strict=True))).clip(0))
    covariance = (a.T @ b).toarray() / max(1, a.shape[0]) - np.outer(*means)
    correlation = np.divide(covariance, scale, out=np.zeros_like(covariance), where=scale > 1e-12)
    return np.asarray(np.clip(correlation, -1, 1), np.float32)


def _unmatched(space: Space, similarity: FloatArray, matched: set[int]) -> tuple[UnmatchedFeature, ...]:
    """Return a space's features that have no match, densest first."""
    nearest, density = similarity.argmax(1).tolist(), space.calibration.density
    lost = [
        UnmatchedFeature(
            feature, label.text, label.method, label.trust, label.is_weak, float(density[feature]),
            nearest[feature], float(similarity[feature, nearest[feature]]),
        )
        for feature, label in enumerate(space.labels[: len(similarity)])
        if feature not in matched
    ]  # fmt: skip
    return tuple(sorted(lost, key=lambda feature: -feature.density))
