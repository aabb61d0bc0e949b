"""Who may do what: every route with no key, a wrong key, each scope; and what a key with a filter sees."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import httpx2
import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient
from saeindex_server.app import create_app
from saeindex_server.settings import ServerSettings

from benchmarks.suites.server.samples import MUSIC, SAMPLES, filled
from saeindex import FeatureSpace
from tests.samples import sample_records
from tests.server.conftest import HOST, DocumentsOnce, made_index

OWN = 'metadata.topic IN ("music", "weather", "cooking")'
TOPICS = {"music", "weather", "cooking"}
RECORDS = sample_records(400, seed=77)
OWN_RECORDS = [record for record in RECORDS if record.metadata["topic"] in TOPICS]
IDS = {f"ID{i}": record.id for i, record in enumerate(OWN_RECORDS[:2])}
READING = [r for r, s in SAMPLES.items() if s.reads and "/v1/jobs" not in r[1]]
TERMS = ("concepts/learn", "concepts/define")
WRITING = [r for r, s in SAMPLES.items() if s.scope in ("write", "admin")]
# What belongs to one index or to one moment.
OF_ITS_OWN = {"created", "timings_ms", "seconds", "ms", "total_ms", "request_id", "revision", "store"}


class Served:
    """A server with a key of each kind."""

    def __init__(self, app: FastAPI, client: TestClient) -> None:
        self.client, keys = client, app.state.service.keys
        self.keys = {scope: keys.create(scope, [scope])[1] for scope in ("read", "write", "analyse", "admin")}
        self.keys["both"] = keys.create("both", ["read", "analyse"])[1]
        self.keys["filtered"] = keys.create("filtered", ["read", "analyse"], where=OWN)[1]
        self.keys["other"] = keys.create("other", ["read", "analyse"], indexes=["elsewhere"])[1]
        self.keys["writing"] = keys.create("writing", ["read", "write"])[1]

    def ask(self, route: tuple[str, str], key: str | None, job: str = "none") -> httpx2.Response:
        """Ask a route with its sample request."""
        method, template = route
        values = {**IDS, "JOB": job, "ADDING": job, "FEATURE": self.feature, "NAMES": {}, "PROFILE": {}}
        sample = filled(SAMPLES[route], values)
        headers = {} if key is None else {"Authorization": f"Bearer {self.keys.get(key, key)}"}
        url = template.format(name="papers", **sample.path)
        return self.client.request(method, url, json=sample.body, params=sample.params, headers=headers)

    feature = "0"


@pytest.fixture(scope="module")
def served(
    tmp_path_factory: pytest.TempPathFactory,
    space: FeatureSpace,
    documents_once: DocumentsOnce,
    own_cache: None,
) -> Iterator[Served]:
    folder = tmp_path_factory.mktemp("whole")
    made_index(folder / "papers.idx", space, documents_once, RECORDS, like=[RECORDS[0].id])
    app = create_app(ServerSettings(state=folder / "state", workbench=False), [str(folder / "papers.idx")])
    with TestClient(app, base_url=HOST) as client:
        served = Served(app, client)
        served.feature = _frequent(served)
        yield served


@pytest.fixture(scope="module")
def alone(
    tmp_path_factory: pytest.TempPathFactory,
    space: FeatureSpace,
    documents_once: DocumentsOnce,
    served: Served,
) -> Iterator[Served]:
    """A server of only the records that the filter of a key selects."""
    folder = tmp_path_factory.mktemp("alone")
    made_index(folder / "papers.idx", space, documents_once, OWN_RECORDS)
    app = create_app(ServerSettings(state=folder / "state", workbench=False), [str(folder / "papers.idx")])
    with TestClient(app, base_url=HOST) as client:
        alone = Served(app, client)
        alone.feature = served.feature
        yield alone


def _frequent(served: Served) -> str:
    """Return a feature of many records."""
    found = served.ask(("POST", "/v1/indexes/{name}/concepts/facets"), "read").json()
    return str(max(found["result"], key=lambda one: one["count"])["features"][0])


def routes_of(app: FastAPI) -> set[tuple[str, str]]:
    paths = app.openapi()["paths"]
    return {(method.upper(), path) for path, methods in paths.items() for method in methods}


def test_every_route_has_a_sample_request(served: Served) -> None:
    app = served.client.app
    assert isinstance(app, FastAPI)
    assert routes_of(app) == set(SAMPLES)


@pytest.mark.parametrize("route", SAMPLES, ids=" ".join)
def test_a_route_is_closed_without_a_key_and_with_a_wrong_one(served: Served, route: tuple[str, str]) -> None:
    right = served.keys["admin"]
    wrong = [
        None,
        "",
        "nonsense",
        right[:-1] + ("a" if right[-1] != "a" else "b"),
        "sae_000000000000_" + "a" * 43,
    ]
    for key in wrong:
        found = served.ask(route, key)
        if SAMPLES[route].scope == "":
            assert found.status_code == 200
        else:
            assert found.status_code == 401
            assert found.headers["www-authenticate"].startswith("Bearer")
            assert set(found.json()) >= {"asked", "found", "do"}


@pytest.mark.parametrize("route", [r for r, s in SAMPLES.items() if s.scope], ids=" ".join)
def test_a_route_needs_its_scope(served: Served, route: tuple[str, str]) -> None:
    needed = SAMPLES[route].scope
    is_of_a_job = "{identity}" in route[1] and "jobs" in route[1]
    for scope in ("read", "write", "analyse"):
        if scope == needed and route[1].endswith(TERMS):
            continue  # the index would have terms that one of its own records has not
        found = served.ask(route, scope)
        if is_of_a_job:  # a job of its own any key may see; this one is of none
            assert found.status_code == 404
        elif route == ("GET", "/v1/jobs"):
            assert found.status_code == 200
        elif scope != needed:
            assert found.status_code == 403, scope
            assert needed in found.json()["asked"]
        else:
            assert found.status_code not in (401, 403)


@pytest.mark.parametrize("route", [r for r, s in SAMPLES.items() if "{name}" in r[1]], ids=" ".join)
def test_a_key_of_another_index_does_not_learn_that_this_one_exists(
    served: Served, route: tuple[str, str]
) -> None:
    found = served.ask(route, "other")
    assert found.status_code == 404
    absent = served.client.get(
        "/v1/indexes/absent", headers={"Authorization": f"Bearer {served.keys['other']}"}
    )
    assert found.json()["found"] == absent.json()["found"]


@pytest.mark.parametrize("route", WRITING, ids=" ".join)
def test_a_key_with_a_filter_writes_nothing(served: Served, route: tuple[str, str]) -> None:
    assert served.ask(route, "filtered").status_code == 403


@pytest.mark.parametrize("route", READING, ids=" ".join)
def test_a_key_with_a_filter_gets_what_an_index_of_only_its_records_answers(
    served: Served, alone: Served, route: tuple[str, str]
) -> None:
    whole = served.ask(route, "both")  # what another key asked before must not show
    found = served.ask(route, "filtered")
    expected = alone.ask(route, "both")
    assert found.status_code == expected.status_code
    assert _told(found) == _told(expected)
    again = served.ask(route, "filtered")
    assert _told(again) == _told(expected)
    assert _told(served.ask(route, "both")) == _told(whole)


def test_the_whole_index_answers_otherwise(served: Served, alone: Served) -> None:
    """The records differ, or the test above would prove nothing."""
    alike = [r for r in READING if _told(served.ask(r, "both")) == _told(alone.ask(r, "both"))]
    assert {path for _, path in alike} <= {
        "/v1/embeddings", "/v1/indexes/{name}/count", "/v1/models", "/v1/models/{name}",
        "/v1/indexes/{name}/features", "/v1/indexes/{name}/concepts/find", "/v1/indexes/{name}/compare",
    }  # fmt: skip


def test_jobs_results_and_events_are_those_of_the_key(served: Served) -> None:
    body = {"a": MUSIC}
    for key in ("filtered", "both"):
        headers = {"Authorization": f"Bearer {served.keys[key]}"}
        asked = served.client.post("/v1/indexes/papers/diff?wait=0", json=body, headers=headers)
        assert asked.status_code == 202
        job = asked.json()["id"]
        assert asked.headers["location"] == f"/v1/jobs/{job}"
        for suffix in ("", "/events", "/result"):
            others = [name for name in served.keys if name not in (key, "admin")]
            for other in others:
                theirs = {"Authorization": f"Bearer {served.keys[other]}"}
                assert served.client.get(f"/v1/jobs/{job}{suffix}", headers=theirs).status_code == 404
                assert job not in served.client.get("/v1/jobs", headers=theirs).text
        followed = served.client.get(f"/v1/jobs/{job}/events", headers=headers)
        assert "event: done" in followed.text
        admin = {"Authorization": f"Bearer {served.keys['admin']}"}
        assert served.client.get(f"/v1/jobs/{job}", headers=admin).json()["state"] == "done"
        sizes = served.client.get(f"/v1/jobs/{job}/result", headers=headers).json()["groups"]
        count = served.client.post("/v1/indexes/papers/count", json={}, headers=headers).json()["result"]
        assert sum(sizes.values()) == count
        assert (count == len(OWN_RECORDS)) == (key == "filtered")


def test_a_key_ends_when_it_is_revoked(served: Served) -> None:
    app = served.client.app
    assert isinstance(app, FastAPI)
    keys = app.state.service.keys
    key, text = keys.create("short", ["read"])
    headers = {"Authorization": f"Bearer {text}"}
    assert served.client.get("/v1/indexes", headers=headers).status_code == 200
    keys.revoke(key.id)
    assert served.client.get("/v1/indexes", headers=headers).status_code == 401


def _told(response: httpx2.Response) -> Any:
    """Return a response without what belongs to one index or one moment."""
    kind = response.headers.get("content-type", "")
    if "ndjson" in kind:
        return sorted(response.text.splitlines())
    if "json" not in kind:
        return response.text
    return _plain(response.json())


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _plain(one) for name, one in value.items() if name not in OF_ITS_OWN}
    return [_plain(one) for one in value] if isinstance(value, list) else value
