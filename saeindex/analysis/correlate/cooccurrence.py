"""What goes with one feature: a row of co-occurrence counts, tested."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from saeindex.analysis.stats.two_by_two import adjusted, two_sided
from saeindex.types import shown_label

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from saeindex.features import FeatureSpace

LEAST = 5


@dataclass(frozen=True, slots=True)
class Companion:
    """A feature in ``support`` of the records that have the one asked for, where chance gives ``expected``.

    ``share`` of those records have it, against ``base`` of all; ``lift`` is their ratio.
    """

    feature: int
    label: str
    support: int
    expected: float
    share: float
    base: float
    lift: float
    p: float
    q: float


def companions(
    space: FeatureSpace,
    feature: int,
    own: tuple[int, NDArray[np.int64]],
    all_: tuple[int, NDArray[np.int64]],
    alpha: float,
    limit: int,
) -> Sequence[Companion]:
    """Return the features that records with ``feature`` have more than the others, the surest first.

    ``own`` and ``all_`` are the number of records with the feature, and of all, with the counts of every
    feature among them (n,).
    """
    (n_own, counts), (n, totals) = own, all_
    columns = np.flatnonzero((counts >= LEAST) & (np.arange(len(counts)) != feature))
    k, total = counts[columns], totals[columns]
    p = two_sided(k, n_own, total - k, n - n_own)
    q = adjusted(p)
    expected = n_own * total / max(1, n)
    z = (k - expected) / np.sqrt(np.maximum(expected, 1e-9))
    chosen = [i for i in np.argsort(-z, kind="stable").tolist() if q[i] <= alpha and z[i] > 0][:limit]
    found = []
    for i in chosen:
        label = space.labels[int(columns[i])]
        share, base = float(k[i] / n_own), float(total[i] / n)
        shown = shown_label(label.text, label.is_weak)
        counted = int(k[i]), float(expected[i]), share, base, share / base
        found.append(Companion(int(columns[i]), shown, *counted, float(p[i]), float(q[i])))
    return found
