"""The server itself: its indexes, whether it lives and is ready, and its measurements."""

from __future__ import annotations

from functools import partial
from typing import Any

from fastapi import APIRouter, Request, Response
from fastapi.responses import FileResponse, RedirectResponse
from pydantic import ValidationError
from starlette.background import BackgroundTask

from saeindex._version import __version__
from saeindex.errors import StorageError
from saeindex_server import schemas
from saeindex_server.access import AuthorisedIndex, Caller
from saeindex_server.jobs import new_id
from saeindex_server.problems import Refusal, documented, refused_body
from saeindex_server.schemas import problems, reply
from saeindex_server.service import Service

router = APIRouter(tags=["operations"])
GZIP = "application/gzip"
METRICS = "text/plain; version=0.0.4; charset=utf-8"


@router.get("/", summary="Show the server", response_model=schemas.ServerReply)
async def show_server(request: Request) -> Response:
    """Return what this is, and where its description and its indexes are; a browser gets the workbench."""
    if "text/html" in request.headers.get("accept", "") and "workbench" in request.app.state._state:
        return RedirectResponse("/ui/", 303)
    return reply(
        {"name": "saeindex", "version": __version__, "openapi": "/openapi.json", "indexes": "/v1/indexes"}
    )


@router.get("/v1/indexes", summary="List indexes", response_model=schemas.IndexesReply, responses=problems())
async def list_indexes(access: Caller) -> Response:
    """Return the indexes that the key is for."""
    return reply({"indexes": [await _info(index) for index in access.indexes()]})


@router.get("/v1/indexes/{name}", summary="Show an index", response_model=schemas.IndexReply,
            responses=problems())  # fmt: skip
async def show_index(name: str, access: Caller) -> Response:
    """Return an index: its counts, space, encoder and settings."""
    return reply(await _info(access.index(name)))


async def _info(authorised: AuthorisedIndex) -> dict[str, Any]:
    return {**await authorised.run(lambda index: index.info()), "name": authorised.name}


@router.post("/v1/indexes", status_code=201, summary="Create an index", response_model=schemas.IndexReply,
             responses=problems(409, 415), openapi_extra=schemas.body_named("CreateBody"))  # fmt: skip
async def create_index(access: Caller, request: Request) -> Response:
    """Make an empty index; needs the scope admin, and a key that is for all indexes.

    Keys that are bound to this name were for an index that is gone: they do not reach the new one.
    """
    access.need("admin")
    if access.key.indexes:
        do = "Use a key for all indexes."
        raise Refusal(403, "create an index", "the key is for some indexes alone", do)
    try:
        given = schemas.CreateBody.model_validate_json(await access.service.bodies.json(request))
    except ValidationError as error:
        raise refused_body(error) from None
    options = given.model_dump(exclude={"name"}, exclude_none=True)
    await access.service.write(lambda: access.service.create(given.name, options))
    index = access.index(given.name)
    await access.service.write(lambda: index.note("create index"))
    return reply(await _info(index), 201, {"Location": f"/v1/indexes/{given.name}"})


@router.delete("/v1/indexes/{name}", status_code=204, summary="Delete an index", responses=problems(409))
async def drop_index(name: str, access: Caller) -> Response:
    """Delete an index with all its records; needs the scope admin. 409 while a job of it is not done."""
    index = access.index(name, "admin")
    await access.service.write(lambda: index.note("delete index"))
    await access.service.write(lambda: access.service.drop(index.name))
    return Response(status_code=204)


@router.get("/v1/indexes/{name}/backup", summary="Back up an index", response_class=Response,
            responses={200: {"content": {GZIP: {"schema": {"type": "string", "format": "binary"}}}},
                       **problems(409)})  # fmt: skip
async def back_up(name: str, access: Caller) -> Response:
    """Return all files of an index at one revision in one; needs the scope admin.

    `saeindex restore` makes an index of it. Writes waited `X-Saeindex-Paused` seconds.
    """
    index = access.index(name, "admin")
    file = access.service.settings.state / f"{new_id()}.tar.gz"
    await access.service.write(lambda: index.note("back up"))
    gone = BackgroundTask(partial(file.unlink, missing_ok=True))
    made = await access.service.write(lambda: index.hosted.call(None, lambda own: own.backup(file)))
    headers = {"X-Saeindex-Revision": made.revision, "X-Saeindex-Paused": f"{made.paused:.3f}"}
    return FileResponse(file, 200, headers, GZIP, gone, f"{index.name}.tar.gz")


@router.get("/livez", summary="Does it live", response_model=schemas.StateReply)
async def livez() -> Response:
    """Return 200 while the server answers."""
    return reply({"status": "alive"})


@router.get("/readyz", summary="Is it ready", response_model=schemas.StateReply, responses=documented(503))
async def readyz(request: Request) -> Response:
    """Return 200 when requests are answered; 503 before, and when the server ends.

    ``waits_for`` is what the records that were sent wait for, such as room on the disk.
    """
    service: Service = request.app.state.service
    if not service.is_ready:
        raise StorageError("the server", "it is not ready", "Ask again later.")
    return reply({"status": "ready", "waits_for": service.waits_for})


@router.get("/metrics", summary="Measurements", response_class=Response,
            responses={200: {"content": {"text/plain": {"schema": {"type": "string"}}}},
                       **documented(401, 403, 429)})  # fmt: skip
async def metrics(access: Caller) -> Response:
    """Return measurements in Prometheus' text format; needs the scope admin."""
    access.need("admin")
    page = await access.service.read(access.service.measured)
    return Response(page, media_type=METRICS)
