"""LangChain: what an index adds to a vector store, and embeddings of LangChain as its encoder."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from langchain_core.documents import Document
from langchain_core.embeddings import DeterministicFakeEmbedding, Embeddings
from langchain_core.indexing import InMemoryRecordManager
from langchain_core.indexing import index as synchronise
from langchain_core.vectorstores import InMemoryVectorStore
from langchain_qdrant import QdrantVectorStore, RetrievalMode
from qdrant_client import QdrantClient, models

from saeindex import FeatureIndex, FeatureSpace
from saeindex.errors import EncoderError, InvalidInputError, InvalidRecordError, MismatchError
from saeindex.integrations.langchain import (
    EmbeddingsEncoder,
    SaeIndexEmbeddings,
    SaeIndexRetriever,
    SaeIndexVectorStore,
    SaeSparseEmbeddings,
)
from saeindex.integrations.shared import of_mapping
from saeindex.sae import TrainingConfig
from saeindex.samples import speeches
from tests.samples import RecordingEncoder, sample_records

TEXT = "the dangers we face"
CONFIG = TrainingConfig(n_features=48, k=8, steps=40)
CONCEPTS = ["tax", "war", "school", "farm", "crime"]


class Model(Embeddings):
    """A model of somebody else: the vectors of a real encoder, in another length; it knows what it read."""

    def __init__(self, encoder: RecordingEncoder) -> None:
        self.encoder, self.read = encoder, list[str]()

    def embed_documents(self, texts: list[str]) -> list[list[float]]:
        self.read += texts
        found: list[list[float]] = (3 * self.encoder.encode_document(texts)).tolist()
        return found

    def embed_query(self, text: str) -> list[float]:
        return self.embed_documents([text])[0]


class Turned(DeterministicFakeEmbedding):
    """Another model of a class of the same name, and of the same size."""

    def embed_documents(self, texts: list[str]) -> list[list[float]]:
        return [self.embed_query(f"{text}!") for text in texts]


Turned.__name__ = "DeterministicFakeEmbedding"


class Nothing(Embeddings):
    """A broken model."""

    def embed_documents(self, texts: list[str]) -> list[list[float]]:
        return [[0.0, 0.0] for _ in texts]

    def embed_query(self, text: str) -> list[float]:
        return [0.0, 0.0]


@pytest.fixture(scope="module")
def told(
    tmp_path_factory: pytest.TempPathFactory, session_encoder: RecordingEncoder
) -> Iterator[SaeIndexVectorStore]:
    """Speeches, for tests that only read."""
    path = tmp_path_factory.mktemp("told") / "speeches.idx"
    store = SaeIndexVectorStore(path, SaeIndexEmbeddings(session_encoder))
    with store.index:
        store.index.upsert(speeches()[450:600])
        yield store


@pytest.fixture
def store(tmp_path: Path, session_encoder: RecordingEncoder) -> Iterator[SaeIndexVectorStore]:
    store = SaeIndexVectorStore(tmp_path / "texts.idx", SaeIndexEmbeddings(session_encoder))
    with store.index:
        yield store


@pytest.fixture(scope="module")
def model(session_encoder: RecordingEncoder) -> Model:
    return Model(session_encoder)


@pytest.fixture(scope="module")
def dense(tmp_path_factory: pytest.TempPathFactory, model: Model) -> Iterator[SaeIndexVectorStore]:
    """Speeches by a model of LangChain, without concepts, for tests that only read."""
    store = SaeIndexVectorStore(tmp_path_factory.mktemp("dense") / "speeches.idx", model)
    with store.index:
        told = speeches()[:150]
        store.add_texts([one.text for one in told], [dict(one.metadata) for one in told],
                        ids=[one.id for one in told])  # fmt: skip
        yield store


# Searches ------------------------------------------------------------------------------------------------


def test_a_search_is_filtered_steered_and_explained_at_once(told: SaeIndexVectorStore) -> None:
    options: dict[str, Any] = {"where": '"crime" AND metadata.year >= 1995', "steer": "+drug:1"}
    hits = told.index.search(TEXT, **options, explain=True, limit=3)
    found = told.similarity_search_with_score(TEXT, 3, **options, explain=True)
    assert [(one.id, score) for one, score in found] == [(hit.id, hit.score) for hit in hits]
    for (one, score), hit in zip(found, hits, strict=True):
        why = one.metadata.pop("saeindex")
        assert one.metadata == hit.metadata
        assert why["score"] == score
        assert {proof["label"] for proof in why["evidence"]} >= {"crime"}
        assert why["evidence"][0]["sentence"] in one.page_content
        assert why["explanation"]["total"] == pytest.approx(score, abs=1e-5)
        assert why["steered"]["rank_after"] >= 1
        assert {"id", "label", "activation"} <= why["features"][0].keys()
        json.dumps(why)


def test_metadata_is_as_it_was_given_unless_an_explanation_is_asked_for(told: SaeIndexVectorStore) -> None:
    (found,) = told.similarity_search(TEXT, 1, where='"crime"')
    (hit,) = told.index.search(TEXT, where='"crime"', limit=1)
    assert (found.id, found.page_content, found.metadata) == (hit.id, hit.text, hit.metadata)


@pytest.mark.parametrize(
    ("given", "where"),
    [
        ({"party": "Republican"}, 'metadata.party = "Republican"'),
        (
            {"party": "Democratic", "year": [1994, 1995, 1998]},
            'metadata.party = "Democratic" AND metadata.year IN (1994, 1995, 1998)',
        ),
        (
            models.Filter(must=[models.FieldCondition(key="metadata.year", range=models.Range(lt=1998))]),
            "metadata.year < 1998",
        ),
        ({}, None),
    ],
)
def test_a_filter_is_a_native_one_or_what_metadata_equals(
    told: SaeIndexVectorStore, given: Any, where: str | None
) -> None:
    wanted = [hit.id for hit in told.index.search(TEXT, where=where, limit=20)]
    assert [one.id for one in told.similarity_search(TEXT, 20, filter=given)] == wanted
    assert wanted
    vector = told.embeddings.embed_query(TEXT)
    near = [hit.id for hit in told.index.search(TEXT, where=where, using="dense", limit=20)]
    assert [one.id for one in told.similarity_search_by_vector(vector, 20, filter=given)] == near


def test_a_filter_goes_with_a_condition_and_has_operators(told: SaeIndexVectorStore) -> None:
    found = told.similarity_search(TEXT, 10, {"party": "Democratic"}, where='"crime"')
    wanted = told.index.search(TEXT, where='"crime" AND metadata.party = "Democratic"', limit=10)
    assert [one.id for one in found] == [hit.id for hit in wanted]
    assert found
    later = told.similarity_search(TEXT, 10, filter={"year": {"$gt": 1970}})
    assert [one.id for one in later] == [
        hit.id for hit in told.index.search(TEXT, where="metadata.year > 1970")
    ]
    with pytest.raises(InvalidInputError, match="limit"):
        told.similarity_search(TEXT, limti=3)


def test_relevance_is_between_0_and_1_in_the_order_of_the_scores(told: SaeIndexVectorStore) -> None:
    text = told.index.get([speeches()[460].id])[0].text
    found = told.similarity_search_with_relevance_scores(text, 150)
    scores = [score for _, score in found]
    assert scores[0] > 0.9
    assert scores == sorted(scores, reverse=True)
    assert min(scores) > 0
    assert max(scores) <= 1
    own = [score for _, score in told.similarity_search_with_score(text, 150)]
    assert scores[1:] == pytest.approx([(1 + score) / 2 for score in own[1:]])
    kept = told.similarity_search_with_relevance_scores(text, 150, score_threshold=0.6)
    assert 0 < len(kept) == sum(score >= 0.6 for score in scores) < 150


def test_scores_above_one_are_no_relevance(told: SaeIndexVectorStore) -> None:
    with pytest.raises(InvalidInputError, match="not from -1 to 1"):
        told.similarity_search_with_relevance_scores("", property="sounds defensive")
    assert told.similarity_search("", property="sounds defensive")


def test_a_vector_is_searched_as_its_text_is(told: SaeIndexVectorStore) -> None:
    vector = told.embeddings.embed_query(TEXT)
    by_text = told.similarity_search(TEXT, 5, where='"crime"', using="dense")
    assert told.similarity_search_by_vector(vector, 5, where='"crime"') == by_text
    with pytest.raises(MismatchError, match="3 numbers"):
        told.similarity_search_by_vector([1.0, 0.0, 0.0])


@pytest.mark.parametrize("balance", [0.0, 0.3, 0.5, 1.0])
def test_maximal_marginal_relevance_is_that_of_langchain(told: SaeIndexVectorStore, balance: float) -> None:
    same = InMemoryVectorStore(told.embeddings)
    records = told.index.get([one.id for one in speeches()[450:600]])
    same.add_texts([one.text for one in records], ids=[one.id for one in records])
    wanted = same.max_marginal_relevance_search(TEXT, k=5, fetch_k=30, lambda_mult=balance)
    found = told.max_marginal_relevance_search(TEXT, 5, 30, balance, using="dense")
    assert [one.id for one in found] == [one.id for one in wanted]
    vector = told.embeddings.embed_query(TEXT)
    assert told.max_marginal_relevance_search_by_vector(vector, 5, 30, balance) == found


def test_marginal_relevance_follows_a_steer_and_needs_a_text(told: SaeIndexVectorStore) -> None:
    options: dict[str, Any] = {"steer": "+crime:2", "explain": True, "using": "dense"}
    found = told.max_marginal_relevance_search(TEXT, 5, 20, 1.0, **options)
    assert [one.id for one in found] == [one.id for one in told.similarity_search(TEXT, 5, **options)]
    assert found[0].metadata["saeindex"]["steered"]
    assert told.max_marginal_relevance_search(TEXT, where='"crime" AND NOT "crime"') == []
    with pytest.raises(InvalidInputError, match="empty text"):
        told.max_marginal_relevance_search(" ")


def test_a_retriever_takes_every_option_of_a_search(told: SaeIndexVectorStore) -> None:
    options: dict[str, Any] = {"where": '"crime"', "steer": "+drug:1", "explain": True}
    retriever = told.as_retriever(k=3, search_kwargs=options)
    assert isinstance(retriever, SaeIndexRetriever)
    assert retriever.invoke(TEXT) == told.similarity_search(TEXT, 3, **options)
    assert asyncio.run(retriever.ainvoke(TEXT, k=1)) == told.similarity_search(TEXT, 1, **options)
    diverse = told.as_retriever(k=3, search_type="mmr", search_kwargs={"lambda_mult": 0})
    assert diverse.invoke(TEXT) == told.max_marginal_relevance_search(TEXT, 3, lambda_mult=0)
    near = {"score_threshold": 0.6, "k": 2}
    assert (
        len(told.as_retriever(search_type="similarity_score_threshold", search_kwargs=near).invoke(TEXT)) == 2
    )


# Writes --------------------------------------------------------------------------------------------------


def test_odd_metadata_comes_back_and_filters(store: SaeIndexVectorStore) -> None:
    odd: dict[str, Any] = {
        'say "so"': "yes", "back\\slash": 1, "größe ": [1, {"a": None}], "saeindex": "mine",
        "document": "d", "record_id": "r", "text": "t", "": 0, "deep": {"er": True},
    }  # fmt: skip
    ids = store.add_texts(["Copper and tin.", "Iron and coal."], [odd, {}])
    assert [one.metadata for one in store.get_by_ids(ids)] == [odd, {}]
    for key, value in (('say "so"', "yes"), ("back\\slash", 1), ("document", "d"), ("deep.er", True)):
        (found,) = store.similarity_search("metal", filter={key: value})
        assert (found.id, found.metadata) == (ids[0], odd)
    with pytest.raises(InvalidRecordError, match=r"1 of 2 texts: .*a set"):
        store.add_texts(["Lead.", "Zinc."], [{"a": {1}}, {}], ids=["lead", "zinc"])
    assert [one.id for one in store.get_by_ids(["lead", "zinc"])] == ["zinc"]


def test_the_last_of_texts_with_one_id_stays(store: SaeIndexVectorStore) -> None:
    assert store.add_texts(["Copper.", "Tin."], ids=["a", "a"]) == ["a", "a"]
    assert [one.page_content for one in store.get_by_ids(["a"])] == ["Tin."]
    store.add_documents([Document("Zinc.", id="a"), Document("Lead.")])
    assert store.index.count() == 2
    assert store.get_by_ids(["a"])[0].page_content == "Zinc."
    first, second = store.add_texts(["Same.", "Same."])
    assert len(store.get_by_ids([first, second])) == 2


def test_a_blank_text_is_not_indexed_and_takes_the_place_of_another(store: SaeIndexVectorStore) -> None:
    assert store.add_texts(["Copper.", "", " \n"], ids=["a", "b", "c"]) == ["a", "b", "c"]
    assert store.index.count() == 1
    store.add_texts([""], ids=["a"])
    assert store.index.count() == 0
    assert store.add_texts([]) == []
    with pytest.raises(InvalidInputError, match="1 ids and 2 metadatas"):
        store.add_texts(["Tin.", "Zinc."], [{}, {}], ids=["a"])


def test_deleting_takes_what_is_there_and_without_ids_all(store: SaeIndexVectorStore) -> None:
    store.add_texts(["Copper.", "Tin.", "Zinc."], ids=["a", "b", "c"])
    assert store.delete(["b", "absent"])
    assert store.delete([])
    assert store.index.count() == 2
    assert store.delete()
    assert store.index.count() == 0
    assert store.similarity_search("copper") == []


def test_threads_and_tasks_write_and_search_together(store: SaeIndexVectorStore) -> None:
    texts = [one.text for one in sample_records(40)]

    def write(number: int) -> list[Document]:
        part = texts[number * 10 : number * 10 + 10]
        store.add_texts(part, ids=[f"{number}-{place}" for place in range(10)])
        return store.similarity_search(part[0], 1)

    with ThreadPoolExecutor(2) as pool:
        found = [one for (one,) in pool.map(write, range(2))]
    assert [one.id for one in found] == ["0-0", "1-0"]

    async def awaited() -> list[list[Document]]:
        await store.aadd_texts(texts[20:], ids=[f"2-{place}" for place in range(20)])
        return await asyncio.gather(*(store.asimilarity_search(text, 1) for text in texts[20:]))

    assert [one.id for (one,) in asyncio.run(awaited())] == [f"2-{place}" for place in range(20)]
    assert store.index.count() == 40


def test_langchain_keeps_a_store_as_its_sources_are(store: SaeIndexVectorStore) -> None:
    manager = InMemoryRecordManager("texts")
    manager.create_schema()
    given = [Document(one.text, metadata={"source": one.id}) for one in sample_records(12)]

    def told(documents: list[Document]) -> tuple[int, int, int]:
        result = synchronise(
            documents, manager, store, cleanup="full", source_id_key="source", key_encoder="sha256"
        )
        return result["num_added"], result["num_skipped"], result["num_deleted"]

    assert told(given) == (12, 0, 0)
    assert told(given[:-2]) == (0, 10, 2)
    assert store.index.count() == 10


# Embeddings of LangChain ---------------------------------------------------------------------------------


def test_an_index_of_embeddings_searches_filters_writes_and_deletes(
    dense: SaeIndexVectorStore, model: Model, tmp_path: Path
) -> None:
    same = InMemoryVectorStore(model)
    told = speeches()[:150]
    same.add_texts([one.text for one in told], ids=[one.id for one in told])
    found = dense.similarity_search_with_score(TEXT, 5, using="dense")
    wanted = same.similarity_search_with_score(TEXT, 5)
    assert [one.id for one, _ in found] == [one.id for one, _ in wanted]
    assert [score for _, score in found] == pytest.approx([score for _, score in wanted], abs=2e-3)
    years = [one.metadata["year"] for one in dense.similarity_search(TEXT, 9, where="metadata.year > 1950")]
    assert len(years) == 9
    assert min(years) > 1950
    assert dense.embeddings is model

    store = SaeIndexVectorStore.from_texts(["Tin.", "Iron."], model, ids=["a", "b"], index=tmp_path / "a.idx")
    with store.index:
        store.add_texts(["Rain in the hills."], ids=["a"])
        assert [one.id for one in store.similarity_search("a rainy day", 1)] == ["a"]
        store.delete(["a"])
        assert [one.id for one in store.similarity_search("a rainy day")] == ["b"]


@pytest.mark.parametrize(
    "options",
    [
        {"where": '"war"'},
        {"where": 'NOT (metadata.year > 1950 AND "war")'},
        {"steer": "+war:1"},
        {"where": "#0"},
    ],
)
def test_concepts_of_an_index_without_any_are_an_error_that_says_how_to_get_them(
    dense: SaeIndexVectorStore, options: dict[str, Any]
) -> None:
    for search in (dense.similarity_search, dense.max_marginal_relevance_search):
        with pytest.raises(InvalidInputError, match=r"no concepts.*FeatureSpace\.make"):
            search(TEXT, **options)
    if "where" in options:
        with pytest.raises(InvalidInputError, match="no concepts"):
            dense.similarity_search_by_vector(dense.embeddings.embed_query(TEXT), **options)


def test_fitted_on_its_own_vectors_the_index_has_concepts(
    dense: SaeIndexVectorStore, model: Model, tmp_path: Path
) -> None:
    told, client = speeches()[:150], QdrantClient(":memory:")
    store = dense.fit_space(tmp_path / "new.idx", config=CONFIG, concepts=CONCEPTS)
    options: dict[str, Any] = {"where": '"war"', "steer": "+farm:1", "explain": True}
    with store.index:
        found = store.similarity_search(TEXT, 3, **options)
        assert len(found) == 3
        for one in found:
            (proof, *_) = one.metadata["saeindex"]["evidence"]
            assert "war" in proof["sentence"].lower()
            assert proof["sentence"] in one.page_content
        before, after = (each.index.get([told[7].id])[0].dense for each in (dense, store))
        assert before is not None
        assert after is not None
        np.testing.assert_allclose(after, before, atol=1e-6)
        store.add_texts(["The war ended in the spring."], ids=["new"])
        assert "new" in {one.id for one in store.similarity_search("the end of war", 3, where='"war"')}
        space = store.index.space
    with SaeIndexVectorStore(tmp_path / "new.idx", model).index as again:
        assert again.count() == 151
    model.read.clear()
    bare = dense.fit_space("bare", client=client, sentences="off", config=CONFIG, concepts=CONCEPTS)
    assert not {one.text for one in told} & {*model.read}
    assert bare.index.space.fingerprint == space.fingerprint
    opened = SaeIndexVectorStore("bare", model, client=client, space=bare.index.space)
    assert opened.index.count() == 150


def test_a_space_needs_texts_and_no_more_features_than_these(tmp_path: Path, model: Model) -> None:
    with SaeIndexVectorStore(tmp_path / "a.idx", model).index as index:
        store = SaeIndexVectorStore(index, model)
        with pytest.raises(InvalidInputError, match="the index is empty"):
            store.fit_space(tmp_path / "new.idx")
        store.add_texts(["Copper.", "Tin."])
        with pytest.raises(InvalidInputError, match="fewer features"):
            store.fit_space(tmp_path / "new.idx", concepts=[])
    assert not (tmp_path / "new.idx").exists()


def test_an_index_opens_with_the_embeddings_that_it_was_made_with_only(tmp_path: Path) -> None:
    path, client = tmp_path / "a.idx", QdrantClient(":memory:")
    for place in ({"index": path}, {"index": "a", "client": client}):
        SaeIndexVectorStore(embedding=DeterministicFakeEmbedding(size=6), **place).index.close()
        for other in (DeterministicFakeEmbedding(size=7), Turned(size=6)):
            with pytest.raises(MismatchError):
                SaeIndexVectorStore(embedding=other, **place)
        store = SaeIndexVectorStore(embedding=DeterministicFakeEmbedding(size=6), **place)
        store.add_texts(["Copper."])
        with pytest.raises(MismatchError):
            SaeIndexVectorStore(store.index, Turned(size=6))
        store.index.close()
    kept = json.loads((path / "space" / "space.json").read_text())["encoder"]
    assert (kept["kind"], kept["dimension"]) == ("langchain", 6)
    assert kept["model"] == "DeterministicFakeEmbedding"


def test_a_vector_without_a_direction_is_an_error_of_the_model() -> None:
    with pytest.raises(EncoderError, match="zero or not finite"):
        _ = EmbeddingsEncoder(Nothing()).identity


def test_an_open_index_is_a_store_with_its_own_encoder(papers: FeatureIndex) -> None:
    store = SaeIndexVectorStore(papers)
    assert store.similarity_search("copper", 3)[0].id == papers.search("copper", limit=3)[0].id
    assert isinstance(store.embeddings, SaeIndexEmbeddings)
    assert store.embeddings.encoder is papers.encoder


# Sparse embeddings ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("mode", [RetrievalMode.HYBRID, RetrievalMode.SPARSE])
def test_codes_are_sparse_embeddings_of_qdrant_s_own_store(
    space: FeatureSpace, session_encoder: RecordingEncoder, mode: RetrievalMode
) -> None:
    told = speeches()[450:500]
    sparse = SaeSparseEmbeddings(space, session_encoder)
    store = QdrantVectorStore.from_texts(
        [one.text for one in told],
        SaeIndexEmbeddings(session_encoder),
        location=":memory:",
        sparse_embedding=sparse,
        retrieval_mode=mode,
    )
    assert store.similarity_search(told[3].text, 1)[0].page_content == told[3].text
    if mode is RetrievalMode.SPARSE:
        code = space.sae.encode(session_encoder.encode_document([one.text for one in told])).to_csr()
        query = space.sae.encode(session_encoder.encode_query([TEXT])).to_csr()
        scores = (code @ query.T).toarray().ravel()
        found = store.similarity_search_with_score(TEXT, 5)
        assert [one.page_content for one, _ in found] == [told[i].text for i in np.argsort(-scores)[:5]]
        assert [score for _, score in found] == pytest.approx(np.sort(scores)[::-1][:5], rel=1e-4)


def test_sparse_embeddings_are_of_a_space_and_its_encoder(model: Model) -> None:
    with pytest.raises(MismatchError):
        SaeSparseEmbeddings(encoder=EmbeddingsEncoder(model))
    (one,) = SaeSparseEmbeddings().embed_documents(["Taxes are too high."])
    assert one.indices == sorted({*one.indices})
    assert min(one.values) > 0


@pytest.mark.parametrize(
    ("given", "where"),
    [
        ({"year": {"$gte": 2005}}, "metadata.year >= 2005"),
        ({"year": {"$gt": 2000, "$lt": 2010}}, "metadata.year > 2000 AND metadata.year < 2010"),
        ({"topic": {"$in": ["music", "cooking"]}}, 'metadata.topic IN ("music", "cooking")'),
        ({"topic": {"$nin": ["music"]}}, 'NOT metadata.topic = "music"'),
        ({"topic": {"$ne": "music"}}, 'metadata.topic != "music"'),
        (
            {"$or": [{"topic": "music"}, {"year": {"$eq": 2005}}]},
            'metadata.topic = "music" OR metadata.year = 2005',
        ),
        ({"$and": [{"topic": "music"}, {"year": {"$exists": True}}]}, 'metadata.topic = "music"'),
    ],
)
def test_operators_of_other_stores_are_understood(papers: FeatureIndex, given: Any, where: str) -> None:
    assert papers.count(query_filter=of_mapping(papers, given)) == papers.count(where)


def test_an_operator_that_there_is_not_is_named(papers: FeatureIndex) -> None:
    for given in ({"year": {"$near": 3}}, {"a": {"b": 1}}):
        with pytest.raises(InvalidInputError, match="no operator"):
            of_mapping(papers, given)
