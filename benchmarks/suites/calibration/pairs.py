"""Null runs of correlations, triggers and companions: one side's rows are permuted, by whole units.

A run makes the calls of ``correlate`` and ``find_triggers`` that count and test; which records have a
concept, and which pairs are trivial, is found once. Records of two fields are texts of two corpora, whose
pairing is random, or responses and their prompts, of which whole prompts are permuted. Within one field, the
records that have each concept are drawn at random.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np
from scipy.sparse import csc_matrix

from benchmarks.data import properties
from benchmarks.snapshots import default_space, encoder
from benchmarks.suites.calibration.cells import ALPHA, Regime, Trial
from benchmarks.suites.calibration.populations import PROMPTED, prompts, shuffled_rows, snapshot_of
from saeindex.analysis.correlate.all_pairs import companions
from saeindex.analysis.correlate.named_pairs import pair_tables
from saeindex.analysis.correlate.pair_tests import Units, corrected, count_pairs
from saeindex.analysis.correlate.triggers import _p_of_weights, _tables
from saeindex.analysis.correlate.trivial import REASONS, KnownTrivial
from saeindex.concepts.named_concept import ConceptReader, Membership, NamedConcept

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from scipy.sparse import csr_matrix

    from saeindex.analysis.correlate.pair_tests import PairTables
    from saeindex.collection.snapshot import Snapshot

    Ints = NDArray[np.int64]

MIN_SUPPORT, EXAMPLES, NAMED, RECORDS = 5, 10, 10, 2_000
# Named features are spread over those that from 1 % to 20 % of the records have.
FREQUENT = (0.01, 0.2)
# A field of each corpus with labels of several frequencies; of responses one that differs between prompts.
FIELDS = {
    "clinc150": "metadata.domain",
    "goemotions": "metadata.emotion",
    PROMPTED: "metadata.instruction_set",
}
# The shares of records that named concepts are said to have, where a user knows them: few prompts have a
# concept that stands out, and then no pair has enough of them to be tested.
SHARES = np.linspace(0.1, 0.5, NAMED)
DESCRIBED, BY_EXAMPLES, FEATURES, METADATA = "descriptions", "10 examples", "features", "metadata"


def regimes() -> list[Regime]:
    """Return the regimes of all pairs, named pairs, triggers and companions."""
    kinds = (DESCRIBED, BY_EXAMPLES, FEATURES, METADATA)
    named = [Regime("aa_named_pairs", f"{kind}, 2,000 records", named_pairs(kind, kind)) for kind in kinds]
    named += [
        Regime("aa_named_pairs", "descriptions with metadata, 2,000 records",
               named_pairs(DESCRIBED, METADATA)),
        Regime("aa_named_pairs", "descriptions with known shares, 2,000 records",
               named_pairs(DESCRIBED, DESCRIBED, with_shares=True)),
        Regime("aa_named_pairs", "10 examples of a random label with that label, 2,000 records",
               random_label),
        *(Regime("aa_named_pairs", f"descriptions with {kind}, shares known, 328 prompts",
                 named_pairs_by_prompt(kind)) for kind in kinds),
    ]  # fmt: skip
    by_record = [Regime("aa_triggers", f"{kind}, 2,000 records", triggers(kind)) for kind in kinds]
    by_unit = [
        Regime("aa_triggers_by_unit", f"{kind}, 328 prompts of 14 responses", triggers_by_prompt(kind))
        for kind in kinds
    ]
    return [
        Regime("aa_all_pairs", "within one field, 2,000 records", pairs_within),
        Regime("aa_all_pairs", "of two fields, 2,000 records", pairs_across),
        Regime("aa_all_pairs", "of two fields, 328 prompts of 14 responses", pairs_by_prompt),
        *named,
        *by_record,
        *by_unit,
        *(Regime("aa_companions", f"{count} records of {name}", set_companions(name, count))
          for name, count in (("goemotions", 20), ("goemotions", 400), ("pooled", 100))),
    ]  # fmt: skip


@lru_cache(maxsize=1)
def reasons() -> NDArray[np.int8]:
    """Return the number of the reason why a pair of features (n, n) is trivial."""
    every = np.arange(default_space().n_features)
    return KnownTrivial(default_space())(every, every)


@dataclass(frozen=True, eq=False)
class Field:
    """Some records of a corpus as one text field, with the concepts that a user names."""

    name: str
    snapshot: Snapshot

    @classmethod
    @lru_cache(maxsize=4)
    def of(cls, name: str) -> Field:
        """Return 2,000 records of a corpus, or all responses."""
        snapshot = snapshot_of(name)
        if name == PROMPTED:
            return cls(name, snapshot)
        return cls(name, snapshot.take(shuffled_rows(snapshot, RECORDS)))

    @classmethod
    def of_prompts(cls) -> Field:
        """Return the distinct prompts."""
        return cls("prompts", prompts()[0])

    def members(self, kind: str, with_shares: bool = False) -> list[tuple[NamedConcept, Membership]]:
        """Return up to ten concepts of a kind, with the records that have them."""
        reader, concepts = ConceptReader(self.snapshot, encoder()), getattr(self, f"_{KINDS[kind]}")()
        if with_shares:
            concepts = [
                replace(one, share=share) for one, share in zip(concepts, SHARES.tolist(), strict=False)
            ]
        return [(one, reader.membership(one)) for one in concepts]

    def _described(self) -> list[NamedConcept]:
        asked = properties().get(self.name) or properties()["clinc150"]
        return [NamedConcept(one["query"], one["query"]) for one in asked[:NAMED]]

    def _by_examples(self) -> list[NamedConcept]:
        ids, rng, concepts = np.array(self.snapshot.ids), np.random.default_rng(2), []
        for number, is_like in enumerate(self._labelled(2 * EXAMPLES)):
            like, unlike = (
                ids[rng.permutation(np.flatnonzero(rows))[:EXAMPLES]].tolist() for rows in (is_like, ~is_like)
            )
            concepts.append(NamedConcept(str(number), like=like, unlike=unlike))
        return concepts

    def _features(self) -> list[NamedConcept]:
        share = np.asarray(self.snapshot.at("typical").mean(0)).ravel()
        frequent = np.flatnonzero((share >= FREQUENT[0]) & (share <= FREQUENT[1]))
        ordered = frequent[np.argsort(share[frequent], kind="stable")]
        chosen = ordered[np.linspace(0, len(ordered) - 1, NAMED).astype(int)]
        return [NamedConcept(f"#{one}", features=(one,)) for one in chosen.tolist()]

    def _metadata(self) -> list[NamedConcept]:
        field = FIELDS[self.name]
        values, having = self.snapshot.membership(field)
        frequent = np.argsort(-np.asarray(having.sum(0)).ravel(), kind="stable")[:NAMED].tolist()
        return [NamedConcept(str(values[i]), metadata=field, value=values[i]) for i in frequent]

    def _labelled(self, fewest: int) -> list[NDArray[np.bool_]]:
        """Return which records have each of ten values, or for prompts ten features."""
        if self.name not in FIELDS:
            typical = self.snapshot.at("typical").toarray() > 0
            often = np.argsort(-typical.sum(0), kind="stable")[:NAMED]
            return list(typical[:, often].T)
        having = self.snapshot.membership(FIELDS[self.name])[1].toarray().T > 0
        often = np.argsort(-having.sum(1), kind="stable")[:NAMED]
        return [column for column in having[often] if column.sum() >= fewest]


KINDS = {DESCRIBED: "described", BY_EXAMPLES: "by_examples", FEATURES: "features", METADATA: "metadata"}


def alone(count: int) -> Units:
    """Return so many records as units of their own."""
    return Units(np.arange(count), np.ones(count, np.int64))


def prompt_units() -> Units:
    """Return the responses as units, by prompt."""
    codes = prompts()[1]
    return Units(codes, np.bincount(codes))


def pairs_within() -> Trial:
    """Return null runs of all pairs of one field: each concept's records are drawn anew."""
    typical = Field.of("goemotions").snapshot.at("typical").tocsc()

    def trial(run: int, rng: np.random.Generator) -> Mapping[str, int]:
        counts = np.diff(typical.indptr)
        drawn = [rng.choice(RECORDS, count, replace=False) for count in counts.tolist()]
        parts = (typical.data, np.concatenate(drawn).astype(np.int32), typical.indptr)
        shuffled = csc_matrix(parts, typical.shape).tocsr()
        return {"pairs": pairs_found(shuffled, None, alone(RECORDS))}

    return trial


def pairs_across() -> Trial:
    """Return null runs of all pairs of two fields, whose records are paired at random."""
    first, second = (Field.of(name).snapshot.at("typical") for name in ("clinc150", "goemotions"))

    def trial(run: int, rng: np.random.Generator) -> Mapping[str, int]:
        return {"pairs": pairs_found(first[rng.permutation(RECORDS)], second, alone(RECORDS))}

    return trial


def pairs_by_prompt() -> Trial:
    """Return null runs of all pairs of prompts and responses, with whole prompts permuted."""
    asked, codes = prompts()[0].at("typical"), prompts()[1]
    answered, units = Field.of(PROMPTED).snapshot.at("typical"), prompt_units()

    def trial(run: int, rng: np.random.Generator) -> Mapping[str, int]:
        return {"pairs": pairs_found(asked[rng.permutation(asked.shape[0])[codes]], answered, units)}

    return trial


def pairs_found(of_a: csr_matrix, of_b: csr_matrix | None, units: Units) -> int:
    """Return the number of findings among all pairs, as in ``correlate_open``."""
    why = reasons()
    tables, tested, _ = count_pairs(
        of_a, of_b, MIN_SUPPORT, ALPHA, lambda a, b: why[np.ix_(a, b)], REASONS, units
    )
    return int((corrected(tables.p_values(), tested) < ALPHA).sum())


def named_pairs(kind: str, other: str, with_shares: bool = False) -> Callable[[], Trial]:
    """Return null runs of named pairs of two fields, whose records are paired at random."""

    def opened() -> Trial:
        first = [member for _, member in Field.of("clinc150").members(kind, with_shares)]
        second = [member for _, member in Field.of("goemotions").members(other, with_shares)]

        def trial(run: int, rng: np.random.Generator) -> Mapping[str, int]:
            order = rng.permutation(RECORDS)
            return {"pairs": named_found([one.take(order) for one in first], second, alone(RECORDS))}

        return trial

    return opened


def named_pairs_by_prompt(kind: str) -> Callable[[], Trial]:
    """Return null runs of described prompts with concepts of the responses; whole prompts are permuted."""

    def opened() -> Trial:
        asked = [member for _, member in Field.of_prompts().members(DESCRIBED, with_shares=True)]
        answered = [member for _, member in Field.of(PROMPTED).members(kind, with_shares=True)]
        codes, units = prompts()[1], prompt_units()

        def trial(run: int, rng: np.random.Generator) -> Mapping[str, int]:
            rows = rng.permutation(len(units))[codes]
            return {"pairs": named_found([one.take(rows) for one in asked], answered, units)}

        return trial

    return opened


def random_label() -> Trial:
    """Return null runs of one pair: a label that a random tenth has, and ten examples of it and not of it."""
    field = Field.of("goemotions")
    reader, ids = ConceptReader(field.snapshot), np.array(field.snapshot.ids)

    def trial(run: int, rng: np.random.Generator) -> Mapping[str, int]:
        order = rng.permutation(RECORDS)
        count = RECORDS // 10
        label = np.zeros(RECORDS, bool)
        label[order[:count]] = True
        like, unlike = (ids[rows].tolist() for rows in (order[:EXAMPLES], order[-EXAMPLES:]))
        member = reader.membership(NamedConcept("label", like=like, unlike=unlike))
        return {"pairs": named_found([member], [Membership.exact(label)], alone(RECORDS))}

    return trial


def named_found(first: Sequence[Membership], second: Sequence[Membership], units: Units) -> int:
    """Return the number of findings among the pairs of two lists, as in ``correlate_named``."""
    pairs = [(i, len(first) + j) for i in range(len(first)) for j in range(len(second))]
    tables, p = pair_tables([*first, *second], pairs, units)
    p = np.where(np.maximum(tables.both, tables.expected) >= MIN_SUPPORT, p, 1.0)
    return int((corrected(p, len(p)) < ALPHA).sum())


def triggers(kind: str) -> Callable[[], Trial]:
    """Return null runs of triggers of ten behaviours in turn; prompts and responses are paired at random."""

    def opened() -> Trial:
        asked, answered = Field.of("clinc150").snapshot, Field.of("goemotions").members(kind)
        present = asked.at("typical")

        def trial(run: int, rng: np.random.Generator) -> Mapping[str, int]:
            behaviour, shown = answered[run % len(answered)]
            permuted = present[rng.permutation(RECORDS)]
            return {"concepts": triggers_found(permuted, shown, behaviour, asked, alone(RECORDS))}

        return trial

    return opened


def triggers_by_prompt(kind: str) -> Callable[[], Trial]:
    """Return null runs of triggers in prompts of several responses each; whole prompts are permuted."""

    def opened() -> Trial:
        asked, codes = prompts()
        present, answered, units = asked.at("typical"), Field.of(PROMPTED).members(kind), prompt_units()

        def trial(run: int, rng: np.random.Generator) -> Mapping[str, int]:
            behaviour, shown = answered[run % len(answered)]
            permuted = present[rng.permutation(len(units))[codes]]
            return {"concepts": triggers_found(permuted, shown, behaviour, asked, units)}

        return trial

    return opened


def triggers_found(
    present: csr_matrix, shown: Membership, behaviour: NamedConcept, asked: Snapshot, units: Units
) -> int:
    """Return the number of triggers, as in ``find_triggers``."""
    tables, _ = _tables(present, shown.weights, behaviour, asked, units, MIN_SUPPORT)
    p = p_of_triggers(present, shown, tables, units)
    return int(((corrected(p, len(p)) < ALPHA) & (tables.both > tables.expected)).sum())


def p_of_triggers(
    present: csr_matrix, shown: Membership, tables: PairTables, units: Units
) -> NDArray[np.float64]:
    """Return the p-values of the tables (t,): exact where records count, else of weights."""
    if shown.is_exact and units.are_records:
        return tables.p_values()
    return _p_of_weights(present, shown, tables, units)


def set_companions(name: str, count: int) -> Callable[[], Trial]:
    """Return null runs of companions: the records that have the feature are drawn at random."""

    def opened() -> Trial:
        typical = snapshot_of(name).at("typical")
        m, totals = typical.shape[0], np.asarray(typical.sum(0)).ravel().astype(np.int64)

        def trial(run: int, rng: np.random.Generator) -> Mapping[str, int]:
            own = np.asarray(typical[rng.permutation(m)[:count]].sum(0)).ravel().astype(np.int64)
            feature = int(rng.integers(len(totals)))
            found = companions(default_space(), feature, (count, own), (m, totals), ALPHA, limit=10_000)
            return {"concepts": len(found)}

        return trial

    return opened
