"""``FeatureIndex``: records in; filtered, steered and explained search out."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from functools import cached_property, partial
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from saeindex.analysis.analyses import Analysing
from saeindex.clustering import ClusteringAlong
from saeindex.collection.caches import QueryVectors
from saeindex.collection.collection import Collection
from saeindex.collection.records import delete_records, record_ids
from saeindex.config import CACHE_FOLDER, DEFAULT_SPACE
from saeindex.correlating import Correlating
from saeindex.drifting import Drifting
from saeindex.errors import InvalidInputError
from saeindex.features import FeatureSpace
from saeindex.indexing import recalibration
from saeindex.indexing.create_open import IndexParts, create_index, open_index
from saeindex.indexing.manifest import Counts, Manifest
from saeindex.indexing.passages import PassageOptions
from saeindex.indexing.pipeline import IndexingReport, Pipeline
from saeindex.indexing.rejects import RejectsFile
from saeindex.indexing.sources import Columns, open_source
from saeindex.search.planner import Planner
from saeindex.search.searcher import Asking
from saeindex.steering.profile_store import Profiling

if TYPE_CHECKING:
    from qdrant_client import QdrantClient
    from qdrant_client.models import Filter

    from saeindex.features import Calibration
    from saeindex.features.level_drift import LevelDrift
    from saeindex.protocols import PayloadKind, TextEncoder
    from saeindex.types import FloatArray, Record

REJECTS_FILE = "rejects.jsonl"
# What of a manifest is said in other words, or to nobody.
KEPT_FOR_ITSELF = {"counts", "calibration", "recalibration", "profiles"}


class FeatureIndex(Asking, Analysing, ClusteringAlong, Correlating, Drifting, Profiling):
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
        self.manifest = manifest
        vectors = QueryVectors(self._encode_queries)
        cache = None if self.folder is None else self.folder / CACHE_FOLDER
        collection = Collection(self.store, space, vectors, lambda: self.encoder, cache)
        planner = Planner(collection, self._saved_direction, self.passages is not None)
        self._look_through(space, vectors, self.passages is not None, planner)
        self._snapshots = {}

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
        fields: Sequence[str] = (),
        **store_options: Any,
    ) -> Self:
        """Make an empty index: a directory, or a collection where ``client`` or ``url`` is given.

        ``passages`` splits long texts; ``payload_indexes`` (such as ``{"metadata.year": "integer-range"}``)
        speeds up filters and allows facets on your own fields. ``fields`` are further texts of a record
        (``("prompt",)`` beside a response): each has its own vectors and concepts, and is encoded whole, as
        far as the encoder reads. ``store_options`` go to the collection. An index whose creation was
        interrupted is completed; an existing one is a MismatchError.
        """
        lens = space if isinstance(space, FeatureSpace) else FeatureSpace.load(space)
        manifest = Manifest.describe(lens, passages, payload_indexes or {}, fields)
        if encoder is not None:
            lens.check_encoder(encoder)
        parts = create_index(path, lens, manifest, client, url, store_options)
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
        source = open_source(records, columns=self._columns(columns))
        revision = self.manifest.revision
        bar = _progress_bar(source.total if progress else None, " docs", source.name, progress)
        with bar, RejectsFile(self.rejects_path, source.name) as rejects:
            pipeline = Pipeline(
                self.store,
                self.space,
                self.encoder,
                self.passages,
                on_reject=rejects.add,
                on_progress=bar.update,
                before_write=partial(self._before_write, revision),
                window=batch_size,
                fields=self.fields,
            )
            report = pipeline.run(source)
        self._write_counts(is_changed=self.manifest.revision != revision)
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
        self._renew()
        condition = None if ids is not None else self._compile(where, query_filter)
        deleted = delete_records(self.store, record_ids(self.store, condition) if ids is None else ids)
        self._write_counts(is_changed=True)
        return deleted

    def measure_calibration(self) -> Calibration:
        """Return the calibration of this index's own corpus; where texts are split, over passages.

        One scroll over the stored vectors; memory holds the non-zeros, 8 bytes each.
        """
        return recalibration.measure_index(self.store, self.space.n_features)

    def level_drift(self) -> LevelDrift:
        """Return how far this index's corpus lies from the one that its levels were measured on."""
        return recalibration.index_drift(self.store, self.space.calibration)

    def recalibrate(self, progress: bool = False) -> recalibration.RecalibrationReport:
        """Take the levels from this index's own corpus, in place; nothing is encoded again.

        The space gets a new fingerprint, and each point new level codes. While that goes on, a filter by
        level meets old codes and new ones, and adding records is refused. Killed, it is finished by
        ``open(…, resume=True)``; after an error this index is closed.
        """
        manifest, before, points = self._kept_manifest(), self.level_drift(), self.store.count()
        lens, changed = recalibration.releveled(self.space, self.measure_calibration(), self.name), 0
        if lens.fingerprint != self.space.fingerprint:
            try:
                with _progress_bar(points, " points", "levels", progress) as bar:
                    manifest, changed = recalibration.recalibrate(
                        self.store, manifest, lens, self.folder, self.name, bar.update
                    )
            except BaseException:
                self.close()
                raise
            self._bind(lens, manifest)
        return recalibration.RecalibrationReport(
            points, changed, lens.fingerprint, before, self.level_drift()
        )

    def info(self) -> dict[str, Any]:
        """Return what the index is: counts, space, encoder, vectors and settings."""
        return {
            "name": self.name,
            "store": type(self.store).__name__,
            "records": self.count(),
            "points": self.store.count(),
            **self.manifest.model_dump(mode="json", exclude=KEPT_FOR_ITSELF),
            "profiles": list(self.profiles),
            "levels_of": "its own corpus" if self.manifest.calibration else "the space",
            "space_report": self.space.report.get("held_out", {}),
        }

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

    def close(self) -> None:
        """Flush and release the store."""
        self.store.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None
    ) -> None:
        self.close()

    def _encode_queries(self, texts: Sequence[str]) -> FloatArray:
        return self.encoder.encode_query(texts)  # loaded with the first query, not with the index

    def _columns(self, columns: Columns) -> Columns:
        """Return the columns to read, with those of this index's further texts."""
        if unknown := sorted(columns.named_fields.keys() - self.fields):
            raise InvalidInputError(
                f"further text field {unknown[0]!r}",
                f"index {self.name} has {', '.join(self.fields) or 'none'}",
                "Leave it out, or make a new index with it.",
            )
        return replace(columns, own_fields=self.fields)

    def _write_counts(self, is_changed: bool) -> None:
        counts = Counts(records=self.count(), points=self.store.count())
        kept = self._kept_manifest().model_copy(update={"counts": counts})
        self.manifest = kept.renewed() if is_changed else kept
        self.store.write_manifest(self.manifest.model_dump(mode="json"))

    def _before_write(self, revision: str) -> None:
        """Refuse to write where the levels were replaced; make the first write a new revision.

        Before it, not after: what a killed run wrote must not pass for what was there when it began.
        """
        if self.manifest.revision == revision:
            self._renew()
        else:
            self._kept_manifest()

    def _renew(self) -> None:
        """Give the index another revision: its points are about to change."""
        self.manifest = self._kept_manifest().renewed()
        self.store.write_manifest(self.manifest.model_dump(mode="json"))

    def _kept_manifest(self) -> Manifest:
        """Return the manifest as it is now; MismatchError where the levels were replaced meanwhile."""
        kept = Manifest.parse(self.store.read_manifest(), self.name)
        kept.check_settled(self.name, self.space.fingerprint)
        return kept


def _progress_bar(total: int | None, unit: str, title: str, is_shown: bool) -> Any:
    from tqdm import tqdm

    return tqdm(total=total, unit=unit, desc=title, disable=not is_shown, file=sys.stderr, smoothing=0.1)
