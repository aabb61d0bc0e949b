"""False findings of a comparison: between random groups, and between groups made by a confounder."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from benchmarks.snapshots import labelled
from saeindex.analysis.stats.design import design_of
from saeindex.analysis.stats.evidence import Evidence, evidence_of
from saeindex.analysis.stats.groups import Groups
from saeindex.analysis.stats.options import FAMILIES, Family
from saeindex.analysis.stats.unit_totals import run_tests

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from saeindex.collection.snapshot import Snapshot

ALPHA, MIN_SUPPORT = 0.05, 5
CORPORA = ("goemotions", "stackoverflow_titles", "clinc150", "medquad", "arxiv_heldout")
# Corpora whose records are parts of documents, and the field of the document (of a speech, its year).
BY_DOCUMENT = {
    "masc_registers": "metadata.doc",
    "medquad": "metadata.focus",
    "us_speeches": "metadata.year",
}
FEW, MANY = 100, 2_000
# Share of the documents in the smaller of two unequal groups.
FEW_DOCUMENTS = 0.1
CLUSTERINGS = 5
# Confounders: for each corpus the fields whose values are assigned unequally, besides length.
CONFOUNDED: dict[str, tuple[str, ...]] = {
    "product_reviews": ("metadata.product",),
    "medquad": ("metadata.source",),
    "goemotions": (),
    "stackoverflow_titles": (),
    "sentence_polarity": (),
}


@dataclass(frozen=True, eq=False)
class Prepared:
    """A corpus with its evidence on all records; with clusterings of several seeds that runs use in turn."""

    snapshot: Snapshot
    evidence: dict[Family, list[Evidence]]

    @classmethod
    def of(cls, name: str) -> Prepared:
        """Read the test part of a corpus."""
        snapshot = labelled(name)
        all_rows = np.arange(len(snapshot))
        found = {
            family: [
                evidence_of(snapshot, all_rows, family, "typical", 1, seed)
                for seed in range(CLUSTERINGS if family == "clusters" else 1)
            ]
            for family in FAMILIES
        }
        return cls(snapshot, found)

    def on(self, rows: NDArray[np.int64], family: Family, run: int) -> Evidence:
        """Return a family's evidence on some records, as in a comparison of them."""
        choices = self.evidence[family]
        chosen = choices[run % len(choices)]
        has = chosen.has[rows]
        support = np.asarray(has.sum(0)).ravel()
        kept = Evidence(chosen.family, chosen.keys, chosen.labels, has)
        return kept.take(np.flatnonzero((support >= MIN_SUPPORT) & (support <= len(rows) - MIN_SUPPORT)))


def false_findings(
    prepared: Prepared, groups: Groups, run: int, unit: str | None, strata: Sequence[str], bins: int | None
) -> dict[Family, int]:
    """Return how many findings each family has."""
    design = design_of(prepared.snapshot, groups, unit, strata, bins, paired=False)
    found = {}
    for family in FAMILIES:
        evidence = prepared.on(groups.pooled, family, run)
        found[family] = len(run_tests(evidence, groups.codes, 2, design).found(ALPHA))
    return found


def splits(snapshot: Snapshot, runs: int, is_equal: bool, unit: str | None) -> Iterator[Groups]:
    """Yield random groups: halves, or a small and a large group; of whole units if there is a unit."""
    rng = np.random.default_rng(0)
    for _ in range(runs):
        if unit is None:
            order = rng.permutation(len(snapshot))
            half = len(order) // 2
            first, second = (half, half) if is_equal else (FEW, min(MANY, len(order) - FEW))
            yield pair(order[:first], order[first : first + second])
            continue
        codes = snapshot.column(unit).codes
        units = rng.permutation(int(codes.max()) + 1)
        count = len(units) // 2 if is_equal else max(3, round(len(units) * FEW_DOCUMENTS))
        inside = np.isin(codes, units[:count])
        yield pair(np.flatnonzero(inside), np.flatnonzero(~inside))


def pair(a: NDArray[np.int64], b: NDArray[np.int64]) -> Groups:
    """Return two groups."""
    return Groups(("a", "b"), (np.sort(a), np.sort(b)))


def equal_groups(runs: int, corpora: Sequence[str] = CORPORA) -> list[dict[str, Any]]:
    """Return for each corpus, family and size of groups the share of runs with any finding."""
    rows = []
    for name in corpora:
        prepared = Prepared.of(name)
        for is_equal in (True, False):
            rows += shares(name, prepared, runs, is_equal, None)
    return rows


def documents(runs: int, names: Sequence[str] = tuple(BY_DOCUMENT)) -> list[dict[str, Any]]:
    """Return the same for whole documents assigned at random."""
    rows = []
    for name in names:
        unit = BY_DOCUMENT[name]
        prepared = Prepared.of(name)
        for is_equal in (True, False):
            rows += shares(name, prepared, runs, is_equal, unit)
    return rows


def shares(
    name: str, prepared: Prepared, runs: int, is_equal: bool, unit: str | None
) -> list[dict[str, Any]]:
    """Return the share of runs with any finding, per family."""
    counts: dict[Family, list[int]] = {family: [] for family in FAMILIES}
    for run, groups in enumerate(splits(prepared.snapshot, runs, is_equal, unit)):
        for family, count in false_findings(prepared, groups, run, unit, (), None).items():
            counts[family].append(count)
    return [
        {
            "corpus": name,
            "groups": "equal" if is_equal else "unequal",
            "unit": unit or "",
            "family": family,
            "runs": runs,
            "runs_with_finding": float(np.mean([count > 0 for count in found])),
            "findings_per_run": float(np.mean(found)),
        }
        for family, found in counts.items()
    ]


def confounded(runs: int, names: Sequence[str] = tuple(CONFOUNDED)) -> list[dict[str, Any]]:
    """Return false findings per run between groups that differ in a confounder only, with and without strata.

    The probability of the first group grows with length, or differs by value of the field.
    """
    rows = []
    for name in names:
        fields = CONFOUNDED[name]
        prepared = Prepared.of(name)
        cases: list[tuple[str, tuple[str, ...], bool]] = [("length", (), True)]
        cases += [(field.removeprefix("metadata."), (field,), False) for field in fields]
        cases += [("length and " + fields[0].removeprefix("metadata."), fields, True)] if fields else []
        for label, strata, by_length in cases:
            rows.append({"corpus": name, "confounder": label, "runs": runs}
                        | _confounded(prepared, runs, strata, by_length))  # fmt: skip
    return rows


def _confounded(prepared: Prepared, runs: int, strata: tuple[str, ...], by_length: bool) -> dict[str, Any]:
    rng = np.random.default_rng(1)
    plain: dict[Family, list[int]] = {family: [] for family in FAMILIES}
    stratified: dict[Family, list[int]] = {family: [] for family in FAMILIES}
    for run in range(runs):
        probability = probabilities(prepared.snapshot, strata, by_length, rng)
        inside = rng.random(len(probability)) < probability
        groups = pair(np.flatnonzero(inside), np.flatnonzero(~inside))
        for found, options in ((plain, ((), 0)), (stratified, (strata, 10 if by_length else 0))):
            for family, count in false_findings(prepared, groups, run, None, *options).items():
                found[family].append(count)
    return {
        **{f"unstratified_{family}": float(np.mean(counts)) for family, counts in plain.items()},
        **{f"stratified_{family}": float(np.mean(counts)) for family, counts in stratified.items()},
    }


def probabilities(
    snapshot: Snapshot, strata: tuple[str, ...], by_length: bool, rng: np.random.Generator
) -> NDArray[np.float64]:
    """Return each record's probability of the first group: .2 to .8 by rank of its length, and by value."""
    logit = np.zeros(len(snapshot))
    if by_length:
        ranks = np.argsort(np.argsort(snapshot.lengths, kind="stable"), kind="stable") / len(snapshot)
        logit += 2.8 * (ranks - 0.5)
    for field in strata:
        column = snapshot.column(field)
        logit += rng.normal(0, 1.0, len(column.values) + 1)[column.codes]
    probability: NDArray[np.float64] = 1 / (1 + np.exp(-logit))
    return probability
