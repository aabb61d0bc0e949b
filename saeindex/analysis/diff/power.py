"""What a comparison could have found."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from typing import TYPE_CHECKING, TypeAlias

import numpy as np

from saeindex.analysis.diff.results import Hint
from saeindex.analysis.stats.two_by_two import two_sided

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from saeindex.analysis.diff.options import DiffOptions
    from saeindex.analysis.stats.evidence import Family
    from saeindex.analysis.stats.family_test import FamilyTest

    Doubles: TypeAlias = NDArray[np.float64]

# Shares of the second group that statements are made for, and the power that is asked.
BASES = (0.001, 0.01, 0.05, 0.2)
ASKED = 0.8
DRAWS, STEPS, SEED = 400, 14, 20261120
PRIOR = 500.0
LEAST_Z = 1.5


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


def hints_of(
    groups: Mapping[str, int], tests: Mapping[Family, FamilyTest], options: DiffOptions
) -> tuple[Hint, ...]:
    """Return up to ``options.hints`` hints of each family, each for the group that has the evidence more."""
    found: list[Hint] = []
    names = tuple(groups)
    for family, test in tests.items():
        if not len(test) or family == "named":
            continue
        known = set(test.comparison.column[test.found(options.alpha)].tolist())
        support = test.support
        sizes = np.array(list(groups.values()), np.float64)[:, None]
        counts = test.shares * sizes
        z, log_odds = _log_odds(counts, sizes, support)
        for place in np.argsort(-z, axis=None, kind="stable")[: 4 * options.hints + len(known)].tolist():
            group, column = divmod(place, z.shape[1])
            if z[group, column] < LEAST_Z or sum(one.family == family for one in found) >= options.hints:
                break
            if column not in known:
                found.append(
                    Hint(
                        family,
                        test.evidence.keys[column],
                        test.evidence.labels[column],
                        names[group],
                        float(log_odds[group, column]),
                        int(support[column]),
                    )
                )
    return tuple(found)


def _log_odds(counts: Doubles, sizes: Doubles, support: Doubles) -> tuple[Doubles, Doubles]:
    """Return the z-score and the log-odds of each group against the others (G, f)."""
    prior = PRIOR * support / max(1.0, float(support.sum()))
    ours, theirs = counts + prior, support - counts + prior
    n_ours, n_theirs = sizes + PRIOR, sizes.sum() - sizes + PRIOR
    odds = np.log(ours / np.maximum(n_ours - ours, 1e-9))
    odds -= np.log(theirs / np.maximum(n_theirs - theirs, 1e-9))
    return odds / np.sqrt(1 / ours + 1 / theirs), odds
