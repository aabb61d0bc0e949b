"""LlamaIndex: each test takes a documented contract of its vector stores, or what an index adds to it."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
from llama_index.core import Document, StorageContext, VectorStoreIndex, load_index_from_storage
from llama_index.core.embeddings import MockEmbedding
from llama_index.core.ingestion import IngestionPipeline
from llama_index.core.llms import MockLLM
from llama_index.core.node_parser import SentenceSplitter
from llama_index.core.schema import ImageNode, MetadataMode, NodeRelationship, RelatedNodeInfo, TextNode
from llama_index.core.vector_stores.types import (
    FilterCondition,
    FilterOperator,
    MetadataFilter,
    MetadataFilters,
    VectorStoreQuery,
    VectorStoreQueryMode,
)
from llama_index.core.vector_stores.utils import build_metadata_filter_fn
from llama_index.vector_stores.qdrant import QdrantVectorStore
from qdrant_client import QdrantClient
from qdrant_client.models import FieldCondition, Filter, MatchValue

from saeindex import FeatureIndex, FeatureSpace, GroupBy, Record
from saeindex.errors import (
    InvalidInputError,
    InvalidRecordError,
    MismatchError,
    MissingDependencyError,
    UnknownConceptError,
)
from saeindex.integrations.llama_index import (
    SaeIndexEmbedding,
    SaeIndexRetriever,
    SaeIndexVectorStore,
    SaeSparseCodes,
)
from saeindex.samples import speeches
from tests.samples import RecordingEncoder

TEXT = "schools that fail our children"
OP = FilterOperator


def documents(first: int = 400, last: int = 460) -> list[Document]:
    return [
        Document(id_=one.id, text=one.text, metadata=dict(one.metadata)) for one in speeches()[first:last]
    ]


def only(*filters: MetadataFilter | MetadataFilters, condition: str = "and") -> MetadataFilters:
    return MetadataFilters(filters=list(filters), condition=FilterCondition(condition))


def ids(index: FeatureIndex, text: str, **options: Any) -> list[str]:
    return [hit.id for hit in index.search(text, **options)]


@pytest.fixture(scope="module")
def embed_model(session_encoder: RecordingEncoder) -> SaeIndexEmbedding:
    return SaeIndexEmbedding(session_encoder)


@pytest.fixture(scope="module")
def told(
    tmp_path_factory: pytest.TempPathFactory,
    session_encoder: RecordingEncoder,
    embed_model: SaeIndexEmbedding,
) -> Iterator[VectorStoreIndex]:
    """Speeches that ``from_documents`` indexed, for tests that only read."""
    path = tmp_path_factory.mktemp("told") / "speeches.idx"
    with FeatureIndex(path, encoder=session_encoder) as index:
        context = StorageContext.from_defaults(vector_store=SaeIndexVectorStore(index))
        yield VectorStoreIndex.from_documents(documents(), storage_context=context, embed_model=embed_model)


@pytest.fixture(scope="module")
def speech_index(told: VectorStoreIndex) -> FeatureIndex:
    client: FeatureIndex = told.vector_store.client
    return client


@pytest.fixture
def store(tmp_path: Path, session_encoder: RecordingEncoder) -> Iterator[SaeIndexVectorStore]:
    with FeatureIndex(tmp_path / "notes.idx", encoder=session_encoder) as index:
        index.upsert([])
        yield SaeIndexVectorStore(index)


# VectorStoreIndex -------------------------------------------------------------------------------------


def test_documents_become_records_of_their_document(
    told: VectorStoreIndex, speech_index: FeatureIndex
) -> None:
    assert speech_index.count() == len(documents())
    (node,) = told.vector_store.get_nodes(filters=only(MetadataFilter(key="doc_id", value="1986-14")))
    (record,) = speech_index.get([node.node_id])
    assert node.ref_doc_id == record.document == "1986-14"
    assert node.get_content(metadata_mode=MetadataMode.NONE) == record.text
    assert node.metadata == next(one.metadata for one in documents() if one.doc_id == "1986-14")


def test_a_retriever_of_the_index_finds_what_the_index_finds(
    told: VectorStoreIndex, speech_index: FeatureIndex
) -> None:
    found = told.as_retriever(similarity_top_k=4).retrieve(TEXT)
    same = speech_index.search(TEXT, limit=4)
    assert [(one.node_id, one.score) for one in found] == [(hit.id, hit.score) for hit in same]
    later = asyncio.run(told.as_retriever(similarity_top_k=4).aretrieve(TEXT))
    assert [one.node_id for one in later] == [hit.id for hit in same]


def test_options_of_a_search_are_vector_store_kwargs(
    told: VectorStoreIndex, speech_index: FeatureIndex
) -> None:
    options = {"where": '"school"', "steer": "+tax:1.5", "explain": True}
    late = only(MetadataFilter(key="year", value=1986, operator=OP.GTE))
    found = told.as_retriever(similarity_top_k=3, filters=late, vector_store_kwargs=options).retrieve(TEXT)
    assert [one.node_id for one in found] == ids(
        speech_index, TEXT, where='"school" AND metadata.year >= 1986', steer="+tax:1.5", limit=3
    )
    why = found[0].metadata["saeindex"]
    assert why["evidence"][0]["label"] == "school" and why["explanation"]["parts"]
    assert why["steered"]["rank_after"] == 1
    assert "saeindex" not in found[0].node.get_content(metadata_mode=MetadataMode.LLM)
    assert "saeindex" not in found[0].node.get_content(metadata_mode=MetadataMode.EMBED)


def test_options_of_the_store_are_for_all_queries(speech_index: FeatureIndex) -> None:
    store = SaeIndexVectorStore(speech_index, where='"school"')
    ranked = VectorStoreIndex.from_vector_store(store, embed_model=MockEmbedding(384))
    found = ranked.as_retriever(similarity_top_k=3).retrieve(TEXT)
    assert [one.node_id for one in found] == ids(speech_index, TEXT, where='"school"', limit=3)
    with pytest.raises(InvalidInputError, match="steer"):
        SaeIndexVectorStore(speech_index, stear="+tax")


def test_a_query_engine_answers_from_the_texts(told: VectorStoreIndex, speech_index: FeatureIndex) -> None:
    engine = told.as_query_engine(llm=MockLLM(), similarity_top_k=2)
    answer = engine.query(TEXT)
    assert [one.node_id for one in answer.source_nodes] == ids(speech_index, TEXT, limit=2)
    assert all(
        one.node.get_content(metadata_mode=MetadataMode.NONE) in str(answer) for one in answer.source_nodes
    )


def test_documents_are_inserted_updated_and_deleted(
    store: SaeIndexVectorStore, embed_model: SaeIndexEmbedding
) -> None:
    ranked = VectorStoreIndex.from_vector_store(store, embed_model=embed_model)
    ranked.insert(Document(id_="a", text="Rain fell on the hills."))
    ranked.insert(Document(id_="b", text="The senate met at noon."))
    ranked.update_ref_doc(Document(id_="b", text="The senate met at night."))
    texts = {one.get_content() for one in store.get_nodes()}
    assert texts == {"Rain fell on the hills.", "The senate met at night."}
    ranked.delete_ref_doc("b")
    ranked.delete_ref_doc("absent")
    assert [one.ref_doc_id for one in store.get_nodes()] == ["a"]
    ranked.delete_nodes([one.node_id for one in store.get_nodes()])
    assert store.get_nodes() == []


def test_a_page_without_text_is_left_out_and_its_document_stays(
    store: SaeIndexVectorStore, embed_model: SaeIndexEmbedding
) -> None:
    pages = [Document(text="", metadata={"page": 1}), Document(text="Rain fell.", metadata={"page": 2})]
    context = StorageContext.from_defaults(vector_store=store)
    VectorStoreIndex.from_documents(pages, storage_context=context, embed_model=embed_model)
    assert [one.metadata for one in store.get_nodes()] == [{"page": 2}]


def test_an_ingestion_pipeline_writes_pieces_of_documents(
    store: SaeIndexVectorStore, embed_model: SaeIndexEmbedding
) -> None:
    splitter = SentenceSplitter(chunk_size=20, chunk_overlap=0)
    pipeline = IngestionPipeline(transformations=[splitter, embed_model], vector_store=store)
    text = "Rain fell on the hills all day. " * 6
    nodes = pipeline.run(documents=[Document(id_="a", text=text), Document(id_="b", text="Rain again.")])
    assert store.client.count('document = "a"') == len(nodes) - 1 > 2
    grouped = VectorStoreQuery(query_str="rain", similarity_top_k=9)
    assert len(store.query(grouped, group_by="document").ids or ()) == 1 + min(3, len(nodes) - 1)
    assert len(SaeIndexRetriever(store.client, group_by=GroupBy("document", size=1)).retrieve("rain")) == 2


def test_a_stored_context_is_loaded_with_the_store(
    told: VectorStoreIndex, tmp_path: Path, embed_model: SaeIndexEmbedding
) -> None:
    told.storage_context.persist(str(tmp_path))
    context = StorageContext.from_defaults(vector_store=told.vector_store, persist_dir=str(tmp_path))
    again = load_index_from_storage(context, embed_model=embed_model)
    assert again.as_retriever().retrieve(TEXT) == told.as_retriever().retrieve(TEXT)


# Nodes ------------------------------------------------------------------------------------------------


def test_a_node_comes_back_as_it_was(store: SaeIndexVectorStore) -> None:
    node = TextNode(
        id_="n", text="Rain fell.", metadata={"n": 1.5, "of": {"tags": ["a"]}}, start_char_idx=3,
        excluded_llm_metadata_keys=["n"],
        relationships={
            NodeRelationship.SOURCE: RelatedNodeInfo(node_id="d", metadata={"x": 1}),
            NodeRelationship.NEXT: RelatedNodeInfo(node_id="m"),
        },
    )  # fmt: skip
    assert store.add([node]) == ["n"]
    assert store.get_nodes(["n"]) == [node]


def test_the_last_of_nodes_with_one_id_is_kept(store: SaeIndexVectorStore) -> None:
    store.add([TextNode(id_="n", text="first"), TextNode(id_="n", text="second")])
    store.add([TextNode(id_="n", text="third")])
    assert [one.get_content() for one in store.get_nodes()] == ["third"]


def test_a_node_that_cannot_be_indexed_is_an_error(store: SaeIndexVectorStore) -> None:
    with pytest.raises(InvalidRecordError, match=r"1 of 2 nodes"):
        store.add([TextNode(id_="n", text="good"), TextNode(id_="m", text="bad", metadata={"n": 2**80})])
    assert [one.node_id for one in store.get_nodes()] == ["n"]


def test_a_field_of_metadata_is_never_that_of_a_record(store: SaeIndexVectorStore) -> None:
    store.add([TextNode(id_="1", text="A contract.", metadata={"document": "contract"})])
    wanted = MetadataFilters(filters=[MetadataFilter(key="document", value="contract")])
    assert [node.node_id for node in store.get_nodes(filters=wanted)] == ["1"]
    with pytest.raises(InvalidInputError, match="similarity_top_k"):
        store.query(VectorStoreQuery(query_str="contract"), limit=2)


def test_a_node_without_text_is_left_out_and_removes_the_one_before(store: SaeIndexVectorStore) -> None:
    assert store.add([ImageNode(id_="i", image_url="x"), TextNode(id_="n", text="Rain.")]) == ["i", "n"]
    assert [one.node_id for one in store.get_nodes()] == ["n"]
    store.add([TextNode(id_="n", text=" ")])
    assert store.get_nodes() == []


def test_records_that_llamaindex_did_not_write_are_nodes(store: SaeIndexVectorStore) -> None:
    store.client.upsert([Record("own", "Rain fell on the hills.", {"year": 1990}, document="book")])
    (node,) = store.query(VectorStoreQuery(query_str="rain")).nodes or ()
    assert (node.node_id, node.ref_doc_id, node.metadata) == ("own", "book", {"year": 1990})
    store.delete("book")
    assert store.client.count() == 0


def test_nodes_are_deleted_by_ids_and_filters_and_all_at_once(store: SaeIndexVectorStore) -> None:
    store.add([TextNode(id_=str(n), text=f"Note {n}.", metadata={"n": n}) for n in range(6)])
    store.delete_nodes(["0", "absent"])
    store.delete_nodes(["1", "2"], only(MetadataFilter(key="n", value=2)))
    store.delete_nodes(filters=only(MetadataFilter(key="n", value=5, operator=OP.GTE)))
    store.delete_nodes(filters=only(MetadataFilter(key="never", value=5)))
    store.delete_nodes([])
    with pytest.raises(InvalidInputError):
        store.delete_nodes()
    assert sorted(one.node_id for one in store.get_nodes()) == ["1", "3", "4"]
    store.clear()
    store.clear()
    assert store.get_nodes() == []


def test_an_event_loop_writes_reads_and_deletes(store: SaeIndexVectorStore) -> None:
    async def life() -> list[int]:
        nodes = [TextNode(id_=str(n), text=f"Rain in note {n}.", metadata={"n": n}) for n in range(4)]
        await asyncio.gather(store.async_add(nodes[:2]), store.async_add(nodes[2:]))
        counts = [len((await store.aquery(VectorStoreQuery(query_str="rain", similarity_top_k=9))).ids or ())]
        await store.adelete_nodes(filters=only(MetadataFilter(key="n", value=0)))
        await store.adelete("absent")
        counts.append(len(await store.aget_nodes()))
        await store.aclear()
        return [*counts, len(await store.aget_nodes())]

    assert asyncio.run(life()) == [4, 3, 0]


def test_two_threads_write_and_search(store: SaeIndexVectorStore) -> None:
    def write(number: int) -> int:
        store.add([TextNode(id_=str(number), text=f"A note on tax {number}.")])
        return len(store.query(VectorStoreQuery(query_str="tax", similarity_top_k=9)).ids or ())

    with ThreadPoolExecutor(2) as threads:
        assert min(threads.map(write, range(6))) >= 1
    assert store.client.count() == 6


# Queries ----------------------------------------------------------------------------------------------


def test_modes_are_ways_to_rank(told: VectorStoreIndex, speech_index: FeatureIndex) -> None:
    def found(mode: VectorStoreQueryMode, **more: Any) -> list[str]:
        asked = VectorStoreQuery(query_str=TEXT, similarity_top_k=5, mode=mode, **more)
        return list(told.vector_store.query(asked).ids or ())

    assert found(VectorStoreQueryMode.SPARSE) == ids(speech_index, TEXT, using="sae", limit=5)
    hybrid = found(VectorStoreQueryMode.HYBRID, hybrid_top_k=7)
    assert hybrid == ids(speech_index, TEXT, using="fused", limit=7)
    for alpha, using in ((0, "words"), (1.0, "dense")):
        weighted = VectorStoreQuery(
            query_str=TEXT, mode=VectorStoreQueryMode.HYBRID, alpha=alpha, similarity_top_k=5
        )
        assert told.vector_store.query(weighted).ids == ids(speech_index, TEXT, using=using, limit=5)
    diverse = found(VectorStoreQueryMode.MMR, mmr_threshold=0.25)
    assert diverse == ids(speech_index, TEXT, diversity=0.75, limit=5) != found(VectorStoreQueryMode.DEFAULT)
    assert found(VectorStoreQueryMode.MMR, mmr_threshold=1.0) == found(VectorStoreQueryMode.DEFAULT)
    given = told.as_retriever(
        similarity_top_k=5, vector_store_query_mode="mmr", vector_store_kwargs={"mmr_threshold": 0.25}
    )
    assert [one.node_id for one in given.retrieve(TEXT)] == diverse


@pytest.mark.parametrize(
    "asked",
    [
        VectorStoreQuery(query_str=TEXT, mode=VectorStoreQueryMode.LINEAR_REGRESSION),
        VectorStoreQuery(query_str=TEXT, mode=VectorStoreQueryMode.HYBRID, alpha=0.3),
        VectorStoreQuery(query_str=""),
    ],
    ids=["regression", "alpha", "empty"],
)
def test_what_an_index_cannot_rank_is_an_error(told: VectorStoreIndex, asked: VectorStoreQuery) -> None:
    with pytest.raises(InvalidInputError):
        told.vector_store.query(asked)


def test_an_embedding_is_not_used_beside_a_text_and_ranks_without_one(
    told: VectorStoreIndex, speech_index: FeatureIndex, embed_model: SaeIndexEmbedding
) -> None:
    def found(vector: list[float], text: str | None, **options: Any) -> Any:
        asked = VectorStoreQuery(vector, similarity_top_k=3, query_str=text)
        return told.vector_store.query(asked, **options)

    other = embed_model.get_query_embedding("the army")
    assert found(other, TEXT).ids == ids(speech_index, TEXT, limit=3)
    own = [3 * one for one in embed_model.get_query_embedding(TEXT)]
    same = speech_index.search(TEXT, where="metadata.year >= 1986", using="dense", limit=3)
    alone = found(own, None, where="metadata.year >= 1986")
    assert alone.ids == [hit.id for hit in same]
    assert alone.similarities == pytest.approx([hit.score for hit in same], abs=1e-5)
    with pytest.raises(InvalidInputError, match="steer"):
        found(own, None, steer="+tax", where="metadata.year >= 1986")


def test_an_embedding_of_another_length_is_refused(
    store: SaeIndexVectorStore, told: VectorStoreIndex
) -> None:
    context = StorageContext.from_defaults(vector_store=store)
    with pytest.raises(MismatchError, match="8 numbers"):
        VectorStoreIndex.from_documents(
            documents(400, 401), storage_context=context, embed_model=MockEmbedding(8)
        )
    with pytest.raises(MismatchError, match="SaeIndexEmbedding"):
        told.vector_store.query(VectorStoreQuery([0.1] * 8, query_str=TEXT))


def test_nodes_need_no_embedding_and_an_empty_store_has_no_hits(store: SaeIndexVectorStore) -> None:
    assert store.query(VectorStoreQuery(query_str="rain")).nodes == []
    store.add([TextNode(text="Rain fell.")])
    assert len(store.query(VectorStoreQuery(query_str="rain")).nodes or ()) == 1


# Filters ----------------------------------------------------------------------------------------------

META: dict[str, dict[str, Any]] = {
    "0": {"n": 3, "topic": "a", "tags": ["x", "y"], "title": "The Long Road"},
    "1": {"n": 4.5, "topic": "b", "tags": ["y"], "title": "the long road home"},
    "2": {"n": 7, "topic": "a", "tags": []},
    "3": {"odd name": "z", "topic": "c"},
}
FILTERS = {
    "equal": only(MetadataFilter(key="topic", value="a")),
    "unequal": only(MetadataFilter(key="n", value=3, operator=OP.NE)),
    "odd": only(MetadataFilter(key="odd name", value="z")),
    "in": only(MetadataFilter(key="topic", value=["a", "c"], operator=OP.IN)),
    "not in": only(MetadataFilter(key="topic", value=["a", "c"], operator=OP.NIN)),
    "contains": only(MetadataFilter(key="tags", value="x", operator=OP.CONTAINS)),
    "any": only(MetadataFilter(key="tags", value=["x", "z"], operator=OP.ANY)),
    "all": only(MetadataFilter(key="tags", value=["x", "y"], operator=OP.ALL)),
    "empty": only(MetadataFilter(key="tags", value=None, operator=OP.IS_EMPTY)),
    "text": only(MetadataFilter(key="title", value="home", operator=OP.TEXT_MATCH)),
    "and": only(
        MetadataFilter(key="n", value=3, operator=OP.GT), MetadataFilter(key="n", value=7, operator=OP.LT)
    ),
    "or": only(
        MetadataFilter(key="n", value=3, operator=OP.LTE),
        MetadataFilter(key="n", value=7, operator=OP.GTE),
        condition="or",
    ),
    "none of": only(
        MetadataFilter(key="topic", value="a"), MetadataFilter(key="topic", value="c"), condition="not"
    ),
}


@pytest.fixture(scope="module", params=["directory", "client"])
def noted(
    request: pytest.FixtureRequest,
    tmp_path_factory: pytest.TempPathFactory,
    session_encoder: RecordingEncoder,
) -> Iterator[SaeIndexVectorStore]:
    """Nodes with metadata of all kinds, on each engine, for tests that only read."""
    client = QdrantClient(":memory:") if request.param == "client" else None
    path = "noted" if client else tmp_path_factory.mktemp("noted") / "n.idx"
    with FeatureIndex(path, client=client, encoder=session_encoder) as index:
        store = SaeIndexVectorStore(index)
        store.add([TextNode(text="Rain.")])
        store.clear()
        store.add([TextNode(id_=key, text=f"Text {key}", metadata=own) for key, own in META.items()])
        yield store


def found(store: SaeIndexVectorStore, filters: MetadataFilters) -> set[str]:
    asked = VectorStoreQuery(query_str="text", similarity_top_k=9, filters=filters)
    nodes = {one.node_id for one in store.get_nodes(filters=filters)}
    assert nodes == set(store.query(asked).ids or ())
    return nodes


@pytest.mark.parametrize("name", FILTERS)
def test_a_filter_selects_what_the_simple_store_selects(noted: SaeIndexVectorStore, name: str) -> None:
    matches = build_metadata_filter_fn(META.__getitem__, FILTERS[name])
    expected = {key for key in META if matches(key)}
    assert 0 < len(expected) < len(META)
    assert found(noted, FILTERS[name]) == expected


def test_filters_are_nested_and_join_the_ids_and_documents_of_a_query(noted: SaeIndexVectorStore) -> None:
    inner = only(MetadataFilter(key="topic", value="b"), MetadataFilter(key="n", value=7), condition="or")
    assert found(noted, only(inner, MetadataFilter(key="n", value=5, operator=OP.GT))) == {"2"}
    assert found(noted, only(only(inner, condition="not"), MetadataFilter(key="topic", value="a"))) == {"0"}
    asked = VectorStoreQuery(query_str="text", similarity_top_k=9, node_ids=["0", "1"], filters=inner)
    native = Filter(must=[FieldCondition(key="metadata.topic", match=MatchValue(value="b"))])
    assert noted.query(asked).ids == noted.query(asked, query_filter=native).ids == ["1"]
    assert noted.query(VectorStoreQuery(query_str="text", doc_ids=["absent"])).ids == []


@pytest.mark.parametrize(
    "one",
    [
        MetadataFilter(key="n", value="many", operator=OP.GT),
        MetadataFilter(key="n", value=None),
        MetadataFilter(key="topic", value="a", operator=OP.IN),
        MetadataFilter(key="topic", value=["a"]),
        MetadataFilter(key="title", value="long", operator=OP.TEXT_MATCH_INSENSITIVE),
    ],
    ids=str,
)
def test_a_filter_that_cannot_be_said_is_an_error(noted: SaeIndexVectorStore, one: MetadataFilter) -> None:
    with pytest.raises(InvalidInputError):
        noted.get_nodes(filters=only(one))


# The retriever, and the encoders ----------------------------------------------------------------------


def test_the_retriever_asks_the_index(speech_index: FeatureIndex) -> None:
    retriever = SaeIndexRetriever(
        speech_index, similarity_top_k=3, where='"school"', steer="+tax:1.5", explain=True
    )
    found = retriever.retrieve(TEXT)
    same = speech_index.search(TEXT, where='"school"', steer="+tax:1.5", limit=3, explain=True)
    assert [(one.node_id, one.score) for one in found] == [(hit.id, hit.score) for hit in same]
    assert found[0].metadata["saeindex"]["explanation"] == same[0].to_json()["explanation"]
    assert [one.node_id for one in asyncio.run(retriever.aretrieve(TEXT))] == [hit.id for hit in same]
    hopeful = SaeIndexRetriever(speech_index, property="sounds hopeful").retrieve("the future")
    assert [one.node_id for one in hopeful] == ids(
        speech_index, "the future", property="sounds hopeful", limit=2
    )
    assert "saeindex" not in hopeful[0].metadata


def test_the_retriever_says_what_is_wrong(speech_index: FeatureIndex) -> None:
    with pytest.raises(InvalidInputError, match="where"):
        SaeIndexRetriever(speech_index, were='"school"')
    with pytest.raises(UnknownConceptError):
        SaeIndexRetriever(speech_index, steer="+qzxv").retrieve(TEXT)


def test_the_embedding_model_makes_the_vectors_of_the_index(
    speech_index: FeatureIndex, embed_model: SaeIndexEmbedding
) -> None:
    (record,) = speech_index.scroll(limit=1, include=["vectors"])[0]
    (vector,) = embed_model.get_text_embedding_batch([record.text])
    assert record.dense is not None
    assert vector == pytest.approx(record.dense.tolist(), abs=1e-5)
    assert embed_model.get_text_embedding(record.text) == vector
    assert asyncio.run(embed_model.aget_text_embedding_batch([record.text])) == [vector]
    assert asyncio.run(embed_model.aget_query_embedding(TEXT)) == embed_model.get_query_embedding(TEXT)


def test_sparse_codes_serve_the_hybrid_search_of_qdrants_store(
    space: FeatureSpace, session_encoder: RecordingEncoder, embed_model: SaeIndexEmbedding
) -> None:
    codes = SaeSparseCodes(space, session_encoder)
    client = QdrantClient(":memory:")
    store = QdrantVectorStore(
        "speeches", client=client, enable_hybrid=True,
        sparse_doc_fn=codes.sparse_doc_fn, sparse_query_fn=codes.sparse_query_fn,
    )  # fmt: skip
    context = StorageContext.from_defaults(vector_store=store)
    ranked = VectorStoreIndex.from_documents(documents(), storage_context=context, embed_model=embed_model)
    retriever = ranked.as_retriever(
        similarity_top_k=5, sparse_top_k=5, hybrid_top_k=5, vector_store_query_mode="hybrid"
    )
    assert len(retriever.retrieve(TEXT)) == 5
    point = client.scroll("speeches", limit=1, with_vectors=True)[0][0]
    assert point.payload is not None and isinstance(point.vector, dict)
    stored: Any = point.vector["text-sparse-new"]
    (features,), (activations,) = codes.sparse_doc_fn(
        [str(ranked.vector_store.get_nodes([str(point.id)])[0].get_content(metadata_mode=MetadataMode.EMBED))]
    )
    assert dict(zip(stored.indices, stored.values, strict=True)) == pytest.approx(
        dict(zip(features, activations, strict=True)), rel=1e-5
    )
    sparse = ranked.as_retriever(sparse_top_k=3, vector_store_query_mode="sparse")
    expected, _ = codes.sparse_query_fn([TEXT])
    assert expected[0] == sorted(expected[0]) and len(sparse.retrieve(TEXT)) == 3


def test_without_llamaindex_the_error_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "llama_index.core", None)
    monkeypatch.delitem(sys.modules, "saeindex.integrations.llama_index")
    with pytest.raises(MissingDependencyError, match=r"saeindex\[llama-index\]"):
        import_module("saeindex.integrations.llama_index")
