"""Read, encode and write at the same time, window by window; safe to kill and to run again.

A *window* is a run of consecutive source records. Its changed records are cut into *parts*, each encoded
together and written in one atomic upsert. So a resumed run finds whole parts: it skips the stored parts,
encodes the same batches as an uninterrupted run, and ends with bit-identical vectors.
"""

from __future__ import annotations

import hashlib
import queue
import sqlite3
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from itertools import groupby
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from saeindex.errors import InvalidPointError
from saeindex.indexing.passages import split_passages
from saeindex.indexing.points import build_points, content_hash, point_id, texts_of
from saeindex.indexing.rejects import RejectsFile
from saeindex.protocols import Rejected
from saeindex.types import Record, visible

if TYPE_CHECKING:
    from pathlib import Path

    from saeindex.features import FeatureSpace
    from saeindex.indexing.passages import PassageOptions
    from saeindex.protocols import Point, RecordSource, TextEncoder, VectorStore
    from saeindex.types import FloatArray, SparseCode

WINDOW_CHARS = 4_000_000
WINDOWS_AHEAD = 2
# Maximum passages of a part, unless a single record has more: a store writes so many atomically.
PART_PASSAGES = 1_000
# Passages encoded in one batch; bounds memory when one record has thousands of passages.
ENCODE_PASSAGES = 2_048


@dataclass(frozen=True, slots=True)
class IndexingReport:
    """The counts of a run, in records: ``read`` = ``indexed`` + ``unchanged`` + ``rejected``."""

    read: int = 0
    indexed: int = 0
    unchanged: int = 0
    rejected: int = 0
    passages: int = 0
    seconds: float = 0.0


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
        return pipeline(on_reject=rejects.add, on_progress=on_progress).run(source)


@dataclass(slots=True)
class _Window:
    """The records of a window to encode, with hash and passages; and its rejected and read records."""

    records: list[tuple[Record, str, list[str]]] = field(default_factory=list)
    rejected: list[Rejected] = field(default_factory=list)
    read: int = 0


@dataclass(slots=True)
class _Encoded:
    window: _Window
    vectors: FloatArray
    code: SparseCode


@dataclass(frozen=True, slots=True)
class Pipeline:
    """The settings of an indexing run; :meth:`run` indexes a source with them.

    ``before_write`` is called before each write; it can raise to stop the run.
    """

    store: VectorStore
    space: FeatureSpace
    encoder: TextEncoder
    passages: PassageOptions | None
    on_reject: Callable[[Rejected], None]
    on_progress: Callable[[int], object]
    before_write: Callable[[], object] = lambda: None
    window: int = 512
    fields: tuple[str, ...] = ()

    def run(self, source: RecordSource) -> IndexingReport:
        """Index every record of ``source``; return when all are written and flushed.

        Reading and writing run on a thread each; encoding, which uses every core, runs on the caller's
        thread. On an error or Ctrl-C the encoded records are still written before it is raised.
        """
        started = time.perf_counter()
        windows: queue.Queue[_Window | BaseException | None] = queue.Queue(WINDOWS_AHEAD)
        encoded: queue.Queue[_Encoded | None] = queue.Queue(WINDOWS_AHEAD)
        stop, written = threading.Event(), _Tally()
        reader = threading.Thread(target=self._read, args=(source, windows, stop), daemon=True)
        writer = threading.Thread(target=self._write, args=(encoded, written, stop), daemon=True)
        reader.start()
        writer.start()
        try:
            while not stop.is_set() and (window := windows.get()) is not None:
                if isinstance(window, BaseException):
                    raise window
                for part in _parts(window):
                    encoded.put(self._encode(part))
        finally:
            stop.set()
            _drain(windows)
            encoded.put(None)
            writer.join()
            reader.join()
            self.store.flush()
        if written.error is not None:
            raise written.error
        return written.report(time.perf_counter() - started)

    def _read(
        self, source: RecordSource, out: queue.Queue[_Window | BaseException | None], stop: threading.Event
    ) -> None:
        try:
            with SeenIds() as seen:
                for run in _windows(source, self.window):
                    if stop.is_set():
                        break
                    out.put(self._prepare(run, seen))
            out.put(None)  # also after a stop: the caller's thread may be waiting for a window
        except BaseException as error:  # passed to the caller's thread, which raises it
            out.put(error)

    def _prepare(self, run: list[Record | Rejected], seen: SeenIds) -> _Window:
        """Count rejected and unchanged records, and split the others into passages."""
        window = _Window(read=len(run))
        fresh: list[Record] = []
        for entry in run:
            if isinstance(entry, Rejected):
                seen.position += 1
                window.rejected.append(entry)
            elif (first := seen.add(entry.id)) is not None:
                reason = f"record {first} of this source has the same id, and an id is indexed once"
                window.rejected.append(Rejected(f"record {seen.position}", reason, entry.id))
            elif unknown := sorted(entry.fields.keys() - self.fields):
                reason = f"the index has no further text field {unknown[0]!r}"
                window.rejected.append(Rejected(f"record {seen.position}", reason, entry.id))
            else:
                fresh.append(entry)
        ids = [point_id(record.id) for record in fresh]
        stored = {p.id: p.payload for p in self.store.get(ids, with_payload=["content_hash"])}
        for record, first_id in zip(fresh, ids, strict=True):
            digest = content_hash(record)
            payload = stored.get(first_id)
            if payload is not None and payload["content_hash"] == digest:
                continue
            window.records.append((record, digest, self._split(record.text)))
        return window

    def _split(self, text: str) -> list[str]:
        if self.passages is None:
            return [text]
        return split_passages(text, self.encoder.token_spans(text), self.passages)

    def _encode(self, window: _Window) -> _Encoded:
        texts = [text for record, _, cut in window.records for text in texts_of(record, cut, self.fields)]
        chunks = [
            self.encoder.encode_document(texts[at : at + ENCODE_PASSAGES])
            for at in range(0, len(texts), ENCODE_PASSAGES)
        ]
        dimension = self.space.encoder.dimension
        vectors = np.concatenate(chunks) if chunks else np.zeros((0, dimension), np.float32)
        return _Encoded(window, vectors, self.space.sae.encode(vectors))

    def _write(self, encoded: queue.Queue[_Encoded | None], tally: _Tally, stop: threading.Event) -> None:
        while (batch := encoded.get()) is not None:
            if tally.error is not None:
                continue
            try:
                refused = self._write_window(batch)
                tally.add(batch, refused)
                self.on_progress(batch.window.read)
            except BaseException as error:
                # Stored for the caller; this thread continues to empty the queue, so that no thread blocks.
                tally.error = error
                stop.set()

    def _write_window(self, batch: _Encoded) -> int:
        """Write a window; return the number of its encoded records that the store refused."""
        for rejected in batch.window.rejected:
            self.on_reject(rejected)
        if not batch.window.records:
            return 0
        self.before_write()
        if self.passages is not None:
            self._delete_stale_passages(batch.window)
        calibration, records = self.space.calibration, batch.window.records
        points = list(build_points(records, batch.vectors, batch.code, calibration, self.fields))
        try:
            self.store.upsert(points)
        except InvalidPointError:
            return self._write_record_by_record(points)
        return 0

    def _write_record_by_record(self, points: list[Point]) -> int:
        """Write the records of a refused batch one by one, and reject those that the store refuses.

        Each record is written atomically, since its first passage marks it as done.
        """
        refused = 0
        for record_id, passages in groupby(points, lambda point: str(point.payload["record_id"])):
            try:
                self.store.upsert(list(passages))
            except InvalidPointError as error:
                self.on_reject(Rejected(f"record {record_id!r}", error.found, record_id))
                refused += 1
        return refused

    def _delete_stale_passages(self, window: _Window) -> None:
        """Delete passages that the shorter new version of a record does not have.

        This comes before the new version is written: after a crash in between, the stored content hash is
        still the old hash, so the record is indexed again.
        """
        from qdrant_client.models import FieldCondition, Filter, MatchAny, Range

        by_length: dict[int, list[str]] = {}
        for record, _, passages in window.records:
            by_length.setdefault(len(passages), []).append(record.id)
        for length, record_ids in by_length.items():
            of_records = FieldCondition(key="record_id", match=MatchAny(any=record_ids))
            beyond = FieldCondition(key="passage", range=Range(gte=length))
            self.store.delete(query_filter=Filter(must=[of_records, beyond]))


@dataclass(slots=True)
class _Tally:
    """The counts of the writer, and the error that stopped it."""

    read: int = 0
    indexed: int = 0
    rejected: int = 0
    passages: int = 0
    error: BaseException | None = None

    def add(self, batch: _Encoded, refused: int) -> None:
        self.read += batch.window.read
        self.indexed += len(batch.window.records) - refused
        self.rejected += len(batch.window.rejected) + refused
        self.passages += sum(len(passages) for _, _, passages in batch.window.records)

    def report(self, seconds: float) -> IndexingReport:
        unchanged = self.read - self.indexed - self.rejected
        return IndexingReport(self.read, self.indexed, unchanged, self.rejected, self.passages, seconds)


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


def _windows(source: RecordSource, size: int) -> Iterator[list[Record | Rejected]]:
    """Yield windows of ``size`` consecutive entries of a source, fewer where their texts are very long."""
    run: list[Record | Rejected] = []
    chars = 0
    for entry in source:
        run.append(entry)
        if isinstance(entry, Record):
            chars += len(entry.text) + sum(map(len, entry.fields.values()))
        if len(run) >= size or chars >= WINDOW_CHARS:
            yield run
            run, chars = [], 0
    if run:
        yield run


def _parts(window: _Window) -> Iterator[_Window]:
    """Yield the parts of a window; the last part also has the window's rejects and counts."""
    part, size = _Window(), 0
    for entry in window.records:
        texts = len(entry[2]) + len(entry[0].fields)
        if part.records and size + texts > PART_PASSAGES:
            part.read = len(part.records)
            yield part
            part, size = _Window(), 0
        part.records.append(entry)
        size += texts
        window.read -= 1
    part.read = window.read + len(part.records)
    part.rejected = window.rejected
    yield part


def _drain(windows: queue.Queue[_Window | BaseException | None]) -> None:
    """Empty the queue, so that a reader blocked on a full queue notices the stop."""
    try:
        while True:
            windows.get_nowait()
    except queue.Empty:
        return


class SeenIds:
    """A set of ids with the position of each, in a private temporary database."""

    def __init__(self) -> None:
        """Open the database; sqlite removes it when it is closed, or when the process dies."""
        self.position = 0
        self._database = sqlite3.connect("")
        self._database.execute("CREATE TABLE seen (id BLOB PRIMARY KEY, position INTEGER) WITHOUT ROWID")

    def add(self, record_id: str) -> int | None:
        """Add a record; return the position (from 1) of an earlier record with its id, or None."""
        self.position += 1
        digest = hashlib.blake2b(record_id.encode(), digest_size=16).digest()
        added = self._database.execute("INSERT OR IGNORE INTO seen VALUES (?, ?)", (digest, self.position))
        if added.rowcount:
            return None
        row = self._database.execute("SELECT position FROM seen WHERE id = ?", (digest,)).fetchone()
        return int(row[0])

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None
    ) -> None:
        self._database.close()
