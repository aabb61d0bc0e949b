"""The labeler that is a person."""

from __future__ import annotations

from collections.abc import Mapping

from saeindex.errors import InvalidInputError
from saeindex.features.labelers.base import Labeling, LabelingTask
from saeindex.features.labels import MANUAL

MAX_CHARS = 200


class ManualLabeler:
    """Labels as they are given; no other method replaces them, and they are never weak."""

    method = MANUAL

    def __init__(self, names: Mapping[int, str]) -> None:
        """Take the phrases by feature; InvalidInputError for one that could not be shown or searched."""
        self.names = {feature: checked_phrase(feature, text) for feature, text in names.items()}

    def label(self, task: LabelingTask) -> Labeling:
        """Return the given phrases; InvalidInputError where one is for none of ``task.features``."""
        others = sorted(set(self.names) - set(task.features))
        if others:
            raise InvalidInputError(
                f"a label for feature #{others[0]}",
                "the space has none, or it was not asked for",
                "Leave it out.",
            )
        return Labeling(self.names)


def checked_phrase(feature: int, text: str) -> str:
    """Return the phrase without outer space: one printable line of at most 200 characters, with a word."""
    phrase = text.strip()
    if not phrase.isprintable() or not any(c.isalnum() for c in phrase) or len(phrase) > MAX_CHARS:
        raise InvalidInputError(
            f"the label {phrase[:40]!r} for feature #{feature}",
            f"{len(phrase)} characters" if len(phrase) > MAX_CHARS else "not a line with a word in it",
            f"Give a short phrase, at most {MAX_CHARS} characters.",
        )
    return phrase
