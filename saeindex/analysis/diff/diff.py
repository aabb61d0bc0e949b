"""What differs between groups of records: tested, with the error rate held for each family of evidence."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from saeindex.analysis.diff.findings import headlines
from saeindex.analysis.diff.named_evidence import named_evidence, without_examples
from saeindex.analysis.diff.power import BASES, detectable
from saeindex.analysis.diff.results import Detectable, Diff, Finding
from saeindex.analysis.diff.robustness import confirmed
from saeindex.analysis.differences.hints import hints_of
from saeindex.analysis.differences.illustrating import illustrated
from saeindex.analysis.differences.strata import changes_of
from saeindex.analysis.stats.design import AUTO, design_of
from saeindex.analysis.stats.evidence import FAMILIES, Family, evidence_of
from saeindex.analysis.stats.family_test import run_tests
from saeindex.analysis.stats.two_by_two import check_correction, told_correction
from saeindex.errors import InvalidInputError

if TYPE_CHECKING:
    from saeindex.analysis.diff.hypotheses import HypothesisWriter
    from saeindex.analysis.stats.design import Design
    from saeindex.analysis.stats.family_test import FamilyTest
    from saeindex.analysis.stats.groups import Groups
    from saeindex.analysis.stats.two_by_two import Correction
    from saeindex.collection.snapshot import Snapshot
    from saeindex.concepts.named_concept import NamedConcept
    from saeindex.protocols import TextEncoder
    from saeindex.types import LevelName


@dataclass(frozen=True, slots=True)
class DiffOptions:
    """How groups are compared.

    ``unit`` is the field that records were sampled by ("auto" looks for one, None: each record is its own),
    ``strata`` fields within whose values records are compared, ``length_bins`` the number of quantiles of
    text length that they are compared within (None: 5 where it may matter), ``paired`` whether units have
    records in both groups (None: find out). ``least`` records must have a piece of evidence. ``method`` "by"
    holds the false discovery rate ``alpha`` under any dependence.
    """

    families: Sequence[Family] = FAMILIES
    level: LevelName = "typical"
    unit: str | None = AUTO
    strata: Sequence[str] = ()
    length_bins: int | None = None
    paired: bool | None = None
    alpha: float = 0.05
    method: Correction = "bh"
    least: int = 5
    confirm: bool = True
    examples: int = 2
    hints: int = 10
    seed: int = 0

    def __post_init__(self) -> None:
        """Check the numbers."""
        if not 0 < self.alpha < 1:
            raise InvalidInputError(f"alpha={self.alpha}", "out of range", "Use a rate between 0 and 1.")
        check_correction(self.method)
        if self.least < 1:
            raise InvalidInputError(f"least={self.least}", "out of range", "Use 1 or more.")
        unknown = [one for one in self.families if one not in FAMILIES]
        if unknown or not self.families:
            found = f"{unknown[0]!r}" if unknown else "none"
            raise InvalidInputError("families of evidence", found, f"Use some of {', '.join(FAMILIES)}.")


def diff(
    snapshot: Snapshot,
    groups: Groups,
    options: DiffOptions = DiffOptions(),
    named: Sequence[NamedConcept] = (),
    encoder: TextEncoder | None = None,
    writer: HypothesisWriter | None = None,
) -> Diff:
    """Compare groups of a snapshot's records; see :class:`Diff`.

    ``named`` are properties that are asked about: all of them are told, found or not. ``encoder`` reads their
    descriptions. ``writer`` asks a language model what the findings mean.
    """
    groups = without_examples(groups, snapshot, named)
    design = design_of(snapshot, groups, options.unit, options.strata, options.length_bins, options.paired)
    evidence = [
        evidence_of(snapshot, groups.pooled, family, options.level, options.least, options.seed)
        for family in options.families
    ]
    if named:
        evidence.append(named_evidence(snapshot, groups.pooled, named, encoder))
    codes, count = groups.codes, len(groups.names)
    tests = {
        one.family: run_tests(one, codes, count, design, options.method, options.seed) for one in evidence
    }
    found = _told(snapshot, groups, design, tests, options)
    return found if writer is None else replace(found, hypotheses=writer.explain(found, snapshot, groups))


def _told(
    snapshot: Snapshot,
    groups: Groups,
    design: Design,
    tests: Mapping[Family, FamilyTest],
    options: DiffOptions,
) -> Diff:
    """Return what the tests found, whether it holds, what shows it, and what could have been found."""
    confirmations, held = confirmed(groups, design, tests, options)
    findings: dict[Family, tuple[Finding, ...]] = {}
    for family, test in tests.items():
        alpha = 1.0 if family == "named" else options.alpha
        rows = headlines(findings_of(groups.names, test, alpha, held.get(family, {})), snapshot.space)
        findings[family] = illustrated(snapshot, groups, test.evidence, rows, options.examples)
    return Diff(
        groups=groups.sizes,
        alpha=options.alpha,
        method=method_of(design, len(groups.names), options),
        level=options.level,
        tested={family: len(test) for family, test in tests.items()},
        findings=findings,
        hints=hints_of(groups.sizes, tests, options),
        power=tuple(one for test in tests.values() for one in power_of(test, groups.sizes, options)),
        confirmation=confirmations,
        changes=changes_of(groups, design, tests, options),
        strata=design.by,
        unit=design.unit,
        pairs=next((test.pairs for test in tests.values() if test.pairs is not None), None),
        notes=(*groups.notes, *design.notes, *overlap_of(groups, design)),
        field=snapshot.field,
    )


def findings_of(
    names: Sequence[str], test: FamilyTest, alpha: float, replicated: Mapping[int | str, bool]
) -> list[Finding]:
    """Return a family's findings, the largest difference first."""
    found, compared = [], test.comparison
    for place in test.found(alpha).tolist():
        column, t = int(compared.column[place]), compared.tested
        first, second = names[compared.group[place]], names[compared.against[place]]
        if t.effect[place] < 0:
            first, second = second, first
        key = test.evidence.keys[column]
        found.append(
            Finding(
                family=test.evidence.family,
                key=key,
                label=test.evidence.labels[column],
                group=first,
                against=second,
                freq={name: float(test.shares[g, column]) for g, name in enumerate(names)},
                effect=float(t.effect[place]),
                ci=(float(t.low[place]), float(t.high[place])),
                log_odds=float(t.log_odds[place]),
                log_odds_ci=(float(t.log_odds_low[place]), float(t.log_odds_high[place])),
                p=float(t.p[place]),
                q=float(test.q[place]),
                support=int(test.support[column]),
                design_effect=float(test.design[column]),
                replicated=replicated.get(key),
            )
        )
    return found


def power_of(test: FamilyTest, sizes: Mapping[str, int], options: DiffOptions) -> list[Detectable]:
    """Return what the family's tests could have found, at the mean design effect; of two groups only."""
    if len(sizes) != 2 or not len(test):
        return []
    effect = float(np.mean(test.design))
    n1, n2 = (size / effect for size in sizes.values())
    threshold = test.threshold(options.alpha)
    return [Detectable(test.evidence.family, base, detectable(base, n1, n2, threshold)) for base in BASES]


def method_of(design: Design, n_groups: int, options: DiffOptions) -> str:
    """Say in words which test was used."""
    if design.is_paired:
        test = f"McNemar's test, mid-p, within {design.unit}"
    elif design.by:
        test = "Mantel-Haenszel test, small counts by mid-p"
    else:
        test = "Fisher's test, mid-p; large counts by χ²"
    if design.unit and not design.is_paired:
        test += f", counts divided by the design effect of {design.unit}"
    if n_groups > 2:
        test += "; each group against every other, the weakest counts"
    return f"{test}; {told_correction(options.method, options.alpha)}"


def overlap_of(groups: Groups, design: Design) -> list[str]:
    """Say how many records have nobody to be compared with."""
    if len(groups.names) != 2 or not design.by:
        return []
    in_first, in_second = (np.unique(design.strata[groups.codes == g]) for g in (0, 1))
    alone = ~np.isin(design.strata, np.intersect1d(in_first, in_second))
    if alone.mean() < 0.05:
        return []
    return [f"{alone.sum():,} of {len(alone):,} records say nothing: in their strata one group has no record"]
