"""Records: read by id, by document or page by page, counted, deleted, and described by their fields."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import KW_ONLY
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, TypeAlias

from pydantic import BeforeValidator, Field

from saeindex.collection.records import (
    OR_DOCUMENT,
    MetadataField,
    check_choice,
    check_not_documents,
    check_not_records,
    existing_ids,
    metadata_fields,
    records_of,
)
from saeindex.config import MAX_LIMIT
from saeindex.errors import InvalidInputError, NotFoundError
from saeindex.indexing.points import PRESENT, not_whole, point_id
from saeindex.indexing.sources.values import json_metadata
from saeindex.language.ast import Exists
from saeindex.language.fields import METADATA, NAMES, field_at, path_of
from saeindex.operations.operation import Change, Operation
from saeindex.operations.search import searcher_of
from saeindex.report.numbers import counted
from saeindex.schema import Ids, Texts, Whole, request
from saeindex.search.query import Condition, NativeFilter
from saeindex.stores.base import PAGE, pages
from saeindex.stores.filters import restricts
from saeindex.types import JsonObject

if TYPE_CHECKING:
    from qdrant_client.models import Filter

    from saeindex.collection.current import CurrentState
    from saeindex.collection.field_facets import FieldFacets
    from saeindex.collection.state import IndexState
    from saeindex.collection.stored import RecordPart, StoredRecord, StoredRecords
    from saeindex.protocols import PointId

# Records that are updated while searches wait, and on a server, where they do not.
UPDATED_AT_ONCE, UPDATED_ON_SERVER = 100, 1_000
IDS, DOCUMENTS = "ids of records", "documents, each with all its records"
WHERE = "a condition on concepts and metadata, such as 'metadata.year >= 2015'"
FILTER = "a filter in the JSON of Qdrant"
INCLUDE = "what to return besides texts and metadata: concepts, vectors, known (see export), or 'all'"


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
class Sample(Operation["list[StoredRecord]"], results="saeindex.collection.stored"):
    """Return a random sample of the (matching) records, fewer if there are not so many.

    The same seed gives the same records until some are written. Samples of two seeds may overlap.
    """

    name = "sample"

    size: Whole = Field(default=100, ge=1, le=MAX_LIMIT, description="the number of records")
    where: Condition | None = Field(default=None, description=WHERE)
    _: KW_ONLY
    query_filter: NativeFilter | None = Field(default=None, description=FILTER)
    seed: Whole = Field(default=0, ge=0, description="what the sample is made with")
    include: Parts = Field(default=(), description=INCLUDE)

    def run(self, state: IndexState) -> list[StoredRecord]:
        """Read."""
        condition = condition_of(state, self.where, self.query_filter)
        return stored_of(state).sample(condition, self.size, self.seed, self.include)


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
class CountValues(Operation["FieldFacets"], results="saeindex.collection.field_facets"):
    """Return how many records, or of those that match, have each value of a field, and its numbers' sizes.

    NotFoundError if no record has the field.
    """

    name = "facets"

    field: str = Field(description="a field, such as 'metadata.brand'")
    where: Condition | None = Field(default=None, description=WHERE)
    _: KW_ONLY
    query_filter: NativeFilter | None = Field(default=None, description=FILTER)
    limit: Whole = Field(default=10, ge=1, le=MAX_LIMIT, description="the number of values")
    bins: Whole | None = Field(
        default=None, ge=0, le=1_000, description="the most bins of numbers (10) or periods of dates (31)"
    )

    def run(self, state: IndexState) -> FieldFacets:
        """Count."""
        from saeindex.collection.field_facets import FieldColumns

        path = path_of(self.field)
        path = path if path[0] in {METADATA, *NAMES} else (METADATA, *path)
        columns, condition = state.derived(FieldColumns), condition_of(state, self.where, self.query_filter)
        found = columns.facets(field_at(path), path, condition, self.limit, self.bins)
        if not found.present and not columns.has(path):
            near = searcher_of(state).planner.checks.near_field(self.field)
            do = f"Did you mean {near}? Correct the field." if near else "Correct the field."
            raise NotFoundError(f"the field {self.field!r:.80}", "no record has a value of it", do)
        return found


@request
class _ChangeRecords:
    """What changes records by id, all records of documents, or all that match."""

    ids: Ids | None = Field(default=None, max_length=MAX_LIMIT, description=IDS)
    _: KW_ONLY
    documents: Ids | None = Field(default=None, max_length=MAX_LIMIT, description=DOCUMENTS)
    where: Condition | None = Field(default=None, description=WHERE)
    query_filter: NativeFilter | None = Field(default=None, description=FILTER)

    name: ClassVar[str]
    may_be_all: ClassVar[bool] = False

    def _check_choice(self) -> None:
        has_condition = self.where is not None or self.query_filter is not None
        check_choice(self.ids, self.documents, has_condition, self.name)

    def _found(self, state: IndexState) -> list[PointId]:
        store = state.store
        if self.ids is not None:
            there = existing_ids(store, self.ids)
            check_not_documents(store, [one for one in self.ids if one not in there], OR_DOCUMENT)
            return [*map(point_id, there)]
        of_documents = None if self.documents is None else records_of(self.documents)
        condition = self._condition(state) if of_documents is None else of_documents
        found = [point.id for page in pages(store, condition, PAGE, False) for point in page.points]
        if self.documents is not None and not found:
            check_not_records(store, self.documents)
        return found

    def _condition(self, state: IndexState) -> Filter:
        """Return the condition of the records to change; InvalidInputError where it must be a mistake.

        ``metadata.yaer != 2015`` is true of every record, and a filter without conditions, too. What is found
        for a phrase that is no concept has to be right more often than wrong, also where it is denied.
        """
        planner = searcher_of(state).planner
        for field in () if self.where is None else planner.fields_of(self.where):
            if not state.store.count(planner.compile(Exists(field=field))):
                near = planner.checks.near_field(field)
                do = f"Did you mean {near}? Correct the field." if near else "Correct the field."
                raise InvalidInputError(self.name, f"no record has {field}", do)
        condition = planner.condition(self.where, self.query_filter)
        for phrase, level, found in () if self.where is None else planner.read_for(self.where):
            asked, records = f"{self.name} by {phrase!r:.80}, which is no concept", found.at(level)
            do = "Search for it, and delete by id what is right, or use the name of a concept."
            if not records:
                raise InvalidInputError(asked, "no record that speaks of it", do)
            if (right := found.precision(level)) < PRESENT:
                of_all = f"{counted(len(records), 'record')}, of which {right:.0%} are expected to be right"
                raise InvalidInputError(asked, of_all, do)
        if condition is None or not (self.may_be_all or restricts(condition)):
            everything = "a filter without a condition, which every record matches"
            do = "Give ids or a condition; drop_index deletes an index as a whole."
            raise InvalidInputError(self.name, everything, do)
        return condition


@request
class Delete(_ChangeRecords, Change[int]):
    """Delete records by id, all records of documents, or all that match; return how many were deleted."""

    name = "delete"

    def change(self, current: CurrentState) -> int:
        """Delete."""
        self._check_choice()
        store = current.store
        with current.write() as write, store.turns.writing(), current.reading() as state:
            found = self._found(state)
            if found:
                with write.points():
                    store.delete(found)
            write.end(len(found))
        return len(found)


@request
class Update(_ChangeRecords, Change[int]):
    """Set and remove fields of the metadata of records; return how many were changed. Nothing is encoded.

    Records are selected by id, as all of documents, or as all that match (``query_filter={}`` for every
    one); or ``each`` has the fields of each id. Fields that were set so stay when the records are indexed
    again, where their source does not have them. A name is that of a field, and not a path. Readers may see
    some of the records changed and others not.
    InvalidInputError for a field without a value (None, NaN): name it in ``remove``.
    """

    name = "update"
    may_be_all = True

    set: JsonObject = Field(default_factory=dict, description="fields of the metadata, and their values")
    remove: Texts = Field(default=(), description="fields of the metadata that are removed")
    each: Mapping[str, JsonObject] = Field(
        default_factory=dict, max_length=MAX_LIMIT, description="fields of the metadata by the id of a record"
    )

    def change(self, current: CurrentState) -> int:
        """Check, and change."""
        changes: dict[PointId, JsonObject] = {
            point_id(one): self._checked(fields) for one, fields in self.each.items()
        }
        self._check_names(self.remove)
        own = self._checked(self.set) | dict.fromkeys(self.remove)
        if self.each and not own:
            if any((self.ids, self.documents, self.where, self.query_filter)):
                raise InvalidInputError("update", "fields of each id, and a selection", "Give one of them.")
            there = existing_ids(current.store, [*self.each])
            absent = [one for one in self.each if one not in there]
            check_not_documents(current.store, absent, OR_DOCUMENT)
        elif not own or self.each:
            found = "set or remove beside each" if self.each else "no field to change"
            raise InvalidInputError("update", found, "Give set and remove, or each alone.")
        else:
            self._check_choice()
            with current.reading() as state:
                changes = dict.fromkeys(self._found(state), own)
        return updated(current, changes)

    def _checked(self, fields: JsonObject) -> dict[str, Any]:
        self._check_names(fields)
        checked = json_metadata(fields)
        if empty := next((name for name, value in checked.items() if value is None), None):
            do = "Leave it out, so that it stays as it is, or name it in remove."
            raise InvalidInputError("update", f"no value for {empty!r:.80}: null, or not a number", do)
        return checked

    @staticmethod
    def _check_names(fields: Iterable[str]) -> None:
        if any(not one.strip() or "[" in one for one in fields):
            raise InvalidInputError("update", "a field with an empty name, or a bracket in it", "Rename it.")
        if begun := next((one for one in fields if one.startswith(f"{METADATA}.")), None):
            do = f"Name it {begun.removeprefix(f'{METADATA}.')!r:.80}."
            raise InvalidInputError("update", f"a field {begun!r:.80} of the metadata, within them", do)


def updated(current: CurrentState, changes: Mapping[PointId, JsonObject]) -> int:
    """Set fields of the metadata of points, and remove those that are None; count these points."""
    kinds, names = current.store.layout.payload_indexes, set[str]()
    for fields in {id(one): one for one in changes.values()}.values():
        names |= {name for name, value in fields.items() if value is not None}
        if other := not_whole(fields, kinds):
            raise InvalidInputError("update", other, "Set a whole number, or delete the payload index.")
    current.keep_updated(names)  # first: else an interrupted update would be taken back
    count, wanted = 0, [*changes.items()]
    at_once = UPDATED_AT_ONCE if current.store.stale_after is None else UPDATED_ON_SERVER
    with current.write() as write:
        for start in range(0, len(wanted), at_once):
            with write.points(is_of_texts=False) as store:
                count += len(store.set_payload(dict(wanted[start : start + at_once]), METADATA))
        write.end()
    return count


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
