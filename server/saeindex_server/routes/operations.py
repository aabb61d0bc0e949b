"""The operations of an index: one route each, made of its request and its result."""

from __future__ import annotations

import json
from collections.abc import Callable, Coroutine
from dataclasses import replace
from typing import Annotated, Any

from fastapi import APIRouter, Query, Request, Response

from saeindex.errors import InvalidInputError, NotFoundError, UnknownConceptError, collecting
from saeindex.index import FeatureIndex
from saeindex.operations.concepts import Card, Find
from saeindex.operations.operation import Change, Operation
from saeindex.operations.records import Update
from saeindex.operations.surfaces import OPERATIONS
from saeindex.schema import from_json
from saeindex.search.hits import Hits
from saeindex.search.query import QueryOptions
from saeindex_server import schemas
from saeindex_server.access import Access, AuthorisedIndex, Caller
from saeindex_server.jobs import Job
from saeindex_server.problems import Refusal
from saeindex_server.schemas import encoded, problems, reply

router = APIRouter(prefix="/v1/indexes/{name}", responses=problems())
MAX_WAIT = 60.0
Wait = Annotated[
    float,
    Query(
        ge=0, le=MAX_WAIT, description="seconds to wait for the result; then, or for 0, the job is returned"
    ),
]
ACCEPTED: dict[int | str, dict[str, Any]] = {
    202: {"model": schemas.JobReply, "description": "It takes longer: follow the job"}
}
Handler = Callable[..., Coroutine[Any, Any, Response]]


async def asked_of(kind: type[Operation[Any]], request: Request, access: Access) -> Operation[Any]:
    """Return the operation that a body asks for; an empty one asks with all defaults."""
    body = await access.service.bodies.json(request)
    request.state.body = body
    try:
        given = json.loads(body) if body.strip() else {}
    except (ValueError, RecursionError) as error:
        raise Refusal(422, "the body", f"it is not JSON: {error}", "Send a JSON object.") from None
    if not isinstance(given, dict):
        raise Refusal(422, "the body", "it is no JSON object", "Send an object with the options.")
    return from_json(kind, given)


def performing(kind: type[Operation[Any]]) -> Handler:
    """Return the handler of an operation that is answered at once."""
    answer = changed if issubclass(kind, Change) else performed

    async def perform(name: str, access: Caller, request: Request) -> Response:
        index = access.index(name, kind.scope)
        return await answer(index, await asked_of(kind, request, access))

    return perform


async def performed(index: AuthorisedIndex, operation: Operation[Any]) -> Response:
    """Answer with the result of an operation; a query takes no longer than a request may."""
    service = index.access.service
    if isinstance(operation, QueryOptions):
        limit, own = service.settings.timeout, operation.timeout
        operation = replace(operation, timeout=limit if own is None else min(limit, own))

    def found(opened: FeatureIndex) -> bytes:
        with collecting() as told:
            result = opened.perform(operation)
        if isinstance(result, Hits):
            service.metrics.stages(dict(result.timings_ms))
        warned = {"warnings": told} if told else {}
        return encoded({**warned, **operation.result_json(result)})  # a plan has its own

    return Response(await index.run(found), media_type=schemas.JSON)


async def changed(index: AuthorisedIndex, operation: Operation[Any]) -> Response:
    """Answer with the result of an operation that changes an index; one at a time, but beside an upload."""

    def done(opened: FeatureIndex) -> dict[str, Any]:
        return operation.result_json(opened.perform(operation))

    found = await index.change(operation.name, done, not isinstance(operation, Update))
    return reply(found)


def analysing(kind: type[Operation[Any]]) -> Handler:
    """Return the handler of an analysis: it is a job in a process of its own, waited for a while."""

    async def analyse(name: str, access: Caller, request: Request, wait: Wait = 20.0) -> Response:
        index = access.index(name, kind.scope)
        job = await index.queue(await asked_of(kind, request, access))
        return await awaited(access, job, wait)

    return analyse


async def awaited(access: Access, job: Job, wait: float) -> Response:
    """Answer with what an analysis finds, or with the job if that takes longer than ``wait`` seconds."""
    async for now in access.followed(job, wait):
        job = now
    is_told = job.is_finished and wait > 0  # who does not wait gets the job, also when it asks again
    return await result(access, job) if is_told else reply(job.to_json(), 202, _at(job))


async def result(access: Access, job: Job) -> Response:
    """Return what an analysis found, or the error that it ended with."""
    return Response(await access.result(job), headers=_at(job), media_type=schemas.JSON)


def _at(job: Job) -> dict[str, str]:
    return {"Location": f"/v1/jobs/{job.id}"}


@router.get("/features", summary="Find features", tags=["concepts"], responses=schemas.result_of(Find))
async def features(
    name: str,
    access: Caller,
    q: Annotated[str, Query(description="a word or a phrase")],
    limit: Annotated[int, Query(ge=1, le=1_000)] = 10,
) -> Response:
    """Return the features that match a phrase: ``concepts/find`` as a link."""
    return await performed(access.index(name), Find(q, limit))


@router.get("/features/{feature}", summary="Describe a feature", tags=["concepts"],
            responses=schemas.result_of(Card))  # fmt: skip
async def feature(
    name: str, feature: str, access: Caller, examples: Annotated[int, Query(ge=0, le=100)] = 5
) -> Response:
    """Return the card of a feature: ``concepts/card`` as a link."""
    try:
        return await performed(access.index(name), Card(feature, examples))
    except (InvalidInputError, UnknownConceptError) as error:
        raise NotFoundError(error.asked, error.found, error.do) from None


def _add(kind: type[Operation[Any]]) -> None:
    make: Any = analysing if kind.is_analysis else performing
    more = ACCEPTED if kind.is_analysis else {}
    is_kept = kind.is_analysis or issubclass(kind, Change)
    conflicts = problems(409, 415) if is_kept else problems(415)
    group, _, last = kind.name.rpartition("/")
    summary, _, about = (kind.__doc__ or "").partition("\n")
    router.add_api_route(
        f"/{kind.name}", make(kind), methods=["POST"], name=kind.name,
        summary=f"{group} {last.replace('_', ' ')}".strip().capitalize(), description=f"{summary}\n{about}",
        tags=[group or ("analyses" if kind.is_analysis else "index")],
        responses={**conflicts, **more, **schemas.result_of(kind)},
        openapi_extra=schemas.body_named(schemas.schema_name(kind)),
    )  # fmt: skip


for each in OPERATIONS.values():
    _add(each)
router.add_api_route(
    "/records", performing(Update), methods=["PATCH"], name="change records", summary="Update records",
    description="Set and remove fields of metadata: `POST …/update` as others name it.", tags=["records"],
    responses={**problems(409, 415), **schemas.result_of(Update)},
    openapi_extra=schemas.body_named(schemas.schema_name(Update)),
)  # fmt: skip
