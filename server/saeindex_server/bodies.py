"""Bodies: read when the key is known, each within a time, a size and a depth."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import anyio
import numpy as np
from starlette.requests import ClientDisconnect

from saeindex_server.problems import Refusal
from saeindex_server.replies import JSON

if TYPE_CHECKING:
    from fastapi import Request

    from saeindex_server.settings import ServerSettings

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
                while sum(map(len, block)) < PACE_BYTES:
                    chunk = await anext(chunks, None)
                    if chunk is None:
                        break
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
