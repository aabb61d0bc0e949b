"""What the adapters of other frameworks share: filters, searches by a vector, sparse codes, errors.

Comparisons of metadata, as other frameworks write them, become native filters of an index.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from functools import partial, wraps
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
from pydantic import ValidationError
from qdrant_client.models import FieldCondition, Filter, HasIdCondition, MatchAny, MatchText

from saeindex.config import DEFAULT_SPACE, DENSE
from saeindex.errors import InvalidInputError, InvalidRecordError, MismatchError, NotFoundError, first_fault
from saeindex.features import FeatureSpace
from saeindex.indexing.points import stored_record
from saeindex.language.ast import MAX_VALUES, Compare, Exists, OneOf
from saeindex.language.fields import METADATA, RECORD_ID, field_at
from saeindex.operations.operation import Operation
from saeindex.operations.records import condition_of
from saeindex.protocols import SearchRequest, TextEncoder
from saeindex.schema import option_names
from saeindex.search.hits import Hit
from saeindex.search.query import Query
from saeindex.types import Record

if TYPE_CHECKING:
    from saeindex.collection.state import IndexState
    from saeindex.collection.stored import StoredRecord
    from saeindex.index import FeatureIndex
    from saeindex.types import FloatArray, SparseCode

R = TypeVar("R")
# The metadata that explains a hit, and what it has of it.
WHY, EXPLAINING = "saeindex", ("evidence", "features", "explanation", "steered")
COMPARED = {"$eq": "=", "$ne": "!=", "$gt": ">", "$gte": ">=", "$lt": "<", "$lte": "<="}
ORDERED = {">", ">=", "<", "<="}
NOTHING = Filter(must=[HasIdCondition(has_id=[])])
EVERYTHING = Filter(must_not=[NOTHING])


def field_of(name: str) -> str:
    """Return the field of a name in metadata: dots go into nested objects."""
    return field_at((METADATA, *name.split(".")))


def metadata_of(found: Hit | Record | StoredRecord, explain: bool, *further: str) -> dict[str, Any]:
    """Return metadata, of a hit with what explains it, and with ``further`` parts of it."""
    metadata = dict(found.metadata)
    if explain and isinstance(found, Hit):
        parts = {*EXPLAINING, *further}
        metadata[WHY] = {name: value for name, value in found.to_json().items() if name in parts}
    return metadata


def without_why(metadata: Mapping[str, Any]) -> dict[str, Any]:
    """Return metadata without what explained it in an earlier search."""
    why = metadata.get(WHY)
    is_ours = isinstance(why, Mapping) and bool(why) and why.keys() <= {*EXPLAINING, "score"}
    return {name: value for name, value in metadata.items() if name != WHY or not is_ours}


def indexed(index: FeatureIndex, records: Iterable[Record], what: str, **options: Any) -> None:
    """Index records; InvalidRecordError if some of them cannot be: the others are."""
    report = index.upsert(records, allow_rejects=True, **options)
    if report.rejected:
        found = "; ".join(report.reasons)
        raise InvalidRecordError(f"{report.rejected} of {report.read} {what}", found, "Correct them.")


def made(index: FeatureIndex) -> FeatureIndex:
    """Return an index, whose collection is made if there is none."""
    try:
        index.count()
    except NotFoundError:
        index.upsert([])
    return index


def on_thread(method: Callable[..., R]) -> Callable[..., Coroutine[Any, Any, R]]:
    """Return an async method that runs ``method`` on a thread."""

    @wraps(method)
    async def call(*given: Any, **options: Any) -> R:
        return await asyncio.to_thread(method, *given, **options)

    return call


def check_options(options: Mapping[str, Any], own: str) -> None:
    """Raise InvalidInputError for ``limit``, which is ``own`` in a framework."""
    if "limit" in options:
        raise InvalidInputError(f"limit={options['limit']!r:.80}", f"here it is {own}", f"Use {own}.")


def compared(index: FeatureIndex, field: str, operator: str, value: Any) -> Filter:
    """Return ``field operator value`` for ``=``, ``!=``, ``<``, ``<=``, ``>``, ``>=`` as a native filter.

    What lacks the field is unequal to any value. Texts in order are ISO dates: a day is its first moment, in
    UTC where there is no zone. InvalidInputError for a value that has no order, and for a field that is none.
    """
    in_order = operator in ORDERED
    return _compiled(index, lambda: Compare(field=field, op=operator, value=_value(value, in_order)))  # type: ignore[arg-type]


def one_of(index: FeatureIndex, field: str, values: Iterable[Any]) -> Filter:
    """Return the native filter of records of which ``field`` has one of the ``values``."""
    listed = tuple(_value(one) for one in values)
    parts = [listed[start : start + MAX_VALUES] for start in range(0, len(listed), MAX_VALUES)]
    found: list[Any] = [_compiled(index, partial(OneOf, field=field, values=part)) for part in parts]
    return Filter(should=found) if found else NOTHING


def of_mapping(index: FeatureIndex, given: Mapping[str, Any]) -> Filter | None:
    """Return the native filter of a mapping of metadata fields: to a value, to several, or to operators.

    ``{"year": {"$gte": 2015}, "topic": ["a", "b"]}``; ``$and`` and ``$or`` take a list of mappings.
    """
    parts: list[Filter | None] = []
    for name, value in given.items():
        if name in ("$and", "$or"):
            inner: list[Any] = [one for each in value if (one := of_mapping(index, each)) is not None]
            parts.append(Filter(must=inner) if name == "$and" else Filter(should=inner) if inner else NOTHING)
        elif isinstance(value, Mapping):
            parts += [_operated(index, field_of(name), name, *one) for one in value.items()]
        else:
            parts.append(one_of(index, field_of(name), value if isinstance(value, list) else [value]))
    return all_of(*parts)


def _operated(index: FeatureIndex, field: str, name: str, operator: str, value: Any) -> Filter:
    if operator in COMPARED:
        return compared(index, field, COMPARED[operator], value)
    if operator in ("$in", "$nin") and isinstance(value, list | tuple | set):
        found = one_of(index, field, value)
        return found if operator == "$in" else Filter(must_not=[found])
    if operator == "$exists" and isinstance(value, bool):
        absent = missing(index, field)
        return Filter(must_not=[absent]) if value else absent
    known = ", ".join((*COMPARED, "$in", "$nin", "$exists"))
    do = f"Use {known}; a field inside an object is written 'object.field'."
    raise InvalidInputError(f"a filter on {name}", f"no operator {operator!r} of {value!r:.80}", do)


def missing(index: FeatureIndex, field: str) -> Filter:
    """Return the native filter of records without the field, or where it is null or an empty list."""
    return Filter(must_not=[_compiled(index, partial(Exists, field=field))])


def having_text(field: str, text: str) -> Filter:
    """Return the native filter of records of which ``field`` holds ``text``, as the engine reads texts."""
    return Filter(must=[FieldCondition(key=field, match=MatchText(text=text))])


def having_ids(ids: Iterable[str]) -> Filter:
    """Return the native filter of records with these ids."""
    return Filter(must=[FieldCondition(key=RECORD_ID, match=MatchAny(any=list(ids)))])


def all_of(*filters: Filter | Mapping[str, Any] | None) -> Filter | None:
    """Return the native filter that has those that are given as conditions; None if none is."""
    given: Any = [Filter.model_validate(one) for one in filters if one is not None]
    return Filter(must=given) if given else None


def _compiled(index: FeatureIndex, node: Callable[[], Compare | OneOf | Exists]) -> Filter:
    try:
        found = condition_of(index.state, node(), None)
    except ValidationError as error:
        raise InvalidInputError("a filter", first_fault(error), "Correct it.") from None
    assert found is not None  # noqa: S101
    return found


def _value(value: Any, in_order: bool = False) -> Any:
    if isinstance(value, str) and in_order:
        try:
            value = datetime.fromisoformat(value)
        except ValueError:
            found = "only numbers and dates have an order"
            raise InvalidInputError(f"a filter by {value!r:.80}", found, "Give an ISO date.") from None
    return {"date": value.isoformat()} if isinstance(value, date) else value


# Vectors and codes -----------------------------------------------------------------------------------

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


class SparseCodes:
    """The codes of a space: the index of a number is that of a feature."""

    def __init__(
        self, space: FeatureSpace | str | Path = DEFAULT_SPACE, encoder: TextEncoder | None = None
    ) -> None:
        """MismatchError if ``encoder`` is not that of the space."""
        self.space = space if isinstance(space, FeatureSpace) else FeatureSpace.load(space)
        if encoder is not None:
            self.space.check_encoder(encoder)
        self._encoder = self.space.open_encoder() if encoder is None else encoder

    def of_documents(self, texts: Sequence[str]) -> SparseCode:
        """Return the code of each text that is stored."""
        return self.space.sae.encode(self._encoder.encode_document(texts))

    def of_queries(self, texts: Sequence[str]) -> SparseCode:
        """Return the code of each query."""
        return self.space.sae.encode(self._encoder.encode_query(texts))
