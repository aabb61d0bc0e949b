"""The database beside the requests: never on the event loop, and readers do not wait for who writes."""

from __future__ import annotations

import os
import sqlite3
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient
from saeindex_server.app import create_app
from saeindex_server.database import Database
from saeindex_server.settings import ServerSettings

from benchmarks.suites.server.samples import SAMPLES, filled
from saeindex import FeatureIndex, FeatureSpace
from saeindex.errors import StorageError
from tests.samples import sample_records
from tests.server.conftest import HOST, DocumentsOnce, made_index, service_of
from tests.server.test_jobs import NDJSON, RECORDS, finished, lines_of

SEARCH, SECONDS = "/v1/indexes/papers/search", 10.0
IDS: dict[str, Any] = {
    "ID0": "doc-0",
    "ID1": "doc-1",
    "FEATURE": "9",
    "JOB": "none",
    "ADDING": "none",
    "NAMES": {},
    "PROFILE": {},
}


class Watched:
    """On which threads statements are run, and files are synced and deleted."""

    def __init__(self, patch: pytest.MonkeyPatch) -> None:
        self.seen: list[tuple[int, str]] = []
        connect, sync, unlink = sqlite3.connect, os.fsync, Path.unlink

        def connected(*given: Any, **options: Any) -> sqlite3.Connection:
            self._note("connect")
            opened: sqlite3.Connection = connect(*given, **options)
            opened.set_trace_callback(self._note)
            return opened

        def synced(descriptor: int) -> None:
            self._note("sync")
            sync(descriptor)

        def unlinked(path: Path, missing_ok: bool = False) -> None:
            self._note("delete")
            unlink(path, missing_ok)

        patch.setattr(sqlite3, "connect", connected)
        patch.setattr(os, "fsync", synced)
        patch.setattr(Path, "unlink", unlinked)

    def _note(self, what: str) -> None:
        self.seen.append((threading.get_ident(), what))

    def of(self, thread: int) -> list[str]:
        return [what for one, what in self.seen if one == thread]


@contextmanager
def writing(client: TestClient) -> Iterator[threading.Thread]:
    """Hold a transaction open in a thread, as a slow commit does."""
    database, is_open, is_done = service_of(client).database, threading.Event(), threading.Event()

    def hold() -> None:
        with database.transaction() as statements:
            statements.execute("UPDATE jobs SET read = 0 WHERE id = 'none'")
            is_open.set()
            is_done.wait(SECONDS)

    holding = threading.Thread(target=hold)
    holding.start()
    assert is_open.wait(SECONDS)
    try:
        yield holding
    finally:
        is_done.set()
        holding.join()


@contextmanager
def opened(folder: Path, **options: Any) -> Iterator[TestClient]:
    settings = ServerSettings(state=folder / "state", workbench=False, **options)
    with TestClient(create_app(settings, [str(folder / "papers.idx")]), base_url=HOST) as client:
        yield client


@pytest.mark.parametrize("has_keys", [False, True])
def test_no_statement_sync_or_deletion_is_on_the_event_loop(
    has_keys: bool, tmp_path: Path, space: FeatureSpace, documents_once: DocumentsOnce
) -> None:
    made_index(tmp_path / "papers.idx", space, documents_once, sample_records(60))
    with pytest.MonkeyPatch.context() as patch:
        watched = Watched(patch)
        with opened(tmp_path) as client:
            assert client.portal is not None
            loop = client.portal.call(threading.get_ident)
            if has_keys:
                _, text = service_of(client).keys.create("all", ["admin"])
                client.headers["Authorization"] = f"Bearer {text}"
            _ask_all(client)
        assert watched.of(loop) == []
        assert any("INSERT INTO jobs" in what for _, what in watched.seen)


def _ask_all(client: TestClient) -> None:
    """Ask every route, and what the samples do not ask: uploads, jobs, foreign hosts."""
    for (method, template), sample in SAMPLES.items():
        own = filled(sample, IDS)
        url = template.format(name="papers", **own.path)
        client.request(method, url, json=own.body, params=own.params)
    taken = client.post(RECORDS, content=lines_of(5, "own"), headers=NDJSON).json()
    assert finished(client, taken["id"])["state"] == "done"
    assert "event: done" in client.get(f"/v1/jobs/{taken['id']}/events").text
    client.get(f"/v1/jobs/{taken['id']}/rejects")
    job = client.post("/v1/indexes/papers/diff?wait=0", json={"a": 'metadata.topic = "music"'}).json()
    client.delete(f"/v1/jobs/{job['id']}")
    finished(client, job["id"])
    client.get(f"/v1/jobs/{job['id']}/result")
    client.get("/livez", headers={"Host": "evil.example"})
    client.get("/v1/indexes", headers={"Authorization": "Bearer nonsense"})


def test_readers_do_not_wait_for_a_writer(tmp_path: Path) -> None:
    FeatureIndex.create(tmp_path / "papers.idx").close()
    with opened(tmp_path) as client:
        with writing(client) as holding:
            assert client.get("/livez").status_code == 200
            assert client.post(SEARCH, json={"text": "a"}).status_code == 200
            assert holding.is_alive()
        _, text = service_of(client).keys.create("reader", ["read"])
        key = {"Authorization": f"Bearer {text}"}
        with writing(client) as holding:
            assert client.get("/livez").status_code == 200
            for _ in "ab":  # the second time without the cost
                assert client.post(SEARCH, json={"text": "a"}, headers=key).status_code == 200
            assert client.post(SEARCH, json={"text": "a"}).status_code == 401
            assert client.get("/v1/jobs", headers=key).json() == {"jobs": [], "next": None}
            assert holding.is_alive()


def test_a_request_that_writes_waits_beside_the_others(tmp_path: Path) -> None:
    FeatureIndex.create(tmp_path / "papers.idx").close()
    statuses: list[int] = []
    with opened(tmp_path) as client:

        def add() -> None:
            statuses.append(client.post(RECORDS, content=lines_of(2, "new"), headers=NDJSON).status_code)

        adding = [threading.Thread(target=add) for _ in range(6)]
        with writing(client) as holding:
            for thread in adding:
                thread.start()
            for _ in range(20):
                assert client.get("/livez").status_code == 200
                assert client.post(SEARCH, json={"text": "a"}).status_code == 200
            assert holding.is_alive()
            assert statuses == []
        for thread in adding:
            thread.join(SECONDS)
    assert statuses == [202] * 6


def test_what_is_committed_is_read_and_what_is_not_is_not(tmp_path: Path) -> None:
    database = Database(tmp_path / "state")
    question = "SELECT COUNT(*) AS n FROM keys"

    def count() -> int:
        row = database.row(question)
        assert row is not None
        return int(row["n"])

    with database.transaction() as statements:
        statements.execute("INSERT INTO keys VALUES ('k', 'n', x'', x'', '', '', NULL, '2000', NULL, NULL)")
        assert count() == 0
    assert count() == 1
    with pytest.raises(ZeroDivisionError), database.transaction() as statements:
        statements.execute("DELETE FROM keys")
        raise ZeroDivisionError
    assert count() == 1
    with pytest.raises(StorageError, match="readonly"):
        database.rows("DELETE FROM keys")
    database.close()
    with pytest.raises(sqlite3.ProgrammingError):
        count()


def test_a_commit_that_fails_leaves_the_database_usable(tmp_path: Path) -> None:
    database = Database(tmp_path / "state")
    question = "INSERT INTO keys VALUES (?, ?, x'', x'', '', '', NULL, '2000', NULL, NULL)"
    with pytest.raises(StorageError, match="full"), database.transaction() as statements:
        pages = statements.execute("PRAGMA page_count").fetchone()[0]
        statements.execute(f"PRAGMA max_page_count = {pages}")
        statements.execute(question, ("a", "a" * 100_000))
    with database.transaction() as statements:
        statements.execute("PRAGMA max_page_count = 100000")
        statements.execute(question, ("b", ""))
    assert [row["id"] for row in database.rows("SELECT id FROM keys")] == ["b"]
    database.close()
