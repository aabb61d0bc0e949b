"""One request for every route, and the scope that it needs."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

INDEX = "/v1/indexes/{name}"
MUSIC = 'metadata.topic = "music"'


@dataclass(frozen=True)
class Sample:
    """A request: parts of its path, its query and its body; ``scope`` is "" where no key is needed."""

    scope: str
    body: Any = None
    path: dict[str, str] = field(default_factory=dict)
    params: dict[str, Any] = field(default_factory=dict)

    @property
    def reads(self) -> bool:
        """Whether a key with a filter may ask it."""
        return self.scope in ("read", "analyse")


# By method and path. "JOB" stands for a job of the caller, "ADDING" for one that adds records,
# "NAMES" and "PROFILE" for what `concepts/names` and `profiles/get` returned.
SAMPLES: dict[tuple[str, str], Sample] = {
    ("GET", "/"): Sample(""),
    ("GET", "/livez"): Sample(""),
    ("GET", "/readyz"): Sample(""),
    ("GET", "/metrics"): Sample("admin"),
    ("GET", "/v1/indexes"): Sample("read"),
    ("POST", "/v1/indexes"): Sample("admin", {"name": "papers"}),
    ("GET", f"{INDEX}/backup"): Sample("admin"),
    ("DELETE", INDEX): Sample("admin"),
    ("GET", "/v1/models"): Sample("read"),
    ("GET", "/v1/models/{name}"): Sample("read"),
    ("GET", INDEX): Sample("read"),
    ("POST", f"{INDEX}/search"): Sample("read", {"text": "violin in the rain", "explain": True, "limit": 8}),
    ("POST", f"{INDEX}/search_many"): Sample(
        "read", {"queries": [{"text": "thunder", "steer": "+music:0.5"}, {"where": '"rain"'}]}
    ),
    ("POST", f"{INDEX}/plan"): Sample("read", {"text": "soup", "where": '"cooking" OR NOT "rain"'}),
    ("POST", f"{INDEX}/compare"): Sample("read", {"text": "opera", "a": "ID0", "b": "ID1"}),
    ("POST", "/v1/embeddings"): Sample("read", {"input": ["a text", "another"], "model": "papers"}),
    ("POST", "/v1/vector_stores/{name}/search"): Sample("read", {"query": "the tax reform"}),
    ("POST", f"{INDEX}/context"): Sample(
        "read", {"text": "the tax reform", "budget_tokens": 200, "never": ["soup"]}
    ),
    ("POST", f"{INDEX}/scroll"): Sample("read", {"limit": 5, "include": ["concepts"]}),
    ("POST", f"{INDEX}/get"): Sample("read", {"ids": ["ID0", "doc-0", "doc-1", "doc-2"]}),
    ("POST", f"{INDEX}/count"): Sample("read", {"where": "metadata.year > 2000"}),
    ("POST", f"{INDEX}/sample"): Sample("read", {"size": 3, "seed": 1}),
    ("POST", f"{INDEX}/facets"): Sample("read", {"field": "metadata.topic"}),
    ("POST", f"{INDEX}/update"): Sample("write", {"ids": ["none"], "set": {"seen": True}}),
    ("PATCH", f"{INDEX}/records"): Sample("write", {"ids": ["none"], "remove": ["seen"]}),
    ("POST", f"{INDEX}/delete"): Sample("write", {"ids": ["none"]}),
    ("POST", f"{INDEX}/records"): Sample("write", {"records": [{"id": "new", "text": "A new record."}]}),
    ("POST", f"{INDEX}/metadata_fields"): Sample("read", {}),
    ("GET", f"{INDEX}/features"): Sample("read", params={"q": "a thunderstorm"}),
    ("GET", f"{INDEX}/features/{{feature}}"): Sample("read", path={"feature": "7"}),
    ("POST", f"{INDEX}/concepts/find"): Sample("read", {"phrase": "a thunderstorm"}),
    ("POST", f"{INDEX}/concepts/resolve"): Sample("read", {"target": "violin"}),
    ("POST", f"{INDEX}/concepts/card"): Sample("read", {"feature": 7}),
    ("POST", f"{INDEX}/concepts/facets"): Sample("read", {"text": "an instrument"}),
    ("POST", f"{INDEX}/concepts/exclusions"): Sample("read", {"text": "an instrument"}),
    ("POST", f"{INDEX}/concepts/companions"): Sample("analyse", {"feature": "FEATURE"}),
    ("POST", f"{INDEX}/concepts/rename"): Sample("write", {"feature": 7, "label": "mine"}),
    ("POST", f"{INDEX}/concepts/define"): Sample(
        "write", {"concept": "late delivery", "examples": ["It came a week late.", "The parcel was late."]}
    ),
    ("POST", f"{INDEX}/concepts/hide"): Sample("write", {"feature": 9}),
    ("POST", f"{INDEX}/concepts/history"): Sample("read", {}),
    ("POST", f"{INDEX}/concepts/names"): Sample("read", {}),
    ("POST", f"{INDEX}/concepts/take_names"): Sample("write", {"names": "NAMES"}),
    ("POST", f"{INDEX}/concepts/learn"): Sample("write", {}),
    ("POST", f"{INDEX}/profiles/names"): Sample("read", {}),
    ("POST", f"{INDEX}/profiles/fit"): Sample("write", {"profile": "mine", "like": ["ID0"]}),
    ("POST", f"{INDEX}/profiles/get"): Sample("read", {"profile": "theirs"}),
    ("POST", f"{INDEX}/profiles/save"): Sample("write", {"profile": "PROFILE"}),
    ("POST", f"{INDEX}/profiles/edit"): Sample("write", {"profile": "theirs", "edits": {"7": 0.1}}),
    ("POST", f"{INDEX}/profiles/delete"): Sample("write", {"profile": "none"}),
    ("POST", f"{INDEX}/diff"): Sample("analyse", {"a": MUSIC}),
    ("POST", f"{INDEX}/correlate"): Sample("analyse", {"min_support": 3, "limit": 20}),
    ("POST", f"{INDEX}/triggers"): Sample("analyse", {"behaviour": "is sad=feeling sad", "prompt_field": ""}),
    ("POST", f"{INDEX}/cluster"): Sample("analyse", {"axis": "subject: music, weather, cooking"}),
    ("POST", f"{INDEX}/drift"): Sample("analyse", {"over": "metadata.year"}),
    ("POST", f"{INDEX}/monitor"): Sample(
        "analyse", {"reference": "metadata.year < 2010", "window": "metadata.year >= 2010"}
    ),
    ("POST", f"{INDEX}/baseline"): Sample("analyse", {"where": "metadata.year < 2010"}),
    ("POST", f"{INDEX}/describe"): Sample("analyse", {"records": MUSIC}),
    ("POST", f"{INDEX}/evaluate"): Sample("analyse", {"drafts": 20}),
    ("GET", "/v1/jobs"): Sample("read"),
    ("GET", "/v1/jobs/{identity}"): Sample("read", path={"identity": "JOB"}),
    ("DELETE", "/v1/jobs/{identity}"): Sample("analyse", path={"identity": "JOB"}),
    ("GET", "/v1/jobs/{identity}/events"): Sample("read", path={"identity": "JOB"}),
    ("GET", "/v1/jobs/{identity}/result"): Sample("read", path={"identity": "JOB"}),
    ("GET", "/v1/jobs/{identity}/rejects"): Sample("read", path={"identity": "ADDING"}),
}


def filled(sample: Sample, values: Mapping[str, Any]) -> Sample:
    """Return a request with values in place of the words that stand for them."""
    text = json.dumps([sample.body, sample.path, sample.params])
    for name, value in values.items():
        text = text.replace(f'"{name}"', json.dumps(value))
    body, path, params = json.loads(text)
    return Sample(sample.scope, body, path, params)
