"""Measures of rankings, averaged over queries, then over corpora or kinds."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

DRAWS = 2_000


class Judged(NamedTuple):
    """The result of a query: its corpus, its kind, and the measured values."""

    corpus: str
    kind: str
    values: tuple[float, ...]


def average_precision(scores: NDArray[np.float64], relevant: NDArray[np.bool_]) -> float:
    """Return the average precision of records by descending score; equal scores keep their order."""
    hits = relevant[np.argsort(-scores, kind="stable")]
    precision = np.cumsum(hits) / np.arange(1, len(hits) + 1)
    return float((precision * hits).sum() / hits.sum())


def precision_at_10(scores: NDArray[np.float64], relevant: NDArray[np.bool_]) -> float:
    """Return the share of relevant records among the best ten."""
    return float(relevant[np.argsort(-scores, kind="stable")[:10]].mean())


def by_corpus(judged: Sequence[Judged], value: int = 0) -> dict[str, float]:
    """Return the mean of a value over the queries of each corpus."""
    groups: dict[str, list[float]] = defaultdict(list)
    for one in judged:
        groups[one.corpus].append(one.values[value])
    return {name: float(np.mean(values)) for name, values in groups.items()}


def overall(judged: Sequence[Judged], value: int = 0) -> float:
    """Return the mean over corpora, each with equal weight."""
    return float(np.mean(list(by_corpus(judged, value).values())))


def by_kind(judged: Sequence[Judged], value: int = 0) -> dict[str, float]:
    """Return, for each kind of query, the mean over the corpora with this kind."""
    kinds = sorted({one.kind for one in judged})
    return {kind: overall([one for one in judged if one.kind == kind], value) for kind in kinds}


def interval(judged: Sequence[Judged], value: int = 0, seed: int = 0) -> tuple[float, float]:
    """Return the 95 % bootstrap interval of :func:`overall`, over the queries of each corpus."""
    return _interval(_groups([(one.corpus, one.values[value]) for one in judged]), seed)


def ratio_interval(ours: Sequence[Judged], theirs: Sequence[Judged], seed: int = 0) -> tuple[float, float]:
    """Return the 95 % bootstrap interval of the ratio of two :func:`overall`, on the same queries."""
    rng = np.random.default_rng(seed)
    pairs: dict[str, list[tuple[float, float]]] = defaultdict(list)
    for a, b in zip(ours, theirs, strict=True):
        pairs[a.corpus].append((a.values[0], b.values[0]))
    groups = [np.array(group) for group in pairs.values()]
    ratios = []
    for _ in range(DRAWS):
        means = np.mean([g[rng.integers(len(g), size=len(g))].mean(0) for g in groups], axis=0)
        ratios.append(means[0] / means[1])
    return float(np.quantile(ratios, 0.025)), float(np.quantile(ratios, 0.975))


def _groups(values: Sequence[tuple[str, float]]) -> list[NDArray[np.float64]]:
    groups: dict[str, list[float]] = defaultdict(list)
    for name, value in values:
        groups[name].append(value)
    return [np.array(group) for group in groups.values()]


def _interval(groups: Sequence[NDArray[np.float64]], seed: int) -> tuple[float, float]:
    rng = np.random.default_rng(seed)
    means = [np.mean([g[rng.integers(len(g), size=len(g))].mean() for g in groups]) for _ in range(DRAWS)]
    return float(np.quantile(means, 0.025)), float(np.quantile(means, 0.975))
