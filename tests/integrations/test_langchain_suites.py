"""LangChain's own suites, on every kind of index that a vector store can be over."""

from __future__ import annotations

import os
from collections.abc import Iterator
from inspect import iscoroutinefunction
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from langchain_core.embeddings import Embeddings
from langchain_core.retrievers import BaseRetriever
from langchain_core.vectorstores import VectorStore
from langchain_tests.integration_tests import (
    EmbeddingsIntegrationTests,
    RetrieversIntegrationTests,
    VectorStoreIntegrationTests,
)
from qdrant_client import QdrantClient

from saeindex import FeatureIndex
from saeindex.integrations.langchain import (
    EmbeddingsEncoder,
    SaeIndexEmbeddings,
    SaeIndexRetriever,
    SaeIndexVectorStore,
)
from saeindex.protocols import TextEncoder
from saeindex.testing.seam_conformance import TextEncoderConformance
from tests.samples import RecordingEncoder

# The suites leave the choice of an event loop to who runs them.
for suite in (VectorStoreIntegrationTests, RetrieversIntegrationTests, EmbeddingsIntegrationTests):
    for method in vars(suite).values():
        if iscoroutinefunction(method):
            pytest.mark.asyncio(method)


class TestDirectory(VectorStoreIntegrationTests):
    @pytest.fixture
    def vectorstore(self, tmp_path: Path, session_encoder: RecordingEncoder) -> Iterator[VectorStore]:
        store = SaeIndexVectorStore(tmp_path / "texts.idx", SaeIndexEmbeddings(session_encoder))
        with store.index:
            yield store


class TestDirectoryWithEmbeddingsOfLangChain(VectorStoreIntegrationTests):
    @pytest.fixture
    def vectorstore(self, tmp_path: Path) -> Iterator[VectorStore]:
        store = SaeIndexVectorStore(tmp_path / "texts.idx", self.get_embeddings())
        with store.index:
            yield store


class TestLocalMode(VectorStoreIntegrationTests):
    @pytest.fixture
    def vectorstore(self, session_encoder: RecordingEncoder) -> Iterator[VectorStore]:
        client = QdrantClient(":memory:")
        yield SaeIndexVectorStore("texts", SaeIndexEmbeddings(session_encoder), client=client)
        client.close()


class TestLocalModeWithEmbeddingsOfLangChain(VectorStoreIntegrationTests):
    @pytest.fixture
    def vectorstore(self) -> Iterator[VectorStore]:
        client = QdrantClient(":memory:")
        yield SaeIndexVectorStore("texts", self.get_embeddings(), client=client)
        client.close()


@pytest.mark.skipif(
    "SAEINDEX_TEST_QDRANT_URL" not in os.environ,
    reason="set SAEINDEX_TEST_QDRANT_URL to run the suite on a Qdrant server",
)
class TestServer(VectorStoreIntegrationTests):
    @pytest.fixture
    def vectorstore(self, session_encoder: RecordingEncoder) -> Iterator[VectorStore]:
        url, key = os.environ["SAEINDEX_TEST_QDRANT_URL"], os.environ.get("SAEINDEX_TEST_QDRANT_API_KEY")
        client, name = QdrantClient(url=url, api_key=key, timeout=60), f"saeindex-test-{uuid4().hex}"
        yield SaeIndexVectorStore(name, SaeIndexEmbeddings(session_encoder), client=client)
        client.delete_collection(name)
        client.close()


class TestRetriever(RetrieversIntegrationTests):
    @pytest.fixture(autouse=True)
    def _over(self, papers: FeatureIndex) -> None:
        self.store = SaeIndexVectorStore(papers)

    @property
    def retriever_constructor(self) -> type[BaseRetriever]:
        return SaeIndexRetriever

    @property
    def retriever_constructor_params(self) -> dict[str, Any]:
        return {"vectorstore": self.store}

    @property
    def retriever_query_example(self) -> str:
        return "dark matter in spiral galaxies"


class TestEmbeddings(EmbeddingsIntegrationTests):
    @property
    def embeddings_class(self) -> type[Embeddings]:
        return SaeIndexEmbeddings


class TestEncoder(TextEncoderConformance):
    @pytest.fixture
    def encoder(self) -> TextEncoder:
        return EmbeddingsEncoder(VectorStoreIntegrationTests.get_embeddings())
