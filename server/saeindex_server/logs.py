"""Logs as JSON lines: requests and failures, without texts and secrets; and the audit of writes."""

from __future__ import annotations

import json
import logging
import os
import sys
import threading
import traceback
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

AUDIT_FILE = "audit.jsonl"

LOGGER = logging.getLogger("saeindex.server")


class JsonLines(logging.Formatter):
    """One JSON object a line; what is logged are names and numbers, never texts of records or queries."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the line of a log record."""
        fields: dict[str, Any] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "message": record.getMessage(),
        }
        fields |= getattr(record, "fields", {})
        return json.dumps(fields, ensure_ascii=True, default=str)


def start_logging() -> None:
    """Write the server's log to standard error."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonLines())
    LOGGER.handlers[:] = [handler]
    LOGGER.setLevel(logging.INFO)
    LOGGER.propagate = False
    logging.getLogger("uvicorn.error").handlers[:] = [handler]


def log(message: str, **fields: Any) -> None:
    """Log what happened."""
    LOGGER.info(message, extra={"fields": fields})


def log_failure(request_id: str, error: BaseException) -> None:
    """Log an error of the server with the places that it came through, but not its values."""
    frames = traceback.extract_tb(error.__traceback__)[-8:]
    places = [f"{Path(frame.filename).name}:{frame.lineno} {frame.name}" for frame in frames]
    found = getattr(error, "found", "")
    fields = {"request_id": request_id, "error": type(error).__name__, "found": found, "places": places}
    LOGGER.error("failed", extra={"fields": fields})


class AuditLog:
    """Who wrote what, and when: one JSON object a line, synced before the write is answered."""

    def __init__(self, folder: Path) -> None:
        """Lines are appended to a file of the state folder."""
        self._path, self._lock = folder / AUDIT_FILE, threading.Lock()

    def add(self, key: str, request_id: str, action: str, index: str, **counts: Any) -> None:
        """Append a line."""
        at = datetime.now(UTC).isoformat(timespec="milliseconds")
        line = {"at": at, "key": key, "request_id": request_id, "action": action, "index": index, **counts}
        with self._lock, self._path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(line, ensure_ascii=True) + "\n")
            file.flush()
            os.fsync(file.fileno())
