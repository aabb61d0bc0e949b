"""What every request passes: an id, the names of the server, security headers, the log."""

from __future__ import annotations

import re
import time
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any
from uuid import uuid4

from saeindex_server.logs import log
from saeindex_server.problems import Refusal, problem_response
from saeindex_server.settings import LOOPBACK

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

    from saeindex_server.metrics import Metrics
    from saeindex_server.settings import ServerSettings

_ID = re.compile(r"[\w.-]{1,64}")
# Bytes of a body that are logged, where texts are.
LOGGED_BYTES = 4_096
_PORT = re.compile(r":\d*$")
HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
    "Cache-Control": "no-store",
}
# Pages run the scripts of the server that they came from, and nothing else; their parts are named by content.
WORKBENCH = "/ui"
# Bytes of what a page sends at once, such as a file: it must say how many.
PAGE_BYTES = 256 * 2**20
OF_PAGES = {
    **HEADERS,
    "Content-Security-Policy": "default-src 'self'; script-src 'self' 'unsafe-inline' 'unsafe-eval'; "
    "style-src 'self' 'unsafe-inline'; img-src 'self' data:; font-src 'self' data:; connect-src 'self'; "
    "form-action 'self'; base-uri 'self'; frame-ancestors 'none'",
}


class Middleware:
    """The first and last that a request meets."""

    def __init__(
        self,
        app: ASGIApp,
        settings: ServerSettings,
        metrics: Metrics,
        needs_keys: Callable[[], Awaitable[bool]],
    ) -> None:
        """``needs_keys`` is asked whether keys are on; without, only names of this machine are taken."""
        self._app, self._settings, self._metrics, self._needs_keys = app, settings, metrics, needs_keys
        self._hosts = frozenset(host.lower() for host in settings.hosts)

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
                always = OF_PAGES if scope["path"].startswith(WORKBENCH) else HEADERS
                more = {**always, "X-Request-ID": request_id}.items()
                message["headers"] = [
                    *message["headers"],
                    *((n.encode(), v.encode()) for n, v in more if n.lower().encode() not in known),
                ]
            await send(message)

        refusal = await self._refusal(scope, headers)
        try:
            app = self._app if refusal is None else problem_response(refusal, request_id, scope["path"])
            await app(scope, receive, sent)
        finally:
            self._noted(scope, request_id, status, time.perf_counter() - started)

    async def _refusal(self, scope: Scope, headers: dict[bytes, bytes]) -> Refusal | None:
        asked = f"{scope['method']} {scope['path'][:200]}"
        name = _PORT.sub("", headers.get(b"host", b"").decode("latin-1")).strip("[]").lower()
        hosts = self._hosts
        is_named = name in LOOPBACK or name in hosts  # the keys are asked about last: that may take a thread
        if not is_named and (hosts or not await self._needs_keys()):
            do = "Call it by its own name, or start it with --hosts."
            return Refusal(421, asked, f"it was called {name!r:.80}", do)
        if scope["method"] == "POST" and scope["path"].startswith(WORKBENCH):
            size = headers.get(b"content-length", b"").decode("latin-1")
            if not size.isdecimal() or int(size) > PAGE_BYTES:
                found = f"{size or 'an unknown number of'} bytes from a page"
                return Refusal(413, asked, found, f"Send at most {PAGE_BYTES:,} bytes.")
        return None

    def _noted(self, scope: Scope, request_id: str, status: int, seconds: float) -> None:
        route = getattr(scope.get("route"), "path", "") or "(none)"
        self._metrics.request(scope["method"], route, status, seconds)
        fields: dict[str, Any] = {
            "request_id": request_id, "method": scope["method"], "route": route, "status": status,
            "ms": round(1_000 * seconds, 2), "key": scope.get("state", {}).get("key"),
            "index": scope.get("path_params", {}).get("name"), "client": (scope.get("client") or [None])[0],
        }  # fmt: skip
        if self._settings.log_texts:
            fields["path"] = scope["path"]
            fields["query"] = scope["query_string"].decode("latin-1")
            asked = scope.get("state", {}).get("body", b"")
            fields["body"] = asked[:LOGGED_BYTES].decode("utf-8", "replace")
        log("request", **fields)
