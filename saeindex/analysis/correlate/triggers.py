"""What in a prompt brings about what in a response: candidates, the records that show it, counter-examples.

Each concept of the prompts is tested with the behaviour in the responses. A finding is a correlation over
the records that there are: whether the concept is the cause, the counter-examples help to judge, and an
experiment decides.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
from scipy.special import ndtr

from saeindex.analysis.correlate import results
from saeindex.analysis.correlate.named_pairs import correlation_z
from saeindex.analysis.correlate.pair_tests import PairTables, Units, aligned_rows, corrected, units_of
from saeindex.analysis.correlate.results import ConceptPair, PairedConcept, Trigger, Triggers
from saeindex.analysis.correlate.trivial import Distinct, KnownTrivial, rows_with
from saeindex.analysis.examples import beside, examples_of
from saeindex.analysis.stats.options import TriggerOptions
from saeindex.analysis.stats.score_sums import FAR, product_p
from saeindex.concepts.named_concept import ConceptReader, Membership, NamedConcept
from saeindex.types import shown_label

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from scipy.sparse import csr_matrix

    from saeindex.collection.snapshot import Snapshot
    from saeindex.protocols import TextEncoder
    from saeindex.report.model import Example
    from saeindex.types import Doubles, Ints

EXAMPLES = 5
# The probability from which a record counts as having the behaviour.
LIKELY = 0.5


def find_triggers(
    prompts: Snapshot,
    responses: Snapshot,
    behaviour: NamedConcept | int,
    *,
    encoder: TextEncoder | None = None,
    rows: Ints | None = None,
    options: TriggerOptions = TriggerOptions(unit=None),
) -> Triggers:
    """Return the concepts of prompts that are associated with a behaviour of the responses.

    ``behaviour`` is a feature or a :class:`NamedConcept` (its ``field`` does not count). Concepts that are
    the behaviour's own features, or of their family, are left out: a prompt's topic comes back in its
    response. Responses to the same prompt count together as one, or those of the same unit.
    """
    alpha, method, min_support = options.alpha, options.method, options.min_support
    kept = aligned_rows(prompts, responses, rows)
    named = _named(behaviour, responses)
    shown = ConceptReader(responses, encoder).membership(named).take(kept)
    present = prompts.listed_at(options.level)[kept]
    units = units_of(prompts, responses, kept, options.unit)
    tables, removed = _tables(present, shown.weights, named, prompts, units, min_support)
    is_counted = shown.is_exact and units.are_records
    p = tables.p_values() if is_counted else _p_of_weights(present, shown, tables, units)
    q = corrected(p, len(p), method)
    findings = np.flatnonzero((q < alpha) & (tables.both > tables.expected))
    is_weak = prompts.space.has_weak_label[tables.a[findings]]
    ordered = findings[np.lexsort((-tables.evidence[findings], is_weak))]
    finder = _Finder(prompts, responses, kept, present, shown, named, units)
    distinct = finder.distinct(tables, ordered, options.limit)
    chosen = np.array(list(distinct), np.int64)
    pairs = results.described(tables.take(chosen), p[chosen], q[chosen], finder.sides)
    why = "" if len(tables) else f"no concept of the prompts is in {min_support} of them or more"
    why = why if shown.weights.any() else "no record has the behaviour"
    return Triggers(
        behaviour=finder.behaviour,
        prompt_field=prompts.field,
        records=len(kept),
        units=len(units),
        having=float(shown.weights.sum()),
        units_having=units.count(shown.weights > LIKELY),
        tested=len(tables) if shown.weights.any() else 0,
        found=len(findings),
        alpha=alpha,
        method=method,
        removed=removed,
        not_comparable=why,
        results=tuple(
            finder.trigger(pair, same) for pair, same in zip(pairs, distinct.values(), strict=True)
        ),
    )


def _named(behaviour: NamedConcept | int, responses: Snapshot) -> NamedConcept:
    if isinstance(behaviour, NamedConcept):
        return behaviour
    label = responses.space.label(behaviour)
    return NamedConcept(shown_label(label.text, label.is_weak), features=(behaviour,))


def _tables(
    present: csr_matrix,
    weights: Doubles,
    named: NamedConcept,
    prompts: Snapshot,
    units: Units,
    min_support: int,
) -> tuple[PairTables, int]:
    """Return one table per concept of enough prompts, and how many were left out as the behaviour's own."""
    counts = np.asarray(present.T @ units.weights, np.float64).ravel()
    features = np.flatnonzero(counts >= min_support)
    own = np.zeros(len(features), bool)
    if named.features:
        known = KnownTrivial(prompts.space)
        own[(known(features, np.array(named.features, np.int64)) > 0).any(axis=1)] = True
    kept = features[~own]
    counted = weights * units.weights
    both = np.asarray(present.T @ counted, np.float64).ravel()[kept]
    total = np.full(len(kept), counted.sum())
    behaviour = np.zeros(len(kept), np.int64)
    tables = PairTables(kept, behaviour, both, counts[kept], total, len(units))
    return tables, int(own.sum())


def _p_of_weights(present: csr_matrix, shown: Membership, tables: PairTables, units: Units) -> Doubles:
    """Return p-values (t,) if behaviour were assigned to units at random; those of examples are left out."""
    tested = np.flatnonzero(units.mean(shown.examples.astype(np.float64)) == 0)
    has = units.means(present[:, tables.a])[tested].tocsc()
    behaviour = units.mean(shown.weights)[tested]
    z = correlation_z(has, behaviour)
    p: Doubles = 2 * ndtr(-np.abs(z))
    for column in np.flatnonzero(np.abs(z) >= FAR):
        p[column] = product_p(has[:, [column]].toarray().ravel(), behaviour)
    return p


class _Finder:
    """Finds the records of triggers, and triggers of the same records."""

    def __init__(
        self, prompts: Snapshot, responses: Snapshot, kept: Ints, present: csr_matrix,
        shown: Membership, named: NamedConcept, units: Units,
    ) -> None:  # fmt: skip
        self._prompts, self._responses, self._kept = prompts, responses, kept
        self._shown, self._units, self._behaviour = shown, units, named.features
        self._columns = present.tocsc()
        feature = named.features[0] if len(named.features) == 1 else None
        self.behaviour = PairedConcept(feature, named.name)

    def sides(self, a: int, b: int) -> tuple[PairedConcept, PairedConcept, tuple[Example, ...]]:
        """Return the trigger and the behaviour; examples are in the trigger."""
        return results.concept_of(self._prompts, a), self.behaviour, ()

    def distinct(self, tables: PairTables, ordered: Ints, limit: int) -> dict[int, tuple[PairedConcept, ...]]:
        """Return the tables of triggers of different prompts, each with triggers of nearly the same."""
        found: dict[int, tuple[PairedConcept, ...]] = {}
        distinct = Distinct()
        for row in ordered.tolist():
            rows = rows_with(self._columns, int(tables.a[row]))
            if (twin := distinct.first_like(rows)) is not None:
                found[twin] = (*found[twin], results.concept_of(self._prompts, int(tables.a[row])))
            elif len(found) < limit:
                distinct[row], found[row] = rows, ()
            else:
                break
        return found

    def trigger(self, pair: ConceptPair, same: Sequence[PairedConcept]) -> Trigger:
        """Return a trigger with records for and against it."""
        has = np.zeros(len(self._kept), bool)
        has[rows_with(self._columns, pair.a.feature or 0)] = True
        weights = self._shown.weights
        is_showing = has & (weights > LIKELY)
        trigger = pair.a.feature
        showing = self._examples(is_showing, weights, trigger)
        return Trigger(
            replace(pair, examples=showing[:3]),
            coverage=float(weights[has].sum() / max(weights.sum(), 1e-12)),
            prompts=self._units.count(has),
            prompts_showing=self._units.count(is_showing),
            showing=showing,
            without_behaviour=self._examples(has & (weights < LIKELY), -weights, trigger),
            without_trigger=self._examples(~has & (weights > LIKELY), weights),
            same=tuple(same),
        )

    def _examples(
        self, which: NDArray[np.bool_], by: Doubles, trigger: int | None = None
    ) -> tuple[Example, ...]:
        """Return the first of these records by ``by``, one of each unit: of their prompt and response."""
        rows = np.flatnonzero(which)
        rows = rows[np.argsort(-by[rows], kind="stable")]
        first = np.sort(np.unique(self._units.codes[rows], return_index=True)[1])[:EXAMPLES]
        chosen = self._kept[rows[first]].tolist()
        prompts = examples_of(self._prompts, chosen, () if trigger is None else (trigger,))
        return beside(prompts, examples_of(self._responses, chosen, self._behaviour))
