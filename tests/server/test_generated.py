"""Requests generated from the description: each route takes most of those that are near a good one.

``python -m tests.server.test_generated 50`` sends 50 requests to each route, and prints how they went.
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from fastapi import FastAPI
from fastapi.testclient import TestClient
from saeindex_server.app import create_app
from saeindex_server.settings import ServerSettings

from benchmarks.suites.server.generated import Tried, tried
from saeindex import FeatureSpace, open_encoder
from tests.samples import sample_records
from tests.server.conftest import HOST, DocumentsOnce, made_index

RECORDS = sample_records(240)
IDS = [one.id for one in RECORDS[:4]]
MUSIC, EARLY, LATE = 'metadata.topic = "music"', "metadata.year < 2007", "metadata.year >= 2007"
FILTER = {"must": [{"key": "metadata.topic", "match": {"value": "music"}}]}
VALUES: dict[str, list[Any]] = {
    "text": ["violin in the rain", "soup", "a storm over the sea"],
    "q": ["rain", "music", "a summer thunderstorm", "cooking"],
    "where": [MUSIC, EARLY, '"rain"', 'NOT "cooking"'],
    "query_filter": [FILTER],
    "steer": ["+music:0.5", "-rain:0.3", [{"target": "cooking", "strength": 0.4}]],
    "property": ["sounds sad", "is about food"],
    "against": [["sounds happy"], []],
    "like": [IDS[:2], []],
    "unlike": [IDS[2:], []],
    "ids": [IDS, IDS[:1]],
    "feedback": [{"description": "is sad"}],
    "rerank": [None],  # this server offers none
    "group_by": ["metadata.topic"],
    "field": [""],
    "other_field": [None],
    "other": [None],
    "DiffRequest.a": [MUSIC, FILTER, IDS],
    "DiffRequest.b": [EARLY],
    "CompareRequest.a": IDS[:2],
    "CompareRequest.b": IDS[2:],
    "groups": [{"music": MUSIC, "early": EARLY}],
    "by": ["metadata.topic"],
    "named": [["sad=feeling sad; against: being happy"], []],
    "concepts": [["sad=feeling sad; against: being happy"], []],
    "with_concepts": [["calm=a calm tone"], []],
    "strata": [["metadata.topic"], []],
    "unit": ["auto", None],
    "over": ["metadata.year"],
    "order": [None],
    "reference": [EARLY],
    "window": [LATE],
    "behaviour": ["sad=feeling sad; against: being happy", 7],
    "prompt_field": [""],
    "axis": ["subject: music, weather, cooking"],
    "ClusterRequest.examples": [{"music": IDS[:1]}],
    "edits": [{"7": 0.2}, {"7": 0.0}],
    "profile": ["theirs"],
    "feature": [7, "#9"],
    "label": ["mine"],
    "phrase": ["rain", "music"],
    "target": ["rain", "#7"],
    "DescribeRequest.records": [MUSIC, IDS],
    "documents": [None],
    "offset": [None, 0],
    "include": [["concepts"], []],
    "ConceptsCardRequest.examples": [5, 2],
    "assign": [["a violin in the rain"], []],
    "using": ["dense", "sae", "fused", "sentences"],
    "EmbeddingsBody.model": ["papers"],
    "EmbeddingsBody.input": ["a text", ["a text", "another"]],
    "cursor": [None],
    "queries": [
        [{"text": "thunder"}, {"where": MUSIC, "limit": 2}],
        [{"text": "soup", "explain": True}],
    ],
    "UpdateRequest.each": [{}, {}],
    "UpdateRequest.ids": [IDS],
    "UpdateRequest.where": [None],
    "UpdateRequest.query_filter": [None],
    "UpdateRequest.set": [{"seen": True}],
    "DeleteRequest.where": [None],
    "DeleteRequest.query_filter": [None],
    "DeleteRequest.ids": [IDS],
    "ScrollRequest.offset": [None],
    "ProfilesFitRequest.profile": ["mine", "others"],
}
EACH = 7


def asked(folder: Path, space: FeatureSpace, encoder: DocumentsOnce, each: int) -> Iterable[Tried]:
    """Yield how each route answered a key with every scope."""
    made_index(folder / "papers.idx", space, encoder, RECORDS, like=[IDS[0]])
    app: FastAPI = create_app(
        ServerSettings(state=folder / "state", workbench=False), [str(folder / "papers.idx")]
    )
    with TestClient(app, base_url=HOST, raise_server_exceptions=False) as client:
        key = app.state.service.keys.create("all", ["admin"])[1]
        client.headers["Authorization"] = f"Bearer {key}"
        made = [
            client.post(f"/v1/indexes/papers/{path}", json=body).headers["location"].split("/")[-1]
            for path, body in (("diff", {"a": MUSIC}), ("records", {"records": [{"text": "A new record."}]}))
        ]
        for job in made:
            client.get(f"/v1/jobs/{job}/events")  # until it has ended
        replaced: dict[str, Any] = {"INDEX": "papers", "ID0": IDS[0], "ID1": IDS[1], "FEATURE": "7"}
        replaced |= {"JOB": made[0], "ADDING": made[1]}
        names = client.post("/v1/indexes/papers/concepts/names", json={}).json()
        profile = client.post("/v1/indexes/papers/profiles/get", json={"profile": "theirs"}).json()
        values = {
            **VALUES,
            "ConceptsTakeNamesRequest.names": [names],
            "ProfilesSaveRequest.profile": [profile],
        }
        replaced |= {"NAMES": names, "PROFILE": profile}
        yield from tried(client, app.openapi(), values, replaced, each)


def test_generated_requests_are_answered_as_described(
    tmp_path: Path, space: FeatureSpace, documents_once: DocumentsOnce
) -> None:
    found = list(asked(tmp_path, space, documents_once, EACH))
    assert [fault for one in found for fault in one.faults] == []
    refused = {" ".join(one.route): dict(one.statuses) for one in found if one.accepted < 0.5}
    assert refused.keys() == {
        "POST /v1/indexes",
        "DELETE /v1/indexes/{name}",
    }  # it has no folder for new ones
    assert sum(one.count for one in found) >= 300


def main(each: int) -> None:
    """Print how each route answered; an error if one did not hold."""
    from saeindex.config import DEFAULT_SPACE

    with tempfile.TemporaryDirectory() as name:
        encoder, space = DocumentsOnce(open_encoder()), FeatureSpace.load(DEFAULT_SPACE)
        total, is_good = 0, True
        for one in asked(Path(name), space, encoder, each):
            told = ", ".join(f"{count} × {status}" for status, count in sorted(one.statuses.items()))
            print(f"{one.accepted:5.0%}  {' '.join(one.route)}: {told}", flush=True)
            for fault in one.faults:
                print(f"       {fault}", flush=True)
            total += one.count
            is_good &= not one.faults and one.accepted >= 0.5
        print(f"{total:,} requests")
    if not is_good:
        raise SystemExit(1)


if __name__ == "__main__":
    main(int(sys.argv[1]))
