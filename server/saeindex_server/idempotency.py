"""Writes that are done once, however often they are asked for."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from fastapi import Request, Response

from saeindex_server.replies import reply

if TYPE_CHECKING:
    from saeindex.index import FeatureIndex
    from saeindex_server.access import AuthorisedIndex

HEADER, REPLAYED = "Idempotency-Key", "Idempotent-Replayed"


def digest_of(request: Request, body: bytes) -> bytes:
    """Return what tells a request from others that may come with its ``Idempotency-Key``."""
    return hashlib.sha256(
        f"{request.method} {request.url.path}?{request.url.query}\n".encode() + body
    ).digest()


async def changed_once(
    index: AuthorisedIndex,
    request: Request,
    digest: bytes,
    action: str,
    change: Callable[[FeatureIndex], dict[str, Any]],
) -> Response:
    """Answer with what a change returns; a request of the same ``Idempotency-Key`` gets the first answer."""
    access = index.access
    token = request.headers.get(HEADER)
    found, is_replayed = await access.service.once(
        access.key, token, digest, lambda: index.change(action, change)
    )
    return reply(found, headers={REPLAYED: "true"} if is_replayed else None)
