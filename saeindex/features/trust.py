"""The trust of labels: AUROC, F1 and a shuffled control, on records that they were not made from."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from saeindex.features.contrast_sets import contrast_sets
from saeindex.features.labels import MAX_ACTIVE, TRUST_FLOOR, label_aurocs

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from saeindex.features.calibration import Calibration
    from saeindex.features.contrast_sets import Contrast
    from saeindex.features.labels import FeatureLabel
    from saeindex.types import FloatArray, SparseCode


@dataclass(frozen=True, slots=True)
class LabelScores:
    """Per feature, None where it has too few records: AUROC, F1, and the AUROC of another feature's label."""

    trust: Sequence[float | None]
    f1: Sequence[float | None]
    control: Sequence[float | None]


def label_scores(
    label_vectors: FloatArray, vectors: FloatArray, code: SparseCode, calibration: Calibration, seed: int = 0
) -> LabelScores:
    """Measure labels (n, d) on texts (m, d) that they were not made from.

    The control assigns each measurable feature the label of another measurable feature: it is near 0.5 if
    labels describe only their own feature.
    """
    contrasts = list(contrast_sets(vectors, code, calibration, MAX_ACTIVE, seed))
    tested = np.array([i for i, contrast in enumerate(contrasts) if contrast is not None], np.int64)
    control: list[float | None] = [None] * len(contrasts)
    if len(tested) > 1:
        shuffled = label_vectors.copy()
        shuffled[tested] = label_vectors[tested[derangement(len(tested), seed)]]
        control = label_aurocs(shuffled, vectors, contrasts)
    trust = label_aurocs(label_vectors, vectors, contrasts)
    return LabelScores(trust, f1_scores(label_vectors, vectors, contrasts, seed), control)


def f1_scores(
    label_vectors: FloatArray, vectors: FloatArray, contrasts: Iterable[Contrast | None], seed: int = 0
) -> list[float | None]:
    """Return each label's F1: does cos(label, text) above a threshold predict that the feature is typical?

    The threshold is chosen on one half of the feature's contrast set, the score is measured on the other
    half. A third of a contrast set is active, so a label that always predicts yes has an F1 of 0.5.
    """
    rng = np.random.default_rng(seed)
    scores: list[float | None] = []
    for label, contrast in zip(label_vectors, contrasts, strict=True):
        if contrast is None:
            scores.append(None)
            continue
        cosine = vectors[contrast.texts] @ label
        is_first, active = _first_half(contrast, rng), contrast.is_active
        threshold = best_threshold(cosine[is_first], active[is_first])
        scores.append(f1(cosine[~is_first] >= threshold, active[~is_first]))
    return scores


def best_threshold(scores: FloatArray, is_active: NDArray[np.bool_]) -> float:
    """Return the score t (of ``scores`` (r,)) for which ``scores >= t`` has the highest F1."""
    order = np.argsort(-scores, kind="stable")
    hits = np.cumsum(is_active[order])
    f1_at = 2 * hits / (np.arange(1, len(order) + 1) + is_active.sum())
    # A threshold includes all texts of equal score.
    is_last = np.append(np.diff(scores[order]) != 0, True)
    return float(scores[order][np.argmax(np.where(is_last, f1_at, -1.0))])


def f1(is_predicted: NDArray[np.bool_], is_active: NDArray[np.bool_]) -> float:
    """Return 2 tp / (2 tp + fp + fn), 0 where nothing is active or predicted."""
    positives = int(is_predicted.sum()) + int(is_active.sum())
    return 2 * int((is_predicted & is_active).sum()) / positives if positives else 0.0


def derangement(count: int, seed: int = 0) -> NDArray[np.int64]:
    """Return a random cyclic permutation (count,): no element stays in its position (count > 1)."""
    cycle = np.random.default_rng(seed).permutation(count)
    deranged = np.empty(count, np.int64)
    deranged[cycle] = np.roll(cycle, 1)
    return deranged


def label_summary(
    labels: Sequence[FeatureLabel], density: FloatArray, control: Sequence[float | None] | None = None
) -> dict[str, Any]:
    """Return the figures of ``report["labels"]``; figures that were not measured are None.

    A live feature has a ``density`` (n,) above 0; the share above the floor counts features whose trust could
    not be measured as below it. Without ``control`` there is no ``control_auroc``.
    """
    trust = [label.trust for label in labels if label.trust is not None]
    above = [score for score in trust if score >= TRUST_FLOOR]
    live = [label for label, share in zip(labels, density, strict=True) if share > 0]
    n_above = sum(label.trust is not None and label.trust >= TRUST_FLOOR for label in live)
    figures: dict[str, Any] = {
        "live": len(live),
        "tested": len(trust),
        "mean_trust": _mean(trust),
        "mean_trust_above_floor": _mean(above),
        "share_above_floor": n_above / len(live) if live else None,
        "mean_f1": _mean([label.f1 for label in labels if label.f1 is not None]),
        "methods": dict(sorted(Counter(label.method for label in labels).items())),
    }
    if control is not None:
        figures["control_auroc"] = _mean([score for score in control if score is not None])
    return figures


def describe_summary(summary: Mapping[str, Any]) -> str:
    """Return the figures of :func:`label_summary` on one line, with the control next to the mean."""
    if summary.get("mean_trust") is None:
        return "trust of labels not measured"
    parts = [f"trust of labels {summary['mean_trust']:.3f}"]
    if summary.get("control_auroc") is not None:
        parts[0] += f" (shuffled labels {summary['control_auroc']:.3f})"
    if summary.get("mean_f1") is not None:
        parts.append(f"F1 {summary['mean_f1']:.3f}")
    if summary.get("share_above_floor") is not None:
        above = summary.get("mean_trust_above_floor")
        mean = "" if above is None else f", their mean {above:.3f}"
        parts.append(f"{summary['share_above_floor']:.0%} of live features above {TRUST_FLOOR}{mean}")
    return "; ".join(parts)


def _first_half(contrast: Contrast, rng: np.random.Generator) -> NDArray[np.bool_]:
    """Return which entries are in the first half (r,): split within each kind, each text in one half only."""
    halves = []
    for is_kind in (contrast.is_active, ~contrast.is_active):
        texts = rng.permutation(np.unique(contrast.texts[is_kind]))
        halves.append(texts[: len(texts) // 2])
    return np.isin(contrast.texts, np.concatenate(halves))


def _mean(scores: Sequence[float]) -> float | None:
    return float(np.mean(scores)) if scores else None
