"""What requests take that is no operation of an index, and what responses hold: schemas and bytes."""

from __future__ import annotations

import json
from typing import Any, Literal, TypeAlias

from fastapi import Response
from pydantic import BaseModel, Field

from saeindex.operations.operation import Operation
from saeindex_server.problems import documented

# The problems that every route of an index may answer with.
PROBLEMS = (400, 401, 403, 404, 408, 413, 421, 422, 429, 503, 504)
JSON = "application/json"
JsonDict: TypeAlias = dict[str, Any]


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


def body_named(name: str) -> dict[str, Any]:
    """Return the body of a route, for its documentation."""
    schema = {"$ref": f"#/components/schemas/{name}"}
    return {"requestBody": {"required": True, "content": {JSON: {"schema": schema}}}}


def result_of(kind: type[Operation[Any]]) -> dict[int | str, dict[str, Any]]:
    """Return the response of an operation, for its documentation."""
    schema = {"$ref": f"#/components/schemas/{schema_name(kind, 'Result')}"}
    return {200: {"description": "The result", "content": {JSON: {"schema": schema}}}}


class Reply(BaseModel, extra="allow"):
    """A response; further fields may come with later versions."""


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


class Body(BaseModel, extra="forbid", allow_inf_nan=False):
    """The body of a request: what is declared, and nothing else."""


class RecordBody(Body):
    """A record to index."""

    id: str | int | None = Field(None, description="an id; without one, it is made of the record")
    text: str
    metadata: JsonDict = {}
    fields: dict[str, str] = {}
    document: str | None = Field(None, description="the longer text that it is a piece of")
    vector: list[float] | None = Field(
        None, max_length=65_536, description="that of the text, by the encoder of the index"
    )


class RecordsBody(Body):
    """Records to index."""

    records: list[RecordBody] = Field(min_length=1, max_length=100_000)


class CreateBody(Body):
    """An index to make: what it keeps, as ``FeatureIndex.create`` takes it."""

    name: str = Field(description="up to 80 letters, digits, dots, - and _")
    space: str | None = Field(None, description="the name of a feature space of the package")
    fields: list[str] = Field([], max_length=32, description="further texts of a record")
    sentences: Literal["stored", "codes", "off"] | None = None
    words: str | None = Field(None, description="the language of its words, or off")
    payload_indexes: dict[str, str] = Field({}, max_length=100, description="kinds of indexes, by field")
    quantization: Literal["int8"] | None = None


class EmbeddingsBody(BaseModel, extra="ignore"):
    """A request in OpenAI's form; fields that other services know are ignored."""

    input: str | list[str] | list[int] | list[list[int]] = Field(
        description="a text, or up to 2,048 of them; token ids are refused"
    )
    model: str = Field(description="the index whose encoder is used", examples=["papers"])
    encoding_format: Literal["float", "base64"] | None = None
    dimensions: int | None = None
    user: str | None = None


class VectorStoreBody(BaseModel, extra="ignore"):
    """A search in OpenAI's form; fields that other services know are ignored."""

    query: str | list[str] = Field(description="the text to search for; several are one text")
    max_num_results: int = Field(10, ge=1, le=50)
    filters: JsonDict | None = Field(
        None, description="a comparison (type, key, value) of a metadata field, or filters under and, or"
    )
    ranking_options: JsonDict | None = Field(None, description="score_threshold, the least score")


# What a request may look like, by the name of its operation or model.
MUSIC = 'metadata.topic = "music"'
EXAMPLES: dict[str, JsonDict] = {
    "search": {"text": "galaxies", "where": 'NOT "simulation"', "steer": "+theory:0.4", "limit": 5},
    "search_many": {"queries": ["galaxies", {"text": "rain", "limit": 3}]},
    "context": {"text": "How do galaxies rotate?", "budget_tokens": 300, "never": ["simulation"]},
    "plan": {"text": "galaxies", "where": 'NOT "simulation"'},
    "compare": {"text": "galaxies", "a": "doc-1", "b": "doc-2"},
    "get": {"ids": ["doc-1", "doc-2"]},
    "scroll": {"where": MUSIC, "limit": 20},
    "sample": {"size": 20, "where": MUSIC},
    "count": {"where": MUSIC},
    "update": {"ids": ["doc-1"], "set": {"status": "read"}, "remove": ["due"]},
    "delete": {"ids": ["doc-1"]},
    "metadata_fields": {},
    "facets": {"field": "metadata.year", "where": MUSIC},
    "diff": {"a": "metadata.year < 2010", "b": "metadata.year >= 2010"},
    "describe": {"records": MUSIC},
    "correlate": {"min_support": 5, "limit": 20},
    "triggers": {"behaviour": "refuses=declines to answer; against: answers"},
    "cluster": {"axis": "tone: angry, calm, joking"},
    "drift": {"over": "metadata.year"},
    "monitor": {"reference": "metadata.year < 2015", "window": "metadata.year >= 2015"},
    "baseline": {"where": "metadata.year < 2015"},
    "evaluate": {"questions": [{"text": "galaxies", "relevant": ["doc-1"]}], "searches": {"default": {}}},
    "concepts/find": {"phrase": "music"},
    "concepts/resolve": {"target": "music"},
    "concepts/card": {"feature": 7},
    "concepts/facets": {"text": "galaxies", "limit": 10},
    "concepts/exclusions": {"text": "galaxies", "limit": 10},
    "concepts/companions": {"feature": 7},
    "concepts/rename": {"feature": 7, "label": "stringed instruments"},
    "concepts/hide": {"feature": 7},
    "concepts/history": {},
    "concepts/names": {},
    "concepts/take_names": {"names": {"features_of": "…", "names": {"7": "my name"}, "hidden": []}},
    "concepts/learn": {},
    "profiles/fit": {"profile": "mine", "like": ["doc-1", "doc-2"], "unlike": ["doc-3"]},
    "profiles/names": {},
    "profiles/get": {"profile": "mine"},
    "profiles/edit": {"profile": "mine", "edits": {"7": 0.2}},
    "profiles/delete": {"profile": "mine"},
    "EmbeddingsBody": {"input": ["a text", "another"], "model": "papers"},
    "VectorStoreBody": {"query": "galaxies", "max_num_results": 5},
    "CreateBody": {"name": "papers", "payload_indexes": {"metadata.year": "integer-range"}},
    "RecordsBody": {"records": [{"id": "a1", "text": "Galaxies rotate.", "metadata": {"year": 2021}}]},
}
