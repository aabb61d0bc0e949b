"""Labelers: what names the features of a space."""

from __future__ import annotations

from saeindex.features.labelers.base import CodedTexts, Labeler, Labeling, LabelingTask
from saeindex.features.labelers.lexical import LexicalLabeler
from saeindex.features.labelers.llm import LLMLabeler
from saeindex.features.labelers.manual import ManualLabeler

__all__ = [
    "CodedTexts",
    "LLMLabeler",
    "Labeler",
    "Labeling",
    "LabelingTask",
    "LexicalLabeler",
    "ManualLabeler",
]
