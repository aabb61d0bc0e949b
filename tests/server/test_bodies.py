"""Bodies that come slowly, not at all, or in too great numbers: they end, and nobody else notices."""

from __future__ import annotations

import json
import logging
import socket
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import anyio
import pytest
from fastapi.testclient import TestClient
from saeindex_server.bodies import LARGEST_AT_ONCE, PIECE_BYTES, Bodies
from saeindex_server.problems import Refusal
from saeindex_server.settings import ServerSettings

from tests.server.conftest import key_of, on_a_port, served, service_of

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


def test_bodies_that_arrive_have_room_and_one_key_takes_half_of_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("saeindex_server.bodies.LARGEST_AT_ONCE", 2)
    with served(tmp_path, max_body_bytes=1_000) as client:
        one, other = key_of(client, "read"), key_of(client, "read")
        first = service_of(client).keys.all()[0]
        arriving = service_of(client).bodies._held
        arriving[first.id] = 1_000
        answers = [client.post(SEARCH, json={"text": "a"}, headers=key) for key in (one, other)]
        assert sorted(answer.status_code for answer in answers) == [200, 503]
        refused = next(answer for answer in answers if answer.status_code == 503)
        assert "arrive" in refused.json()["found"] and refused.headers["retry-after"]
        assert sum(arriving.values()) == 1_000  # what was read is given back


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


def test_who_does_not_take_an_answer_is_let_go_and_counts_until_then() -> None:
    taken: list[bytes] = []

    async def stuck_at_the_third(part: bytes, has_more: bool) -> None:
        assert has_more
        await anyio.sleep(SECONDS if len(taken) == 2 else 0)
        taken.append(part)

    async def sent(bodies: Bodies) -> None:
        with pytest.raises(TimeoutError):
            await bodies.send(b"x" * 5 * PIECE_BYTES, "key", stuck_at_the_third)

    bodies = Bodies(ServerSettings(body_timeout=0.2))
    anyio.run(sent, bodies)
    assert list(map(len, taken)) == [PIECE_BYTES] * 2
    bodies._check_memory("key", LARGEST_AT_ONCE // 2 * ServerSettings().max_body_bytes)
    with pytest.raises(Refusal, match="sent at once"):
        bodies._check_memory("key", LARGEST_AT_ONCE // 2 * ServerSettings().max_body_bytes + 1)


def test_a_large_answer_comes_whole(client: TestClient) -> None:
    found = client.post("/v1/indexes/papers/scroll", json={"limit": 240, "include": ["vectors"]})
    assert len(found.content) > 2 * PIECE_BYTES and len(found.json()["result"][0]) == 240
