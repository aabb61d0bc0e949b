"""What matching records have in a field: how many have each value, and numbers and dates by size."""

from __future__ import annotations

import math
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC
from typing import TYPE_CHECKING, Any

import numpy as np

from saeindex.language.ast import moment_in
from saeindex.language.evaluate import found_at
from saeindex.schema import Result
from saeindex.stores.base import pages

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from qdrant_client.models import Filter

    from saeindex.collection.state import IndexState
    from saeindex.protocols import PointId
    from saeindex.types import FloatArray, Ints

PAGE = 5_000
# Conditions of which the matching records are remembered.
CONDITIONS = 16
# The periods by which dates are counted, the finest first, in numpy's names.
PERIODS = ("h", "D", "M", "Y")
# The most bins of numbers and periods of dates, unless other numbers are asked for.
NUMBERS, DATES = 10, 31
# Numbers of which some thousands may have no sum.
LARGE = 2.0**960


@dataclass(frozen=True, slots=True)
class ValueCount(Result):
    """How many records have a value."""

    value: str | int | float | bool
    records: int


@dataclass(frozen=True, slots=True)
class Bin(Result):
    """How many numbers are from ``low`` to below ``high``, in the last bin to ``high`` itself.

    Of dates, these are the first and the last period that are counted together: "2019", or "2019-04-30".
    """

    low: float | str
    high: float | str
    count: int


@dataclass(frozen=True, slots=True)
class FieldFacets(Result):
    """What ``records`` have in a ``field``: ``present`` have a value, or several in a list.

    There are so many ``distinct`` values; ``values`` are the most frequent, equal counts in the order of the
    values. ``minimum``, ``maximum``, ``mean``, ``sum`` and ``bins`` are of the numbers; dates have bins and
    the first two.
    """

    field: str
    records: int
    present: int
    distinct: int
    values: tuple[ValueCount, ...]
    minimum: int | float | str | None = None
    maximum: int | float | str | None = None
    mean: float | None = None
    sum: float | None = None
    bins: tuple[Bin, ...] = ()


@dataclass(frozen=True, slots=True)
class _Column:
    """The values of a field: ``rows`` (v,) are their records, ``codes`` (v,) their places in ``values``.

    ``is_first`` (v,) is false where a record has the value once more. ``sizes`` has a moment per value if it
    is of dates, else a number or not-a-number.
    """

    values: Sequence[Any]
    is_of_dates: bool
    sizes: NDArray[Any]
    rows: Ints
    codes: Ints
    is_first: NDArray[np.bool_]


class FieldColumns:
    """The fields of the records of a state, each read once; safe to share between threads."""

    reads_metadata = True

    def __init__(self, state: IndexState) -> None:
        """Nothing is read before it is asked for."""
        self._store, self._lock = state.store, threading.Lock()
        self._places: dict[PointId, int] = {}
        self._columns: dict[tuple[str, ...], _Column] = {}
        self._matching: dict[str, Ints] = {}

    def facets(
        self, field: str, path: tuple[str, ...], condition: Filter | None, limit: int, bins: int | None
    ) -> FieldFacets:
        """Return what the records that match have at the path of a field."""
        with self._lock:
            column = self._column(path)
            rows = None if condition is None else self._rows(condition)
        codes, is_first, own = column.codes, column.is_first, column.rows
        if rows is not None:
            kept = np.isin(own, rows)
            codes, is_first, own = codes[kept], is_first[kept], own[kept]
        counts = np.bincount(codes[is_first], minlength=len(column.values))
        frequent = np.argsort(-counts, kind="stable")[:limit]
        return FieldFacets(
            field, len(self._places) if rows is None else len(rows), len(np.unique(own)),
            int(np.count_nonzero(counts)),
            tuple(ValueCount(column.values[one], int(counts[one])) for one in frequent if counts[one]),
            **_measured(column, codes, bins),
        )  # fmt: skip

    def has(self, path: tuple[str, ...]) -> bool:
        """Return whether a record has a value there."""
        with self._lock:
            return bool(self._column(path).values)

    def ids_that(self, path: tuple[str, ...], holds: Callable[[Any], bool]) -> list[PointId]:
        """Return the ids of the points of which a value fulfils something."""
        with self._lock:
            column = self._column(path)
            ids = list(self._places)
        wanted = [code for code, value in enumerate(column.values) if holds(value)]
        return [ids[row] for row in np.unique(column.rows[np.isin(column.codes, wanted)]).tolist()]

    def _column(self, path: tuple[str, ...]) -> _Column:
        if path not in self._columns:
            known: dict[tuple[bool, Any], int] = {}
            rows, codes, is_first = list[int](), list[int](), list[bool]()
            for page in pages(self._store, None, PAGE, [path[0]]):
                for point in page.points:
                    row, seen = self._places.setdefault(point.id, len(self._places)), set[int]()
                    for value in _scalars(found_at(point.payload, path)):
                        code = known.setdefault((isinstance(value, bool), value), len(known))
                        rows.append(row)
                        codes.append(code)
                        is_first.append(code not in seen)
                        seen.add(code)
            values = [value for _, value in known]
            order = sorted(range(len(values)), key=lambda one: (_kind(values[one]), values[one]))
            moved = np.empty(len(order), np.int64)
            moved[order] = np.arange(len(order))
            ordered = [values[one] for one in order]
            self._columns[path] = _Column(
                ordered, *_sizes(ordered), np.array(rows, np.int64),
                moved[np.array(codes, np.int64)], np.array(is_first, bool),
            )  # fmt: skip
        return self._columns[path]

    def _rows(self, condition: Filter) -> Ints:
        asked = condition.model_dump_json(exclude_none=True)
        if (found := self._matching.pop(asked, None)) is None:
            ids = (point.id for page in pages(self._store, condition, PAGE, False) for point in page.points)
            known = (self._places.setdefault(one, len(self._places)) for one in ids)
            found = np.fromiter(known, np.int64)
        self._matching[asked] = found  # the latest last
        if len(self._matching) > CONDITIONS:
            del self._matching[next(iter(self._matching))]
        return found


def _scalars(value: Any) -> Iterator[str | float | bool]:
    """Yield the values of a field, of a list one by one; objects have fields of their own."""
    values = value if isinstance(value, list) else [value]
    yield from (one for one in values if isinstance(one, str | int | float))


def _kind(value: Any) -> int:
    return 2 if isinstance(value, str) else 1 if isinstance(value, bool) else 0


def _measured(column: _Column, codes: Ints, bins: int | None) -> dict[str, Any]:
    """Return the size of numbers, or of dates if all are dates; nothing of other values."""
    sizes = column.sizes[codes]
    kept = np.ones(len(sizes), bool) if column.is_of_dates else ~np.isnan(sizes)
    sizes, codes = sizes[kept], codes[kept]
    if not len(codes):
        return {}
    ends = [column.values[codes[one]] for one in (np.argmin(sizes), np.argmax(sizes))]
    found: dict[str, Any] = {"minimum": ends[0], "maximum": ends[1]}
    if bins != 0:
        usual, counted = (DATES, _periods) if column.is_of_dates else (NUMBERS, _bins)
        found["bins"] = counted(sizes, usual if bins is None else bins)
    if not column.is_of_dates:
        scale = 1.0 if np.abs(sizes).max() < LARGE else 1 / LARGE  # else a sum is too large on the way
        part = math.fsum(sizes * scale)
        total = part / scale
        found |= {"sum": total if math.isfinite(total) else None, "mean": part / len(sizes) / scale}
    return found


def _sizes(values: Sequence[Any]) -> tuple[bool, NDArray[Any]]:
    """Return whether all values are dates, and their moments; else the numbers, not-a-number for others."""
    moments = [moment_in(one) if isinstance(one, str) else None for one in values]
    when = [one.astimezone(UTC).replace(tzinfo=None) for one in moments if one is not None]
    if values and len(when) == len(values):
        return True, np.array(when, "datetime64[us]")
    return False, np.array([float(one) if _kind(one) == 0 else np.nan for one in values], float)


def _bins(numbers: FloatArray, bins: int) -> tuple[Bin, ...]:
    low, high = float(numbers.min()), float(numbers.max())
    least = math.ulp(max(abs(low), abs(high)))
    if not (math.isfinite(high - low) and (high - low) / bins > least):  # as near, or as far, as floats get
        return (Bin(low, high, len(numbers)),)
    counts, edges = np.histogram(numbers, bins)
    starts, ends = np.clip(edges[:-1], low, None), np.clip(edges[1:], None, high)
    return tuple(map(Bin, starts.tolist(), ends.tolist(), counts.tolist()))


def _periods(when: NDArray[Any], bins: int) -> tuple[Bin, ...]:
    """Return dates counted by the finest periods of which there are at most ``bins``, else by some years."""
    for unit in PERIODS:
        periods = when.astype(f"datetime64[{unit}]").astype(np.int64)
        first, span = int(periods.min()), int(periods.max() - periods.min()) + 1
        if span <= bins:
            break
    width = -(-span // bins)
    counts = np.bincount((periods - first) // width)
    low = np.arange(first, first + span, width)
    ends = (each.astype(f"datetime64[{unit}]").astype(str).tolist() for each in (low, low + width - 1))
    return tuple(map(Bin, *ends, counts.tolist()))
