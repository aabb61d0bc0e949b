"""Counting inside the engine: how many records have each concept, under any filter, by facets.

Where counts are all that a statistic needs this takes milliseconds and no snapshot. Facets count points: an
index whose records have several passages is counted in a snapshot.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from saeindex.config import CONCEPTS, LEVEL_STRIDE, LEVELS, suffixed
from saeindex.types import LevelName

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from qdrant_client.models import Filter

    from saeindex.protocols import VectorStore

LEVEL_NUMBER: dict[LevelName, int] = {"present": 0, "typical": 1, "strong": 2}


@dataclass(frozen=True, slots=True)
class EngineCounts:
    """Counts of one index's concepts, seen through one text field."""

    store: VectorStore
    n_features: int
    field: str = ""

    def frequencies(self, condition: Filter | None, level: LevelName) -> tuple[int, NDArray[np.int64]]:
        """Return how many points match, and how many have each feature at a level (n,): two requests."""
        counts = np.zeros(self.n_features, np.int64)
        most = self.n_features * LEVELS
        for code, count in self.store.facet(suffixed(CONCEPTS, self.field), condition, most):
            feature, reached = divmod(int(code), LEVEL_STRIDE)
            if reached == LEVEL_NUMBER[level]:
                counts[feature] = count
        return self.store.count(condition), counts

    def cooccurrence(
        self, feature: int, level: LevelName, condition: Filter | None = None
    ) -> tuple[int, NDArray[np.int64]]:
        """Return how many matching points have a feature, and with which others: a row of the matrix (n,)."""
        from qdrant_client.models import FieldCondition, Filter, MatchValue

        code = feature * LEVEL_STRIDE + LEVEL_NUMBER[level]
        having = FieldCondition(key=suffixed(CONCEPTS, self.field), match=MatchValue(value=code))
        both = Filter(must=[having] if condition is None else [having, condition])
        return self.frequencies(both, level)


def apart(conditions: dict[str, Filter]) -> dict[str, Filter]:
    """Return each condition without what the others take too."""
    from qdrant_client.models import Filter

    return {
        name: Filter(must=[own], must_not=[other for key, other in conditions.items() if key != name])
        for name, own in conditions.items()
    }
