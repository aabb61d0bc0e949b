"""Groups of records to compare: by condition, by value of a field, or by id."""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias, cast

import numpy as np

from saeindex.config import DOCUMENT
from saeindex.errors import InvalidInputError
from saeindex.language import ast
from saeindex.language.evaluate import mismatch, predicate
from saeindex.language.fields import RECORD_ID
from saeindex.language.parser import parse_where
from saeindex.language.to_filter import FeaturesOf, FoundRecords, level_of
from saeindex.language.to_text import to_text
from saeindex.stores.filters import as_filter

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from qdrant_client.models import Filter

    from saeindex.collection.snapshot import Snapshot
    from saeindex.language.ast import Condition, Expression
    from saeindex.types import IntArray, Ints

# A where text or AST, a Qdrant filter, or the ids of records.
Selection: TypeAlias = "str | Expression | Mapping[str, Any] | Filter | Collection[str]"
MAX_GROUPS = 50


@dataclass(frozen=True, eq=False)
class Groups:
    """The ``names`` of groups, and the rows of the snapshot in each; no row is in two groups."""

    names: tuple[str, ...]
    rows: tuple[Ints, ...]
    notes: tuple[str, ...] = ()

    @property
    def sizes(self) -> dict[str, int]:
        """The number of records of each group."""
        return {name: len(rows) for name, rows in zip(self.names, self.rows, strict=True)}

    @property
    def pooled(self) -> Ints:
        """The rows of all groups (m,), group after group."""
        return np.concatenate(self.rows)

    @property
    def codes(self) -> IntArray:
        """The group of each of the pooled rows (m,)."""
        return np.repeat(np.arange(len(self.names), dtype=np.int32), [len(rows) for rows in self.rows])


class Selector:
    """Finds the rows of a selection in a snapshot; ``where`` conditions need no request."""

    def __init__(
        self, snapshot: Snapshot, features_of: FeaturesOf, filtered: Callable[[Any], Sequence[str]]
    ) -> None:
        """Bind the snapshot, the resolver of concepts, and the function from a filter to record ids."""
        self.snapshot, self._features_of, self._filtered = snapshot, features_of, filtered

    def __call__(self, selection: Selection) -> Ints:
        """Return the rows (k,) of a selection, ascending; ids may be in any order."""
        from qdrant_client.models import Filter

        if isinstance(selection, Mapping) and selection.keys() & Filter.model_fields.keys():
            return self(cast("Filter", as_filter(selection)))
        if isinstance(selection, Filter):
            return np.sort(self.snapshot.rows_of(self._filtered(selection)))
        if isinstance(selection, list | tuple | set | frozenset | np.ndarray):
            return np.unique(self.snapshot.rows_of(selection))
        where = cast("str | Expression | Mapping[str, Any]", selection)
        return np.flatnonzero(ast.folded(parse_where(where), self._of_leaf, np.logical_not, _at_least))

    def others(self, rows: Ints) -> Ints:
        """Return the rows that are not among ``rows``."""
        return np.setdiff1d(np.arange(len(self.snapshot)), rows)

    def by_value(self, field: str) -> Groups:
        """Return one group for each value of a field, the largest first; lists count by element."""
        values, member = self.snapshot.membership(field)
        sizes = np.asarray(member.sum(0)).ravel()
        if not 2 <= len(values) <= MAX_GROUPS:
            do = f"Use a field of 2 to {MAX_GROUPS} values, or give conditions."
            raise InvalidInputError(f"groups by {field}", f"{len(values):,} different values", do)
        columns, order = member.tocsc(), np.argsort(-sizes, kind="stable").tolist()
        names = [str(value) for value in values]
        names = [
            json.dumps(value, ensure_ascii=False) if names.count(name) > 1 else name  # 1 is not "1"
            for name, value in zip(names, values, strict=True)
        ]
        return disjoint({names[i]: np.sort(columns[:, i].indices.astype(np.int64)) for i in order})

    def _of_leaf(self, leaf: ast.Leaf) -> NDArray[np.bool_]:
        if not isinstance(leaf, ast.TextTerm):
            return self._with_condition(leaf)
        found, level = self._features_of(leaf), level_of(leaf, None)
        if isinstance(found, FoundRecords):
            ids = found.at(level)
            return np.fromiter((one in ids for one in self.snapshot.ids), bool, len(self.snapshot))
        active = self.snapshot.at(level)[:, list(dict.fromkeys(found))]
        return np.asarray(active.sum(1)).ravel() > 0

    def _with_condition(self, node: Condition) -> NDArray[np.bool_]:
        takes = predicate(node)
        if node.field == RECORD_ID:
            return np.fromiter((takes(one) for one in self.snapshot.ids), bool, len(self.snapshot))
        if node.field == DOCUMENT:
            return np.fromiter((takes(one) for one in self.snapshot.documents), bool, len(self.snapshot))
        column = self.snapshot.column(node.field)
        if other := mismatch(node, column.values):
            raise InvalidInputError(f"the condition {to_text(node)}", other, "Compare it with such a value.")
        taken = np.array([takes(value) for value in column.values] + [takes(None)], bool)
        return taken[column.codes]


def _at_least(node: ast.And | ast.Or | ast.AtLeast, masks: Sequence[NDArray[np.bool_]]) -> NDArray[np.bool_]:
    return np.asarray(np.sum(masks, axis=0) >= ast.required(node))


def disjoint(chosen: Mapping[str, Ints]) -> Groups:
    """Return groups without the records that are in several of them; InvalidInputError if one is empty."""
    if len(chosen) < 2:
        raise InvalidInputError("a comparison", f"{len(chosen)} group", "Give two groups or more.")
    rows = np.concatenate(list(chosen.values()))
    seen, counts = np.unique(rows, return_counts=True)
    shared = seen[counts > 1]
    kept = {name: own[~np.isin(own, shared)] for name, own in chosen.items()}
    if empty := [name for name, own in kept.items() if not len(own)]:
        why = "all of its records are in another group too" if len(chosen[empty[0]]) else "no record is in it"
        raise InvalidInputError(f"the group {empty[0]!r}", why, "Correct its condition.")
    notes = (f"{len(shared):,} records are in several groups and count in none",) if len(shared) else ()
    return Groups(tuple(kept), tuple(kept.values()), notes)
