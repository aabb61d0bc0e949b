"""Records that come in: spooled to the disk before they count as taken, then indexed job after job."""

from __future__ import annotations

import json
import os
import shutil
import threading
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import suppress
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from anyio import CancelScope, to_thread

from saeindex.errors import InvalidInputError, MismatchError, NotFoundError, RejectedError
from saeindex.files import sync
from saeindex.indexing.pipeline import IndexingReport, IndexingStopped
from saeindex.indexing.rejects import rejects_in
from saeindex_server.jobs import Job, Jobs
from saeindex_server.logs import log
from saeindex_server.problems import Refusal, failure_of, full_disk
from saeindex_server.shared_encoder import for_records

if TYPE_CHECKING:
    from saeindex.index import FeatureIndex
    from saeindex_server.hosts import Hosts

BLOCK_BYTES = 2**20
# The disk space that stays free, and that there has to be to index: a write of the engine needs a reserve.
FREE_BYTES, ROOM_BYTES = 256 * 2**20, 384 * 2**20
ROOM = "room on the disk"
# How often a job is begun that comes no further than before, and seconds of rest after each time.
ATTEMPTS, REST = 3, (1.0, 5.0)
# Seconds after which a disk is tried that said it was full although it has room: it may have a quota.
FULL_REST = 10.0
# Records that are encoded and written together: a job is stopped between them.
BATCH = 128
# What stands before a record's number in what is said of it, in place of the file that it was spooled to.
LINE = "line "


async def spool(chunks: AsyncIterator[bytes], path: Path, limit: int, room: int) -> tuple[int, int]:
    """Write what comes in to a file; return its bytes and lines when it is safe on the disk.

    The sender waits for the disk, and the event loop does not. 413 for more than ``limit`` bytes, 503 for
    more than ``room``, or where the disk would be full.
    """
    draft = await to_thread.run_sync(_Draft, path, limit, room)
    try:
        async for block in _blocks(chunks):
            await to_thread.run_sync(draft.add, block)
        return await to_thread.run_sync(draft.keep)
    except BaseException:
        with CancelScope(shield=True):
            await to_thread.run_sync(draft.drop)
        raise


class _Draft:
    """A file that records are written to; it has its name when it is complete."""

    def __init__(self, path: Path, limit: int, room: int) -> None:
        self._path, self._limit, self._room = path, limit, room
        self._draft = path.with_suffix(".part")
        self._file = self._draft.open("wb")
        self._size, self._lines, self._last = 0, 0, b"\n"

    def add(self, block: bytes) -> None:
        self._size += len(block)
        if self._size > self._limit:
            do = "Send it in several requests."
            raise Refusal(413, "records to index", f"more than {self._limit:,} bytes", do)
        if self._size > self._room or shutil.disk_usage(self._path.parent).free < FREE_BYTES + len(block):
            found, do = "what waits to be indexed takes all the room that it may", "Send them again later."
            if self._size <= self._room:
                found, do = f"the disk has less than {FREE_BYTES >> 20} MiB free", "Make room on the disk."
            raise Refusal(503, "records to index", found, do, {"Retry-After": "30"})
        self._lines, self._last = self._lines + block.count(b"\n"), block[-1:]
        self._file.write(block)

    def keep(self) -> tuple[int, int]:
        """Sync the file and give it its name."""
        with self._file:
            self._file.flush()
            os.fsync(self._file.fileno())
        self._draft.replace(self._path)
        sync(self._path.parent)
        return self._size, self._lines + (self._last != b"\n")

    def drop(self) -> None:
        with suppress(OSError):  # a full disk: what is still to be written is not needed
            self._file.close()
        self._draft.unlink(missing_ok=True)


async def _blocks(chunks: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    waiting: list[bytes] = []
    size = 0
    async for chunk in chunks:
        waiting.append(chunk)
        size += len(chunk)
        if size >= BLOCK_BYTES:
            yield b"".join(waiting)
            waiting, size = [], 0
    if waiting:
        yield b"".join(waiting)


class Ingestion:
    """A thread that indexes what was spooled, in the order in which it came.

    An upload is kept until it is indexed, cannot be used as it is, or is deleted. After a failure its index
    rests and the job is queued again; with ``ATTEMPTS`` failures at one place it fails, so that the next ones
    have their turn. On a full disk nothing fails: the jobs wait.
    """

    def __init__(self, jobs: Jobs, hosts: Hosts) -> None:
        """Add to the indexes of ``hosts``."""
        self._jobs, self._hosts = jobs, hosts
        # When an index has rested, and what it waits for until then.
        self._resting: dict[str, tuple[float, str]] = {}
        # How often each job failed without coming further than so many records.
        self._failures: dict[str, tuple[int, int]] = {}
        # Of the present job: whether its upload is being read, and how many records were.
        self._is_open, self._read = False, 0
        self._thread = threading.Thread(target=self._run, name="saeindex-ingestion", daemon=True)

    def start(self) -> None:
        """Begin."""
        self._look()
        self._thread.start()

    def join(self, seconds: float) -> None:
        """Wait for the end, after the jobs were closed."""
        self._thread.join(seconds)

    def _look(self) -> None:
        """Say what the uploads of each index wait for at the moment."""
        for hosted in self._hosts:
            until, reason = self._resting.get(hosted.name, (0.0, ""))
            rests = reason if time.monotonic() < until else None
            places = [self._jobs.spool] if hosted.folder is None else [self._jobs.spool, hosted.folder]
            self._jobs.indexes[hosted.name] = rests if all(map(_has_room, places)) else ROOM

    def _run(self) -> None:
        while (job := self._jobs.take_records(self._look)) is not None:
            self._is_open, self._read = False, 0
            try:
                hosted = self._hosts.get(job.index)
                with hosted.writing:
                    report = hosted.call(None, partial(self._add, job))
            except IndexingStopped as stopped:
                self._jobs.stopped(job.id, asdict(stopped.report))
            except RejectedError as error:
                self._failures.pop(job.id, None)
                written = error.do.partition(".")[0]
                do = f"{written}. Mend these and send them again, or give allow_rejects=true."
                ours = RejectedError(f"add records to {job.index}", _by_line(job, error.found), do)
                self._jobs.finish(job.id, "failed", _told(job, error.report), ours)
            except BaseException as error:
                self._failed(job, error)
            else:
                self._failures.pop(job.id, None)
                self._jobs.finish(job.id, "done", report)

    def _failed(self, job: Job, error: BaseException) -> None:
        """Let a job wait and begin again; or end it, when it failed as often as it may."""
        self._look()
        failure = failure_of(job.id, "add records", error)
        times, furthest = self._failures.get(job.id, (0, -1))
        times = 1 if self._read > furthest else times + 1
        is_full = self._jobs.indexes[job.index] == ROOM or full_disk("", error) is not None
        if self._jobs.is_to_stop(job.id):
            self._jobs.stopped(job.id)
        elif is_full:
            self._rest(job, FULL_REST, ROOM)
        elif self._is_open and isinstance(failure, InvalidInputError | MismatchError | NotFoundError):
            self._jobs.finish(job.id, "failed", error=failure)
        elif times < ATTEMPTS:
            self._failures[job.id] = times, max(furthest, self._read)
            self._rest(job, REST[times - 1], f"a further attempt, after: {failure.found}")
        else:
            self._failures.pop(job.id, None)
            self._jobs.finish(job.id, "failed", error=failure, keeps_upload=True)

    def _rest(self, job: Job, seconds: float, reason: str) -> None:
        log("records are added again", job=job.id, index=job.index, waits_for=reason)
        self._resting[job.index] = time.monotonic() + seconds, reason
        self._look()
        self._jobs.stopped(job.id)

    def _add(self, job: Job, index: FeatureIndex) -> dict[str, Any]:
        """Index the records of a job; what is indexed already is skipped."""

        def check() -> None:
            if self._jobs.is_to_stop(job.id):
                raise IndexingStopped

        def progress(count: int) -> None:
            self._read += count
            self._jobs.progress(job.id, self._read)
            check()

        self._is_open = True
        path, columns = self._jobs.spooled_file(job.id), job.asked.get("columns")
        with for_records(index.encoder, check):
            report = index.upsert(
                path,
                split=job.asked.get("split"),
                # What a request brings has no name: sent again, it is the same.
                columns={**(columns or {}), "source": ""},
                progress=progress,
                batch_size=BATCH,
                allow_rejects=bool(job.asked.get("allow_rejects")),
                leave_out=job.asked.get("leave_out") or (),
                replace=bool(job.asked.get("replace")),
                source=job.asked.get("source"),
                prune=bool(job.asked.get("prune")),
                max_prune=job.asked.get("max_prune"),
                dry_run=bool(job.asked.get("dry_run")),
            )
        return _told(job, report)


def _told(job: Job, report: IndexingReport) -> dict[str, Any]:
    """Return a report as JSON, with the numbers of lines in place of the spooled file."""
    return asdict(report) | {"reasons": [_by_line(job, one) for one in report.reasons]}


def _has_room(place: Path) -> bool:
    try:
        return shutil.disk_usage(place).free >= ROOM_BYTES
    except OSError:  # what is wrong with it is found when it is used
        return True


def rejects_of(index: FeatureIndex, job: Job) -> Iterator[bytes]:
    """Yield the lines of the records that a job could not index, as NDJSON."""
    for found in rejects_in(index.state.rejects_path, f"{job.id}.jsonl"):
        found["position"] = _by_line(job, found["position"])
        yield (json.dumps(found) + "\n").encode()


def _by_line(job: Job, text: str) -> str:
    """Return what is said of records with the numbers of their lines, in place of the spooled file."""
    return text.replace(f"{job.id}.jsonl:", LINE)
