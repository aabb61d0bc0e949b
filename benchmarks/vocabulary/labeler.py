"""Names from a vocabulary: what people know, where it predicts a feature as well as its present label."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from saeindex.features.labelers.labeler import Labeling, LabelingTask
from saeindex.features.labels import TRUST_FLOOR
from saeindex.features.trust import MAX_ACTIVE, auroc, contrast_sets, predicts_alone

if TYPE_CHECKING:
    from saeindex.features.trust import Contrast
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
        taken: Collection[str] = (),
    ) -> None:
        """``names``: the commonest first. ``label_vectors`` (n, d) are of the present labels; ``further``
        names are for single features.

        Names that are ``taken`` by other features are no label alone.
        """
        self._names, self._present, self._further = list(names), label_vectors, further or {}
        self._taken = frozenset(taken)

    def label(self, task: LabelingTask) -> Labeling:
        """Choose names by how well they tell apart the texts of ``task.shown``."""
        shown, left = task.shown, dict.fromkeys(task.features, "too few texts have it")
        contrasts = contrast_sets(shown.vectors, shown.code, task.calibration, MAX_ACTIVE, task.seed)
        sets = {f: one for f, one in enumerate(contrasts) if one is not None and f in left}
        best = self._best_names(task, sets)
        tried_for = {f: self._tried(names) for f, names in best.items()}
        every = sorted(set().union(*tried_for.values()))
        vector_of = dict(zip(every, task.encode(every), strict=True)) if every else {}
        phrases: dict[int, str] = {}
        for feature, contrast in sets.items():
            tried = tried_for[feature]
            if not tried:
                left[feature] = "its name is that of another feature"
                continue
            vectors = [self._present[feature], *(vector_of[phrase] for phrase in tried)]
            present, *scores = auroc(shown.vectors[contrast.texts] @ np.stack(vectors).T, contrast.is_active)
            # A second name must bring more than it costs to read.
            worth = np.array(scores) - [MIN_GAIN * (", " in phrase) for phrase in tried]
            chosen = int(worth.argmax())
            loses_trust = scores[chosen] < TRUST_FLOOR <= present
            if scores[chosen] >= present - TOLERANCE and not loses_trust:
                phrases[feature] = tried[chosen]
                del left[feature]
            else:
                left[feature] = "no name predicts it as well"
        return Labeling(phrases, left)

    def _tried(self, names: Sequence[str]) -> list[str]:
        """Return the phrases to be tried: the first name that is not taken, and the first with each other."""
        first, *others = names
        alone = [name for name in names if name not in self._taken][:1]
        return [*alone, *(f"{first}, {name}" for name in others)]

    def _best_names(self, task: LabelingTask, sets: Mapping[int, Contrast]) -> dict[int, list[str]]:
        """Return for each feature the names that tell its texts apart best, the first first."""
        known, all_vectors = task.encode(self._names), task.shown.vectors
        towards = known - known.mean(0)
        others = sorted({name for feature in sets for name in self._further.get(feature, ())})
        vector_of = dict(zip(others, task.encode(others), strict=True)) if others else {}
        best: dict[int, list[str]] = {}
        for feature, contrast in sets.items():
            x, is_active = all_vectors[contrast.texts], contrast.is_active
            near = np.argsort(-(towards @ (x[is_active].mean(0) - x[~is_active].mean(0))))[:NEAR]
            further = self._further.get(feature, ())
            names = [*(self._names[i] for i in near), *further]
            vectors = np.stack([*known[near], *(vector_of[name] for name in further)])
            alone = auroc(x @ vectors.T, is_active)
            order = np.argsort(-alone, kind="stable")
            order = order[predicts_alone(alone[order], alone.max())]
            # Of names that predict it as well, people know the commonest best.
            rank = np.array([*near, *[len(self._names)] * len(further)])
            as_good = order[alone[order] >= alone.max() - TOLERANCE]
            first = as_good[rank[as_good].argmin()]
            best[feature] = list(dict.fromkeys(names[i] for i in [first, *order]))[: SECOND + 1]
        return best
