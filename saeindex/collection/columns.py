"""Metadata fields as columns: different values, and which one each record has."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from saeindex.language.evaluate import found_at

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from scipy.sparse import csr_matrix


@dataclass(frozen=True, eq=False)
class Column:
    """``values`` of a field, in order where they are of one kind; ``codes`` (m,) says which, -1 for none."""

    values: tuple[Any, ...]
    codes: NDArray[np.int32]

    @cached_property
    def counts(self) -> NDArray[np.int64]:
        """How many records have each value."""
        return np.bincount(self.codes[self.codes >= 0], minlength=len(self.values))

    @property
    def is_numeric(self) -> bool:
        """Say whether all values are numbers."""
        return all(isinstance(one, int | float) and not isinstance(one, bool) for one in self.values)

    def take(self, rows: NDArray[np.int64]) -> Column:
        """Return the column of some records."""
        return Column(self.values, self.codes[rows])


def column_of(metadata: Sequence[str], path: Sequence[str]) -> Column:
    """Return what records (JSON objects as text) have at a path below the payload."""
    inside = path[1:] if path and path[0] == "metadata" else path
    known: dict[str, int] = {}
    found: list[Any] = []
    codes = np.full(len(metadata), -1, np.int32)
    for row, line in enumerate(metadata):
        value = found_at(json.loads(line), inside)
        if value is None or value == []:
            continue
        key = json.dumps(value, sort_keys=True, ensure_ascii=False)
        if key not in known:
            known[key] = len(found)
            found.append(value)
        codes[row] = known[key]
    return _ordered(found, codes)


def membership_of(column: Column) -> tuple[tuple[Any, ...], csr_matrix]:
    """Return the single values of a column, and which records have each (m, v); lists by their elements."""
    from scipy.sparse import csr_matrix

    elements = [value if isinstance(value, list) else [value] for value in column.values]
    known = {json.dumps(one, sort_keys=True): one for each in elements for one in each}
    values = _sorted(list(known.values()))
    place = {json.dumps(one, sort_keys=True): number for number, one in enumerate(values)}
    rows, columns = [], []
    by_code = [sorted({place[json.dumps(one, sort_keys=True)] for one in each}) for each in elements]
    for row, code in enumerate(column.codes.tolist()):
        if code >= 0:
            rows += [row] * len(by_code[code])
            columns += by_code[code]
    held = np.ones(len(rows), np.float32)
    return tuple(values), csr_matrix((held, (rows, columns)), shape=(len(column.codes), len(values)))


def _ordered(found: list[Any], codes: NDArray[np.int32]) -> Column:
    values = _sorted(found)
    place = {id(value): number for number, value in enumerate(values)}
    moved = np.array([place[id(value)] for value in found] + [-1], np.int32)
    return Column(tuple(values), moved[codes])


def _sorted(values: list[Any]) -> list[Any]:
    """Return values in their own order where they can be compared, else as they came."""
    try:
        return sorted(values)
    except TypeError:
        return values
