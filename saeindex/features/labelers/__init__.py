"""Labelers name the features of a space."""

from __future__ import annotations

from saeindex.features.labelers.labeler import (
    CodedTexts,
    Labeler,
    Labeling,
    LabelingTask,
    LexicalLabeler,
    ManualLabeler,
)
from saeindex.features.labelers.llm import LLMLabeler

__all__ = [
    "CodedTexts",
    "LLMLabeler",
    "Labeler",
    "Labeling",
    "LabelingTask",
    "LexicalLabeler",
    "ManualLabeler",
]
