"""Discovery and confirmation: what one half of the units finds, tested again in the other."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, TypeAlias

import numpy as np

from saeindex.analysis.diff.results import Confirmation, StratumChange
from saeindex.analysis.stats.family_test import run_tests

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from saeindex.analysis.diff.options import DiffOptions
    from saeindex.analysis.stats.design import Design
    from saeindex.analysis.stats.evidence import Family
    from saeindex.analysis.stats.family_test import FamilyTest
    from saeindex.analysis.stats.groups import Groups

    Held: TypeAlias = dict[Family, dict[int | str, bool]]

HOLDS = 0.05
# Records of a group in each half below which a confirmation says nothing.
FEWEST = 10
NAMED = 5


def confirmed(
    groups: Groups,
    design: Design,
    tests: Mapping[Family, FamilyTest],
    options: DiffOptions,
) -> tuple[tuple[Confirmation, ...], Held]:
    """Return how many findings of a random half of the units hold in the other, and which."""
    codes, n_groups = groups.codes, len(groups.names)
    in_first = _half(design, len(codes), options.seed)
    sizes = [np.bincount(codes[side], minlength=n_groups).min() for side in (in_first, ~in_first)]
    if not options.confirm or min(sizes) < FEWEST:
        return (), {}
    found, held = [], {}
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
        held[family] = verdicts
    return tuple(found), held


def _half(design: Design, count: int, seed: int) -> NDArray[np.bool_]:
    """Return which records (m,) are in the first half; all of a unit are in one."""
    units = np.arange(count) if design.units is None else design.units
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
    return run_tests(evidence, codes[rows], n_groups, own, options.method, options.seed)


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
    """Return, for each family and each field that records are stratified by, which findings it takes away."""
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
    return run_tests(test.evidence, groups.codes, len(groups.names), design, options.method, options.seed)


def _keys(test: FamilyTest, options: DiffOptions) -> dict[tuple[int, int], str]:
    """Return the findings by column and group, with their labels."""
    columns, group = test.comparison.column, test.comparison.group
    return {
        (int(columns[place]), int(group[place])): test.evidence.labels[int(columns[place])]
        for place in test.found(options.alpha).tolist()
    }
