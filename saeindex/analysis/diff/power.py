"""What a comparison could have found."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, TypeAlias

import numpy as np

from saeindex.analysis.stats.two_by_two import two_sided

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Doubles: TypeAlias = NDArray[np.float64]

# Shares of the second group that statements are made for, and the power that is asked.
BASES = (0.001, 0.01, 0.05, 0.2)
ASKED = 0.8
DRAWS, STEPS, SEED = 400, 14, 20261120


def power(first: float, second: float, n1: float, n2: float, threshold: float) -> float:
    """Return how often shares ``first`` and ``second`` give a p-value of at most ``threshold``, by drawing.

    ``n1`` and ``n2`` are records, over the design effect where they are not independent.
    """
    dice = np.random.default_rng(SEED)
    k1 = dice.binomial(max(1, round(n1)), first, DRAWS)
    k2 = dice.binomial(max(1, round(n2)), second, DRAWS)
    p = two_sided(k1, max(1, round(n1)), k2, max(1, round(n2)))
    return float(((p <= threshold) & (k1 / n1 > k2 / n2)).mean())


@lru_cache(maxsize=256)
def detectable(base: float, n1: float, n2: float, threshold: float) -> float | None:
    """Return the share of the first group from which ``base`` of the second is told apart 80 % of the time.

    None where even every record of the first group would not do.
    """
    if power(1.0, base, n1, n2, threshold) < ASKED:
        return None
    low, high = base, 1.0
    for _ in range(STEPS):
        middle = (low + high) / 2 if low > high / 4 else np.sqrt(max(low, 1e-6) * high)
        if power(float(middle), base, n1, n2, threshold) >= ASKED:
            high = float(middle)
        else:
            low = float(middle)
    return high
