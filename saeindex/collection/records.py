"""Counting and deleting records, where the store knows passages."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from saeindex.stores.scroll import PAGE, pages

if TYPE_CHECKING:
    from qdrant_client.models import Filter

    from saeindex.protocols import VectorStore


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


def delete_records(store: VectorStore, ids: Iterable[str]) -> int:
    """Delete whole records by id; return how many of them there were."""
    from qdrant_client.models import FieldCondition, Filter, MatchAny

    doomed, deleted = sorted(set(ids)), 0
    for start in range(0, len(doomed), PAGE):
        match = MatchAny(any=list(doomed[start : start + PAGE]))
        of_records = Filter(must=[FieldCondition(key="record_id", match=match)])
        deleted += len(record_ids(store, of_records))
        store.delete(query_filter=of_records)
    return deleted
