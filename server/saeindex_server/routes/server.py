"""The server itself: its indexes, whether it lives and is ready, and its measurements."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, Request, Response
from fastapi.responses import RedirectResponse

from saeindex._version import __version__
from saeindex.errors import StorageError
from saeindex_server import schemas
from saeindex_server.access import AuthorisedIndex, Caller
from saeindex_server.problems import documented
from saeindex_server.schemas import problems, reply
from saeindex_server.service import Service

router = APIRouter(tags=["operations"])
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
