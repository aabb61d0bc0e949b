"""Search by a vector that another framework made, which no method of an index takes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from saeindex.config import DENSE
from saeindex.errors import InvalidInputError, MismatchError
from saeindex.indexing.points import stored_record
from saeindex.operations.operation import Operation
from saeindex.operations.records import condition_of
from saeindex.protocols import SearchRequest
from saeindex.schema import option_names
from saeindex.search.query import Query
from saeindex.types import Record

if TYPE_CHECKING:
    from saeindex.collection.state import IndexState
    from saeindex.types import FloatArray

SELECTING = {"text", "where", "query_filter", "limit"}


@dataclass(frozen=True, eq=False)
class ByVector(Operation["list[tuple[Record, float, FloatArray]]"]):
    """The records nearest to a vector (d,), of those that a query selects, with their scores and vectors.

    InvalidInputError for an option that needs a text; MismatchError for a vector of another length.
    """

    vector: Sequence[float]
    query: Query

    def run(self, state: IndexState) -> list[tuple[Record, float, FloatArray]]:
        """Search."""
        if (found := len(self.vector)) != (wanted := state.space.encoder.dimension):
            asked, has = f"a vector of {found} numbers", f"those of the index have {wanted}"
            raise MismatchError(asked, has, "Use embeddings of the index's encoder.")
        given = {name for name in option_names(Query) if getattr(self.query, name) != getattr(Query, name)}
        if further := sorted(given - SELECTING):
            reason = f"{further[0]} needs the text of the query"
            raise InvalidInputError("a search by a vector alone", reason, "Give the text.")
        condition = condition_of(state, self.query.clause, self.query.native)
        vector = np.asarray(self.vector, np.float32)
        request = SearchRequest(vector, limit=self.query.limit, query_filter=condition, with_vectors=[DENSE])
        return [
            (stored_record(one.payload), float(one.score or 0.0), np.asarray(one.vectors[DENSE]))
            for one in state.store.search(request)
        ]
