"""``FeatureIndex``: records in; filtered, steered and explained search out."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from functools import cached_property, lru_cache
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from saeindex.config import DEFAULT_SPACE
from saeindex.errors import InvalidInputError, MismatchError
from saeindex.features import FeatureSpace
from saeindex.indexing.manifest import Counts, Manifest
from saeindex.indexing.passages import PassageOptions
from saeindex.indexing.pipeline import IndexingReport, Pipeline
from saeindex.indexing.rejects import RejectsFile
from saeindex.indexing.sources import Columns, open_source
from saeindex.query.cards import FeatureCard, feature_card
from saeindex.query.concepts import Concept, FeatureMatch
from saeindex.query.execute import execute
from saeindex.query.language import parse_where
from saeindex.query.planner import Plan, Planner
from saeindex.query.records import count_records, delete_records, record_ids
from saeindex.stores import create_store, open_store
from saeindex.types import Hits, Query

if TYPE_CHECKING:
    from qdrant_client import QdrantClient
    from qdrant_client.models import Filter

    from saeindex.protocols import PayloadKind, TextEncoder, VectorStore
    from saeindex.types import FloatArray, Record

SPACE_FOLDER, REJECTS_FILE = "space", "rejects.jsonl"


class FeatureIndex:
    """An index of records: dense vectors, sparse codes and concepts, in one Qdrant collection.

    Make one with :meth:`create` or :meth:`open`; use it as a context manager, or :meth:`close` it.
    """

    def __init__(
        self,
        name: str,
        store: VectorStore,
        space: FeatureSpace,
        manifest: Manifest,
        folder: Path | None,
        encoder: TextEncoder | None = None,
    ) -> None:
        """Bind the parts; for :meth:`create` and :meth:`open`."""
        self.name, self.store, self.space, self.manifest, self.folder = name, store, space, manifest, folder
        if encoder is not None:
            space.check_encoder(encoder)
            self.encoder = encoder
        self._encode_query = lru_cache(maxsize=256)(self._encode_one)
        self.planner = Planner(space, self._encode_query, store.count)

    @cached_property
    def encoder(self) -> TextEncoder:
        """The space's encoder, loaded when it is first needed."""
        return self.space.open_encoder()

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
        **store_options: Any,
    ) -> Self:
        """Make an empty index: a directory, or a collection where ``client`` or ``url`` is given.

        ``passages`` splits long texts; ``payload_indexes`` (such as ``{"metadata.year": "integer-range"}``)
        speeds up filters and allows facets on your own fields. ``store_options`` go to the collection. An
        index whose creation was interrupted is completed; an existing one is a MismatchError.
        """
        lens = space if isinstance(space, FeatureSpace) else FeatureSpace.load(space)
        manifest = Manifest.describe(lens, passages, payload_indexes or {})
        if encoder is not None:
            lens.check_encoder(encoder)
        store = _create_or_complete(path, manifest, client, url, store_options)
        folder = Path(path) if client is None and url is None else None
        try:
            if folder is not None:
                lens.save(folder / SPACE_FOLDER)
            store.write_manifest(manifest.model_dump(mode="json"))
            return cls(str(path), store, lens, manifest, folder, encoder)
        except BaseException:
            store.close()
            raise

    @classmethod
    def open(
        cls,
        path: str | Path,
        *,
        space: FeatureSpace | str | Path | None = None,
        client: QdrantClient | None = None,
        url: str | None = None,
        encoder: TextEncoder | None = None,
    ) -> Self:
        """Open an index; MismatchError where ``space`` or ``encoder`` is not the one it was built with."""
        store = open_store(path, client=client, url=url)
        try:
            manifest = Manifest.parse(store.read_manifest(), str(path))
            folder = Path(path) if client is None and url is None else None
            if space is None:
                space = manifest.space.name if folder is None else folder / SPACE_FOLDER
            lens = space if isinstance(space, FeatureSpace) else FeatureSpace.load(space)
            manifest.check_space(lens, str(path))
            return cls(str(path), store, lens, manifest, folder, encoder)
        except BaseException:
            store.close()
            raise

    def add(
        self,
        records: str | Path | Iterable[Record | Mapping[str, Any] | str | Path],
        *,
        columns: Columns = Columns(),  # noqa: B008  (frozen)
        batch_size: int = 512,
        progress: bool = False,
    ) -> IndexingReport:
        """Index an iterable of ``Record`` or dict, a path, a list of paths, or a Hugging Face data set.

        Unchanged records are skipped without being encoded, so a run that died is resumed by running it
        again. Bad records go to ``rejects.jsonl`` and the run goes on. Returns when all is flushed to disk.
        """
        if batch_size < 1:
            raise InvalidInputError(f"batch_size={batch_size}", "out of range", "Use 1 or more.")
        source = open_source(records, columns=columns)
        from tqdm import tqdm

        bar = tqdm(
            total=source.total if progress else None,
            unit=" docs",
            desc=source.name,
            disable=not progress,
            file=sys.stderr,
            smoothing=0.1,
        )
        with bar, RejectsFile(self.rejects_path, source.name) as rejects:
            pipeline = Pipeline(
                self.store,
                self.space,
                self.encoder,
                self.passages,
                on_reject=rejects.add,
                on_progress=bar.update,
                window=batch_size,
            )
            report = pipeline.run(source)
        self._write_counts()
        return report

    def delete(
        self,
        ids: Sequence[str] | None = None,
        *,
        where: str | None = None,
        query_filter: Filter | None = None,
    ) -> int:
        """Delete records by id, or all that match; return how many there were."""
        has_condition = where is not None or query_filter is not None
        if (ids is None) == (not has_condition):
            raise InvalidInputError(
                "delete", "both ids and a condition" if has_condition else "nothing to select by",
                "Give ids, or where and query_filter.",
            )  # fmt: skip
        if isinstance(ids, str):
            raise InvalidInputError("delete", "one string as ids", "Give a list of ids.")
        condition = None if ids is not None else self._compile(where, query_filter)
        deleted = delete_records(self.store, record_ids(self.store, condition) if ids is None else ids)
        self._write_counts()
        return deleted

    def search(self, query: str | Query, **options: Any) -> Hits:
        """Return the best hits of a text, or of a :class:`Query`; ``options`` are the query's fields.

        ``index.search("galaxy rotation", where='NOT "simulation"', steer="+theory:0.5", explain=True)``
        """
        started = time.perf_counter()
        plan = self.plan(query, **options)
        planned = time.perf_counter()
        hits = execute(plan, self.store, self.space, self.passages is not None)
        timings = {"plan": (planned - started) * 1e3, **hits.timings_ms}
        return Hits(hits[:], plan, {**timings, "total": (time.perf_counter() - started) * 1e3})

    def plan(self, query: str | Query, **options: Any) -> Plan:
        """Return what :meth:`search` will run, without running it."""
        try:
            asked = replace(query, **options) if isinstance(query, Query) else Query(query, **options)
        except TypeError as error:
            raise InvalidInputError("search", str(error), "Use the fields of saeindex.Query.") from error
        return self.planner.plan(asked)

    def features(self, phrase: str, limit: int = 10) -> list[FeatureMatch]:
        """Return the features that answer to a phrase, best first."""
        if not phrase.strip():
            raise InvalidInputError("features", "an empty phrase", "Give a word or a phrase.")
        return self.planner.resolver.match(phrase, limit)

    def concept(self, target: str) -> Concept:
        """Return what ``#id`` or a phrase resolves to; UnknownConceptError lists the nearest labels."""
        return self.planner.resolver.resolve(target)

    def feature(self, feature: int, examples: int = 5) -> FeatureCard:
        """Return what the index knows about a feature, with its strongest records."""
        return feature_card(feature, self.store, self.space, examples)

    def count(self, where: str | None = None, query_filter: Filter | None = None) -> int:
        """Return the number of records, or of those that match (with passages: in any of them)."""
        condition = self._compile(where, query_filter)
        return count_records(self.store, condition, self.passages is not None)

    def info(self) -> dict[str, Any]:
        """Return what the index is: counts, space, encoder, vectors and settings."""
        return {
            "name": self.name,
            "store": type(self.store).__name__,
            "records": self.count(),
            "points": self.store.count(),
            **self.manifest.model_dump(mode="json", exclude={"counts"}),
            "space_report": self.space.report.get("held_out", {}),
        }

    @property
    def passages(self) -> PassageOptions | None:
        """How long texts are split, None where they are not."""
        setting = self.manifest.passages
        return None if setting is None else PassageOptions(setting.max_tokens, setting.overlap)

    @property
    def rejects_path(self) -> Path:
        """Where bad records are reported."""
        return Path(f"{self.name}.rejects.jsonl") if self.folder is None else self.folder / REJECTS_FILE

    def close(self) -> None:
        """Flush and release the store."""
        self.store.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None
    ) -> None:
        self.close()

    def __len__(self) -> int:
        return self.count()

    def _encode_one(self, text: str) -> FloatArray:
        vector: FloatArray = self.encoder.encode_query([text])[0]
        vector.flags.writeable = False  # it is cached, and zero steering hands out this very array
        return vector

    def _compile(self, where: str | None, query_filter: Filter | None) -> Filter | None:
        return self.planner.compile(None if where is None else parse_where(where), query_filter, {})

    def _write_counts(self) -> None:
        counts = Counts(records=self.count(), points=self.store.count())
        self.manifest = self.manifest.model_copy(update={"counts": counts})
        self.store.write_manifest(self.manifest.model_dump(mode="json"))


def _create_or_complete(
    path: str | Path,
    manifest: Manifest,
    client: QdrantClient | None,
    url: str | None,
    options: dict[str, Any],
) -> VectorStore:
    """Make the store, or take over an empty one that was left without a manifest."""
    try:
        return create_store(path, manifest.layout, client=client, url=url, **options)
    except MismatchError:
        store = open_store(path, client=client, url=url)
        if not store.read_manifest() and store.layout == manifest.layout and store.count() == 0:
            return store
        store.close()
        raise
