"""Haystack: its own suites of a document store, and what an index adds to them in pipelines."""

from __future__ import annotations

import asyncio
import gc
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import datetime
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
from haystack import Document, Pipeline
from haystack.components.joiners import DocumentJoiner
from haystack.components.retrievers.in_memory import InMemoryBM25Retriever, InMemoryEmbeddingRetriever
from haystack.components.writers import DocumentWriter
from haystack.core.errors import DeserializationError
from haystack.dataclasses import ByteStream
from haystack.document_stores.errors import DuplicateDocumentError
from haystack.document_stores.in_memory import InMemoryDocumentStore
from haystack.document_stores.types import DocumentStore, DuplicatePolicy, FilterPolicy
from haystack.errors import FilterError
from haystack.testing import document_store as suite
from haystack.testing import document_store_async as async_suite
from haystack.utils.filters import document_matches_filter

from saeindex import FeatureIndex, Record, Steering
from saeindex.errors import InvalidInputError, InvalidRecordError, MissingDependencyError
from saeindex.integrations.haystack import (
    SaeIndexDocumentEmbedder,
    SaeIndexDocumentStore,
    SaeIndexRetriever,
    SaeIndexTextEmbedder,
)
from saeindex.samples import speeches
from tests.samples import RecordingEncoder

TRUSTED = ["saeindex.integrations.haystack"]
TEXT = "schools that fail our children"


def opened(path: Path, encoder: RecordingEncoder) -> SaeIndexDocumentStore:
    store = SaeIndexDocumentStore(str(path))
    store.index.encoder = encoder
    return store


@pytest.fixture
def document_store(tmp_path: Path, session_encoder: RecordingEncoder) -> Iterator[SaeIndexDocumentStore]:
    store = opened(tmp_path / "notes.idx", session_encoder)
    with store.index:
        yield store


@pytest.fixture(scope="module")
def told(
    tmp_path_factory: pytest.TempPathFactory, session_encoder: RecordingEncoder
) -> Iterator[SaeIndexDocumentStore]:
    """Speeches, for tests that only read."""
    store = opened(tmp_path_factory.mktemp("told") / "speeches.idx", session_encoder)
    with store.index:
        store.write_documents(
            [
                Document(
                    id=one.id, content=one.text, meta={**one.metadata, "day": f"{one.metadata['year']}-01-20"}
                )
                for one in speeches()[400:500]
            ]
        )
        yield store


class Alike(suite.AssertDocumentsEqualMixin):
    """Documents come in the order of their points, without the embeddings that they were written with."""

    @staticmethod
    def assert_documents_are_equal(received: list[Document], expected: list[Document]) -> None:
        bare = [replace(one, embedding=None) for one in expected]
        assert sorted(received, key=lambda one: one.id) == sorted(bare, key=lambda one: one.id)


class TestDocumentStore(
    Alike,
    suite.DocumentStoreBaseExtendedTests,
    suite.CountDocumentsByFilterTest,
    suite.CountUniqueMetadataByFilterTest,
    suite.GetMetadataFieldsInfoTest,
    suite.GetMetadataFieldMinMaxTest,
    suite.GetMetadataFieldUniqueValuesTest,
):
    @pytest.fixture
    def document_store(
        self, tmp_path: Path, session_encoder: RecordingEncoder
    ) -> Iterator[SaeIndexDocumentStore]:
        store = opened(tmp_path / "notes.idx", session_encoder)
        with store.index:
            yield store

    def test_write_documents(self, document_store: DocumentStore) -> None:
        """Without a policy, what is there is an error."""
        assert document_store.write_documents([Document(id="1", content="one")]) == 1
        with pytest.raises(DuplicateDocumentError, match="'1'"):
            document_store.write_documents([Document(id="2", content="two"), Document(id="1", content="new")])
        assert [one.content for one in document_store.filter_documents()] == ["one"]


class TestAsyncDocumentStore(
    Alike,
    async_suite.DeleteAllAsyncTest,
    async_suite.CountDocumentsAsyncTest,
    async_suite.CountDocumentsByFilterAsyncTest,
    async_suite.CountUniqueMetadataByFilterAsyncTest,
    async_suite.DeleteByFilterAsyncTest,
    async_suite.UpdateByFilterAsyncTest,
    async_suite.WriteDocumentsAsyncTest,
    async_suite.DeleteDocumentsAsyncTest,
    async_suite.GetMetadataFieldsInfoAsyncTest,
    async_suite.GetMetadataFieldMinMaxAsyncTest,
    async_suite.GetMetadataFieldUniqueValuesAsyncTest,
    async_suite.FilterDocumentsAsyncTest,
):
    @pytest.fixture
    def document_store(
        self, tmp_path: Path, session_encoder: RecordingEncoder
    ) -> Iterator[SaeIndexDocumentStore]:
        store = opened(tmp_path / "notes.idx", session_encoder)
        with store.index:
            yield store

    @pytest.mark.asyncio
    async def test_write_documents_async(self, document_store: SaeIndexDocumentStore) -> None:
        """Without a policy, what is there is an error."""
        assert await document_store.write_documents_async([Document(id="1", content="one")]) == 1
        with pytest.raises(DuplicateDocumentError):
            await document_store.write_documents_async([Document(id="1", content="new")])


# Documents --------------------------------------------------------------------------------------------


def test_each_policy_decides_about_an_id_that_comes_twice_at_once(
    document_store: SaeIndexDocumentStore,
) -> None:
    both = [Document(id="1", content="first"), Document(id="1", content="last")]
    with pytest.raises(DuplicateDocumentError):
        document_store.write_documents(both)
    assert document_store.write_documents(both, policy=DuplicatePolicy.SKIP) == 1
    assert document_store.filter_documents()[0].content == "first"
    assert document_store.write_documents(both, policy=DuplicatePolicy.OVERWRITE) == 2
    assert document_store.filter_documents()[0].content == "last"


@pytest.mark.parametrize(
    ("document", "found"),
    [
        (Document(id="b", content=None), "no text"),
        (Document(id="b", content="  "), "no text"),
        (Document(id="b", content="a text", blob=ByteStream(b"x")), "a blob"),
        (Document(id="b", content="a text", meta={"a": {"b": float}}), "metadata.a"),
    ],
    ids=["no content", "blank", "blob", "no JSON"],
)
def test_what_an_index_cannot_keep_is_an_error(
    document_store: SaeIndexDocumentStore, document: Document, found: str
) -> None:
    with pytest.raises(InvalidRecordError, match=found):
        document_store.write_documents([document])
    assert document_store.count_documents() == 0


def test_an_embedding_of_any_length_is_not_used(told: SaeIndexDocumentStore) -> None:
    stored = told.filter_documents({"field": "id", "operator": "==", "value": "1986-14"})
    assert [one.embedding for one in stored] == [None]
    (record,) = told.index.get(["1986-14"])
    assert record.dense is not None and record.dense.shape == (384,)


def test_an_empty_store_is_searched_and_nothing_is_deleted_by_an_empty_filter(
    document_store: SaeIndexDocumentStore,
) -> None:
    assert SaeIndexRetriever(document_store).run(TEXT) == {"documents": []}
    document_store.write_documents([Document(id="1", content="one")])
    with pytest.raises(InvalidInputError):
        document_store.delete_by_filter({})
    both = {"operator": "AND", "conditions": [{"operator": "AND", "conditions": []}]}
    with pytest.raises(InvalidInputError, match="every record matches"):
        document_store.delete_by_filter(both)
    assert document_store.count_documents() == 1


def test_two_threads_write_and_search(document_store: SaeIndexDocumentStore) -> None:
    def write(number: int) -> int:
        written = document_store.write_documents(
            [Document(id=f"{number}", content=f"A note on tax {number}.")]
        )
        return written + len(SaeIndexRetriever(document_store).run("tax")["documents"])

    with ThreadPoolExecutor(2) as threads:
        assert all(count >= 2 for count in threads.map(write, range(6)))
    assert document_store.count_documents() == 6


def test_fields_of_metadata_are_never_those_of_a_record(document_store: SaeIndexDocumentStore) -> None:
    named = {"document": "contract", "record_id": 7, "saeindex": {"evidence": []}}
    document_store.write_documents([Document(id="1", content="A contract.", meta=named)])
    for field, value in (("document", "contract"), ("record_id", 7)):
        wanted = {"field": f"meta.{field}", "operator": "==", "value": value}
        assert document_store.count_documents_by_filter(wanted) == 1
        assert document_store.delete_by_filter({**wanted, "operator": "!="}) == 0
    (found,) = document_store.filter_documents()
    assert found.meta == {"document": "contract", "record_id": 7}  # but for what explained a search


def test_a_closed_index_is_opened_again(document_store: SaeIndexDocumentStore) -> None:
    document_store.write_documents([Document(id="1", content="A note.")])
    document_store.index.close()
    assert document_store.count_documents() == 1
    document_store.index.close()


def test_stores_of_one_path_share_an_index_until_the_last_is_gone(
    tmp_path: Path, session_encoder: RecordingEncoder
) -> None:
    path = tmp_path / "shared.idx"
    first = opened(path, session_encoder)
    first.write_documents([Document(id="1", content="one")])
    second = SaeIndexDocumentStore.from_dict(first.to_dict())
    assert second.index is first.index and second.count_documents() == 1
    del first, second
    gc.collect()
    with FeatureIndex.open(path) as index:
        assert index.count() == 1


# Filters ----------------------------------------------------------------------------------------------

META: list[dict[str, Any]] = [
    {"n": 3, "day": "2015-03-01", "who": {"name": "Ann"}, "tags": ["a", "b"]},
    {"n": 3.5, "day": "2015-03-01T12:00:00", "who": {"name": "Bob"}, "odd name": "x"},
    {"n": None, "day": "2015-03-02T00:30:00+02:00", "flag": True},
    {"day": "2016-01-01T00:00:00Z", "flag": False},
    {},
]
FILTERS: list[dict[str, Any]] = [
    {"field": "meta.who.name", "operator": "==", "value": "Ann"},
    {"field": "meta.odd name", "operator": "==", "value": "x"},
    {"field": "n", "operator": ">", "value": 3},
    {"field": "meta.n", "operator": "in", "value": [3, None]},
    {"field": "meta.n", "operator": "not in", "value": [3, None]},
    {"field": "meta.n", "operator": "in", "value": [*range(4, 3000), 3]},
    {"field": "meta.n", "operator": "in", "value": []},
    {"field": "meta.n", "operator": "not in", "value": []},
    {"field": "meta.flag", "operator": "==", "value": True},
    {"field": "meta.flag", "operator": "!=", "value": True},
    {"field": "id", "operator": "in", "value": ["0", "4"]},
    {"field": "meta.day", "operator": "<=", "value": "2015-03-01"},
    {"field": "meta.day", "operator": ">", "value": "2015-03-01"},
    {"field": "meta.day", "operator": ">=", "value": "2015-03-01T23:00:00+00:00"},
    {"field": "meta.day", "operator": "<", "value": datetime(2015, 3, 1, 12)},
    {
        "operator": "NOT",
        "conditions": [
            {"operator": "OR", "conditions": [
                {"field": "meta.n", "operator": ">=", "value": 3},
                {"operator": "AND", "conditions": [
                    {"field": "meta.day", "operator": ">", "value": "2015-06-01"},
                    {"field": "meta.flag", "operator": "!=", "value": None},
                ]},
            ]},
        ],
    },
]  # fmt: skip


@pytest.fixture(scope="module")
def dated(
    tmp_path_factory: pytest.TempPathFactory, session_encoder: RecordingEncoder
) -> Iterator[tuple[SaeIndexDocumentStore, list[Document]]]:
    """Documents with metadata of all kinds, for tests that only read."""
    store = opened(tmp_path_factory.mktemp("dated") / "dated.idx", session_encoder)
    documents = [Document(id=str(i), content=f"Text {i}", meta=meta) for i, meta in enumerate(META)]
    with store.index:
        store.write_documents(documents)
        yield store, documents


@pytest.mark.parametrize("filters", FILTERS, ids=lambda one: str(one)[:80])
def test_filters_select_what_haystack_itself_selects(
    dated: tuple[SaeIndexDocumentStore, list[Document]], filters: dict[str, Any]
) -> None:
    store, documents = dated
    expected = {one.id for one in documents if document_matches_filter(filters, one)}
    assert {one.id for one in store.filter_documents(filters)} == expected
    assert store.count_documents_by_filter(filters) == len(expected)


def test_a_value_in_a_list_is_found(dated: tuple[SaeIndexDocumentStore, list[Document]]) -> None:
    found = dated[0].filter_documents({"field": "meta.tags", "operator": "==", "value": "b"})
    assert [one.id for one in found] == ["0"]


@pytest.mark.parametrize(
    "filters",
    [
        {"field": "meta.n", "operator": "like", "value": 3},
        {"operator": "XOR", "conditions": []},
        {"field": "meta.", "operator": "==", "value": 3},
        {"field": "meta.n", "operator": ">", "value": True},
    ],
    ids=str,
)
def test_what_is_no_filter_is_haystacks_error(
    dated: tuple[SaeIndexDocumentStore, list[Document]], filters: dict[str, Any]
) -> None:
    with pytest.raises(FilterError):
        dated[0].filter_documents(filters)


# Retrievers and pipelines -----------------------------------------------------------------------------


def test_a_retriever_filters_steers_and_explains_at_once(told: SaeIndexDocumentStore) -> None:
    retriever = SaeIndexRetriever(told, top_k=5, explain=True)
    years = {"field": "meta.day", "operator": ">=", "value": "1986-01-01"}
    found = retriever.run(TEXT, filters=years, where='"school"', steer="+tax:1.5", top_k=3)["documents"]
    same = told.index.search(
        TEXT, where='"school" AND metadata.year >= 1986', steer="+tax:1.5", limit=3, explain=True
    )
    assert [(one.id, one.score) for one in found] == [(hit.id, hit.score) for hit in same]
    why = found[0].meta["saeindex"]
    assert why["evidence"][0]["label"] == "school" and why["explanation"]["parts"]
    assert why["steered"]["rank_after"] == 1
    assert "saeindex" not in SaeIndexRetriever(told).run(TEXT)["documents"][0].meta


def test_a_retriever_ranks_by_a_property_and_by_words(told: SaeIndexDocumentStore) -> None:
    found = SaeIndexRetriever(told, top_k=3).run("", property="sounds hopeful")["documents"]
    assert [one.id for one in found] == [
        hit.id for hit in told.index.search(property="sounds hopeful", limit=3)
    ]
    found = SaeIndexRetriever(told, top_k=3, using="words").run(TEXT)["documents"]
    same = told.index.search(TEXT, using="words", limit=3)
    assert [one.id for one in found] == [hit.id for hit in same]


def test_filters_of_a_run_replace_or_join_those_of_the_component(told: SaeIndexDocumentStore) -> None:
    own = {"field": "meta.day", "operator": ">=", "value": "1990-01-01"}
    late = {"field": "meta.year", "operator": "<=", "value": 1991}

    def years(policy: FilterPolicy) -> set[int]:
        retriever = SaeIndexRetriever(told, filters=own, top_k=100, filter_policy=policy)
        return {one.meta["year"] for one in retriever.run(TEXT, filters=late)["documents"]}

    assert min(years(FilterPolicy.REPLACE)) < 1990
    assert years(FilterPolicy.MERGE) == {1991}


def test_a_retriever_runs_in_an_event_loop(told: SaeIndexDocumentStore) -> None:
    retriever = SaeIndexRetriever(told, top_k=2)

    async def both() -> list[dict[str, Any]]:
        return await asyncio.gather(*(retriever.run_async(TEXT, steer="+tax:1") for _ in range(2)))

    assert asyncio.run(both()) == [retriever.run(TEXT, steer="+tax:1")] * 2


def test_an_option_that_a_search_does_not_have_is_an_error(told: SaeIndexDocumentStore) -> None:
    with pytest.raises(InvalidInputError, match="steer"):
        SaeIndexRetriever(told, stear="+tax")


def test_pipelines_are_written_as_yaml_read_again_and_run(
    document_store: SaeIndexDocumentStore,
) -> None:
    indexing, searching = Pipeline(), Pipeline()
    indexing.add_component("writer", DocumentWriter(document_store, policy=DuplicatePolicy.OVERWRITE))
    retriever = SaeIndexRetriever(
        document_store, top_k=4, filters={"field": "meta.year", "operator": ">", "value": 1980},
        filter_policy="merge", where='NOT "college"', steer=Steering("+tax:1.5", max_drift=0.2),
        using="fused",
    )  # fmt: skip
    searching.add_component("retriever", retriever)
    with pytest.raises(DeserializationError, match="allowlist"):
        Pipeline.loads(searching.dumps())  # Haystack imports only what its user trusts
    read = Pipeline.loads(indexing.dumps(), allowed_modules=TRUSTED)
    found = Pipeline.loads(searching.dumps(), allowed_modules=TRUSTED)
    assert found.dumps() == searching.dumps()
    documents = [
        Document(id=one.id, content=one.text, meta=dict(one.metadata)) for one in speeches()[400:460]
    ]
    assert read.run({"writer": {"documents": documents}}) == {"writer": {"documents_written": 60}}
    expected = retriever.run(TEXT)["documents"]
    assert len(expected) == 4
    assert found.run({"retriever": {"query": TEXT}}) == {"retriever": {"documents": expected}}


def test_a_retriever_joins_one_of_haystack(told: SaeIndexDocumentStore) -> None:
    words = InMemoryDocumentStore()
    words.write_documents(told.filter_documents())
    hybrid = Pipeline()
    hybrid.add_component("concepts", SaeIndexRetriever(told, where='"school"', top_k=3))
    hybrid.add_component("words", InMemoryBM25Retriever(words, top_k=3))
    hybrid.add_component("joined", DocumentJoiner("reciprocal_rank_fusion"))
    hybrid.connect("concepts", "joined")
    hybrid.connect("words", "joined")
    found = hybrid.run({"concepts": {"query": TEXT}, "words": {"query": TEXT}})["joined"]["documents"]
    ids = {one.id for one in found}
    assert ids > {one.id for one in told.index.search(TEXT, where='"school"', limit=3)} and 3 < len(ids) <= 6


def test_embedders_serve_another_store(told: SaeIndexDocumentStore) -> None:
    documents = told.filter_documents()[:20]
    other = InMemoryDocumentStore(embedding_similarity_function="dot_product")
    filling = Pipeline()
    filling.add_component("embedder", SaeIndexDocumentEmbedder())
    filling.add_component("writer", DocumentWriter(other))
    filling.connect("embedder", "writer")
    filling.run({"embedder": {"documents": documents}})
    read = Pipeline.loads(filling.dumps(), allowed_modules=TRUSTED)
    assert read.dumps() == filling.dumps()
    asking = Pipeline()
    asking.add_component("embedder", SaeIndexTextEmbedder())
    asking.add_component("retriever", InMemoryEmbeddingRetriever(other, top_k=5))
    asking.connect("embedder.embedding", "retriever.query_embedding")
    found = asking.run({"embedder": {"text": TEXT}})["retriever"]["documents"]
    same = told.index.search(
        TEXT,
        where={"kind": "in", "field": "record_id", "values": [one.id for one in documents]},
        using="dense",
    )
    assert [one.id for one in found] == [hit.id for hit in same[:5]]
    assert found[0].score == pytest.approx(same[0].score, abs=2e-3)


def test_embedders_run_in_an_event_loop_and_take_no_documents() -> None:
    document, text = SaeIndexDocumentEmbedder(), SaeIndexTextEmbedder()
    text.warm_up()
    assert asyncio.run(text.run_async("rain")) == text.run("rain")
    document.encoder = text.encoder
    assert asyncio.run(document.run_async([])) == {"documents": []}


def test_records_that_haystack_did_not_write_are_documents(document_store: SaeIndexDocumentStore) -> None:
    document_store.index.upsert([Record("own", "Rain fell on the hills.", {"year": 1990})])
    (found,) = SaeIndexRetriever(document_store).run("rain")["documents"]
    assert (found.id, found.content, found.meta) == ("own", "Rain fell on the hills.", {"year": 1990})


def test_without_haystack_the_error_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "haystack", None)
    monkeypatch.delitem(sys.modules, "saeindex.integrations.haystack")
    with pytest.raises(MissingDependencyError, match=r"saeindex\[haystack\]"):
        import_module("saeindex.integrations.haystack")
