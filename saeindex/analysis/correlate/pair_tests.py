"""Tests of pairs of concepts: counts of records with both concepts, for millions of pairs at once.

Counts are sparse products of presence matrices, block by block, so that only one block's counts and the
possible findings are in memory. The choice of tested pairs depends on the number of records of each concept
and never on the number with both: leaving out pairs by their counts would invalidate the error rate.

Records of one author, or answers to one prompt, count together as one unit. Each record of a unit of size s
counts 1/s, so that a unit counts as one record. A mean over a unit varies no more than a single record does:
tests that take it for one err on the safe side.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from saeindex.analysis.stats.design import unit_codes
from saeindex.analysis.stats.options import AUTO, Correction
from saeindex.analysis.stats.stratified import Z95
from saeindex.analysis.stats.two_by_two import adjusted, two_sided
from saeindex.config import DOCUMENT
from saeindex.errors import InvalidInputError

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from scipy.sparse import csr_matrix

    from saeindex.types import Doubles, Ints

    # Why pairs of some features of one side (b,) with all of the other (c,) say nothing: reasons by number.
    Trivial: TypeAlias = Callable[[Ints, Ints], NDArray[np.int8]]
    from saeindex.collection.snapshot import Snapshot


BLOCK = 256
# A pair is kept for an exact test where the likelihood ratio's p is below so many alphas.
SCREEN = 4.0
# The fields of tables that have an entry for each pair.
COLUMNS = ("a", "b", "both", "of_a", "of_b")


@dataclass(frozen=True, eq=False)
class PairTables:
    """2 × 2 tables of pairs (p,): ``both`` of ``records`` have a and b, ``of_a`` have a, ``of_b`` have b."""

    a: Ints
    b: Ints
    both: Doubles
    of_a: Doubles
    of_b: Doubles
    records: int

    def __len__(self) -> int:
        return len(self.a)

    def take(self, rows: Ints) -> PairTables:
        """Return the tables at these positions, in this order."""
        return replace(self, **{name: getattr(self, name)[rows] for name in COLUMNS})

    @cached_property
    def expected(self) -> Doubles:
        """How many records would have both by chance."""
        return self.of_a * self.of_b / max(1, self.records)

    @property
    def lift(self) -> Doubles:
        """Observed over expected."""
        return self.both / np.maximum(self.expected, 1e-12)

    @property
    def npmi(self) -> Doubles:
        """Normalised pointwise mutual information (Bouma 2009), -1 never together to 1 never apart."""
        joint = np.clip(self.both / max(1, self.records), 1e-300, 1.0)
        mutual = np.log(np.maximum(self.lift, 1e-300))
        found = np.where(joint < 1.0, mutual / -np.log(np.minimum(joint, 1 - 1e-15)), 0.0)
        return np.where(self.both > 0, np.clip(found, -1.0, 1.0), -1.0)

    @cached_property
    def g2(self) -> Doubles:
        """The likelihood ratio 2 Σ o ln(o / e), negative where fewer than expected have both."""
        m = float(self.records)
        off_a, off_b = m - self.of_a, m - self.of_b
        total = np.zeros(len(self.a))
        for observed, expected in (
            (self.both, self.expected),
            (self.of_a - self.both, self.of_a * off_b / m),
            (self.of_b - self.both, off_a * self.of_b / m),
            (m - self.of_a - self.of_b + self.both, off_a * off_b / m),
        ):
            ratio = np.maximum(observed, 1e-12) / np.maximum(expected, 1e-12)
            total += np.where(observed > 1e-9, observed * np.log(ratio), 0.0)
        return np.sign(self.both - self.expected) * np.maximum(2.0 * total, 0.0)

    @property
    def evidence(self) -> Doubles:
        """What pairs are ranked by: √(G² · records above or below chance), with the sign of the latter.

        G² alone prefers twins that are hardly ever apart, the excess alone whatever is frequent.
        """
        excess = self.both - self.expected
        return np.sign(excess) * np.sqrt(np.abs(self.g2 * excess))

    def log_odds(self) -> tuple[Doubles, Doubles, Doubles]:
        """Return the log odds ratio and its 95 % interval, half a record added to each cell (Haldane)."""
        a, b, c = self.both + 0.5, self.of_a - self.both + 0.5, self.of_b - self.both + 0.5
        d = self.records - self.of_a - self.of_b + self.both + 0.5
        value = np.log(a * d / (b * c))
        reach = Z95 * np.sqrt(1 / a + 1 / b + 1 / c + 1 / d)
        return value, value - reach, value + reach

    def p_values(self) -> Doubles:
        """Return two-sided p-values: Fisher's test, mid-p."""
        return two_sided(self.both, self.of_a, self.of_b - self.both, self.records - self.of_a)


def count_pairs(
    of_a: csr_matrix,
    of_b: csr_matrix | None,
    min_support: int,
    alpha: float,
    trivial: Trivial,
    reasons: Sequence[str],
    units: Units | None = None,
) -> tuple[PairTables, int, Mapping[str, int]]:
    """Return the possible findings, the number of tests, and the number of trivial pairs by reason.

    ``of_a`` (m, n) and ``of_b`` (m, n') have a 1 where a record has a concept; without ``of_b`` each pair of
    ``of_a`` is taken once. With ``units`` these are counted, not records. Tested are all pairs of concepts
    of at least ``min_support`` records each that ``trivial`` gives no reason to leave out. Of these, those
    with fewer than ``min_support`` records, expected or observed, count as tested and are no findings.
    """
    from scipy.special import erfc

    m = int(of_a.shape[0]) if units is None else len(units)
    weights = np.ones(of_a.shape[0]) if units is None else units.weights
    against = of_a if of_b is None else of_b
    (ids_a, counts_a), (ids_b, counts_b) = (_frequent(has, weights, min_support) for has in (of_a, against))
    left, right = of_a[:, ids_a].tocsc(), against[:, ids_b].tocsr()
    if units is not None and not units.are_records:
        left = left.multiply(weights[:, None]).tocsc()
    tested, removed, found = 0, Counter[str](), list[PairTables]()
    for start in range(0, max(1, len(ids_a)), BLOCK):
        rows = np.arange(start, min(start + BLOCK, len(ids_a)))
        wanted = (ids_b[None] > ids_a[rows, None]) | (of_b is not None)
        why = trivial(ids_a[rows], ids_b)
        for number, reason in enumerate(reasons, 1):
            removed[reason] += int(((why == number) & wanted).sum())
        wanted &= why == 0
        tested += int(wanted.sum())
        both = np.asarray((left[:, rows].T @ right).toarray(), np.float32)
        expected = np.outer(counts_a[rows], counts_b / m)
        i, j = np.nonzero(wanted & ((both >= min_support) | (expected >= min_support)))
        a, own = rows[i], both[i, j].astype(np.float64)
        tables = PairTables(ids_a[a], ids_b[j], own, counts_a[a], counts_b[j], m)
        # Only what is far enough from chance is tested exactly.
        found.append(tables.take(np.flatnonzero(erfc(np.sqrt(np.abs(tables.g2) / 2.0)) < SCREEN * alpha)))
    joined: Any = {name: np.concatenate([getattr(one, name) for one in found]) for name in COLUMNS}
    return PairTables(**joined, records=m), tested, +removed


def _frequent(has: csr_matrix, weights: Doubles, min_support: int) -> tuple[Ints, Doubles]:
    """Return the concepts of at least so many records, and how many have each."""
    counts = np.asarray(has.T @ weights, np.float64).ravel()
    ids = np.flatnonzero(counts >= min_support)
    return ids, counts[ids]


def corrected(p: Doubles, tests: int, method: Correction = "bh") -> Doubles:
    """Return q-values of the smallest p-values among ``tests``, of which the others are 1."""
    factor = float(np.sum(1.0 / np.arange(1, tests + 1))) if method == "by" else 1.0
    return np.minimum(1.0, adjusted(p) * (factor * tests / max(1, len(p))))


# Equal texts are known by so many components of their embeddings, equal to so many decimals.
COMPARED, DECIMALS = 6, 3


@dataclass(frozen=True, eq=False)
class Units:
    """The unit of each record, ``codes`` (m,), and the number of records of each unit, ``sizes`` (u,)."""

    codes: Ints
    sizes: Ints

    def __len__(self) -> int:
        return len(self.sizes)

    @property
    def are_records(self) -> bool:
        """Whether each record is a unit of its own."""
        return len(self.sizes) == len(self.codes)

    @property
    def weights(self) -> Doubles:
        """The weight of each record (m,)."""
        return 1.0 / self.sizes[self.codes]

    def count(self, which: NDArray[np.bool_]) -> int:
        """Return the number of units with one of these records (m,)."""
        return len(np.unique(self.codes[which]))

    def mean(self, values: Doubles) -> Doubles:
        """Return the mean of values (m,) over each unit (u,)."""
        if self.are_records:
            return values
        return np.bincount(self.codes, values, len(self.sizes)) / self.sizes

    def means(self, matrix: csr_matrix) -> csr_matrix:
        """Return the mean of rows (m, n) over each unit (u, n)."""
        from scipy.sparse import csr_matrix

        if self.are_records:
            return matrix
        shape = (len(self.sizes), len(self.codes))
        averaging = csr_matrix((self.weights, (self.codes, np.arange(len(self.codes)))), shape=shape)
        return (averaging @ matrix).tocsr()


def units_of(snapshot: Snapshot, other: Snapshot | None, kept: Ints, unit: str | None) -> Units:
    """Return the units of the records that count: those of a field, where one is named.

    "auto" is the document where there is one. Else, across two fields, records with the same text in the
    further one are one: answers to one prompt (of two further fields the first counts). A record without a
    value is a unit of its own.
    """
    if unit == AUTO:
        unit = DOCUMENT if snapshot.has_documents else None
    if unit is not None:
        codes = unit_codes(snapshot, kept, unit).astype(np.int64)
    elif other is not None:
        # By the embeddings of the texts. Not the main ones: equal answers may be a finding.
        of_prompts = snapshot if snapshot.field or not other.field else other
        seen = np.round(np.asarray(of_prompts.vectors[kept, :COMPARED], np.float64), DECIMALS)
        codes = np.unique(seen, axis=0, return_inverse=True)[1].ravel()
    else:
        codes = np.arange(len(kept))
    _, codes, sizes = np.unique(codes, return_inverse=True, return_counts=True)
    return Units(codes.ravel(), sizes)


def aligned_rows(snapshot: Snapshot, other: Snapshot | None, rows: Ints | None) -> Ints:
    """Return the selected rows that have a text in both fields; InvalidInputError if there are too few."""
    kept = np.arange(len(snapshot)) if rows is None else np.unique(rows)
    if other is not None:
        if other.space.fingerprint != snapshot.space.fingerprint or list(other.ids) != list(snapshot.ids):
            do = "Take both from one index."
            raise InvalidInputError("correlate two fields", "they are of different records", do)
        kept = kept[(snapshot.lengths[kept] > 0) & (other.lengths[kept] > 0)]
    if len(kept) < 2:
        do = "Select more, or a field that the records have."
        raise InvalidInputError("correlate", f"{len(kept)} records", do)
    return kept
