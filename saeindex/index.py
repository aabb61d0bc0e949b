"""``FeatureIndex``: index records, then search, filter, steer, explain and analyse them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from functools import cached_property, partial
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self, Unpack

from saeindex.analysis.methods import AnalysisMethods
from saeindex.collection.caches import QueryVectors
from saeindex.collection.records import (
    check_choice,
    check_ids,
    count_records,
    delete_records,
    existing_ids,
    record_ids,
)
from saeindex.config import CACHE_FOLDER, DEFAULT_SPACE, FACETS
from saeindex.errors import InvalidInputError, SaeIndexError
from saeindex.features import FeatureSpace
from saeindex.indexing.create_open import IndexParts, create_index, open_index
from saeindex.indexing.manifest import Counts, KeptManifest, Manifest, index_description, index_info
from saeindex.indexing.names import NamesFile, learned
from saeindex.search.query import Query, QueryKeywords, ResultKeywords
from saeindex.signatures import takes
from saeindex.stores.directory import check_outside

if TYPE_CHECKING:
    from narwhals.typing import IntoDataFrame
    from qdrant_client import QdrantClient
    from qdrant_client.models import Filter

    from saeindex.analysis.analyses import Analyses
    from saeindex.analysis.monitor.baseline import Baseline
    from saeindex.collection.collection import Collection
    from saeindex.collection.metadata_fields import MetadataField
    from saeindex.collection.stored import RecordPart, StoredRecord, StoredRecords
    from saeindex.concepts.feature_card import FeatureCard
    from saeindex.concepts.resolver import Concept, FeatureMatch
    from saeindex.features import Calibration
    from saeindex.features.level_drift import LevelDrift
    from saeindex.indexing.names import NameEdit
    from saeindex.indexing.passages import PassageOptions
    from saeindex.indexing.pipeline import IndexingReport
    from saeindex.indexing.recalibration import RecalibrationReport
    from saeindex.indexing.repair import RepairReport
    from saeindex.indexing.sources.columns import Columns
    from saeindex.indexing.upgrade import UpgradeReport
    from saeindex.protocols import PayloadKind, TextEncoder
    from saeindex.search.compare import Comparison
    from saeindex.search.explain_analyze import Analysis
    from saeindex.search.facets import ConceptFacet, Exclusion
    from saeindex.search.hits import Hits
    from saeindex.search.plan import Plan
    from saeindex.search.planner import Planner
    from saeindex.search.searcher import Searcher
    from saeindex.steering.saved_profile import Profile, ProfileStore
    from saeindex.types import JsonObject, Record

REJECTS_FILE = "rejects.jsonl"
PARTS = ("collection", "planner", "_profile_store", "_searcher", "_analyses", "stored")


class FeatureIndex(AnalysisMethods):
    """An index of records: dense vectors, sparse codes and concepts, in one Qdrant collection.

    Make one with :meth:`create` or :meth:`open`. Use it as a context manager, or :meth:`close` it.
    """

    def __init__(self, name: str, parts: IndexParts, encoder: TextEncoder | None = None) -> None:
        """Store the parts of the index. Called by :meth:`create` and :meth:`open`, not by users."""
        self.name, self.store, self.folder = name, parts.store, parts.folder
        self.finished_upgrade = parts.finished
        if encoder is not None:
            self.encoder = encoder
        self._bind(parts.space, parts.manifest)

    def _bind(self, space: FeatureSpace, manifest: Manifest) -> None:
        """Set the feature space and the manifest, and drop the parts that were built for the old ones."""
        self._given_space, self.space = space, manifest.with_own_names(space)
        self._manifest = KeptManifest(self.store, manifest, self.name)
        for part in PARTS:  # each part is built, with its imports, when a method first uses it
            self.__dict__.pop(part, None)

    @property
    def manifest(self) -> Manifest:
        """The description of the index: its format, space, encoder, vectors and counts."""
        return self._manifest.current

    @cached_property
    def encoder(self) -> TextEncoder:
        """The encoder of the space, loaded on first use."""
        return self.space.open_encoder()

    @cached_property
    def collection(self) -> Collection:
        """The stored points, in the form that queries and analyses read."""
        from saeindex.collection.collection import Collection

        cache = self.folder and self.folder / CACHE_FOLDER
        vectors = QueryVectors(lambda texts: self.encoder.encode_query(texts))  # noqa: PLW0108  (lazy)
        return Collection(self.store, self.space, vectors, lambda: self.encoder, cache)

    @cached_property
    def planner(self) -> Planner:
        """The planner, which turns queries into plans."""
        from saeindex.search.planner import Planner

        return Planner(self.collection, self._profile_store.direction, self.passages is not None)

    @cached_property
    def _profile_store(self) -> ProfileStore:
        from saeindex.steering.saved_profile import ProfileStore

        return ProfileStore(self.collection, self._manifest)

    @cached_property
    def stored(self) -> StoredRecords:
        """The records as they are stored: by id, or page by page."""
        from saeindex.collection.stored import StoredRecords

        return StoredRecords(self.store, self.space, self.fields, self.passages is not None)

    @cached_property
    def _searcher(self) -> Searcher:
        from saeindex.search.searcher import Searcher

        return Searcher(self.collection, self.planner, self.passages is not None)

    @cached_property
    def _analyses(self) -> Analyses:
        from saeindex.analysis.analyses import Analyses

        return Analyses(self.collection, self.planner, self._manifest, self.folder)

    @classmethod
    def create(
        cls,
        path: str | Path,
        space: FeatureSpace | str | Path = DEFAULT_SPACE,
        *,
        client: QdrantClient | None = None,
        url: str | None = None,
        encoder: TextEncoder | None = None,
        passages: PassageOptions | None = None,
        payload_indexes: Mapping[str, PayloadKind] | None = None,
        fields: Sequence[str] = (),
        shard_number: int | None = None,
        replication_factor: int | None = None,
        write_consistency_factor: int | None = None,
        on_disk_payload: bool | None = None,
        isolated: bool = False,
    ) -> Self:
        """Create an empty index: a directory, or a Qdrant collection if ``client`` or ``url`` is given.

        ``passages`` splits long texts. ``payload_indexes`` (such as ``{"metadata.year": "integer-range"}``)
        speeds up filters and allows facets on your own fields. ``fields`` names further texts of a record
        (``("prompt",)`` beside a response): each has its own vectors and concepts. These texts are not
        split; the encoder truncates them at its maximum length. The four options that follow are for Qdrant,
        for a collection on a server. ``isolated`` is explained at :meth:`open`. If an earlier creation was
        interrupted, it is completed. If the index exists already, MismatchError is raised.
        """
        read = space if isinstance(space, FeatureSpace) else FeatureSpace.load(space)
        manifest = Manifest.describe(read, passages, payload_indexes or {}, fields)
        if encoder is not None:
            read.check_encoder(encoder)
        of_server = {
            "shard_number": shard_number,
            "replication_factor": replication_factor,
            "write_consistency_factor": write_consistency_factor,
            "on_disk_payload": on_disk_payload,
        }
        parts = create_index(path, read, manifest, client, url, isolated, of_server)
        return cls(str(path), parts, encoder)

    @classmethod
    def open(
        cls,
        path: str | Path,
        *,
        space: FeatureSpace | str | Path | None = None,
        client: QdrantClient | None = None,
        url: str | None = None,
        encoder: TextEncoder | None = None,
        resume: bool = False,
        isolated: bool = False,
    ) -> Self:
        """Open an index; MismatchError if ``space`` or ``encoder`` is not the one it was built with.

        ``resume`` first finishes a :meth:`recalibrate` or :meth:`upgrade` that was interrupted (else it is an
        error), and ``finished_upgrade`` has the report. ``isolated`` runs the engine of a directory in a
        process of its own: what would end this process, such as a full disk, is an EngineDiedError.
        """
        index = cls(str(path), open_index(path, space, client, url, encoder, resume, isolated), encoder)
        if resume:
            index._learn_names()
        return index

    @classmethod
    def repair(
        cls,
        path: str | Path,
        *,
        client: QdrantClient | None = None,
        url: str | None = None,
        progress: bool = False,
    ) -> RepairReport:
        """Repair a damaged index, which no process may have open; a sound index is left as it is.

        What can be derived is made again from what is sound. Records whose texts are damaged are taken out
        and named in the report: index their source again.
        """
        from saeindex.indexing.repair import repaired

        is_on_server = client is not None or url is not None
        opened = open_index(path, None, client, url, None, False, False) if is_on_server else None
        return repaired(path, opened, progress)

    def add(
        self,
        records: str | Path | IntoDataFrame | Iterable[Record | Mapping[str, Any] | str | Path],
        *,
        columns: Columns | Mapping[str, Any] | None = None,
        batch_size: int = 512,
        progress: bool | Callable[[int], object] = False,
    ) -> IndexingReport:
        """Index an iterable of ``Record`` or dict, one or more paths, a DataFrame or a Hugging Face data set.

        ``index.add("reviews.csv", columns={"text": "review", "id": "review_id"})`` names the columns; else
        text and id are detected by common names, and an id is made from the text. Unchanged records are
        skipped: run it again to resume it. Bad records go to ``rejects.jsonl``. ``progress`` shows a bar, or
        is a function that is told how many further records are done.
        """
        from saeindex.indexing.pipeline import Pipeline, index_source
        from saeindex.indexing.sources.columns import Columns
        from saeindex.indexing.sources.open_source import open_source

        if batch_size < 1:
            raise InvalidInputError(f"batch_size={batch_size}", "out of range", "Use 1 or more.")
        picked = Columns.read({} if columns is None else columns).of_index(self.name, self.fields)
        source = open_source(records, columns=picked)
        revision = self.manifest.revision
        pipeline = partial(
            Pipeline, self.store, self.space, self.encoder, self.passages, window=batch_size,
            fields=self.fields, before_write=partial(self._manifest.before_write, revision),
        )  # fmt: skip
        try:
            report = index_source(source, pipeline, self.rejects_path, progress)
        except BaseException:
            with suppress(SaeIndexError):  # what was written before is counted
                self._write_counts(is_changed=self.manifest.revision != revision)
            raise
        self._write_counts(is_changed=self.manifest.revision != revision)
        self._learn_names()
        return report

    def delete(
        self,
        ids: Sequence[str] | None = None,
        *,
        where: str | None = None,
        query_filter: Filter | JsonObject | None = None,
    ) -> int:
        """Delete records by id, or all records that match; return the number of deleted records."""
        check_choice(ids, where is not None or query_filter is not None)
        self._manifest.read()
        wanted = None if ids is not None else self.planner.condition(where, query_filter)
        found = record_ids(self.store, wanted) if ids is None else existing_ids(self.store, ids)
        if found:
            self._manifest.renew()
            delete_records(self.store, found)
            self._write_counts(is_changed=True)
        return len(found)

    def part(self, where: str | None = None, *, query_filter: Filter | JsonObject | None = None) -> Self:
        """Return the records that match as an index of their own, which is only read, while this one is open.

        Its answers are those of an index that has no other records; own names and profiles stay here.
        """
        from saeindex.collection.part import part_of

        kept = self.store, self._given_space, self.manifest
        parts = part_of(*kept, self.planner.condition(where, query_filter), lambda: self.encoder)
        return type(self)(self.name, parts, self.encoder)

    def get(
        self, ids: Sequence[str], *, include: Sequence[RecordPart] = ("concepts", "vectors")
    ) -> list[StoredRecord]:
        """Return records in the order of ``ids``, with the parts in ``include``; absent ids are left out."""
        check_ids("get", ids)
        return self.stored.get(ids, include)

    def export(
        self,
        path: str | Path,
        where: str | None = None,
        *,
        query_filter: Filter | JsonObject | None = None,
        include: Sequence[RecordPart] = (),
    ) -> int:
        """Write the records, or those that match, to a ``.jsonl`` or ``.parquet`` file; return their number.

        ``include`` names what is written besides ids, texts and metadata: ``"concepts"``, ``"vectors"``. The
        file appears when it is complete.
        """
        condition = self.planner.condition(where, query_filter)
        check_outside(self.folder, Path(path), "an export")
        return self.stored.export(condition, Path(path), include)

    @takes(Query, without=("text",))
    def search(self, /, query: str | Query = "", **options: Unpack[QueryKeywords]) -> Hits:
        """Return the best hits for a text or a :class:`Query`; ``options`` are the fields of the query.

        ``index.search("galaxy rotation", where='NOT "simulation"', steer="+theory:0.5", explain=True)``
        """
        return self._searcher.search(query, **options)

    @takes(Query, without=("text",))
    def search_many(self, /, queries: Sequence[str | Query], **options: Unpack[QueryKeywords]) -> list[Hits]:
        """Return the hits of each query, the same as :meth:`search` returns; texts are encoded in batches.

        ``options`` apply to all queries. If one is wrong, none is run, and the error gives its number from 1.
        """
        return self._searcher.search_many(queries, **options)

    @takes(Query, without=("text",))
    def plan(self, /, query: str | Query = "", **options: Unpack[QueryKeywords]) -> Plan:
        """Return the plan that :meth:`search` would run, without running it."""
        return self._searcher.plan(query, **options)

    @takes(Query, without=("text",))
    def explain_analyze(self, /, query: str | Query = "", **options: Unpack[QueryKeywords]) -> Analysis:
        """Run a query and return its plan beside the measured counts and times of each stage.

        The records that match the filter are counted for this analysis only; a search does not count them.
        """
        return self._searcher.explain_analyze(query, **options)

    @takes(Query, without=("text",))
    def compare(self, /, query: str | Query, a: str, b: str, **options: Unpack[QueryKeywords]) -> Comparison:
        """Return why record ``a`` ranks above or below record ``b`` for a query. They need not be hits.

        The differences of their parts sum to the difference of their scores. Filters and thresholds are
        ignored, except where a fused score depends on the ranks among the hits.
        """
        return self._searcher.compare(query, a, b, **options)

    @takes(Query, without=("text", "limit"))
    def concept_facets(
        self, /, query: str | Query = "", limit: int = FACETS, **options: Unpack[ResultKeywords]
    ) -> list[ConceptFacet]:
        """Return the concepts that are more frequent in a query's results than in the index, best first.

        For a query that ranks, the best 50 results count; for a query that only filters, all its matches.
        """
        return self._searcher.concept_facets(query, limit, **options)

    @takes(Query, without=("text", "limit"))
    def suggest_exclusions(
        self, /, query: str | Query, limit: int = FACETS, **options: Unpack[ResultKeywords]
    ) -> list[Exclusion]:
        """Return the concepts that 15 to 60 % of a query's results have and that its text does not mention.

        Each has a ``where`` clause that excludes it, and the number of results that the clause removes.
        """
        return self._searcher.suggest_exclusions(query, limit, **options)

    def features(self, phrase: str, limit: int = 10) -> list[FeatureMatch]:
        """Return the features that match a phrase, best first."""
        return self.planner.resolver.match(phrase, limit)

    def concept(self, target: str) -> Concept:
        """Return the concept that ``#id`` or a phrase names; UnknownConceptError lists the nearest labels."""
        return self.planner.resolver.resolve(target)

    def feature(self, feature: int | str, examples: int = 5) -> FeatureCard:
        """Return the label, frequency and relations of a feature, with its strongest records."""
        from saeindex.concepts.feature_card import feature_card

        return feature_card(feature, self.store, self.space, examples)

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
        """Return the number of records, or of those that match (a split record: if any passage matches)."""
        is_all = where is None and query_filter is None
        condition = None if is_all else self.planner.condition(where, query_filter)
        return count_records(self.store, condition, self.passages is not None)

    def __len__(self) -> int:
        return self.count()

    def fit_profile(
        self, name: str, like: Sequence[str] = (), unlike: Sequence[str] = (), description: str | None = None
    ) -> Profile:
        """Fit a profile on the ids of liked and disliked records, and save it with the index."""
        return self._profile_store.fit(name, like, unlike, description)

    @property
    def profiles(self) -> tuple[str, ...]:
        """The names of the saved profiles."""
        return self._profile_store.names

    def steering_profile(self, name: str) -> Profile:
        """Return a saved profile; NotFoundError lists the saved profiles."""
        return self._profile_store.get(name)

    def save_profile(self, profile: Profile) -> None:
        """Save a profile with the index; a profile of the same name is replaced."""
        self._profile_store.save(profile)

    def delete_profile(self, name: str) -> None:
        """Delete a saved profile; NotFoundError if no profile has this name."""
        self._profile_store.delete(name)

    def measure_calibration(self) -> Calibration:
        """Return the calibration of this index's own corpus, measured on passages if texts are split.

        Reads the stored vectors once; the non-zero values take 8 bytes of memory each.
        """
        from saeindex.indexing.recalibration import measure_index

        return measure_index(self.store, self.space.n_features)

    def level_drift(self) -> LevelDrift:
        """Return how far this index's corpus is from the corpus that its levels were measured on."""
        from saeindex.indexing.recalibration import index_drift

        return index_drift(self.store, self.space.calibration)

    def recalibrate(self, progress: bool = False) -> RecalibrationReport:
        """Replace the levels by levels of this index's own corpus, in place; no text is encoded again.

        The space gets a new fingerprint, and each point gets new level codes. Until this is finished, a
        filter by level sees a mix of old and new codes, and adding records is refused. If it is interrupted,
        finish it with ``open(…, resume=True)``. After an error this index is closed.
        """
        from saeindex.indexing.recalibration import take_own_levels

        own = self.store, self._manifest.read(), self._given_space, self.folder, self.name
        space, manifest, report = take_own_levels(*own, progress)
        self._bind(space, manifest)
        return report

    def upgrade(
        self,
        space: FeatureSpace | str | Path = DEFAULT_SPACE,
        *,
        dry_run: bool = False,
        progress: bool = False,
    ) -> UpgradeReport:
        """Move the index to another feature space of its encoder, in place; no text is encoded again.

        The codes are made from the stored vectors. Edits of profiles and labels given by hand move to the
        features that correspond, and the report names those that have none. ``dry_run`` only reports. If it
        is interrupted, finish it with ``open(…, resume=True)``. After an error this index is closed.
        """
        from saeindex.indexing.upgrade import upgraded

        new = space if isinstance(space, FeatureSpace) else FeatureSpace.load(space)
        own = self.store, self._manifest.read(), self._given_space, new, self.folder
        found, manifest, report = upgraded(*own, is_dry_run=dry_run, progress=progress)
        if not dry_run:
            self._bind(found, manifest)
            self._learn_names()
        return report

    def undo_upgrade(self, progress: bool = False) -> UpgradeReport:
        """Move the index back to the space before :meth:`upgrade`; MismatchError after points changed.

        Edits of profiles are as before the upgrade. The report names those, and the labels given by hand,
        that were made after it and are lost.
        """
        from saeindex.indexing.upgrade import upgrade_undone

        own = self.store, self._manifest.read(), self._given_space, self.folder, self.name
        space, manifest, report = upgrade_undone(*own, progress)
        self._bind(space, manifest)
        self._learn_names()
        return report

    def upgraded_query(self, query: str) -> tuple[str, tuple[int | str, ...]]:
        """Return a where text, its JSON, or a steer text of before :meth:`upgrade` with the new numbers.

        And what has no counterpart and is left as it was: numbers of features, and ``"family #3"`` for
        families, which have others now. NotFoundError if the index was not upgraded, or is a collection on a
        server.
        """
        from saeindex.indexing.upgrade import FeatureTranslation

        return FeatureTranslation.load(self.folder, self.name).query(query)

    def upgraded_baseline(self, baseline: Baseline) -> tuple[Baseline, list[str]]:
        """Return a monitor's baseline made before :meth:`upgrade` for the index as it is now.

        And the concepts that it lost, because they have no counterpart or are rare. Words stay as they are.
        InvalidInputError for a baseline that is not of the space before the upgrade.
        """
        from saeindex.indexing.upgrade import FeatureTranslation, check_baseline

        check_baseline(baseline.fingerprint, self.manifest)
        return baseline.upgraded(FeatureTranslation.load(self.folder, self.name), self.space.fingerprint)

    def info(self) -> dict[str, Any]:
        """Return a description of the index: counts, space, encoder, vectors and settings."""
        return index_info(self.name, self.manifest, self.store, self.count(), self.space)

    def metadata_fields(self) -> list[MetadataField]:
        """Return the metadata fields: what they hold, an example, and how many records have them."""
        from saeindex.collection.metadata_fields import metadata_fields

        return metadata_fields(self.store, self.count())

    @property
    def passages(self) -> PassageOptions | None:
        """How long texts are split; None if they are not split."""
        return self.manifest.passage_options

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

    def copy(self, path: str | Path) -> None:
        """Copy the index to a new directory, as it is now; MismatchError if there is one already.

        A part of an index, and one on a Qdrant server, cannot be copied: InvalidInputError.
        """
        from saeindex.stores.embedded import copied

        copied(self.store, self.name, path)

    def close(self) -> None:
        """Flush and close the store."""
        self.store.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None
    ) -> None:
        self.close()

    def _write_counts(self, is_changed: bool) -> None:
        self._manifest.change(is_changed, counts=Counts(records=self.count(), points=self.store.count()))

    def _edit(self, names: Mapping[int, str], hidden: Mapping[int, bool]) -> None:
        edits = self._manifest.read().edits.changed(
            self._given_space, names, hidden, self.encoder.encode_query
        )
        self._bind(self._given_space, self._manifest.change(edits=edits))

    def _learn_names(self) -> None:
        kept, own = self.manifest, (self.store, self._given_space, lambda: self.encoder)
        if names := learned(kept.names, kept.counts.points, *own):
            self._bind(self._given_space, self._manifest.change(names=names))
