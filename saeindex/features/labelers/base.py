"""The seam: what a labeler is given, and what it gives back."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from saeindex.features.calibration import Calibration
    from saeindex.types import FloatArray, SparseCode


@dataclass(frozen=True, slots=True, eq=False)
class CodedTexts:
    """Texts (m), their embeddings (m, d) and their codes; ``groups`` (m,) numbers the document of each."""

    texts: Sequence[str]
    vectors: FloatArray
    code: SparseCode
    groups: NDArray[np.int64] | None = None


@dataclass(frozen=True, slots=True, eq=False)
class LabelingTask:
    """The features to label, and the texts to do it by.

    A label is made from ``shown`` alone; ``unseen`` is there to test it on, and shares no document with
    ``shown``. ``encode`` embeds phrases as queries (n, d).
    """

    shown: CodedTexts
    unseen: CodedTexts
    calibration: Calibration
    encode: Callable[[Sequence[str]], FloatArray]
    features: tuple[int, ...]
    seed: int = 0


@dataclass(frozen=True, slots=True)
class Labeling:
    """What a labeler made of a task.

    ``phrases`` by feature; ``left`` says of each feature that got none why (it keeps its earlier label).
    ``evidence`` by feature and ``report`` are JSON: what the labeler itself measured, and what it spent.
    """

    phrases: Mapping[int, str]
    left: Mapping[int, str] = field(default_factory=dict)
    evidence: Mapping[int, Mapping[str, Any]] = field(default_factory=dict)
    report: Mapping[str, Any] = field(default_factory=dict)


class Labeler(Protocol):
    """Names features by short phrases."""

    @property
    def method(self) -> str:
        """What the labels say of how they were made: lexical, llm, manual or another word."""

    def label(self, task: LabelingTask) -> Labeling:
        """Label ``task.features``, each by a phrase or by a reason why there is none."""
