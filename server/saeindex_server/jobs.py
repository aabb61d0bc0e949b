"""Jobs: what takes longer than a request, kept in the database until it is done, through every restart."""

from __future__ import annotations

import json
import sqlite3
import threading
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, fields
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeAlias
from uuid import uuid4

from saeindex.errors import SaeIndexError, StorageError
from saeindex_server.keys import LOCAL
from saeindex_server.logs import log_failure
from saeindex_server.problems import Refusal

if TYPE_CHECKING:
    from saeindex_server.database import Database
    from saeindex_server.settings import ServerSettings

State: TypeAlias = Literal["queued", "running", "done", "failed", "cancelled"]
UNFINISHED = ("queued", "running")
SPOOL, RESULTS = "spool", "results"
NOT_SERVED = "its index to be served"
# Seconds until a write that a full disk refused is tried again.
AGAIN = 1.0
WAITING = (
    "SELECT COUNT(*) AS n, COUNT(CASE key WHEN ? THEN 1 END) AS own FROM jobs"
    " WHERE state IN ('queued', 'running')"
)


@dataclass(frozen=True, slots=True)
class Job:
    """A job: records that are added, or an analysis.

    ``asked`` is what it was asked to do, ``read`` of ``total`` records are done, ``report`` is what it found
    in short, and ``error`` why it failed. ``condition`` is the filter of its key. The upload of records has
    ``kept_bytes`` as long as it is kept. ``waits_for`` is what has to be so before a queued job begins.
    """

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
    kept_bytes: int
    waits_for: str | None

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
        hidden = ("key", "condition", "asked")
        return {one.name: getattr(self, one.name) for one in fields(self) if one.name not in hidden} | {
            "links": links
        }


class Jobs:
    """The jobs of a server. Thread-safe."""

    def __init__(self, database: Database, settings: ServerSettings) -> None:
        """The state folder has what waits to be indexed, and the results of analyses."""
        self._database, self._settings = database, settings
        self.spool, self.results = settings.state / SPOOL, settings.state / RESULTS
        for each in (self.spool, self.results):
            each.mkdir(mode=0o700, exist_ok=True)
        self._changed = threading.Condition()
        # The indexes that are served, each with what its uploads wait for at the moment.
        self.indexes: dict[str, str | None] = {}
        self._cancelled: set[str] = set()
        # Whether the server ends.
        self.is_closed = False

    def requeue(self) -> None:
        """Queue what a server that ended was doing, and uploads that it kept; forget files without a job."""
        with self._database.transaction() as statements:
            statements.execute(
                "UPDATE jobs SET state = 'queued', read = 0, error = NULL, finished = NULL"
                " WHERE state = 'running' OR (state = 'failed' AND bytes > 0)"
            )
        queued = self._database.rows("SELECT id FROM jobs WHERE kind = 'records' AND state = 'queued'")
        for row in queued:
            if not self.spooled_file(row["id"]).exists():  # it was being cancelled
                self.finish(row["id"], "cancelled")
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
        """Queue a job; 503 while too many wait, 429 while too many of its key do."""
        identity = identity or new_id()
        with self._database.transaction() as statements:
            self._check(statements.execute(WAITING, (key,)).fetchone(), key)
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

    def check_room(self, key: str) -> None:
        """Refuse a further job of a key, as :meth:`add` does."""
        self._check(self._database.rows(WAITING, key)[0], key)

    def _check(self, row: sqlite3.Row, key: str) -> None:
        most, share = self._settings.max_jobs, self._settings.max_jobs_of_key
        later, do = {"Retry-After": "10"}, "Ask again later."
        if row["own"] >= share and key != LOCAL.id:
            raise Refusal(429, "a job", f"{share:,} jobs of this key wait already", do, later)
        if row["n"] >= most:
            raise Refusal(503, "a job", f"{most:,} jobs wait already", do, later)

    def get(self, identity: str) -> Job | None:
        """Return a job."""
        row = self._database.row("SELECT * FROM jobs WHERE id = ?", identity)
        return None if row is None else self._read(row)

    def newest(self, key: str | None, limit: int, before: str | None, state: str | None) -> list[Job]:
        """Return the newest jobs of a key (None: of all), before that of an id."""
        rows = self._database.rows(
            "SELECT * FROM jobs WHERE (?1 IS NULL OR key = ?1)"
            " AND (?2 IS NULL OR number < (SELECT number FROM jobs WHERE id = ?2))"
            " AND (?3 IS NULL OR state = ?3) ORDER BY number DESC LIMIT ?4",
            key, before, state, limit,
        )  # fmt: skip
        return [self._read(row) for row in rows]

    def waiting(self) -> int:
        """Return the number of jobs that wait or run."""
        return int(self._database.rows(WAITING, "")[0]["n"])

    def room(self, key: str) -> int:
        """Return the bytes of an upload for which there is room; the uploads of one key take half of it."""
        question = "SELECT TOTAL(bytes) AS n, TOTAL(CASE key WHEN ? THEN bytes END) AS own FROM jobs"
        row = self._database.rows(question, key)[0]
        most = self._settings.max_spool_bytes
        own = most if key == LOCAL.id else most // 2 - int(row["own"])
        return min(most - int(row["n"]), own)

    def adding(self, index: str) -> Job | None:
        """Return the first job that waits or runs to add records to an index."""
        return self.open_job(index, "records")

    def open_job(self, index: str, kind: str | None = None) -> Job | None:
        """Return the first job of an index that waits or runs."""
        row = self._database.row(
            "SELECT * FROM jobs WHERE (?1 IS NULL OR kind = ?1) AND index_name = ?2"
            " AND state IN ('queued', 'running') ORDER BY number LIMIT 1",
            kind,
            index,
        )
        return None if row is None else self._read(row)

    def take_records(self, look: Callable[[], None]) -> Job | None:
        """Wait for the next upload whose index waits for nothing; None at the end.

        ``look`` is called each time before, to say in ``indexes`` what they wait for.
        """

        def chosen() -> sqlite3.Row | None:
            look()
            ready = [name for name, reason in self.indexes.items() if reason is None]
            return self._database.row(
                "SELECT * FROM jobs WHERE state = 'queued' AND kind = 'records'"
                " AND index_name IN (SELECT value FROM json_each(?)) ORDER BY number LIMIT 1",
                json.dumps(ready),
            )

        return self._take(chosen)

    def take_analysis(self) -> Job | None:
        """Wait for the next analysis; None at the end."""
        question = "SELECT * FROM jobs WHERE state = 'queued' AND kind <> 'records' ORDER BY number LIMIT 1"
        return self._take(lambda: self._database.row(question))

    def _take(self, chosen: Callable[[], sqlite3.Row | None]) -> Job | None:
        while not self.is_closed:
            with self._changed:  # a job that comes meanwhile is noticed at once
                row = chosen()
                if row is None and not self.is_closed:
                    self._changed.wait(1.0)
                if row is None:
                    continue
            if self._change("state = 'running', started = ?", row["id"], now(), only="state = 'queued'"):
                return self.get(row["id"])
        return None

    def _change(self, what: str, identity: str, *values: Any, only: str = "TRUE") -> int:
        """Change a job as soon as the disk takes it; return 0 if it was not ``only`` so, or the server ends.

        What a server that ends could not write is queued again at the next start.
        """
        statement = f"UPDATE jobs SET {what} WHERE id = ? AND {only}"  # noqa: S608 - ours
        while True:
            try:
                with self._database.transaction() as statements:
                    changed = statements.execute(statement, (*values, identity)).rowcount
            except StorageError as error:
                log_failure(identity, error)
                with self._changed:
                    if self.is_closed or self._changed.wait_for(lambda: self.is_closed, AGAIN):
                        return 0
                continue
            return changed

    def progress(self, identity: str, read: int) -> None:
        """Note how far a job is."""
        with suppress(StorageError), self._database.transaction() as statements:
            statements.execute("UPDATE jobs SET read = ? WHERE id = ?", (read, identity))

    def finish(
        self,
        identity: str,
        state: State,
        report: Mapping[str, Any] | None = None,
        error: SaeIndexError | None = None,
        keeps_upload: bool = False,
    ) -> None:
        """End a job, and forget the oldest finished ones; its upload is deleted unless it is kept."""
        fault = (
            None if error is None else dict(zip(("type", "asked", "found", "do"), error.parts, strict=True))
        )
        what = "state = ?, report = ?, error = ?, finished = ?" + ("" if keeps_upload else ", bytes = 0")
        if not self._change(what, identity, state, json.dumps(report), json.dumps(fault), now()):
            return
        self._cancelled.discard(identity)
        if not keeps_upload:
            self.spooled_file(identity).unlink(missing_ok=True)
        self._forget_oldest()

    def _forget_oldest(self) -> None:
        """Forget the oldest jobs that are finished and keep no upload."""
        with suppress(StorageError), self._database.transaction() as statements:
            old = statements.execute(
                "SELECT id FROM jobs WHERE state NOT IN ('queued', 'running') AND bytes = 0"
                " ORDER BY number DESC LIMIT -1 OFFSET ?",
                (self._settings.max_results,),
            ).fetchall()
            statements.executemany("DELETE FROM jobs WHERE id = ?", [(row["id"],) for row in old])
            for row in old:
                self.result_file(row["id"]).unlink(missing_ok=True)

    def is_to_stop(self, identity: str) -> bool:
        """Whether a running job was cancelled, or the server ends."""
        return self.is_closed or identity in self._cancelled

    def stopped(self, identity: str, report: Mapping[str, Any] | None = None) -> None:
        """End a running job that was cancelled; queue one again that did not come to its end."""
        if identity in self._cancelled:
            self.finish(identity, "cancelled", report)
        else:
            self._change("state = 'queued', read = 0", identity)

    def cancel(self, job: Job) -> Job:
        """Cancel a job; what it has done stays. Of a failed one, delete the upload that was kept."""
        self._cancelled.add(job.id)  # if it runs, or is being taken
        if job.state != "running":  # the file first: on a full disk, this makes the room to write it down
            self.spooled_file(job.id).unlink(missing_ok=True)
        with self._database.transaction() as statements:
            changed = statements.execute(
                "UPDATE jobs SET bytes = 0, finished = COALESCE(finished, ?),"
                " state = CASE state WHEN 'queued' THEN 'cancelled' ELSE state END"
                " WHERE id = ? AND state <> 'running'",
                (now(), job.id),
            )
        if changed.rowcount:
            self._cancelled.discard(job.id)
            self.spooled_file(job.id).unlink(missing_ok=True)
        return self.get(job.id) or job

    def close(self) -> None:
        """Let those that wait for jobs, or follow one, end."""
        with self._changed:
            self.is_closed = True
            self._changed.notify_all()

    def _read(self, row: sqlite3.Row) -> Job:
        kept = dict(row)
        index, size = kept.pop("index_name"), kept.pop("bytes")
        is_waiting = kept["kind"] == "records" and kept["state"] == "queued"
        waits_for = self.indexes.get(index, NOT_SERVED) if is_waiting else None
        told: Any = {name: json.loads(kept.pop(name) or "null") for name in ("asked", "report", "error")}
        del kept["number"]
        return Job(**kept, **told, index=index, kept_bytes=size, waits_for=waits_for)

    def spooled_file(self, identity: str) -> Path:
        """Return the file of the records that a job adds."""
        return self.spool / f"{identity}.jsonl"

    def result_file(self, identity: str) -> Path:
        """Return the file of what an analysis found, as JSON."""
        return self.results / f"{identity}.json"


def new_id() -> str:
    """Return the id of a new job."""
    return uuid4().hex


def now() -> str:
    """Return the time as it is kept and shown."""
    return datetime.now(UTC).isoformat(timespec="milliseconds")
