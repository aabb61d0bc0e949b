"""Concepts that occur together more often than by chance, or less often: all pairs of features.

Within a text field, or across two fields of the same records (what is asked × how it is answered). The
package :mod:`saeindex.analysis.correlate` has the tests, and what is left out.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from saeindex.analysis.correlate import results
from saeindex.analysis.correlate.pair_tests import PairTables, aligned_rows, corrected, count_pairs, units_of
from saeindex.analysis.correlate.results import ConceptPair, Correlations, PairedConcept
from saeindex.analysis.correlate.trivial import REASONS, Distinct, KnownTrivial, SeenTrivial, rows_with
from saeindex.analysis.examples import beside, examples_of
from saeindex.analysis.stats.options import LISTED, CorrelateOptions
from saeindex.analysis.stats.two_by_two import adjusted, two_sided
from saeindex.config import DOCUMENT
from saeindex.schema import Result
from saeindex.types import shown_label

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from scipy.sparse import csc_matrix

    from saeindex.collection.snapshot import Snapshot
    from saeindex.features import FeatureSpace
    from saeindex.report.model import Example
    from saeindex.types import Doubles, Ints, LevelName


# Examples of a pair, and of how many records they are the strongest.
EXAMPLES, COMPARED = 3, 200
# The maximum number of findings checked for trivial reasons in records, as a multiple of the listed pairs.
LOOKED_AT = 20
MIN_SUPPORT = 5


def correlate_open(
    snapshot: Snapshot,
    other: Snapshot | None = None,
    rows: Ints | None = None,
    options: CorrelateOptions = CorrelateOptions(unit=None),
) -> Correlations:
    """Test all pairs of features of a text field, or of one field with those of ``other``.

    ``rows`` selects records. Those of one unit count together as one, and so do, across two fields, those
    with the same prompt. The error rate is the false discovery rate over all pairs of features that have
    enough records each. Pairs with a weak label come last; pairs that go together in mostly the same records
    as a listed one are its ``related``. InvalidInputError for two snapshots of different records, or too few
    of them.
    """
    level, limit, alpha, method = options.level, options.limit or LISTED, options.alpha, options.method
    min_support, with_trivial = options.min_support, options.with_trivial
    kept = aligned_rows(snapshot, other, rows)
    of_a = snapshot.listed_at(level)[kept]
    of_b = None if other is None else other.listed_at(level)[kept]
    known = _no_reason if with_trivial else KnownTrivial(snapshot.space)
    units = units_of(snapshot, other, kept, options.unit)
    tables, tested, removed = count_pairs(of_a, of_b, min_support, alpha, known, REASONS, units)
    p = tables.p_values()
    q = corrected(p, tested, method)
    chosen = np.flatnonzero(q < alpha)
    found, p, q = tables.take(chosen), p[chosen], q[chosen]
    columns = of_a.tocsc(), (of_a if of_b is None else of_b).tocsc()
    seen = None if with_trivial else SeenTrivial(snapshot, kept, *columns)
    is_weak = snapshot.space.has_weak_label
    order = np.lexsort((-np.abs(found.evidence), is_weak[found.a] | is_weak[found.b]))
    together, seen_removed = _together(found, order, columns, seen, limit)
    apart = order[found.evidence[order] < 0][:limit]
    describe = _Describer(snapshot, other, kept, *columns)

    def pairs(rows: Sequence[int]) -> list[ConceptPair]:
        return results.described(found.take(np.array(rows, np.int64)), p[rows], q[rows], describe)

    return Correlations(
        field=snapshot.field,
        other_field=snapshot.field if other is None else other.field,
        records=len(kept),
        units=len(units),
        level=level,
        tested=tested,
        found=len(found),
        alpha=alpha,
        method=method,
        min_support=min_support,
        removed={**removed, **seen_removed},
        shares={},
        results=tuple(
            replace(first, related=tuple(others))
            for first, *others in (pairs([row, *rows]) for row, rows in together.items())
        ),
        avoided=tuple(pairs(apart.tolist())),
        not_comparable="" if tested else f"no two concepts are in {min_support} records or more each",
    )


@dataclass(frozen=True)
class _Describer:
    """Names the features of a pair, and finds records that have both."""

    snapshot: Snapshot
    other: Snapshot | None
    kept: Ints
    a: csc_matrix
    b: csc_matrix

    def __call__(self, a: int, b: int) -> tuple[PairedConcept, PairedConcept, tuple[Example, ...]]:
        of_a, of_b = rows_with(self.a, a), rows_with(self.b, b)
        both = self.kept[np.intersect1d(of_a, of_b, assume_unique=True)[:COMPARED]]
        first, second = self.snapshot, self.other or self.snapshot
        strength = first.strength(both, a) * second.strength(both, b)
        rows = both[np.argsort(-strength, kind="stable")[:EXAMPLES]].tolist()
        if self.other is None:
            examples = examples_of(first, rows, (a, b))
        else:
            examples = beside(examples_of(first, rows, (a,)), examples_of(second, rows, (b,)))
        return results.concept_of(first, a), results.concept_of(second, b), examples


def _together(
    tables: PairTables,
    order: Ints,
    columns: tuple[csc_matrix, csc_matrix],
    seen: SeenTrivial | None,
    limit: int,
) -> tuple[dict[int, list[int]], Counter[str]]:
    """Return the tables to list, each with the related ones, and the number of trivial pairs by reason."""
    removed: Counter[str] = Counter()
    listed: dict[int, list[int]] = {}
    distinct = Distinct()
    for row in order[tables.evidence[order] > 0][: limit * LOOKED_AT].tolist():
        a, b = int(tables.a[row]), int(tables.b[row])
        of_a, of_b = rows_with(columns[0], a), rows_with(columns[1], b)
        both = of_b[np.isin(of_b, of_a, assume_unique=True, kind="table")]
        if (twin := distinct.first_like(both)) is not None:
            listed[twin].append(row)
        elif len(listed) == limit:
            continue
        elif seen is not None and (reason := seen.reason(a, b)) is not None:
            removed[reason] += 1
        else:
            distinct[row], listed[row] = both, []
    return listed, removed


def _no_reason(a: Ints, b: Ints) -> NDArray[np.int8]:
    return np.zeros((len(a), len(b)), np.int8)


@dataclass(frozen=True, slots=True)
class Companion(Result):
    """A feature in ``support`` of the records with the given feature; ``expected`` is that by chance.

    ``share`` of those records have it, against ``base`` of all; ``lift`` is their ratio.
    """

    feature: int
    label: str
    support: int
    expected: float
    share: float
    base: float
    lift: float
    p: float
    q: float


def counts_by_document(
    snapshot: Snapshot, rows: Ints | None, feature: int, level: LevelName
) -> tuple[tuple[float, Doubles], tuple[float, Doubles]]:
    """Return what :func:`companions` takes, where each document counts as one record.

    A record of a document of s records counts 1/s.
    """
    kept = np.arange(len(snapshot)) if rows is None else rows
    has = snapshot.at(level)[kept]
    weights = units_of(snapshot, None, kept, DOCUMENT).weights
    own = weights * np.asarray(has[:, [feature]].todense()).ravel()
    return (float(own.sum()), has.T @ own), (float(weights.sum()), has.T @ weights)


def companions(
    space: FeatureSpace,
    feature: int,
    own: tuple[float, Ints | Doubles],
    all_: tuple[float, Ints | Doubles],
    alpha: float,
    limit: int,
) -> Sequence[Companion]:
    """Return the features that are more frequent in records with ``feature``, best evidence first.

    ``own`` and ``all_`` are the number of records with the feature, and of all, with the counts of every
    feature among them (n,). These are not whole where records of documents count for less.
    """
    (n_own, counts), (n, totals) = own, all_
    # Which features are tested depends on how many records have them, never on how many have both.
    columns = np.flatnonzero((totals >= MIN_SUPPORT) & (np.arange(len(counts)) != feature) & space.is_named)
    k, total = counts[columns], totals[columns]
    p = two_sided(k, n_own, total - k, n - n_own)
    q = adjusted(p)
    expected = n_own * total / max(1, n)
    z = (k - expected) / np.sqrt(np.maximum(expected, 1e-9))
    is_found = (q <= alpha) & (z > 0) & (k >= MIN_SUPPORT)
    chosen = [i for i in np.argsort(-z, kind="stable").tolist() if is_found[i]][:limit]
    found = []
    for i in chosen:
        label = space.labels[int(columns[i])]
        share, base = float(k[i] / n_own), float(total[i] / n)
        shown = shown_label(label.text, label.is_weak)
        counted = round(float(k[i])), float(expected[i]), share, base, share / base
        found.append(Companion(int(columns[i]), shown, *counted, float(p[i]), float(q[i])))
    return found
