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
# "NAMES" for what `GET …/names` returned.
SAMPLES: dict[tuple[str, str], Sample] = {
    ("GET", "/livez"): Sample(""),
    ("GET", "/readyz"): Sample(""),
    ("GET", "/metrics"): Sample("admin"),
    ("GET", "/v1/indexes"): Sample("read"),
    ("GET", INDEX): Sample("read"),
    ("POST", f"{INDEX}/search"): Sample("read", {"text": "violin in the rain", "explain": True, "limit": 8}),
    ("POST", f"{INDEX}/search/many"): Sample(
        "read", {"queries": [{"text": "thunder", "steer": "+music:0.5"}, {"where": '"rain"'}]}
    ),
    ("POST", f"{INDEX}/plan"): Sample("read", {"text": "soup", "where": '"cooking" OR NOT "rain"'}),
    ("POST", f"{INDEX}/explain-analyze"): Sample("read", {"text": "opera", "using": "fused"}),
    ("POST", f"{INDEX}/compare"): Sample("read", {"text": "opera", "a": "ID0", "b": "ID1"}),
    ("POST", f"{INDEX}/facets"): Sample("read", {"text": "an instrument"}),
    ("POST", f"{INDEX}/exclusions"): Sample("read", {"text": "an instrument"}),
    ("POST", f"{INDEX}/feedback"): Sample("read", {"feedback": {"description": "is sad"}, "accept": [7]}),
    ("POST", "/v1/embeddings"): Sample("read", {"input": ["a text", "another"], "model": "papers"}),
    ("GET", f"{INDEX}/records"): Sample("read", params={"limit": 5, "concepts": True}),
    ("GET", f"{INDEX}/records/{{identity}}"): Sample("read", path={"identity": "ID0"}),
    ("POST", f"{INDEX}/records/get"): Sample("read", {"ids": ["ID0", "doc-0", "doc-1", "doc-2"]}),
    ("POST", f"{INDEX}/records/count"): Sample("read", {"where": "metadata.year > 2000"}),
    ("POST", f"{INDEX}/records/export"): Sample("read", {"include": ["concepts"]}),
    ("POST", f"{INDEX}/records/delete"): Sample("write", {"ids": ["none"]}),
    ("POST", f"{INDEX}/records"): Sample("write", {"records": [{"id": "new", "text": "A new record."}]}),
    ("GET", f"{INDEX}/fields"): Sample("read"),
    ("GET", f"{INDEX}/features"): Sample("read", params={"q": "a thunderstorm"}),
    ("GET", f"{INDEX}/features/{{feature}}"): Sample("read", path={"feature": "7"}),
    ("PATCH", f"{INDEX}/features/{{feature}}"): Sample("write", {"name": "mine"}, {"feature": "7"}),
    ("GET", f"{INDEX}/features/{{feature}}/companions"): Sample("analyse", path={"feature": "FEATURE"}),
    ("GET", f"{INDEX}/concept"): Sample("read", params={"q": "violin"}),
    ("GET", f"{INDEX}/names"): Sample("read"),
    ("PUT", f"{INDEX}/names"): Sample("write", {"names": "NAMES"}),
    ("GET", f"{INDEX}/profiles"): Sample("read"),
    ("POST", f"{INDEX}/profiles"): Sample("write", {"name": "mine", "like": ["ID0"]}),
    ("GET", f"{INDEX}/profiles/{{profile}}"): Sample("read", path={"profile": "theirs"}),
    ("PATCH", f"{INDEX}/profiles/{{profile}}"): Sample("write", {"edits": {"7": 0.1}}, {"profile": "theirs"}),
    ("DELETE", f"{INDEX}/profiles/{{profile}}"): Sample("write", path={"profile": "none"}),
    ("POST", f"{INDEX}/diff"): Sample("analyse", {"a": MUSIC}),
    ("POST", f"{INDEX}/correlate"): Sample("analyse", {"min_support": 3, "limit": 20}),
    ("POST", f"{INDEX}/triggers"): Sample("analyse", {"behaviour": "is sad=feeling sad", "prompt_field": ""}),
    ("POST", f"{INDEX}/cluster"): Sample("analyse", {"axis": "subject: music, weather, cooking"}),
    ("POST", f"{INDEX}/drift"): Sample("analyse", {"over": "metadata.year"}),
    ("POST", f"{INDEX}/monitor"): Sample(
        "analyse", {"reference": "metadata.year < 2010", "window": "metadata.year >= 2010"}
    ),
    ("POST", f"{INDEX}/baseline"): Sample("analyse", {"where": "metadata.year < 2010"}),
    ("POST", f"{INDEX}/profile"): Sample("analyse", {"where": MUSIC}),
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
