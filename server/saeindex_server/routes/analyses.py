"""Analyses: each is a job in a process of its own; short ones are answered at once."""

from __future__ import annotations

import time
from typing import Annotated, Any

import anyio
from anyio import to_thread
from fastapi import APIRouter, Query, Response

from saeindex.client.wire import MEDIA_TYPE
from saeindex_server import replies
from saeindex_server.access import Access, Caller
from saeindex_server.analysis_process import OTHER
from saeindex_server.jobs import Job
from saeindex_server.limits import CheckedRoute
from saeindex_server.problems import error_of
from saeindex_server.replies import problems, reply
from saeindex_server.requests import (
    BaselineBody,
    Body,
    ClusterBody,
    CorrelateBody,
    DiffBody,
    DriftBody,
    MonitorBody,
    ProfileBody,
    TriggersBody,
)

ACCEPTED: dict[int | str, dict[str, Any]] = {
    202: {"model": replies.JobReply, "description": "It takes longer: follow the job"}
}
router = APIRouter(
    route_class=CheckedRoute, prefix="/v1/indexes/{name}", tags=["analyses"],
    responses={**problems(409), **ACCEPTED},
)  # fmt: skip
MAX_WAIT, STEP = 60.0, 0.05
Wait = Annotated[float, Query(ge=0, le=MAX_WAIT, description="seconds to wait; then the job is returned")]


async def analysed(access: Access, name: str, method: str, body: Body, wait: float) -> Response:
    """Queue an analysis, and return what it finds, or the job if that takes longer than ``wait`` seconds."""
    index, asked = access.index(name, "analyse"), body.options()
    if asked.get(OTHER) is not None:
        asked[OTHER] = access.index(asked[OTHER], "analyse").name
    jobs, key = access.service.jobs, access.key.id
    job = await access.service.write(lambda: jobs.add(method, index.name, key, asked, index.condition))
    end = time.monotonic() + wait
    while not job.is_finished and time.monotonic() < end:
        await anyio.sleep(STEP)
        job = await access.job(job.id)
    return await result(access, job) if job.is_finished else reply(job.to_json(), 202, _at(job))


async def result(access: Access, job: Job) -> Response:
    """Return what an analysis found, or the error that it ended with."""
    if job.error is not None:
        raise error_of(job.error)
    kind = MEDIA_TYPE if access.takes_results else replies.JSON
    file = access.service.jobs.result_file(job.id, is_packed=access.takes_results)
    return Response(await to_thread.run_sync(file.read_bytes), headers=_at(job), media_type=kind)


def _at(job: Job) -> dict[str, str]:
    return {"Location": f"/v1/jobs/{job.id}"}


@router.post("/diff", summary="What differs", response_model=replies.AnalysisReply)
async def diff(name: str, body: DiffBody, access: Caller, wait: Wait = 20.0) -> Response:
    """Return the significant differences between groups of records."""
    return await analysed(access, name, "diff", body, wait)


@router.post("/correlate", summary="What occurs together", response_model=replies.AnalysisReply)
async def correlate(name: str, body: CorrelateBody, access: Caller, wait: Wait = 20.0) -> Response:
    """Return pairs of concepts that occur together more often, or less often, than by chance."""
    return await analysed(access, name, "correlate", body, wait)


@router.post("/triggers", summary="What triggers a behaviour", response_model=replies.AnalysisReply)
async def find_triggers(name: str, body: TriggersBody, access: Caller, wait: Wait = 20.0) -> Response:
    """Return the concepts of prompts that are associated with a behaviour of the responses."""
    return await analysed(access, name, "find_triggers", body, wait)


@router.post("/cluster", summary="Clusters along an axis", response_model=replies.AnalysisReply)
async def cluster(name: str, body: ClusterBody, access: Caller, wait: Wait = 20.0) -> Response:
    """Return clusters of the records along an axis, and whether the space can express it."""
    return await analysed(access, name, "cluster", body, wait)


@router.post("/drift", summary="What changes over a field", response_model=replies.AnalysisReply)
async def drift(name: str, body: DriftBody, access: Caller, wait: Wait = 20.0) -> Response:
    """Return the concepts and words with a trend over a field."""
    return await analysed(access, name, "drift", body, wait)


@router.post("/monitor", summary="What is new in a window", response_model=replies.AnalysisReply)
async def monitor(name: str, body: MonitorBody, access: Caller, wait: Wait = 20.0) -> Response:
    """Return the changes in a window of records against a reference."""
    return await analysed(access, name, "monitor", body, wait)


@router.post("/baseline", summary="Count a reference", response_model=replies.AnalysisReply)
async def baseline(name: str, body: BaselineBody, access: Caller, wait: Wait = 20.0) -> Response:
    """Return the counts of a reference, to monitor against after its records are deleted."""
    return await analysed(access, name, "baseline", body, wait)


@router.post("/profile", summary="What a set is about", response_model=replies.AnalysisReply)
async def profile(name: str, body: ProfileBody, access: Caller, wait: Wait = 20.0) -> Response:
    """Return the distinctive concepts and words of a set, and its central and odd records."""
    return await analysed(access, name, "profile", body, wait)
