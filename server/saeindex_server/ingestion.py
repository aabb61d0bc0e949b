"""Records that come in: spooled to the disk before they count as taken, then indexed job after job."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from anyio import CancelScope, to_thread

from saeindex.errors import EngineDiedError, SaeIndexError
from saeindex.files import sync
from saeindex_server.encoding import for_records
from saeindex_server.jobs import Job, Jobs
from saeindex_server.logs import log
from saeindex_server.problems import Refusal, unknown_failure

if TYPE_CHECKING:
    from saeindex.index import FeatureIndex
    from saeindex_server.hosting import Hosts

BLOCK_BYTES = 2**20
# The disk space that stays free.
FREE_BYTES = 256 * 2**20
# How often a job is begun again after its engine died.
ATTEMPTS = 3


class _Stopped(Exception):
    """A job that is to end before its records do."""


@dataclass(frozen=True, slots=True)
class Spooled:
    """What came in: how many bytes and lines, and the digest."""

    size: int
    lines: int
    digest: bytes


async def spool(chunks: AsyncIterator[bytes], path: Path, limit: int, room: int) -> Spooled:
    """Write what comes in to a file, and return when it is safe on the disk.

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
        self._digest, self._size, self._lines, self._last = hashlib.sha256(), 0, 0, b"\n"

    def add(self, block: bytes) -> None:
        self._size += len(block)
        if self._size > self._limit:
            do = "Send it in several requests."
            raise Refusal(413, "records to index", f"more than {self._limit:,} bytes", do)
        if self._size > self._room or shutil.disk_usage(self._path.parent).free < FREE_BYTES + len(block):
            found, do = "no room for what waits to be indexed", "Send them again later."
            raise Refusal(503, "records to index", found, do, {"Retry-After": "30"})
        self._digest.update(block)
        self._lines, self._last = self._lines + block.count(b"\n"), block[-1:]
        self._file.write(block)

    def keep(self) -> Spooled:
        """Sync the file and give it its name."""
        with self._file:
            self._file.flush()
            os.fsync(self._file.fileno())
        self._draft.replace(self._path)
        sync(self._path.parent)
        return Spooled(self._size, self._lines + (self._last != b"\n"), self._digest.digest())

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
    """A thread that indexes what was spooled, in the order in which it came."""

    def __init__(self, jobs: Jobs, hosts: Hosts) -> None:
        """Add to the indexes of ``hosts``."""
        self._jobs, self._hosts = jobs, hosts
        self._thread = threading.Thread(target=self._run, name="saeindex-ingestion", daemon=True)

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def join(self, seconds: float) -> None:
        """Wait for the end, after the jobs were closed."""
        self._thread.join(seconds)

    def _run(self) -> None:
        while (job := self._jobs.take(is_records=True)) is not None:
            try:
                self._index(job)
            except BaseException as error:
                self._jobs.finish(job.id, "failed", error=unknown_failure(job.id, "add records", error))

    def _index(self, job: Job) -> None:
        for attempt in range(1, ATTEMPTS + 1):
            try:
                hosted = self._hosts.get(job.index)
                with hosted.writing:
                    report = hosted.call(None, lambda index: self._add(index, job))
                self._jobs.finish(job.id, "done", report)
            except _Stopped:
                self._jobs.stopped(job.id)
            except EngineDiedError as error:
                if attempt < ATTEMPTS:
                    log("records are added again", job=job.id, attempt=attempt)
                    continue
                self._jobs.finish(job.id, "failed", error=error)
            except SaeIndexError as error:
                self._jobs.finish(job.id, "failed", error=error)
            return

    def _add(self, index: FeatureIndex, job: Job) -> dict[str, float]:
        """Index the records of a job; what is indexed already is skipped."""
        read = 0

        def progress(count: int) -> None:
            nonlocal read
            read += count
            self._jobs.progress(job.id, read)
            if self._jobs.is_to_stop(job.id):
                raise _Stopped

        path = self._jobs.spooled_file(job.id)
        columns = job.asked.get("columns")
        with for_records(index.encoder):
            split = job.asked.get("split")
            return asdict(index.upsert(path, split=split, columns=columns, progress=progress))


def rejects_of(index: FeatureIndex, job: Job) -> Iterator[bytes]:
    """Yield the lines of the records that a job could not index, as NDJSON."""
    source = f"{job.id}.jsonl"
    if not index.state.rejects_path.exists():
        return
    with index.state.rejects_path.open(encoding="utf-8") as lines:
        for line in lines:
            found = json.loads(line)
            if found.pop("source", None) == source:
                yield (json.dumps(found) + "\n").encode()
