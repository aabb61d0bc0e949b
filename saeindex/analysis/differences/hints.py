"""Hints: what looks different and is no finding; untested, for people who look further.

Ranked by the z-score of the log-odds with an informative prior (Monroe et al. 2008), which finds rare
evidence that no test can be sure of, and much that is chance.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, TypeAlias

import numpy as np

from saeindex.analysis.diff.results import Hint

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from saeindex.analysis.diff.diff import DiffOptions
    from saeindex.analysis.stats.evidence import Family
    from saeindex.analysis.stats.family_test import FamilyTest

    Doubles: TypeAlias = NDArray[np.float64]

PRIOR = 500.0
LEAST_Z = 1.5


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
