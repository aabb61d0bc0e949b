"""Differences between groups of records: tests with a controlled error rate for each family of evidence."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

import numpy as np
from scipy.sparse import csr_matrix, vstack

from saeindex.analysis.diff import findings
from saeindex.analysis.diff.results import Detectable, Diff, Finding
from saeindex.analysis.stats.design import Design, design_of
from saeindex.analysis.stats.evidence import Evidence, evidence_of
from saeindex.analysis.stats.groups import Groups
from saeindex.analysis.stats.options import DiffOptions, Family
from saeindex.analysis.stats.stratified import StratifiedCounts
from saeindex.analysis.stats.unit_totals import FamilyTest, merged_tests, run_any, run_counted, run_tests
from saeindex.collection.records import EngineCounts, apart
from saeindex.concepts.named_concept import ConceptReader, NamedConcept
from saeindex.errors import InvalidInputError, MismatchError
from saeindex.types import shown_label

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from qdrant_client.models import Filter

    from saeindex.analysis.diff.findings import Held
    from saeindex.analysis.diff.hypotheses import HypothesisWriter
    from saeindex.collection.snapshot import Snapshot
    from saeindex.features import FeatureSpace
    from saeindex.protocols import TextEncoder
    from saeindex.types import Ints

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
        if family == "named":
            own = named_evidence(snapshot, groups.pooled, named, encoder)
        else:
            asked = family, options.level, options.min_support, options.seed
            own = evidence_of(snapshot, groups.pooled, *asked)
        tests[family] = run_tests(own, codes, count, design, options.method)
    several = {
        family: run_any(test.evidence, codes, count, design, options.method)
        for family, test in tests.items()
        if count > 2
    }
    confirmations, replicated = findings.confirmed(groups, design, tests, options)
    found = _found(groups.sizes, tests, several, design, options, snapshot.space, snapshot, replicated)
    one_test = next(iter(tests.values()), None)
    found = replace(
        found,
        tested=dict.fromkeys(families, 0) | dict(found.tested),
        not_comparable=why or found.not_comparable,
        findings={
            family: findings.illustrated(snapshot, groups, tests[family].evidence, rows, options.examples)
            if family in tests
            else rows
            for family, rows in found.findings.items()
        },
        power=_power(tests, findings.compared_sizes(groups, design), options),
        confirmation=confirmations,
        changes=findings.changes_of(groups, design, tests, options),
        strata=design.by,
        unit=design.unit,
        pairs=None if one_test is None else one_test.pairs,
        units={} if one_test is None else dict(zip(groups.names, one_test.units or (), strict=False)),
        notes=(
            *groups.notes,
            *design.notes,
            *findings.small_groups(groups.sizes),
            *findings.overlap_of(groups, design),
        ),
        field=snapshot.field,
    )
    return found if writer is None else replace(found, hypotheses=writer.explain(found, snapshot, groups))


def _found(
    sizes: Mapping[str, int],
    tests: Mapping[Family, FamilyTest],
    several: Mapping[Family, FamilyTest],
    design: Design,
    options: DiffOptions,
    space: FeatureSpace,
    snapshot: Snapshot | None = None,
    replicated: Held | None = None,
) -> Diff:
    """Return what tests find, and those of ``several`` groups for any difference."""

    def rows(family: Family, test: FamilyTest, held: Mapping[int | str, bool]) -> tuple[Finding, ...]:
        alpha = 1.0 if family == "named" else options.alpha
        return findings.headlines(findings.findings_of(tuple(sizes), test, alpha, held), space, snapshot)

    found = {family: rows(family, test, (replicated or {}).get(family, {})) for family, test in tests.items()}
    tested = {family: len(test) for family, test in tests.items()}
    return Diff(
        groups=sizes,
        alpha=options.alpha,
        method=findings.method_of(design, len(sizes), options),
        level=options.level,
        tested=tested,
        findings=dict.fromkeys(options.families, ()) | found,
        any_difference={family: rows(family, test, {}) for family, test in several.items()},
        hints=findings.hints_of(sizes, tests, options),
        not_comparable=findings.nothing_tested(tested, options.min_support),
    )


def _power(
    tests: Mapping[Family, FamilyTest], sizes: Mapping[str, int], options: DiffOptions
) -> tuple[Detectable, ...]:
    return tuple(one for test in tests.values() for one in findings.power_of(test, sizes, options))


def is_countable(options: DiffOptions) -> bool:
    """Return whether counts are enough for a comparison: concepts only, no unit, strata or halves."""
    is_plain = options.unit is None and not options.strata and options.length_bins == 0
    return is_plain and tuple(options.families) == ("concepts",) and not options.confirm


def counted_diff(
    engine: EngineCounts, space: FeatureSpace, conditions: dict[str, Filter], options: DiffOptions
) -> Diff:
    """Compare groups by two requests for each; findings have no examples."""
    counted = {name: engine.frequencies(own, options.level) for name, own in apart(conditions).items()}
    sizes = {name: size for name, (size, _) in counted.items()}
    for name, size in sizes.items():
        if not size:
            do = "Correct its condition."
            raise InvalidInputError(f"the group {name!r}", "no record is in it alone", do)
    k = np.stack([counts for _, counts in counted.values()]).astype(np.float64)
    support, total = k.sum(0), sum(sizes.values())
    is_kept = (support >= options.min_support) & (support <= total - options.min_support)
    kept = np.flatnonzero(is_kept & (space.is_named | options.unnamed))
    counts = StratifiedCounts(k[None][:, :, kept], np.array([list(sizes.values())], np.float64))
    labels = [space.labels[i] for i in kept.tolist()]
    shown = tuple(shown_label(label.text, label.is_weak) for label in labels)
    evidence = Evidence("concepts", tuple(kept.tolist()), shown, csr_matrix((0, len(kept))))
    tests: dict[Family, FamilyTest] = {"concepts": run_counted(evidence, counts, options.method)}
    several: dict[Family, FamilyTest] = {}
    if len(sizes) > 2:
        each = [run_counted(evidence, counts.against_others(g), options.method) for g in range(len(sizes))]
        several["concepts"] = merged_tests(each, counts, options.method)
    return replace(
        _found(sizes, tests, several, Design(np.zeros(0, np.int32)), options, space),
        power=_power(tests, sizes, options),
        notes=("records are taken as independent, and texts as equally long",),
        counted_by=f"facets ({2 * len(sizes)} requests)",
        field=engine.field,
    )


def named_evidence(
    snapshot: Snapshot, rows: Ints, concepts: Sequence[NamedConcept], encoder: TextEncoder | None
) -> Evidence:
    """Return which records have each named concept: exactly, or the share of records that fit it best."""
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


def _having(reader: ConceptReader, concept: NamedConcept, rows: Ints) -> NDArray[np.bool_]:
    if concept.metadata is not None or concept.features:
        return reader.membership(concept).weights[rows] > 0
    scores = reader.scores(concept)[rows]
    count = max(1, round((concept.share or TAIL) * len(rows)))
    return np.asarray(scores >= np.partition(scores, len(scores) - count)[len(scores) - count])


def joined(first: Snapshot, second: Snapshot) -> tuple[Snapshot, Groups]:
    """Return both snapshots as one, and each as a group; MismatchError if their spaces differ.

    The records' ids get the name of their group before them: both indexes may have the same ids. They are
    compared without the terms of either collection.
    """
    first, second = first.without_terms(), second.without_terms()
    ours, theirs = (one.space.fingerprint for one in (first, second))
    if ours != theirs:
        asked = "a comparison of two indexes"
        found = f"they were built with different feature spaces or levels ({ours[:12]} and {theirs[:12]})"
        raise MismatchError(asked, found, "Index both with one space, and calibrate neither or both alike.")
    place = {word: column for column, word in enumerate(first.vocabulary)}
    for word in second.vocabulary:
        place.setdefault(word, len(place))
    words = []
    for one in (first, second):
        moved = np.array([place[word] for word in one.vocabulary], np.int64)[one.words.indices]
        words.append(csr_matrix((one.words.data, moved, one.words.indptr), shape=(len(one), len(place))))
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
