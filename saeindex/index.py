"""``FeatureIndex``: records in; filtered, steered and explained search out."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from functools import cached_property, partial
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self, Unpack

from saeindex.analysis.correlate.options import (
    CorrelateKeywords,
    CorrelateOptions,
    TriggerKeywords,
    TriggerOptions,
)
from saeindex.analysis.diff.options import DiffKeywords, DiffOptions
from saeindex.analysis.drift.options import DriftKeywords, DriftOptions
from saeindex.analysis.monitor.options import MonitorKeywords, MonitorOptions
from saeindex.collection.caches import QueryVectors
from saeindex.collection.records import check_choice, count_records, delete_records, record_ids
from saeindex.config import CACHE_FOLDER, DEFAULT_SPACE, FACETS
from saeindex.errors import InvalidInputError
from saeindex.features import FeatureSpace
from saeindex.indexing.create_open import IndexParts, create_index, open_index
from saeindex.indexing.manifest import Counts, KeptManifest, Manifest, index_description, index_info
from saeindex.indexing.passages import PassageOptions
from saeindex.indexing.sources.columns import Columns
from saeindex.signatures import takes
from saeindex.types import Query

if TYPE_CHECKING:
    from narwhals.typing import IntoDataFrame
    from qdrant_client import QdrantClient
    from qdrant_client.models import Filter

    from saeindex.analysis.analyses import Analyses
    from saeindex.analysis.cluster.axis import Axis
    from saeindex.analysis.cluster.cluster import Method
    from saeindex.analysis.cluster.results import Clustering
    from saeindex.analysis.correlate.all_pairs import Companion
    from saeindex.analysis.correlate.results import Correlations, Triggers
    from saeindex.analysis.diff.hypotheses import HypothesisWriter
    from saeindex.analysis.diff.results import Diff
    from saeindex.analysis.drift.results import Drift
    from saeindex.analysis.monitor.baseline import Baseline
    from saeindex.analysis.monitor.results import Alert
    from saeindex.analysis.profile.results import SetProfile
    from saeindex.analysis.stats.groups import Selection
    from saeindex.collection.collection import Collection
    from saeindex.collection.snapshot import Snapshot
    from saeindex.concepts.feature_card import FeatureCard
    from saeindex.concepts.named_concept import NamedConcept
    from saeindex.concepts.resolver import Concept, FeatureMatch
    from saeindex.features import Calibration
    from saeindex.features.level_drift import LevelDrift
    from saeindex.indexing.pipeline import IndexingReport
    from saeindex.indexing.recalibration import RecalibrationReport
    from saeindex.protocols import PayloadKind, TextEncoder
    from saeindex.search.compare import Comparison
    from saeindex.search.explain_analyze import Analysis
    from saeindex.search.facets import ConceptFacet, Exclusion
    from saeindex.search.hits import Hits
    from saeindex.search.plan import Plan
    from saeindex.search.planner import Planner
    from saeindex.search.searcher import Searcher
    from saeindex.steering.saved_profile import Profile, ProfileStore
    from saeindex.types import JsonObject, LevelName, QueryKeywords, Record, ResultKeywords

REJECTS_FILE = "rejects.jsonl"
PARTS = ("collection", "planner", "_profile_store", "_searcher", "_analyses")


class FeatureIndex:
    """An index of records: dense vectors, sparse codes and concepts, in one Qdrant collection.

    Make one with :meth:`create` or :meth:`open`; use it as a context manager, or :meth:`close` it.
    """

    def __init__(self, name: str, parts: IndexParts, encoder: TextEncoder | None = None) -> None:
        """Bind the parts; for :meth:`create` and :meth:`open`."""
        self.name, self.store, self.folder = name, parts.store, parts.folder
        if encoder is not None:
            self.encoder = encoder
        self._bind(parts.space, parts.manifest)

    def _bind(self, space: FeatureSpace, manifest: Manifest) -> None:
        """Compose what reads the index through this space."""
        self.space = space
        self._manifest = KeptManifest(self.store, manifest, self.name)
        for part in PARTS:  # each is made, and what it needs is imported, when a method first asks for it
            self.__dict__.pop(part, None)

    @property
    def manifest(self) -> Manifest:
        """What the index is: its format, space, encoder, vectors and counts."""
        return self._manifest.current

    @cached_property
    def encoder(self) -> TextEncoder:
        """The space's encoder, loaded when it is first needed."""
        return self.space.open_encoder()

    @cached_property
    def collection(self) -> Collection:
        """The stored points as queries and analyses read them."""
        from saeindex.collection.collection import Collection

        cache = self.folder and self.folder / CACHE_FOLDER
        vectors = QueryVectors(lambda texts: self.encoder.encode_query(texts))  # noqa: PLW0108  (opens lazily)
        return Collection(self.store, self.space, vectors, lambda: self.encoder, cache)

    @cached_property
    def planner(self) -> Planner:
        """What turns queries into plans."""
        from saeindex.search.planner import Planner

        return Planner(self.collection, self._profile_store.direction, self.passages is not None)

    @cached_property
    def _profile_store(self) -> ProfileStore:
        from saeindex.steering.saved_profile import ProfileStore

        return ProfileStore(self.collection, self._manifest)

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
    ) -> Self:
        """Make an empty index: a directory, or a collection where ``client`` or ``url`` is given.

        ``passages`` splits long texts; ``payload_indexes`` (such as ``{"metadata.year": "integer-range"}``)
        speeds up filters and allows facets on your own fields. ``fields`` are further texts of a record
        (``("prompt",)`` beside a response): each has its own vectors and concepts, and is encoded whole, as
        far as the encoder reads. The last four are Qdrant's, for a collection on a server. An index whose
        creation was interrupted is completed; an existing one is a MismatchError.
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
        parts = create_index(path, read, manifest, client, url, of_server)
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
    ) -> Self:
        """Open an index; MismatchError where ``space`` or ``encoder`` is not the one it was built with.

        ``resume`` first finishes a :meth:`recalibrate` that was interrupted; without it that is an error.
        """
        return cls(str(path), open_index(path, space, client, url, encoder, resume), encoder)

    def add(
        self,
        records: str | Path | IntoDataFrame | Iterable[Record | Mapping[str, Any] | str | Path],
        *,
        columns: Columns = Columns(),  # noqa: B008  (frozen)
        batch_size: int = 512,
        progress: bool = False,
    ) -> IndexingReport:
        """Index an iterable of ``Record`` or dict, a path or several, a DataFrame or a Hugging Face data set.

        Unchanged records are skipped without being encoded, so a run that died is resumed by running it
        again. Bad records go to ``rejects.jsonl`` and the run goes on. Returns when all is flushed to disk.
        """
        from saeindex.indexing.pipeline import Pipeline, index_source
        from saeindex.indexing.sources.open_source import open_source

        if batch_size < 1:
            raise InvalidInputError(f"batch_size={batch_size}", "out of range", "Use 1 or more.")
        source = open_source(records, columns=columns.of_index(self.name, self.fields))
        revision = self.manifest.revision
        pipeline = partial(
            Pipeline, self.store, self.space, self.encoder, self.passages, window=batch_size,
            fields=self.fields, before_write=partial(self._manifest.before_write, revision),
        )  # fmt: skip
        report = index_source(source, pipeline, self.rejects_path, progress)
        self._write_counts(is_changed=self.manifest.revision != revision)
        return report

    def delete(
        self,
        ids: Sequence[str] | None = None,
        *,
        where: str | None = None,
        query_filter: Filter | JsonObject | None = None,
    ) -> int:
        """Delete records by id, or all that match; return how many there were."""
        check_choice(ids, where is not None or query_filter is not None)
        self._manifest.renew()
        condition = None if ids is not None else self.planner.condition(where, query_filter)
        deleted = delete_records(self.store, record_ids(self.store, condition) if ids is None else ids)
        self._write_counts(is_changed=True)
        return deleted

    # Reading ------------------------------------------------------------------------------------------

    @takes(Query, without=("text",))
    def search(self, /, query: str | Query = "", **options: Unpack[QueryKeywords]) -> Hits:
        """Return the best hits of a text, or of a :class:`Query`; ``options`` are the query's fields.

        ``index.search("galaxy rotation", where='NOT "simulation"', steer="+theory:0.5", explain=True)``
        """
        return self._searcher.search(query, **options)

    @takes(Query, without=("text",))
    def search_many(self, /, queries: Sequence[str | Query], **options: Unpack[QueryKeywords]) -> list[Hits]:
        """Return the hits of each query, the same as :meth:`search` gives; texts are encoded in batches.

        ``options`` go for all of them. An error says which query (from 1) it is of, and none is answered.
        """
        return self._searcher.search_many(queries, **options)

    @takes(Query, without=("text",))
    def plan(self, /, query: str | Query = "", **options: Unpack[QueryKeywords]) -> Plan:
        """Return what :meth:`search` will run, without running it."""
        return self._searcher.plan(query, **options)

    @takes(Query, without=("text",))
    def explain_analyze(self, /, query: str | Query = "", **options: Unpack[QueryKeywords]) -> Analysis:
        """Return what :meth:`plan` expects of a query beside what came of it, counts and times per stage.

        It runs the query, and counts what its filter matches; that count is the analysis' own.
        """
        return self._searcher.explain_analyze(query, **options)

    @takes(Query, without=("text",))
    def compare(self, /, query: str | Query, a: str, b: str, **options: Unpack[QueryKeywords]) -> Comparison:
        """Return why record ``a`` stands above record ``b``, or below, for a query; whether hits or not.

        The differences of their parts sum to the difference of their scores. Filters and thresholds say
        what is a hit, not what it scores: here they count only where a fused score is of ranks among hits.
        """
        return self._searcher.compare(query, a, b, **options)

    @takes(Query, without=("text", "limit"))
    def concept_facets(
        self, /, query: str | Query = "", limit: int = FACETS, **options: Unpack[ResultKeywords]
    ) -> list[ConceptFacet]:
        """Return the concepts that a query's results have more often than the index, most so first.

        Of a query that ranks, the best 50 results count, of one that only selects, all that match.
        """
        return self._searcher.concept_facets(query, limit, **options)

    @takes(Query, without=("text", "limit"))
    def suggest_exclusions(
        self, /, query: str | Query, limit: int = FACETS, **options: Unpack[ResultKeywords]
    ) -> list[Exclusion]:
        """Return concepts that 15 to 60 % of a query's results have and that its text does not ask for.

        Each comes with a ``where`` clause that excludes it, and the number of results that this removes.
        """
        return self._searcher.suggest_exclusions(query, limit, **options)

    def features(self, phrase: str, limit: int = 10) -> list[FeatureMatch]:
        """Return the features that answer to a phrase, best first."""
        return self.planner.resolver.match(phrase, limit)

    def concept(self, target: str) -> Concept:
        """Return what ``#id`` or a phrase resolves to; UnknownConceptError lists the nearest labels."""
        return self.planner.resolver.resolve(target)

    def feature(self, feature: int | str, examples: int = 5) -> FeatureCard:
        """Return what the index knows about a feature, with its strongest records."""
        from saeindex.concepts.feature_card import feature_card

        return feature_card(feature, self.store, self.space, examples)

    def count(self, where: str | None = None, query_filter: Filter | JsonObject | None = None) -> int:
        """Return the number of records, or of those that match (with passages: in any of them)."""
        is_all = where is None and query_filter is None
        condition = None if is_all else self.planner.condition(where, query_filter)
        return count_records(self.store, condition, self.passages is not None)

    def __len__(self) -> int:
        return self.count()

    # Analysing ----------------------------------------------------------------------------------------

    def snapshot(self, field: str = "") -> Snapshot:
        """Return the records as columns, seen through a text field; read once, and again after a write."""
        return self._analyses.snapshot(field)

    @takes(DiffOptions)
    def diff(
        self,
        /,
        a: Selection | None = None,
        b: Selection | None = None,
        *,
        groups: Mapping[str, Selection] | None = None,
        by: str | None = None,
        other: FeatureIndex | None = None,
        named: Sequence[NamedConcept | str] = (),
        writer: HypothesisWriter | None = None,
        field: str = "",
        **options: Unpack[DiffKeywords],
    ) -> Diff:
        """Return what differs between groups of records, tested; see :class:`DiffOptions` for the options.

        Groups are where texts, Qdrant filters or lists of record ids: ``a`` and ``b`` (the others, where it
        is left out), or ``groups`` by name, or one for each value of the field ``by``, or all of this index
        against all of the index ``other``. ``named`` are properties to ask about: :class:`NamedConcept`, or
        texts such as ``"sad=feeling sad; against: being happy"``. ``writer`` has a language model write
        hypotheses from the findings, and check them on further records.

        ``index.diff(a="metadata.year < 2010", b="metadata.year >= 2010", unit="metadata.author")``
        """
        return self._analyses.diff(
            a, b, groups, by, None if other is None else other._analyses, named, writer, field, options
        )

    def companions(
        self,
        feature: int,
        *,
        where: str | None = None,
        level: LevelName = "typical",
        field: str = "",
        alpha: float = 0.05,
        limit: int = 20,
    ) -> Sequence[Companion]:
        """Return the features that occur with one more than by chance, counted inside the engine."""
        return self._analyses.companions(feature, where, level, field, alpha, limit)

    @takes(CorrelateOptions)
    def correlate(
        self,
        /,
        concepts: Sequence[NamedConcept | str] = (),
        with_concepts: Sequence[NamedConcept | str] = (),
        *,
        field: str = "",
        other_field: str | None = None,
        where: Selection | None = None,
        **options: Unpack[CorrelateKeywords],
    ) -> Correlations:
        """Return which concepts go together, or avoid each other, more than by chance.

        Without ``concepts`` all pairs of features are tested (:func:`correlate_open`), with them the pairs
        that they make (:func:`correlate_named`); each is a :class:`NamedConcept` or a text such as
        ``"sad=feeling sad; against: being happy"``. ``other_field`` takes the other side from another text
        field; ``where`` selects records; ``options`` are those of the two functions.

        ``index.correlate(field="prompt", other_field="")``
        """
        return self._analyses.correlate(concepts, with_concepts, field, other_field, where, options)

    @takes(TriggerOptions)
    def find_triggers(
        self,
        /,
        behaviour: NamedConcept | str | int,
        *,
        prompt_field: str = "prompt",
        field: str = "",
        where: Selection | None = None,
        **options: Unpack[TriggerKeywords],
    ) -> Triggers:
        """Return which concepts of the prompts go with a behaviour of the responses (:func:`find_triggers`).

        ``behaviour`` is a feature's number, a :class:`NamedConcept`, or a text such as
        ``"refuses=declines to answer; against: answers"``.
        """
        return self._analyses.find_triggers(behaviour, prompt_field, field, where, options)

    def cluster(
        self,
        axis: Axis | str | Mapping[str, object],
        *,
        examples: Mapping[str, Sequence[str]] | None = None,
        where: Selection | None = None,
        field: str = "",
        method: Method = "anchored",
        shown: int = 5,
    ) -> Clustering:
        """Return clusters of the records along an axis, and whether the space can express it.

        ``axis`` is a text (``"tone: angry, calm, joking"``), ``{name: [value, …]}``, ``{name: {value: text or
        texts}}`` or an :class:`Axis`; ``examples`` gives record ids by value, beside the texts or instead.
        ``where`` selects records; ``method`` "interpembed" is that paper's way.

        ``index.cluster({"tone": ["angry", "calm", "joking"]})``
        """
        return self._analyses.cluster(axis, examples, where, field, method, shown)

    @takes(DriftOptions)
    def drift(
        self,
        /,
        over: str,
        *,
        where: Selection | None = None,
        field: str = "",
        order: Sequence[Any] | None = None,
        **options: Unpack[DriftKeywords],
    ) -> Drift:
        """Return which concepts and words drift over a field, tested; see :class:`DriftOptions`.

        The field holds numbers or ISO dates, or values whose ``order`` is given; ``where`` selects records.

        ``index.drift("metadata.model", order=["v1", "v2", "v3"], unit="metadata.prompt_id")``
        """
        return self._analyses.drift(over, where, field, order, options)

    @takes(MonitorOptions)
    def monitor(
        self,
        /,
        reference: Selection | Baseline | Path,
        window: Selection,
        *,
        field: str = "",
        **options: Unpack[MonitorKeywords],
    ) -> Alert:
        """Return what changed in a window of records against a reference; see :class:`MonitorOptions`.

        ``reference`` is a condition, record ids, or a :class:`Baseline` (or the path of a saved one).

        ``index.monitor("metadata.year < 2015", "metadata.year >= 2015", looks=12)``
        """
        return self._analyses.monitor(reference, window, field, options)

    def baseline(
        self,
        where: Selection | None = None,
        *,
        field: str = "",
        level: LevelName = "typical",
        unit: str | None = "auto",
    ) -> Baseline:
        """Return the counts of a reference, to save and to compare windows with when its records are gone."""
        return self._analyses.baseline(where, field, level, unit)

    @takes(DiffOptions, families=("concepts", "words"))
    def profile(
        self,
        /,
        where: Selection | None = None,
        *,
        ids: Iterable[str] | None = None,
        field: str = "",
        shown: int = 5,
        **options: Unpack[DiffKeywords],
    ) -> SetProfile:
        """Return what is distinctive of a set of records, its central, borderline and odd ones, its themes.

        The set is given by a condition, or by ``ids``; ``options`` are those of :class:`DiffOptions`.

        ``index.profile('metadata.topic = "music"')``
        """
        return self._analyses.profile(where, ids, field, shown, options)

    def fit_profile(
        self,
        name: str,
        like: Sequence[str] = (),
        unlike: Sequence[str] = (),
        description: str | None = None,
    ) -> Profile:
        """Fit a profile on records that were liked and not liked (by id), and keep it with the index."""
        return self._profile_store.fit(name, like, unlike, description)

    @property
    def profiles(self) -> tuple[str, ...]:
        """The names of the saved profiles."""
        return self._profile_store.names

    def steering_profile(self, name: str) -> Profile:
        """Return a saved profile; NotFoundError lists those that there are."""
        return self._profile_store.get(name)

    def save_profile(self, profile: Profile) -> None:
        """Keep a profile with the index, in place of one of the same name."""
        self._profile_store.save(profile)

    def delete_profile(self, name: str) -> None:
        """Forget a saved profile; NotFoundError where there is none of that name."""
        self._profile_store.delete(name)

    def measure_calibration(self) -> Calibration:
        """Return the calibration of this index's own corpus; where texts are split, over passages.

        One scroll over the stored vectors; memory holds the non-zeros, 8 bytes each.
        """
        from saeindex.indexing.recalibration import measure_index

        return measure_index(self.store, self.space.n_features)

    def level_drift(self) -> LevelDrift:
        """Return how far this index's corpus lies from the one that its levels were measured on."""
        from saeindex.indexing.recalibration import index_drift

        return index_drift(self.store, self.space.calibration)

    def recalibrate(self, progress: bool = False) -> RecalibrationReport:
        """Take the levels from this index's own corpus, in place; nothing is encoded again.

        The space gets a new fingerprint, and each point new level codes. While that goes on, a filter by
        level meets old codes and new ones, and adding records is refused. Killed, it is finished by
        ``open(…, resume=True)``; after an error this index is closed.
        """
        from saeindex.indexing.recalibration import take_own_levels

        own = self.store, self._manifest.read(), self.space, self.folder, self.name
        space, manifest, report = take_own_levels(*own, progress)
        self._bind(space, manifest)
        return report

    def info(self) -> dict[str, Any]:
        """Return what the index is: counts, space, encoder, vectors and settings."""
        return index_info(self.name, self.manifest, self.store, self.count(), self.space)

    @property
    def passages(self) -> PassageOptions | None:
        """How long texts are split, None where they are not."""
        setting = self.manifest.passages
        return None if setting is None else PassageOptions(setting.max_tokens, setting.overlap)

    @property
    def fields(self) -> tuple[str, ...]:
        """The further text fields."""
        return tuple(self.manifest.fields)

    @property
    def rejects_path(self) -> Path:
        """Where bad records are reported."""
        return Path(f"{self.name}.rejects.jsonl") if self.folder is None else self.folder / REJECTS_FILE

    def __repr__(self) -> str:
        counts, space = self.manifest.counts, self.manifest.space
        return f"FeatureIndex({self.name!r}, {counts.records:,} records, space {space.name!r})"

    def _repr_html_(self) -> str:
        from saeindex.report.html import notebook_html

        return notebook_html(index_description(self.name, self.manifest))

    def close(self) -> None:
        """Flush and release the store."""
        self.store.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None
    ) -> None:
        self.close()

    def _write_counts(self, is_changed: bool) -> None:
        counts = Counts(records=self.count(), points=self.store.count())
        kept = self._manifest.read().model_copy(update={"counts": counts})
        self._manifest.write(kept.renewed() if is_changed else kept)
