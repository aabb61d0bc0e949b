"""QdrantStore beyond the conformance suite: creation, errors, chunks and secrets."""

from __future__ import annotations

import json
import threading
import traceback
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from qdrant_client import QdrantClient, models

from saeindex.errors import InvalidInputError, MismatchError, NotFoundError, SaeIndexError, StorageError
from saeindex.protocols import Fusion, Layout, Point, SearchRequest
from saeindex.stores import create_store, open_store
from saeindex.stores.qdrant import QdrantStore

LAYOUT = Layout({"dense": 4}, ("sae",), {"concepts": "integer", "year": "integer-range"})
ONES = np.ones(4, dtype=np.float32)
SECRET = "s3cr3t-key"


@pytest.fixture
def client() -> Iterator[QdrantClient]:
    client = QdrantClient(":memory:")
    yield client
    client.close()


def test_handles_of_one_client_in_local_mode_may_be_used_by_threads(client: QdrantClient) -> None:
    first = create_store("things", LAYOUT, client=client)
    second = open_store("things", client=client)
    failures: list[BaseException] = []

    def write(store: Any, start: int) -> None:
        try:
            for number in range(start, start + 300):
                store.upsert([Point(number, {"dense": ONES}, {"year": number})])
                store.scroll(limit=50)
        except BaseException as error:
            failures.append(error)

    threads = [
        threading.Thread(target=write, args=(store, n * 300)) for n, store in enumerate((first, second))
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures
    assert first.count() == second.count() == 600
    assert first.turns is second.turns


def test_the_layout_is_read_back(client: QdrantClient) -> None:
    QdrantStore.create(client, "c", LAYOUT)
    assert QdrantStore.open(client, "c").layout == LAYOUT


def test_creating_twice_is_refused(client: QdrantClient) -> None:
    QdrantStore.create(client, "ours", LAYOUT)
    client.create_collection("theirs", vectors_config={})
    for name in ("ours", "theirs"):
        with pytest.raises(MismatchError, match="already"):
            QdrantStore.create(client, name, LAYOUT)
    with pytest.raises(NotFoundError, match="no such collection"):
        QdrantStore.open(client, "absent")


def test_an_interrupted_creation_is_completed(client: QdrantClient, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(client, "update_collection", fail)
        with pytest.raises(KeyboardInterrupt):
            QdrantStore.create(client, "c", LAYOUT)
    with pytest.raises(NotFoundError, match="interrupted"):
        QdrantStore.open(client, "c")
    with pytest.raises(MismatchError, match="another layout"):
        QdrantStore.create(client, "c", Layout({"dense": 5}))
    QdrantStore.create(client, "c", LAYOUT)
    assert QdrantStore.open(client, "c").layout == LAYOUT


def test_a_foreign_collection_opens_if_its_vectors_fit(client: QdrantClient) -> None:
    cosine = models.VectorParams(size=4, distance=models.Distance.COSINE)
    client.create_collection(
        "fits", vectors_config={"dense": cosine}, sparse_vectors_config={"sae": models.SparseVectorParams()}
    )
    assert QdrantStore.open(client, "fits").layout == Layout({"dense": 4}, ("sae",), {})
    dot = models.VectorParams(size=4, distance=models.Distance.DOT)
    client.create_collection("dot", vectors_config={"dense": dot})
    client.create_collection("unnamed", vectors_config=cosine)
    with pytest.raises(MismatchError, match="cosine"):
        QdrantStore.open(client, "dot")
    with pytest.raises(MismatchError, match="no name"):
        QdrantStore.open(client, "unnamed")


def test_the_manifest_leaves_other_metadata_alone(client: QdrantClient) -> None:
    store = QdrantStore.create(client, "c", LAYOUT)
    client.update_collection("c", metadata={"owner": "me"})
    store.write_manifest({"a": {"b": None}})
    store.write_manifest({"c": 1})
    assert store.read_manifest() == {"c": 1}
    assert (client.get_collection("c").config.metadata or {})["owner"] == "me"


def test_options_pass_through_and_unknown_ones_are_refused(client: QdrantClient) -> None:
    QdrantStore.create(client, "c", LAYOUT, shard_number=2, on_disk_payload=True)
    with pytest.raises(InvalidInputError, match="shards"):
        QdrantStore.create(client, "d", LAYOUT, shards=2)
    with pytest.raises(InvalidInputError, match="name"):
        QdrantStore.create(client, "a/b", LAYOUT)


def test_a_large_batch_is_split_into_requests_within_the_server_limit(
    client: QdrantClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = QdrantStore.create(client, "c", LAYOUT)
    sent: list[int] = []

    def record(_: str, points: list[models.PointStruct], **options: Any) -> None:
        assert options["wait"] is True
        sent.append(sum(len(point.model_dump_json()) for point in points))

    monkeypatch.setattr(client, "upsert", record)
    text = "é" * 500_000
    store.upsert([Point(n, {"dense": ONES}, {"text": text}) for n in range(30)])
    store.upsert([Point(n, {"dense": ONES}) for n in range(2500)])
    assert len(sent) > 6
    assert max(sent) < 10 * 2**20


def test_a_client_passed_in_stays_open(client: QdrantClient) -> None:
    create_store("c", LAYOUT, client=client).close()
    open_store("c", client=client).close()
    assert client.collection_exists("c")


def test_the_timeout_of_a_search_is_sent_in_whole_seconds(
    client: QdrantClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = QdrantStore.create(client, "c", LAYOUT)
    store.upsert([Point(1, {"dense": ONES})])
    sent: list[Any] = []
    search = client.query_points

    def recorded(*arguments: Any, timeout: int | None = None, **options: Any) -> Any:
        sent.append(timeout)
        return search(*arguments, **options)

    monkeypatch.setattr(client, "query_points", recorded)
    for timeout in (None, 0.01, 2.5, 7):
        prefetch = (SearchRequest(ONES, timeout=timeout), SearchRequest(ONES, timeout=timeout))
        assert len(store.search(SearchRequest(ONES, timeout=timeout))) == 1
        assert len(store.search(SearchRequest(Fusion(), prefetch=prefetch, timeout=timeout))) == 1
    assert sent == [None] * 3 + [1] * 3 + [3] * 3 + [7] * 3


def test_open_store_chooses_by_its_arguments(client: QdrantClient, index_path: Path) -> None:
    create_store(index_path / "edge", LAYOUT).close()
    with open_store(index_path / "edge") as store:
        assert store.layout == LAYOUT
    with pytest.raises(NotFoundError, match="Create it first"):
        open_store(index_path / "absent")
    with pytest.raises(InvalidInputError, match="shard_number"):
        create_store(index_path / "other", LAYOUT, shard_number=2)
    with pytest.raises(InvalidInputError, match="both"):
        open_store("c", client=client, url="http://localhost:1")


class _Server(BaseHTTPRequestHandler):
    """Answers every request with one status, and a reason in Qdrant's format."""

    status, seen = 401, ""

    def do_GET(self) -> None:
        type(self).seen = self.headers.get("api-key", "")
        body = json.dumps({"status": {"error": "as the server says\nit"}, "time": 0}).encode()
        self.send_response(self.status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Print nothing."""


@pytest.fixture
def url() -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Server)
    threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


def _error(url: str) -> SaeIndexError:
    with pytest.raises(SaeIndexError) as caught, pytest.warns(UserWarning, match="insecure"):
        open_store("c", url=url)
    shown = "".join(traceback.format_exception(caught.value))
    assert SECRET not in shown
    return caught.value


@pytest.mark.parametrize(
    ("status", "kind", "message"),
    [
        (401, StorageError, "QDRANT_API_KEY"),
        (403, StorageError, "QDRANT_API_KEY"),
        (404, NotFoundError, "Create it first"),
        (409, MismatchError, "another name"),
        (400, InvalidInputError, "as the server says"),
        (500, StorageError, "answered 500: as the server says"),
    ],
)
def test_a_server_error_becomes_a_saeindex_error_without_the_key(
    url: str, monkeypatch: pytest.MonkeyPatch, status: int, kind: type[SaeIndexError], message: str
) -> None:
    monkeypatch.setenv("QDRANT_API_KEY", SECRET)
    monkeypatch.setattr(_Server, "status", status)
    error = _error(url)
    assert _Server.seen == SECRET
    assert isinstance(error, kind)
    assert message in str(error)


def test_an_unreachable_server_and_a_key_invalid_in_a_header_are_errors(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for key in (SECRET, SECRET + "\nx"):
        monkeypatch.setenv("QDRANT_API_KEY", key)
        error = _error("http://127.0.0.1:9")
        assert isinstance(error, StorageError | InvalidInputError)


def test_a_url_from_the_environment_is_used_when_the_name_is_given(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("QDRANT_URL", raising=False)
    with pytest.raises(InvalidInputError, match="QDRANT_URL is not set"):
        open_store("papers", url="env")
