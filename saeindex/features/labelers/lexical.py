"""The labeler that needs no LLM: telling words."""

from __future__ import annotations

from typing import ClassVar

from saeindex.features.labelers.base import Labeling, LabelingTask
from saeindex.features.lexical import lexical_labels


class LexicalLabeler:
    """Labels by :func:`saeindex.features.lexical.lexical_labels`; every feature gets one."""

    method: ClassVar[str] = "lexical"

    def label(self, task: LabelingTask) -> Labeling:
        """Label from the words of ``task.shown``."""
        shown = task.shown
        phrases = lexical_labels(
            shown.texts, shown.vectors, shown.code, task.calibration, task.encode, task.seed
        )
        return Labeling({feature: phrases[feature] for feature in task.features})
