"""What responses hold: their schemas for the documentation, and their bytes."""

from __future__ import annotations

import json
from typing import Any, Literal

from fastapi import Response
from pydantic import BaseModel, ConfigDict, Field

from saeindex.operations.operation import Operation
from saeindex_server.problems import documented

# The problems that every route of an index may answer with.
PROBLEMS = (400, 401, 403, 404, 408, 413, 421, 422, 429, 503, 504)
JSON = "application/json"
JsonDict = dict[str, Any]


def reply(value: Any, status: int = 200, headers: dict[str, str] | None = None) -> Response:
    """Return a value as JSON."""
    return Response(encoded(value), status, headers, JSON)


def encoded(value: Any) -> bytes:
    """Return a value as JSON bytes; for large results, on the thread that computed them."""
    return json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode(
        errors="surrogatepass"
    )


def problems(*more: int) -> dict[int | str, dict[str, Any]]:
    """Return the documented problems of a route."""
    return documented(*sorted({*PROBLEMS, *more}))


def schema_name(kind: type[Operation[Any]], part: str = "Request") -> str:
    """Return the name of an operation's request, or result, in the documentation."""
    return "".join(one.capitalize() for one in kind.name.replace("/", "_").split("_")) + part


def body_of(kind: type[Operation[Any]]) -> dict[str, Any]:
    """Return the body of an operation, for its documentation."""
    return body_named(schema_name(kind))


def body_named(name: str) -> dict[str, Any]:
    """Return the body of a route, for its documentation."""
    schema = {"$ref": f"#/components/schemas/{name}"}
    return {"requestBody": {"required": True, "content": {JSON: {"schema": schema}}}}


def result_of(kind: type[Operation[Any]]) -> dict[int | str, dict[str, Any]]:
    """Return the response of an operation, for its documentation."""
    schema = {"$ref": f"#/components/schemas/{schema_name(kind, 'Result')}"}
    return {200: {"description": "The result", "content": {JSON: {"schema": schema}}}}


class Reply(BaseModel):
    """A response; further fields may come with later versions."""

    model_config = ConfigDict(extra="allow")


class IndexReply(Reply):
    """An index: its counts, space, encoder and settings."""

    name: str
    records: int
    documents: int
    truncated: int
    revision: str
    store: str
    profiles: list[str]


class IndexesReply(Reply):
    """The indexes that the key is for."""

    indexes: list[IndexReply]


class JobReply(Reply):
    """A job."""

    id: str
    kind: str
    state: Literal["queued", "running", "done", "failed", "cancelled"]
    index: str
    read: int = Field(description="records that are done")
    total: int | None
    report: JsonDict | None
    error: JsonDict | None
    created: str
    started: str | None
    finished: str | None
    kept_bytes: int = Field(description="bytes of its upload, until it is indexed or the job is deleted")
    waits_for: str | None = Field(description="what has to be so before a queued job begins")
    links: dict[str, str]


class JobsReply(Reply):
    """Jobs, the newest first; ``next`` is the cursor of the next page, null at the end."""

    jobs: list[JobReply]
    next: str | None


class EmbeddingReply(Reply):
    """One embedding: a list of numbers, or little-endian float32 in base64."""

    object: Literal["embedding"]
    index: int
    embedding: list[float] | str


class EmbeddingsReply(Reply):
    """Embeddings in OpenAI's form."""

    object: Literal["list"]
    data: list[EmbeddingReply]
    model: str
    usage: JsonDict


class FoundReply(Reply):
    """A record that was found, in OpenAI's form: its document, or itself, is the file."""

    file_id: str
    filename: str
    score: float
    attributes: JsonDict
    content: list[dict[str, str]]


class VectorStoreReply(Reply):
    """What a search found, in OpenAI's form; there is one page."""

    object: Literal["vector_store.search_results.page"]
    search_query: list[str]
    data: list[FoundReply]
    has_more: bool
    next_page: str | None


class ServerReply(Reply):
    """What the server is, and where its description and its indexes are."""

    name: str
    version: str
    openapi: str
    indexes: str


class ModelReply(Reply):
    """A model in OpenAI's form: an index, whose encoder embeds."""

    id: str
    object: str = "model"
    created: int
    owned_by: str


class ModelsReply(Reply):
    """The models that the key is for, in OpenAI's form."""

    object: str
    data: list[ModelReply]


class StateReply(Reply):
    """Whether the server lives, or is ready."""

    status: str
    waits_for: str | None = Field(None, description="what records wait for before they are indexed")
