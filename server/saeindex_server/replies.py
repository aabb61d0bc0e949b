"""What responses hold: their models for the documentation, and their bytes."""

from __future__ import annotations

import json
from typing import Any, Literal

from fastapi import Response
from pydantic import BaseModel, ConfigDict, Field

from saeindex_server.problems import documented

# The problems that every route of an index may answer with.
PROBLEMS = (400, 401, 403, 404, 413, 422, 429, 503, 504)
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


class FieldsReply(Reply):
    """The metadata fields of an index."""

    fields: list[JsonDict]


class CountReply(Reply):
    """A number of records."""

    count: int


class ActivationReply(Reply):
    """A feature that a record has."""

    id: int
    label: str
    activation: float
    is_weak: bool


class HitReply(Reply):
    """A scored record."""

    id: str
    score: float
    text: str
    metadata: JsonDict
    document: str | None
    features: list[ActivationReply]
    explanation: JsonDict | None
    steered: JsonDict | None


class GroupReply(Reply):
    """The hits of a group, by id."""

    value: str | int | float | bool
    hits: list[str]


class HitsReply(Reply):
    """Hits, best first, with the plan of the query and the time of each stage."""

    query: JsonDict
    plan: JsonDict
    drift: float
    feedback: JsonDict | None
    hits: list[HitReply]
    groups: list[GroupReply]
    timings_ms: dict[str, float]


class ManyReply(Reply):
    """The hits of several queries, in their order."""

    results: list[HitsReply]


class FacetsReply(Reply):
    """Concepts of a query's results."""

    facets: list[JsonDict]


class ExclusionsReply(Reply):
    """Concepts that could be excluded."""

    exclusions: list[JsonDict]


class MatchReply(Reply):
    """A feature that matches a phrase."""

    id: int
    label: str
    score: float
    trust: float | None
    is_weak: bool
    density: float
    example: str
    kind: str


class MatchesReply(Reply):
    """Features that match a phrase, best first."""

    phrase: str
    features: list[MatchReply]


class CardReply(Reply):
    """One feature in one index."""

    id: int
    label: str
    kind: str
    trust: float | None
    is_weak: bool
    strongest: list[JsonDict]
    similar: list[JsonDict]


class CompanionsReply(Reply):
    """Features that occur with a feature more often than by chance."""

    companions: list[JsonDict]


class ConceptReply(Reply):
    """The features that a phrase or #id resolves to."""

    phrase: str
    features: list[JsonDict]


class LabelReply(Reply):
    """A feature's name after a change."""

    feature: int
    label: str
    kind: str
    is_weak: bool


class NamesReply(Reply):
    """A person's own names and hidden features, and how it came to them."""

    names: JsonDict
    history: list[JsonDict]


class NamesTakenReply(Reply):
    """The number of features whose names were taken over."""

    features: int


class RecordsReply(Reply):
    """Records, and the ids of which there is none."""

    records: list[JsonDict]
    missing: list[str]


class PageReply(Reply):
    """A page of records; ``next`` is the cursor of the next page, null at the end."""

    records: list[JsonDict]
    next: str | None


class DeletedReply(Reply):
    """The number of deleted records."""

    deleted: int


class ProfilesReply(Reply):
    """The names of the saved steering profiles."""

    profiles: list[str]


class ProfileReply(Reply):
    """A steering profile."""

    name: str
    like: list[str]
    unlike: list[str]
    direction: JsonDict


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


class AnalysisReply(Reply):
    """What an analysis found, as the command prints it with `--json`."""


class StateReply(Reply):
    """Whether the server lives, or is ready."""

    status: str
