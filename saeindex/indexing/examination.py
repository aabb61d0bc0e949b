"""Examination of every point of an index: is it as it was written, and is its record complete?"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from saeindex.config import CONCEPTS, LEVELS, PASSAGES
from saeindex.errors import StorageError
from saeindex.protocols import Damage, Point
from saeindex.stores.base import pages

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from saeindex.protocols import PointId, VectorStore

PAGE = 500
UNREADABLE = "the engine cannot read it"


def examined(store: VectorStore) -> Iterator[list[Point | Damage]]:
    """Yield all points, with payload and vectors or as damaged, page by page in id order.

    A page that the engine cannot read is read point by point.
    """
    for page in pages(store, None, PAGE, with_payload=False):
        ids = [point.id for point in page.points]
        try:
            yield store.examine(ids)
        except StorageError:
            yield [_examined(store, one) for one in ids]


def _examined(store: VectorStore, point_id: PointId) -> Point | Damage:
    missing = Damage(Point(point_id), (UNREADABLE,))
    try:
        return next(iter(store.examine([point_id])), missing)
    except StorageError:
        return missing


@dataclass(slots=True)
class Examination:
    """What an examination found; ``add`` counts pages of points."""

    n_features: int
    points: int = 0
    damaged: list[Damage] = field(default_factory=list)
    records: set[str] = field(default_factory=set)
    _passages: Counter[str] = field(default_factory=Counter)
    _expected: dict[str, int] = field(default_factory=dict)
    _codes: NDArray[np.int64] = field(init=False)

    def __post_init__(self) -> None:
        """Start without points."""
        self._codes = np.zeros(self.n_features * (LEVELS + 1), np.int64)

    @classmethod
    def of(
        cls, store: VectorStore, n_features: int, on_points: Callable[[int], object] = lambda _: None
    ) -> Examination:
        """Examine a store."""
        found = cls(n_features)
        for page in examined(store):
            found.add(page)
            on_points(len(page))
        return found

    def add(self, page: list[Point | Damage]) -> None:
        """Count points."""
        self.points += len(page)
        sound = [one for one in page if isinstance(one, Point)]
        self.damaged += [one for one in page if isinstance(one, Damage)]
        codes = [code for point in sound for code in point.payload.get(CONCEPTS, ())]
        self._codes += np.bincount(np.array(codes, np.int64), minlength=len(self._codes))[: len(self._codes)]
        for point in sound:
            record, payload = str(point.payload.get("record_id")), point.payload
            if not payload.get("passage"):
                self.records.add(record)
                self._expected[record] = payload.get(PASSAGES, 1)
            self._passages[record] += 1

    @property
    def incomplete(self) -> list[str]:
        """The records of which a passage is missing, and those without a first passage."""
        return [one for one, found in self._passages.items() if self._expected.get(one) != found]

    def wrong_facets(self, store: VectorStore) -> int:
        """Return the number of level codes that the engine's index counts otherwise than they are stored."""
        counted = np.zeros_like(self._codes)
        for code, count in store.facet(CONCEPTS, limit=self.n_features * LEVELS):
            counted[int(code)] = count
        return int((counted != self._codes).sum())
