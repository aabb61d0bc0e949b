"""The labeler protocol with its input and result; and the labelers that use no language model."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar, Protocol

from saeindex.errors import InvalidInputError
from saeindex.features.labels import MANUAL, MAX_CHARS, is_phrase
from saeindex.features.lexical import lexical_labels

if TYPE_CHECKING:
    from saeindex.features.calibration import Calibration
    from saeindex.types import FloatArray, Ints, SparseCode


@dataclass(frozen=True, slots=True, eq=False)
class CodedTexts:
    """Texts (m), their embeddings (m, d) and their codes; ``groups`` (m,) numbers the document of each."""

    texts: Sequence[str]
    vectors: FloatArray
    code: SparseCode
    groups: Ints | None = None


@dataclass(frozen=True, slots=True, eq=False)
class LabelingTask:
    """The features to label, and the texts to label them from.

    A label is made only from ``shown``; ``unseen`` tests it, and shares no document with ``shown``.
    ``encode`` embeds phrases as queries (n, d).
    """

    shown: CodedTexts
    unseen: CodedTexts
    calibration: Calibration
    encode: Callable[[Sequence[str]], FloatArray]
    features: tuple[int, ...]
    seed: int = 0


@dataclass(frozen=True, slots=True)
class Labeling:
    """The result of a labeler.

    ``phrases`` by feature; ``left`` has the reason for each feature without a phrase, which keeps its
    earlier label. ``evidence`` by feature and ``report`` are JSON: the labeler's own measurements and costs.
    ``descriptions`` are sentences on what features mean, of those that the labeler described.
    """

    phrases: Mapping[int, str]
    left: Mapping[int, str] = field(default_factory=dict)
    evidence: Mapping[int, Mapping[str, Any]] = field(default_factory=dict)
    report: Mapping[str, Any] = field(default_factory=dict)
    descriptions: Mapping[int, str] = field(default_factory=dict)


class Labeler(Protocol):
    """Names features by short phrases."""

    @property
    def method(self) -> str:
        """The ``method`` of the labels: lexical, llm, manual or another word."""

    def label(self, task: LabelingTask) -> Labeling:
        """Return a phrase for each of ``task.features``, or the reason why it has none."""


class LexicalLabeler:
    """Labels from :func:`saeindex.features.lexical.lexical_labels`; every feature gets a label."""

    method: ClassVar[str] = "lexical"

    def label(self, task: LabelingTask) -> Labeling:
        """Label from the words of ``task.shown``."""
        shown = task.shown
        phrases = lexical_labels(
            shown.texts, shown.vectors, shown.code, task.calibration, task.encode, task.seed
        )
        return Labeling({feature: phrases[feature] for feature in task.features})


class ManualLabeler:
    """Labels given by a person; no other method replaces them, and they are never weak."""

    method = MANUAL

    def __init__(self, names: Mapping[int, str]) -> None:
        """``names`` are the phrases by feature; InvalidInputError for an unusable phrase."""
        self.names = {feature: checked_phrase(feature, text) for feature, text in names.items()}

    def label(self, task: LabelingTask) -> Labeling:
        """Return the given phrases; InvalidInputError for a feature that is not in ``task.features``."""
        if others := sorted(set(self.names) - set(task.features)):
            found = "it is not among the features to label"
            raise InvalidInputError(f"a label for feature #{others[0]}", found, "Leave it out.")
        return Labeling(self.names)


def checked_phrase(feature: int, text: str) -> str:
    """Return the phrase, stripped; it must be one printable line of at most 200 characters with a word."""
    phrase = text.strip()
    if not is_phrase(phrase):
        asked = f"the label {phrase[:40]!r} for feature #{feature}"
        found = f"{len(phrase)} characters" if len(phrase) > MAX_CHARS else "not a line with a word in it"
        raise InvalidInputError(asked, found, f"Give a short phrase, at most {MAX_CHARS} characters.")
    return phrase
