"""Which group has a piece of evidence more than the others."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

import numpy as np

from saeindex.analysis.stats.stratified import Tested, compare

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from saeindex.analysis.stats.stratified import Counts

    Doubles: TypeAlias = NDArray[np.float64]
    Ints: TypeAlias = NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Comparison:
    """Tests (t,): of ``column`` of the evidence, ``group`` against ``against``.

    Of two groups there is one test for each column, and its effect has a sign; of more, each group is tested
    against the one of the others that has the evidence most, and only for having it more.
    """

    column: Ints
    group: Ints
    against: Ints
    tested: Tested

    @classmethod
    def of_two(cls, tested: Tested) -> Comparison:
        """Return the tests of the first group against the second."""
        zero = np.zeros(len(tested.p), np.int64)
        return cls(np.arange(len(tested.p)), zero, zero + 1, tested)


def compared(counts: Counts, design: Doubles) -> Comparison:
    """Compare the groups of ``counts``, whose design effects are ``design`` (f,)."""
    if counts.n.shape[1] == 2:
        return Comparison.of_two(compare(counts.pair(0, 1), design))
    parts = [_above_others(counts, design, group) for group in range(counts.n.shape[1])]
    tested = {
        name: np.concatenate([getattr(part.tested, name) for part in parts])
        for name in Tested.__dataclass_fields__
    }
    column, group, against = (
        np.concatenate([getattr(part, name) for part in parts]) for name in ("column", "group", "against")
    )
    return Comparison(column, group, against, Tested(**tested))


def _above_others(counts: Counts, design: Doubles, group: int) -> Comparison:
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
    each = [compare(counts.pair(group, int(other)), design) for other in others]
    rows = {
        name: np.stack([getattr(one, name)[columns] for one in each])[picked, np.arange(len(columns))]
        for name in Tested.__dataclass_fields__
    }
    weakest = np.max([one.more[columns] for one in each], axis=0)
    tested = Tested(**{**rows, "p": np.minimum(1.0, 2 * weakest)})
    return Comparison(columns, np.full(len(columns), group), others[picked], tested)
