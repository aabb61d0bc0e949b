"""Jobs: listed, followed, cancelled, and what they found."""

from __future__ import annotations

from collections.abc import AsyncIterable
from typing import Annotated, Any, TypeAlias

from fastapi import APIRouter, Depends, Query, Response
from fastapi.responses import StreamingResponse
from fastapi.sse import EventSourceResponse, ServerSentEvent

from saeindex.errors import InvalidInputError, MismatchError, NotFoundError
from saeindex_server import schemas
from saeindex_server.access import Caller
from saeindex_server.ingestion import rejects_of
from saeindex_server.jobs import Job, State
from saeindex_server.routes.operations import result
from saeindex_server.schemas import problems, reply

router = APIRouter(prefix="/v1/jobs", tags=["jobs"], responses=problems())
NDJSON = "application/x-ndjson"
LINES: dict[int | str, Any] = {200: {"content": {NDJSON: {"schema": {"type": "string"}}}}}


async def _job(identity: str, access: Caller) -> Job:
    return await access.job(identity)


OwnJob: TypeAlias = Annotated[Job, Depends(_job)]


@router.get("", summary="List jobs", response_model=schemas.JobsReply)
async def list_jobs(
    access: Caller,
    limit: Annotated[int, Query(ge=1, le=1_000)] = 100,
    cursor: Annotated[str | None, Query(max_length=40, description="`next` of the page before")] = None,
    state: State | None = None,
) -> Response:
    """Return the jobs of the key, the newest first; with the scope admin, of all keys."""
    try:
        found = await access.jobs(limit + 1, cursor, state)
    except NotFoundError:
        do = "Use `next` of the page before, or begin again."
        raise InvalidInputError("cursor", "not one of this list", do) from None
    later = found[limit - 1].id if len(found) > limit else None
    return reply({"jobs": [job.to_json() for job in found[:limit]], "next": later})


@router.get("/{identity}", summary="Show a job", response_model=schemas.JobReply)
async def show_job(job: OwnJob) -> Response:
    """Return a job: its state, how far it is, and what it found or why it failed."""
    return reply(job.to_json())


@router.delete("/{identity}", summary="Cancel a job", response_model=schemas.JobReply)
async def cancel_job(job: OwnJob, access: Caller) -> Response:
    """Cancel a job; what it has done stays."""
    access.need("write" if job.kind == "records" else "analyse")
    cancelled = await access.service.write(lambda: access.service.jobs.cancel(job))
    return reply(cancelled.to_json())


@router.get("/{identity}/events", summary="Follow a job", response_class=EventSourceResponse)
async def follow_job(job: OwnJob, access: Caller) -> AsyncIterable[ServerSentEvent]:
    """Stream the job as server-sent events: one for each change, until it is finished."""
    async for now in access.followed(job):
        yield ServerSentEvent(data=now.to_json(), event=now.state)


@router.get("/{identity}/result", summary="What an analysis found", responses=problems(409))  # fmt: skip
async def show_result(identity: str, job: OwnJob, access: Caller) -> Response:
    """Return what an analysis found; 409 before it is done."""
    if job.kind == "records" or not job.is_finished:
        what = "it adds records" if job.kind == "records" else f"it is {job.state}"
        raise MismatchError(f"the result of job {identity!r}", what, "Follow it: GET …/events.")
    return await result(access, job)


@router.get("/{identity}/rejects", summary="Records that were not indexed", response_class=StreamingResponse,
            responses={**LINES, **problems(409)})  # fmt: skip
async def show_rejects(identity: str, job: OwnJob, access: Caller) -> Response:
    """Stream the records that a job could not index, each with its position and the reason, as NDJSON."""
    if job.kind != "records":
        raise MismatchError(f"the rejects of job {identity!r}", f"it is a {job.kind}", "Ask for its result.")
    lines = await access.index(job.index, "write").run(lambda index: list(rejects_of(index, job)))
    return Response(b"".join(lines), media_type=NDJSON)
