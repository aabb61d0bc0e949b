"""Records that come in, analyses, and their jobs: followed, cancelled, repeated, and through restarts."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx2
import pytest
from fastapi.testclient import TestClient

from saeindex import FeatureIndex
from tests.samples import sample_records

RECORDS, DELETE = "/v1/indexes/papers/records", "/v1/indexes/papers/delete"
NDJSON = {"Content-Type": "application/x-ndjson"}
SECONDS = 180


def lines_of(count: int, prefix: str, seed: int = 5) -> bytes:
    rows = [
        {"id": one.id, "text": one.text, "metadata": dict(one.metadata)}
        for one in sample_records(count, seed, prefix)
    ]
    return "".join(json.dumps(row) + "\n" for row in rows).encode()


def finished(client: TestClient | httpx2.Client, job: str) -> dict[str, Any]:
    end = time.monotonic() + SECONDS
    while (found := client.get(f"/v1/jobs/{job}").json())["state"] in ("queued", "running"):
        assert time.monotonic() < end, found
    described: dict[str, Any] = found
    return described


def count(client: TestClient | httpx2.Client, where: str | None = None) -> int:
    return int(client.post("/v1/indexes/papers/count", json={"where": where}).json()["result"])


def test_records_come_as_json_and_are_found(client: TestClient) -> None:
    body = {
        "records": [{"id": "json-1", "text": "The lighthouse keeper counts ships.", "metadata": {"k": 1}}]
    }
    taken = client.post(RECORDS, json=body)
    assert taken.status_code == 202
    job = finished(client, taken.json()["id"])
    assert (job["state"], job["report"]["indexed"], job["total"]) == ("done", 1, 1)
    hits = client.post("/v1/indexes/papers/search", json={"text": "lighthouse keeper", "limit": 1}).json()
    assert hits["hits"][0]["id"] == "json-1"
    assert hits["hits"][0]["metadata"] == {"k": 1}


def test_ndjson_streams_bad_records_are_named_and_the_rest_is_indexed(client: TestClient) -> None:
    lines = lines_of(30, "nd") + b'{"id": "no text"}\n' + b"not json\n"
    job = finished(client, client.post(RECORDS, content=lines, headers=NDJSON).json()["id"])
    assert job["state"] == "done"
    assert (job["report"]["indexed"], job["report"]["rejected"]) == (30, 2)
    rejects = client.get(f"/v1/jobs/{job['id']}/rejects")
    assert rejects.headers["content-type"] == "application/x-ndjson"
    read = [json.loads(line) for line in rejects.text.splitlines()]
    assert len(read) == 2
    assert all(one["reason"] for one in read)


def test_a_job_of_which_a_tenth_is_rejected_fails_unless_that_is_allowed(client: TestClient) -> None:
    lines = lines_of(8, "tenth") + b'{"id": "no text"}\n'
    job = finished(client, client.post(RECORDS, content=lines, headers=NDJSON).json()["id"])
    assert (job["state"], job["error"]["type"]) == ("failed", "RejectedError")
    assert "1 of 9 records were rejected: 1 × no field 'text' (first: line 9)" in job["error"]["found"]
    assert (job["report"]["indexed"], job["report"]["rejected"], job["kept_bytes"]) == (8, 1, 0)
    assert count(client, 'record_id = "tenth-0"') == 1
    taken = client.post(RECORDS, content=lines, headers=NDJSON, params={"allow_rejects": True})
    job = finished(client, taken.json()["id"])
    assert (job["state"], job["report"]["unchanged"], job["report"]["rejected"]) == ("done", 8, 1)


def test_records_without_ids_that_are_sent_again_are_the_same(client: TestClient) -> None:
    lines = b'{"text": "Sent twice."}\n' * 2
    reports = [
        finished(client, client.post(RECORDS, content=lines, headers=NDJSON).json()["id"])["report"]
        for _ in range(2)
    ]
    assert [(one["indexed"], one["unchanged"]) for one in reports] == [(2, 0), (0, 2)]


def test_a_job_s_events_end_with_its_end(client: TestClient) -> None:
    job = client.post(RECORDS, content=lines_of(20, "ev"), headers=NDJSON).json()["id"]
    with client.stream("GET", f"/v1/jobs/{job}/events") as events:
        assert events.headers["content-type"].startswith("text/event-stream")
        text = "".join(events.iter_text())
    kinds = [line.removeprefix("event: ") for line in text.splitlines() if line.startswith("event: ")]
    assert kinds[-1] == "done"
    last = [line for line in text.splitlines() if line.startswith("data: ")][-1]
    assert json.loads(last.removeprefix("data: "))["report"]["indexed"] == 20


def test_a_cancelled_job_stops_and_nothing_is_deleted_while_one_runs(client: TestClient) -> None:
    job = client.post(RECORDS, content=lines_of(6_000, "long"), headers=NDJSON).json()["id"]
    refused = client.post(DELETE, json={"ids": ["doc-0"]})
    assert refused.status_code == 409
    assert job in refused.json()["found"]
    assert client.delete(f"/v1/jobs/{job}").status_code == 200
    ended = finished(client, job)
    assert ended["state"] == "cancelled"
    assert ended["read"] < 6_000
    assert client.delete(f"/v1/jobs/{job}").json()["state"] == "cancelled"


def test_jobs_are_listed_page_by_page(client: TestClient) -> None:
    for i in range(3):
        finished(client, client.post(RECORDS, content=lines_of(2, f"page{i}"), headers=NDJSON).json()["id"])
    seen: list[str] = []
    cursor = None
    while True:
        page = client.get("/v1/jobs", params={"limit": 2, **({"cursor": cursor} if cursor else {})}).json()
        seen += [job["id"] for job in page["jobs"]]
        if (cursor := page["next"]) is None:
            break
    assert len(seen) == len(set(seen)) >= 3
    assert client.get("/v1/jobs", params={"cursor": "nonsense"}).status_code == 422


def test_records_are_listed_page_by_page(client: TestClient) -> None:
    seen: list[str] = []
    offset = None
    while True:
        asked = {"limit": 50, "where": 'metadata.topic = "music"', "offset": offset}
        page, offset = client.post("/v1/indexes/papers/scroll", json=asked).json()["result"]
        seen += [record["id"] for record in page]
        if offset is None:
            break
    assert len(seen) == len(set(seen)) == count(client, 'metadata.topic = "music"')


def test_an_analysis_is_answered_at_once_or_as_a_job(client: TestClient) -> None:
    body = {"a": 'metadata.topic = "music"'}
    at_once = client.post("/v1/indexes/papers/diff", json=body)
    assert at_once.status_code == 200
    assert at_once.json()["results"]
    later = client.post("/v1/indexes/papers/diff?wait=0", json=body)
    assert later.status_code == 202
    job = finished(client, later.json()["id"])
    assert job["state"] == "done"
    assert client.get(job["links"]["result"]).json()["results"] == at_once.json()["results"]


@pytest.mark.parametrize(
    ("path", "body", "says"),
    [
        ("diff", {"a": 'metadata.topic = "none"'}, "no record"),
        ("diff", {}, "groups to compare"),
        ("diff", {"a": "metadata.year <", "wait": 1}, "wait"),
        ("cluster", {"axis": ""}, ""),
        ("correlate", {"alpha": 3}, "alpha"),
    ],
)
def test_an_analysis_that_cannot_be_is_a_problem(
    client: TestClient, path: str, body: dict[str, Any], says: str
) -> None:
    found = client.post(f"/v1/indexes/papers/{path}", json=body)
    assert found.status_code == 422
    assert says in found.json()["detail"]


@contextmanager
def serving(folder: Path) -> Iterator[tuple[httpx2.Client, subprocess.Popen[bytes]]]:
    """Run `saeindex serve` in a process of its own."""
    command = [sys.executable, "-m", "saeindex", "serve", str(folder / "papers.idx"), "--port", "0"]
    log = folder / "log"  # a pipe that nobody reads would fill, and stop the server
    with log.open("wb") as file:
        process = subprocess.Popen([*command, "--state", str(folder / "state")], stderr=file)
    try:
        while "Listening on " not in log.read_text():
            assert process.poll() is None, log.read_text()
            time.sleep(0.05)
        ready = next(line for line in log.read_text().splitlines() if "Listening on " in line)
        with httpx2.Client(base_url=json.loads(ready)["url"], timeout=30) as client:
            yield client, process
    except httpx2.TransportError as error:
        raise AssertionError(f"the server ended: {process.poll()}\n{log.read_text()[-4_000:]}") from error
    finally:
        process.kill()
        process.wait()


@pytest.mark.slow
def test_what_got_a_202_is_indexed_although_the_server_is_killed(tmp_path: Path) -> None:
    FeatureIndex.create(tmp_path / "papers.idx").close()
    jobs = []
    for part in range(3):
        with serving(tmp_path) as (client, process):
            for i in range(2):
                taken = client.post(RECORDS, content=lines_of(150, f"p{part}{i}"), headers=NDJSON)
                assert taken.status_code == 202
                jobs.append(taken.json()["id"])
            os.kill(process.pid, signal.SIGKILL)
    with serving(tmp_path) as (client, _):
        for job in jobs:
            assert finished(client, job)["state"] == "done"
        assert count(client) == 900


def test_a_server_that_is_told_to_end_queues_what_it_does_again(tmp_path: Path) -> None:
    FeatureIndex.create(tmp_path / "papers.idx").close()
    with serving(tmp_path) as (client, process):
        job = client.post(RECORDS, content=lines_of(800, "many"), headers=NDJSON).json()["id"]
        while client.get(f"/v1/jobs/{job}").json()["read"] == 0:
            time.sleep(0.01)
        process.terminate()
        assert process.wait(SECONDS) in (0, -signal.SIGTERM)
    with serving(tmp_path) as (client, _):
        assert finished(client, job)["report"]["read"] == 800
        assert count(client) == 800


def test_a_server_that_is_told_to_end_does_not_wait_for_followers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    FeatureIndex.create(tmp_path / "papers.idx").close()
    monkeypatch.setenv("SAEINDEX_SERVER_SHUTDOWN", "60")
    with serving(tmp_path) as (client, process):
        job = client.post(RECORDS, content=lines_of(4_000, "many"), headers=NDJSON).json()["id"]
        with client.stream("GET", f"/v1/jobs/{job}/events") as events:
            assert next(events.iter_lines()).startswith("event: ")
            process.terminate()
            began = time.monotonic()
            assert process.wait(SECONDS) in (0, -signal.SIGTERM)
            assert time.monotonic() - began < 50


def test_the_death_of_an_engine_is_a_problem_and_the_next_request_is_answered(client: TestClient) -> None:
    service = client.app.state.service  # type: ignore[attr-defined]
    hosted = service.hosts.get("papers")
    os.kill(hosted.whole().state.store.pid, signal.SIGKILL)
    body = {"text": "galaxies"}
    died = client.post("/v1/indexes/papers/search", json=body)
    assert died.status_code == 503
    assert died.json()["type"] == "EngineDiedError"
    assert died.headers["retry-after"]
    assert "/" not in died.json()["detail"].replace("papers", "")
    assert client.post("/v1/indexes/papers/search", json=body).status_code == 200
    assert hosted.deaths == 1
