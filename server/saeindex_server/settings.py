"""Settings of the server: from the command line, else from the environment, else these defaults."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Annotated, Any

from pydantic import BeforeValidator, Field, ValidationError
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from saeindex.errors import InvalidInputError
from saeindex.schema import unknown_option

PREFIX = "SAEINDEX_SERVER_"
LOOPBACK = frozenset({"127.0.0.1", "::1", "localhost"})


def _several(given: Any) -> Any:
    """Return the values of a text, or of each of several: a JSON list, or separated by commas."""
    if isinstance(given, str) and given.lstrip().startswith("["):
        return json.loads(given)
    texts = [given] if isinstance(given, str) else given
    return [one.strip() for text in texts for one in text.split(",") if one.strip()]


Several = Annotated[tuple[str, ...], NoDecode, BeforeValidator(_several)]


class ServerSettings(BaseSettings):
    """Each setting is an option of ``saeindex serve``, or a variable such as ``SAEINDEX_SERVER_PORT``."""

    model_config = SettingsConfigDict(env_prefix=PREFIX, extra="forbid", frozen=True)

    host: str = Field(
        default="127.0.0.1", description="the address to listen on; others than loopback need keys"
    )
    port: int = Field(default=8000, ge=0, le=65_535, description="the port to listen on; 0 takes a free one")
    state: Path = Field(
        default=Path("saeindex-server"), description="the folder of keys, jobs and what waits to be indexed"
    )
    folder: Path | None = Field(
        default=None, description="a folder whose indexes are served, and where requests make new ones"
    )
    warm: bool = Field(default=False, description="load what first searches read before the server is ready")
    hosts: Several = Field(
        default=(),
        description="names (a,b) by which it is called, beside those of loopback; empty for any, with keys",
    )
    cors_origins: Several = Field(
        default=(), description="origins, separated by commas, whose pages may call it; none by default"
    )
    rerankers: Several = Field(
        default=(),
        description="models (a,b) that requests may rerank with: CrossEncoders, by name or folder; no others",
    )
    workbench: bool = Field(
        default=True, description="show the workbench to browsers, at /ui, if the extra ui is installed"
    )
    log_texts: bool = Field(
        default=False, description="write what is asked to the log: paths, queries and JSON bodies"
    )
    max_body_bytes: int = Field(default=32 * 2**20, ge=1_000, description="bytes of a request's JSON")
    max_upload_bytes: int = Field(default=4 * 2**30, ge=1_000, description="bytes of one NDJSON upload")
    max_spool_bytes: int = Field(
        default=16 * 2**30, ge=1_000, description="bytes of all that waits to be indexed"
    )
    max_jobs: int = Field(default=100, ge=1, description="jobs that wait or run at a time")
    max_jobs_of_key: int = Field(default=25, ge=1, description="jobs of one key that wait or run at a time")
    max_results: int = Field(default=1_000, ge=1, description="finished jobs that are kept")
    max_running: int = Field(default=8, ge=1, le=256, description="requests that are computed at a time")
    max_waiting: int = Field(
        default=24, ge=0, description="requests that wait for one of them; further ones are shed"
    )
    timeout: float = Field(
        default=30.0, gt=0, description="seconds after which a request is answered with 504"
    )
    body_timeout: float = Field(
        default=60.0, gt=0, description="seconds in which a body must come, and each 4 KiB of an upload"
    )
    analysis_timeout: float = Field(
        default=3_600.0, gt=0, description="seconds after which an analysis is stopped"
    )
    analysis_memory: int = Field(
        default=0, ge=0, description="bytes that the analysis process may take; 0 for any"
    )
    shutdown: float = Field(default=20.0, gt=0, description="seconds that running requests get at the end")

    @property
    def is_loopback(self) -> bool:
        """Whether only this machine can call the server."""
        return self.host in LOOPBACK


def read_settings(given: dict[str, Any]) -> ServerSettings:
    """Return the settings; InvalidInputError for a value that cannot be used, or a variable that is none."""
    known = sorted(f"{PREFIX}{name.upper()}" for name in ServerSettings.model_fields)
    for name in sorted(os.environ):
        if name.upper().startswith(PREFIX) and name.upper() not in known:
            raise unknown_option(name, known, "the server's settings")
    try:
        return ServerSettings(**{name: value for name, value in given.items() if value is not None})
    except ValidationError as error:
        fault = error.errors(include_url=False, include_input=False)[0]
        name = str(fault["loc"][0]) if fault["loc"] else "settings"
        do = f"Correct --{name.replace('_', '-')} or {PREFIX}{name.upper()}."
        raise InvalidInputError(f"the server's setting {name}", fault["msg"], do) from None
