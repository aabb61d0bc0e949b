"""What every request passes: an id, the server's names, security headers, the log, the limits of bodies."""

from __future__ import annotations

import re
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import anyio
import numpy as np
from starlette.requests import ClientDisconnect

from saeindex_server.logs import log
from saeindex_server.problems import Refusal, problem_response
from saeindex_server.schemas import JSON
from saeindex_server.settings import LOOPBACK, ServerSettings

if TYPE_CHECKING:
    from fastapi import Request
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

    from saeindex_server.metrics import Metrics

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


MAX_DEPTH = 64
# Bytes of a stream that must come in the time that a whole JSON body has.
PACE_BYTES = 4 * 2**10
CLOSE = {"Connection": "close"}


class Bodies:
    """Reads the bodies of requests, on the event loop."""

    def __init__(self, settings: ServerSettings) -> None:
        """The settings have their size and their time."""
        self._seconds, self._largest = settings.body_timeout, settings.max_body_bytes

    async def json(self, request: Request) -> bytes:
        """Return the JSON of a request, unread.

        415 for another type, 413 for more bytes than a body may have, 408 when it comes too slowly, 422 when
        it is nested too deep.
        """
        kind = media_type(request)
        if kind != JSON:  # else a page of another site could ask, without a preflight
            do = f"Send it with `Content-Type: {JSON}`; `curl --json` does."
            raise Refusal(415, "the body", f"its type is {kind!r:.80}", do)
        _check_encoding(request)
        if request.headers.get("content-length", "").isdecimal():
            self._check_size(int(request.headers["content-length"]))
        chunks: list[bytes] = []
        size = 0
        with _within(self._seconds), anyio.fail_after(self._seconds):
            async for chunk in request.stream():
                size += len(chunk)
                self._check_size(size)
                chunks.append(chunk)
        body = b"".join(chunks)
        check_depth(body)
        return body

    async def stream(self, request: Request) -> AsyncIterator[bytes]:
        """Yield a body of any length; 408 when 4 KiB of it take longer than a JSON body may."""
        _check_encoding(request)
        chunks = aiter(request.stream())
        while True:
            block: list[bytes] = []
            with _within(self._seconds), anyio.fail_after(self._seconds):
                while sum(map(len, block)) < PACE_BYTES and (chunk := await anext(chunks, None)) is not None:
                    block.append(chunk)
            if not block:
                return
            yield b"".join(block)

    def _check_size(self, size: int) -> None:
        if size > self._largest:
            found, do = f"more than {self._largest:,} bytes of JSON", "Send less, or records as NDJSON."
            raise Refusal(413, "the body", found, do, CLOSE)


def media_type(request: Request) -> str:
    """Return the type of a request's body, without its parameters."""
    return request.headers.get("content-type", "").partition(";")[0].strip().lower()


def _check_encoding(request: Request) -> None:
    encoding = request.headers.get("content-encoding", "identity")
    if encoding.lower() != "identity":
        raise Refusal(415, "the body", f"its encoding is {encoding!r:.40}", "Send it uncompressed.")


@contextmanager
def _within(seconds: float) -> Iterator[None]:
    """Turn what ends the reading of a body into a refusal."""
    try:
        yield
    except TimeoutError:
        found = f"it did not come within {seconds:g} s"
        raise Refusal(408, "the body", found, "Send it faster, or in parts.", CLOSE) from None
    except ClientDisconnect:
        raise Refusal(400, "the body", "the sender went away before its end", "Send it again.") from None


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
