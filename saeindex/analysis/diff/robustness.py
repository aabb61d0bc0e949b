"""Robustness of a comparison: confirmation by halves, effect of strata, power, and hints."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from functools import lru_cache
from typing import TYPE_CHECKING, TypeAlias

import numpy as np

from saeindex.analysis.diff.results import Confirmation, Hint, StratumChange
from saeindex.analysis.stats.family_test import run_tests
from saeindex.analysis.stats.two_by_two import binomial_tail, two_sided

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from saeindex.analysis.diff.options import DiffOptions
    from saeindex.analysis.stats.choices import Family
    from saeindex.analysis.stats.design import Design
    from saeindex.analysis.stats.family_test import FamilyTest
    from saeindex.analysis.stats.groups import Groups

    Held: TypeAlias = dict[Family, dict[int | str, bool]]
    Doubles: TypeAlias = NDArray[np.float64]

HOLDS = 0.05
# The minimum number of records of a group in each half for a confirmation.
MIN_RECORDS = 10
NAMED = 5
# The shares of the second group in the table of power, and the required power.
BASES = (0.001, 0.01, 0.05, 0.2)
ASKED = 0.8
DRAWS, STEPS, SEED = 400, 14, 20261120
# Hints are shrunk to the share of all records as by so many further records with that share.
PRIOR = 10.0
MIN_Z = 1.5


def confirmed(
    groups: Groups,
    design: Design,
    tests: Mapping[Family, FamilyTest],
    options: DiffOptions,
) -> tuple[tuple[Confirmation, ...], Held]:
    """Return the number of findings of a random half of the units that hold in the other, and which."""
    codes, n_groups = groups.codes, len(groups.names)
    in_first = _half(design, groups.pooled, options.seed)
    sizes = [np.bincount(codes[side], minlength=n_groups).min() for side in (in_first, ~in_first)]
    if not options.confirm or min(sizes) < MIN_RECORDS:
        return (), {}
    found, confirmed_by_family = [], {}
    for family, test in tests.items():
        halves = [_tested_on(side, test, codes, n_groups, design, options) for side in (in_first, ~in_first)]
        discovered = halves[0].found(options.alpha)
        second = {
            (int(column), int(group)): place
            for place, (column, group) in enumerate(
                zip(halves[1].comparison.column, halves[1].comparison.group, strict=True)
            )
        }
        verdicts: dict[int | str, bool] = {}
        for place in discovered.tolist():
            at = halves[0].comparison
            again = second.get((int(at.column[place]), int(at.group[place])))
            verdicts[test.evidence.keys[int(at.column[place])]] = again is not None and _holds(
                halves[1], again, float(at.tested.effect[place])
            )
        found.append(Confirmation(family, len(verdicts), sum(verdicts.values())))
        confirmed_by_family[family] = verdicts
    return tuple(found), confirmed_by_family


def _half(design: Design, rows: NDArray[np.int64], seed: int) -> NDArray[np.bool_]:
    """Return which of ``rows`` (m,) are in the first half; all records of a unit are in the same half."""
    units = rows if design.units is None else design.units
    chosen = np.random.default_rng(seed).random(int(units.max(initial=0)) + 1) < 0.5
    half: NDArray[np.bool_] = chosen[units]
    return half


def _tested_on(
    side: NDArray[np.bool_],
    test: FamilyTest,
    codes: NDArray[np.int32],
    n_groups: int,
    design: Design,
    options: DiffOptions,
) -> FamilyTest:
    rows = np.flatnonzero(side)
    evidence = replace(test.evidence, has=test.evidence.has[rows])
    units = None if design.units is None else design.units[rows]
    own = replace(design, strata=design.strata[rows], units=units)
    return run_tests(evidence, codes[rows], n_groups, own, options.method)


def _holds(test: FamilyTest, place: int, effect: float) -> bool:
    tested = test.comparison.tested
    tail = tested.more[place] if effect > 0 else tested.less[place]
    return bool(max(tail, tested.p[place] / 2) <= HOLDS)


def changes_of(
    groups: Groups,
    design: Design,
    tests: Mapping[Family, FamilyTest],
    options: DiffOptions,
) -> tuple[StratumChange, ...]:
    """Return, for each family and each stratum field, the findings that disappear with it."""
    changes = []
    for family, test in tests.items() if design.by else ():
        if family == "named":
            continue
        whole = replace(design, strata=np.zeros_like(design.strata))
        plain = _keys(_retested(test, groups, whole, options), options)
        for field, strata in design.fields.items():
            by_field = replace(design, strata=strata - strata.min(initial=0))
            alone = _keys(_retested(test, groups, by_field, options), options)
            gone = [label for key, label in plain.items() if key not in alone]
            changes.append(StratumChange(family, field, len(plain), len(alone), tuple(gone[:NAMED])))
    return tuple(changes)


def _retested(test: FamilyTest, groups: Groups, design: Design, options: DiffOptions) -> FamilyTest:
    return run_tests(test.evidence, groups.codes, len(groups.names), design, options.method)


def _keys(test: FamilyTest, options: DiffOptions) -> dict[tuple[int, int], str]:
    """Return the findings by column and group, with their labels."""
    columns, group = test.comparison.column, test.comparison.group
    return {
        (int(columns[place]), int(group[place])): test.evidence.labels[int(columns[place])]
        for place in test.found(options.alpha).tolist()
    }


def power(
    first: float, second: float, n1: float, n2: float, threshold: float, is_paired: bool = False
) -> float:
    """Return how often shares ``first`` and ``second`` give p of at most ``threshold``, by simulation.

    ``n1`` and ``n2`` are records, over the design effect where they are not independent; of a paired test,
    both are the number of pairs, of one record each.
    """
    rng = np.random.default_rng(SEED)
    if is_paired:
        only_first, only_second = first * (1 - second), second * (1 - first)
        up, down, _ = rng.multinomial(
            round(n1), [only_first, only_second, 1 - only_first - only_second], DRAWS
        ).T
        tail = binomial_tail(up.astype(np.float64), (up + down).astype(np.float64), 0.5)
        return float(((up > down) & (2 * tail <= threshold)).mean())
    k1 = rng.binomial(max(1, round(n1)), first, DRAWS)
    k2 = rng.binomial(max(1, round(n2)), second, DRAWS)
    p = two_sided(k1, max(1, round(n1)), k2, max(1, round(n2)))
    return float(((p <= threshold) & (k1 / n1 > k2 / n2)).mean())


@lru_cache(maxsize=256)
def detectable(base: float, n1: float, n2: float, threshold: float, is_paired: bool = False) -> float | None:
    """Return the share of the first group that differs significantly from ``base`` with power 0.8.

    None if even a share of 1 is not enough.
    """
    if power(1.0, base, n1, n2, threshold, is_paired) < ASKED:
        return None
    low, high = base, 1.0
    for _ in range(STEPS):
        middle = (low + high) / 2 if low > high / 4 else np.sqrt(max(low, 1e-6) * high)
        if power(float(middle), base, n1, n2, threshold, is_paired) >= ASKED:
            high = float(middle)
        else:
            low = float(middle)
    return high


# Hints are ranked by the z-score of the log-odds with an informative prior (Monroe et al. 2008), which finds
# rare evidence that is not significant in any test, and much that is due to chance.
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
            if z[group, column] < MIN_Z or sum(one.family == family for one in found) >= options.hints:
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
    prior = PRIOR * support / sizes.sum()
    ours, theirs = counts + prior, support - counts + prior
    n_ours, n_theirs = sizes + PRIOR, sizes.sum() - sizes + PRIOR
    odds = np.log(ours / np.maximum(n_ours - ours, 1e-9))
    odds -= np.log(theirs / np.maximum(n_theirs - theirs, 1e-9))
    return odds / np.sqrt(1 / ours + 1 / theirs), odds
