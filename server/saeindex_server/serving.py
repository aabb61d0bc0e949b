"""Running the server: one process with uvicorn, which ends gently."""

from __future__ import annotations

import socket
import sys
from typing import TYPE_CHECKING

from saeindex.errors import StorageError
from saeindex_server.logs import start_logging

if TYPE_CHECKING:
    from saeindex_server.settings import ServerSettings

BACKLOG = 2_048


def serve(settings: ServerSettings, places: list[str], url: str | None = None) -> None:
    """Serve indexes until the process is told to end (SIGINT or SIGTERM)."""
    import uvicorn

    from saeindex_server.app import create_app

    start_logging()
    app = create_app(settings, places, url)
    listener = _bound(settings)
    config = uvicorn.Config(
        app, log_config=None, access_log=False, server_header=False, date_header=True, ws="none",
        timeout_graceful_shutdown=round(settings.shutdown), timeout_keep_alive=30, backlog=BACKLOG,
    )  # fmt: skip
    service = app.state.service
    service.start()
    host, port = listener.getsockname()[:2]
    shown = f"[{host}]" if ":" in host else host
    print(f"Listening on http://{shown}:{port}", file=sys.stderr, flush=True)
    try:
        uvicorn.Server(config).run(sockets=[listener])
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
