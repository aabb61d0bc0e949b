"""Records in a store of passages: their ids, counts and deletion, and counts of their concepts."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from saeindex.config import CONCEPTS, LEVEL_STRIDE, LEVELS, suffixed
from saeindex.errors import InvalidInputError
from saeindex.signatures import check_kind
from saeindex.stores.base import PAGE, pages
from saeindex.types import LevelName

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from qdrant_client.models import Filter

    from saeindex.protocols import VectorStore

LEVEL_NUMBER: dict[LevelName, int] = {"present": 0, "typical": 1, "strong": 2}


def record_ids(store: VectorStore, condition: Filter | None) -> set[str]:
    """Return the ids of all records with a passage that matches."""
    found = pages(store, condition, PAGE, ["record_id"])
    return {point.payload["record_id"] for page in found for point in page.points}


def count_records(store: VectorStore, condition: Filter | None, has_passages: bool) -> int:
    """Return the number of records with a passage that matches."""
    if not has_passages:
        return store.count(condition)
    if condition is None:
        from qdrant_client.models import FieldCondition, Filter, MatchValue

        return store.count(Filter(must=[FieldCondition(key="passage", match=MatchValue(value=0))]))
    return len(record_ids(store, condition))


def check_choice(ids: object, has_condition: bool) -> None:
    """Raise InvalidInputError unless records to delete are selected by a list of ids or by a condition."""
    if (ids is None) == (not has_condition):
        found = "both ids and a condition" if has_condition else "nothing to select by"
        raise InvalidInputError("delete", found, "Give ids, or where and query_filter.")
    if ids is not None:
        check_ids("delete", ids)


def check_ids(asked: str, ids: object) -> None:
    """Raise InvalidInputError unless ``ids`` can be a list of ids."""
    if isinstance(ids, str):
        raise InvalidInputError(asked, "one string as ids", "Give a list of ids.")
    check_kind(f"{asked} {ids!r:.80}", ids, Iterable, "Give a list of ids.")


def existing_ids(store: VectorStore, ids: Iterable[str]) -> set[str]:
    """Return those of the ids that are of a stored record."""
    found: set[str] = set()
    return found.union(*(record_ids(store, of_records) for of_records in _conditions(ids)))


def _conditions(ids: Iterable[str]) -> Iterator[Filter]:
    """Yield conditions that the records of a page of ids fulfil."""
    from qdrant_client.models import FieldCondition, Filter, MatchAny

    wanted = sorted(set(ids))
    for start in range(0, len(wanted), PAGE):
        match = MatchAny(any=list(wanted[start : start + PAGE]))
        yield Filter(must=[FieldCondition(key="record_id", match=match)])


def delete_records(store: VectorStore, ids: Iterable[str]) -> None:
    """Delete whole records by id."""
    for of_records in _conditions(ids):
        store.delete(query_filter=of_records)


@dataclass(frozen=True, slots=True)
class EngineCounts:
    """Counts of an index's concepts in one text field, made by the engine.

    Where a statistic needs only counts, facets take milliseconds and need no snapshot. They count points, so
    an index whose records have several passages is counted in a snapshot instead.
    """

    store: VectorStore
    n_features: int
    field: str = ""

    def frequencies(self, condition: Filter | None, level: LevelName) -> tuple[int, NDArray[np.int64]]:
        """Return the number of matching points, and of those with each feature at a level (n,)."""
        counts = np.zeros(self.n_features, np.int64)
        max_codes = self.n_features * LEVELS
        for code, count in self.store.facet(suffixed(CONCEPTS, self.field), condition, max_codes):
            feature, reached = divmod(int(code), LEVEL_STRIDE)
            if reached == LEVEL_NUMBER[level]:
                counts[feature] = count
        return self.store.count(condition), counts

    def cooccurrence(
        self, feature: int, level: LevelName, condition: Filter | None = None
    ) -> tuple[int, NDArray[np.int64]]:
        """Return the number of matching points with a feature, and of those with each other feature (n,)."""
        from qdrant_client.models import FieldCondition, Filter, MatchValue

        code = feature * LEVEL_STRIDE + LEVEL_NUMBER[level]
        having = FieldCondition(key=suffixed(CONCEPTS, self.field), match=MatchValue(value=code))
        both = Filter(must=[having] if condition is None else [having, condition])
        return self.frequencies(both, level)


def apart(conditions: dict[str, Filter]) -> dict[str, Filter]:
    """Return each condition without the points that another condition also matches."""
    from qdrant_client.models import Filter

    return {
        name: Filter(must=[own], must_not=[other for key, other in conditions.items() if key != name])
        for name, own in conditions.items()
    }
