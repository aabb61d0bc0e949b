"""What a language model is asked about each feature, before anything is asked."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from saeindex.features.labelers.examples import ExamplePicker, Quota
from saeindex.features.labelers.prompts import Messages, interpreter_messages, predictor_messages

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from saeindex.features.labelers.base import CodedTexts, LabelingTask

INTERPRETED = Quota(active=10, weak=4, near=5, random=5, is_strongest=True)
PREDICTED = Quota(active=10, weak=5, near=5, random=5)


@dataclass(frozen=True, slots=True, eq=False)
class Job:
    """A feature, the texts that are to be interpreted, and those that the phrase is then tested on.

    ``strong``, ``weak`` and ``absent`` are interpreted; ``tested`` (r,) are of ``kinds`` (r,) and have
    ``activation`` (r,), in a random order that tells nothing.
    """

    feature: int
    strong: tuple[str, ...]
    weak: tuple[str, ...]
    absent: tuple[str, ...]
    tested: tuple[str, ...]
    kinds: tuple[str, ...]
    activation: NDArray[np.float64]

    def interpret(self) -> Messages:
        """Return the request for a phrase."""
        return interpreter_messages(self.strong, self.weak, self.absent)

    def predict(self, phrase: str, texts_per_request: int) -> Iterator[tuple[Messages, int]]:
        """Yield the requests for the likelihood of a phrase, and how many texts each has."""
        for start in range(0, len(self.tested), texts_per_request):
            texts = self.tested[start : start + texts_per_request]
            yield predictor_messages(phrase, texts), len(texts)


def plan_jobs(task: LabelingTask) -> tuple[list[Job], list[int]]:
    """Return the jobs, of the densest feature first, and the features with too few texts for one.

    A feature's job does not depend on which others are asked for: the cache would miss.
    """
    shown = ExamplePicker(task.shown, task.calibration, task.seed)
    unseen = ExamplePicker(task.unseen, task.calibration, task.seed)
    density = task.calibration.density
    jobs, skipped = [], []
    for feature in sorted(task.features, key=lambda feature: (-density[feature], feature)):
        job = _job(feature, shown, unseen)
        if job is None:
            skipped.append(feature)
        else:
            jobs.append(job)
    return jobs, skipped


def _job(feature: int, shown: ExamplePicker, unseen: ExamplePicker) -> Job | None:
    interpreted, predicted = shown.pick(feature, INTERPRETED), unseen.pick(feature, PREDICTED)
    if interpreted is None or predicted is None:
        return None
    tested = [(kind, text) for kind, texts in predicted.kinds.items() for text in texts]
    order = np.random.default_rng([unseen.seed, feature]).permutation(len(tested))
    kinds, positions = zip(*(tested[i] for i in order), strict=True)
    column = unseen.activation(feature)
    return Job(
        feature,
        _texts(shown.texts, interpreted.active),
        _texts(shown.texts, interpreted.weak),
        _texts(shown.texts, (*interpreted.near, *interpreted.random)),
        _texts(unseen.texts, positions),
        kinds,
        column[list(positions)].astype(np.float64),
    )


def _texts(texts: CodedTexts, positions: Sequence[int]) -> tuple[str, ...]:
    return tuple(texts.texts[i] for i in positions)
