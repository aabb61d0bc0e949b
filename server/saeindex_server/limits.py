"""What every request passes: an id, the door that sheds load, security headers, the log, the limits."""

from __future__ import annotations

import re
import time
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import numpy as np
from fastapi import Request, Response
from fastapi.routing import APIRoute

from saeindex_server.logs import log
from saeindex_server.problems import Refusal, problem_response
from saeindex_server.settings import LOOPBACK

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

    from saeindex_server.metrics import Metrics
    from saeindex_server.settings import ServerSettings

MAX_DEPTH = 64
# The limit of a route that streams its body, and counts it itself.
UPLOAD = 2**62
_ID = re.compile(r"[\w.-]{1,64}")
_PORT = re.compile(r":\d*$")
HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
    "Cache-Control": "no-store",
}
# Paths that are answered also when too much waits.
ALWAYS = ("/livez", "/readyz", "/metrics")


class Door:
    """The first and last that a request meets; it refuses requests (503) while too many are inside."""

    def __init__(
        self,
        app: ASGIApp,
        settings: ServerSettings,
        metrics: Metrics,
        needs_keys: Callable[[], Awaitable[bool]],
    ) -> None:
        """``needs_keys`` is asked whether keys are on; without, only names of this machine are taken."""
        self._app, self._settings, self._metrics = app, settings, metrics
        self._needs_keys = needs_keys
        self._most = settings.max_running + settings.max_waiting
        self.running = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        started, status = time.perf_counter(), 500
        headers = dict(scope["headers"])
        given = headers.get(b"x-request-id", b"").decode("latin-1")
        request_id = given if _ID.fullmatch(given) else uuid4().hex[:16]
        scope["request_id"] = request_id

        async def sent(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                known = {name.lower() for name, _ in message["headers"]}
                more = {**HEADERS, "X-Request-ID": request_id}.items()
                message["headers"] = [
                    *message["headers"],
                    *((n.encode(), v.encode()) for n, v in more if n.lower().encode() not in known),
                ]
            await send(message)

        refusal = await self._refusal(scope, headers)
        if refusal is not None:
            await problem_response(refusal, request_id)(scope, receive, sent)
        else:
            self.running += 1
            try:
                await self._app(scope, receive, sent)
            finally:
                self.running -= 1
        self._noted(scope, request_id, status, time.perf_counter() - started)

    async def _refusal(self, scope: Scope, headers: dict[bytes, bytes]) -> Refusal | None:
        asked = f"{scope['method']} {scope['path'][:200]}"
        name = _PORT.sub("", headers.get(b"host", b"").decode("latin-1")).strip("[]")
        hosts = self._settings.hosts
        is_named = name in LOOPBACK or name in hosts  # the keys are asked about last: that may take a thread
        if not is_named and (hosts or not await self._needs_keys()):
            do = "Call it by its own name, or start it with --hosts."
            return Refusal(421, asked, f"it was called {name!r:.80}", do)
        if self.running >= self._most and scope["path"] not in ALWAYS:
            self._metrics.shed()
            return Refusal(503, asked, "too many requests wait", "Ask again after Retry-After seconds.")
        return None

    def _noted(self, scope: Scope, request_id: str, status: int, seconds: float) -> None:
        route = getattr(scope.get("route"), "path", "") or "(none)"
        self._metrics.request(scope["method"], route, status, seconds)
        fields: dict[str, Any] = {
            "request_id": request_id, "method": scope["method"], "route": route, "status": status,
            "ms": round(1_000 * seconds, 2),
        }  # fmt: skip
        if self._settings.log_texts:
            fields["path"] = scope["path"]
            fields["query"] = scope["query_string"].decode("latin-1")
        log("request", **fields)


class CheckedRoute(APIRoute):
    """A route whose JSON is refused when it is nested too deep, before anything reads it."""

    def get_route_handler(self) -> Callable[[Request], Any]:
        """Return the handler."""
        handler = super().get_route_handler()

        async def checked(request: Request) -> Response:
            is_json = request.headers.get("content-type", "").startswith("application/json")
            if is_json and self.max_body_size != UPLOAD:  # a route that streams reads it itself
                check_depth(await request.body())
            found: Response = await handler(request)
            return found

        return checked


def check_depth(body: bytes) -> None:
    """Refuse (422) JSON that is nested deeper than ``MAX_DEPTH``."""
    if body.count(b"[") + body.count(b"{") <= MAX_DEPTH:
        return
    plain = np.frombuffer(re.sub(rb"\\.", b"", body, flags=re.DOTALL), np.uint8)
    is_outside = np.cumsum(plain == ord('"')) % 2 == 0
    opened = (plain == ord("[")) | (plain == ord("{"))
    closed = (plain == ord("]")) | (plain == ord("}"))
    depth = np.cumsum((opened.astype(np.int8) - closed.astype(np.int8)) * is_outside, dtype=np.int64)
    if depth.size and int(depth.max()) > MAX_DEPTH:
        raise Refusal(422, "the body", f"nested more than {MAX_DEPTH} levels deep", "Send a flatter one.")
