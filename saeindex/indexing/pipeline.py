"""Read, encode and write at the same time, window by window; safe to kill and to run again.

A *window* is a run of consecutive source records. Its changed records are cut into *parts*, each encoded
together and written in one atomic upsert. So a resumed run finds whole parts: it skips the stored parts,
encodes the same batches as an uninterrupted run, and ends with bit-identical vectors.
"""

from __future__ import annotations

import queue
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext, suppress
from dataclasses import dataclass, field, replace
from itertools import chain, islice, pairwise
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from saeindex.config import DENSE, DOCUMENT, SOURCE, TEXT, SentenceStorage, suffixed
from saeindex.errors import (
    InvalidInputError,
    InvalidPointError,
    MismatchError,
    RejectedError,
    SaeIndexError,
)
from saeindex.features.reader_space import reader_beside
from saeindex.indexing.points import (
    CONTENT_HASH,
    DOCUMENT_HASH,
    Coded,
    PreparedRecord,
    build_points,
    content_hash,
    count_in,
    not_whole,
    of_documents,
    of_source,
    point_id,
    same_metadata,
    stored_record,
    texts_of,
    vectors_in,
    with_updates,
)
from saeindex.indexing.rejects import RejectsFile, no_field, reasons, rejects_in
from saeindex.indexing.sentences import (
    Sentences,
    encode_distinct,
    known_sentences,
    sentences_in,
    spans_in,
)
from saeindex.indexing.sources.last_rows import LastRows
from saeindex.indexing.sources.open_source import left_out_of
from saeindex.indexing.sources.values import MAX_ID_CHARACTERS
from saeindex.indexing.split import document_in, is_cut, piece_id, piece_number, split_record
from saeindex.indexing.terms import MIN_RECORDS, SAMPLED
from saeindex.indexing.words import words_of
from saeindex.language.fields import METADATA, RECORD_ID
from saeindex.language.speech import as_recurring, readable
from saeindex.protocols import Point, PointId, RecordSource, Rejected, TextEncoder, VectorStore
from saeindex.stores.base import pages
from saeindex.stores.point_checks import check_points
from saeindex.types import JsonObject, Record, SparseCode, runs, visible

if TYPE_CHECKING:
    from pathlib import Path

    from saeindex.features import FeatureSpace

WINDOW_CHARS = 4_000_000
WINDOWS_AHEAD = 2
# Maximum vectors of a part, of texts and sentences, unless a single text has more: a store writes so many
# atomically. A window of 512 records of one sentence is one part.
PART_VECTORS = 1_050
# Characters of texts from which terms are learned before they are encoded, and seconds that these are waited
# for, at most.
LEARNED_CHARS, LEARNED_SECONDS = 4 * WINDOW_CHARS, 30.0
# What recurs at the ends of texts: how many sentences of a text's end are counted, the least number of
# records and their share, and the most different sentences that are counted at a time.
LAST, MIN_RECURRING, RECURRING, COUNTED = 4, 5, 0.05, 200_000
# The share of rejected records from which on a run fails, after all others were written.
MOST_REJECTED = 0.1
# The texts of a window whose own vectors are compared with those of the encoder, and the least cosine.
COMPARED, SAME_VECTOR = 8, 0.99
# The cosine of a vector with a stored one, of the same numbers at another precision.
UNCHANGED_VECTOR = 0.9995
# The number and the share of a source's texts that are deleted unless more may be, and how many at once.
MOST_PRUNED, PRUNED_SHARE, PRUNED_AT_ONCE = 10, 0.1, 500


@dataclass(frozen=True, slots=True)
class IndexingReport:
    """The counts of a run, in texts of the source.

    ``read`` = ``indexed`` + ``updated`` + ``unchanged`` + ``superseded`` + ``rejected``. Of those that were
    ``updated`` only the metadata differed, which was written, and nothing was encoded; ``superseded`` are
    rows after which the source has another one of the same id. ``pruned`` are the ids of texts that the
    source gave before and does not give any more.
    ``records`` were written: more than ``indexed`` if texts were split. Of these, ``truncated`` are longer
    than the encoder reads, which ignores the rest of their texts. ``unread`` sentences are in another
    language, or say nothing ("n/a"): they have no concepts. ``reasons`` are the most common ones of rejects,
    each with its number and first position. ``left_out`` is what was not read at all: files of other kinds in
    a folder, columns of bytes. ``recurring`` are sentences at the end or the beginning of many records, such
    as a signature, each with their number: upsert(leave_out=[…]) leaves them out of what is read.
    """

    read: int = 0
    indexed: int = 0
    unchanged: int = 0
    rejected: int = 0
    records: int = 0
    truncated: int = 0
    unread: int = 0
    updated: int = 0
    superseded: int = 0
    pruned: Sequence[str] = ()
    seconds: float = 0.0
    reasons: Sequence[str] = ()
    left_out: Sequence[str] = ()
    recurring: Sequence[str] = ()

    def check(self, source: str) -> None:
        """Raise RejectedError, with this report, if a tenth of the records was rejected or more."""
        if self.rejected and self.rejected >= MOST_REJECTED * self.read:
            found = f"{self.rejected:,} of {self.read:,} records were rejected: {'; '.join(self.reasons)}"
            rest = "The others are" if self.rejected < self.read else "Nothing is"
            do = f"{rest} written. Mend these and index again, or give allow_rejects (--allow-rejects)."
            raise RejectedError(f"index {source}", found, do, report=self)


class IndexingStopped(Exception):
    """Raised by a ``progress`` function or an encoder to end a run; ``report`` is what was done so far."""

    report = IndexingReport()


def index_source(
    source: RecordSource,
    pipeline: Callable[..., Pipeline],
    rejects_path: Path,
    progress: bool | Callable[[int], object],
) -> IndexingReport:
    """Index a source with a rejects file and a progress bar; ``pipeline`` only lacks its callbacks.

    ``progress`` is whether the bar is shown, or a function in place of the bar.
    """
    is_shown = progress is True
    bar = progress_bar(source.name, "docs", source.total if is_shown else None, is_shown)
    with bar, RejectsFile(rejects_path, source.name) as rejects:
        on_progress = progress if callable(progress) else bar.update
        report = pipeline(on_reject=rejects.add, on_progress=on_progress).run(source)
    report = replace(report, left_out=left_out_of(source))
    if not report.rejected:
        return report
    return replace(report, reasons=reasons(rejects_in(rejects_path, source.name)))


@dataclass(frozen=True, slots=True)
class _Text:
    """A text at a position (from 1) of the source, and the records that are made of it."""

    position: int
    records: list[PreparedRecord]

    def rejected(self, reason: str) -> Rejected:
        first = self.records[0]
        name = first.record.id if first.document_hash is None else first.record.document
        return Rejected(f"record {self.position}", reason, name)


@dataclass(slots=True)
class _Window:
    """The texts of a window to encode, those that differ in metadata alone, and its rejects and counts.

    ``pieces`` are those of documents of another index: the document, the number of each, and its mark.
    """

    texts: list[_Text] = field(default_factory=list)
    known: list[_Text] = field(default_factory=list)
    rejected: list[Rejected] = field(default_factory=list)
    pieces: list[tuple[str, int, str | None]] = field(default_factory=list)
    read: int = 0
    superseded: int = 0

    @property
    def records(self) -> list[PreparedRecord]:
        return [one for text in self.texts for one in text.records]


_Encoded: TypeAlias = tuple[_Window, Coded]
# A row of a source with its position; None if a later one of its id replaces it.
_Row: TypeAlias = tuple[int, Record | Rejected | None]
# What the reader passes on: a window, an error, or the end.
_Arrival: TypeAlias = _Window | BaseException | None


@dataclass(frozen=True, slots=True)
class Pipeline:
    """The settings of an indexing run; :meth:`run` indexes a source with them.

    ``space`` returns the space as it is now: terms may come while texts are encoded.
    ``split`` is the maximum number of tokens of a record, None to leave texts whole. Each write is made
    within ``writing(is_of_texts)``, which keeps readers away and can raise to stop the run. Fields of
    metadata that were ``updated`` until then keep their values where the source has none. ``sentences`` says
    what is kept of the sentences of texts, ``words`` in which language these are, or "off". ``learn`` is
    called with the first texts before any is encoded, and the number of their records, if these are enough to
    learn terms of. Records are of the ``source`` of that name from now on; with ``prune``, those that it does
    not give any more are deleted: ``max_prune`` texts at most. A ``dry_run`` only counts.
    """

    store: VectorStore
    space: Callable[[], FeatureSpace]
    encoder: TextEncoder
    split: int | None
    on_reject: Callable[[Rejected], None]
    on_progress: Callable[[int], object]
    writing: Callable[..., AbstractContextManager[object]] = nullcontext
    window: int = 512
    fields: tuple[str, ...] = ()
    sentences: SentenceStorage = "off"
    words: str = "off"
    updated: Callable[[], Collection[str]] = tuple
    learn: Callable[[Sequence[str], int], None] | None = None
    source: str | None = None
    prune: bool = False
    max_prune: int | None = None
    dry_run: bool = False

    def run(self, source: RecordSource) -> IndexingReport:
        """Index every record of ``source``; return when all are written and flushed.

        Reading and writing run on a thread each; encoding, which uses every core, runs on the caller's
        thread. On an error or Ctrl-C the encoded records are still written before it is raised.
        """
        started = time.perf_counter()
        with LastRows(source, self.fields) as rows:
            report = self._run(rows, started)
            return replace(report, pruned=self._pruned(rows)) if self.prune else report

    def _pruned(self, rows: LastRows) -> tuple[str, ...]:
        """Delete what the source gave before and does not give any more; return the ids of these texts."""
        from qdrant_client.models import FieldCondition, Filter, MatchValue

        given, gone = set[str](), dict[str, list[PointId]]()
        of_it = Filter(must=[FieldCondition(key=SOURCE, match=MatchValue(value=str(self.source)))])
        for page in pages(self.store, of_it, with_payload=[RECORD_ID, DOCUMENT, DOCUMENT_HASH]):
            for point in page.points:
                own = point.payload[DOCUMENT if DOCUMENT_HASH in point.payload else RECORD_ID]
                if rows.gives(own):
                    given.add(own)
                else:
                    gone.setdefault(own, []).append(point.id)
        asked, total = f"prune what {self.source!r:.80} does not give any more", len(given) + len(gone)
        most = max(MOST_PRUNED, int(PRUNED_SHARE * total)) if self.max_prune is None else self.max_prune
        if gone and not rows.has_all_ids:
            found = f"rows that cannot be read, so that any of {len(gone):,} may be one of these"
            raise InvalidInputError(asked, found, "Mend the source: rejects say where. Nothing is deleted.")
        if gone and not given and self.max_prune is None:
            most = 0  # an empty source is a mistake more often than it is meant
        if len(gone) > most and not self.dry_run:
            found = f"{len(gone):,} of {total:,} would be deleted, above {most:,}; all others are written"
            do = f"See which (dry_run, --dry-run), and give max_prune={len(gone)} (--max-prune)."
            raise InvalidInputError(asked, found, do)
        ids = [] if self.dry_run else [*chain(*gone.values())]
        for start in range(0, len(ids), PRUNED_AT_ONCE):
            with self.writing(True):  # others may have taken some over meanwhile
                own = self.store.get(ids[start : start + PRUNED_AT_ONCE], [SOURCE])
                self.store.delete([one.id for one in own if one.payload.get(SOURCE) == self.source])
        return tuple(gone)

    def _run(self, rows: LastRows, started: float) -> IndexingReport:
        windows: queue.Queue[_Arrival] = queue.Queue(WINDOWS_AHEAD)
        encoded: queue.Queue[_Encoded | None] = queue.Queue(WINDOWS_AHEAD)
        stop, written = threading.Event(), _Tally()
        reader = threading.Thread(target=self._read, args=(rows, windows, stop), daemon=True)
        writer = threading.Thread(target=self._write, args=(encoded, written, stop), daemon=True)
        reader.start()
        writer.start()
        failure: BaseException | None = None
        try:
            for window in self._learned(windows, stop):
                if window is None:
                    break
                if isinstance(window, BaseException):
                    raise window
                if self.dry_run:
                    written.add(window, window.texts)
                    continue
                for part in _parts(window):
                    encoded.put(self._encode(part))
        except BaseException as error:
            failure = error
            raise
        finally:
            stop.set()
            _drain(windows)
            encoded.put(None)
            writer.join()
            reader.join()
            with nullcontext() if written.error is None else suppress(SaeIndexError):
                self.store.flush()
            report, stopped = written.report(time.perf_counter() - started), written.error
            for one in (failure, stopped):
                if isinstance(one, IndexingStopped):
                    one.report = report
            # An error refers to this frame: if that refers to it, the index stays open as garbage.
            failure = window = one = written.error = None
        try:
            if stopped is not None:
                raise stopped
        finally:
            stopped = None
        if not self.dry_run:
            self._delete_others(written.pieces)
        return report

    def _delete_others(self, pieces: Mapping[str, Mapping[int, str | None]]) -> None:
        """Delete what is left of another text of documents that another index gave in pieces."""
        for names in runs([*pieces], lambda _: 1, PRUNED_AT_ONCE):
            left = [point_id(name) for name in names]  # the whole text as one record
            for point in self._of_documents(names):
                name, own = point.payload[DOCUMENT], document_in(point.payload[RECORD_ID])
                given = pieces[name]
                if own == name and piece_number(point.payload[RECORD_ID]) not in given:
                    mark, marks = point.payload.get(DOCUMENT_HASH), {*given.values()} - {None}
                    is_of_it = mark in marks if mark and marks else {*given} != {*range(len(given))}
                    left += [] if is_of_it else [str(point.id)]
            if there := [one.id for one in self.store.get(left, False)]:
                with self.writing(True):
                    self.store.delete(there)

    def _learned(self, windows: queue.Queue[_Arrival], stop: threading.Event) -> Iterator[_Arrival]:
        """Yield what comes until a stop, after the terms of the first windows are learned."""
        first, texts, records, size = list[_Arrival](), list[str](), 0, 0
        latest = time.monotonic() + LEARNED_SECONDS
        while self.learn is not None and len(texts) < SAMPLED and size < LEARNED_CHARS:
            try:
                window = windows.get(timeout=max(0.0, latest - time.monotonic()))
            except queue.Empty:  # a source that waits
                break
            first.append(window)
            if not isinstance(window, _Window):
                break
            own = [text for one in window.records for text in one.texts(self.fields)]
            texts += own
            records, size = records + len(window.records), size + sum(map(len, own))
        if self.learn is not None and records >= MIN_RECORDS:
            self.learn(texts, records)
        yield from first
        while not stop.is_set():
            yield windows.get()

    def _read(self, rows: LastRows, out: queue.Queue[_Arrival], stop: threading.Event) -> None:
        try:
            for run in _windows(rows, self.window):
                if stop.is_set():
                    break
                out.put(self._prepare(run, rows))
            out.put(None)  # also after a stop: the caller's thread may be waiting for a window
        except BaseException as error:  # passed to the caller's thread, which raises it
            out.put(error)

    def _prepare(self, run: list[_Row], rows: LastRows) -> _Window:
        """Sort out rejected, superseded and unchanged texts, and split the others."""
        window = _Window(read=len(run))
        whole: list[tuple[int, Record]] = []
        long: list[tuple[int, Record]] = []
        for position, entry in run:
            if entry is None:
                window.superseded += 1
            elif isinstance(entry, Rejected):
                window.rejected.append(entry)
            elif reason := self._unfit(entry):
                window.rejected.append(Rejected(f"record {position}", reason, entry.id))
            else:
                is_split = self.split is not None and entry.document is None
                (long if is_split else whole).append((position, entry))
        self._prepare_whole(whole, window)
        self._prepare_long(long, window, rows)
        return window

    def _unfit(self, record: Record) -> str:
        """Return why the index cannot have a record, "" if it can."""
        if unknown := sorted(record.fields.keys() - self.fields):
            return no_field(unknown[0])
        if reason := not_whole(record.metadata, self.store.layout.payload_indexes):
            return reason
        if record.vector is None:
            return ""
        if self.split is not None and record.document is None:
            return "it has a vector of its whole text, which is split"
        wanted, found = self.encoder.identity.dimension, len(record.vector)
        return "" if found == wanted else f"its vector has {found:,} dimensions, not {wanted:,}"

    def _prepare_whole(self, records: list[tuple[int, Record]], window: _Window) -> None:
        ids = [point_id(record.id) for _, record in records]
        stored = {p.id: p.payload for p in self.store.get(ids, self._parts)}
        foreign, unread = self._foreign([record for _, record in records]), self._unread()
        having = [own for (_, record), own in zip(records, ids, strict=True) if record.vector is not None]
        vectors = {p.id: p.vectors.get(DENSE) for p in self.store.get(having, False, [DENSE])}
        torn = self._torn([record for _, record in records])
        for (position, record), own in zip(records, ids, strict=True):
            known, digest = stored.get(own, {}), content_hash(record, None, unread)
            named, given, mark = document_in(record.id), record.known, None
            if given is not None and named is not None and named == record.document:
                mark = given.document if given.content == digest else None
                window.pieces.append((named, piece_number(record.id), mark))
            made = PreparedRecord(record, digest, mark)
            is_same = known.get(CONTENT_HASH) == digest and not _is_far(record.vector, vectors.get(own))
            is_same = is_same and texts_of(known, self.fields) == made.texts(self.fields)
            former = None if given is not None and not is_same else known.get(SOURCE)
            made.source = self.source or (given.source if given else None) or former
            if is_same:
                if self._is_other(made, known):
                    window.known.append(_Text(position, [made]))
                continue
            if record.id in foreign:
                reason = f"its id is that of a piece of the document {named!r}"
            elif known and named is not None and named == record.document != known.get(DOCUMENT):
                reason = f"the record {record.id!r} is stored, and is not a piece of {named!r}"
            elif mark is not None and (reason := torn.get(str(named), "")):
                pass
            else:
                window.texts.append(_Text(position, [self._read_of(made)]))
                continue
            window.rejected.append(Rejected(f"record {position}", reason, record.id))

    def _torn(self, records: Sequence[Record]) -> dict[str, str]:
        """Return why documents that another index gives in pieces cannot be here as a whole."""
        counts = {
            str(one.document): count_in(one.known.document)
            for one in records
            if one.known is not None and one.known.document and document_in(one.id) == one.document
        }
        return self._taken({
            name: [piece_id(name, number) for number in range(count)] for name, count in counts.items()
        })  # fmt: skip

    def _is_other(self, made: PreparedRecord, known: JsonObject) -> bool:
        """Return whether a stored record has other metadata than it is to have, or is of another source."""
        own = with_updates(made.record, known, self.updated()).metadata
        return made.source != known.get(SOURCE) or not same_metadata(own, known.get(METADATA) or {})

    def _with_updates(self, records: Sequence[PreparedRecord]) -> dict[PointId, JsonObject]:
        """Return the metadata of records, with what updates of them or of all their document have set."""
        if not (names := self.updated()):
            return {point_id(one.record.id): dict(one.record.metadata) for one in records}
        texts = {
            one.record.id: one.record.id if one.document_hash is None else str(one.record.document)
            for one in records
        }
        ids = dict.fromkeys(map(point_id, (*texts, *texts.values())))
        stored = {point.id: point.payload for point in self.store.get([*ids], [METADATA, TEXT])}
        known = {
            one.record.id: own
            for one in records
            if (own := stored.get(point_id(one.record.id))) is not None
            and (one.document_hash is None or own.get(TEXT) == one.record.text)
        }
        shared = self._shared({of for one, of in texts.items() if one not in known})
        found = dict[PointId, JsonObject]()
        for one in records:
            of = texts[one.record.id]
            own = known.get(one.record.id) or shared.get(of) or stored.get(point_id(of)) or {}
            found[point_id(one.record.id)] = with_updates(one.record, own, names).metadata
        return found

    def _shared(self, documents: Collection[str]) -> dict[str, JsonObject]:
        """Return the metadata that all stored pieces of each document have."""
        found = dict[str, JsonObject]()
        for point in self._of_documents(documents, [METADATA]):
            own, of = point.payload.get(METADATA) or {}, point.payload[DOCUMENT]
            if document_in(point.payload[RECORD_ID]) == of:
                before = found.get(of, {METADATA: own})[METADATA]
                both = {name: one for name, one in before.items() if name in own and own[name] == one}
                found[of] = {METADATA: both}
        return found

    @property
    def _parts(self) -> list[str]:
        """What is read of a stored record to compare it."""
        texts = [suffixed(TEXT, name) for name in ("", *self.fields)]
        return [RECORD_ID, CONTENT_HASH, DOCUMENT, METADATA, SOURCE, *texts]

    def _unread(self) -> Collection[str]:
        evidence = self.space().evidence
        return () if evidence is None else evidence.unread

    def _foreign(self, records: Sequence[Record]) -> set[str]:
        """Return the ids of records that are ids of pieces of a stored document, which they are not of."""
        named = {one.id: name for one in records if (name := document_in(one.id)) not in {None, one.document}}
        firsts = {point_id(piece_id(str(name), 0)) for name in named.values()}
        points = self.store.get([*firsts, *map(point_id, named)], [DOCUMENT])
        stored = {point.id: point.payload.get(DOCUMENT) for point in points}
        return {
            one
            for one, name in named.items()
            if name in {stored.get(point_id(one)), stored.get(point_id(piece_id(str(name), 0)))}
        }

    def _prepare_long(self, records: list[tuple[int, Record]], window: _Window, rows: LastRows) -> None:
        """Split texts of which not all pieces are stored as they would be written now."""
        unread = self._unread()
        digests = [content_hash(record, self.split, unread) for _, record in records]
        firsts = [point_id(piece_id(record.id, 0)) for _, record in records]
        wholes = [point_id(record.id) for _, record in records]
        stored = {
            p.id: p.payload for p in self.store.get([*firsts, *wholes], [DOCUMENT_HASH, METADATA, SOURCE])
        }
        known = [stored.get(first) or stored.get(own, {}) for first, own in zip(firsts, wholes, strict=True)]
        marks = [str(one.get(DOCUMENT_HASH)) for one in known]
        complete = self._complete(
            (record.id, mark) for (_, record), digest, mark in zip(records, digests, marks, strict=True)
            if mark.startswith(f"{digest}:")
        )  # fmt: skip
        foreign = self._foreign([record for _, record in records])
        given = self._given([record.id for _, record in records if record.id not in complete])
        for (position, record), digest, first in zip(records, digests, known, strict=True):
            if record.id in complete:
                count = len(complete[record.id])
            else:
                assert self.split is not None  # noqa: S101
                pieces = split_record(record, self.split, self.encoder)
                count = len(pieces)
            ids = [piece_id(record.id, number) for number in range(count)]
            if taken := next((one for one in ids if rows.owner(one, position) is not None), None):
                reason = f"a piece of it would be {taken!r}, which is the id of another record of this source"
                window.rejected.append(Rejected(f"record {position}", reason, record.id))
            elif record.id in complete:
                if changed := [*self._changed(record, complete[record.id])]:
                    window.known.append(_Text(position, changed))
            else:
                if record.id in foreign:
                    reason = f"its id is that of a piece of the document {document_in(record.id)!r}"
                elif record.id in given:
                    reason = "stored records came with this id as their document: delete them first"
                elif len(ids[-1]) > MAX_ID_CHARACTERS:
                    reason = f"an id of its pieces has {len(ids[-1])} characters, above {MAX_ID_CHARACTERS}"
                else:
                    reason = self._taken({record.id: ids}).get(record.id, "")
                if reason:
                    window.rejected.append(Rejected(f"record {position}", reason, record.id))
                    continue
                mark = f"{digest}:{count}"
                of = self.source or first.get(SOURCE)
                made = (
                    PreparedRecord(one, content_hash(one, None, unread), mark, source=of) for one in pieces
                )
                window.texts.append(_Text(position, [*map(self._read_of, made)]))

    def _changed(self, record: Record, pieces: Sequence[JsonObject]) -> Iterator[PreparedRecord]:
        """Yield the pieces of a stored document that its record gives other metadata, or another source."""
        for known in pieces:
            own = replace(stored_record(known, self.fields), metadata=record.metadata)
            of = self.source or known.get(SOURCE)
            made = PreparedRecord(own, known[CONTENT_HASH], known[DOCUMENT_HASH], source=of)
            if self._is_other(made, known):
                yield made

    def _complete(self, marked: Iterable[tuple[str, str]]) -> dict[str, list[JsonObject]]:
        """Return the pieces of each document of which all are stored with its mark, and with their texts."""
        wanted, unread = dict(marked), self._unread()
        pieces = {
            document: [point_id(piece_id(document, number)) for number in range(count_in(mark))]
            for document, mark in wanted.items()
        }
        asked = [DOCUMENT_HASH, *self._parts]
        stored = {str(p.id): p.payload for p in self.store.get([*chain(*pieces.values())], asked)}
        found = {document: [stored[one] for one in own if one in stored] for document, own in pieces.items()}
        return {
            document: own for document, own in found.items()
            if len(own) == len(pieces[document]) and all(
                one.get(DOCUMENT_HASH) == wanted[document]
                and content_hash(stored_record(one, self.fields), None, unread) == one.get(CONTENT_HASH)
                for one in own
            )
        }  # fmt: skip

    def _given(self, names: Sequence[str]) -> set[str]:
        """Return the documents that have records with ids of their own, which came with them."""
        found = [point.payload for point in self._of_documents(names)]
        return {str(one[DOCUMENT]) for one in found if document_in(one["record_id"]) != one[DOCUMENT]}

    def _has_documents(self) -> bool:
        return bool(self.store.facet(DOCUMENT, limit=1, approximate=True))

    def _of_documents(self, names: Collection[str], further: Sequence[str] = ()) -> Iterator[Point]:
        if names and self._has_documents():  # else the models of filters, 40 MiB, are not imported
            parts = ["record_id", DOCUMENT, DOCUMENT_HASH, *further]
            for page in pages(self.store, of_documents(names), with_payload=parts):
                yield from page.points

    def _taken(self, pieces: Mapping[str, Sequence[str]]) -> dict[str, str]:
        """Return why documents cannot have these records: one of them is not a piece of it."""
        ids = dict.fromkeys(map(point_id, chain(pieces, *pieces.values())))
        stored = {one.id: one.payload for one in self.store.get([*ids], ["record_id", DOCUMENT])}
        found = dict[str, str]()
        for name, own in pieces.items():
            for one in (name, *own):
                there = stored.get(point_id(one))
                if there is not None and there.get(DOCUMENT) != (None if one == name else name):
                    found[name] = f"it would replace the record {one!r}, which is not of this document"
        return found

    def _read_of(self, made: PreparedRecord) -> PreparedRecord:
        """Return a record with its sentences, and whether the encoder reads all of it."""
        texts = [*made.record.fields.values(), *([made.record.text] if made.document_hash is None else [])]
        is_truncated = any(is_cut(readable(text), self.encoder) for text in texts)
        spans = [] if self.sentences == "off" else map(spans_in, made.texts(self.fields))
        return replace(made, is_truncated=is_truncated, spans=tuple(spans))

    def _encode(self, window: _Window) -> _Encoded:
        """Encode texts and sentences together; the encoder sorts them by length."""
        texts = [text for one in window.records for text in one.texts(self.fields)]
        spans = [own for one in window.records for own in one.spans]
        single = [part for text, own in zip(texts, spans, strict=False) for part in sentences_in(text, own)]
        space = self.space()
        given = [own for one in window.records for own in one.given(space, self.fields)]
        self._check_vectors(window)
        read: SparseCode | None = None
        if (reader := reader_beside(space)) is not None:
            encoded, read = reader.read(self.encoder, [*map(readable, texts)])
            for place, own in enumerate(() if encoded is None else encoded):
                if given[place].dense is None:
                    given[place] = given[place]._replace(dense=own)
        known = [one.dense for one in given]
        for text, own, one in zip(texts, spans, given, strict=False):
            known += known_sentences(text, own, one.dense, one.sentences)
        # Pieces of a document have the same further texts: each text is encoded once.
        vectors, rows = encode_distinct(self.encoder, [*map(readable, texts), *single], known)
        own_rows = np.array(rows[: len(texts)], np.int64)
        distinct, places = np.unique(own_rows, return_inverse=True)
        code = space.encode(vectors[distinct]).take(places)
        kept = None
        if self.sentences != "off":
            kept = Sentences.of_texts(single, vectors[rows[len(texts) :]], spans, self.sentences == "stored")
        words = words_of(texts, self.words)
        mentions = [one.mentions for one in given]
        return window, Coded.of(space, vectors[own_rows], code, kept, words=words, known=mentions, read=read)

    def _check_vectors(self, window: _Window) -> None:
        """Raise MismatchError where texts came with vectors that the encoder does not give them."""
        own = [one.record for one in window.records if one.record.vector is not None]
        sample = own[:: max(1, len(own) // COMPARED)][:COMPARED]
        made = self.encoder.encode_document([readable(one.text) for one in sample]) if sample else ()
        for record, vector in zip(sample, made, strict=True):
            if (near := float(vector @ record.vector)) < SAME_VECTOR:
                encoder = self.encoder.identity.model
                do = "Leave the vectors out, and texts are encoded, or give those of this encoder."
                found = f"its cosine with the vector that {encoder} gives the text is {near:.2f}"
                raise MismatchError(f"the vector of record {record.id!r:.80}", found, do)

    def _write(self, encoded: queue.Queue[_Encoded | None], tally: _Tally, stop: threading.Event) -> None:
        while (batch := encoded.get()) is not None:
            if tally.error is not None:
                continue
            window, coded = batch
            try:
                tally.add(window, self._write_window(window, coded))
                tally.unread += coded.unread
                tally.count_ends(coded.sentences, self._unread())
                self.on_progress(window.read)
            except BaseException as error:
                # Stored for the caller; this thread continues to empty the queue, so that no thread blocks.
                tally.error = error
                stop.set()

    def _write_window(self, window: _Window, coded: Coded) -> list[_Text]:
        """Write a window; return its texts that the store accepts."""
        for rejected in window.rejected:
            self.on_reject(rejected)
        self._write_known(window)
        texts = window.texts
        points: Sequence[Point] = []
        if texts:
            made = list(build_points(window.records, coded, self.fields))
            texts, points = self._accepted(texts, made)
        if points:
            records = [one for text in texts for one in text.records]
            with self.writing(True):
                metadata = self._with_updates(records)
                self._delete_former(records)
                space = self._write_points(window, coded, points, metadata)
            # Another process that made a term meanwhile may have looked at the records before these came.
            while self.space() is not space:
                with self.writing(True):
                    space = self._write_points(window, coded, points, self._with_updates(records))
        return texts

    def _write_known(self, window: _Window) -> None:
        """Write the metadata of records whose texts are stored, and all of those that are not any more."""
        if not window.known:
            return
        records = [one for text in window.known for one in text.records]
        with self.writing(False):
            metadata = self._with_updates(records)
            wanted: dict[PointId, JsonObject] = {
                (own := point_id(one.record.id)): {METADATA: metadata[own], **of_source(one)}
                for one in records
            }
            there = self.store.set_payload(wanted)
        gone = [
            text for text in window.known if any(point_id(one.record.id) not in there for one in text.records)
        ]
        if gone:  # somebody deleted them meanwhile
            texts = [replace(text, records=[*map(self._read_of, text.records)]) for text in gone]
            self._write_window(*self._encode(_Window(texts)))

    def _write_points(
        self, window: _Window, coded: Coded, points: Sequence[Point], metadata: Mapping[PointId, JsonObject]
    ) -> FeatureSpace:
        """Write points with metadata, and the terms that the index has now; return the space with these."""
        space = self.space()
        if space is not coded.space:  # terms came while the texts were encoded
            coded = Coded.of(
                space, coded.dense, coded.code, coded.sentences, words=coded.words, known=coded.known,
                read=coded.read,
            )  # fmt: skip
            kept = {point.id for point in points}
            made = build_points(window.records, coded, self.fields)
            points = [point for point in made if point.id in kept]
        points = [replace(one, payload={**one.payload, METADATA: metadata[one.id]}) for one in points]
        for run in runs(points, vectors_in, PART_VECTORS):
            self.store.upsert(run)
        return space

    def _accepted(self, texts: list[_Text], points: list[Point]) -> tuple[list[_Text], Sequence[Point]]:
        """Return the texts, and their points, that the store accepts; the others are rejected whole."""
        with suppress(InvalidPointError):
            return texts, check_points(points, self.store.layout)
        kept: list[_Text] = []
        sound: list[Point] = []
        waiting = iter(points)
        for text in texts:
            own = list(islice(waiting, len(text.records)))
            try:
                sound += check_points(own, self.store.layout)
            except InvalidPointError as error:
                self.on_reject(text.rejected(error.found))
                continue
            kept.append(text)
        return kept, sound

    def _delete_former(self, records: Sequence[PreparedRecord]) -> None:
        """Delete what is left of texts that were split otherwise, or not at all.

        This comes before the new records are written: after a crash in between, nothing says that they are
        complete, and the text is indexed again.
        """
        new = {one.record.id for one in records}
        split = {
            str(one.record.document) for one in records
            if one.document_hash is not None and one.record.known is None
        }  # fmt: skip
        sources = split | {one.record.id for one in records if one.record.document is None}
        former = [point_id(one) for one in split - new]  # the whole text as one record
        for point in self._of_documents(sources):
            is_piece = point.payload[DOCUMENT] in split or DOCUMENT_HASH in point.payload
            if is_piece and point.payload["record_id"] not in new:
                former.append(str(point.id))
        self.store.delete(former)


@dataclass(slots=True)
class _Tally:
    """The counts of the writer, and the error that stopped it."""

    read: int = 0
    indexed: int = 0
    rejected: int = 0
    records: int = 0
    truncated: int = 0
    unread: int = 0
    updated: int = 0
    superseded: int = 0
    with_ends: int = 0
    pieces: dict[str, dict[int, str | None]] = field(default_factory=dict)
    ends: Counter[str] = field(default_factory=Counter)
    error: BaseException | None = None

    def add(self, window: _Window, accepted: Sequence[_Text]) -> None:
        self.read += window.read
        self.indexed += len(accepted)
        self.updated += len(window.known)
        self.superseded += window.superseded
        for document, number, mark in window.pieces:
            self.pieces.setdefault(document, {})[number] = mark
        self.rejected += len(window.rejected) + len(window.texts) - len(accepted)
        self.records += sum(len(text.records) for text in accepted)
        self.truncated += sum(any(one.is_truncated for one in text.records) for text in accepted)

    def count_ends(self, sentences: Sentences | None, unread: Collection[str]) -> None:
        """Count the sentences at the beginning and the end of texts, which signatures and footers are."""
        ends = () if sentences is None else sentences.ends
        for start, end in pairwise(ends):
            if end - start > 2 and sentences is not None:
                self.with_ends += 1
                own = sentences.texts[start:end]
                self.ends.update({as_recurring(one) for one in (own[0], *own[-LAST:])} - {"", *unread})
        if len(self.ends) > COUNTED:
            self.ends = Counter({one: count for one, count in self.ends.items() if count > 1})

    def recurring(self) -> list[str]:
        """Return the sentences that recur in a twentieth of the texts that have three or more."""
        least = max(MIN_RECURRING, RECURRING * self.with_ends)
        return [f"{one!r} in {count:,} records" for one, count in self.ends.most_common(3) if count >= least]

    def report(self, seconds: float) -> IndexingReport:
        unchanged = self.read - self.indexed - self.rejected - self.updated - self.superseded
        counts = self.records, self.truncated, self.unread, self.updated, self.superseded
        return IndexingReport(
            self.read, self.indexed, unchanged, self.rejected, *counts,
            seconds=seconds, recurring=self.recurring(),
        )  # fmt: skip


def _is_far(given: Any, stored: Any) -> bool:
    """Return whether a text came with another vector than the one that is stored."""
    return given is not None and stored is not None and float(given @ stored) < UNCHANGED_VECTOR


def progress_bar(title: str, unit: str, total: int | None, is_shown: bool = True) -> Any:
    """Return a progress bar on stderr: a context manager with ``update(count)``."""
    from tqdm import tqdm

    return tqdm(
        total=total,
        unit=f" {unit}",
        desc=visible(title),
        disable=not is_shown,
        file=sys.stderr,
        smoothing=0.1,
    )


def _windows(rows: LastRows, size: int) -> Iterator[list[_Row]]:
    """Yield windows of ``size`` consecutive rows with their positions, fewer where texts are very long."""
    run: list[_Row] = []
    chars = 0
    for position, entry in enumerate(rows, 1):
        run.append((position, entry))
        if isinstance(entry, Record):
            chars += len(entry.text) + sum(map(len, entry.fields.values()))
        if len(run) >= size or chars >= WINDOW_CHARS:
            yield run
            run, chars = [], 0
    if run:
        yield run


def _parts(window: _Window) -> list[_Window]:
    """Return the parts of a window; the last part also has the window's rejects and counts."""
    found = runs(window.texts, lambda text: sum(one.n_vectors for one in text.records), PART_VECTORS)
    parts = [_Window(texts, read=len(texts)) for texts in found] or [_Window()]
    parts[-1] = replace(window, texts=parts[-1].texts, read=parts[-1].read + window.read - len(window.texts))
    return parts


def _drain(windows: queue.Queue[_Arrival]) -> None:
    """Empty the queue, so that a reader blocked on a full queue notices the stop."""
    with suppress(queue.Empty):
        while True:
            windows.get_nowait()
