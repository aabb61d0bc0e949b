"""What each stratum changed: the findings without it, and with it alone."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from saeindex.analysis.diff.results import StratumChange
from saeindex.analysis.stats.family_test import run_tests

if TYPE_CHECKING:
    from saeindex.analysis.diff.diff import DiffOptions
    from saeindex.analysis.stats.design import Design
    from saeindex.analysis.stats.evidence import Family
    from saeindex.analysis.stats.family_test import FamilyTest
    from saeindex.analysis.stats.groups import Groups

NAMED = 5


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
