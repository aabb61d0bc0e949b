"""Records in order: the values of a field as periods, early to late."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from saeindex.analysis.drift.options import MAX_PERIODS, MIN_PERIODS
from saeindex.analysis.stats.groups import Groups
from saeindex.errors import InvalidInputError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from saeindex.collection.snapshot import Column, Snapshot

    Doubles: TypeAlias = NDArray[np.float64]

# The minimum number of records of a gathered period.
RECORDS = 25
DAYS = 365.25
# Whole numbers within these are taken for years.
YEARS = (1_000, 2_200)


@dataclass(frozen=True, slots=True)
class Period:
    """A period: the ``first`` and ``last`` of the field's values, and the number of records."""

    name: str
    first: Any
    last: Any
    records: int


@dataclass(frozen=True, eq=False)
class Periods:
    """``periods`` of the field ``over``, early to late, and ``groups``, the rows of the snapshot in each.

    ``scores`` (P,) say where on the field's scale each is, in units of ``per``: a unit of the field, a year,
    or a step of the order. ``values`` counts the different values.
    """

    over: str
    periods: tuple[Period, ...]
    scores: Doubles
    per: str
    groups: Groups
    values: int

    @property
    def names(self) -> tuple[str, ...]:
        """The names of the periods."""
        return tuple(one.name for one in self.periods)

    def halves(self, at: int) -> Groups:
        """Return two groups: the records before the period ``at``, and the others, in the pooled order."""
        rows = self.groups.rows
        return Groups(("early", "late"), (np.concatenate(rows[:at]), np.concatenate(rows[at:])))

    @property
    def middle(self) -> int:
        """The period that splits the records into halves of the most equal size."""
        counts = np.cumsum([one.records for one in self.periods])
        return int(np.argmin(np.abs(counts[:-1] - counts[-1] / 2))) + 1


def periods_of(
    snapshot: Snapshot,
    over: str,
    rows: NDArray[np.int64] | None = None,
    order: Sequence[Any] | None = None,
    max_periods: int = MAX_PERIODS,
) -> Periods:
    """Return the records of ``rows`` (all, where None) by period of the field ``over``.

    The field has numbers, dates (ISO 8601), or values whose ``order`` is given. Up to ``max_periods`` values
    are periods themselves; more values are gathered by quantiles. InvalidInputError if there is no order, or
    fewer than three periods.
    """
    every = np.arange(len(snapshot)) if rows is None else rows
    column = snapshot.column(over).take(every)
    places, per = _in_order(column, over, order)
    placed = np.append(places, np.nan)[column.codes]
    known = np.flatnonzero(~np.isnan(placed))
    distinct = np.unique(placed[known])
    gathered = _gathered(placed[known], distinct, max_periods)
    if len(np.unique(gathered)) < MIN_PERIODS:
        raise InvalidInputError(
            f"a trend over {over}", f"{len(distinct)} different values among {len(known):,} records",
            "Use a field of three or more values; two groups are compared with diff.",
        )  # fmt: skip
    inside = [known[gathered == period] for period in np.unique(gathered)]
    found = tuple(_period(column, placed, own) for own in inside)
    rows_of = tuple(np.sort(every[own]) for own in inside)
    notes = _left_out(len(every) - len(known), over)
    groups = Groups(tuple(one.name for one in found), rows_of, notes)
    scores = np.array([placed[own].mean() for own in inside])
    return Periods(over, found, scores, per, groups, len(distinct))


def _period(column: Column, placed: Doubles, inside: NDArray[np.int64]) -> Period:
    """Return the period of some records with the positions ``placed``."""
    ends = inside[np.argmin(placed[inside])], inside[np.argmax(placed[inside])]
    first, last = (column.values[column.codes[end]] for end in ends)
    shown = [f"{value:g}" if isinstance(value, float) else str(value) for value in (first, last)]
    return Period(shown[0] if first == last else " to ".join(shown), first, last, len(inside))


def _left_out(count: int, over: str) -> tuple[str, ...]:
    return (f"{count:,} records have no {over} in the order, and count in no period",) if count else ()


def _gathered(placed: Doubles, distinct: Doubles, max_periods: int) -> NDArray[np.int64]:
    """Return the period of each record (m,): its value, or its quantile; no value is in two periods."""
    if len(distinct) <= max_periods:
        return np.searchsorted(distinct, placed)
    count = max(MIN_PERIODS, min(max_periods, len(placed) // RECORDS))
    ranks = np.searchsorted(np.sort(placed), distinct, side="left") / len(placed)
    above = np.searchsorted(np.sort(placed), distinct, side="right") / len(placed)
    period_of = np.minimum(((ranks + above) / 2 * count).astype(np.int64), count - 1)
    return period_of[np.searchsorted(distinct, placed)]


def _in_order(column: Column, over: str, order: Sequence[Any] | None) -> tuple[Doubles, str]:
    """Return the position of each value of a column (v,), NaN for none, and the unit of one step."""
    if order is not None:
        return _given(column, over, order), "step"
    for read in (float, _years):
        try:
            places = np.array([read(one) for one in column.values], np.float64)
        except (TypeError, ValueError):
            continue
        return places, "year" if read is _years or _are_years(places) else f"unit of {over}"
    shown = ", ".join(str(one) for one in column.values[:5])
    raise InvalidInputError(
        f"a trend over {over}", f"values that have no order: {shown}",
        "Use a field of numbers or ISO dates, or give the order of its values.",
    )  # fmt: skip


def _are_years(places: Doubles) -> bool:
    known = places[np.isfinite(places)]
    return bool(len(known) and (known % 1 == 0).all() and known.min() >= YEARS[0] and known.max() <= YEARS[1])


def _years(value: Any) -> float:
    when = value if isinstance(value, date) else datetime.fromisoformat(value)
    seconds = 0.0 if not isinstance(when, datetime) else when.hour * 3_600 + when.minute * 60 + when.second
    return (when.toordinal() + seconds / 86_400) / DAYS


def _given(column: Column, over: str, order: Sequence[Any]) -> Doubles:
    place = {str(value): float(number) for number, value in enumerate(order)}
    present = {str(value) for value in column.values}
    absent = [str(value) for value in order if str(value) not in present]
    if absent or len(place) < len(order):
        found = f"no record has {absent[0]!r}" if absent else "a value is named twice"
        raise InvalidInputError(f"an order of {over}", found, "Name values of the field, each once.")
    return np.array([place.get(str(value), np.nan) for value in column.values])
