"""An upload that was acknowledged is kept until it is indexed, or its owner deletes it, whatever happens."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient
from saeindex_server import ingestion
from saeindex_server.app import create_app
from saeindex_server.database import Database
from saeindex_server.settings import ServerSettings

from saeindex import FeatureIndex
from saeindex.errors import EngineDiedError, StorageError
from tests.server.conftest import HOST, key_of, served, service_of
from tests.server.test_jobs import NDJSON, RECORDS, count, finished, lines_of

SEARCH, DIFF = "/v1/indexes/papers/search", "/v1/indexes/papers/diff"
SECONDS = 60.0


@pytest.fixture(autouse=True)
def short_rests(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ingestion, "REST", (0.01, 0.01))
    monkeypatch.setattr(ingestion, "FULL_REST", 0.01)


@pytest.fixture
def no_room(monkeypatch: pytest.MonkeyPatch) -> Callable[[bool], None]:
    """Say whether the disk is full."""
    room = ingestion.ROOM_BYTES
    return lambda is_full: monkeypatch.setattr(ingestion, "ROOM_BYTES", 2**62 if is_full else room)


def send(client: TestClient, count: int, prefix: str, key: dict[str, str] | None = None) -> dict[str, Any]:
    taken = client.post(RECORDS, content=lines_of(count, prefix), headers={**NDJSON, **(key or {})})
    assert taken.status_code == 202, taken.text
    found: dict[str, Any] = taken.json()
    return found


def until(client: TestClient, job: str, is_so: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
    end = time.monotonic() + SECONDS
    while not is_so(found := client.get(f"/v1/jobs/{job}").json()):
        assert time.monotonic() < end, found
        time.sleep(0.01)
    described: dict[str, Any] = found
    return described


@contextmanager
def serving_another(folder: Path) -> Iterator[TestClient]:
    FeatureIndex.create(folder / "others.idx").close()
    app = create_app(ServerSettings(state=folder / "state", workbench=False), [str(folder / "others.idx")])
    with TestClient(app, base_url=HOST) as client:
        yield client


def test_an_upload_waits_while_its_index_is_not_served(
    tmp_path: Path, no_room: Callable[[bool], None]
) -> None:
    no_room(True)
    with served(tmp_path) as client:
        job = send(client, 5, "kept")["id"]
    no_room(False)
    with serving_another(tmp_path) as client:
        waiting = client.get(f"/v1/jobs/{job}").json()
        assert (waiting["state"], waiting["waits_for"]) == ("queued", "its index to be served")
        assert waiting["kept_bytes"] == (tmp_path / "state" / "spool" / f"{job}.jsonl").stat().st_size > 0
    with served(tmp_path) as client:
        done = finished(client, job)
        assert (done["state"], done["kept_bytes"], count(client)) == ("done", 0, 5)
    assert not list((tmp_path / "state" / "spool").iterdir())


def test_a_full_disk_lets_uploads_wait_says_so_and_lets_them_be_cancelled(
    tmp_path: Path, no_room: Callable[[bool], None]
) -> None:
    with served(tmp_path) as client:
        no_room(True)
        kept, cancelled = send(client, 5, "kept")["id"], send(client, 5, "other")["id"]
        assert until(client, kept, lambda job: job["waits_for"] is not None)["state"] == "queued"
        assert "room" in client.get("/readyz").json()["waits_for"]
        assert client.post(SEARCH, json={"text": "a"}).status_code == 200
        assert client.delete(f"/v1/jobs/{cancelled}").json()["state"] == "cancelled"
        assert len(list((tmp_path / "state" / "spool").iterdir())) == 1
        no_room(False)
        assert finished(client, kept)["report"]["indexed"] == 5
        assert client.get("/readyz").json()["waits_for"] is None
        assert count(client) == 5


def test_a_disk_that_is_full_at_the_engine_or_the_database_fails_no_upload(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("saeindex_server.jobs.AGAIN", 0.01)
    refused = {"engine": 5, "database": 0}
    upsert, transaction = FeatureIndex.upsert, Database.transaction

    def full_engine(index: FeatureIndex, *given: Any, **options: Any) -> Any:
        if refused["engine"]:
            refused["engine"] -= 1
            raise StorageError("upsert", "the disk is full", "Free some space.")
        refused["database"] = 5
        return upsert(index, *given, **options)

    def full_database(database: Database) -> Any:
        if refused["database"]:
            refused["database"] -= 1
            raise StorageError("a write", "database or disk is full", "Make room.")
        return transaction(database)

    monkeypatch.setattr(FeatureIndex, "upsert", full_engine)
    monkeypatch.setattr(Database, "transaction", full_database)
    with served(tmp_path) as client:
        job = send(client, 5, "kept")["id"]
        assert finished(client, job)["report"]["indexed"] == 5
        assert set(refused.values()) == {0}
        refused["database"] = 10**6
        asked = client.post(f"{DIFF}?wait=0", json={"a": "metadata.a = 1"})
        assert (asked.status_code, asked.json()["type"]) == (503, "StorageError")
        assert "disk is full" in asked.json()["found"]
        refused["database"] = 0
        assert client.post(f"{DIFF}?wait=0", json={"a": "metadata.a = 1"}).status_code == 202


def test_the_death_of_the_engine_and_a_search_in_between_lose_no_upload(tmp_path: Path) -> None:
    with served(tmp_path) as client:
        job = send(client, 700, "many")["id"]
        for _ in "ab":
            reached = until(client, job, lambda job: job["read"] > 0)["read"]
            os.kill(service_of(client).hosts.get("papers").whole().state.store.pid, signal.SIGKILL)  # type: ignore[attr-defined]
            client.post(SEARCH, json={"text": "a"})
            until(client, job, partial(_moved, reached))
        assert finished(client, job)["state"] == "done"
        assert count(client) == 700


def _moved(reached: int, job: dict[str, Any]) -> bool:
    return bool(job["read"] != reached)


def test_an_upload_that_kills_its_engine_each_time_is_kept_and_the_next_one_has_its_turn(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    poison: list[str] = []
    upsert = FeatureIndex.upsert

    def deadly(index: FeatureIndex, path: Path, **options: Any) -> Any:
        if not poison or path.stem == poison[0]:
            poison[:] = [path.stem]
            raise EngineDiedError("upsert", "its engine died", "Open it again.")
        return upsert(index, path, **options)

    monkeypatch.setattr(FeatureIndex, "upsert", deadly)
    with served(tmp_path) as client:
        bad, good = send(client, 5, "bad")["id"], send(client, 5, "good")["id"]
        assert finished(client, good)["state"] == "done"
        failed = finished(client, bad)
        assert (failed["state"], failed["error"]["type"]) == ("failed", "EngineDiedError")
        assert failed["kept_bytes"] > 0
    monkeypatch.setattr(FeatureIndex, "upsert", upsert)
    with served(tmp_path) as client:  # at the next start it is tried again
        assert finished(client, bad)["state"] == "done"
    monkeypatch.setattr(FeatureIndex, "upsert", deadly)
    poison.clear()
    with served(tmp_path) as client:
        bad = send(client, 5, "bad")["id"]
        assert finished(client, bad)["kept_bytes"] > 0
        assert client.delete(f"/v1/jobs/{bad}").json()["kept_bytes"] == 0
        assert not list((tmp_path / "state" / "spool").iterdir())


def test_an_upload_that_comes_further_each_time_is_not_given_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tried: list[int] = []

    def further(index: FeatureIndex, path: Path, **options: Any) -> Any:
        tried.append(len(tried))
        options["progress"](10 * len(tried))
        if len(tried) < 6:
            raise EngineDiedError("upsert", "its engine died", "Open it again.")
        return upsert(index, path, **options)

    upsert = FeatureIndex.upsert
    monkeypatch.setattr(FeatureIndex, "upsert", further)
    with served(tmp_path) as client:
        assert finished(client, send(client, 5, "slow")["id"])["state"] == "done"


def test_an_upload_that_cannot_be_used_is_not_kept(client: TestClient) -> None:
    taken = client.post(f"{RECORDS}?text_field=none", content=lines_of(5, "no"), headers=NDJSON).json()
    failed = finished(client, taken["id"])
    assert (failed["state"], failed["error"]["type"], failed["kept_bytes"]) == ("failed", "NotFoundError", 0)


def test_a_cancelled_upload_ends_after_its_batch_and_says_what_was_indexed(tmp_path: Path) -> None:
    with served(tmp_path) as client:
        job = send(client, 3_000, "long")["id"]
        reached = until(client, job, lambda job: job["read"] > 0)["read"]
        assert reached <= 3 * ingestion.BATCH
        client.delete(f"/v1/jobs/{job}")
        ended = finished(client, job)
        assert ended["state"] == "cancelled"
        assert ended["report"]["read"] <= reached + 4 * ingestion.BATCH
        assert ended["report"]["indexed"] == count(client) > 0


def test_one_key_does_not_take_the_places_of_all(tmp_path: Path, no_room: Callable[[bool], None]) -> None:
    with served(tmp_path, max_jobs=3, max_jobs_of_key=2, max_spool_bytes=100_000) as client:
        no_room(True)
        one, other = key_of(client, "read", "write", "analyse"), key_of(client, "read", "write", "analyse")
        for prefix in "ab":
            send(client, 2, prefix, one)
        for path, asked in ((RECORDS, {"records": [{"text": "a"}]}), (DIFF, {"a": "metadata.a = 1"})):
            refused = client.post(path, json=asked, headers=one)
            assert refused.status_code == 429 and int(refused.headers["retry-after"]) >= 1
        half = client.post(RECORDS, content=b"a" * 60_000, headers={**NDJSON, **other})
        assert half.status_code == 503
        send(client, 2, "c", other)
        assert client.post(DIFF, json={"a": "metadata.a = 1"}, headers=other).status_code == 503
        for job in client.get("/v1/jobs", headers=one).json()["jobs"]:
            client.delete(f"/v1/jobs/{job['id']}", headers=one)
        send(client, 2, "d", one)


@pytest.mark.skipif(os.name != "posix", reason="limits of a process")
def test_a_key_is_not_made_on_a_full_disk_and_there_is_no_traceback(tmp_path: Path) -> None:
    import resource

    def full() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))

    state = ("--state", str(tmp_path / "state"))
    command = [sys.executable, "-m", "saeindex", "keys", "create", "team", *state]
    Database(tmp_path / "state").close()
    made = subprocess.run(command, capture_output=True, text=True, check=False, preexec_fn=full)
    assert made.returncode != 0
    assert "Traceback" not in made.stderr
    assert "disk" in made.stderr
