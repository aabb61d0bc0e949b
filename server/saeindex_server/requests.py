"""What requests take that is no operation of an index: records to index, and texts to embed."""

from __future__ import annotations

from typing import Any, Literal, TypeAlias

from pydantic import BaseModel, ConfigDict, Field

JsonDict: TypeAlias = dict[str, Any]


class Body(BaseModel):
    """The body of a request: what is declared, and nothing else."""

    model_config = ConfigDict(extra="forbid", allow_inf_nan=False)


class RecordBody(Body):
    """A record to index."""

    id: str | int | None = Field(None, description="an id; without one, it is made of the record")
    text: str
    metadata: JsonDict = {}
    fields: dict[str, str] = {}
    document: str | None = Field(None, description="the longer text that it is a piece of")


class RecordsBody(Body):
    """Records to index."""

    records: list[RecordBody] = Field(min_length=1, max_length=100_000)


class EmbeddingsBody(BaseModel):
    """A request in OpenAI's form; fields that other services know are ignored."""

    model_config = ConfigDict(extra="ignore")

    input: str | list[str] | list[int] | list[list[int]] = Field(
        description="a text, or up to 2,048 of them; token ids are refused"
    )
    model: str = Field(description="the index whose encoder is used", examples=["papers"])
    encoding_format: Literal["float", "base64"] | None = None
    dimensions: int | None = None
    user: str | None = None


class VectorStoreBody(BaseModel):
    """A search in OpenAI's form; fields that other services know are ignored."""

    model_config = ConfigDict(extra="ignore")

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
    "count": {"where": MUSIC},
    "delete": {"ids": ["doc-1"]},
    "metadata_fields": {},
    "diff": {"a": "metadata.year < 2010", "b": "metadata.year >= 2010"},
    "describe": {"records": MUSIC},
    "correlate": {"min_support": 5, "limit": 20},
    "triggers": {"behaviour": "refuses=declines to answer; against: answers"},
    "cluster": {"axis": "tone: angry, calm, joking"},
    "drift": {"over": "metadata.year"},
    "monitor": {"reference": "metadata.year < 2015", "window": "metadata.year >= 2015"},
    "baseline": {"where": "metadata.year < 2015"},
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
    "RecordsBody": {"records": [{"id": "a1", "text": "Galaxies rotate.", "metadata": {"year": 2021}}]},
}
