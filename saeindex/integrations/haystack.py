"""An index in Haystack: as its document store, as a retriever, and its encoder as embedders."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING, Any
from weakref import WeakValueDictionary

from qdrant_client.models import Filter

from saeindex.collection.records import existing_ids
from saeindex.config import DEFAULT_ENCODER
from saeindex.encoders import open_encoder
from saeindex.errors import InvalidInputError, InvalidRecordError, installed, kind_of
from saeindex.index import FeatureIndex
from saeindex.integrations import shared
from saeindex.language.fields import RECORD_ID, path_of
from saeindex.operations.surfaces import every
from saeindex.schema import to_json
from saeindex.search.hits import Hit
from saeindex.search.query import Query
from saeindex.types import Record

installed("haystack", "Haystack", "haystack")

from haystack import Document, component, default_from_dict, default_to_dict  # noqa: E402
from haystack.document_stores.errors import DuplicateDocumentError  # noqa: E402
from haystack.document_stores.types import DuplicatePolicy, FilterPolicy, apply_filter_policy  # noqa: E402
from haystack.errors import FilterError  # noqa: E402

if TYPE_CHECKING:
    from saeindex.collection.stored import StoredRecord
    from saeindex.protocols import TextEncoder

# The open indexes: a directory is opened once in a process, and each component reads its own store from YAML.
_OPEN: WeakValueDictionary[tuple[str, str | None], FeatureIndex] = WeakValueDictionary()
_OPENING = Lock()


class SaeIndexDocumentStore:
    """A :class:`FeatureIndex` as a document store of Haystack.

    The index encodes the contents by its own encoder. Embeddings, scores and sparse embeddings of documents
    are not kept, and a document without text, or with a blob, is an InvalidRecordError. Stores of one path
    share one index within a process.
    """

    def __init__(self, path: str, *, url: str | None = None, space: str | None = None) -> None:
        """``path`` is a directory or, on the Qdrant server at ``url``, the name of a collection.

        Nothing is opened before it is used; then an absent index is created, of the ``space``. ``url="env"``
        is the value of ``QDRANT_URL``; the key is that of ``QDRANT_API_KEY``.
        """
        self.path, self.url, self.space = path, url, space

    def to_dict(self) -> dict[str, Any]:
        """Return the store as Haystack writes it: where it is, not what it holds."""
        return default_to_dict(self, path=self.path, url=self.url, space=self.space)

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> SaeIndexDocumentStore:
        """Return the store that :meth:`to_dict` described."""
        return default_from_dict(cls, data)

    @property
    def index(self) -> FeatureIndex:
        """The index, for all that Haystack has no words for; it is opened or created on first use."""
        place = (self.path if self.url else str(Path(self.path).resolve()), self.url)
        with _OPENING:
            index = self._index = _OPEN.get(place)  # kept open while a store has it
            if index is None or index.is_closed:
                opened = FeatureIndex(self.path, url=self.url, space=self.space)
                index = self._index = _OPEN[place] = shared.made(opened)
        return index

    def count_documents(self) -> int:
        """Return the number of documents."""
        return self.index.count()

    def filter_documents(self, filters: dict[str, Any] | None = None) -> list[Document]:
        """Return all documents, or those that match, in the order of their points."""
        return [_document(one) for one in self._matching(filters)]

    def write_documents(
        self, documents: list[Document], policy: DuplicatePolicy = DuplicatePolicy.NONE
    ) -> int:
        """Index documents; return how many were written.

        NONE is FAIL: DuplicateDocumentError, and none is written, if an id is there or twice among them.
        InvalidInputError for what is no list of documents, InvalidRecordError for a document that cannot be
        indexed.
        """
        if not isinstance(documents, list) or not all(isinstance(one, Document) for one in documents):
            raise InvalidInputError("write_documents", kind_of(documents), "Give a list of documents.")
        given = [_record(one) for one in documents]
        if policy is DuplicatePolicy.OVERWRITE:
            shared.indexed(self.index, {one.id: one for one in given}.values(), "documents")
            return len(given)
        known = existing_ids(self.index.state.store, [one.id for one in given])
        fresh = {one.id: one for one in reversed(given) if one.id not in known}  # the first of each id
        if policy is not DuplicatePolicy.SKIP and len(fresh) < len(given):
            twice = next(one.id for one in given if one.id in known or fresh[one.id] is not one)
            raise DuplicateDocumentError(f"ID {twice!r} already exists.")
        shared.indexed(self.index, fresh.values(), "documents")
        return len(fresh)

    def delete_documents(self, document_ids: list[str]) -> None:
        """Delete documents; absent ids are no error."""
        self.index.delete(query_filter=shared.having_ids(document_ids))

    def delete_all_documents(self) -> None:
        """Delete all documents."""
        self.index.delete(query_filter=shared.EVERYTHING)

    def delete_by_filter(self, filters: dict[str, Any]) -> int:
        """Delete the documents that match; return how many. InvalidInputError for an empty filter."""
        return self.index.delete(query_filter=self._filter(filters))

    def update_by_filter(self, filters: dict[str, Any], meta: dict[str, Any]) -> int:
        """Set fields in the meta of the documents that match; return how many these are."""
        changed = [
            Record(one.id, one.text, {**one.metadata, **meta}, one.fields, one.document)
            for one in self._matching(filters)
        ]
        shared.indexed(self.index, changed, "documents")
        return len(changed)

    def count_documents_by_filter(self, filters: dict[str, Any]) -> int:
        """Return the number of documents that match."""
        return self.index.count(query_filter=self._filter(filters))

    def count_unique_metadata_by_filter(
        self, filters: dict[str, Any], metadata_fields: list[str]
    ) -> dict[str, int]:
        """Return how many different values each field has in the documents that match."""
        found = [one.metadata for one in self._matching(filters)]
        return {name: len(_values(found, name)) for name in metadata_fields}

    def get_metadata_fields_info(self) -> dict[str, dict[str, str]]:
        """Return the fields, and the kinds of values that each holds: ``{"year": {"type": "number"}}``."""
        found = self.index.metadata_fields()
        return {".".join(path_of(one.field)[1:]): {"type": ", ".join(one.kinds)} for one in found}

    def get_metadata_field_min_max(self, metadata_field: str) -> dict[str, Any]:
        """Return the least and the greatest ``min`` and ``max`` of a field; None where no document has it."""
        values = _values([one.metadata for one in self._matching(None)], metadata_field)
        try:
            return {"min": min(values, default=None), "max": max(values, default=None)}
        except TypeError:
            found, do = "values of several kinds, which have no order", "Ask for its unique values."
            raise InvalidInputError(f"the least {metadata_field!r:.80}", found, do) from None

    def get_metadata_field_unique_values(
        self,
        metadata_field: str,
        search_term: str | None = None,
        from_: int = 0,
        size: int = 10,
        filters: dict[str, Any] | None = None,
    ) -> tuple[list[Any], int]:
        """Return a page of the values of a field that hold ``search_term``, and the number of all of them."""
        term = (search_term or "").casefold()
        values = _values([one.metadata for one in self._matching(filters)], metadata_field)
        found = sorted((one for one in values if term in str(one).casefold()), key=str)
        return found[from_ : from_ + size], len(found)

    count_documents_async = shared.on_thread(count_documents)
    filter_documents_async = shared.on_thread(filter_documents)
    write_documents_async = shared.on_thread(write_documents)
    delete_documents_async = shared.on_thread(delete_documents)
    delete_all_documents_async = shared.on_thread(delete_all_documents)
    delete_by_filter_async = shared.on_thread(delete_by_filter)
    update_by_filter_async = shared.on_thread(update_by_filter)
    count_documents_by_filter_async = shared.on_thread(count_documents_by_filter)
    count_unique_metadata_by_filter_async = shared.on_thread(count_unique_metadata_by_filter)
    get_metadata_fields_info_async = shared.on_thread(get_metadata_fields_info)
    get_metadata_field_min_max_async = shared.on_thread(get_metadata_field_min_max)
    get_metadata_field_unique_values_async = shared.on_thread(get_metadata_field_unique_values)

    def search(self, query: Query, filters: dict[str, Any] | None = None) -> list[Document]:
        """Return the best documents for a query of an index, of those that match."""
        both = shared.all_of(query.query_filter, self._filter(filters))
        hits = self.index.search(replace(query, query_filter=both))
        return [_document(hit, query.explain) for hit in hits]

    def _filter(self, filters: dict[str, Any] | None) -> Filter | None:
        return _filter_of(self.index, filters) if filters else None

    def _matching(self, filters: dict[str, Any] | None) -> Iterator[StoredRecord]:
        return every(self.index, query_filter=self._filter(filters))


@component
class SaeIndexRetriever:
    """A component that retrieves documents for a text, by concepts, steering and properties if asked for."""

    def __init__(
        self,
        document_store: SaeIndexDocumentStore,
        *,
        filters: dict[str, Any] | None = None,
        top_k: int = 10,
        filter_policy: str | FilterPolicy = FilterPolicy.REPLACE,
        **options: Any,
    ) -> None:
        """``options`` are those of :meth:`FeatureIndex.search`: ``where``, ``steer``, ``property``, ….

        With ``explain=True`` the meta of a document has ``saeindex``: its evidence, concepts, explanation,
        and the effect of steering. InvalidInputError for an option that a search does not have.
        """
        shared.check_options(options, "top_k")
        self.document_store, self.filters, self.top_k = document_store, filters, top_k
        self.filter_policy = FilterPolicy.from_str(str(filter_policy))
        self.query = Query(limit=top_k, **options)

    def to_dict(self) -> dict[str, Any]:
        """Return the component as Haystack writes it."""
        options = {name: value for name, value in to_json(self.query).items() if name != "limit"}
        return default_to_dict(
            self,
            document_store=self.document_store.to_dict(),
            filters=self.filters,
            top_k=self.top_k,
            filter_policy=self.filter_policy.value,
            **options,
        )

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> SaeIndexRetriever:
        """Return the component that :meth:`to_dict` described."""
        return default_from_dict(cls, data)

    @component.output_types(documents=list[Document])
    def run(
        self,
        query: str,
        filters: dict[str, Any] | None = None,
        top_k: int | None = None,
        where: str | None = None,
        steer: str | None = None,
        property: str | None = None,
    ) -> dict[str, Any]:
        """Return the ``documents``, best first. What is given replaces what the component was made with.

        Raises:
            InvalidInputError: an empty query that has nothing else to rank or to select by.
            UnknownConceptError: ``where`` or ``steer`` names no concept.
            FilterError: ``filters`` is none of Haystack's.
        """
        asked = {"limit": top_k, "where": where, "steer": steer, "property": property}
        given: dict[str, Any] = {name: value for name, value in asked.items() if value is not None}
        merged = apply_filter_policy(self.filter_policy, self.filters, filters)
        return {"documents": self.document_store.search(replace(self.query, text=query, **given), merged)}

    run_async = component.output_types(documents=list[Document])(shared.on_thread(run))


class _Embedder:
    """Opens an encoder by name with the first text."""

    def __init__(self, model: str = DEFAULT_ENCODER) -> None:
        """``model`` is a name or path that :func:`saeindex.open_encoder` takes."""
        self.model = model

    @cached_property
    def encoder(self) -> TextEncoder:
        """The encoder."""
        return open_encoder(self.model)

    def warm_up(self) -> None:
        """Open the encoder."""
        self.encoder  # noqa: B018


@component
class SaeIndexTextEmbedder(_Embedder):
    """A component that encodes a query, for other document stores: a unit vector."""

    @component.output_types(embedding=list[float])
    def run(self, text: str) -> dict[str, Any]:
        """Return the ``embedding`` of a text."""
        return {"embedding": self.encoder.encode_query([text])[0].tolist()}

    run_async = component.output_types(embedding=list[float])(shared.on_thread(run))


@component
class SaeIndexDocumentEmbedder(_Embedder):
    """A component that encodes documents, for other document stores: a unit vector of each."""

    @component.output_types(documents=list[Document])
    def run(self, documents: list[Document]) -> dict[str, Any]:
        """Return copies of the ``documents`` with embeddings; what has no content is an empty text."""
        vectors = self.encoder.encode_document([one.content or "" for one in documents])
        pairs = zip(documents, vectors.tolist(), strict=True)
        return {"documents": [replace(one, embedding=vector) for one, vector in pairs]}

    run_async = component.output_types(documents=list[Document])(shared.on_thread(run))


def _record(document: Document) -> Record:
    if document.blob is not None or not (document.content or "").strip():
        found = "no text" if document.blob is None else "a blob, which an index cannot keep"
        raise InvalidRecordError(f"document {document.id!r}", found, "Write documents of text alone.")
    return Record(document.id, str(document.content), shared.without_why(document.meta))


def _document(found: Hit | StoredRecord, explain: bool = False) -> Document:
    score = found.score if isinstance(found, Hit) else None
    return Document(id=found.id, content=found.text, meta=shared.metadata_of(found, explain), score=score)


def _values(metadata: list[Mapping[str, Any]], name: str) -> list[Any]:
    """Return the different values of a field: 1, 1.0, "1" and True differ."""
    found: dict[tuple[type, Any], Any] = {}
    for value in metadata:
        held: Any = value
        for step in name.removeprefix("meta.").split("."):
            held = held.get(step) if isinstance(held, Mapping) else None
        for one in held if isinstance(held, list) else [held]:
            if one is not None:
                found[type(one), str(one)] = one
    return list(found.values())


def _filter_of(index: FeatureIndex, filters: dict[str, Any]) -> Filter:
    """Return filters of Haystack as a native filter; FilterError for what are none."""
    if missing := {"operator", "value" if "field" in filters else "conditions"} - filters.keys():
        raise FilterError(f"'{min(missing)}' key missing in {filters}")
    if "field" in filters:
        try:
            return _comparison(index, filters["field"], filters["operator"], filters["value"])
        except InvalidInputError as error:
            raise FilterError(str(error)) from error
    parts: list[Any] = [_filter_of(index, one) for one in filters["conditions"]]
    match filters["operator"]:
        case "AND":
            return Filter(must=parts)
        case "OR":
            return Filter(should=parts) if parts else shared.NOTHING
        case "NOT":
            return Filter(must_not=[Filter(must=parts)])
    raise FilterError(f"Unknown logical operator {filters['operator']!r}.")


def _comparison(index: FeatureIndex, name: str, operator: str, value: Any) -> Filter:
    """Return a comparison as a native filter; a field that is absent is None."""
    field = RECORD_ID if name == "id" else shared.field_of(name.removeprefix("meta."))
    if operator in ("in", "not in"):
        if not isinstance(value, list):
            raise FilterError(f"The value of {operator!r} is a list, not {kind_of(value)}.")
        held: list[Any] = [shared.one_of(index, field, [one for one in value if one is not None])]
        held += [shared.missing(index, field)] if None in value else []
        return Filter(should=held) if operator == "in" else Filter(must_not=held)
    if operator not in ("==", "!=") and operator not in shared.ORDERED:
        raise FilterError(f"Unknown comparison operator {operator!r}.")
    if value is not None:
        return shared.compared(index, field, "=" if operator == "==" else operator, value)
    if operator in shared.ORDERED:
        return shared.NOTHING
    absent = shared.missing(index, field)
    return absent if operator == "==" else Filter(must_not=[absent])
