"""The conformance suite over every store that saeindex has."""

from __future__ import annotations

import os
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import ClassVar

import pytest
from qdrant_client import QdrantClient

from saeindex.protocols import Layout, VectorStore
from saeindex.stores import isolated
from saeindex.stores.edge import EdgeStore
from saeindex.stores.engine_process import EngineProcess
from saeindex.stores.isolated import IsolatedStore
from saeindex.stores.qdrant import QdrantStore
from saeindex.testing.store_conformance import VectorStoreConformance

MakeStore = Callable[[Layout], VectorStore]
Reopen = Callable[[VectorStore], VectorStore]


class _InDirectory(VectorStoreConformance):
    kind: ClassVar[type[EdgeStore | IsolatedStore]]

    @pytest.fixture
    def stores(self, index_path: Path) -> Iterator[dict[VectorStore, Path]]:
        opened: dict[VectorStore, Path] = {}
        yield opened
        for store in opened:
            store.close()

    @pytest.fixture
    def make_store(self, stores: dict[VectorStore, Path], index_path: Path) -> MakeStore:
        def make(layout: Layout) -> VectorStore:
            path = index_path / f"index-{len(stores)}"
            store = self.kind.create(path, layout)
            stores[store] = path
            return store

        return make

    @pytest.fixture
    def reopen(self, stores: dict[VectorStore, Path]) -> Reopen:
        def again(store: VectorStore) -> VectorStore:
            path = stores[store]
            store.close()
            opened = self.kind.open(path)
            stores[opened] = path
            return opened

        return again


class TestEdgeStore(_InDirectory):
    kind = EdgeStore


class KeptProcess(EngineProcess):
    """An engine's process that serves the next store when one has let it go: starting it takes a second."""

    idle: ClassVar[list[KeptProcess]] = []

    def __new__(cls) -> KeptProcess:
        return cls.idle.pop() if cls.idle else super().__new__(cls)

    def __init__(self) -> None:
        if not hasattr(self, "_process"):
            super().__init__()

    def end(self) -> None:
        self.idle.append(self)


@pytest.fixture(scope="module")
def kept_processes() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(isolated, "EngineProcess", KeptProcess)
        yield
    for process in KeptProcess.idle:
        EngineProcess.end(process)
    KeptProcess.idle.clear()


@pytest.mark.usefixtures("kept_processes")
class TestIsolatedStore(_InDirectory):
    kind = IsolatedStore


class _OverClient(VectorStoreConformance):
    @pytest.fixture
    def collections(self, client: QdrantClient) -> Iterator[dict[VectorStore, str]]:
        made: dict[VectorStore, str] = {}
        yield made
        for name in set(made.values()):
            client.delete_collection(name)

    @pytest.fixture
    def make_store(self, client: QdrantClient, collections: dict[VectorStore, str]) -> MakeStore:
        def make(layout: Layout) -> VectorStore:
            name = f"saeindex-test-{uuid.uuid4().hex}"
            store = QdrantStore.create(client, name, layout)
            collections[store] = name
            return store

        return make

    @pytest.fixture
    def reopen(self, client: QdrantClient, collections: dict[VectorStore, str]) -> Reopen:
        def again(store: VectorStore) -> VectorStore:
            store.close()
            opened = QdrantStore.open(client, collections[store])
            collections[opened] = collections[store]
            return opened

        return again


class TestLocalMode(_OverClient):
    @pytest.fixture
    def client(self) -> Iterator[QdrantClient]:
        client = QdrantClient(":memory:")
        yield client
        client.close()


@pytest.mark.skipif(
    "SAEINDEX_TEST_QDRANT_URL" not in os.environ,
    reason="set SAEINDEX_TEST_QDRANT_URL to run the suite on a Qdrant server",
)
class TestServer(_OverClient):
    @pytest.fixture
    def client(self) -> Iterator[QdrantClient]:
        key = os.environ.get("SAEINDEX_TEST_QDRANT_API_KEY")
        client = QdrantClient(url=os.environ["SAEINDEX_TEST_QDRANT_URL"], api_key=key, timeout=60)
        yield client
        client.close()
