"""The texts of a feature that a language model interprets, and those that test its phrase.

Besides texts with the feature there are three kinds with little or none of it: random texts, which any label
distinguishes; weak texts, where it is active below its median; and near texts, where it is absent although
they lie nearest to the texts with it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from saeindex.features.trust import Closeness
from saeindex.llm.messages import Messages, interpreter_messages, predictor_messages

if TYPE_CHECKING:
    from scipy.sparse import csc_matrix

    from saeindex.features.calibration import Calibration
    from saeindex.features.labelers.labeler import CodedTexts, LabelingTask
    from saeindex.types import Doubles, FloatArray, Ints


MIN_ACTIVE = 5
NEAR_POOL = 8
# Texts that are judged at once.
PER_REQUEST = 10


@dataclass(frozen=True, slots=True)
class Quota:
    """The number of texts of each kind; with ``is_strongest`` the active texts are the strongest."""

    active: int
    weak: int
    near: int
    random: int
    is_strongest: bool = False


@dataclass(frozen=True)
class ExamplePicker:
    """Picks examples from texts; the result depends only on the texts, the feature and the seed."""

    texts: CodedTexts
    calibration: Calibration
    seed: int = 0

    @cached_property
    def _columns(self) -> csc_matrix:
        return self.texts.code.to_csr().tocsc()

    @cached_property
    def _closeness(self) -> Closeness:
        return Closeness(self.texts.vectors)

    def activation(self, feature: int) -> FloatArray:
        """Return the activation of a feature in each text (m,)."""
        return np.asarray(self._columns[:, [feature]].toarray().ravel())

    def pick(self, feature: int, quota: Quota) -> dict[str, list[int]] | None:
        """Return the positions of a feature's examples by kind: ``active``, ``weak``, ``near``, ``random``.

        None if it has fewer than 5 typical texts. Active texts are typical (at or above the median): spread
        over the range, or the strongest. Weak texts are spread over the range below the median. No text
        occurs twice, and no document twice where documents are known.
        """
        column = self.activation(feature)
        present = np.flatnonzero(column)
        present = present[np.argsort(-column[present], kind="stable")]
        is_typical = column[present] >= self.calibration.median[feature]
        typical, weak = present[is_typical], present[~is_typical]
        absent = np.flatnonzero(column == 0)
        rng = np.random.default_rng([self.seed, feature])
        taken: set[object] = set()
        ranked = typical if quota.is_strongest else _spread(typical, quota.active, rng)
        active = self._taken(ranked, quota.active, taken)
        if len(active) < MIN_ACTIVE:
            return None
        weak, near = _spread(weak, quota.weak, rng), self._nearest(absent, typical, quota.near)
        return {
            "active": active,
            "weak": self._taken(weak, quota.weak, taken),
            "near": self._taken(rng.permutation(near), quota.near, taken),
            "random": self._taken(rng.permutation(absent), quota.random, taken),
        }

    def _taken(self, positions: Ints, count: int, taken: set[object]) -> list[int]:
        """Return the first ``count`` positions whose document and wording were not taken before."""
        found: list[int] = []
        groups = self.texts.groups
        for position in map(int, positions):
            if len(found) == count:
                break
            text = self.texts.texts[position]
            keys = {text} if groups is None else {text, int(groups[position])}
            if text.strip() and taken.isdisjoint(keys):
                taken |= keys
                found.append(position)
        return found

    def _nearest(self, absent: Ints, typical: Ints, count: int) -> Ints:
        """Return the texts without the feature nearest to the typical texts: 8 times ``count`` of them."""
        centroid = self.texts.vectors[typical].mean(0, keepdims=True)
        farness = -self._closeness.to(centroid)[absent, 0]
        size = min(count * NEAR_POOL, len(absent))
        return absent[np.argpartition(farness, size - 1)[:size]] if size else absent[:0]


def _spread(ranked: Ints, count: int, rng: np.random.Generator) -> Ints:
    """Return all positions: first one from each of ``count`` equal strata, then the others at random."""
    if len(ranked) <= count or not count:
        return ranked
    firsts = [int(rng.choice(stratum)) for stratum in np.array_split(ranked, count)]
    rest = ranked[~np.isin(ranked, firsts)]
    return np.concatenate([firsts, rng.permutation(rest)]).astype(np.int64)


INTERPRETED = Quota(active=10, weak=4, near=5, random=5, is_strongest=True)
PREDICTED = Quota(active=10, weak=5, near=5, random=5)


@dataclass(frozen=True, slots=True, eq=False)
class Job:
    """A feature, the texts to interpret, and the texts to test the phrase on.

    ``strong``, ``weak`` and ``absent`` are interpreted; ``tested`` (r,), in a random order, have ``kinds``
    (r,) and ``activation`` (r,).
    """

    feature: int
    strong: Sequence[str]
    weak: Sequence[str]
    absent: Sequence[str]
    tested: Sequence[str]
    kinds: Sequence[str]
    activation: Doubles

    def interpret(self) -> Messages:
        """Return the request for a phrase."""
        return interpreter_messages(self.strong, self.weak, self.absent)

    def predict(self, phrase: str) -> Iterator[tuple[Messages, int]]:
        """Yield the requests for the likelihood of a phrase, and the number of texts of each."""
        for start in range(0, len(self.tested), PER_REQUEST):
            texts = self.tested[start : start + PER_REQUEST]
            yield predictor_messages(phrase, texts), len(texts)


def plan_jobs(task: LabelingTask) -> tuple[list[Job], list[int]]:
    """Return the jobs, densest feature first, and the features with too few texts for a job.

    A feature's job does not depend on the other features of the task, since the cache would miss.
    """
    shown = ExamplePicker(task.shown, task.calibration, task.seed)
    unseen = ExamplePicker(task.unseen, task.calibration, task.seed)
    density = task.calibration.density
    order = sorted(task.features, key=lambda feature: (-density[feature], feature))
    found = {feature: _job(feature, shown, unseen) for feature in order}
    return [job for job in found.values() if job], [feature for feature, job in found.items() if not job]


def _job(feature: int, shown: ExamplePicker, unseen: ExamplePicker) -> Job | None:
    interpreted, predicted = shown.pick(feature, INTERPRETED), unseen.pick(feature, PREDICTED)
    if interpreted is None or predicted is None:
        return None
    strong, weak, near, random = (
        [shown.texts.texts[position] for position in positions] for positions in interpreted.values()
    )
    tested = [(kind, position) for kind, positions in predicted.items() for position in positions]
    order = np.random.default_rng([unseen.seed, feature]).permutation(len(tested))
    kinds, positions = zip(*(tested[i] for i in order), strict=True)
    texts = [unseen.texts.texts[position] for position in positions]
    activation = unseen.activation(feature)[list(positions)].astype(np.float64)
    return Job(feature, strong, weak, near + random, texts, kinds, activation)
