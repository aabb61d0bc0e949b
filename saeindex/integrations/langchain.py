"""An index in LangChain: as a vector store and its retriever; its encoders there, and theirs here."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self
from uuid import uuid4

import numpy as np

from saeindex.config import MAX_LIMIT, SentenceStorage
from saeindex.encoders import open_encoder
from saeindex.errors import EncoderError, InvalidInputError, NotFoundError, installed
from saeindex.features import FeatureSpace
from saeindex.index import FeatureIndex
from saeindex.indexing.sources.values import MAX_TEXT_CHARACTERS
from saeindex.integrations import shared
from saeindex.integrations.shared import ByVector, SparseCodes
from saeindex.operations.operation import Operation
from saeindex.operations.records import stored_of
from saeindex.operations.search import searcher_of
from saeindex.operations.surfaces import every
from saeindex.protocols import EncoderIdentity, TextEncoder
from saeindex.schema import check_texts
from saeindex.search.hits import Hit, Hits
from saeindex.search.query import Query
from saeindex.types import Record

installed("langchain_core", "LangChain", "langchain")
installed("langchain_qdrant", "LangChain", "langchain")

from langchain_core.documents import Document  # noqa: E402
from langchain_core.embeddings import Embeddings  # noqa: E402
from langchain_core.vectorstores import VectorStore, VectorStoreRetriever  # noqa: E402
from langchain_core.vectorstores.utils import maximal_marginal_relevance  # noqa: E402
from langchain_qdrant import SparseEmbeddings, SparseVector  # noqa: E402

if TYPE_CHECKING:
    from qdrant_client import QdrantClient
    from qdrant_client.models import Filter

    from saeindex.collection.state import IndexState
    from saeindex.collection.stored import StoredRecord
    from saeindex.types import FloatArray, SparseCode

# How far rounding takes a cosine beyond 1.
ROUNDING = 1e-5
# Texts whose vectors tell encoders apart.
PROBES = ("The harbour lay silent under fresh snow.", "Quarterly revenue grew by nine percent.")


class SaeIndexVectorStore(VectorStore):
    """A :class:`FeatureIndex` as a vector store of LangChain.

    The index encodes texts by its own encoder, or by an ``embedding`` of LangChain. Searches take the options
    of :meth:`FeatureIndex.search` beside those of LangChain: ``where``, ``steer``, ``property``, … With
    ``explain=True`` the metadata of a document has ``saeindex``: the score, evidence, concepts, explanation,
    and the effect of steering. ``filter`` is a native filter, or a mapping of metadata fields to the value,
    or the list of values, that they must have, or to operators (``{"year": {"$gte": 2015}}``); dots in a name
    go into nested objects.
    """

    def __init__(
        self,
        index: FeatureIndex | str | Path,
        embedding: Embeddings | None = None,
        *,
        space: FeatureSpace | str | Path | None = None,
        client: QdrantClient | None = None,
        url: str | None = None,
    ) -> None:
        """``index`` is an open index, a directory or, with ``client`` or ``url``, the name of a collection.

        An absent one is created. With ``embedding`` and no ``space`` it has no concepts until
        :meth:`fit_space`. MismatchError if the index is of another encoder or space.
        """
        self._embedding = embedding
        encoder: TextEncoder | None = None if embedding is None else EmbeddingsEncoder(embedding)
        if isinstance(embedding, SaeIndexEmbeddings):
            encoder = embedding.encoder
        if not isinstance(index, FeatureIndex):
            index = _opened(index, space, client, url, encoder)
        elif encoder is not None:
            index.space.check_encoder(encoder)
            index.encoder = encoder
        self.index = shared.made(index)

    @classmethod
    def from_texts(
        cls,
        texts: list[str],
        embedding: Embeddings | None = None,
        metadatas: list[dict[str, Any]] | None = None,
        *,
        ids: list[str] | None = None,
        **options: Any,
    ) -> Self:
        """Return a store with these texts; ``options`` are those of the class, such as its ``index``."""
        store = cls(embedding=embedding, **options)
        store.add_texts(texts, metadatas, ids=ids)
        return store

    @property
    def embeddings(self) -> Embeddings:
        """The encoder of the index, as LangChain uses one."""
        return SaeIndexEmbeddings(self.index.encoder) if self._embedding is None else self._embedding

    def add_texts(
        self,
        texts: Iterable[str],
        metadatas: list[dict[str, Any]] | None = None,
        *,
        ids: Sequence[str | None] | None = None,
        **options: Any,
    ) -> list[str]:
        """Index texts, in place of those with the same ids; return the ids of all.

        An id that is None is made. A blank text is not indexed, and removes what has its id. ``options`` are
        those of :meth:`FeatureIndex.upsert` without ``split``. InvalidInputError if the lists are not equally
        long; InvalidRecordError if some texts cannot be indexed; the others are.
        """
        texts = list(texts)
        own = [one or str(uuid4()) for one in ids or [None] * len(texts)]
        given = metadatas or [{}] * len(texts)
        if not len(texts) == len(own) == len(given):
            found = f"{len(own)} ids and {len(given)} metadatas"
            raise InvalidInputError(f"add {len(texts)} texts", found, "Give one of each for a text.")
        records = {one.id: one for one in map(Record, own, texts, map(shared.without_why, given))}
        blank = [one.id for one in records.values() if not one.text.strip()]
        self.delete(blank)
        sound = [one for one in records.values() if one.text.strip()]
        shared.indexed(self.index, sound, "texts", split=None, **options)
        return own

    def delete(self, ids: list[str] | None = None, **_: Any) -> bool:
        """Delete by ids, which need not be there; without ``ids``, all."""
        if ids is None:
            self.index.delete(query_filter=shared.EVERYTHING)
        for start in range(0, len(ids or ()), MAX_LIMIT):
            self.index.delete((ids or ())[start : start + MAX_LIMIT])
        return True

    def get_by_ids(self, ids: Sequence[str], /) -> list[Document]:
        """Return the documents that exist, in the order of ``ids``."""
        return [_document(one) for one in self.index.get(ids, include=())]

    def similarity_search(
        self, query: str, k: int = 4, filter: Filter | Mapping[str, Any] | None = None, **options: Any
    ) -> list[Document]:
        """Return the ``k`` best documents."""
        return [one for one, _ in self.similarity_search_with_score(query, k, filter, **options)]

    def similarity_search_with_score(
        self, query: str, k: int = 4, filter: Filter | Mapping[str, Any] | None = None, **options: Any
    ) -> list[tuple[Document, float]]:
        """Return the ``k`` best documents with their scores, at most 1: cosines with ``using="dense"``."""
        asked = self._query(query, k, filter, options)
        return [(_document(hit, asked.explain), hit.score) for hit in self.index.search(asked)]

    def _select_relevance_score_fn(self) -> Any:
        return _relevance

    def similarity_search_by_vector(
        self,
        embedding: list[float],
        k: int = 4,
        filter: Filter | Mapping[str, Any] | None = None,
        where: str | None = None,
        **_: Any,
    ) -> list[Document]:
        """Return the ``k`` documents nearest to a vector (d,)."""
        return [_document(one) for one, *_ in self._nearest(embedding, k, filter, where)]

    def max_marginal_relevance_search(
        self,
        query: str,
        k: int = 4,
        fetch_k: int = 20,
        lambda_mult: float = 0.5,
        filter: Filter | Mapping[str, Any] | None = None,
        **options: Any,
    ) -> list[Document]:
        """Return ``k`` of the ``fetch_k`` best documents: near to the (steered) text, and unlike each other.

        ``lambda_mult`` is from 0, the most diverse, to 1. ``diversity``, an option of searches, compares
        concepts instead of vectors. InvalidInputError for an empty text.
        """
        if not query.strip():
            raise InvalidInputError("maximal marginal relevance", "an empty text", "Give a text.")
        asked = self._query(query, fetch_k, filter, options)
        hits, vector, vectors = self.index.perform(_Candidates(asked))
        chosen = maximal_marginal_relevance(vector, vectors, lambda_mult, k)
        return [_document(hits[place], asked.explain) for place in chosen]

    def max_marginal_relevance_search_by_vector(
        self,
        embedding: list[float],
        k: int = 4,
        fetch_k: int = 20,
        lambda_mult: float = 0.5,
        filter: Filter | Mapping[str, Any] | None = None,
        where: str | None = None,
        **_: Any,
    ) -> list[Document]:
        """Return ``k`` of the ``fetch_k`` documents nearest to a vector (d,) that are unlike each other."""
        found = self._nearest(embedding, fetch_k, filter, where)
        vectors: list[Any] = [vector for *_, vector in found]
        chosen = maximal_marginal_relevance(np.asarray(embedding), vectors, lambda_mult, k)
        return [_document(found[place][0]) for place in chosen]

    def as_retriever(self, **options: Any) -> SaeIndexRetriever:
        """Return a retriever over the store: ``as_retriever(k=3, search_kwargs={"where": …})``."""
        tags = options.pop("tags", None) or self._get_retriever_tags()
        return SaeIndexRetriever(vectorstore=self, tags=tags, **options)

    def fit_space(
        self,
        into: str | Path,
        *,
        client: QdrantClient | None = None,
        url: str | None = None,
        sentences: SentenceStorage | None = None,
        **options: Any,
    ) -> SaeIndexVectorStore:
        """Fit concepts on the texts and vectors of the index; return a store over a new index with them.

        The vectors are kept. Encoded are the names of concepts, and each sentence unless ``sentences="off"``;
        without sentences, conditions know only the names of trusted concepts. ``options`` are those of
        :meth:`FeatureSpace.fit`: ``n_features``, ``k``, ``concepts``, … InvalidInputError for fewer texts
        than features. A new collection on a server is opened again with ``space``: that of the new index.
        """
        encoder, records = self.index.encoder, [*every(self.index, include=("vectors",))]
        if not records:
            raise InvalidInputError("fit_space", "the index is empty", "Add texts first.")
        texts, vectors = [one.text for one in records], np.stack([np.asarray(one.dense) for one in records])
        space = FeatureSpace.fit(texts, embeddings=vectors, encoder=encoder, **options)
        self.index.copy(into, space, client=client, url=url, encoder=encoder, sentences=sentences)
        new = FeatureIndex.open(into, space=space, client=client, url=url, encoder=encoder)
        return SaeIndexVectorStore(new, self._embedding)

    def _query(
        self, text: str, limit: int, given: Filter | Mapping[str, Any] | None, options: dict[str, Any]
    ) -> Query:
        """Return what LangChain asks as a query."""
        shared.check_options(options, "k")
        if given is not None:
            own = shared.of_mapping(self.index, given) if isinstance(given, Mapping) else given
            options["query_filter"] = shared.all_of(options.get("query_filter"), own)
        return Query(text, limit=limit, **options)

    def _nearest(
        self, vector: Sequence[float], k: int, given: Filter | Mapping[str, Any] | None, where: str | None
    ) -> list[tuple[Record, float, FloatArray]]:
        asked = self._query("", k, given, {"where": where})
        return self.index.perform(ByVector(vector, asked))


class SaeIndexRetriever(VectorStoreRetriever):
    """A retriever over a :class:`SaeIndexVectorStore`; ``search_kwargs`` are options of its searches."""

    k: int = 4
    """The number of documents, unless ``search_kwargs`` has it."""

    def model_post_init(self, context: Any, /) -> None:
        """Hand ``k`` to the searches."""
        self.search_kwargs = {"k": self.k, **self.search_kwargs}


class SaeIndexEmbeddings(Embeddings):
    """An encoder of saeindex as embeddings of LangChain: unit vectors, such as an index makes of texts."""

    def __init__(self, encoder: TextEncoder | None = None) -> None:
        """``encoder`` is that of an index, else the default one."""
        self.encoder = open_encoder() if encoder is None else encoder

    def embed_documents(self, texts: list[str]) -> list[list[float]]:
        """Return a vector for each text that is indexed."""
        return list(self.encoder.encode_document(texts).tolist())

    def embed_query(self, text: str) -> list[float]:
        """Return the vector of a query."""
        return list(self.encoder.encode_query([text])[0].tolist())


class SaeSparseEmbeddings(SparseCodes, SparseEmbeddings):
    """Sparse codes of texts for ``QdrantVectorStore``; an index of a vector is a feature of the space."""

    def embed_documents(self, texts: list[str]) -> list[SparseVector]:
        """Return the code of each text that is stored."""
        return _sparse(self.of_documents(texts))

    def embed_query(self, text: str) -> SparseVector:
        """Return the code of a query."""
        return _sparse(self.of_queries([text]))[0]


class EmbeddingsEncoder:
    """Embeddings of LangChain as a ``TextEncoder``: vectors of any length are scaled to 1.

    LangChain does not say how much of a text they read: none counts as cut. EncoderError for a vector that is
    zero or not finite.
    """

    max_tokens = MAX_TEXT_CHARACTERS

    def __init__(self, embeddings: Embeddings) -> None:
        """Nothing is embedded yet."""
        self.embeddings = embeddings

    @cached_property
    def identity(self) -> EncoderIdentity:
        """The class, the dimension, and where the vectors of two fixed texts differ most, up and down.

        Other models, or settings, differ there; the rounding of one does not.
        """
        first, second = self._units(self.embeddings.embed_documents(list(PROBES)))
        apart = first - second
        return EncoderIdentity(
            kind="langchain",
            model=type(self.embeddings).__name__,
            revision=f"{apart.argmax()}>{apart.argmin()}",
            dimension=len(apart),
            max_length=self.max_tokens,
            pooling="unknown",
            normalized=True,
        )

    def encode_document(self, texts: Sequence[str]) -> FloatArray:
        """Return unit vectors (n, d) float32 for texts that are indexed."""
        check_texts(texts)
        return self._units(self.embeddings.embed_documents(list(texts)) if texts else [])

    def encode_query(self, texts: Sequence[str]) -> FloatArray:
        """Return unit vectors (n, d) float32 for queries, which LangChain embeds one by one."""
        check_texts(texts)
        return self._units([self.embeddings.embed_query(text) for text in texts])

    def token_spans(self, text: str) -> list[tuple[int, int]]:
        """Return the spans of words and punctuation marks: tokens are not known."""
        return [found.span() for found in re.finditer(r"\w+|[^\w\s]", text)]

    def _units(self, given: Sequence[Sequence[float]]) -> FloatArray:
        if not given:
            return np.zeros((0, self.identity.dimension), np.float32)
        vectors = np.asarray(given, np.float64)
        lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
        if not (np.isfinite(lengths).all() and lengths.all()):
            found = "a vector that is zero or not finite"
            raise EncoderError(f"embeddings of {len(given)} texts", found, "Check the model.")
        return np.asarray(vectors / lengths, np.float32)


@dataclass(frozen=True, eq=False)
class _Candidates(Operation["tuple[Hits, FloatArray, list[Any]]"]):
    """The hits of a query, the (steered) vector that they were searched by, and their own vectors."""

    query: Query

    def run(self, state: IndexState) -> tuple[Hits, FloatArray, list[Any]]:
        searcher = searcher_of(state)
        prepared = searcher.prepare(self.query)
        hits = searcher.search(self.query, prepared)
        found = stored_of(state).get([hit.id for hit in hits], ["vectors"])
        return hits, prepared.vector, [one.dense for one in found]


def _opened(
    place: str | Path,
    space: FeatureSpace | str | Path | None,
    client: QdrantClient | None,
    url: str | None,
    encoder: TextEncoder | None,
) -> FeatureIndex:
    """Return the index at a place; an absent one has no concepts if its encoder is one of LangChain."""
    try:
        return FeatureIndex.open(place, space=space, client=client, url=url, encoder=encoder)
    except NotFoundError:
        if space is not None or not isinstance(encoder, EmbeddingsEncoder):
            return FeatureIndex(place, space=space, client=client, url=url, encoder=encoder)
    # A collection on a server does not hold its space: it may be there.
    dense = FeatureSpace.dense(encoder)
    return FeatureIndex(place, space=dense, client=client, url=url, encoder=encoder, sentences="off")


def _relevance(score: float) -> float:
    """Return a score from -1 to 1 as one from 0 to 1, as ``QdrantVectorStore`` does of cosines."""
    if abs(score) > 1 + ROUNDING:
        found = f"a score of {score:.3f} is not from -1 to 1"
        raise InvalidInputError("relevance scores", found, "Use similarity_search_with_score.")
    return min(1.0, max(0.0, (1 + score) / 2))


def _document(found: Hit | Record | StoredRecord, explain: bool = False) -> Document:
    metadata = shared.metadata_of(found, explain, "score")
    return Document(id=found.id, page_content=found.text, metadata=metadata)


def _sparse(codes: SparseCode) -> list[SparseVector]:
    return [SparseVector(indices=i.tolist(), values=v.tolist()) for i, v in codes.rows()]
