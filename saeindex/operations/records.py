"""Records: read by id, by document or page by page, counted, deleted, and described by their fields."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import KW_ONLY
from typing import TYPE_CHECKING, Annotated, Any, TypeAlias

from pydantic import BeforeValidator, Field

from saeindex.collection.records import (
    OR_DOCUMENT,
    MetadataField,
    check_choice,
    check_not_documents,
    check_not_records,
    delete_records,
    existing_ids,
    metadata_fields,
    record_ids,
    records_of,
)
from saeindex.config import MAX_LIMIT
from saeindex.errors import InvalidInputError
from saeindex.indexing.points import PRESENT
from saeindex.language.ast import Exists
from saeindex.operations.operation import Change, Operation
from saeindex.operations.search import searcher_of
from saeindex.report.numbers import counted
from saeindex.schema import Ids, Whole, request
from saeindex.search.query import Condition, NativeFilter
from saeindex.stores.filters import restricts

if TYPE_CHECKING:
    from qdrant_client.models import Filter

    from saeindex.collection.current import CurrentState
    from saeindex.collection.state import IndexState
    from saeindex.collection.stored import RecordPart, StoredRecord, StoredRecords

IDS, DOCUMENTS = "ids of records", "documents, each with all its records"
WHERE = "a condition on concepts and metadata, such as 'metadata.year >= 2015'"
FILTER = "a filter in the JSON of Qdrant"
INCLUDE = "what to return besides texts and metadata: concepts, vectors"


def _parts(given: Any) -> Any:
    from saeindex.collection.stored import checked_parts

    return checked_parts(given)


if TYPE_CHECKING:
    Parts: TypeAlias = Sequence[RecordPart]
else:
    Parts = Annotated[tuple[str, ...], BeforeValidator(_parts)]


@request
class Get(Operation["list[StoredRecord]"], results="saeindex.collection.stored"):
    """Return records in the order of ``ids``, with the parts in ``include``; absent ids are left out.

    With ``documents`` instead, all records of each: pieces by number, others by id. NotFoundError for an
    absent id that is a document, and for an absent document that is an id.
    """

    name = "get"

    ids: Ids | None = Field(default=None, max_length=MAX_LIMIT, description=IDS)
    _: KW_ONLY
    documents: Ids | None = Field(default=None, max_length=MAX_LIMIT, description=DOCUMENTS)
    include: Parts = Field(default=("concepts", "vectors"), description=INCLUDE)

    def run(self, state: IndexState) -> list[StoredRecord]:
        """Read."""
        check_choice(self.ids, self.documents, False, "get")
        stored, parts = stored_of(state), self.include
        if self.documents is not None:
            pieces = stored.of_documents(self.documents, parts)
            check_not_records(state.store, {*self.documents} - {one.document for one in pieces})
            return pieces
        ids = self.ids or ()
        found = stored.get(ids, parts)
        if len(found) < len(ids):
            known = {one.id for one in found}
            check_not_documents(state.store, [one for one in ids if one not in known], OR_DOCUMENT)
        return found


@request
class Scroll(Operation["tuple[list[StoredRecord], str | None]"], results="saeindex.collection.stored"):
    """Return a page of the (matching) records, and the ``offset`` of the next page, None after the last.

    Records that are written meanwhile may be missed, no other ones.
    """

    name = "scroll"

    where: Condition | None = Field(default=None, description=WHERE)
    _: KW_ONLY
    query_filter: NativeFilter | None = Field(default=None, description=FILTER)
    limit: Whole = Field(default=100, ge=1, le=MAX_LIMIT, description="the records of a page")
    offset: str | None = Field(default=None, description="what came with the page before")
    include: Parts = Field(default=(), description=INCLUDE)

    def run(self, state: IndexState) -> tuple[list[StoredRecord], str | None]:
        """Read a page."""
        condition = condition_of(state, self.where, self.query_filter)
        return stored_of(state).page(condition, self.limit, self.offset, self.include)


@request
class Count(Operation[int]):
    """Return the number of records, or of those that match."""

    name = "count"

    where: Condition | None = Field(default=None, description=WHERE)
    query_filter: NativeFilter | None = Field(default=None, description=FILTER)

    def run(self, state: IndexState) -> int:
        """Count."""
        return state.store.count(condition_of(state, self.where, self.query_filter))


@request
class Delete(Change[int]):
    """Delete records by id, all records of documents, or all that match; return how many were deleted."""

    name = "delete"

    ids: Ids | None = Field(default=None, max_length=MAX_LIMIT, description=IDS)
    _: KW_ONLY
    documents: Ids | None = Field(default=None, max_length=MAX_LIMIT, description=DOCUMENTS)
    where: Condition | None = Field(default=None, description=WHERE)
    query_filter: NativeFilter | None = Field(default=None, description=FILTER)

    def change(self, current: CurrentState) -> int:
        """Delete."""
        check_choice(self.ids, self.documents, self.where is not None or self.query_filter is not None)
        store = current.store
        with current.write() as write, store.turns.writing(), current.reading() as state:
            found = self._found(state)
            if found:
                with write.points():
                    delete_records(store, found)
            write.end(len(found))
        return len(found)

    def _found(self, state: IndexState) -> set[str]:
        store = state.store
        if self.ids is not None:
            found = existing_ids(store, self.ids)
            check_not_documents(store, [one for one in self.ids if one not in found], OR_DOCUMENT)
        elif self.documents is not None:
            found = record_ids(store, records_of(self.documents))
            if not found:
                check_not_records(store, self.documents)
        else:
            found = record_ids(store, self._condition(state))
        return found

    def _condition(self, state: IndexState) -> Filter:
        """Return the condition of the records to delete; InvalidInputError where it must be a mistake.

        ``metadata.yaer != 2015`` is true of every record, and a filter without conditions, too. What is found
        for a phrase that is no concept has to be right more often than wrong, also where it is denied.
        """
        planner = searcher_of(state).planner
        for field in () if self.where is None else planner.fields_of(self.where):
            if not state.store.count(planner.compile(Exists(field=field))):
                near = planner.checks.near_field(field)
                do = f"Did you mean {near}? Correct the field." if near else "Correct the field."
                raise InvalidInputError("delete", f"no record has {field}", do)
        condition = planner.condition(self.where, self.query_filter)
        for phrase, level, found in () if self.where is None else planner.read_for(self.where):
            asked, records = f"delete by {phrase!r:.80}, which is no concept", found.at(level)
            do = "Search for it, and delete by id what is right, or use the name of a concept."
            if not records:
                raise InvalidInputError(asked, "no record that speaks of it", do)
            if (right := found.precision(level)) < PRESENT:
                of_all = f"{counted(len(records), 'record')}, of which {right:.0%} are expected to be right"
                raise InvalidInputError(asked, of_all, do)
        if condition is None or not restricts(condition):
            everything = "a filter without a condition, which every record matches"
            raise InvalidInputError("delete", everything, "Give ids or a condition.")
        return condition


@request
class MetadataFields(Operation["list[MetadataField]"], results="saeindex.collection.records"):
    """Return the metadata fields: what they hold, an example, and how many records have them."""

    name = "metadata_fields"

    def run(self, state: IndexState) -> list[MetadataField]:
        """Look."""
        return metadata_fields(state.store, state.store.count())


def condition_of(state: IndexState, where: Any, query_filter: Any) -> Filter | None:
    """Return a condition AND a native filter as one native filter."""
    return searcher_of(state).planner.condition(where, query_filter)


def stored_of(state: IndexState) -> StoredRecords:
    """Return the reader of the stored records of a state."""
    from saeindex.collection.stored import StoredRecords

    return state.derived(StoredRecords)
