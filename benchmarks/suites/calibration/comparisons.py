"""Null runs of a comparison: records, or whole units, are assigned to groups at random.

A run makes the calls of ``diff`` from the design on; the evidence is counted once for all runs of a corpus.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, TypeAlias

import numpy as np

from benchmarks.data import properties
from benchmarks.snapshots import encoder
from benchmarks.suites.calibration.cells import ALPHA, Regime, Trial
from benchmarks.suites.calibration.populations import PROMPT, PROMPTED, population
from benchmarks.suites.diff.calibration import Prepared, pair
from saeindex.analysis.diff.diff import named_evidence
from saeindex.analysis.stats.design import Design, design_of
from saeindex.analysis.stats.groups import Groups
from saeindex.analysis.stats.options import AUTO, FAMILIES
from saeindex.analysis.stats.unit_totals import FamilyTest, run_any, run_tests
from saeindex.concepts.named_concept import NamedConcept

if TYPE_CHECKING:
    from saeindex.collection.snapshot import Snapshot

Assign: TypeAlias = Callable[["Snapshot", np.random.Generator], Groups]
# A corpus, or its first units: of a field, so many.
Source: TypeAlias = tuple[str] | tuple[str, str, int]
NAMED = 10
DOCUMENTS: Source = ("masc_registers", "metadata.doc", 30)
PROMPTS: Source = (PROMPTED, PROMPT, 30)
TOPIC = "metadata.focus"


def regimes() -> list[Regime]:
    """Return the regimes of comparisons: of records, within strata, and of units."""
    return [
        Regime("aa_diff", "halves of 4,000, goemotions", compared(("goemotions",), sized(2_000, 2_000))),
        Regime("aa_diff", "halves of 4,000, clinc150", compared(("clinc150",), sized(2_000, 2_000))),
        Regime("aa_diff", "200 against 2,000, stackoverflow_titles",
               compared(("stackoverflow_titles",), sized(200, 2_000))),
        Regime("aa_diff", "30 against 300, goemotions", compared(("goemotions",), sized(30, 300))),
        Regime("aa_diff", "three groups of 1,000, clinc150",
               compared(("clinc150",), sized(1_000, 1_000, 1_000))),
        Regime("aa_diff", "any difference, three groups of 1,000, clinc150",
               compared(("clinc150",), sized(1_000, 1_000, 1_000), test=run_any)),
        Regime("aa_diff", "any difference, groups of 30, 300 and 2,000, goemotions",
               compared(("goemotions",), sized(30, 300, 2_000), test=run_any)),
        Regime("aa_diff", "ten described properties, 200 against 2,000, goemotions",
               described("goemotions", sized(200, 2_000))),
        Regime("aa_diff_1_to_100", "100 against 10,000, three corpora",
               compared(("pooled",), sized(100, 10_000))),
        Regime("aa_diff_1_to_100", "30 against 3,000, clinc150", compared(("clinc150",), sized(30, 3_000))),
        Regime("aa_strata", "by length in ten bins, goemotions", stratified("goemotions", (), 10)),
        Regime("aa_strata", "by tag, stackoverflow_titles",
               stratified("stackoverflow_titles", ("metadata.tag",), 0)),
        Regime("aa_strata", "by 150 intents, clinc150", stratified("clinc150", ("metadata.intent",), 0)),
        Regime("aa_strata", "by domain and length in five bins, clinc150",
               stratified("clinc150", ("metadata.domain",), 5)),
        Regime("aa_by_unit", "halves of 30 documents, masc_registers",
               compared(DOCUMENTS, whole("metadata.doc", 15))),
        Regime("aa_by_unit", "5 against 25 documents, masc_registers",
               compared(DOCUMENTS, whole("metadata.doc", 5))),
        Regime("aa_by_unit", "any difference, three groups of 10 documents, masc_registers",
               compared(DOCUMENTS, thirds("metadata.doc"), test=run_any)),
        Regime("aa_by_unit", "halves of 30 prompts of 14 responses, alpaca_eval",
               compared(PROMPTS, whole(PROMPT, 15))),
        Regime("aa_by_unit", "halves of 2,806 topics, medquad",
               compared(("medquad",), whole(TOPIC, 1_403), TOPIC)),
        Regime("aa_by_unit", "280 against 2,526 topics, medquad",
               compared(("medquad",), whole(TOPIC, 280), TOPIC)),
        Regime("aa_by_unit", "halves of the responses to each prompt, alpaca_eval",
               compared((PROMPTED,), within(PROMPT))),
    ]  # fmt: skip


def sized(*sizes: int) -> Assign:
    """Return the assignment of records to groups of these sizes."""
    ends = np.cumsum(sizes)

    def assign(snapshot: Snapshot, rng: np.random.Generator) -> Groups:
        order = rng.permutation(len(snapshot))
        rows = tuple(np.sort(order[end - size : end]) for size, end in zip(sizes, ends, strict=True))
        return Groups(tuple("abc"[: len(sizes)]), rows)

    return assign


def whole(unit: str, count: int) -> Assign:
    """Return the assignment of so many whole units to the first group, and of the others to the second."""

    def assign(snapshot: Snapshot, rng: np.random.Generator) -> Groups:
        codes = snapshot.column(unit).codes
        inside = np.isin(codes, rng.permutation(np.unique(codes))[:count])
        return pair(np.flatnonzero(inside), np.flatnonzero(~inside))

    return assign


def thirds(unit: str) -> Assign:
    """Return the assignment of whole units to three groups."""

    def assign(snapshot: Snapshot, rng: np.random.Generator) -> Groups:
        codes = snapshot.column(unit).codes
        group = rng.permutation(int(codes.max()) + 1)[codes] % 3
        return Groups(("a", "b", "c"), tuple(np.flatnonzero((codes >= 0) & (group == g)) for g in range(3)))

    return assign


def within(unit: str) -> Assign:
    """Return the assignment of half of the records of each unit to each group."""

    def assign(snapshot: Snapshot, rng: np.random.Generator) -> Groups:
        codes = snapshot.column(unit).codes
        order = np.lexsort((rng.random(len(codes)), codes))
        inside = np.zeros(len(codes), bool)
        inside[order[::2]] = True
        return pair(np.flatnonzero(inside), np.flatnonzero(~inside))

    return assign


def compared(
    source: Source, assign: Assign, unit: str | None = AUTO, test: Callable[..., FamilyTest] = run_tests
) -> Callable[[], Trial]:
    """Return null runs of a comparison with the default options, or with a unit, or by another test."""

    def opened() -> Trial:
        prepared = population(*source)

        def trial(run: int, rng: np.random.Generator) -> Mapping[str, int]:
            groups = assign(prepared.snapshot, rng)
            return found(prepared, groups, design_of(prepared.snapshot, groups, unit), run, test)

        return trial

    return opened


def found(
    prepared: Prepared,
    groups: Groups,
    design: Design,
    run: int,
    test: Callable[..., FamilyTest] = run_tests,
) -> Mapping[str, int]:
    """Return how many findings each family has."""
    codes, count = groups.codes, len(groups.names)
    return {
        family: len(test(prepared.on(groups.pooled, family, run), codes, count, design).found(ALPHA))
        for family in FAMILIES
    }


def stratified(name: str, strata: tuple[str, ...], bins: int) -> Callable[[], Trial]:
    """Return null runs in which each stratum has a probability of the first group of its own."""

    def opened() -> Trial:
        prepared = population(name)
        rows = np.arange(len(prepared.snapshot))
        strata_of = design_of(
            prepared.snapshot, pair(rows, rows[:0]), None, strata, bins, paired=False
        ).strata

        def trial(run: int, rng: np.random.Generator) -> Mapping[str, int]:
            chance = 1 / (1 + np.exp(-rng.normal(0, 1.0, int(strata_of.max()) + 1)))
            inside = rng.random(len(rows)) < chance[strata_of]
            groups = pair(np.flatnonzero(inside), np.flatnonzero(~inside))
            design = design_of(prepared.snapshot, groups, None, strata, bins)
            return found(prepared, groups, design, run)

        return trial

    return opened


def described(name: str, assign: Assign) -> Callable[[], Trial]:
    """Return null runs of a comparison of named properties, given by their descriptions.

    Which records have a property is decided once, on all records, not on the compared ones.
    """

    def opened() -> Trial:
        prepared = population(name)
        concepts = [NamedConcept(one["query"], one["query"]) for one in properties()[name][:NAMED]]
        rows = np.arange(len(prepared.snapshot))
        evidence = named_evidence(prepared.snapshot, rows, concepts, encoder())
        by_name = Prepared(prepared.snapshot, {"named": [evidence]})

        def trial(run: int, rng: np.random.Generator) -> Mapping[str, int]:
            groups = assign(prepared.snapshot, rng)
            design = design_of(prepared.snapshot, groups)
            test = run_tests(by_name.on(groups.pooled, "named", run), groups.codes, 2, design)
            return {"named": len(test.found(ALPHA))}

        return trial

    return opened
