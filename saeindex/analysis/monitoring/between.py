"""Findings between groups, by family: the tests of a comparison without what else it tells."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from saeindex.analysis.diff.diff import DiffOptions, findings_of
from saeindex.analysis.diff.findings import headlines
from saeindex.analysis.differences.illustrating import illustrated
from saeindex.analysis.stats.evidence import Family, evidence_of
from saeindex.analysis.stats.family_test import run_tests

if TYPE_CHECKING:
    from saeindex.analysis.diff.results import Finding
    from saeindex.analysis.stats.design import Design
    from saeindex.analysis.stats.groups import Groups
    from saeindex.collection.snapshot import Snapshot


def found_between(
    snapshot: Snapshot,
    groups: Groups,
    design: Design,
    options: DiffOptions,
    is_wanted: Callable[[Finding], bool],
) -> tuple[dict[Family, tuple[Finding, ...]], dict[Family, int]]:
    """Return the wanted findings of each family, one to a feature family, and how many were tested."""
    found: dict[Family, tuple[Finding, ...]] = {}
    counts: dict[Family, int] = {}
    for family in options.families:
        evidence = evidence_of(snapshot, groups.pooled, family, options.level, options.least, options.seed)
        test = run_tests(evidence, groups.codes, len(groups.names), design, options.method, options.seed)
        wanted = [one for one in findings_of(groups.names, test, options.alpha, {}) if is_wanted(one)]
        told = headlines(wanted, snapshot.space)
        found[family] = illustrated(snapshot, groups, evidence, told, options.examples)
        counts[family] = len(test)
    return found, counts
