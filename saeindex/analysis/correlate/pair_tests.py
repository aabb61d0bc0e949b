"""Tests of pairs of concepts: counts of records with both concepts, for millions of pairs at once.

Counts are sparse products of presence matrices, block by block, so that only one block's counts and the
possible findings are in memory. The choice of tested pairs depends on the number of records of each concept
and never on the number with both: leaving out pairs by their counts would invalidate the error rate.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, TypeAlias

import numpy as np

from saeindex.analysis.stats.choices import Correction
from saeindex.analysis.stats.stratified import Z95
from saeindex.analysis.stats.two_by_two import two_sided

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from scipy.sparse import csr_matrix

    from saeindex.analysis.correlate.units import Units

    Doubles: TypeAlias = NDArray[np.float64]
    # Why pairs of some features of one side (b,) with all of the other (c,) say nothing: reasons by number.
    Trivial: TypeAlias = Callable[[NDArray[np.int64], NDArray[np.int64]], NDArray[np.int8]]

BLOCK = 256
# A pair is kept for an exact test where the likelihood ratio's p is below so many alphas.
SCREEN = 4.0


@dataclass(frozen=True, eq=False)
class PairTables:
    """2 × 2 tables of pairs (p,): ``both`` of ``records`` have a and b, ``of_a`` have a, ``of_b`` have b."""

    a: NDArray[np.int64]
    b: NDArray[np.int64]
    both: Doubles
    of_a: Doubles
    of_b: Doubles
    records: int

    def __len__(self) -> int:
        return len(self.a)

    def take(self, rows: NDArray[np.int64]) -> PairTables:
        """Return the tables at these positions, in this order."""
        return PairTables(
            self.a[rows], self.b[rows], self.both[rows], self.of_a[rows], self.of_b[rows], self.records
        )

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
    m = int(of_a.shape[0]) if units is None else len(units)
    weights = np.ones(of_a.shape[0]) if units is None else units.weights
    against = of_a if of_b is None else of_b
    first, second = _frequent(of_a, weights, min_support), _frequent(against, weights, min_support)
    right = against[:, second.ids].tocsr()
    left = of_a[:, first.ids].tocsc()
    if units is not None and not units.are_records:
        left = left.multiply(weights[:, None]).tocsc()
    tested, removed, found = 0, Counter[str](), []
    for start in range(0, len(first.ids), BLOCK):
        rows = np.arange(start, min(start + BLOCK, len(first.ids)))
        wanted = (second.ids[None] > first.ids[rows, None]) | (of_b is not None)
        why = trivial(first.ids[rows], second.ids)
        for number, reason in enumerate(reasons, 1):
            removed[reason] += int(((why == number) & wanted).sum())
        wanted &= why == 0
        tested += int(wanted.sum())
        both = np.asarray((left[:, rows].T @ right).toarray(), np.float32)
        found.append(_screened(both, wanted, first, second, rows, m, min_support, alpha))
    return _joined(found, m), tested, {reason: count for reason, count in removed.items() if count}


def corrected(p: Doubles, tests: int, method: Correction = "bh") -> Doubles:
    """Return q-values of the smallest p-values among ``tests``, of which the others are 1."""
    if not len(p):
        return p
    order = np.argsort(p, kind="stable")
    factor = float(np.sum(1.0 / np.arange(1, tests + 1))) if method == "by" else 1.0
    raw = p[order] * tests * factor / np.arange(1, len(p) + 1)
    q = np.empty_like(p)
    q[order] = np.minimum(1.0, np.minimum.accumulate(raw[::-1])[::-1])
    return q


@dataclass(frozen=True, eq=False)
class _Frequent:
    """Concepts of at least so many records, and how many have each."""

    ids: NDArray[np.int64]
    counts: Doubles


def _frequent(matrix: csr_matrix, weights: Doubles, min_support: int) -> _Frequent:
    counts = np.asarray(matrix.T @ weights, np.float64).ravel()
    ids = np.flatnonzero(counts >= min_support)
    return _Frequent(ids, counts[ids])


def _screened(
    both: NDArray[np.float32],
    wanted: NDArray[np.bool_],
    first: _Frequent,
    second: _Frequent,
    rows: NDArray[np.int64],
    records: int,
    min_support: int,
    alpha: float,
) -> PairTables:
    """Return a block's pairs that are large enough, and far enough from chance to be tested exactly."""
    from scipy.special import erfc

    expected = np.outer(first.counts[rows], second.counts / records)
    i, j = np.nonzero(wanted & ((both >= min_support) | (expected >= min_support)))
    a, b = rows[i], j
    tables = PairTables(
        first.ids[a],
        second.ids[b],
        both[i, j].astype(np.float64),
        first.counts[a],
        second.counts[b],
        records,
    )
    return tables.take(np.flatnonzero(erfc(np.sqrt(np.abs(tables.g2) / 2.0)) < SCREEN * alpha))


def _joined(blocks: Sequence[PairTables], records: int) -> PairTables:
    def together(name: str) -> NDArray[np.float64]:
        return np.concatenate([np.zeros(0), *(getattr(block, name) for block in blocks)])

    a, b = together("a").astype(np.int64), together("b").astype(np.int64)
    return PairTables(a, b, together("both"), together("of_a"), together("of_b"), records)
