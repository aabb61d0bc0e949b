"""Differences between groups of records: tests with a controlled error rate for each family of evidence."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from saeindex.analysis.diff.findings import (
    changes_of,
    compared_sizes,
    confirmed,
    findings_of,
    headlines,
    hints_of,
    illustrated,
    method_of,
    nothing_tested,
    overlap_of,
    power_of,
    small_groups,
)
from saeindex.analysis.diff.results import Diff, Finding
from saeindex.analysis.stats.design import design_of
from saeindex.analysis.stats.evidence import Evidence, evidence_of
from saeindex.analysis.stats.groups import Groups
from saeindex.analysis.stats.options import DiffOptions, Family
from saeindex.analysis.stats.stratified import StratifiedCounts
from saeindex.analysis.stats.unit_totals import merged_tests, run_any, run_counted, run_tests
from saeindex.collection.records import EngineCounts, apart
from saeindex.concepts.named_concept import ConceptReader
from saeindex.errors import InvalidInputError, MismatchError
from saeindex.types import shown_label

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from qdrant_client.models import Filter
    from scipy.sparse import csr_matrix

    from saeindex.analysis.diff.hypotheses import HypothesisWriter
    from saeindex.analysis.stats.design import Design
    from saeindex.analysis.stats.unit_totals import FamilyTest
    from saeindex.collection.snapshot import Snapshot
    from saeindex.concepts.named_concept import NamedConcept
    from saeindex.features import FeatureSpace
    from saeindex.protocols import TextEncoder

# Of the records that are compared, how many are taken to have a property whose share nobody knows: a rare
# property that one group has shows in the tail of the scores long before it moves their mean.
TAIL = 0.05
MARKS = ("a:", "b:")


def diff(
    snapshot: Snapshot,
    groups: Groups,
    options: DiffOptions = DiffOptions(),
    named: Sequence[NamedConcept] = (),
    encoder: TextEncoder | None = None,
    writer: HypothesisWriter | None = None,
) -> Diff:
    """Compare groups of a snapshot's records; see :class:`Diff`.

    ``named`` are properties that are asked about: all are reported, found or not. ``encoder`` reads their
    descriptions. ``writer`` asks a language model what the findings mean.
    """
    groups = without_examples(groups, snapshot, named)
    design = design_of(snapshot, groups, options.unit, options.strata, options.length_bins, options.paired)
    families: list[Family] = [*options.families, *(["named"] if named else [])]  # type: ignore[list-item]
    why, codes, count = design.not_comparable(groups), groups.codes, len(groups.names)
    tests: dict[Family, FamilyTest] = {}
    for family in [] if why else families:
        own = (
            named_evidence(snapshot, groups.pooled, named, encoder)
            if family == "named"
            else evidence_of(
                snapshot, groups.pooled, family, options.level, options.min_support, options.seed
            )
        )
        tests[family] = run_tests(own, codes, count, design, options.method)
    why = why or nothing_tested({family: len(test) for family, test in tests.items()}, options.min_support)
    found = _with_findings(snapshot, groups, design, tests, options)
    tested = dict.fromkeys(families, 0) | {family: len(test) for family, test in tests.items()}
    found = replace(found, tested=tested, not_comparable=why)
    return found if writer is None else replace(found, hypotheses=writer.explain(found, snapshot, groups))


def _with_findings(
    snapshot: Snapshot,
    groups: Groups,
    design: Design,
    tests: Mapping[Family, FamilyTest],
    options: DiffOptions,
) -> Diff:
    """Return the findings of the tests, with confirmation, examples and power."""
    confirmations, replicated = confirmed(groups, design, tests, options)
    findings: dict[Family, tuple[Finding, ...]] = dict.fromkeys(options.families, ())
    several: dict[Family, tuple[Finding, ...]] = {}
    sizes = compared_sizes(groups, design)
    for family, test in tests.items():
        alpha = 1.0 if family == "named" else options.alpha
        if len(groups.names) > 2:
            any_ = run_any(test.evidence, groups.codes, len(groups.names), design, options.method)
            several[family] = headlines(findings_of(groups.names, any_, alpha, {}), snapshot.space, snapshot)
        own = findings_of(groups.names, test, alpha, replicated.get(family, {}))
        rows = headlines(own, snapshot.space, snapshot)
        findings[family] = illustrated(snapshot, groups, test.evidence, rows, options.examples)
    return Diff(
        groups=groups.sizes,
        alpha=options.alpha,
        method=method_of(design, len(groups.names), options),
        level=options.level,
        tested={},
        findings=findings,
        any_difference=several,
        hints=hints_of(groups.sizes, tests, options),
        power=tuple(one for test in tests.values() for one in power_of(test, sizes, options)),
        confirmation=confirmations,
        changes=changes_of(groups, design, tests, options),
        strata=design.by,
        unit=design.unit,
        pairs=next((test.pairs for test in tests.values() if test.pairs is not None), None),
        units=next((dict(zip(groups.names, test.units or (), strict=False)) for test in tests.values()), {}),
        notes=(*groups.notes, *design.notes, *small_groups(groups.sizes), *overlap_of(groups, design)),
        field=snapshot.field,
    )


def is_countable(options: DiffOptions) -> bool:
    """Return whether counts are enough for a comparison: concepts only, no unit, strata or halves."""
    is_plain = options.unit is None and not options.strata and options.length_bins == 0
    return is_plain and tuple(options.families) == ("concepts",) and not options.confirm


def counted_diff(
    engine: EngineCounts, space: FeatureSpace, conditions: dict[str, Filter], options: DiffOptions
) -> Diff:
    """Compare groups by two requests for each; findings have no examples."""
    from saeindex.analysis.stats.design import Design

    counted = {name: engine.frequencies(own, options.level) for name, own in apart(conditions).items()}
    for name, (size, _) in counted.items():
        if not size:
            raise InvalidInputError(
                f"the group {name!r}", "no record is in it alone", "Correct its condition."
            )
    sizes = {name: size for name, (size, _) in counted.items()}
    k = np.stack([counts for _, counts in counted.values()]).astype(np.float64)
    support, total = k.sum(0), sum(sizes.values())
    is_kept = (support >= options.min_support) & (support <= total - options.min_support)
    kept = np.flatnonzero(is_kept & (space.is_named | options.unnamed))
    counts = StratifiedCounts(k[None][:, :, kept], np.array([list(sizes.values())], np.float64))
    labels = [space.labels[i] for i in kept.tolist()]
    shown = tuple(shown_label(label.text, label.is_weak) for label in labels)
    evidence = Evidence("concepts", tuple(kept.tolist()), shown, _nothing(len(kept)))
    test = run_counted(evidence, counts, options.method)
    several: dict[Family, tuple[Finding, ...]] = {}
    if len(sizes) > 2:
        each = [run_counted(evidence, counts.against_others(g), options.method) for g in range(len(sizes))]
        any_ = findings_of(tuple(sizes), merged_tests(each, counts, options.method), options.alpha, {})
        several["concepts"] = headlines(any_, space)
    design = Design(np.zeros(0, np.int32))
    return Diff(
        not_comparable=nothing_tested({"concepts": len(test)}, options.min_support),
        groups=sizes,
        alpha=options.alpha,
        method=method_of(design, len(sizes), options),
        level=options.level,
        tested={"concepts": len(test)},
        findings={"concepts": headlines(findings_of(tuple(sizes), test, options.alpha, {}), space)},
        any_difference=several,
        hints=hints_of(sizes, {"concepts": test}, options),
        power=tuple(power_of(test, sizes, options)),
        notes=("records are taken as independent, and texts as equally long",),
        counted_by=f"facets ({2 * len(sizes)} requests)",
        field=engine.field,
    )


def _nothing(width: int) -> csr_matrix:
    from scipy.sparse import csr_matrix

    return csr_matrix((0, width), dtype=np.float32)


def named_evidence(
    snapshot: Snapshot, rows: NDArray[np.int64], concepts: Sequence[NamedConcept], encoder: TextEncoder | None
) -> Evidence:
    """Return which records have each named concept: exactly, or the share of records that fit it best."""
    from scipy.sparse import csr_matrix

    reader = ConceptReader(snapshot, encoder)
    columns = [_having(reader, concept, rows) for concept in concepts]
    names = tuple(concept.name for concept in concepts)
    has = csr_matrix(np.stack(columns, axis=1).astype(np.float32))
    return Evidence("named", names, names, has)


def without_examples(groups: Groups, snapshot: Snapshot, concepts: Sequence[NamedConcept]) -> Groups:
    """Return groups without the example records, which fit the concept trivially."""
    given = [one for concept in concepts for one in (*concept.like, *concept.unlike)]
    if not given:
        return groups
    shown = snapshot.rows_of(given)
    kept = tuple(rows[~np.isin(rows, shown)] for rows in groups.rows)
    if empty := [name for name, rows in zip(groups.names, kept, strict=True) if not len(rows)]:
        found = "all of its records are examples of named properties, and count in no group"
        raise InvalidInputError(f"the group {empty[0]!r}", found, "Give fewer examples, or other records.")
    note = f"{len(set(given)):,} records are examples of named properties, and count in no group"
    return replace(groups, rows=kept, notes=(*groups.notes, note))


def _having(reader: ConceptReader, concept: NamedConcept, rows: NDArray[np.int64]) -> NDArray[np.bool_]:
    if concept.metadata is not None or concept.features:
        exact: NDArray[np.bool_] = reader.membership(concept).weights[rows] > 0
        return exact
    scores = reader.scores(concept)[rows]
    count = max(1, round((concept.share or TAIL) * len(rows)))
    among: NDArray[np.bool_] = scores >= np.partition(scores, len(scores) - count)[len(scores) - count]
    return among


def joined(first: Snapshot, second: Snapshot) -> tuple[Snapshot, Groups]:
    """Return both snapshots as one, and each as a group; MismatchError if their spaces differ.

    The records' ids get the name of their group before them: both indexes may have the same ids. They are
    compared without the terms of either collection.
    """
    from scipy.sparse import vstack

    first, second = first.without_terms(), second.without_terms()
    ours, theirs = (one.space.fingerprint for one in (first, second))
    if ours != theirs:
        raise MismatchError(
            "a comparison of two indexes",
            f"they were built with different feature spaces or levels ({ours[:12]} and {theirs[:12]})",
            "Index both with one space, and calibrate neither or both alike.",
        )
    place = {word: column for column, word in enumerate(first.vocabulary)}
    for word in second.vocabulary:
        place.setdefault(word, len(place))
    moved = np.array([place[word] for word in second.vocabulary], np.int64)
    words = [_widened(first.words, None, len(place)), _widened(second.words, moved, len(place))]
    both = replace(
        first,
        ids=tuple(mark + one for mark, each in zip(MARKS, (first, second), strict=True) for one in each.ids),
        vectors=np.concatenate([first.vectors, second.vectors]),
        activations=vstack([first.activations, second.activations], "csr"),
        reached=vstack([first.reached, second.reached], "csr"),
        words=vstack(words, "csr"),
        vocabulary=tuple(place),
        lengths=np.concatenate([first.lengths, second.lengths]),
        metadata=[*first.metadata, *second.metadata],
        documents=[
            None if one is None else mark + one
            for mark, each in zip(MARKS, (first, second), strict=True)
            for one in each.documents
        ],
        read_texts=partial(_texts, (first, second)),
        _levels={},
        _columns={},
    )
    end = len(first)
    return both, Groups(("a", "b"), (np.arange(end), np.arange(end, end + len(second))))


def _texts(snapshots: tuple[Snapshot, Snapshot], wanted: Sequence[str]) -> list[str]:
    """Return the texts of records, by their marked ids, from the index of each."""
    found: dict[str, str] = {}
    for mark, each in zip(MARKS, snapshots, strict=True):
        own = [one for one in wanted if one.startswith(mark)]
        found |= dict(zip(own, each.read_texts([one[len(mark) :] for one in own]), strict=True))
    return [found[one] for one in wanted]


def _widened(
    words: csr_matrix, moved: np.ndarray[tuple[int, ...], np.dtype[np.int64]] | None, width: int
) -> csr_matrix:
    from scipy.sparse import csr_matrix

    indices = words.indices if moved is None else moved[words.indices]
    return csr_matrix((words.data, indices, words.indptr), shape=(words.shape[0], width))
