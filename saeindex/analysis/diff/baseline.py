"""A window of records against a reference: its records, or its counts, which can be saved for later."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from pydantic import ValidationError

from saeindex.analysis.diff import findings
from saeindex.analysis.diff.results import REFERENCE, WINDOW, Alert, Finding, is_real
from saeindex.analysis.stats.design import LENGTH_BINS, binned, design_of, length_edges
from saeindex.analysis.stats.evidence import Evidence, evidence_of
from saeindex.analysis.stats.groups import Groups, disjoint
from saeindex.analysis.stats.options import AUTO, Family, MonitorOptions
from saeindex.analysis.stats.stratified import StratifiedCounts, compared, design_effects
from saeindex.analysis.stats.unit_totals import FamilyTest
from saeindex.errors import InvalidInputError, first_fault
from saeindex.files import replacing, writable
from saeindex.schema import adapter
from saeindex.types import LevelName

if TYPE_CHECKING:
    from saeindex.collection.snapshot import Snapshot
    from saeindex.types import Doubles, IntArray, Ints


FORMAT = 1
KEPT: tuple[Family, ...] = ("concepts", "words")
# The minimum number of units to estimate a design effect.
FEW_UNITS = 50


@dataclass(frozen=True, eq=False)
class Baseline:
    """Counts of ``records`` by evidence and bin of length: ``counts[family][key]`` (B,), of ``sizes`` (B,).

    ``edges`` (B - 1,) of the bins are words per record, ``design`` the design effects larger than 1;
    ``fingerprint`` is that of the feature space.
    """

    fingerprint: str
    field: str
    level: str
    unit: str | None
    edges: tuple[float, ...]
    sizes: tuple[int, ...]
    counts: dict[str, dict[str, list[int]]]
    design: dict[str, dict[str, float]]

    @property
    def records(self) -> int:
        """The number of counted records."""
        return sum(self.sizes)

    def to_json(self) -> dict[str, Any]:
        """Return plain JSON types."""
        return {"format": FORMAT} | {name: getattr(self, name) for name in self.__dataclass_fields__}

    def save(self, path: str | Path) -> None:
        """Write a JSON file, whole or not at all."""
        with replacing(writable(path)) as draft:
            draft.write_text(json.dumps(self.to_json(), ensure_ascii=False))

    @classmethod
    def load(cls, path: str | Path) -> Baseline:
        """Read a JSON file; InvalidInputError if it is not a baseline."""
        try:
            kept = json.loads(Path(path).read_text())
        except (OSError, ValueError) as error:
            raise _unreadable(str(path), error) from error
        return cls.from_json(kept, str(path))

    @classmethod
    def from_json(cls, given: Mapping[str, Any], name: str = "that was given") -> Baseline:
        """Return the baseline of :meth:`to_json`; InvalidInputError if it is not one."""
        try:
            found = dict(given)
            is_ours = found.pop("format") == FORMAT
            baseline: Baseline = adapter(cls).validate_python(found)
        except ValidationError as error:
            raise _unreadable(name, first_fault(error)) from None
        except (ValueError, KeyError, TypeError) as error:
            raise _unreadable(name, error) from error
        counted = [one for family in KEPT for one in baseline.counts.get(family, {"": ()}).values()]
        if not is_ours:
            raise InvalidInputError(f"the baseline {name}", "another format", "Save it again.")
        if {len(one) for one in (*counted, (*baseline.edges, 0))} != {len(baseline.sizes)}:
            raise _unreadable(name, "its counts do not fit its sizes")
        return baseline


def _unreadable(name: str, error: object) -> InvalidInputError:
    found, do = f"it cannot be read ({error})", "Save one with --save-baseline."
    return InvalidInputError(f"the baseline {name}", found, do)


def baseline_of(
    snapshot: Snapshot, rows: Ints, level: LevelName = "typical", unit: str | None = AUTO
) -> Baseline:
    """Count the concepts and words of a reference; InvalidInputError if there is no record in it.

    Terms of the collection are left out: there may be more of them later.
    """
    if not len(rows):
        raise InvalidInputError("the reference", "no record is in it", "Correct its condition.")
    snapshot = snapshot.without_terms()
    groups = Groups(("reference",), (rows,))
    units = design_of(snapshot, groups, unit, (), 0, paired=False)
    lengths = np.asarray(snapshot.lengths)[rows]
    edges = length_edges(lengths, LENGTH_BINS)
    bins = binned(lengths, edges)
    counts: dict[str, dict[str, list[int]]] = {}
    design: dict[str, dict[str, float]] = {}
    for family in KEPT:
        evidence = _with_any(snapshot, rows, family, level)
        own = _by_bin(evidence, bins, len(edges) + 1)
        effects = design_effects(evidence.has, groups.codes, units.units)
        keys = [str(key) for key in evidence.keys]
        counts[family] = {key: own[:, i].astype(int).tolist() for i, key in enumerate(keys)}
        design[family] = {key: round(float(effects[i]), 4) for i, key in enumerate(keys) if effects[i] > 1}
    sizes = tuple(np.bincount(bins, minlength=len(edges) + 1).tolist())
    return Baseline(
        fingerprint=snapshot.space.fingerprint,
        field=snapshot.field,
        level=level,
        unit=units.unit,
        edges=tuple(edges.tolist()),
        sizes=sizes,
        counts=counts,
        design=design,
    )


def against_baseline(snapshot: Snapshot, baseline: Baseline, window: Ints, options: MonitorOptions) -> Alert:
    """Compare a window with a baseline, within its bins of length; see ``monitor``."""
    _check(snapshot, baseline, options)
    snapshot = snapshot.without_terms()
    if not len(window):
        raise InvalidInputError("the window", "no record is in it", "Correct its condition.")
    design = design_of(snapshot, Groups((WINDOW,), (window,)), baseline.unit, (), 0, paired=False)
    changed: dict[Family, tuple[Finding, ...]] = {}
    tested: dict[Family, int] = {}
    for family in [one for one in KEPT if one in options.families]:
        test = _tested(snapshot, baseline, window, family, design.units, options)
        every = findings.findings_of((WINDOW, REFERENCE), test, options.spent, {})
        real = [one for one in every if is_real(one, options)]
        changed[family] = findings.headlines(real, snapshot.space, snapshot)
        tested[family] = len(test)
    lengths = binned(np.asarray(snapshot.lengths)[window], baseline.edges)
    units = FEW_UNITS if design.units is None else len(np.unique(design.units))
    note = f"the window has {units} units only: compare with records, not with a baseline"
    few = [note] if units < FEW_UNITS else []
    why = findings.nothing_tested(tested, options.min_support)
    if not np.array(baseline.sizes)[lengths].any():
        why, tested = "no record of the window is as long as one of the baseline", dict.fromkeys(tested, 0)
    return Alert(
        reference=baseline.records,
        window=len(window),
        options=options,
        tested=tested,
        changed=changed,
        method="Mantel-Haenszel test against a kept baseline, small counts by mid-p",
        strata=(f"length ({len(baseline.sizes)} bins)",),
        unit=design.unit,
        notes=(*design.notes, *few),
        field=snapshot.field,
        not_comparable=why,
    )


def _tested(
    snapshot: Snapshot,
    baseline: Baseline,
    window: Ints,
    family: Family,
    units: IntArray | None,
    options: MonitorOptions,
) -> FamilyTest:
    """Test a family between the window and the baseline, within its bins of length."""
    lengths = np.asarray(snapshot.lengths)[window]
    bins = binned(lengths, baseline.edges)
    n = np.stack([np.bincount(bins, minlength=len(baseline.sizes)), baseline.sizes], 1).astype(np.float64)
    evidence, k = _aligned(snapshot, window, bins, baseline, family)
    own = design_effects(evidence.has, np.zeros_like(bins), units)
    kept_effects = [baseline.design[family].get(str(key), 1.0) for key in evidence.keys]
    support = k.sum((0, 1))
    kept = np.flatnonzero((support >= options.min_support) & (support <= n.sum() - options.min_support))
    counts, effects = StratifiedCounts(k[:, :, kept], n), np.maximum(own, kept_effects)[kept]
    return FamilyTest.of(evidence.take(kept), counts, compared(counts, effects), effects, options.method)


def _check(snapshot: Snapshot, baseline: Baseline, options: MonitorOptions) -> None:
    found: dict[str, tuple[str | None, str | None]] = {
        "the feature space": (baseline.fingerprint[:12], snapshot.space.fingerprint[:12]),
        "the unit": (baseline.unit, baseline.unit if options.unit == AUTO else options.unit),
        "the text field": (baseline.field, snapshot.field),
        "the level": (baseline.level, options.level),
    }
    for what, (kept, own) in found.items():
        if kept != own:
            asked, do = f"a baseline of {what} {kept!r}", "Save the baseline again."
            raise InvalidInputError(asked, f"the window has {own!r}", do)
    if options.strata:
        found_strata = "a baseline has only lengths"
        raise InvalidInputError("strata against a baseline", found_strata, "Compare with records.")


def _with_any(snapshot: Snapshot, rows: Ints, family: Family, level: LevelName) -> Evidence:
    found = evidence_of(snapshot, rows, family, level, min_support=0)
    return found.take(np.flatnonzero(np.asarray(found.has.sum(0)).ravel()))


def _by_bin(evidence: Evidence, bins: IntArray, n_bins: int) -> Doubles:
    """Return the number of records of each bin that have each concept or word (B, f)."""
    counts = StratifiedCounts.of(evidence.has, np.zeros_like(bins), bins, 1).k[:, 0]
    return np.concatenate([counts, np.zeros((n_bins - len(counts), counts.shape[1]))])


def _aligned(
    snapshot: Snapshot, rows: Ints, bins: IntArray, baseline: Baseline, family: Family
) -> tuple[Evidence, Doubles]:
    """Return the evidence that the window or the baseline has, and its counts (B, 2, f)."""
    from scipy.sparse import csr_matrix, hstack

    evidence = _with_any(snapshot, rows, family, baseline.level)  # type: ignore[arg-type]
    own = {str(key) for key in evidence.keys}
    gone = [key for key in baseline.counts[family] if key not in own]
    keys = (*evidence.keys, *(int(key) if family == "concepts" else key for key in gone))
    names = snapshot.space.labels
    named = (names[int(key)].text if family == "concepts" else key for key in gone)
    labels = (*evidence.labels, *named)
    has = hstack([evidence.has, csr_matrix((len(rows), len(gone)), dtype=np.float32)], "csr")
    whole = Evidence(family, keys, labels, has)
    nothing = [0] * len(baseline.sizes)
    kept = np.array([baseline.counts[family].get(str(key), nothing) for key in keys], np.float64)
    return whole, np.stack([_by_bin(whole, bins, len(baseline.sizes)), kept.T], axis=1)


def monitor(
    snapshot: Snapshot, reference: Ints | Baseline, window: Ints, options: MonitorOptions = MonitorOptions()
) -> Alert:
    """Compare a window of records with a reference: rows or a saved baseline; see :class:`Alert`."""
    if isinstance(reference, Baseline):
        return against_baseline(snapshot, reference, window, options)
    asked = options.comparing()
    groups = disjoint({WINDOW: window, REFERENCE: reference})
    design = design_of(snapshot, groups, asked.unit, asked.strata, asked.length_bins, paired=False)
    changed, counts, why = findings.found_between(
        snapshot, groups, design, asked, lambda one: is_real(one, options)
    )
    return Alert(
        reference=groups.sizes[REFERENCE],
        window=groups.sizes[WINDOW],
        options=options,
        tested=counts,
        changed=changed,
        method=findings.method_of(design, 2, asked),
        strata=design.by,
        unit=design.unit,
        notes=(*groups.notes, *design.notes, *findings.overlap_of(groups, design)),
        field=snapshot.field,
        not_comparable=why,
    )
