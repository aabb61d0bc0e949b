"""Correlations of named concepts: given by descriptions, examples, features or metadata."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations, product
from typing import TYPE_CHECKING

import numpy as np

from saeindex.analysis.correlate.all_pairs import EXAMPLES
from saeindex.analysis.correlate.pair_tests import PairTables, Units, aligned_rows, corrected, units_of
from saeindex.analysis.correlate.results import ConceptPair, Correlations, PairedConcept, described
from saeindex.analysis.examples import beside, examples_of
from saeindex.analysis.stats.options import LISTED_NAMED, CorrelateOptions
from saeindex.analysis.stats.score_sums import product_p
from saeindex.concepts.named_concept import ConceptReader, Membership, NamedConcept
from saeindex.errors import InvalidInputError

if TYPE_CHECKING:
    from scipy.sparse import csr_matrix

    from saeindex.collection.snapshot import Snapshot
    from saeindex.protocols import TextEncoder
    from saeindex.report.model import Example
    from saeindex.types import Doubles, Ints


# The probability of both concepts from which a record is an example of a pair.
LIKELY = 0.5


def correlate_named(
    snapshot: Snapshot,
    concepts: Sequence[NamedConcept],
    with_concepts: Sequence[NamedConcept] = (),
    *,
    other: Snapshot | None = None,
    encoder: TextEncoder | None = None,
    rows: Ints | None = None,
    options: CorrelateOptions = CorrelateOptions(unit=None),
) -> Correlations:
    """Test each pair of ``concepts``, or each of them with each of ``with_concepts``.

    A concept whose ``field`` is that of ``other`` is looked for there. Where both of a pair are exact, the
    test is that of open pairs; else it is of Σ a b over the units that hold no example of either concept,
    against the sums if the weights b were assigned to units at random. No pair is left out as trivial,
    because the caller named them. ``rows`` are those of :func:`correlate_open`.
    """
    limit, alpha, min_support = options.limit or LISTED_NAMED, options.alpha, options.min_support
    named, pairs = _pairs(concepts, with_concepts)
    snapshots = [snapshot] if other is None else [snapshot, other]
    readers = {one.field: ConceptReader(one, encoder) for one in reversed(snapshots)}
    kept = aligned_rows(snapshot, other, rows)
    found = [_of(readers, concept, kept) for concept in named]
    units = units_of(snapshot, other, kept, options.unit)
    tables, p = pair_tables(found, pairs, units)
    # Pairs with few records are tested too: leaving them out would depend on the counts.
    is_large = np.maximum(tables.both, tables.expected) >= min_support
    p = np.where(is_large, p, 1.0)
    q = corrected(p, len(p), options.method)
    order = np.argsort(-np.abs(z_scores(found, pairs, units)), kind="stable")
    order = order[q[order] < alpha]
    is_together = tables.both[order] > tables.expected[order]
    together, apart = order[is_together], order[~is_together]
    describe = _Describer(snapshots, kept, named, found)

    def listed(which: Ints) -> tuple[ConceptPair, ...]:
        return tuple(described(tables.take(which), p[which], q[which], describe))

    why = f"no pair is in {min_support} records, nor would be by chance"
    return Correlations(
        field=snapshot.field,
        other_field=snapshot.field if other is None else other.field,
        records=len(kept),
        units=len(units),
        level="named",
        tested=len(pairs) if is_large.any() else 0,
        not_comparable="" if is_large.any() else why,
        found=len(together) + len(apart),
        alpha=alpha,
        method=options.method,
        min_support=min_support,
        removed={},
        results=listed(together[:limit]),
        avoided=listed(apart[:limit]),
        shares={
            concept.name: float(one.weights.mean())
            for concept, one in zip(named, found, strict=True)
            if concept.share is None and not one.is_exact
        },
    )


@dataclass(frozen=True)
class _Describer:
    """Names the concepts of a pair, and finds records that have both."""

    snapshots: Sequence[Snapshot]
    kept: Ints
    named: Sequence[NamedConcept]
    found: Sequence[Membership]

    def __call__(self, a: int, b: int) -> tuple[PairedConcept, PairedConcept, tuple[Example, ...]]:
        both = self.found[a].weights * self.found[b].weights
        best = np.argsort(-both, kind="stable")[:EXAMPLES]
        rows = self.kept[best[both[best] > LIKELY]].tolist()
        sides = [self.named[side] for side in (a, b)]
        quoted = [
            examples_of(one, rows, {feature for side in own for feature in side.features})
            for one in self.snapshots
            if (own := [side for side in sides if side.field == one.field])
        ]
        first, second = (PairedConcept(None, side.name, side.field) for side in sides)
        return first, second, quoted[0] if len(quoted) == 1 else beside(*quoted)


def pair_tables(
    found: Sequence[Membership], pairs: Sequence[tuple[int, int]], units: Units
) -> tuple[PairTables, Doubles]:
    """Return the pairs' tables, with expected counts if membership is estimated, and their p-values."""
    a, b = np.array(pairs, np.int64).reshape(-1, 2).T
    weights = np.array([one.weights for one in found])
    counted = weights * units.weights
    sums = counted.sum(1)
    both = np.array([float(counted[i] @ weights[j]) for i, j in pairs])
    tables = PairTables(a, b, both, sums[a], sums[b], len(units))
    means = [units.mean(one.weights) for one in found]
    examples = [units.mean(one.examples.astype(np.float64)) > 0 for one in found]
    p = np.array(
        [product_p(*(means[side][~(examples[i] | examples[j])] for side in (i, j))) for i, j in pairs]
    )
    if units.are_records:
        exact = np.flatnonzero([found[i].is_exact and found[j].is_exact for i, j in pairs])
        p[exact] = tables.take(exact).p_values()
    return tables, p


def z_scores(
    found: Sequence[Membership], pairs: Sequence[tuple[int, int]], units: Units | None = None
) -> Doubles:
    """Return r √(m - 1) of each pair's weights of evidence (p,), by unit; 0 if one of them is constant."""
    weights = np.array([one.evidence if units is None else units.mean(one.evidence) for one in found])
    centred = weights - weights.mean(1, keepdims=True)
    lengths = np.linalg.norm(centred, axis=1)
    directions = centred / np.where(lengths > 1e-9, lengths, np.inf)[:, None]
    z: Doubles = np.array([directions[i] @ directions[j] for i, j in pairs]) * np.sqrt(weights.shape[1] - 1)
    return z


def _of(readers: Mapping[str, ConceptReader], concept: NamedConcept, kept: Ints) -> Membership:
    if concept.field not in readers:
        known = ", ".join(repr(field) for field in readers)
        asked = f"concept {concept.name!r} in field {concept.field!r}"
        raise InvalidInputError(asked, f"the fields here are {known}", "Name one of them.")
    return readers[concept.field].membership(concept).take(kept)


def _pairs(
    concepts: Sequence[NamedConcept], with_concepts: Sequence[NamedConcept]
) -> tuple[list[NamedConcept], list[tuple[int, int]]]:
    named = [*concepts, *with_concepts]
    first = len(concepts)
    pairs = list(product(range(first), range(first, len(named)))) or list(combinations(range(first), 2))
    if not pairs:
        raise InvalidInputError("correlate", f"{len(named)} named concepts", "Name two or more.")
    return named, pairs


def correlation_z(columns: csr_matrix, weights: Doubles) -> Doubles:
    """Return r √(m - 1) of each column (m, n) with the weights (m,)."""
    m = len(weights)
    means = np.asarray(columns.mean(0), np.float64).ravel()
    squares = np.asarray(columns.multiply(columns).mean(0), np.float64).ravel()
    joint = np.asarray(columns.T @ (weights - weights.mean()), np.float64).ravel() / m
    spread = np.sqrt(np.maximum(squares - means**2, 1e-12)) * max(float(weights.std()), 1e-12)
    return np.asarray(joint / spread * np.sqrt(m - 1))
