"""The data about a store's records that planning needs, read on first use."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from saeindex.collection.rows import read_rows
from saeindex.collection.sample import CollectionSample, Neighbourhood, read_sample
from saeindex.collection.statistics import Statistics, read_statistics
from saeindex.config import DENSE, SAE
from saeindex.errors import InvalidInputError, NotFoundError
from saeindex.protocols import SearchRequest
from saeindex.stores.base import pages

if TYPE_CHECKING:
    from saeindex.collection.caches import QueryVectors
    from saeindex.collection.rows import Rows
    from saeindex.features import FeatureSpace
    from saeindex.protocols import Point, TextEncoder, VectorStore
    from saeindex.types import FloatArray

# Nearest records that are read in addition to the sample, if that is not the whole collection.
NEAREST = 512
MAX_EXAMPLES = 1_000
REREAD = 16


class Collection:
    """The sample, statistics and records of an index, for its queries."""

    def __init__(
        self,
        store: VectorStore,
        space: FeatureSpace,
        encode: QueryVectors,
        open_encoder: Callable[[], TextEncoder],
        cache: Path | None = None,
    ) -> None:
        """``encode`` turns query texts into vectors; ``cache`` is a folder for embeddings of words."""
        self.store, self.space, self.encode = store, space, encode
        self._open_encoder, self._cache = open_encoder, cache
        self._sample: CollectionSample | None = None
        self._statistics: Statistics | None = None
        self._candidates: tuple[Sequence[Point], CollectionSample, Rows, Neighbourhood] | None = None
        self._lock = threading.Lock()
        self._pinned = threading.local()

    @contextmanager
    def pinned(self) -> Iterator[int]:
        """Count the points once for all calls of this thread within the block; yield their number.

        All calls within it use the same sample, even if records are added meanwhile.
        """
        self._pinned.total, self._pinned.sample = self.store.count(), None
        try:
            yield self._pinned.total
        finally:
            self._pinned.total = self._pinned.sample = None

    @property
    def encoder(self) -> TextEncoder:
        """The space's encoder, loaded on first use."""
        return self._open_encoder()

    def sample(self) -> CollectionSample:
        """Return a sample of the records; it is read again when their number has changed."""
        pinned: CollectionSample | None = getattr(self._pinned, "sample", None)
        if pinned is not None:
            return pinned
        total = getattr(self._pinned, "total", None)
        total = self.store.count() if total is None else total
        with self._lock:
            if total == 0:
                raise InvalidInputError(
                    "a concept, a property or a step", "the index is empty", "Add records first."
                )
            if self._sample is None or self._sample.total != total:
                self._sample = read_sample(self.store, self.space, total, self._cache)
            self._pinned.sample = self._sample if getattr(self._pinned, "total", None) is not None else None
            return self._sample

    def statistics(self, total: int) -> Statistics:
        """Return payload statistics of ``total`` points, read again when that changed by a sixteenth."""
        with self._lock:
            known = self._statistics
            if known is None or REREAD * abs(total - known.total) > known.total:
                known = self._statistics = read_statistics(self.store, self.space.n_features, total)
            return known

    def rows(self, points: Sequence[Point]) -> Rows:
        """Return points (with both vectors and their text) as rows."""
        return read_rows(points, self.space, self.sample().places)

    def candidates(self, points: Sequence[Point], sample: CollectionSample) -> tuple[Rows, Neighbourhood]:
        """Return candidates as rows, and their neighbourhood in ``sample``.

        The result for the last list of points is cached: the explanation of each hit needs it again.
        """
        known = self._candidates
        if known is None or known[0] is not points or known[1] is not sample:
            rows = read_rows(points, self.space, sample.places)
            known = self._candidates = points, sample, rows, Neighbourhood.of(sample, rows)
        return known[2], known[3]

    def nearest(self, vector: FloatArray) -> Rows | None:
        """Return the records nearest to a vector (d,); None if the sample has all records."""
        if self.sample().weight <= 1:
            return None
        request = SearchRequest(vector, limit=NEAREST, with_payload=["text"], with_vectors=[DENSE, SAE])
        return self.rows(self.store.search(request))

    def records(self, ids: Sequence[str], asked: str) -> Rows | None:
        """Return the passages of records given as examples; NotFoundError names the missing records."""
        if not ids:
            return None
        from qdrant_client.models import FieldCondition, Filter, MatchAny

        if isinstance(ids, str) or len(ids) > MAX_EXAMPLES:
            given = "one text" if isinstance(ids, str) else f"{len(ids)} ids"
            raise InvalidInputError(asked, given, f"Give a list of at most {MAX_EXAMPLES} record ids.")
        own = Filter(must=[FieldCondition(key="record_id", match=MatchAny(any=[str(i) for i in ids]))])
        found = pages(self.store, own, with_payload=["record_id", "text"], with_vectors=[DENSE, SAE])
        points = [point for page in found for point in page.points]
        missing = sorted({str(i) for i in ids} - {point.payload["record_id"] for point in points})
        if missing:
            absent = f"no record {', '.join(repr(i) for i in missing[:5])}"
            raise NotFoundError(asked, absent, "Give ids of records in the index.")
        return self.rows(points)
