"""Brute-force evaluation of where expressions over whole columns: the reference for the engines.

It shares no code with the package: levels of free features come from the activations and the thresholds,
those of named ones from the evidence of the records' sentences, metadata from the records, and the meaning of
a date text from the moment that it was made of.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from saeindex.language.to_filter import FoundRecords

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from saeindex.language.ast import Expression
    from saeindex.language.to_filter import FeaturesOf
    from saeindex.types import FloatArray, LevelName

    Mask = NDArray[np.bool_]

DAY = 86_400 * 10**6
# Evidence in percent from which on a record has a named concept at each level.
LEAST_PERCENT = {"possible": 20, "present": 50, "typical": 70, "strong": 90}
EPOCH = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)


def microseconds(moment: dt.datetime) -> int:
    """Return a moment as microseconds since 1970."""
    return (moment - EPOCH) // dt.timedelta(microseconds=1)


@dataclass(frozen=True, slots=True)
class Column:
    """A field's values over n records, lists flattened: ``rows`` (m,) is the record of each of m values."""

    n: int
    has_some: Mask
    rows: NDArray[np.int64]
    values: Sequence[Any]

    @classmethod
    def of(cls, found: Sequence[Any]) -> Column:
        """``values`` are the field's values by record, None where it is missing."""
        flat = [(row, each) for row, value in enumerate(found) for each in as_list(value)]
        rows = np.array([row for row, _ in flat], np.int64)
        return cls(
            len(found),
            np.array([value is not None and value != [] for value in found]),
            rows,
            [each for _, each in flat],
        )

    def any(self, test: Callable[[Any], bool]) -> Mask:
        """Return which records (n,) have a value for which ``test`` is true."""
        mask = np.zeros(self.n, bool)
        mask[self.rows[np.fromiter((test(value) for value in self.values), bool, len(self.values))]] = True
        return mask


class BruteForce:
    """Evaluates expressions over n records.

    ``activations`` (n, n_features), ``thresholds`` (n_features,) of the levels typical and strong,
    ``percents`` (n, n_features) the evidence of named features in percent, -1 of all others, ``fields`` the
    records' values by field, ``moments`` the microseconds of each date text.
    """

    def __init__(
        self,
        activations: FloatArray,
        thresholds: Mapping[str, FloatArray],
        percents: NDArray[np.int8],
        fields: Mapping[str, Sequence[Any]],
        moments: Mapping[str, int],
        features_of: FeaturesOf,
    ) -> None:
        self._activations, self._thresholds, self._percents = activations, thresholds, percents
        self._columns = {field: Column.of(found) for field, found in fields.items()}
        self._moments, self._features_of = moments, features_of

    def mask(self, node: Expression, default: LevelName) -> Mask:
        """Return which records (n,) satisfy the expression; ``default`` is the level of bare concepts."""
        if node.kind == "not":
            return ~self.mask(node.part, default)
        if node.kind in ("and", "or", "at_least"):
            n_true = np.sum([self.mask(part, default) for part in node.parts], axis=0)
            needed = {"and": len(node.parts), "or": 1}.get(node.kind) or node.count  # type: ignore[union-attr]
            return np.asarray(n_true >= needed)
        if node.kind in ("feature", "phrase", "family"):
            found = self._features_of(node)
            if isinstance(found, FoundRecords):
                ids = found.at(node.level or default)
                return self._columns["record_id"].any(lambda one: one in ids)
            return self._active(found, node.level or default)
        return self._metadata(node)

    def _active(self, features: Sequence[int], level: str) -> Mask:
        columns = list(features)
        active, percents = self._activations[:, columns], self._percents[:, columns]
        is_above = active >= self._thresholds[level][columns] if level in self._thresholds else active > 0
        is_above = np.where(percents < 0, is_above, percents >= LEAST_PERCENT[level])
        return np.asarray(is_above.any(axis=1))

    def _metadata(self, node: Any) -> Mask:
        column = self._columns[node.field]
        if node.kind == "exists":
            return column.has_some
        if node.kind == "in":
            tests = [self._test("=", value) for value in node.values]
            return column.any(lambda value: any(test(value) for test in tests))
        if node.kind == "between":
            low, high = self._test(">=", node.low), self._test("<=", node.high)
            return column.any(lambda value: low(value) and high(value))
        if node.op == "!=":
            return ~column.any(self._test("=", node.value))
        return column.any(self._test(node.op, node.value))

    def _test(self, op: str, wanted: Any) -> Callable[[Any], bool]:
        """Return a test: does one value of a record compare with ``wanted`` by ``op``?"""
        if hasattr(wanted, "date"):
            return self._date_test(op, wanted.date)
        if op == "=" and not isinstance(wanted, float):
            return lambda value: type(value) is type(wanted) and value == wanted
        compare = COMPARISONS[op]
        return lambda value: type(value) in (int, float) and compare(value, wanted)

    def _date_test(self, op: str, date: str) -> Callable[[Any], bool]:
        first = dt.datetime.fromisoformat(date)
        first = first if first.tzinfo else first.replace(tzinfo=dt.UTC)
        start = microseconds(first)
        # The last microsecond that the date covers: a day is a period, a moment is not.
        end = start + DAY - 1 if len(date) == 10 else start
        tests: dict[str, Callable[[int], bool]] = {
            "=": lambda moment: start <= moment <= end,
            "<": lambda moment: moment < start,
            "<=": lambda moment: moment <= end,
            ">": lambda moment: moment > end,
            ">=": lambda moment: moment >= start,
        }
        test, moments = tests[op], self._moments
        return lambda value: isinstance(value, str) and value in moments and test(moments[value])


COMPARISONS: Mapping[str, Callable[[Any, Any], bool]] = {
    "=": lambda a, b: a == b,
    "<": lambda a, b: a < b,
    "<=": lambda a, b: a <= b,
    ">": lambda a, b: a > b,
    ">=": lambda a, b: a >= b,
}


def as_list(value: Any) -> list[Any]:
    """Return a list's elements, or the one value."""
    return value if isinstance(value, list) else [value]
