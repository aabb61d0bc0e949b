"""Bodies that come slowly, not at all, or half: they end, and nobody else notices."""

from __future__ import annotations

import json
import logging
import socket
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest
from fastapi.testclient import TestClient

from tests.server.conftest import key_of, on_a_port, served

SEARCH, RECORDS = "/v1/indexes/papers/search", "/v1/indexes/papers/records"
EMBEDDINGS = "/v1/embeddings"
JSON, NDJSON = "application/json", "application/x-ndjson"
SECONDS = 30.0


@contextmanager
def half_sent(
    url: str, path: str, kind: str = JSON, key: dict[str, str] | None = None
) -> Iterator[socket.socket]:
    """Send the beginning of a request of 100 bytes."""
    host, _, port = url.removeprefix("http://").rpartition(":")
    lines = [f"POST {path} HTTP/1.1", "Host: localhost", f"Content-Type: {kind}", "Content-Length: 100"]
    lines += [f"{name}: {value}" for name, value in (key or {}).items()]
    with socket.create_connection((host, int(port)), SECONDS) as opened:
        opened.sendall("\r\n".join([*lines, "", '{"text": ']).encode())
        yield opened


def status(opened: socket.socket) -> int:
    """Wait for the answer on a connection."""
    return int(opened.makefile("rb").readline().split()[1])


@pytest.mark.parametrize(("path", "kind"), [(SEARCH, JSON), (EMBEDDINGS, JSON), (RECORDS, NDJSON)])
def test_a_body_that_stops_is_answered_with_408_after_the_stated_time(
    tmp_path: Path, path: str, kind: str
) -> None:
    with served(tmp_path, body_timeout=0.3) as client, on_a_port(client) as url:
        began = time.monotonic()
        with half_sent(url, path, kind) as opened:
            answer = opened.makefile("rb").read().decode()  # to the end: the connection is closed
        assert answer.startswith("HTTP/1.1 408 ")
        assert "within 0.3 s" in json.loads(answer.partition("\r\n\r\n")[2])["found"]
        assert 0.3 <= time.monotonic() - began < SECONDS
        assert not list((tmp_path / "state" / "spool").iterdir())


@pytest.mark.parametrize("path", [SEARCH, EMBEDDINGS, RECORDS])
def test_nothing_of_a_body_is_awaited_without_a_valid_key(tmp_path: Path, path: str) -> None:
    with served(tmp_path) as client, on_a_port(client) as url:
        right = key_of(client, "read")
        for key in ({}, {"Authorization": right["Authorization"][:-4] + "AAAA"}):
            with half_sent(url, path, key=key) as opened:
                assert status(opened) == 401
        with half_sent(url, RECORDS, key=right) as opened:
            assert status(opened) == 403


@pytest.mark.parametrize("has_keys", [False, True])
def test_half_sent_bodies_take_no_place_of_other_requests(tmp_path: Path, has_keys: bool) -> None:
    with served(tmp_path, max_running=1, max_waiting=1) as client, on_a_port(client) as url:
        key = key_of(client, "read", "write") if has_keys else {}
        with ExitStack() as held:
            for path, kind in [(SEARCH, JSON), (RECORDS, NDJSON)] * 20:
                held.enter_context(half_sent(url, path, kind, key))
            assert client.post(SEARCH, json={"text": "a"}, headers=key).status_code == 200
            taken = client.post(RECORDS, json={"records": [{"text": "a"}]}, headers=key)
            assert taken.status_code == 202


def test_a_sender_that_goes_away_leaves_no_traceback(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with served(tmp_path) as client, on_a_port(client) as url, caplog.at_level(logging.INFO):
        for path, kind in [(SEARCH, JSON), (RECORDS, NDJSON), (EMBEDDINGS, JSON)]:
            with half_sent(url, path, kind):
                pass
        end = time.monotonic() + SECONDS
        while sum(record.message == "request" for record in caplog.records) < 3:
            assert time.monotonic() < end
            time.sleep(0.01)
        assert not [record for record in caplog.records if record.levelno >= logging.WARNING]


def test_a_body_that_is_too_large_is_a_problem_before_it_is_read(client: TestClient) -> None:
    headers = {"Content-Type": JSON, "Content-Length": str(2**40)}
    found = client.post(SEARCH, content=b"{}", headers=headers)
    assert (found.status_code, found.headers["content-type"]) == (413, "application/problem+json")
    assert "NDJSON" in found.json()["do"]


def test_a_connection_without_a_request_is_closed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("saeindex_server.listener.HEAD_SECONDS", 0.3)
    with served(tmp_path) as client, on_a_port(client) as url:
        host, _, port = url.removeprefix("http://").rpartition(":")
        answered = b"GET /livez HTTP/1.1\r\nHost: localhost\r\n\r\n"
        for before in (b"", answered):
            with socket.create_connection((host, int(port)), SECONDS) as opened:
                opened.sendall(before + b"POST /v1/indexes/papers/search HTTP/1.1\r\nHost: ")
                assert (b" 200 " in opened.makefile("rb").read()) == bool(before)  # to the end
