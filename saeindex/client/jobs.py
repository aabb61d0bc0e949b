"""Jobs of a server: what takes longer than a request, listed, followed, awaited and cancelled."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from saeindex.client.connection import Connection, error_of, named
from saeindex.errors import ServerError

if TYPE_CHECKING:
    from saeindex.indexing.pipeline import IndexingReport
    from saeindex.operations.operation import Operation

# Seconds between two looks at a job.
LOOK = 0.1
PAGE = 100


class Jobs:
    """The jobs of a key, on a server."""

    def __init__(self, connection: Connection) -> None:
        """Called by ``Client``, not by users."""
        self.connection = connection

    def list(self, state: str | None = None, limit: int = PAGE) -> list[Job]:
        """Return the newest jobs, or those in a state: queued, running, done, failed or cancelled."""
        found = self.connection.ask("GET", "/v1/jobs", params={"state": state, "limit": limit})
        return [Job(self, one) for one in found["jobs"]]

    def get(self, identity: str) -> Job:
        """Return a job by its id; NotFoundError if there is none for this key."""
        return Job(self, self.connection.ask("GET", f"/v1/jobs/{named(identity)}"))


class Job:
    """A job: records that are indexed, or an analysis; as it was when it was last looked at."""

    def __init__(
        self,
        jobs: Jobs,
        described: Mapping[str, Any],
        operation: Operation[Any] | None = None,
        unread: Sequence[dict[str, Any]] = (),
        left_out: Sequence[str] = (),
    ) -> None:
        """``described`` is the server's description; ``operation`` reads its result.

        ``unread`` are records that could not be read here, and were not sent; ``left_out`` is what was not
        looked at.
        """
        self._jobs, self._operation, self.described = jobs, operation, dict(described)
        self.unread, self._left_out = unread, left_out

    @property
    def id(self) -> str:
        """The id."""
        return str(self.described["id"])

    @property
    def state(self) -> str:
        """Queued, running, done, failed or cancelled."""
        return str(self.described["state"])

    @property
    def is_finished(self) -> bool:
        """Whether nothing will change any more."""
        return self.state not in ("queued", "running")

    @property
    def report(self) -> IndexingReport:
        """What was indexed, of a job of records; ServerError before it has ended, and for an analysis."""
        from saeindex.indexing.pipeline import IndexingReport
        from saeindex.indexing.rejects import reasons

        found = self.described["report"]
        if self.described["kind"] != "records" or found is None:
            what = self.state if found is None else f"a {self.described['kind']}"
            raise ServerError(f"the report of job {self.id}", f"it is {what}", "Wait, or ask for its result.")
        report, unread = IndexingReport(**found), len(self.unread)
        read, rejected = report.read + unread, report.rejected + unread
        report = replace(report, read=read, rejected=rejected, left_out=self._left_out)
        return replace(report, reasons=reasons(self.rejects)) if unread else report

    @property
    def rejects(self) -> list[dict[str, Any]]:
        """The records that were not indexed, each with its position and the reason."""
        lines: str = self._jobs.connection.ask("GET", f"/v1/jobs/{self.id}/rejects")
        return [*self.unread, *(json.loads(line) for line in lines.splitlines())]

    def refresh(self) -> Job:
        """Look at it again."""
        self.described = self._jobs.connection.ask("GET", f"/v1/jobs/{self.id}")
        return self

    def wait(self, progress: Callable[[int], object] | None = None, timeout: float | None = None) -> Job:
        """Wait for the end; raise the error that it ended with.

        ``progress`` is told how many further records are done. ServerError after ``timeout`` seconds.
        """
        seen, end = 0, None if timeout is None else time.monotonic() + timeout
        while not self.refresh().is_finished:
            if end is not None and time.monotonic() > end:
                raise ServerError(f"job {self.id}", f"it is {self.state} yet", "Wait longer, or cancel it.")
            seen = self._told(seen, progress)
            time.sleep(LOOK)
        self._told(seen, progress)
        if self.described["error"] is not None:
            raise error_of(self.described["error"])
        if self.state == "cancelled":
            raise ServerError(f"job {self.id}", "it was cancelled", "Ask again.")
        return self

    def result(self) -> Any:
        """Return what an analysis found, when it is done; JSON where this is not the process that asked."""
        found = self.wait().result_json()
        return found if self._operation is None else self._operation.result_of(found)

    def result_json(self) -> dict[str, Any]:
        """Return what an analysis found, as JSON."""
        return dict(self._jobs.connection.ask("GET", f"/v1/jobs/{self.id}/result"))

    def cancel(self) -> Job:
        """Cancel it; what it has done stays."""
        self.described = self._jobs.connection.ask("DELETE", f"/v1/jobs/{self.id}")
        return self

    def _told(self, seen: int, progress: Callable[[int], object] | None) -> int:
        read = int(self.described["read"])
        if progress is not None and read > seen:
            progress(read - seen)
        return read

    def __repr__(self) -> str:
        return f"Job({self.id!r}, {self.described['kind']}, {self.state})"
