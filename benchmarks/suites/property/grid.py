"""Constants chosen on ``choose`` parts, for each corpus on the others, so that none is tuned on its test."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Generic, TypeVar

import numpy as np

from benchmarks.ranking import average_precision
from saeindex.concepts.inference import ALONE, Recipe

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from benchmarks.corpora import Corpus
    from benchmarks.suites.property.methods import Draw

Setting = TypeVar("Setting")

# Our recipe and its neighbours: one constant changed at a time.
RECIPES: dict[str, Recipe] = {
    "default": Recipe(),
    "temperature .8": Recipe(temperature=0.8),
    "found words 1": Recipe(found_words=1.0),
    "meant words .1": Recipe(meant_words=0.1, first_words=0.1),
    "meant words .5": Recipe(meant_words=0.5, first_words=0.4),
    "most meant 200": Recipe(most_meant=200.0),
    "neighbours .2": Recipe(neighbours=0.2),
    "neighbours .7": Recipe(neighbours=0.7),
}
# The same for a description alone.
SINGLE: dict[str, Recipe] = {
    "default": ALONE,
    "as with other values": Recipe(),
    "firmly .3": replace(ALONE, firmly=0.3),
    "firmly 1": replace(ALONE, firmly=1.0),
    "first words 0": replace(ALONE, first_words=0.0),
    "first words .2": replace(ALONE, first_words=0.2),
    "meant words .5": replace(ALONE, meant_words=0.5),
    "neighbours .4": replace(ALONE, neighbours=0.4),
    "neighbours 1": replace(ALONE, neighbours=1.0),
    "feedback 2": replace(ALONE, feedback=2.0),
}
# The least share of the AP of the better simple method that a setting may have on any corpus.
SAFE = 0.97


@dataclass(frozen=True)
class Choice(Generic[Setting]):
    """Settings by name, and the mean AP that each has on each corpus's ``choose`` part.

    ``simple`` is the AP of the best simple method, where a setting must not be much below it; ``sources`` are
    the corpora of collections that are left out with these.
    """

    settings: Mapping[str, Setting]
    scores: Mapping[str, Mapping[str, float]]
    simple: Mapping[str, float] = field(default_factory=dict)
    sources: Mapping[str, str] = field(default_factory=dict)

    def without(self, corpus: str) -> str:
        """Return the name of the setting that is best on all corpora but this one."""
        return max(self.settings, key=lambda name: self.mean(name, corpus) - self.shortfall(name, corpus))

    def setting(self, corpus: str) -> Setting:
        """Return the setting that is best on all corpora but this one."""
        return self.settings[self.without(corpus)]

    def mean(self, name: str, without: str = "") -> float:
        """Return a setting's mean over corpora, one of them left out."""
        return float(np.mean(list(self._scores(name, without).values())))

    def shortfall(self, name: str, without: str = "") -> float:
        """Return how far a setting falls short of the simple methods at most, one corpus left out."""
        scores = self._scores(name, without)
        short = (SAFE * self.simple[one] - value for one, value in scores.items() if one in self.simple)
        return max([0.0, *short])

    def _scores(self, name: str, without: str) -> dict[str, float]:
        scores = self.scores[name]
        return {one: value for one, value in scores.items() if self.sources.get(one, one) != without}


def choose(
    corpora: Sequence[Corpus],
    settings: Mapping[str, Setting],
    rank: Callable[[Corpus, Setting], NDArray[np.float64]],
    simple: Sequence[Callable[[Corpus], NDArray[np.float64]]] = (),
    sources: Mapping[str, str] | None = None,
) -> Choice[Setting]:
    """Measure every setting of a method to rank by description, and ``simple`` methods."""
    scores = {
        name: {corpus.name: mean_ap(rank(corpus, setting), corpus.relevant) for corpus in corpora}
        for name, setting in settings.items()
    }
    best = {
        corpus.name: max(mean_ap(method(corpus), corpus.relevant) for method in simple)
        for corpus in corpora
        if simple
    }
    return Choice(settings, scores, best, sources or {})


def choose_by_examples(
    corpora: Sequence[Corpus],
    draws: Mapping[str, Sequence[Draw]],
    settings: Mapping[str, Setting],
    rank: Callable[[Corpus, Sequence[Draw], Setting], NDArray[np.float64]],
) -> Choice[Setting]:
    """Measure every setting of a method to rank by examples; these are left out of the ranking."""
    scores: dict[str, dict[str, float]] = {name: {} for name in settings}
    for corpus in corpora:
        if not draws[corpus.name]:
            continue
        for name, setting in settings.items():
            ranked = rank(corpus, draws[corpus.name], setting)
            found = [example_ap(s, d, corpus) for s, d in zip(ranked, draws[corpus.name], strict=True)]
            scores[name][corpus.name] = float(np.mean(found))
    return Choice(settings, scores)


def mean_ap(scores: NDArray[np.float64], relevant: NDArray[np.bool_]) -> float:
    """Return the mean average precision of queries (q, m)."""
    return float(np.mean([average_precision(s, r) for s, r in zip(scores, relevant, strict=True)]))


def example_ap(scores: NDArray[np.float64], draw: Draw, corpus: Corpus) -> float:
    """Return the average precision of one draw's ranking of the records that are not examples."""
    kept = np.ones(len(scores), bool)
    kept[draw.like] = kept[draw.unlike] = False
    return average_precision(scores[kept], corpus.relevant[draw.query][kept])
