"""What the payloads of a collection look like: counts by facet, and a random sample of them.

Point ids are UUIDv5: the first ones in id order are a uniform random sample. Over it a condition becomes a
mask (m,), so that what holds together is counted together and no independence is assumed.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, TypeAlias, TypeVar

import numpy as np
from numpy.typing import NDArray

from saeindex.config import CONCEPTS, LEVELS
from saeindex.query.matching import condition_holds
from saeindex.query.printing import to_text

if TYPE_CHECKING:
    from qdrant_client.models import Filter

    from saeindex.protocols import PointId, VectorStore
    from saeindex.query.ast import Condition
    from saeindex.types import JsonObject

SAMPLE, PAGE = 4_096, 1_024
# Of a native filter no mask can be computed here: the engine is asked, about fewer points.
FILTERED = 1_024
# Fields with more values than this are not counted by facet.
MOST_VALUES = 10_000
COUNTED_KINDS = frozenset({"keyword", "integer", "integer-range", "bool"})
MOST_NESTED, MOST_FIELDS = 4, 1_000
KEPT = 512
T = TypeVar("T")
Mask: TypeAlias = NDArray[np.bool_]


class Statistics:
    """Counts and masks of one state of a collection; a mask is computed once."""

    def __init__(
        self, store: VectorStore, total: int, ids: Sequence[PointId], payloads: Sequence[JsonObject]
    ) -> None:
        """Take the number of points, and a sample of them; for :func:`read_statistics`."""
        self._store, self.total = store, total
        self._ids, self._payloads = tuple(ids), tuple(payloads)
        self._masks: OrderedDict[Hashable, Mask] = OrderedDict()
        self._values: dict[str, Mapping[object, int] | None] = {}

    def __len__(self) -> int:
        return len(self._ids)

    @cached_property
    def code_counts(self) -> Mapping[int, int]:
        """In how many points each level code is: one facet request."""
        most = self._n_codes
        return {int(code): count for code, count in self._store.facet(CONCEPTS, None, max(1, most))}

    def value_counts(self, field: str) -> Mapping[object, int] | None:
        """In how many points each value of an indexed field is; None where that cannot be counted."""
        if field not in self._values:
            found = None
            if self._store.layout.payload_indexes.get(field) in COUNTED_KINDS:
                counts = self._store.facet(field, None, MOST_VALUES + 1)
                found = dict(counts) if len(counts) <= MOST_VALUES else None
            self._values[field] = found
        return self._values[field]

    def with_any(self, codes: Iterable[int]) -> Mask:
        """Return which sampled points have one of these level codes."""
        mask = np.zeros(len(self), bool)
        starts, rows = self._rows_by_code
        for code in codes:
            if code + 1 < len(starts):
                mask[rows[starts[code] : starts[code + 1]]] = True
        return mask

    def with_condition(self, node: Condition) -> Mask:
        """Return for which sampled points a condition on metadata holds."""

        def computed() -> Mask:
            return np.fromiter((condition_holds(node, p) for p in self._payloads), bool, len(self))

        return self._kept(to_text(node), computed)

    def with_filter(self, query_filter: Filter) -> Mask:
        """Return which of the first 1,024 sampled points (at most) a native filter takes: one request."""
        from qdrant_client.models import Filter, HasIdCondition

        ids = self._ids[:FILTERED]

        def computed() -> Mask:
            among = Filter(must=[HasIdCondition(has_id=list(ids)), query_filter])
            taken = {p.id for p in self._store.scroll(among, max(1, len(ids)), with_payload=False).points}
            return np.fromiter((point_id in taken for point_id in ids), bool, len(ids))

        return self._kept(("filter", query_filter.model_dump_json(exclude_none=True)), computed)

    @cached_property
    def fields(self) -> frozenset[str]:
        """The metadata fields that sampled records have, as paths."""
        found: set[str] = set()
        waiting: list[tuple[str, object, int]] = [
            ("metadata", payload.get("metadata"), 0) for payload in self._payloads
        ]
        while waiting and len(found) < MOST_FIELDS:
            path, value, depth = waiting.pop()
            if depth:
                found.add(path)
            if isinstance(value, Mapping) and depth < MOST_NESTED:
                waiting += [(f"{path}.{name}", inner, depth + 1) for name, inner in value.items()]
        return frozenset(found)

    def _kept(self, key: Hashable, computed: Callable[[], Mask]) -> Mask:
        mask = self._masks.get(key)
        if mask is None:
            mask = self._masks[key] = computed()
            while len(self._masks) > KEPT:
                self._masks.popitem(last=False)
        return mask

    @cached_property
    def _codes(self) -> list[NDArray[np.int64]]:
        return [np.array(payload.get(CONCEPTS, ()), np.int64) for payload in self._payloads]

    @cached_property
    def _n_codes(self) -> int:
        return 0

    @cached_property
    def _rows_by_code(self) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """The sample's codes by column: where each code's rows start, and the rows."""
        codes = np.concatenate([np.zeros(0, np.int64), *self._codes])
        rows = np.repeat(np.arange(len(self)), [len(own) for own in self._codes])
        order = np.argsort(codes, kind="stable")
        highest = int(codes.max(initial=-1))
        starts = np.searchsorted(codes[order], np.arange(highest + 2))
        return starts, rows[order]
