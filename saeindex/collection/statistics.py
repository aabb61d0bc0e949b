"""Statistics of the payloads of a collection: counts by facet, and a random sample.

Point ids are UUIDv5, so the first points in id order are a uniform random sample. A condition is evaluated as
a mask (m,) over the sample, so joint counts are exact there and no independence is assumed.
"""

from __future__ import annotations

from collections.abc import Collection, Hashable, Iterable, Mapping, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from saeindex.collection.caches import Memo
from saeindex.collection.sample import PAGE, SAMPLE
from saeindex.config import CONCEPTS, DOCUMENT, LEVEL_STRIDE, LEVELS
from saeindex.language.ast import Exists
from saeindex.language.evaluate import found_at, predicate
from saeindex.language.fields import METADATA, NAMES, RECORD_ID, field_at, path_of
from saeindex.language.to_text import to_text
from saeindex.stores.base import first_points

if TYPE_CHECKING:
    from qdrant_client.models import Filter

    from saeindex.language.ast import Condition
    from saeindex.protocols import Point, VectorStore

# Sampled points for a native filter, which the engine evaluates: the request names each point.
FILTERED = 1_024
# Maximum number of values of a field that is counted by facet.
MAX_VALUES = 10_000
COUNTED_KINDS = frozenset({"keyword", "integer", "integer-range", "bool"})
# Maximum depth and number of the metadata fields that are listed for suggestions.
MAX_NESTED, MAX_FIELDS = 4, 1_000
KEPT = 512

Mask: TypeAlias = NDArray[np.bool_]


class Statistics:
    """Counts and masks of one state of a collection, each computed on first use and cached."""

    def __init__(self, store: VectorStore, n_features: int, total: int, points: Sequence[Point]) -> None:
        """``points`` are a sample of the ``total`` points, with payloads; see :func:`read_statistics`."""
        self._store, self._n_codes, self.total = store, n_features * LEVEL_STRIDE, total
        self.ids = tuple(point.id for point in points)
        self._payloads = tuple(point.payload for point in points)
        self._masks: Memo[Mask] = Memo(KEPT)
        self._values: dict[str, dict[str | int, int] | None] = {}
        self._counted: Memo[tuple[int, int]] = Memo(KEPT)
        self._different: dict[str, tuple[list[object], NDArray[np.int64]]] = {}

    def __len__(self) -> int:
        return len(self.ids)

    @cached_property
    def code_counts(self) -> NDArray[np.int64]:
        """The number of points with each level code (codes,): one facet request."""
        counts, max_codes = np.zeros(self._n_codes, np.int64), self._n_codes // LEVEL_STRIDE * LEVELS
        for code, count in self._store.facet(CONCEPTS, None, max_codes, approximate=True):
            counts[int(code)] = count
        return counts

    def value_counts(self, field: str) -> Mapping[str | int, int] | None:
        """Return the number of points with each value of an indexed field; None if it is not counted."""
        if field not in self._values:
            found = None
            is_counted = self._store.layout.payload_indexes.get(field) in COUNTED_KINDS
            if is_counted and field not in NAMES:
                counts = self._store.facet(field, None, MAX_VALUES + 1, approximate=True)
                found = None if len(counts) > MAX_VALUES else dict(counts)
            self._values[field] = found
        return self._values[field]

    def counted(self, node: Condition) -> tuple[int, int] | None:
        """Return the minimum and maximum number of points that a condition on an indexed field matches.

        They differ because a point with several matching values is counted more than once. None if unknown.
        """
        counts = self.value_counts(node.field)
        if counts is None or isinstance(node, Exists):
            return None

        def computed() -> tuple[int, int]:
            takes = predicate(node)
            taken = [count for value, count in counts.items() if takes(value)]
            return max(taken, default=0), min(self.total, sum(taken))

        return self._counted.get(to_text(node), computed)

    def with_any(self, codes: Iterable[int]) -> Mask:
        """Return which sampled points have one of these level codes (m,)."""
        mask = np.zeros(len(self), bool)
        starts, rows = self._rows_by_code
        for code in codes:
            mask[rows[starts[code] : starts[code + 1]]] = True
        return mask

    def among(self, records: Collection[str]) -> Mask:
        """Return which sampled points are of records with these ids (m,)."""
        own = (payload.get(RECORD_ID) in records for payload in self._payloads)
        return np.fromiter(own, bool, len(self))

    def with_condition(self, node: Condition) -> Mask:
        """Return which sampled points fulfil a condition on metadata or id (m,)."""

        def computed() -> Mask:
            different, position = self._values_of(node.field)
            return np.fromiter(map(predicate(node), different), bool, len(different))[position]

        return self._masks.get(to_text(node), computed)

    def values(self, field: str) -> list[object]:
        """Return the different values of a field in sampled points; None where it is missing."""
        return self._values_of(field)[0]

    def with_filter(self, query_filter: Filter) -> Mask:
        """Return which of the first 1,024 sampled points match a native filter: one request."""
        from qdrant_client.models import Filter, HasIdCondition

        ids = self.ids[:FILTERED]

        def computed() -> Mask:
            among = Filter(must=[HasIdCondition(has_id=list(ids)), query_filter])
            taken = {point.id for point in self._store.scroll(among, len(ids), with_payload=False).points}
            return np.fromiter((point_id in taken for point_id in ids), bool, len(ids))

        return self._masks.get((query_filter.model_dump_json(exclude_none=True),), computed)

    def _values_of(self, field: str) -> tuple[list[object], NDArray[np.int64]]:
        """Return the different values of a field in sampled points, and each point's position among them."""
        if field not in self._different:
            path, places, different = path_of(field), [], list[object]()
            known: dict[Hashable, int] = {}
            for payload in self._payloads:
                value = found_at(payload, path)
                key = (type(value), value) if isinstance(value, Hashable) else (len(different),)
                if key not in known:
                    known[key] = len(different)
                    different.append(value)
                places.append(known[key])
            self._different[field] = different, np.array(places, np.int64)
        return self._different[field]

    @cached_property
    def fields(self) -> frozenset[str]:
        """The metadata fields that sampled records have, as the where language writes them."""
        found: set[str] = set()
        first = [payload.get(METADATA) for payload in self._payloads[:FILTERED]]
        waiting: list[tuple[tuple[str, ...], Any, int]] = [((METADATA,), value, 0) for value in first]
        while waiting and len(found) < MAX_FIELDS:
            path, value, depth = waiting.pop()
            if depth:
                found.add(field_at(path))
            if isinstance(value, Mapping) and depth < MAX_NESTED:
                waiting += [((*path, name), inner, depth + 1) for name, inner in value.items() if name]
        return frozenset(found)

    @cached_property
    def _rows_by_code(self) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """The sample's codes by column: where the rows of each code start, and the rows."""
        codes_of = [payload.get(CONCEPTS, ()) for payload in self._payloads]
        rows = np.repeat(np.arange(len(codes_of)), [len(codes) for codes in codes_of])
        codes = np.fromiter((code for own in codes_of for code in own), np.int64, len(rows))
        order = np.argsort(codes, kind="stable")
        return np.searchsorted(codes[order], np.arange(self._n_codes + 1)), rows[order]


def read_statistics(store: VectorStore, n_features: int, total: int) -> Statistics:
    """Read a sample of the payloads of ``store``, which has ``total`` points."""
    points = first_points(store, SAMPLE, PAGE, [CONCEPTS, "metadata", "record_id", DOCUMENT])
    return Statistics(store, n_features, max(total, len(points)), points)
