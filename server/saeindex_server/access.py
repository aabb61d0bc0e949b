"""What a caller may do: the one way from a request to an index, a job or an event."""

from __future__ import annotations

import math
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import anyio
from fastapi import Depends, Request

from saeindex.errors import InvalidInputError, MismatchError, NotFoundError
from saeindex.schema import to_json, unknown_option
from saeindex_server.analysis_process import OTHER
from saeindex_server.hosts import HostedIndex, no_such_index
from saeindex_server.keys import LOCAL, Key, Scope
from saeindex_server.problems import Refusal, error_of, request_id_of

if TYPE_CHECKING:
    from saeindex.index import FeatureIndex
    from saeindex.operations.operation import Operation
    from saeindex_server.jobs import Job
    from saeindex_server.service import Service

R = TypeVar("R")
BEARER = "bearer "
# Seconds between two looks at a job that somebody follows: the longer, the longer it has not changed.
STEP, LONGEST_STEP = 0.05, 0.5
WWW = {"WWW-Authenticate": 'Bearer realm="saeindex"'}


@dataclass(frozen=True, slots=True)
class Access:
    """A caller, bound to its key; every route reaches what the server has through it."""

    service: Service
    key: Key
    request_id: str

    def need(self, scope: Scope) -> None:
        """Refuse (403) a key without this scope."""
        if not self.key.may(scope):
            found = f"the key has {', '.join(sorted(self.key.scopes))}"
            raise Refusal(403, f"a request that needs the scope {scope!r}", found, "Use a key that has it.")

    def indexes(self) -> list[AuthorisedIndex]:
        """Return the indexes that the key is for, by name."""
        self.need("read")
        found = [one for one in self.service.hosts if self.key.reaches(one.name)]
        return [AuthorisedIndex(self, one) for one in sorted(found, key=lambda one: one.name)]

    def index(self, name: str, scope: Scope = "read") -> AuthorisedIndex:
        """Return an index; 404 if there is none, or not for this key, 403 without the scope."""
        hosted = self.service.hosts.get(name)
        if not self.key.reaches(hosted.name):
            raise no_such_index(name)
        self.need(scope)
        return AuthorisedIndex(self, hosted)

    async def jobs(self, limit: int, before: str | None, state: str | None) -> list[Job]:
        """Return the newest jobs that the caller may see, before that of an id."""
        owner = None if self.key.may("admin") else self.key.id
        if before is not None:
            await self.job(before)
        return await self.service.read(lambda: self.service.jobs.newest(owner, limit, before, state))

    async def job(self, identity: str) -> Job:
        """Return a job of this key; of any key for the scope admin. 404 for all others."""
        job = await self.service.read(lambda: self.service.jobs.get(identity))
        if job is None or not (job.key == self.key.id or self.key.may("admin")):
            do = "See GET /v1/jobs."
            raise NotFoundError(f"job {identity!r:.80}", "no job has this id, for this key", do)
        return job

    async def followed(self, job: Job, seconds: float = math.inf) -> AsyncIterator[Job]:
        """Yield a job as it is, and with each change until its end, that of the server, or of the time."""
        end, step, seen = time.monotonic() + seconds, STEP, None
        while True:
            job = await self.job(job.id)
            if job != seen:
                yield job
                seen, step = job, STEP
            left = end - time.monotonic()
            if job.is_finished or self.service.jobs.is_closed or left <= 0:
                return
            await anyio.sleep(min(step, left))
            step = min(1.5 * step, LONGEST_STEP)

    async def result(self, job: Job) -> bytes:
        """Return what an analysis found as JSON, or raise the error that it ended with."""
        if job.error is not None:
            raise error_of(job.error)
        if job.state != "done":
            raise MismatchError(f"the result of job {job.id!r}", f"it is {job.state}", "Ask for it again.")
        return await self.service.read(self.service.jobs.result_file(job.id).read_bytes)


@dataclass(frozen=True, slots=True)
class AuthorisedIndex:
    """An index as one caller may use it: with a filter, the records that match it are all that there is."""

    access: Access
    hosted: HostedIndex

    @property
    def name(self) -> str:
        """The name in requests."""
        return self.hosted.name

    async def queue(self, asked: Operation[Any]) -> Job:
        """Queue an analysis of the records that the caller may see."""
        given, access = to_json(asked), self.access
        if given.get(OTHER) is not None:
            given[OTHER] = access.index(str(given[OTHER]), asked.scope).name
        jobs, key = access.service.jobs, access.key
        return await access.service.write(
            lambda: jobs.add(asked.name, self.name, key.id, given, key.condition)
        )

    async def analysed(self, asked: Operation[Any]) -> bytes:
        """Return what an analysis finds as JSON, which is a job; the error that it ends with is raised."""
        job = await self.queue(asked)
        async for now in self.access.followed(job):
            job = now
        return await self.access.result(job)

    async def run(self, function: Callable[[FeatureIndex], R]) -> R:
        """Return what a function finds in the index, computed on a thread."""
        return await self.access.service.run(lambda: self.hosted.call(self.access.key.condition, function))

    async def change(
        self, action: str, function: Callable[[FeatureIndex], R], is_alone: bool = True, **counts: Any
    ) -> R:
        """Run a function that writes, after it was noted in the audit log: who writes leaves a trace.

        MismatchError while records are being added, if it is to be alone: what comes first would not be known
        after a crash.
        """
        self.access.need("write")

        def beside() -> R:
            self.note(action, **counts)
            return self.hosted.call(None, function)

        def alone() -> R:
            jobs = self.access.service.jobs
            if (busy := jobs.adding(self.name)) is not None:
                do = "Wait until it is done, or cancel it."
                raise MismatchError(f"{action} in {self.name!r}", f"job {busy.id} adds records", do)
            with self.hosted.writing:
                return beside()

        return await self.access.service.run(alone if is_alone else beside)

    def note(self, action: str, **counts: Any) -> None:
        """Write a line of the audit log, which waits for the disk: not on the event loop."""
        self.access.service.audit.add(self.access.key.id, self.access.request_id, action, self.name, **counts)


async def caller(request: Request) -> Access:
    """Return what the caller of a request may do; 401 without a valid key, where keys are needed."""
    service: Service = request.app.state.service
    request_id = request_id_of(request)
    _check_parameters(request)
    given = request.headers.get("authorization")
    text = request.headers.get("api-key") or request.headers.get("x-api-key")
    if given is not None:
        text = given[len(BEARER) :].strip() if given.lower().startswith(BEARER) else ""
    if not await service.needs_keys():  # a key is ignored: some clients always send one
        return Access(service, LOCAL, request_id)
    if text is None:
        found, do = "no key", "Send it as `Authorization: Bearer KEY`; `saeindex keys create` makes one."
        raise Refusal(401, "a request", found, do, WWW)
    key = await service.verified(text)
    if key is None:
        do = "Check it; `saeindex keys list` shows which there are."
        raise Refusal(401, "a request", "a key that is wrong, revoked or at its end", do, WWW)
    request.state.key = key.id
    return Access(service, key, request_id)


def _check_parameters(request: Request) -> None:
    """Refuse (422) a parameter of the URL that the route has not: it would be ignored."""
    known = [one.alias for one in request.scope["route"].dependant.query_params]
    for name in request.query_params:
        if name not in known:
            path = request.url.path[:200]
            if known:
                raise unknown_option(name[:80], known, path)
            raise InvalidInputError(path, f"no parameter {name!r:.80}", "Options of a POST go into its body.")


Caller = Annotated[Access, Depends(caller)]
