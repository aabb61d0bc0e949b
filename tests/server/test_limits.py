"""What every request passes: sizes, depths, hosts, rates, load, headers; and what goes wrong, as problems."""

from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient
from saeindex_server.limits import MAX_DEPTH, check_depth
from saeindex_server.logs import LOGGER, JsonLines
from saeindex_server.problems import Refusal
from saeindex_server.settings import read_settings

from saeindex.errors import InvalidInputError
from tests.server.conftest import served

SEARCH = "/v1/indexes/papers/search"
JSON = {"Content-Type": "application/json"}


@pytest.mark.parametrize(
    ("body", "asked", "says"),
    [
        (b"{", "body", "JSON"),
        (b"[]", "body", "no JSON object"),
        (b'{"txet": "a"}', "search", "no option 'txet'"),
        (b'{"text": "a", "limit": 0}', "limit", ""),
        (b'{"limit": "many"}', "limit", "a str"),
        (b'{"text": "a", "where": "year >"}', "where", ""),
        (b'{"text": "a", "steer": "+nothing that is known:9999"}', "", ""),
        (b'{"score_threshold": NaN, "text": "a"}', "score_threshold", "finite"),
        (b'{"query_filter": {"must": [{"key": 1}]}, "text": "a"}', "", ""),
        (b'{"text": "\\ud800"}', "", ""),
    ],
)
def test_a_body_that_cannot_be_used_is_a_problem_that_says_what_to_do(
    client: TestClient, body: bytes, asked: str, says: str
) -> None:
    found = client.post(SEARCH, content=body, headers=JSON)
    assert found.status_code == 422, found.text
    assert found.headers["content-type"] == "application/problem+json"
    problem = found.json()
    assert set(problem) == {"type", "title", "status", "detail", "asked", "found", "do", "request_id"}
    assert asked in problem["detail"]
    assert says.lower() in problem["found"].lower()
    assert problem["do"]
    assert "Traceback" not in found.text


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/v1/nothing", 404),
        ("GET", "/v1/indexes/none", 404),
        ("GET", SEARCH, 405),
        ("GET", "/v1/jobs/none", 404),
        ("GET", "/v1/indexes/papers/features/999999", 404),
        ("POST", "/v1/indexes/papers/records/none", 404),
        ("POST", "/v1/indexes/papers/profiles/none", 404),
        ("GET", "/v1/indexes/papers/features", 422),
        ("GET", "/v1/indexes/papers/features?q=rain&limt=3", 422),
        ("POST", SEARCH + "?text=rain", 422),
        ("POST", "/v1/indexes/papers/records", 415),
    ],
)
def test_what_is_not_there_is_a_problem(client: TestClient, method: str, path: str, status: int) -> None:
    found = client.request(method, path)
    assert found.status_code == status
    assert found.json()["status"] == status
    assert found.json()["do"]


def test_nested_json_is_refused_before_it_is_read(client: TestClient) -> None:
    deep = b'{"where": ' + b"[" * 100_000 + b"]" * 100_000 + b"}"
    found = client.post(SEARCH, content=deep, headers=JSON)
    assert found.status_code == 422
    assert "levels deep" in found.json()["found"]
    brackets = json.dumps({"text": "[" * 500 + '"' + "{" * 500}).encode()
    assert client.post(SEARCH, content=brackets, headers=JSON).status_code == 200


@pytest.mark.parametrize("depth", [1, MAX_DEPTH, MAX_DEPTH + 1, 300])
def test_the_depth_of_json_is_counted_outside_of_texts(depth: int) -> None:
    body = b'"\\"[[[", ' + b'{"a": [' * (depth // 2) + b"[" * (depth % 2) + b'"]"' + b"]" * (depth % 2)
    body = b"[" + body + b"]}" * (depth // 2) + b"]"
    if depth + 1 > MAX_DEPTH:
        with pytest.raises(Refusal):
            check_depth(body)
    else:
        check_depth(body)


def test_bodies_have_a_limit(tmp_path: Path) -> None:
    with served(tmp_path, max_body_bytes=2_000, max_upload_bytes=5_000) as client:
        long = {"text": "a" * 3_000}
        assert client.post(SEARCH, json=long).status_code == 413
        added = client.post("/v1/indexes/papers/records", json={"records": [long]})
        assert added.status_code == 413
        assert "NDJSON" in added.json()["do"]
        lines = json.dumps(long).encode() + b"\n"
        types = {"Content-Type": "application/x-ndjson"}
        assert client.post("/v1/indexes/papers/records", content=lines, headers=types).status_code == 202
        assert client.post("/v1/indexes/papers/records", content=lines * 2, headers=types).status_code == 413
        assert not list((tmp_path / "state" / "spool").glob("*.part"))


def test_what_a_page_sends_has_a_limit(client: TestClient) -> None:
    lying = {"Content-Length": str(2**40)}
    assert client.post("/ui/_nicegui/client/1/upload/2", content=b"x", headers=lying).status_code == 413
    parts = (part for part in (b"x", b"y"))
    assert client.post("/ui/_nicegui/client/1/upload/2", content=parts).status_code == 413


def test_a_page_of_another_site_cannot_call_a_server_without_keys(client: TestClient) -> None:
    found = client.get("/v1/indexes", headers={"Host": "evil.example"})
    assert found.status_code == 421
    preflight = client.options(
        SEARCH, headers={"Origin": "https://evil.example", "Access-Control-Request-Method": "POST"}
    )
    assert "access-control-allow-origin" not in preflight.headers
    plain = client.post(SEARCH, content=b'{"text": "a"}', headers={"Content-Type": "text/plain"})
    assert plain.status_code == 415 and "curl --json" in plain.json()["do"]
    assert client.post("/v1/indexes/papers/concepts/learn").status_code == 415


def test_pages_of_a_named_origin_may_call(tmp_path: Path) -> None:
    with served(tmp_path, cors_origins=("https://ours.example",)) as client:
        asked = {"Access-Control-Request-Method": "POST"}
        ours = client.options(SEARCH, headers={"Origin": "https://ours.example", **asked})
        assert ours.headers["access-control-allow-origin"] == "https://ours.example"
        theirs = client.options(SEARCH, headers={"Origin": "https://evil.example", **asked})
        assert "access-control-allow-origin" not in theirs.headers


def test_every_answer_has_the_headers_and_the_id_of_its_request(client: TestClient) -> None:
    for path in ("/livez", "/v1/nothing", "/v1/indexes"):
        found = client.get(path, headers={"X-Request-ID": "my-id_1"})
        assert found.headers["x-request-id"] == "my-id_1"
        assert found.headers["x-content-type-options"] == "nosniff"
        assert found.headers["cache-control"] == "no-store"
        assert "server" not in found.headers
    strange = client.get("/livez", headers={"X-Request-ID": "a b\\nc"})
    assert strange.headers["x-request-id"] != "a b\\nc"


def test_too_many_requests_are_shed_and_the_server_says_so(tmp_path: Path) -> None:
    with served(tmp_path, max_running=1, max_waiting=0) as client:
        service = client.app.state.service  # type: ignore[attr-defined]
        service.running = 1
        shed = client.post(SEARCH, json={"text": "a"})
        assert shed.status_code == 503
        assert shed.headers["retry-after"]
        assert client.get("/livez").status_code == 200
        service.running = 0
        assert client.post(SEARCH, json={"text": "a"}).status_code == 200
        assert b"saeindex_requests_shed_total 1.0" in client.get("/metrics").content


def test_the_log_has_no_texts_and_no_keys(client: TestClient, caplog: pytest.LogCaptureFixture) -> None:
    secret = "the name of a patient"
    LOGGER.addHandler(caplog.handler)
    LOGGER.setLevel(logging.INFO)
    try:
        client.post(SEARCH, json={"text": secret}, headers={"Authorization": "Bearer sae_hidden"})
        client.get("/v1/indexes/papers/features", params={"q": secret})
        client.post(SEARCH, json={"text": secret, "where": "broken >"})
    finally:
        LOGGER.removeHandler(caplog.handler)
    lines = [JsonLines().format(record) for record in caplog.records]
    read = [json.loads(line) for line in lines if '"request"' in line]
    requests = list({line["request_id"]: line for line in read}.values())  # the root logger has them, too
    assert len(requests) == 3
    assert {"request_id", "method", "route", "status", "ms"} <= set(requests[0])
    for hidden in (secret, "patient", "sae_hidden"):
        assert not any(hidden in line for line in lines)


def test_the_log_has_texts_where_it_was_told_to(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "saeindex.server")
    with served(tmp_path, log_texts=True) as client:
        client.post(SEARCH, json={"text": "asked in a body"})
    assert any("asked in a body" in getattr(one, "fields", {}).get("body", "") for one in caplog.records)


def test_writes_are_audited(client: TestClient) -> None:
    asked = {"feature": 9, "label": "mine"}
    client.post("/v1/indexes/papers/concepts/rename", json=asked, headers={"X-Request-ID": "audited"})
    file = client.app.state.service.settings.state / "audit.jsonl"  # type: ignore[attr-defined]
    lines = [json.loads(line) for line in file.read_text().splitlines()]
    found = next(line for line in lines if line["request_id"] == "audited")
    assert (found["action"], found["index"], found["key"]) == ("concepts/rename", "papers", "local")


@pytest.mark.parametrize(
    ("given", "says"),
    [({"port": 99_999}, "port"), ({"max_running": 0}, "max_running"), ({"none": 1}, "none")],
)
def test_a_wrong_setting_is_named(given: dict[str, Any], says: str) -> None:
    with pytest.raises(InvalidInputError, match=says):
        read_settings(given)


def test_settings_come_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SAEINDEX_SERVER_PORT", "8123")
    assert read_settings({}).port == 8123
    assert read_settings({"port": 9}).port == 9


def test_an_open_server_needs_a_key(tmp_path: Path) -> None:
    with pytest.raises(InvalidInputError, match="keys create"), served(tmp_path, host="0.0.0.0"):
        pass
