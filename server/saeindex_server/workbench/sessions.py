"""Who looks at a page: a login turns a key into a cookie that ends, and each action asks for it again."""

from __future__ import annotations

import secrets
import time
from collections import OrderedDict
from dataclasses import dataclass
from typing import TYPE_CHECKING
from uuid import uuid4

from saeindex_server.access import Access
from saeindex_server.keys import LOCAL
from saeindex_server.problems import Refusal

if TYPE_CHECKING:
    from starlette.requests import Request

    from saeindex_server.service import Service

COOKIE, SECONDS, MOST = "saeindex-session", 12 * 3_600, 1_000


@dataclass(frozen=True, slots=True)
class _Session:
    key: str
    end: float


class Sessions:
    """The sessions of a service, in memory: a restart ends them all."""

    def __init__(self, service: Service) -> None:
        """Begin without any."""
        self.service = service
        self._known: OrderedDict[str, _Session] = OrderedDict()

    async def begin(self, key: str) -> str:
        """Return the token of a new session for a key; 401 if it is not valid."""
        if await self.service.verified(key) is None:
            do = "Check it, or ask who runs the server for another."
            raise Refusal(401, "log in", "the key is wrong, revoked or at its end", do)
        while len(self._known) >= MOST:
            self._known.popitem(last=False)
        token = secrets.token_urlsafe(32)
        self._known[token] = _Session(key, time.monotonic() + SECONDS)
        return token

    def end(self, token: str) -> None:
        """End a session."""
        self._known.pop(token, None)

    async def access(self, token: str) -> Access:
        """Return what the holder of a token may do now; 401 without a session, where keys are needed."""
        identity = uuid4().hex[:16]
        if not await self.service.needs_keys():
            return Access(self.service, LOCAL, identity)
        session = self._known.get(token)
        key = None
        if session is not None and session.end > time.monotonic():
            key = await self.service.verified(session.key)
        if key is None:
            self.end(token)
            raise Refusal(401, "a page", "no session, or one that has ended", "Log in with a key.")
        return Access(self.service, key, identity)


def token_of(request: Request) -> str:
    """Return the token that a browser sent, "" for none."""
    return request.cookies.get(COOKIE, "")
