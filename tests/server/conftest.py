"""Servers over real indexes, in this process."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import uvicorn
from fastapi import FastAPI
from fastapi.testclient import TestClient
from saeindex_server.app import create_app
from saeindex_server.listener import Connection
from saeindex_server.service import Service
from saeindex_server.settings import ServerSettings

from saeindex import FeatureIndex, FeatureSpace, Record, open_encoder
from saeindex.encoders.sentence_transformers import SentenceTransformerEncoder
from saeindex.files import CACHE_VARIABLE
from tests.samples import RecordingEncoder, sample_records

if TYPE_CHECKING:
    from saeindex.types import FloatArray

HOST = "http://localhost"


class DocumentsOnce(RecordingEncoder):
    """Encodes each document once, whichever index it is for; all else as a server does."""

    def encode_query(self, texts: Sequence[str]) -> FloatArray:
        encoder = self._encoder
        assert isinstance(encoder, SentenceTransformerEncoder)
        return encoder.encode_query_in_rows(texts)


@pytest.fixture(scope="session")
def documents_once() -> DocumentsOnce:
    return DocumentsOnce(open_encoder())


@pytest.fixture(scope="module", autouse=True)
def own_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Embeddings that other tests made in other batches differ in their last bits."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(CACHE_VARIABLE, str(tmp_path_factory.mktemp("cache")))
        yield


def made_index(
    path: Path,
    space: FeatureSpace,
    encoder: DocumentsOnce,
    records: Sequence[Record],
    like: Sequence[str] = (),
) -> Path:
    with FeatureIndex.create(path, space, encoder=encoder) as index:
        index.upsert(records, learn_terms=False)
        if like:
            index.concepts.rename(7, "a name that tells of others")
            index.profiles.fit("theirs", like=like)
    return path


@contextmanager
def served(folder: Path, **options: Any) -> Iterator[TestClient]:
    """Run a server over the index ``papers.idx`` in a folder, which is made empty if there is none."""
    if not (folder / "papers.idx").exists():
        FeatureIndex.create(folder / "papers.idx").close()
    settings = ServerSettings(state=folder / "state", workbench=False, **options)
    with TestClient(create_app(settings, [str(folder / "papers.idx")]), base_url=HOST) as client:
        yield client


@contextmanager
def on_a_port(client: TestClient) -> Iterator[str]:
    """Serve the application of a client on a port, too, on the same event loop."""
    config = uvicorn.Config(
        client.app, port=0, http=Connection, lifespan="off", log_config=None, access_log=False
    )
    server = uvicorn.Server(config)
    assert client.portal is not None
    serving = client.portal.start_task_soon(server.serve)
    while not server.started:
        time.sleep(0.01)
    try:
        yield f"http://localhost:{server.servers[0].sockets[0].getsockname()[1]}"
    finally:
        server.should_exit = True
        serving.result()


def service_of(client: TestClient) -> Service:
    assert isinstance(client.app, FastAPI)
    found: Service = client.app.state.service
    return found


def key_of(client: TestClient, *scopes: str, **options: Any) -> dict[str, str]:
    """Make a key; return the headers that carry it."""
    _, text = service_of(client).keys.create("a key", scopes, **options)
    return {"Authorization": f"Bearer {text}"}


@pytest.fixture(scope="module")
def client(
    tmp_path_factory: pytest.TempPathFactory, space: FeatureSpace, documents_once: DocumentsOnce
) -> Iterator[TestClient]:
    """A server without keys on loopback, over an index of 240 records; tests may write to it."""
    folder = tmp_path_factory.mktemp("served")
    made_index(folder / "papers.idx", space, documents_once, sample_records(240))
    settings = ServerSettings(state=folder / "state", workbench=False)
    with TestClient(create_app(settings, [str(folder / "papers.idx")]), base_url=HOST) as opened:
        yield opened
