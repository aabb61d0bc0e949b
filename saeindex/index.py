"""``FeatureIndex``: index records, then search, filter, steer, explain and analyse them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self, Unpack

from saeindex.analysis.methods import AnalysisMethods
from saeindex.collection.current import CurrentState
from saeindex.collection.records import (
    OR_DOCUMENT,
    check_choice,
    check_not_documents,
    check_not_records,
    delete_records,
    existing_ids,
    record_ids,
    records_of,
)
from saeindex.config import DEFAULT_SPACE, FACETS
from saeindex.errors import MismatchError, NotFoundError
from saeindex.features import FeatureSpace
from saeindex.indexing.create_open import IndexParts, create_index, open_index
from saeindex.indexing.manifest import Manifest, index_description, index_info
from saeindex.indexing.names import NamesFile, is_to_learn
from saeindex.indexing.split import check_split
from saeindex.search.query import Query, QueryKeywords, ResultKeywords
from saeindex.signatures import takes
from saeindex.stores.directory import check_outside
from saeindex.stores.point_checks import check_count

if TYPE_CHECKING:
    from narwhals.typing import IntoDataFrame
    from qdrant_client import QdrantClient
    from qdrant_client.models import Filter

    from saeindex.collection.metadata_fields import MetadataField
    from saeindex.collection.state import IndexState
    from saeindex.collection.stored import RecordPart, StoredRecord, StoredRecords
    from saeindex.concepts.feature_card import FeatureCard
    from saeindex.concepts.resolver import Concept, FeatureMatch
    from saeindex.indexing.copy import CopyReport
    from saeindex.indexing.names import NameEdit
    from saeindex.indexing.pipeline import IndexingReport
    from saeindex.indexing.sources.columns import Columns
    from saeindex.protocols import PayloadKind, TextEncoder, VectorStore
    from saeindex.search.compare import Comparison
    from saeindex.search.explain_analyze import Analysis
    from saeindex.search.facets import ConceptFacet, Exclusion
    from saeindex.search.hits import Hits
    from saeindex.search.plan import Plan
    from saeindex.search.planner import Planner
    from saeindex.search.searcher import Searcher
    from saeindex.steering.saved_profile import Profile
    from saeindex.types import JsonObject, Record

REJECTS_FILE = "rejects.jsonl"


class FeatureIndex(AnalysisMethods):
    """An index of records: dense vectors, sparse codes and concepts, in one Qdrant collection.

    ``FeatureIndex(path)`` opens the index at a path, or creates it; :meth:`create` and :meth:`open` do one
    and not the other. Use it as a context manager, or :meth:`close` it. Threads may share it: each operation
    sees the records of one ``revision``, which every write changes.
    """

    name: str
    store: VectorStore
    folder: Path | None

    def __init__(
        self,
        path: str | Path,
        *,
        space: FeatureSpace | str | Path | None = None,
        client: QdrantClient | None = None,
        url: str | None = None,
        fields: Sequence[str] = (),
        encoder: TextEncoder | None = None,
        isolated: bool = False,
    ) -> None:
        """Open an index, or create an empty one if there is none; see :meth:`open` and :meth:`create`."""
        try:
            parts = open_index(path, space, client, url, encoder, isolated)
        except NotFoundError as absent:
            read = _space_of(DEFAULT_SPACE if space is None else space)
            if encoder is not None:
                read.check_encoder(encoder)
            try:
                parts = create_index(
                    path, read, Manifest.describe(read, fields=fields), client, url, isolated, {}
                )
            except MismatchError:
                raise absent from None  # it is there; something that it needs is not
        self._bind(str(path), parts, encoder)

    @classmethod
    def of_parts(cls, name: str, parts: IndexParts, encoder: TextEncoder | None = None) -> Self:
        """Return the index of open parts."""
        index = cls.__new__(cls)
        index._bind(name, parts, encoder)
        return index

    def _bind(self, name: str, parts: IndexParts, encoder: TextEncoder | None) -> None:
        self.name, self.store, self.folder = name, parts.store, parts.folder
        self._encoder = encoder
        self._current = CurrentState(name, parts, lambda: self.encoder)

    @property
    def state(self) -> IndexState:
        """What is derived of the records at the present revision."""
        with self._current.reading() as state:
            return state

    @property
    def manifest(self) -> Manifest:
        """The description of the index: its format, space, encoder, vectors and counts."""
        return self.state.manifest

    @property
    def revision(self) -> str:
        """The id of the index's present contents, which every write changes."""
        return self.state.revision

    @property
    def space(self) -> FeatureSpace:
        """The feature space, with the names that features have in this index."""
        return self.state.space

    @property
    def encoder(self) -> TextEncoder:
        """The encoder of the space, loaded on first use."""
        if self._encoder is None:
            self._encoder = self.space.open_encoder()
        return self._encoder

    @encoder.setter
    def encoder(self, encoder: TextEncoder) -> None:
        self._encoder = encoder

    def refresh(self) -> None:
        """Read the index anew: for writes of programs other than saeindex, which it cannot notice."""
        self._current.refresh()

    @classmethod
    def create(
        cls,
        path: str | Path,
        space: FeatureSpace | str | Path = DEFAULT_SPACE,
        *,
        client: QdrantClient | None = None,
        url: str | None = None,
        encoder: TextEncoder | None = None,
        payload_indexes: Mapping[str, PayloadKind] | None = None,
        fields: Sequence[str] = (),
        shard_number: int | None = None,
        replication_factor: int | None = None,
        write_consistency_factor: int | None = None,
        on_disk_payload: bool | None = None,
        isolated: bool = False,
    ) -> Self:
        """Create an empty index: a directory, or a Qdrant collection if ``client`` or ``url`` is given.

        ``payload_indexes`` (such as ``{"metadata.year": "integer-range"}``)
        speeds up filters and allows facets on your own fields. ``fields`` names further texts of a record
        (``("prompt",)`` beside a response): each has its own vectors and concepts. The four options that
        follow are for Qdrant, for a collection on a server. ``isolated`` is explained at :meth:`open`. If an
        earlier creation was interrupted, it is completed. If the index exists, MismatchError is raised.
        """
        read = _space_of(space)
        manifest = Manifest.describe(read, payload_indexes, fields)
        if encoder is not None:
            read.check_encoder(encoder)
        of_server = {
            "shard_number": shard_number,
            "replication_factor": replication_factor,
            "write_consistency_factor": write_consistency_factor,
            "on_disk_payload": on_disk_payload,
        }
        parts = create_index(path, read, manifest, client, url, isolated, of_server)
        return cls.of_parts(str(path), parts, encoder)

    @classmethod
    def open(
        cls,
        path: str | Path,
        *,
        space: FeatureSpace | str | Path | None = None,
        client: QdrantClient | None = None,
        url: str | None = None,
        encoder: TextEncoder | None = None,
        isolated: bool = False,
    ) -> Self:
        """Open an index; MismatchError if ``space`` or ``encoder`` is not the one it was built with.

        ``isolated`` runs the engine of a directory in a process of its own: what would end this process, such
        as a full disk, is an EngineDiedError.
        """
        return cls.of_parts(str(path), open_index(path, space, client, url, encoder, isolated), encoder)

    def upsert(
        self,
        records: str | Path | IntoDataFrame | Iterable[Record | Mapping[str, Any] | str | Path],
        *,
        split: int | None = None,
        columns: Columns | Mapping[str, Any] | None = None,
        batch_size: int = 512,
        progress: bool | Callable[[int], object] = False,
        learn_names: bool = True,
    ) -> IndexingReport:
        """Index an iterable of ``Record`` or dict, one or more paths, a DataFrame or a Hugging Face data set.

        ``split=200`` makes of each text records of at most 200 tokens, ``ID#0``, ``ID#1``, … of the
        ``document`` ID, which end where sentences end; without it, the encoder ignores the rest of a long
        text, and the report counts such texts. A text that is indexed again replaces all that was made of
        it.

        ``index.upsert("reviews.csv", columns={"text": "review", "id": "review_id"})`` names the columns; else
        text and id are detected by common names, and an id is made from the text. Unchanged records are
        skipped: run it again to resume it. Bad records go to ``rejects.jsonl``. ``progress`` shows a bar, or
        is a function that is told how many further texts are done. What features mean in the index is learned
        at the end of an upsert of several records once it has 64, and again when as many were written as it
        had then; not with ``learn_names=False``.
        """
        from saeindex.indexing.pipeline import Pipeline, index_source
        from saeindex.indexing.sources.columns import Columns
        from saeindex.indexing.sources.open_source import open_source

        check_count("an upsert", "batch_size", batch_size, 1)
        check_split(split, lambda: self.encoder)
        picked = Columns.read({} if columns is None else columns).of_index(self.name, self.fields)
        source = open_source(records, columns=picked)
        with self._current.write() as write:
            pipeline = partial(
                Pipeline, self.store, self.space, self.encoder, split, writing=write.points,
                window=batch_size, fields=self.fields,
            )  # fmt: skip
            report = index_source(source, pipeline, self.rejects_path, progress)
            write.end(report.records)
        kept = self.manifest
        if learn_names and report.records > 1 and is_to_learn(kept.names, kept.counts.records, kept.written):
            self.learn_names()
        return report

    def learn_names(self) -> None:
        """Learn anew what features mean in the records; see :meth:`upsert` for when it is done by itself."""
        self._current.learn_names()

    def delete(
        self,
        ids: Sequence[str] | None = None,
        *,
        documents: Sequence[str] | None = None,
        where: str | None = None,
        query_filter: Filter | JsonObject | None = None,
    ) -> int:
        """Delete records by id, all records of documents, or all that match; return how many were deleted."""
        check_choice(ids, documents, where is not None or query_filter is not None)
        with self._current.write() as write, self.store.turns.writing(), self._current.reading() as state:
            if ids is not None:
                found = existing_ids(self.store, ids)
                check_not_documents(self.store, [one for one in ids if one not in found], OR_DOCUMENT)
            elif documents is not None:
                found = record_ids(self.store, records_of(documents))
                if not found:
                    check_not_records(self.store, documents)
            else:
                found = record_ids(self.store, planner_of(state).condition(where, query_filter))
            if found:
                with write.points():
                    delete_records(self.store, found)
            write.end(len(found))
        return len(found)

    def part(self, where: str | None = None, *, query_filter: Filter | JsonObject | None = None) -> Self:
        """Return the records that match as an index of their own, which is only read, while this one is open.

        Its answers are those of an index that has no other records; own names and profiles stay here. Which
        records match is asked of the engine each time; what is derived of them is as of now.
        """
        from saeindex.collection.part import part_of

        with self._current.reading() as state:
            selected = planner_of(state).condition(where, query_filter)
        given = self._current.given_space
        parts = part_of(self.store, given, state.manifest, selected, lambda: self.encoder)
        return type(self).of_parts(self.name, parts, self.encoder)

    def copy(
        self,
        path: str | Path,
        space: FeatureSpace | str | Path | None = None,
        *,
        client: QdrantClient | None = None,
        url: str | None = None,
        encoder: TextEncoder | None = None,
        calibrate: bool = False,
        progress: bool = False,
    ) -> CopyReport:
        """Make a new index of the records: a directory, or a collection if ``client`` or ``url`` is given.

        See :func:`saeindex.copy_index`, which also copies an index of an earlier format.
        """
        from saeindex.indexing.copy import CopyTarget, copy_parts

        with self._current.reading() as state:
            parts = IndexParts(self.store, self._current.given_space, state.manifest, self.folder)
            target = CopyTarget(path, space, client, url, encoder, calibrate, progress)
            return copy_parts(self.name, parts, target)

    def get(
        self,
        ids: Sequence[str] | None = None,
        *,
        documents: Sequence[str] | None = None,
        include: Sequence[RecordPart] = ("concepts", "vectors"),
    ) -> list[StoredRecord]:
        """Return records in the order of ``ids``, with the parts in ``include``; absent ids are left out.

        With ``documents`` instead, all records of each: pieces by number, others by id. NotFoundError for an
        absent id that is a document, and for an absent document that is an id.
        """
        check_choice(ids, documents, False, "get")
        with self._current.reading() as state:
            stored = stored_of(state)
            if documents is not None:
                pieces = stored.of_documents(documents, include)
                check_not_records(self.store, {*map(str, documents)} - {one.document for one in pieces})
                return pieces
            assert ids is not None  # noqa: S101 - checked
            found = stored.get(ids, include)
            if len(found) < len(ids):
                known = {one.id for one in found}
                absent = [one for one in map(str, ids) if one not in known]
                check_not_documents(self.store, absent, OR_DOCUMENT)
            return found

    def records(
        self,
        where: str | None = None,
        *,
        query_filter: Filter | JsonObject | None = None,
        limit: int = 100,
        offset: str | None = None,
        include: Sequence[RecordPart] = (),
    ) -> tuple[list[StoredRecord], str | None]:
        """Return a page of the (matching) records, and the ``offset`` of the next page, None after the last.

        Records that are written meanwhile may be missed, no other ones.
        """
        with self._current.reading() as state:
            condition = planner_of(state).condition(where, query_filter)
            return stored_of(state).page(condition, limit, offset, include)

    def export(
        self,
        path: str | Path,
        where: str | None = None,
        *,
        query_filter: Filter | JsonObject | None = None,
        include: Sequence[RecordPart] = (),
    ) -> int:
        """Write the records, or those that match, to a ``.jsonl`` or ``.parquet`` file; return their number.

        ``include`` names what is written besides ids, documents, texts and metadata: ``"concepts"``,
        ``"vectors"``. The file appears when it is complete; of no records none is written, and one of that
        name stays. Indexed again, it changes nothing.
        """
        check_outside(self.folder, Path(path), "an export")
        with self._current.reading() as state:
            condition = planner_of(state).condition(where, query_filter)
            return stored_of(state).export(condition, Path(path), include)

    @takes(Query, without=("text",))
    def search(self, /, query: str | Query = "", **options: Unpack[QueryKeywords]) -> Hits:
        """Return the best hits for a text or a :class:`Query`; ``options`` are the fields of the query.

        ``index.search("galaxy rotation", where='NOT "simulation"', steer="+theory:0.5", explain=True)``
        """
        with self._current.reading() as state:
            return searcher_of(state).search(query, **options)

    @takes(Query, without=("text",))
    def search_many(self, /, queries: Sequence[str | Query], **options: Unpack[QueryKeywords]) -> list[Hits]:
        """Return the hits of each query, the same as :meth:`search` returns; texts are encoded in batches.

        ``options`` apply to all queries. If one is wrong, none is run, and the error gives its number from 1.
        """
        with self._current.reading() as state:
            return searcher_of(state).search_many(queries, **options)

    @takes(Query, without=("text",))
    def plan(self, /, query: str | Query = "", **options: Unpack[QueryKeywords]) -> Plan:
        """Return the plan that :meth:`search` would run, without running it."""
        with self._current.reading() as state:
            return searcher_of(state).plan(query, **options)

    @takes(Query, without=("text",))
    def explain_analyze(self, /, query: str | Query = "", **options: Unpack[QueryKeywords]) -> Analysis:
        """Run a query and return its plan beside the measured counts and times of each stage.

        The records that match the filter are counted for this analysis only; a search does not count them.
        """
        with self._current.reading() as state:
            return searcher_of(state).explain_analyze(query, **options)

    @takes(Query, without=("text",))
    def compare(self, /, query: str | Query, a: str, b: str, **options: Unpack[QueryKeywords]) -> Comparison:
        """Return why record ``a`` ranks above or below record ``b`` for a query. They need not be hits.

        The differences of their parts sum to the difference of their scores. Filters and thresholds are
        ignored, except where a fused score depends on the ranks among the hits.
        """
        with self._current.reading() as state:
            return searcher_of(state).compare(query, a, b, **options)

    @takes(Query, without=("text", "limit"))
    def concept_facets(
        self, /, query: str | Query = "", limit: int = FACETS, **options: Unpack[ResultKeywords]
    ) -> list[ConceptFacet]:
        """Return the concepts that are more frequent in a query's results than in the index, best first.

        For a query that ranks, the best 50 results count; for a query that only filters, all its matches.
        """
        with self._current.reading() as state:
            return searcher_of(state).concept_facets(query, limit, **options)

    @takes(Query, without=("text", "limit"))
    def suggest_exclusions(
        self, /, query: str | Query, limit: int = FACETS, **options: Unpack[ResultKeywords]
    ) -> list[Exclusion]:
        """Return the concepts that 15 to 60 % of a query's results have and that its text does not mention.

        Each has a ``where`` clause that excludes it, and the number of results that the clause removes.
        """
        with self._current.reading() as state:
            return searcher_of(state).suggest_exclusions(query, limit, **options)

    def features(self, phrase: str, limit: int = 10) -> list[FeatureMatch]:
        """Return the features that match a phrase, best first."""
        with self._current.reading() as state:
            return planner_of(state).resolver.match(phrase, limit)

    def concept(self, target: str) -> Concept:
        """Return the concept that ``#id`` or a phrase names; UnknownConceptError lists the nearest labels."""
        with self._current.reading() as state:
            return planner_of(state).resolver.resolve(target)

    def feature(self, feature: int | str, examples: int = 5) -> FeatureCard:
        """Return the label, frequency and relations of a feature, with its strongest records."""
        from saeindex.concepts.feature_card import feature_card

        with self._current.reading() as state:
            return feature_card(feature, state.store, state.space, examples)

    def rename(self, feature: int | str, name: str) -> None:
        """Give a feature (5 or "#5") a name of your own in this index; an empty one takes it back."""
        self._edit({self.space.number(feature): name}, {})

    def hide(self, feature: int | str, hidden: bool = True) -> None:
        """Show a feature last, as one without a trusted name; False undoes it."""
        self._edit({}, {self.space.number(feature): hidden})

    @property
    def name_history(self) -> tuple[NameEdit, ...]:
        """What was renamed and hidden, the oldest first."""
        return self.manifest.edits.history

    def export_names(self, path: str | Path) -> None:
        """Write your own names and the hidden features to a JSON file, for :meth:`import_names`."""
        NamesFile.of(self.manifest.edits, self.space).save(Path(path))

    def import_names(self, path: str | Path) -> int:
        """Take over the names and hidden features in a file; return the number of features.

        MismatchError if the file is of an index with another feature space.
        """
        kept = NamesFile.load(Path(path), self.space)
        self._edit(kept.names, dict.fromkeys(kept.hidden, True))
        return len(kept.names.keys() | set(kept.hidden))

    def count(self, where: str | None = None, query_filter: Filter | JsonObject | None = None) -> int:
        """Return the number of records, or of those that match."""
        with self._current.reading() as state:
            return self.store.count(planner_of(state).condition(where, query_filter))

    def __len__(self) -> int:
        return self.count()

    def __contains__(self, record_id: object) -> bool:
        return isinstance(record_id, str) and bool(existing_ids(self.store, [record_id]))

    def fit_profile(
        self, name: str, like: Sequence[str] = (), unlike: Sequence[str] = (), description: str | None = None
    ) -> Profile:
        """Fit a profile on the ids of liked and disliked records, and save it with the index."""
        from saeindex.steering.saved_profile import fit_profile

        with self._current.reading() as state:
            profile = fit_profile(state, name, like, unlike, description)
        self.save_profile(profile)
        return profile

    @property
    def profiles(self) -> tuple[str, ...]:
        """The names of the saved profiles."""
        return tuple(sorted(self.manifest.profiles))

    def steering_profile(self, name: str) -> Profile:
        """Return a saved profile; NotFoundError lists the saved profiles."""
        from saeindex.steering.saved_profile import saved_profile

        return saved_profile(self.state, name)

    def save_profile(self, profile: Profile) -> None:
        """Save a profile with the index; a profile of the same name is replaced."""
        from saeindex.steering.saved_profile import with_profile

        self._current.change(lambda kept: {"profiles": with_profile(kept.profiles, profile, self.space)})

    def delete_profile(self, name: str) -> None:
        """Delete a saved profile; NotFoundError if no profile has this name."""
        from saeindex.steering.saved_profile import without_profile

        self._current.change(lambda kept: {"profiles": without_profile(kept.profiles, name)})

    def info(self) -> dict[str, Any]:
        """Return a description of the index: counts, space, encoder, vectors and settings."""
        with self._current.reading() as state:
            return index_info(self.name, state.manifest, self.store, self.store.count(), state.space)

    def metadata_fields(self) -> list[MetadataField]:
        """Return the metadata fields: what they hold, an example, and how many records have them."""
        from saeindex.collection.metadata_fields import metadata_fields

        with self._current.reading():
            return metadata_fields(self.store, self.store.count())

    @property
    def fields(self) -> tuple[str, ...]:
        """The names of the further text fields."""
        return tuple(self.manifest.fields)

    @property
    def rejects_path(self) -> Path:
        """The file in which bad records are reported."""
        return Path(f"{self.name}.rejects.jsonl") if self.folder is None else self.folder / REJECTS_FILE

    def __repr__(self) -> str:
        counts, space = self.manifest.counts, self.manifest.space
        return f"FeatureIndex({self.name!r}, {counts.records:,} records, space {space.name!r})"

    def _repr_html_(self) -> str:
        from saeindex.report.html import notebook_html

        return notebook_html(index_description(self.name, self.manifest))

    def close(self) -> None:
        """Flush and close the store."""
        self.store.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None
    ) -> None:
        self.close()

    def _edit(self, names: Mapping[int, str], hidden: Mapping[int, bool]) -> None:
        given, encode = self._current.given_space, self.encoder.encode_query
        self._current.change(lambda kept: {"edits": kept.edits.changed(given, names, hidden, encode)})


def planner_of(state: IndexState) -> Planner:
    """Return the planner of a state; what a search needs is imported with the first one."""
    from saeindex.search.planner import Planner

    return state.derived(Planner)


def searcher_of(state: IndexState) -> Searcher:
    """Return the searcher of a state."""
    from saeindex.search.searcher import Searcher

    return state.derived(Searcher)


def stored_of(state: IndexState) -> StoredRecords:
    """Return the reader of the stored records of a state."""
    from saeindex.collection.stored import StoredRecords

    return state.derived(StoredRecords)


def _space_of(space: FeatureSpace | str | Path) -> FeatureSpace:
    return space if isinstance(space, FeatureSpace) else FeatureSpace.load(space)
