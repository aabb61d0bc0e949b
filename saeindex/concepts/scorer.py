"""Scores of rows by an inferred property: their own, their neighbours', and against the other values."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from saeindex.concepts.weighting import TINY, contrast

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from saeindex.collection.rows import Rows
    from saeindex.collection.sample import CollectionSample
    from saeindex.concepts.inference import Inference

    Doubles = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Scored:
    """Scores of rows, for every value (m, J), with their intermediate results.

    ``total`` is the scaled contrast of ``both`` for the property; ``both`` is ``own`` plus the weighted score
    of the neighbours, ``near``. Each is scaled by the sample's mean and deviation.
    """

    own: Doubles
    near: Doubles
    both: Doubles
    total: Doubles


@dataclass(frozen=True, eq=False)
class Scorer:
    """Scores rows by an inference, in standard deviations above the collection's mean."""

    inference: Inference
    sample: CollectionSample
    neighbours: float

    def __call__(self, rows: Rows, nearest: NDArray[np.int64] | None = None) -> Scored:
        """Return the scores of ``rows``, each whatever the others are.

        ``nearest`` (m, n) are their neighbours in the sample, if known.
        """
        own, near = self.own(self.inference.own_scores(rows)), None
        if self.neighbours:
            nearest = self.sample.neighbours_of(rows) if nearest is None else nearest
            near = self.near(self.sampled[nearest].mean(axis=1)) if nearest.shape[1] else None
        near = np.zeros_like(own) if near is None else near
        both = self.both(own + self.neighbours * near)
        return Scored(own, near, both, self.fits(contrast(both)[:, :1])[:, 0])

    @property
    def own(self) -> Scale:
        """The scale of own scores."""
        return self._measured.own

    @property
    def sampled(self) -> Doubles:
        """The sample's own scores, scaled (m, J)."""
        return self._measured.sampled

    @property
    def near(self) -> Scale:
        """The scale of neighbours' mean scores."""
        return self._measured.near

    @property
    def both(self) -> Scale:
        """The scale of the sum of own and neighbours' scores."""
        return self._measured.both

    @cached_property
    def fits(self) -> Scale:
        """The scale of the contrast with the other values."""
        return Scale.of(self._measured.fits[:, :1])

    @cached_property
    def of_sample(self) -> Doubles:
        """The sample's totals, for every value (m, J)."""
        return Scale.of(self._measured.fits)(self._measured.fits)

    @cached_property
    def _measured(self) -> _Measured:
        raw, neighbours = self.inference.own_scores(self.sample.rows), self.sample.neighbours
        own = Scale.of(raw)
        sampled = own(raw)
        around = sampled[neighbours].mean(axis=1) if neighbours.shape[1] else np.zeros_like(sampled)
        near = Scale.of(around)
        total = sampled + self.neighbours * near(around)
        both = Scale.of(total)
        return _Measured(own, near, both, sampled, contrast(both(total)))


class _Measured(NamedTuple):
    """The sample's scores, and the scales computed from them."""

    own: Scale
    near: Scale
    both: Scale
    sampled: Doubles
    fits: Doubles


@dataclass(frozen=True, eq=False)
class Scale:
    """Subtracts ``mean`` and divides by ``deviation``, per value (J,)."""

    mean: Doubles
    deviation: Doubles

    @classmethod
    def of(cls, scores: Doubles) -> Scale:
        """Return the scale on which ``scores`` (m, J) have mean 0 and deviation 1."""
        deviation = scores.std(axis=0)
        return cls(scores.mean(axis=0), np.where(deviation > TINY, deviation, 1.0))

    def __call__(self, scores: Doubles) -> Doubles:
        """Return ``scores`` on this scale."""
        scaled: Doubles = (scores - self.mean) / self.deviation
        return scaled
