"""Who waits for a job takes no place of other requests, and learns of each change."""

from __future__ import annotations

import io
import math
import threading
import time
from collections.abc import AsyncIterator, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import aclosing
from pathlib import Path
from typing import Any

import httpx2
import pytest
from saeindex_server.access import Access
from saeindex_server.analysis_process import AnalysisProcess, _Analyst
from saeindex_server.jobs import Job
from saeindex_server.shared_encoder import SharedEncoder

from saeindex.stores.engine_process import packed, receive, send
from tests.server.conftest import key_of, on_a_port, served, service_of

SEARCH, DIFF = "/v1/indexes/papers/search", "/v1/indexes/papers/diff"
FOLLOWERS, SECONDS = 40, 30.0


@pytest.fixture
def release(monkeypatch: pytest.MonkeyPatch) -> threading.Event:
    """An analysis ends when this is set, or when it is stopped."""
    event = threading.Event()
    run = AnalysisProcess.run

    def held(process: AnalysisProcess, *given: Any) -> bytes:
        is_stopped: Callable[[], bool] = given[-1]
        while not event.wait(0.01) and not is_stopped():
            pass
        return run(process, *given)

    monkeypatch.setattr(AnalysisProcess, "run", held)
    return event


def until(is_so: Callable[[], bool]) -> None:
    end = time.monotonic() + SECONDS
    while not is_so():
        assert time.monotonic() < end
        time.sleep(0.01)


@pytest.fixture
def followers(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The jobs that somebody follows at the moment."""
    found: list[str] = []
    followed = Access.followed

    async def counted(access: Access, job: Job, seconds: float = math.inf) -> AsyncIterator[Job]:
        found.append(job.id)
        try:
            async with aclosing(followed(access, job, seconds)) as each:  # type: ignore[type-var]
                async for now in each:
                    yield now
        finally:
            found.remove(job.id)

    monkeypatch.setattr(Access, "followed", counted)
    return found


def test_followers_and_waiting_analyses_leave_the_others_their_places(
    tmp_path: Path, release: threading.Event, followers: list[str]
) -> None:
    with served(tmp_path, max_running=1, max_waiting=1) as client, on_a_port(client) as url:
        key = key_of(client, "read", "analyse", "write")
        job = client.post(f"{DIFF}?wait=0", json={"a": "metadata.a = 1"}, headers=key).json()["id"]

        def follow(_: int) -> str:
            return httpx2.get(f"{url}/v1/jobs/{job}/events", headers=key, timeout=SECONDS).text

        def wait(_: int) -> int:
            address, asked = f"{url}{DIFF}?wait=60", {"a": "metadata.a = 2"}
            return httpx2.post(address, json=asked, headers=key, timeout=SECONDS).status_code

        with ThreadPoolExecutor(FOLLOWERS + 10) as threads:
            followed = [threads.submit(follow, n) for n in range(FOLLOWERS)]
            waiting = [threads.submit(wait, n) for n in range(10)]
            until(lambda: len(followers) == FOLLOWERS + 10)
            assert client.post(SEARCH, json={"text": "a"}, headers=key).status_code == 200
            assert client.delete(f"/v1/jobs/{job}", headers=key).status_code == 200
            assert all("event: cancelled" in one.result(SECONDS) for one in followed)
            release.set()
            assert {one.result(SECONDS) for one in waiting} == {422}  # there is no such record
        until(lambda: not followers)


def test_work_that_nobody_waits_for_ends_and_keeps_its_place_until_then(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    encoded: list[str] = []
    asked_of = SharedEncoder._encode_queries

    def counting(shared: SharedEncoder, texts: Sequence[str]) -> Any:
        encoded.extend(texts)
        return asked_of(shared, texts)

    monkeypatch.setattr(SharedEncoder, "_encode_queries", counting)
    queries = [f"text number {n}" for n in range(4_000)]
    with served(tmp_path, timeout=0.5) as client:
        service = service_of(client)
        asked = client.post(f"{SEARCH}_many", json={"queries": queries})
        assert asked.status_code == 504
        until(lambda: service._running.borrowed_tokens == 0)
        assert len(encoded) < len(queries) / 2
        assert client.post(SEARCH, json={"text": "a"}).status_code == 200


def test_a_follower_that_goes_away_is_forgotten(
    tmp_path: Path, release: threading.Event, followers: list[str]
) -> None:
    with served(tmp_path) as client, on_a_port(client) as url:
        job = client.post(f"{DIFF}?wait=0", json={"a": "metadata.a = 1"}).json()["id"]
        with httpx2.stream("GET", f"{url}/v1/jobs/{job}/events", timeout=SECONDS) as events:
            lines = events.iter_lines()  # kept: a reader of lines that is dropped ends the response
            assert next(iter(lines)).startswith("event: ")
            until(lambda: len(followers) == 1)
        until(lambda: not followers)
        release.set()


def test_an_analysis_that_takes_longer_than_the_wait_is_a_job(
    tmp_path: Path, release: threading.Event
) -> None:
    with served(tmp_path) as client:
        found = client.post(f"{DIFF}?wait=0.2", json={"a": "metadata.a = 1"})
        assert (found.status_code, found.json()["state"]) == (202, "running")
        release.set()


def test_who_waits_for_an_analysis_that_is_cancelled_is_told(
    tmp_path: Path, release: threading.Event, followers: list[str]
) -> None:
    with served(tmp_path) as client, on_a_port(client) as url, ThreadPoolExecutor(1) as threads:
        told = threads.submit(
            lambda: httpx2.post(f"{url}{DIFF}?wait=60", json={"a": "metadata.a = 1"}, timeout=SECONDS)
        )
        until(lambda: len(followers) == 1)
        (job,) = client.get("/v1/jobs").json()["jobs"]
        assert client.delete(job["links"]["self"]).status_code == 200
        release.set()
        assert told.result(SECONDS).status_code == 409
        assert "cancelled" in told.result().json()["found"]


def test_an_analysis_that_fails_in_an_unknown_way_is_an_error_and_the_process_goes_on(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def broken(*given: object) -> bytes:
        raise IndexError

    monkeypatch.setattr(_Analyst, "_found", broken)
    asked, answers = io.BytesIO(), io.BytesIO()
    for _ in range(2):
        send(asked, packed(["baseline", "{}", [], None]))
    asked.seek(0)
    with pytest.raises(EOFError):
        _Analyst(asked, answers).serve()
    answers.seek(0)
    for _ in range(2):
        kind, _, name, found, *_ = receive(answers)
        assert (kind, name) == ("failed", "SaeIndexError") and "baseline" in found
