"""Names from a vocabulary: what people know, where it predicts a feature as well as its present label."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from saeindex.features.contrast_sets import auroc, contrast_sets
from saeindex.features.labelers.labeler import Labeling, LabelingTask
from saeindex.features.labels import MAX_ACTIVE

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from saeindex.types import FloatArray

# Names of the vocabulary that are tried for a feature, and the best of them that are tried as a second name.
NEAR, SECOND = 40, 8
# How much of a label's AUROC a name may lack that reads better; the least gain by a second name.
TOLERANCE, MIN_GAIN = 0.01, 0.02


class VocabularyLabeler:
    """Labels of one or two names, for features that these predict as well as their present labels."""

    method: ClassVar[str] = "vocabulary"

    def __init__(
        self,
        names: Sequence[str],
        label_vectors: FloatArray,
        further: Mapping[int, Sequence[str]] | None = None,
    ) -> None:
        """``label_vectors`` (n, d) are of the present labels; ``further`` names are for single features."""
        self._names, self._present, self._further = list(names), label_vectors, further or {}

    def label(self, task: LabelingTask) -> Labeling:
        """Choose names by how well they tell apart the texts of ``task.shown``."""
        shown, vectors = task.shown, task.encode(self._names)
        towards, wanted = vectors - vectors.mean(0), set(task.features)
        phrases: dict[int, str] = {}
        left: dict[int, str] = {}
        contrasts = contrast_sets(shown.vectors, shown.code, task.calibration, MAX_ACTIVE, task.seed)
        for feature, contrast in enumerate(contrasts):
            if feature not in wanted:
                continue
            if contrast is None:
                left[feature] = "too few texts have it"
                continue
            x, is_active = shown.vectors[contrast.texts], contrast.is_active
            near = np.argsort(-(towards @ (x[is_active].mean(0) - x[~is_active].mean(0))))[:NEAR]
            further = self._further.get(feature, ())
            names = [*(self._names[i] for i in near), *further]
            tried = np.concatenate([vectors[near], task.encode(further)]) if further else vectors[near]
            scores = auroc(x @ tried.T, is_active)
            best = [names[i] for i in np.argsort(-scores, kind="stable")[: SECOND + 1]]
            first, score = best[0], float(scores.max())
            pairs = [f"{first}, {name}" for name in best[1:] if name != first]
            second, better = _best(x, is_active, task.encode(pairs))
            phrase = first
            if better > score + MIN_GAIN:
                phrase, score = pairs[second], better
            if score >= _best(x, is_active, self._present[[feature]])[1] - TOLERANCE:
                phrases[feature] = phrase
            else:
                left[feature] = "no name predicts it as well"
        return Labeling(phrases, left)


def _best(x: FloatArray, is_active: NDArray[np.bool_], phrases: FloatArray) -> tuple[int, float]:
    """Return the position of the phrase (p, d) that tells apart the texts (r, d) best, and its AUROC."""
    scores = auroc(x @ phrases.T, is_active)
    return int(scores.argmax()), float(scores.max())
