"""The trust of labels: AUROC, F1 and a shuffled control, on records that they were not made from.

Each feature has a contrast set: texts that have it, and comparable texts that do not.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from saeindex.features.labels import TRUST_FLOOR, FeatureLabel

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from saeindex.features.calibration import Calibration
    from saeindex.types import Doubles, FloatArray, IntArray, Ints, SparseCode

# Texts of either side of a contrast set, and typical texts in it.
MAX_ACTIVE = 300
MIN_ACTIVE = 50
BLOCK = 64
# Pairs of texts that are compared one by one.
FEW_PAIRS = 50_000
# How much worse than the leading name of a label a further one may predict alone.
MAX_BEHIND = 0.1


@dataclass(frozen=True, slots=True, eq=False)
class Contrast:
    """Positions of texts (r,), and whether the feature is typical or else absent in each (r,) bool."""

    texts: Ints
    is_active: NDArray[np.bool_]


class Closeness:
    """Closeness of texts (m, d) to points: the cosine about the mean of the texts, up to a factor.

    Cosines about the origin would favour central texts, which lie nearer to *all* labels: on the default
    space the label of another feature then has an AUROC of .454 against near texts, with this measure .499.
    """

    def __init__(self, vectors: FloatArray) -> None:
        """Store the texts' embeddings, their mean and their distances from it."""
        self._vectors, self._mean = vectors, vectors.mean(0, dtype=np.float64)
        squares = np.einsum("ij,ij->i", vectors, vectors) - 2 * vectors @ self._mean + self._mean @ self._mean
        self._distance = np.sqrt(np.maximum(squares, 1e-12))[:, None]

    def to(self, points: FloatArray) -> FloatArray:
        """Return the closeness (m, c) of every text to each point (c, d)."""
        directions = points - self._mean
        closeness = self._vectors @ directions.T.astype(np.float32) - self._mean @ directions.T
        return np.asarray(closeness / self._distance, np.float32)


def contrast_sets(
    vectors: FloatArray,
    code: SparseCode,
    calibration: Calibration,
    max_active: int,
    seed: int = 0,
    least: int = MIN_ACTIVE,
) -> Iterator[Contrast | None]:
    """Yield each feature's contrast set, None if either side has fewer than ``least`` texts.

    A set has at most ``max_active`` texts where the feature is at level 1 or above, as many random texts
    without the feature, and as many texts without it that lie nearest to the active texts (see
    :class:`Closeness`). ``vectors`` are the texts' embeddings (m, d).
    """
    rng = np.random.default_rng(seed)
    columns, nearness = code.to_csr().tocsc(), Closeness(vectors)
    for start in range(0, code.n_features, BLOCK):
        features = range(start, min(start + BLOCK, code.n_features))
        present = [columns.indices[columns.indptr[f] : columns.indptr[f + 1]] for f in features]
        active = [
            texts[columns.data[columns.indptr[f] : columns.indptr[f + 1]] >= calibration.median[f]]
            for f, texts in zip(features, present, strict=True)
        ]
        centroids = np.stack([vectors[texts].mean(0) if len(texts) else vectors[0] for texts in active])
        closeness = nearness.to(centroids)
        for i in range(len(features)):
            too_few = min(len(active[i]), len(vectors) - len(present[i])) < least
            yield None if too_few else _contrast(active[i], present[i], closeness[:, i], max_active, rng)


def auroc(scores: FloatArray, is_active: NDArray[np.bool_]) -> Doubles:
    """Return the AUROC of each column of ``scores`` (r, c), ties counted half (Mann–Whitney)."""
    active, absent = scores[is_active], scores[~is_active]
    if active.size * len(absent) <= FEW_PAIRS:  # much faster than ranks
        won: Doubles = np.sign(active[:, None] - absent[None]).mean((0, 1), np.float64)
        return (won + 1) / 2
    from scipy.stats import rankdata

    ranks = rankdata(scores, axis=0)[is_active].sum(0)
    n, m = int(is_active.sum()), int((~is_active).sum())
    return np.asarray((ranks - n * (n + 1) / 2) / (n * m))


def predicts_alone(aurocs: Doubles, leading: float) -> NDArray[np.bool_]:
    """Return which names may join the ``leading`` one in a label, by the AUROC of each alone (c,).

    Others move the first a little, and mean something else.
    """
    return aurocs >= leading - MAX_BEHIND


def _contrast(
    active: IntArray, present: IntArray, closeness: FloatArray, max_active: int, rng: np.random.Generator
) -> Contrast:
    active = rng.permutation(active)[:max_active]
    size = min(len(active), len(closeness) - len(present))
    closeness = closeness.copy()
    closeness[present] = -np.inf
    near = np.argpartition(-closeness, size - 1)[:size]
    absent = np.flatnonzero(np.isfinite(closeness))
    texts = np.concatenate([active, near, rng.choice(absent, size)]).astype(np.int64)
    return Contrast(texts, np.arange(len(texts)) < len(active))


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


def label_aurocs(
    label_vectors: FloatArray, vectors: FloatArray, contrasts: Iterable[Contrast | None]
) -> list[float | None]:
    """Return each label's AUROC: does cos(label, text) separate the texts of its feature's contrast set?

    None where there is no set.
    """
    return [
        None if one is None else float(auroc((vectors[one.texts] @ label)[:, None], one.is_active)[0])
        for label, one in zip(label_vectors, contrasts, strict=True)
    ]


def f1_scores(
    label_vectors: FloatArray, vectors: FloatArray, contrasts: Iterable[Contrast | None], seed: int = 0
) -> list[float | None]:
    """Return each label's F1: does cos(label, text) above a threshold predict that the feature is typical?

    The threshold is chosen on one half of the feature's contrast set, the score is measured on the other
    half. A third of a contrast set is active, so a label that always predicts yes has an F1 of 0.5.
    """
    rng = np.random.default_rng(seed)

    def score(label: FloatArray, contrast: Contrast) -> float:
        cosine, active = vectors[contrast.texts] @ label, contrast.is_active
        is_first = first_half(contrast, rng)
        threshold = best_threshold(cosine[is_first], active[is_first])
        return f1(cosine[~is_first] >= threshold, active[~is_first])

    pairs = zip(label_vectors, contrasts, strict=True)
    return [None if contrast is None else score(label, contrast) for label, contrast in pairs]


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


def derangement(count: int, seed: int = 0) -> Ints:
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
    live = [label for label, share in zip(labels, density, strict=True) if share > 0]
    n_above = sum(label.trust is not None and label.trust >= TRUST_FLOOR for label in live)
    measured = {} if control is None else {"control_auroc": _mean(control)}
    return {
        "live": len(live),
        "tested": len(trust),
        "mean_trust": _mean(trust),
        "mean_trust_above_floor": _mean([score for score in trust if score >= TRUST_FLOOR]),
        "share_above_floor": n_above / len(live) if live else None,
        "mean_f1": _mean([label.f1 for label in labels]),
        "methods": dict(sorted(Counter(label.method for label in labels).items())),
        **measured,
    }


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


def first_half(contrast: Contrast, rng: np.random.Generator) -> NDArray[np.bool_]:
    """Return which entries are in the first half (r,): split within each kind, each text in one half only."""
    halves = []
    for is_kind in (contrast.is_active, ~contrast.is_active):
        texts = rng.permutation(np.unique(contrast.texts[is_kind]))
        halves.append(texts[: len(texts) // 2])
    return np.isin(contrast.texts, np.concatenate(halves))


def _mean(scores: Sequence[float | None]) -> float | None:
    known = [score for score in scores if score is not None]
    return float(np.mean(known)) if known else None
