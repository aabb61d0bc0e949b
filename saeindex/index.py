"""``FeatureIndex``: index records, then search, filter, steer, explain and analyse them."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Literal, Self, TypeVar

from saeindex.collection.current import CurrentState
from saeindex.collection.records import existing_ids
from saeindex.config import DEFAULT_SENTENCES, DEFAULT_WORDS, TEXT, SentenceStorage
from saeindex.errors import (
    InvalidInputError,
    MismatchError,
    NotFoundError,
    SaeIndexError,
    UnknownConceptError,
    collecting,
    copy_command,
    kind_of,
)
from saeindex.features import FeatureSpace
from saeindex.features.space_io import space_for
from saeindex.files import writable
from saeindex.indexing.create_open import (
    IndexParts,
    Place,
    create_index,
    given_space,
    is_there,
    open_index,
    part_of,
)
from saeindex.indexing.manifest import Manifest, index_description, index_info, payload_key
from saeindex.indexing.points import not_whole
from saeindex.indexing.split import check_split
from saeindex.indexing.terms import is_to_learn
from saeindex.language.fields import METADATA
from saeindex.language.to_text import quoted
from saeindex.operations.analysis import Analysis, Reading
from saeindex.operations.operation import Change, Operation
from saeindex.operations.records import condition_of, stored_of
from saeindex.operations.surfaces import Surface
from saeindex.report.result import AnalysisResult
from saeindex.schema import check_kind
from saeindex.stores.base import pages
from saeindex.stores.directory import check_outside
from saeindex.stores.point_checks import check_count
from saeindex.stores.waiting import reading_all
from saeindex.types import Steer

if TYPE_CHECKING:
    from narwhals.typing import IntoDataFrame
    from qdrant_client import QdrantClient
    from qdrant_client.models import Filter

    from saeindex.collection.backup import Backup
    from saeindex.collection.state import IndexState
    from saeindex.collection.stored import RecordPart
    from saeindex.features.reader_space import ReaderSpace
    from saeindex.indexing.copy import CopyReport
    from saeindex.indexing.pipeline import IndexingReport
    from saeindex.indexing.sources.columns import Columns
    from saeindex.protocols import PayloadKind, Quantization, TextEncoder
    from saeindex.types import JsonObject, Record

R = TypeVar("R")
# What is searched for to load what searches read.
WARM = "the first question"


class _EncoderOf:
    """The encoder of a space, loaded on first use; it does not refer to the index that has it."""

    def __init__(self, space: FeatureSpace, opened: TextEncoder | None) -> None:
        self._space, self.opened = space, opened

    def __call__(self) -> TextEncoder:
        if self.opened is None:
            self.opened = self._space.open_encoder()
        return self.opened


class FeatureIndex(Surface):
    """An index of records: dense vectors, sparse codes and concepts, in one Qdrant collection.

    ``FeatureIndex(path)`` opens the index at a path; if there is none, the first ``upsert`` creates it.
    :meth:`create` and :meth:`open` do one and not the other. Use it as a context manager, or :meth:`close`
    it. Threads may share it: each operation sees the records of one revision, which every write changes.
    """

    _is_closed = False
    _opened: CurrentState | None = None
    _whole: FeatureIndex | None = None

    def __init__(
        self,
        path: str | Path,
        *,
        space: FeatureSpace | str | Path | None = None,
        client: QdrantClient | None = None,
        url: str | None = None,
        fields: Sequence[str] = (),
        sentences: SentenceStorage | None = None,
        words: str | None = None,
        encoder: TextEncoder | None = None,
        reader: ReaderSpace | str | Path | None = None,
        isolated: bool = False,
    ) -> None:
        """Open an index; an absent one will be as ``space``, ``fields``, ``sentences``, … say.

        MismatchError where the index at the path is of another space or ``reader``, has other ``fields``, or
        keeps other parts of ``sentences`` or other ``words``. Nothing is written before the first ``upsert``;
        reading before it is NotFoundError. An index that nothing refers to any more is closed.
        """
        self.name, self._creating = str(path), threading.RLock()
        try:
            place = Place(path, client, url, isolated)
            self._open = partial(open_index, place, space, encoder, reader)
            self._bind(self._open(), encoder)
        except NotFoundError:
            if is_there(place):
                raise  # something that it needs is not
            self._planned = given_space(space_for(encoder) if space is None else space, reader)
            self._encoder = _EncoderOf(self._planned, encoder)
            if encoder is not None:
                self._planned.check_encoder(encoder)
            self._fields = tuple(fields)
            manifest = Manifest.describe(
                self._planned,
                fields=fields,
                sentences=DEFAULT_SENTENCES if sentences is None else sentences,
                words=DEFAULT_WORDS if words is None else words,
            )
            self._create = partial(create_index, place, self._planned, manifest)
        else:
            if fields and tuple(fields) != (known := tuple(self.state.manifest.fields)):
                self.close()
                raise MismatchError(
                    f"index {self.name!r} with the fields {', '.join(fields)}",
                    f"it has {', '.join(known) or 'none'}",
                    "Leave fields out, or make a new index.",
                )
            for name, wanted in {"sentences": sentences, "words": words}.items():
                if wanted not in (None, kept := getattr(self.state.manifest, name)):
                    self.close()
                    raise MismatchError(
                        f"index {self.name!r} with {name}={wanted!r:.80}",
                        f"it was made with {kept!r}",
                        f"Leave {name} out, or run {copy_command(self.name)} with --{name}.",
                    )

    @classmethod
    def _of_parts(cls, name: str, parts: IndexParts, encoder: TextEncoder | None = None) -> Self:
        """Return the index of open parts."""
        index = cls.__new__(cls)
        index.name, index._creating = name, threading.RLock()
        index._bind(parts, encoder)
        return index

    def _bind(self, parts: IndexParts, encoder: TextEncoder | None) -> None:
        self._encoder = _EncoderOf(parts.space, encoder)
        self._opened = CurrentState(self.name, parts, self._encoder)

    def _found(self) -> CurrentState | None:
        """Return the current state of the index, None if nobody has created it yet."""
        if self._opened is None:
            with self._creating, suppress(NotFoundError):
                self._bind(self._open(), self._encoder.opened)
        return self._opened

    @property
    def _current(self) -> CurrentState:
        if (found := self._found()) is None:
            do = f"Add records (upsert, `saeindex index … --into {self.name}`), or correct the path."
            raise NotFoundError(f"index {self.name!r}", "there is none yet: nothing was indexed", do)
        return found

    def _made(self) -> CurrentState:
        """Return the current state of the index, which is created if there is none."""
        with self._creating:
            if self._found() is None:
                self._bind(self._create(), self._encoder.opened)
        return self._current

    @property
    def state(self) -> IndexState:
        """The state of the index at its present revision: its store and manifest, and what is derived."""
        return self._current.present()

    @property
    def space(self) -> FeatureSpace:
        """The feature space, with the names that features have in this index."""
        return self._planned if self._opened is None else self.state.space

    @property
    def encoder(self) -> TextEncoder:
        """The encoder of the space, loaded on first use."""
        return self._encoder()

    @encoder.setter
    def encoder(self, encoder: TextEncoder) -> None:
        self._encoder.opened = encoder

    def refresh(self) -> None:
        """Read the index anew: for writes of programs other than saeindex, which it cannot notice."""
        self._current.refresh()

    @classmethod
    def create(  # noqa: PLR0913  (all but the path have defaults)
        cls,
        path: str | Path,
        space: FeatureSpace | str | Path | None = None,
        *,
        client: QdrantClient | None = None,
        url: str | None = None,
        encoder: TextEncoder | None = None,
        payload_indexes: Mapping[str, PayloadKind] | None = None,
        fields: Sequence[str] = (),
        sentences: SentenceStorage = DEFAULT_SENTENCES,
        words: str = DEFAULT_WORDS,
        reader: ReaderSpace | str | Path | None = None,
        quantization: Quantization | None = None,
        shard_number: int | None = None,
        replication_factor: int | None = None,
        write_consistency_factor: int | None = None,
        on_disk_payload: bool | None = None,
        on_disk: bool | None = None,
        isolated: bool = False,
    ) -> Self:
        """Create an empty index: a directory, or a Qdrant collection if ``client`` or ``url`` is given.

        Without a ``space`` it is over the default one, or the latest that was made for the ``encoder``.
        ``payload_indexes`` (such as ``{"metadata.year": "integer-range"}``)
        speeds up filters and allows facets on your own fields. ``fields`` names further texts of a record
        (``("prompt",)`` beside a response): each has its own vectors and concepts. ``sentences`` says what is
        kept of the sentences of each text, of 1,000 at most: ``"stored"`` is a vector of each and where it is
        in the text, ``"codes"`` only where it is, ``"off"`` nothing. ``words`` is the
        language in which words are found by their stems, or ``"off"``. A ``reader`` is a second space, of the
        features of the tokens that the encoder reads (:class:`ReaderSpace`), by which texts can be searched,
        too. With ``quantization="int8"`` dense
        vectors are also kept in a byte a number: there, searches of more than 100,000 records without a
        filter find what is then scored exactly, in less than half of the time. The five options that follow
        are Qdrant's, for a collection on a server; the vectors of a directory are on disk. ``isolated`` is
        explained at :meth:`open`. If an earlier creation was interrupted, it is completed. If the index
        exists, MismatchError is raised.
        """
        read = given_space(space_for(encoder) if space is None else space, reader)
        manifest = Manifest.describe(read, payload_indexes, fields, sentences, quantization, words)
        if encoder is not None:
            read.check_encoder(encoder)
        of_server = {
            "shard_number": shard_number,
            "replication_factor": replication_factor,
            "write_consistency_factor": write_consistency_factor,
            "on_disk_payload": on_disk_payload,
            "on_disk": on_disk,
        }
        parts = create_index(Place(path, client, url, isolated), read, manifest, of_server)
        return cls._of_parts(str(path), parts, encoder)

    @classmethod
    def open(
        cls,
        path: str | Path,
        *,
        space: FeatureSpace | str | Path | None = None,
        client: QdrantClient | None = None,
        url: str | None = None,
        encoder: TextEncoder | None = None,
        reader: ReaderSpace | str | Path | None = None,
        isolated: bool = False,
    ) -> Self:
        """Open an index; MismatchError if ``space``, ``encoder`` or ``reader`` is not what it was built with.

        ``isolated`` runs the engine of a directory in a process of its own: what would end this process, such
        as a full disk, is an EngineDiedError.
        """
        parts = open_index(Place(path, client, url, isolated), space, encoder, reader)
        return cls._of_parts(str(path), parts, encoder)

    def upsert(
        self,
        records: str | Path | IntoDataFrame | Iterable[Record | Mapping[str, Any] | str | Path],
        *,
        split: int | None = None,
        columns: Columns | Mapping[str, Any] | None = None,
        batch_size: int = 512,
        progress: bool | Callable[[int], object] = False,
        learn_terms: bool = True,
        allow_rejects: bool = False,
        leave_out: Sequence[str] = (),
        replace: bool = False,
        source: str | None = None,
        prune: bool = False,
        max_prune: int | None = None,
        dry_run: bool = False,
    ) -> IndexingReport:
        """Index an iterable of ``Record`` or dict, one or more paths, a DataFrame or a Hugging Face data set.

        ``split=200`` makes of each text records of at most 200 tokens, ``ID#0``, ``ID#1``, … of the
        ``document`` ID, which end where sentences end; without it, the encoder ignores the rest of a long
        text, and the report counts such texts. A text that is indexed again replaces all that was made of
        it.

        ``index.upsert("reviews.csv", columns={"text": "review", "id": "review_id"})`` names the columns; else
        text and id are detected, and ids are made of the rows where no column has them (see
        :class:`saeindex.Columns`). What is stored already is skipped: run it again to resume it. Of a record
        whose texts are stored, only other metadata is written, and nothing is encoded; fields that an update
        set, and the source does not have, stay, unless ``replace`` is true. Of two rows with one id the last
        counts. Bad records go to ``rejects.jsonl``; where they are a tenth of all or more, RejectedError is
        raised at the end, with the report, unless ``allow_rejects`` says otherwise. ``progress`` shows a bar,
        or is a function that is told how many further texts are done.

        ``source="tickets"`` names where the records come from, which each keeps; with ``prune``, those that
        this source gave before and does not give any more, not even in a row that is rejected, are then
        deleted. InvalidInputError, and none is, where the id of a row cannot be read, or these were more than
        ten and than a tenth of what the source gave (``max_prune`` sets another number). A ``dry_run`` writes
        nothing and returns the same report: ``report.pruned`` lists them.

        The terms of the collection, words and
        phrases that it uses often and that name no concept, become concepts of the index: those of the first
        4,096 texts of an empty one before they are encoded, else at the end of an upsert of several records
        once it has 64, and again when it has twice as many or as many were written; not with
        ``learn_terms=False``. ``report.recurring`` are sentences that many records have, such as a signature;
        those in ``leave_out`` are not read as speech, in this index from now on.
        """
        from saeindex.indexing.pipeline import Pipeline, index_source
        from saeindex.indexing.sources.columns import Columns
        from saeindex.indexing.sources.open_source import open_source

        check_count("an upsert", "batch_size", batch_size, 1)
        check_split(split, lambda: self.encoder)
        fields = self._fields if self._opened is None else tuple(self.state.manifest.fields)
        picked = Columns.read({} if columns is None else columns).of_index(self.name, fields)
        opened = open_source(records, columns=picked)
        if prune and not source:
            raise InvalidInputError("prune", "no name of the source", "Give source.")
        current = self._current if dry_run else self._made()
        if leave_out and not dry_run:
            do = "Give a list of sentences."
            check_kind(f"leave_out={leave_out!r:.80}", leave_out, (list, tuple, set), do)
            current.change(lambda kept: {"leave_out": tuple(dict.fromkeys((*kept.leave_out, *leave_out)))})
        kept = current.state.manifest
        learn_terms = learn_terms and not dry_run
        is_first = kept.learned is None and not kept.counts.records and kept.sentences == "stored"
        with current.write(encodes=True) as write:
            pipeline = partial(
                Pipeline, current.store, lambda: current.state.space, self.encoder, split,
                writing=write.points, window=batch_size, fields=fields,
                sentences=kept.sentences, words=kept.words,
                updated=tuple if replace else lambda: current.state.manifest.updated,
                learn=current.learn_first if learn_terms and is_first else None,
                source=source, prune=prune, max_prune=max_prune, dry_run=dry_run,
            )  # fmt: skip
            report = index_source(opened, pipeline, current.state.rejects_path, progress)
            write.end(report.records)
        current.complete_terms()
        kept = self.state.manifest
        if (
            learn_terms
            and report.records > 1
            and is_to_learn(kept.learned, kept.counts.records, kept.written)
        ):
            current.learn_terms()
        if not allow_rejects:
            report.check(opened.name)
        return report

    def part(self, where: str | None = None, *, query_filter: Filter | JsonObject | None = None) -> Self:
        """Return the records that match as an index of their own, which is only read, while this one is open.

        Its answers are those of an index that has no other records; own names and profiles stay here. Which
        records match is asked of the engine each time; what is derived of them is as of now.
        """
        with self._current.reading() as state:
            selected = condition_of(state, where, query_filter)
        given = self._current.given_space
        parts = part_of(state.store, given, state.manifest, selected)
        made = self._of_parts(self.name, parts, self.encoder)
        made._whole = self  # which would be closed if nothing referred to it
        return made

    def copy(
        self,
        path: str | Path,
        space: FeatureSpace | str | Path | None = None,
        *,
        client: QdrantClient | None = None,
        url: str | None = None,
        encoder: TextEncoder | None = None,
        calibrate: bool = False,
        sentences: SentenceStorage | None = None,
        words: str | None = None,
        reader: ReaderSpace | str | Path | None = None,
        merge: Literal["replace", "keep"] | None = None,
        progress: bool = False,
    ) -> CopyReport:
        """Make a new index of the records: a directory, or a collection if ``client`` or ``url`` is given.

        See :func:`saeindex.copy_index`, which also copies an index whose manifest is lost. With ``merge`` the
        records are added to the index that is there: of two with one id this one's replaces it, or the other
        one's is kept. What both compute alike is not computed again; names and profiles stay here.
        """
        from saeindex.collection.stored import StoredRows
        from saeindex.indexing.copy import CopyReport, CopyTarget, copy_parts
        from saeindex.operations.copies import fitted_again

        if merge is not None:
            is_plain = (space, calibrate, sentences, words, reader) == (None, False, None, None, None)
            if merge not in ("replace", "keep") or not is_plain:
                found = "settings of a new index" if merge in ("replace", "keep") else "no such way to merge"
                do = "Give 'replace' or 'keep' alone."
                raise InvalidInputError(f"copy with merge={merge!r:.80}", found, do)
            with self.open(path, client=client, url=url, encoder=encoder) as other:
                there = other.state.store if merge == "keep" else None
                with self._current.reading() as state:
                    rows = StoredRows(self.name, state, there)
                    other._current.keep_updated(state.manifest.updated)
                    report = other.upsert(rows, progress=progress, allow_rejects=True)
                    lost = [one.name for one in state.manifest.edits.given.values()]
                return CopyReport(
                    self.name, str(path), other.space.name, report.read - report.rejected,
                    lost_names=tuple(lost), lost_profiles=tuple(state.manifest.profiles),
                    skipped=tuple(report.reasons),
                )  # fmt: skip
        with self._current.reading() as state:
            parts = IndexParts(state.store, self._current.given_space, state.manifest, state.folder)
            place = Place(path, client, url)
            target = CopyTarget(
                place, space, encoder, calibrate, sentences, words, progress, fitted_again, reader
            )
            return copy_parts(self.name, parts, target)

    def export(
        self,
        path: str | Path,
        where: str | None = None,
        *,
        query_filter: Filter | JsonObject | None = None,
        include: Sequence[RecordPart] | Literal["all"] = (),
    ) -> int:
        """Write the records, or those that match, to a ``.jsonl`` or ``.parquet`` file; return their number.

        ``include`` names what is written besides ids, documents, texts and metadata: ``"concepts"``,
        ``"vectors"``, and ``"known"``, from which an index of the same encoder is made without encoding;
        ``"all"`` is all. The file appears when it is complete; of no records none is written, and one of that
        name stays. Indexed again, it changes nothing.
        """
        target = writable(path)
        with self._current.reading() as state:
            check_outside(state.folder, target, "an export")
            condition = condition_of(state, where, query_filter)
            return stored_of(state).export(condition, target, include)

    def backup(self, path: str | Path) -> Backup:
        """Write all files of the index at one revision to one (``.tar.gz``): :func:`restore_index` reads it.

        Writes, and the searches behind them, wait while the files are copied (``paused``), not while they are
        packed. InvalidInputError for a collection on a server, which Qdrant makes snapshots of.
        """
        from saeindex.collection.backup import back_up

        return back_up(self._current, path)

    def warm(self) -> None:
        """Load what first searches read, such as the encoder, so that none waits for it."""
        with self._current.reading() as state:
            state.encode(WARM)
            first = state.store.scroll(limit=1, with_payload=[TEXT]).points
        if first:
            said = " ".join(first[0].payload[TEXT].split()[:3])
            with suppress(InvalidInputError, UnknownConceptError), collecting():
                self.search(WARM, where=f"NOT {quoted(said)}", steer=[Steer(WARM)], limit=1)
            self.search(WARM, property=WARM, explain=True, limit=1)

    def create_payload_index(self, field: str, kind: PayloadKind) -> None:
        """Make an index of a field of the metadata: filters are faster, and engines count its values.

        ``index.create_payload_index("metadata.year", "integer-range")``; records have it when this returns.
        InvalidInputError where a field has 2.5 or 3.0 and the kind is "integer-range": conditions would not
        find it. Such records are rejected from then on.
        """
        self._index_payload(field, kind)

    def delete_payload_index(self, field: str) -> None:
        """Remove the index of a field of the metadata; what filters find stays the same."""
        self._index_payload(field, None)

    def _index_payload(self, field: str, kind: PayloadKind | None) -> None:
        key, current = payload_key(field, kind), self._current
        with current.store.turns.writing():
            if kind == "integer-range":
                found = (
                    not_whole(point.payload[METADATA], {key: kind})
                    for page in pages(current.store, None, with_payload=[METADATA])
                    for point in page.points
                )
                if other := next(filter(None, found), None):
                    do = "Make one of another kind: 'float' for conditions such as > 2."
                    raise InvalidInputError(f"an index on {field!r:.80} as {kind}", other, do)
            current.store.index_payload(key, kind)
            known = dict(current.store.layout.payload_indexes)
            current.change(lambda _: {"payload_indexes": known})

    def perform(self, operation: Operation[R]) -> R:
        """Return the result of an operation: what all methods are made of."""
        if isinstance(operation, Change):
            changed: R = operation.change(self._current)
            return changed
        if isinstance(operation, Analysis):
            analysed: R = self._analysed(operation)
            return analysed
        with self._current.reading() as state:
            return operation.run(state)

    def _analysed(self, analysis: Analysis[R]) -> R:
        """Run an analysis; writers wait until it has read what it needs."""
        other = getattr(analysis, "other", None)
        if other is not None and not isinstance(other, FeatureIndex):
            raise InvalidInputError(f"other={other!r:.80}", kind_of(other), "Give an open index.")
        both = [self._current] if other is None else [self._current, other._current]
        with reading_all(one.store for one in both) as turn:
            state, *others = [turn.enter_context(one.reading()) for one in both]
            found = analysis.analyse(Reading(state, turn.close, Reading(others[0]) if others else None))
        return replace(found, revision=state.revision) if isinstance(found, AnalysisResult) else found

    def __len__(self) -> int:
        return self.count()

    def __contains__(self, record_id: object) -> bool:
        if not isinstance(record_id, str | int) or isinstance(record_id, bool):
            return False
        with suppress(UnicodeEncodeError):  # half a surrogate pair is in no id
            return bool(existing_ids(self.state.store, [str(record_id)]))
        return False

    def info(self) -> dict[str, Any]:
        """Return a description of the index: counts, space, encoder, vectors and settings."""
        with self._current.reading() as state:
            return index_info(self.name, state.manifest, state.store, state.store.count(), state.space)

    def __repr__(self) -> str:
        if self._opened is None:
            return f"FeatureIndex({self.name!r}, not there yet)"
        manifest = self.state.manifest
        is_counted = not manifest.is_being_written  # else a writer was killed
        records = manifest.counts.records if is_counted else self.state.store.count()
        return f"FeatureIndex({self.name!r}, {records:,} records, space {manifest.space.name!r})"

    def _repr_html_(self) -> str:
        from saeindex.report.html import notebook_html

        return notebook_html(index_description(self.name, self.state.manifest))

    @property
    def is_closed(self) -> bool:
        """Whether :meth:`close` was called."""
        return self._is_closed

    def close(self) -> None:
        """Flush and close the store, which first makes files of 2,000 and more records that were written."""
        if self._opened is not None and not self._is_closed:
            with suppress(SaeIndexError):  # a full disk, or another thread has closed it: nothing is lost
                self._opened.settle()
        self._shut()

    def _shut(self) -> None:
        self._is_closed = True
        if self._opened is not None:
            self._opened.store.close()
            self._opened.state.forget()

    def __del__(self) -> None:
        # A state and what is derived of it refer to each other: without this, a directory would stay locked
        # until the garbage is collected.
        is_locked = self._opened is not None and self._opened.folder is not None
        if is_locked and not self._is_closed and not sys.is_finalizing():
            with suppress(SaeIndexError):
                self._shut()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None
    ) -> None:
        if kind is None:
            self.close()
        else:
            self._shut()


def index_of(name: str, parts: IndexParts) -> FeatureIndex:
    """Return the index of open parts."""
    return FeatureIndex._of_parts(name, parts)
