"""MCP: the indexes of a key as tools of a language model, by streamable HTTP without sessions."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING, TypeVar

from anyio import to_thread
from fastapi import APIRouter, FastAPI, Request, Response
from mcp.server.streamable_http_manager import StreamableHTTPSessionManager

from saeindex.integrations.mcp import mcp_server
from saeindex_server.access import Access, Caller
from saeindex_server.problems import Refusal, failure_of
from saeindex_server.routes.operations import performed

if TYPE_CHECKING:
    from starlette.types import Message, Receive, Scope, Send

    from saeindex.operations.operation import Operation

R = TypeVar("R")
# Who sent the message that is being answered.
_CALLER: ContextVar[Access] = ContextVar("caller")


class CallerIndexes:
    """The indexes that the caller's key is for: what it may do, and the records that it sees."""

    async def names(self) -> list[str]:
        """Return the names of the indexes."""
        return [one.name for one in _CALLER.get().indexes()]

    async def perform(self, index: str, operation: Operation[R]) -> R:
        """Return the result of an operation; an analysis is a job, and waited for."""
        access = _CALLER.get()
        try:
            authorised = access.index(index, operation.scope)
            if operation.is_analysis:
                found = await authorised.analysed(operation)
            else:
                found = bytes((await performed(authorised, operation)).body)
        except Exception as error:
            raise failure_of(access.request_id, f"{operation.name} of {index!r}", error) from error
        return await to_thread.run_sync(lambda: operation.result_of(json.loads(found)))


@asynccontextmanager
async def running(app: FastAPI) -> AsyncIterator[None]:
    """Answer messages while the application runs."""
    most = app.state.service.settings.max_body_bytes
    manager = StreamableHTTPSessionManager(
        mcp_server(CallerIndexes()), json_response=True, stateless=True, max_request_body_size=most
    )
    async with manager.run():
        app.state.mcp = manager
        yield


router = APIRouter(lifespan=running)


class _Answer(Response):
    """The answer to a message, made when it is sent."""

    def __init__(self, manager: StreamableHTTPSessionManager, access: Access, body: bytes) -> None:
        super().__init__()
        self._manager, self._access, self._message = manager, access, body

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        messages: list[Message] = [{"type": "http.request", "body": self._message, "more_body": False}]

        async def received() -> Message:
            return messages.pop() if messages else await receive()

        _CALLER.set(self._access)
        await self._manager.handle_request(scope, received, send)


@router.post("/mcp", include_in_schema=False)
async def answer(request: Request, access: Caller) -> Response:
    """Answer a message of a client; 403 for a page of another origin."""
    _check_origin(request, access.service.settings.cors_origins)
    body = request.state.body = await access.service.bodies.json(request)
    return _Answer(request.app.state.mcp, access, body)


def _check_origin(request: Request, allowed: tuple[str, ...]) -> None:
    """Refuse a page that is not of this server, nor of an origin that may call it."""
    origin = request.headers.get("origin")
    if origin is None or origin in allowed or "*" in allowed:
        return
    if origin.partition("://")[2] != request.headers.get("host"):
        do = "Call it from a program, or start the server with --cors-origins."
        raise Refusal(403, "a message to /mcp", f"it is from a page of {origin!r:.80}", do)
