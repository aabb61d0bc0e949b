"""Running the server: one process with uvicorn, which ends gently."""

from __future__ import annotations

import asyncio
import socket
from typing import TYPE_CHECKING, Any

import uvicorn
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from saeindex.errors import StorageError
from saeindex_server.logs import log

if TYPE_CHECKING:
    from saeindex_server.service import Service
    from saeindex_server.settings import ServerSettings

BACKLOG = 2_048
# Seconds in which the head of a request must come, on a new connection or after the answer before.
HEAD_SECONDS = 30


class Connection(HttpToolsProtocol):
    """A connection that is closed when the head of a request does not come; uvicorn waits for ever."""

    _head: asyncio.TimerHandle | None = None

    def connection_made(self, transport: Any) -> None:
        """Begin to wait for the first request."""
        super().connection_made(transport)
        self._await_head()

    def on_headers_complete(self) -> None:
        """A head has come."""
        self._stop_waiting()
        super().on_headers_complete()

    def on_response_complete(self) -> None:
        """Begin to wait for the next request."""
        super().on_response_complete()
        self._await_head()

    def connection_lost(self, exc: Exception | None) -> None:
        """The other side has closed it."""
        self._stop_waiting()
        super().connection_lost(exc)

    def _await_head(self) -> None:
        self._stop_waiting()
        self._head = self.loop.call_later(HEAD_SECONDS, self.transport.close)

    def _stop_waiting(self) -> None:
        if self._head is not None:
            self._head.cancel()


class Server(uvicorn.Server):
    """A server that lets go of those who follow jobs when it is told to end."""

    def __init__(self, config: uvicorn.Config, service: Service) -> None:
        """``service`` is that of the application."""
        super().__init__(config)
        self._service = service

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Let jobs stop, and their followers end, then answer what is being answered."""
        self._service.jobs.close()
        await super().shutdown(sockets)


def serve(settings: ServerSettings, places: list[str], url: str | None = None) -> None:
    """Serve indexes until the process is told to end (SIGINT or SIGTERM)."""
    from saeindex_server.app import create_app

    app = create_app(settings, places, url)
    listener = _bound(settings)
    config = uvicorn.Config(
        app, http=Connection, log_config=None, access_log=False, server_header=False, date_header=True,
        ws="none", timeout_graceful_shutdown=round(settings.shutdown), timeout_keep_alive=HEAD_SECONDS,
        backlog=BACKLOG,
    )  # fmt: skip
    service = app.state.service
    service.start()
    host, port = listener.getsockname()[:2]
    shown = f"[{host}]" if ":" in host else host
    log(f"Listening on http://{shown}:{port}", url=f"http://{shown}:{port}")
    try:
        Server(config, service).run(sockets=[listener])
    finally:
        service.stop()  # also where uvicorn did not come so far


def _bound(settings: ServerSettings) -> socket.socket:
    family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
    # With the protocol named, asyncio sends what it has at once; else every answer waits 40 ms for an ACK.
    listener = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((settings.host, settings.port))
        listener.listen(BACKLOG)  # who calls early waits
    except OSError as error:
        listener.close()
        found = error.strerror or str(error)
        do = "Stop what uses it, or choose another --port."
        raise StorageError(f"listen on {settings.host}:{settings.port}", found, do) from error
    return listener
