"""Counts of evidence by group and stratum, and the tests between two groups of them.

Records of one unit (a document, an author, a prompt) are not independent. Counts are divided by the design
effect, how much larger the variance of a share is between units than it were between records (Kish 1965; Rao
and Scott 1992), measured for each piece of evidence with both groups pooled, and never below 1.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from saeindex.analysis.stats.two_by_two import FAR, one_sided, sum_tails
from saeindex.concepts.inference import wilson

if TYPE_CHECKING:
    from numpy.typing import DTypeLike, NDArray
    from scipy.sparse import csr_matrix

    from saeindex.types import Doubles, IntArray, Ints


# The standard normal's quantile for intervals of 95 %, and its tail.
Z95, SMALL_TAIL = 1.959963984540054, 0.025
# The p-value below which a difference may be a finding, and whole units are assigned at random.
WORTH = 0.15
# The smallest z from which an interval is made.
MIN_Z = 0.1


@dataclass(frozen=True, eq=False)
class StratifiedCounts:
    """``k`` (S, G, f) records with each piece of evidence, of ``n`` (S, G), by stratum and group."""

    k: Doubles
    n: Doubles

    @classmethod
    def of(
        cls, has: csr_matrix, groups: IntArray | Ints, strata: IntArray | Ints, n_groups: int,
        sizes: Doubles | None = None,
    ) -> StratifiedCounts:  # fmt: skip
        """Count ``has`` (m, f) by groups and strata (m,); a row is one record, or ``sizes`` (m,) of them."""
        n_strata = int(strata.max(initial=0)) + 1
        cells = strata.astype(np.int64) * n_groups + groups
        k = np.asarray((indicator(cells, n_strata * n_groups) @ has).todense(), np.float64)
        n = np.bincount(cells, sizes, n_strata * n_groups).astype(np.float64)
        return cls(k.reshape(n_strata, n_groups, -1), n.reshape(n_strata, n_groups))

    @property
    def shares(self) -> Doubles:
        """The share of each group's records that have each piece of evidence (G, f)."""
        return np.asarray(self.k.sum(0) / np.maximum(self.n.sum(0), 1.0)[:, None])

    @property
    def support(self) -> Doubles:
        """The records of all groups with each piece of evidence (f,)."""
        return np.asarray(self.k.sum((0, 1)))

    def against_others(self, a: int) -> StratifiedCounts:
        """Return the counts of one group and of all others together, in strata where both have records."""
        k = np.stack([self.k[:, a], self.k.sum(1) - self.k[:, a]], 1)
        n = np.stack([self.n[:, a], self.n.sum(1) - self.n[:, a]], 1)
        return StratifiedCounts(k, n).pair(0, 1)

    def pair(self, a: int, b: int) -> StratifiedCounts:
        """Return the counts of two groups, in the strata where both have records."""
        both = (self.n[:, a] > 0) & (self.n[:, b] > 0)
        return StratifiedCounts(self.k[both][:, [a, b]], self.n[both][:, [a, b]])


@dataclass(frozen=True, eq=False)
class Tested:
    """Two-sided ``p``, its one-sided halves, and the difference of shares with intervals, each (f,).

    ``effect`` is the first group's share less the second's, weighted over strata (Mantel and Haenszel),
    ``log_odds`` the difference of the logits of the shares that this compares.
    """

    p: Doubles
    less: Doubles
    more: Doubles
    effect: Doubles
    low: Doubles
    high: Doubles
    log_odds: Doubles
    log_odds_low: Doubles
    log_odds_high: Doubles

    @classmethod
    def picked(cls, each: Sequence[Tested], which: Ints, columns: Ints) -> Tested:
        """Return for each of ``columns`` (c,) the test of the one of ``each`` that ``which`` (c,) says."""
        place = which, np.arange(len(columns))
        names = Tested.__dataclass_fields__
        parts = {name: np.stack([getattr(one, name)[columns] for one in each]) for name in names}
        return cls(**{name: part[place] for name, part in parts.items()})


class UnitTails(Protocol):
    """Tests of columns between two groups that assign whole units to groups at random."""

    def __call__(self, a: int, b: int, columns: Ints) -> tuple[Doubles, Doubles]:
        """Return the one-sided p-values of ``columns``: group ``a`` has the evidence less, and more."""


def compare_groups(
    counts: StratifiedCounts, design: Doubles, tails: UnitTails | None = None, pair: tuple[int, int] = (0, 1)
) -> Tested:
    """Test two groups: ``counts`` of both, by stratum, and the design effects (f,).

    Where ``tails`` tests the ``pair`` of groups by units, intervals alone need the design effects. The larger
    p-value counts, of units and of independent records: assignments of units say too much of a rare word
    where the units of one group have more records.
    """
    less, more = group_tails(counts, design if tails is None else np.ones_like(design))
    if tails is not None:
        columns = np.flatnonzero(2.0 * np.minimum(less, more) < WORTH)
        less, more = larger(less, more, columns, tails(*pair, columns))
    p = np.minimum(1.0, 2.0 * np.minimum(less, more))
    effect, low, high = _difference(counts, design)
    log_odds, low_odds, high_odds = _log_odds(counts, design)
    return Tested(
        p, less, more,
        effect, *agreeing(p, effect, low, high),
        log_odds, *agreeing(p, log_odds, low_odds, high_odds),
    )  # fmt: skip


def larger(
    less: Doubles, more: Doubles, columns: Ints, tails: tuple[Doubles, Doubles]
) -> tuple[Doubles, Doubles]:
    """Return one-sided p-values (f,), in ``columns`` at least those of ``tails``."""
    less, more = less.copy(), more.copy()
    less[columns], more[columns] = np.maximum(less[columns], tails[0]), np.maximum(more[columns], tails[1])
    return less, more


def agreeing(p: Doubles, value: Doubles, low: Doubles, high: Doubles) -> tuple[Doubles, Doubles]:
    """Return 95 % intervals that include 0 exactly where p is above .05.

    Where an interval and its test disagree, which they do near the limit, the end towards 0 is that of the
    test.
    """
    from_test = interval_of_test(p, value)
    disagrees = ((low <= 0) & (high >= 0)) != (p > 2 * SMALL_TAIL)
    low = np.where(disagrees & (value > 0), from_test[0], low)
    return low, np.where(disagrees & (value < 0), from_test[1], high)


def interval_of_test(p: Doubles, value: Doubles) -> tuple[Doubles, Doubles]:
    """Return the 95 % interval of a test: value (1 ± 1.96 / z), for the z of p (Miettinen 1976)."""
    from scipy.special import ndtri

    half = Z95 * np.abs(value) / np.maximum(-ndtri(np.clip(p, 1e-300, 1.0) / 2), MIN_Z)
    return value - half, value + half


def design_effects(
    has: csr_matrix, groups: IntArray, units: IntArray | None, min_effect: float = 1.0
) -> Doubles:
    """Return the design effect of each piece of evidence (f,), 1 where records are independent."""
    if units is None:
        return np.ones(has.shape[1])
    parts = groups.astype(np.int64) * (int(units.max(initial=0)) + 1) + units
    distinct, codes = np.unique(parts, return_inverse=True)
    y = (indicator(codes, len(distinct)) @ has).tocsr()
    sizes = np.bincount(codes).astype(np.float64)
    owners = (distinct // (int(units.max(initial=0)) + 1)).astype(np.int64)
    return effects_between(y, sizes, owners, int(groups.max(initial=0)) + 1, min_effect)


def effects_between(
    y: csr_matrix, sizes: Doubles, groups: Ints, n_groups: int, min_effect: float = 1.0
) -> Doubles:
    """Return the design effects (f,) of units with ``y`` (u, f) of ``sizes`` (u,) records each, by group.

    Σ_g U_g/(U_g-1) Σ_u (y_u - p_g m_u)² / Σ_g n_g p_g (1 - p_g), for units u of group g, at least 1 in tests.
    """
    of_group = indicator(groups, n_groups)
    parts = y, y.multiply(y), y.multiply(sizes[:, None]).tocsr()
    total, squares, cross = (np.asarray((of_group @ part).todense(), np.float64) for part in parts)
    n, count = np.bincount(groups, sizes, n_groups)[:, None], np.bincount(groups, minlength=n_groups)[:, None]
    m_squares = np.bincount(groups, sizes**2, n_groups)[:, None]
    share = total / np.maximum(n, 1.0)
    spread = squares - 2 * share * cross + share**2 * m_squares
    between = (spread * count / np.maximum(1, count - 1)).sum(0)
    within = (n * share * (1 - share)).sum(0)
    return np.asarray(np.maximum(min_effect, between / np.maximum(within, 1e-12)))


def one_hot(codes: NDArray[np.integer[Any]], width: int, dtype: DTypeLike = np.float32) -> csr_matrix:
    """Return a matrix (m, width) with a 1 at each row's code."""
    from scipy.sparse import csr_matrix

    ones: NDArray[Any] = np.ones(len(codes), dtype)
    return csr_matrix((ones, codes, np.arange(len(codes) + 1)), shape=(len(codes), width))


def memberships(codes: NDArray[np.integer[Any]], width: int) -> Doubles:
    """Return :func:`one_hot` as a dense matrix (m, width)."""
    return np.asarray(one_hot(codes, width, np.float64).toarray())


def indicator(codes: NDArray[np.integer[Any]], width: int) -> csr_matrix:
    """Return a matrix (width, m) with a 1 for each of m things in the row of its code."""
    return one_hot(codes, width).T.tocsr()


def group_tails(counts: StratifiedCounts, design: Doubles, far: float = FAR) -> tuple[Doubles, Doubles]:
    """Return the one-sided p-values (f,): Fisher's mid-p of one table, and of a sum over strata.

    Tails nearer than ``far`` standard deviations to the mean may be a normal's.
    """
    k, n = counts.k, counts.n
    if len(n) == 1 and far <= FAR:
        return one_sided(k[0, 0] / design, n[0, 0] / design, k[0, 1] / design, n[0, 1] / design)
    return sum_tails(k[:, 0].sum(0) / design, k.sum(1) / design, n[:, :1] / design, n[:, 1:] / design, far)


def _weights(n: Doubles) -> Doubles:
    weights = n[:, 0] * n[:, 1] / n.sum(1)
    return np.asarray(weights / weights.sum())


def _difference(counts: StratifiedCounts, design: Doubles) -> tuple[Doubles, Doubles, Doubles]:
    """Return the weighted difference of shares and its 95 % interval.

    Of one stratum Newcombe's (1998, method 10); of several Greenland and Robins' (1985), with half a record
    added to each cell's variance.
    """
    k, n = counts.k, counts.n
    weights = _weights(n)[:, None]
    p1, p2 = k[:, 0] / n[:, :1], k[:, 1] / n[:, 1:]
    effect = (weights * (p1 - p2)).sum(0)
    if len(n) == 1:
        (l1, u1), (l2, u2) = (wilson(k[0, g] / n[0, g], n[0, g] / design, Z95) for g in (0, 1))
        low = effect - np.sqrt((p1[0] - l1) ** 2 + (u2 - p2[0]) ** 2)
        return effect, low, effect + np.sqrt((u1 - p1[0]) ** 2 + (p2[0] - l2) ** 2)
    variance = (weights**2 * (_variance(k[:, 0], n[:, :1]) + _variance(k[:, 1], n[:, 1:]))).sum(0) * design
    half = Z95 * np.sqrt(variance)
    return effect, np.maximum(effect - half, -1.0), np.minimum(effect + half, 1.0)


def _variance(k: Doubles, n: Doubles) -> Doubles:
    share = (k + 0.5) / (n + 1)
    return share * (1 - share) / n


def _log_odds(counts: StratifiedCounts, design: Doubles) -> tuple[Doubles, Doubles, Doubles]:
    """Return the difference of the logits of the weighted shares, half a record added, and its interval."""
    k, n = counts.k, counts.n
    weights = _weights(n)[:, None]
    value, variance = 0.0, 0.0
    for group, sign in ((0, 1.0), (1, -1.0)):
        size = float(n[:, group].sum())
        share = (weights * k[:, group] / n[:, group : group + 1]).sum(0)
        drawn = (share * size + 0.5) / (size + 1)
        spread = (weights**2 * _variance(k[:, group], n[:, group : group + 1])).sum(0) * design
        value = value + sign * np.log(drawn / (1 - drawn))
        variance = variance + spread / (drawn * (1 - drawn)) ** 2
    half = Z95 * np.sqrt(variance)
    return np.asarray(value), value - half, value + half


@dataclass(frozen=True, eq=False)
class GroupComparison:
    """Tests (t,): of ``column`` of the evidence, ``group`` against ``against``.

    Of two groups there is one test for each column, and its effect has a sign; of more, each group is tested
    against the one of the others that has the evidence most, and only for having it more.
    """

    column: Ints
    group: Ints
    against: Ints
    tested: Tested

    @classmethod
    def of_two(cls, tested: Tested) -> GroupComparison:
        """Return the tests of the first group against the second."""
        zero = np.zeros(len(tested.p), np.int64)
        return cls(np.arange(len(tested.p)), zero, zero + 1, tested)


def compared(counts: StratifiedCounts, design: Doubles, tails: UnitTails | None = None) -> GroupComparison:
    """Compare the groups of ``counts``, with the design effects ``design`` (f,) or the ``tails`` of units."""
    if counts.n.shape[1] == 2:
        return GroupComparison.of_two(compare_groups(counts.pair(0, 1), design, tails))
    parts = [_above_others(counts, design, group, tails) for group in range(counts.n.shape[1])]
    names = Tested.__dataclass_fields__
    tested = {name: np.concatenate([getattr(part.tested, name) for part in parts]) for name in names}
    column, group, against = (
        np.concatenate([getattr(part, name) for part in parts]) for name in ("column", "group", "against")
    )
    return GroupComparison(column, group, against, Tested(**tested))


def _above_others(
    counts: StratifiedCounts, design: Doubles, group: int, tails: UnitTails | None
) -> GroupComparison:
    """Test one group, where it has the evidence most, against every other; the weakest test counts.

    To say that a group differs from all others, each difference must hold at its level, and none needs
    correction for their number (Berger 1982). The effect is that against the strongest other.
    """
    n_groups, f = counts.k.shape[1:]
    others = np.array([other for other in range(n_groups) if other != group])
    shares = counts.shares
    picked = np.argmax(shares[others], axis=0)
    columns = np.flatnonzero(shares[group] > shares[others[picked], np.arange(f)])
    picked = picked[columns]
    each = [
        compare_groups(counts.pair(group, other), design, tails, (group, other)) for other in others.tolist()
    ]
    weakest = np.max([one.more[columns] for one in each], axis=0)
    tested = replace(Tested.picked(each, picked, columns), p=np.minimum(1.0, 2 * weakest))
    return GroupComparison(columns, np.full(len(columns), group), others[picked], tested)
