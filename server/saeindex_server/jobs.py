"""Jobs: what takes longer than a request, kept in the database until it is done, through every restart."""

from __future__ import annotations

import asyncio
import json
import sqlite3
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeAlias
from uuid import uuid4

from saeindex.errors import NotFoundError, SaeIndexError
from saeindex_server.problems import Refusal

if TYPE_CHECKING:
    from saeindex_server.database import Database

State: TypeAlias = Literal["queued", "running", "done", "failed", "cancelled"]
UNFINISHED = ("queued", "running")
SPOOL, RESULTS = "spool", "results"
WAITING = "SELECT COUNT(*) AS n FROM jobs WHERE state IN ('queued', 'running')"


@dataclass(frozen=True, slots=True)
class Job:
    """A job: records that are added, or an analysis.

    ``asked`` is what it was asked to do, ``read`` of ``total`` records are done, ``report`` is what it found
    in short, and ``error`` why it failed. ``condition`` is the filter of its key.
    """

    number: int
    id: str
    kind: str
    state: State
    index: str
    key: str
    condition: str | None
    asked: Mapping[str, Any]
    read: int
    total: int | None
    report: Mapping[str, Any] | None
    error: Mapping[str, Any] | None
    created: str
    started: str | None
    finished: str | None

    @property
    def is_finished(self) -> bool:
        """Whether nothing will change any more."""
        return self.state not in UNFINISHED

    def to_json(self) -> dict[str, Any]:
        """Return what its owner sees."""
        links = {"self": f"/v1/jobs/{self.id}", "events": f"/v1/jobs/{self.id}/events"}
        if self.kind == "records":
            links["rejects"] = f"/v1/jobs/{self.id}/rejects"
        elif self.state == "done":
            links["result"] = f"/v1/jobs/{self.id}/result"
        return {
            "id": self.id,
            "kind": self.kind,
            "state": self.state,
            "index": self.index,
            "read": self.read,
            "total": self.total,
            "report": self.report,
            "error": self.error,
            "created": self.created,
            "started": self.started,
            "finished": self.finished,
            "links": links,
        }


class Jobs:
    """The jobs of a server. Thread-safe."""

    def __init__(self, database: Database, folder: Path, max_jobs: int, max_results: int) -> None:
        """``folder`` has what waits to be indexed, and the results of analyses."""
        self._database, self._max_jobs, self._max_results = database, max_jobs, max_results
        self.spool, self.results = folder / SPOOL, folder / RESULTS
        for each in (self.spool, self.results):
            each.mkdir(mode=0o700, exist_ok=True)
        self._changed, self._watching = threading.Condition(), threading.Lock()
        self._watchers: dict[str, list[tuple[asyncio.AbstractEventLoop, asyncio.Event]]] = {}
        self._cancelled: set[str] = set()
        self._is_closed = False

    def requeue(self) -> None:
        """Queue what a server that ended was doing, and forget files without a job."""
        with self._database.transaction() as statements:
            statements.execute("UPDATE jobs SET state = 'queued', read = 0 WHERE state = 'running'")
        known = {row["id"] for row in self._database.rows("SELECT id FROM jobs")}
        for file in (*self.spool.iterdir(), *self.results.iterdir()):
            if file.name.partition(".")[0] not in known or file.suffix == ".part":
                file.unlink()

    def add(
        self,
        kind: str,
        index: str,
        key: str,
        asked: Mapping[str, Any],
        condition: str | None = None,
        identity: str = "",
        size: int = 0,
        total: int | None = None,
    ) -> Job:
        """Queue a job; 503 while too many wait."""
        identity = identity or new_id()
        with self._database.transaction() as statements:
            self._check(statements.execute(WAITING).fetchone())
            statements.execute(
                "INSERT INTO jobs"
                " (id, kind, state, index_name, key, condition, asked, read, total, created, bytes)"
                " VALUES (?, ?, 'queued', ?, ?, ?, ?, 0, ?, ?, ?)",
                (identity, kind, index, key, condition, json.dumps(asked), total, now(), size),
            )
        with self._changed:
            self._changed.notify_all()
        found = self.get(identity)
        assert found is not None  # noqa: S101
        return found

    def forget(self, identity: str) -> None:
        """Delete the records that came in for a job, unless it was queued."""
        if self.get(identity) is None:
            self.spooled_file(identity).unlink(missing_ok=True)

    def check_room(self) -> None:
        """Refuse (503) a further job while too many wait or run."""
        self._check(self._database.row(WAITING))

    def _check(self, row: sqlite3.Row | None) -> None:
        if row is not None and row["n"] >= self._max_jobs:
            found, do = f"{self._max_jobs:,} jobs wait already", "Ask again later."
            raise Refusal(503, "a job", found, do, {"Retry-After": "10"})

    def get(self, identity: str) -> Job | None:
        """Return a job."""
        row = self._database.row("SELECT * FROM jobs WHERE id = ?", identity)
        return None if row is None else _read(row)

    def unknown(self, identity: str) -> NotFoundError:
        """Return the error of a job that is not there, or not for the key that asks."""
        return NotFoundError(f"job {identity!r:.80}", "no job has this id, for this key", "See GET /v1/jobs.")

    def newest(self, key: str | None, limit: int, before: int | None, state: str | None) -> list[Job]:
        """Return the newest jobs of a key (None: of all), before the job of a number."""
        rows = self._database.rows(
            "SELECT * FROM jobs WHERE (?1 IS NULL OR key = ?1) AND (?2 IS NULL OR number < ?2)"
            " AND (?3 IS NULL OR state = ?3) ORDER BY number DESC LIMIT ?4",
            key, before, state, limit,
        )  # fmt: skip
        return [_read(row) for row in rows]

    def waiting(self) -> int:
        """Return the number of jobs that wait or run."""
        row = self._database.row(WAITING)
        return 0 if row is None else int(row["n"])

    def spooled(self) -> int:
        """Return the bytes that wait to be indexed."""
        row = self._database.row(
            "SELECT SUM(bytes) AS n FROM jobs WHERE kind = 'records' AND state IN ('queued', 'running')"
        )
        return 0 if row is None else int(row["n"] or 0)

    def unfinished(self, kind: str, index: str) -> Job | None:
        """Return the first job of a kind on an index that waits or runs."""
        row = self._database.row(
            "SELECT * FROM jobs WHERE kind = ? AND index_name = ? AND state IN ('queued', 'running')"
            " ORDER BY number LIMIT 1",
            kind, index,
        )  # fmt: skip
        return None if row is None else _read(row)

    def take(self, is_records: bool) -> Job | None:
        """Wait for the next job that adds records, or that is an analysis; None at the end."""
        order = "kind = 'records'" if is_records else "kind <> 'records'"
        question = f"SELECT * FROM jobs WHERE state = 'queued' AND {order} ORDER BY number LIMIT 1"  # noqa: S608
        while not self._is_closed:
            with self._changed:  # a job that comes meanwhile is noticed at once
                row = self._database.row(question)
                if row is None and not self._is_closed:
                    self._changed.wait(1.0)
                if row is None:
                    continue
            with self._database.transaction() as statements:
                taken = statements.execute(
                    "UPDATE jobs SET state = 'running', started = ? WHERE id = ? AND state = 'queued'",
                    (now(), row["id"]),
                )
            if taken.rowcount:
                self._tell(row["id"])
                return self.get(row["id"])
        return None

    @contextmanager
    def watching(self, identity: str) -> Iterator[asyncio.Event]:
        """Lend an event of the running loop that is set whenever a job changes."""
        watcher = asyncio.get_running_loop(), asyncio.Event()
        with self._watching:
            self._watchers.setdefault(identity, []).append(watcher)
        try:
            yield watcher[1]
        finally:
            with self._watching:
                self._watchers[identity].remove(watcher)
                if not self._watchers[identity]:
                    del self._watchers[identity]

    def _tell(self, identity: str) -> None:
        with self._watching:
            for loop, event in self._watchers.get(identity, ()):
                loop.call_soon_threadsafe(event.set)

    def progress(self, identity: str, read: int) -> None:
        """Note how far a job is."""
        with self._database.transaction() as statements:
            statements.execute("UPDATE jobs SET read = ? WHERE id = ?", (read, identity))
        self._tell(identity)

    def finish(
        self,
        identity: str,
        state: State,
        report: Mapping[str, Any] | None = None,
        error: SaeIndexError | None = None,
    ) -> None:
        """End a job; what it needed is deleted, and so are the oldest finished jobs."""
        fault = None
        if error is not None:
            fault = {"type": type(error).__name__, "asked": error.asked, "found": error.found, "do": error.do}
        with self._database.transaction() as statements:
            statements.execute(
                "UPDATE jobs SET state = ?, report = ?, error = ?, finished = ? WHERE id = ?",
                (state, _text(report), _text(fault), now(), identity),
            )
            old = statements.execute(
                "SELECT id FROM jobs WHERE state NOT IN ('queued', 'running')"
                " ORDER BY number DESC LIMIT -1 OFFSET ?",
                (self._max_results,),
            ).fetchall()
            statements.executemany("DELETE FROM jobs WHERE id = ?", [(row["id"],) for row in old])
        self._cancelled.discard(identity)
        self._tell(identity)
        for each in (identity, *(row["id"] for row in old)):
            self.spooled_file(each).unlink(missing_ok=True)
        for row in old:
            self.result_file(row["id"]).unlink(missing_ok=True)

    def is_to_stop(self, identity: str) -> bool:
        """Whether a running job was cancelled, or the server ends."""
        return self._is_closed or identity in self._cancelled

    def stopped(self, identity: str) -> None:
        """End a running job that was cancelled; queue one again that stopped because the server ends."""
        if identity in self._cancelled:
            self.finish(identity, "cancelled")
            return
        with self._database.transaction() as statements:
            statements.execute("UPDATE jobs SET state = 'queued', read = 0 WHERE id = ?", (identity,))
        self._tell(identity)

    def cancel(self, job: Job) -> Job:
        """Cancel a job; what it has done stays. A finished job is left as it is."""
        with self._database.transaction() as statements:
            queued = statements.execute(
                "UPDATE jobs SET state = 'cancelled', finished = ? WHERE id = ? AND state = 'queued'",
                (now(), job.id),
            )
        if queued.rowcount:
            self.spooled_file(job.id).unlink(missing_ok=True)
            self._tell(job.id)
        elif (found := self.get(job.id)) is not None and not found.is_finished:
            self._cancelled.add(job.id)
        changed = self.get(job.id)
        return job if changed is None else changed

    @property
    def is_closed(self) -> bool:
        """Whether the server ends."""
        return self._is_closed

    def close(self) -> None:
        """Let those that wait for jobs, or for changes of one, end."""
        with self._changed:
            self._is_closed = True
            self._changed.notify_all()
        for identity in list(self._watchers):
            self._tell(identity)

    def spooled_file(self, identity: str) -> Path:
        """Return the file of the records that a job adds."""
        return self.spool / f"{identity}.jsonl"

    def result_file(self, identity: str) -> Path:
        """Return the file of what an analysis found, as JSON."""
        return self.results / f"{identity}.json"


def new_id() -> str:
    """Return the id of a new job."""
    return uuid4().hex


def now(days: float = 0.0) -> str:
    """Return the time as it is kept and shown, so many days later."""
    return (datetime.now(UTC) + timedelta(days=days)).isoformat(timespec="milliseconds")


def _text(value: Mapping[str, Any] | None) -> str | None:
    return None if value is None else json.dumps(value)


def _value(text: str | None) -> Any:
    return None if text is None else json.loads(text)


def _read(row: sqlite3.Row) -> Job:
    return Job(
        number=row["number"], id=row["id"], kind=row["kind"], state=row["state"], index=row["index_name"],
        key=row["key"], condition=row["condition"], asked=json.loads(row["asked"]), read=row["read"],
        total=row["total"], report=_value(row["report"]), error=_value(row["error"]), created=row["created"],
        started=row["started"], finished=row["finished"],
    )  # fmt: skip
