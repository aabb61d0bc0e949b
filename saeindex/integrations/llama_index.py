"""An index in LlamaIndex: as its vector store, as a retriever, and its encoders."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from qdrant_client.models import Filter

from saeindex.encoders import open_encoder
from saeindex.errors import InvalidInputError, MismatchError, installed
from saeindex.indexing.points import of_documents
from saeindex.integrations import shared
from saeindex.integrations.shared import ByVector, SparseCodes
from saeindex.operations.surfaces import every
from saeindex.search.hits import Hit
from saeindex.search.query import Query
from saeindex.types import Record, SparseCode

installed("llama_index.core", "LlamaIndex", "llama-index")

from llama_index.core import schema  # noqa: E402
from llama_index.core.base.base_retriever import BaseRetriever  # noqa: E402
from llama_index.core.base.embeddings.base import BaseEmbedding  # noqa: E402
from llama_index.core.bridge.pydantic import PrivateAttr  # noqa: E402
from llama_index.core.constants import DEFAULT_SIMILARITY_TOP_K  # noqa: E402
from llama_index.core.schema import BaseNode, NodeWithScore  # noqa: E402
from llama_index.core.vector_stores.types import (  # noqa: E402
    BasePydanticVectorStore,
    FilterCondition,
    FilterOperator,
    MetadataFilter,
    MetadataFilters,
    VectorStoreQuery,
    VectorStoreQueryMode,
    VectorStoreQueryResult,
)
from llama_index.core.vector_stores.utils import metadata_dict_to_node, node_to_metadata_dict  # noqa: E402

if TYPE_CHECKING:
    from saeindex.collection.stored import StoredRecord
    from saeindex.index import FeatureIndex
    from saeindex.protocols import TextEncoder

MMR_THRESHOLD = 0.5
USING = {
    VectorStoreQueryMode.DEFAULT: "fused",
    VectorStoreQueryMode.MMR: "fused",
    VectorStoreQueryMode.HYBRID: "fused",
    VectorStoreQueryMode.TEXT_SEARCH: "words",
    VectorStoreQueryMode.SPARSE: "sae",
}
# What ranks where a hybrid search has all of its weight on one side.
WEIGHTED = {0.0: "words", 1.0: "dense"}
COMPARED = {
    FilterOperator.EQ: "=",
    FilterOperator.CONTAINS: "=",
    **{one: one.value for one in (FilterOperator.NE, FilterOperator.GT, FilterOperator.GTE)},
    **{one: one.value for one in (FilterOperator.LT, FilterOperator.LTE)},
}


class SaeIndexVectorStore(BasePydanticVectorStore):
    """A :class:`FeatureIndex` as the vector store of LlamaIndex.

    The index encodes the texts of nodes and queries by its own encoder. Embeddings that come with them are
    not used, and queries get none; so what changes them alone, such as HyDE, changes nothing. A query that
    has an embedding and no text is ranked by that. MismatchError where an embedding is not as long as those
    of the index.

    ``options`` are those of :meth:`FeatureIndex.search` for all queries: ``where``, ``steer``, ``property``,
    … For one retriever they are ``vector_store_kwargs``. With ``explain=True`` the metadata of a node has
    ``saeindex``: its evidence, concepts, explanation, and the effect of steering.
    """

    stores_text: bool = True
    is_embedding_query: bool = False
    _index: FeatureIndex = PrivateAttr()
    _options: dict[str, Any] = PrivateAttr()

    def __init__(self, index: FeatureIndex, **options: Any) -> None:
        """InvalidInputError for an option that a search does not have."""
        super().__init__(stores_text=True)
        shared.check_options(options, "similarity_top_k")
        Query(**options)
        self._index, self._options = index, options

    @classmethod
    def class_name(cls) -> str:
        """Return the name of the class."""
        return "SaeIndexVectorStore"

    @property
    def client(self) -> FeatureIndex:
        """The index."""
        return self._index

    def add(self, nodes: Sequence[BaseNode], **add_kwargs: Any) -> list[str]:
        """Index nodes, in place of those with the same ids; return the ids of all.

        A node without text is not indexed, and removes what has its id. ``add_kwargs`` are options of
        :meth:`FeatureIndex.upsert` without ``split``. InvalidRecordError if some cannot be indexed; the
        others are.
        """
        for node in nodes:
            self._check(node.embedding)
        records = {node.node_id: _record(node) for node in nodes}
        texts = [one for one in records.values() if one.text.strip()]
        if blank := records.keys() - {one.id for one in texts}:
            self._index.delete(query_filter=shared.having_ids(blank))
        shared.indexed(self._index, texts, "nodes", split=None, **add_kwargs)
        return [node.node_id for node in nodes]

    def query(self, query: VectorStoreQuery, **kwargs: Any) -> VectorStoreQueryResult:
        """Return the best nodes; ``kwargs`` are options of :meth:`FeatureIndex.search`.

        The modes are DEFAULT and HYBRID (fused), MMR, SPARSE (by concepts) and TEXT_SEARCH (by words).
        ``alpha`` of a hybrid search may be 0, for words alone, or 1, for the vector alone: between, how rare
        words are decides. InvalidInputError for other modes and weights.
        """
        self._check(query.query_embedding)
        asked = self._asked(query, {**self._options, **kwargs})
        found: Sequence[tuple[Hit | Record, float]]
        if query.query_embedding is not None and not asked.text.strip():
            nearest = self._index.perform(ByVector(query.query_embedding, asked))
            found = [(record, score) for record, score, _ in nearest]
        else:
            found = [(hit, hit.score) for hit in self._index.search(asked)]
        nodes = [_node(one, asked.explain) for one, _ in found]
        scores = [score for _, score in found]
        return VectorStoreQueryResult(nodes, scores, [node.node_id for node in nodes])

    def delete(self, ref_doc_id: str, **delete_kwargs: Any) -> None:
        """Delete the nodes of a document; there need be none."""
        self._index.delete(query_filter=of_documents([ref_doc_id]))

    def delete_nodes(
        self, node_ids: list[str] | None = None, filters: MetadataFilters | None = None, **delete_kwargs: Any
    ) -> None:
        """Delete nodes that have one of the ids and match; InvalidInputError if neither is given."""
        self._index.delete(query_filter=self._filter(node_ids, filters))

    def get_nodes(
        self, node_ids: list[str] | None = None, filters: MetadataFilters | None = None
    ) -> list[BaseNode]:
        """Return all nodes, or those that have one of the ids and match."""
        return [_node(one) for one in every(self._index, query_filter=self._filter(node_ids, filters))]

    def clear(self) -> None:
        """Delete all nodes."""
        self._index.delete(query_filter=shared.EVERYTHING)

    async_add = shared.on_thread(add)
    aquery = shared.on_thread(query)
    adelete = shared.on_thread(delete)
    adelete_nodes = shared.on_thread(delete_nodes)
    aget_nodes = shared.on_thread(get_nodes)
    aclear = shared.on_thread(clear)

    def _check(self, embedding: Sequence[float] | None) -> None:
        own = self._index.space.sae.dimension
        if embedding is not None and len(embedding) != own:
            asked, found = f"an embedding of {len(embedding)} numbers", f"those of the index have {own}"
            raise MismatchError(asked, found, "Use SaeIndexEmbedding(index.encoder) as the embed_model.")

    def _asked(self, query: VectorStoreQuery, options: dict[str, Any]) -> Query:
        """Return a query as the index understands it."""
        if query.mode not in USING:
            do = f"Use {', '.join(one.value for one in USING)}."
            raise InvalidInputError(f"the mode {query.mode.value!r}", "the index cannot rank so", do)
        if query.alpha not in (None, *WEIGHTED):
            found = "the rarity of a query's words decides how much they weigh"
            raise InvalidInputError(
                f"alpha={query.alpha}", found, "Use 0 (words), 1 (dense), or none (both)."
            )
        shared.check_options(options, "similarity_top_k")
        limit, threshold = query.similarity_top_k, options.pop("mmr_threshold", query.mmr_threshold)
        given: dict[str, Any] = {"using": USING[query.mode] if query.alpha is None else WEIGHTED[query.alpha]}
        if query.mode is VectorStoreQueryMode.HYBRID:
            limit = query.hybrid_top_k or limit
        if query.mode is VectorStoreQueryMode.MMR:
            given["diversity"] = 1 - (MMR_THRESHOLD if threshold is None else threshold)
        of_documents_only = of_documents(query.doc_ids) if query.doc_ids else None
        own = self._filter(query.node_ids or None, query.filters)
        options["query_filter"] = shared.all_of(options.get("query_filter"), own, of_documents_only)
        return Query(query.query_str or "", **{"limit": limit, **given, **options})

    def _filter(self, node_ids: list[str] | None, filters: MetadataFilters | None) -> Filter | None:
        of_ids = None if node_ids is None else shared.having_ids(node_ids)
        matching = None if filters is None or not filters.filters else _filter_of(self._index, filters)
        return shared.all_of(of_ids, matching)


class SaeIndexRetriever(BaseRetriever):
    """A retriever that asks a :class:`FeatureIndex`, without an embedding model.

    ``options`` are those of :meth:`FeatureIndex.search`: ``where``, ``steer``, ``property``, … With
    ``explain=True`` the metadata of a node has ``saeindex``: its evidence, concepts, explanation, and the
    effect of steering. InvalidInputError for an option that a search does not have.
    """

    def __init__(
        self, index: FeatureIndex, *, similarity_top_k: int = DEFAULT_SIMILARITY_TOP_K, **options: Any
    ) -> None:
        """``similarity_top_k`` is the number of nodes."""
        super().__init__()
        shared.check_options(options, "similarity_top_k")
        self._index, self._query = index, Query(limit=similarity_top_k, **options)

    def _retrieve(self, query_bundle: schema.QueryBundle) -> list[NodeWithScore]:
        hits = self._index.search(self._query, text=query_bundle.query_str)
        return [NodeWithScore(node=_node(hit, self._query.explain), score=hit.score) for hit in hits]

    _aretrieve = shared.on_thread(_retrieve)


class SaeIndexEmbedding(BaseEmbedding):
    """An encoder of saeindex as an embedding model: unit vectors, such as an index makes of texts."""

    _encoder: TextEncoder = PrivateAttr()

    def __init__(self, encoder: TextEncoder | None = None, **options: Any) -> None:
        """``encoder`` is that of an index, else the default one; ``options`` are those of LlamaIndex."""
        opened = open_encoder() if encoder is None else encoder
        super().__init__(model_name=opened.identity.model, **options)
        self._encoder = opened

    @classmethod
    def class_name(cls) -> str:
        """Return the name of the class."""
        return "SaeIndexEmbedding"

    def _get_query_embedding(self, query: str) -> list[float]:
        return list(self._encoder.encode_query([query])[0].tolist())

    def _get_text_embedding(self, text: str) -> list[float]:
        return self._get_text_embeddings([text])[0]

    def _get_text_embeddings(self, texts: list[str]) -> list[list[float]]:
        return list(self._encoder.encode_document(texts).tolist())

    _aget_query_embedding = shared.on_thread(_get_query_embedding)
    _aget_text_embedding = shared.on_thread(_get_text_embedding)
    _aget_text_embeddings = shared.on_thread(_get_text_embeddings)


class SaeSparseCodes(SparseCodes):
    """Sparse codes of texts, for the hybrid search of ``QdrantVectorStore``.

    ``QdrantVectorStore(…, enable_hybrid=True, sparse_doc_fn=codes.sparse_doc_fn,
    sparse_query_fn=codes.sparse_query_fn)``. The index of a number is that of a feature of the space.
    """

    def sparse_doc_fn(self, texts: list[str]) -> tuple[list[list[int]], list[list[float]]]:
        """Return the features and the activations of each text that is stored."""
        return _listed(self.of_documents(texts))

    def sparse_query_fn(self, texts: list[str]) -> tuple[list[list[int]], list[list[float]]]:
        """Return the features and the activations of each query."""
        return _listed(self.of_queries(texts))


def _record(node: BaseNode) -> Record:
    """Return a node as a record: LlamaIndex keeps all of it but its text in its metadata."""
    node = node.model_copy(update={"metadata": shared.without_why(node.metadata)})
    metadata = node_to_metadata_dict(node, remove_text=True)
    text = node.get_content(metadata_mode=schema.MetadataMode.NONE)
    return Record(node.node_id, text, metadata, document=node.ref_doc_id)


def _node(found: Hit | Record | StoredRecord, explain: bool = False) -> BaseNode:
    """Return a record as a node, also one that LlamaIndex did not write."""
    node: BaseNode
    if "_node_content" in found.metadata:
        node = metadata_dict_to_node(dict(found.metadata), found.text)
    else:
        node = schema.TextNode(id_=found.id, text=found.text, metadata=dict(found.metadata))
        if found.document is not None:
            source = schema.RelatedNodeInfo(node_id=found.document)
            node.relationships[schema.NodeRelationship.SOURCE] = source
    if explain and isinstance(found, Hit):
        node.metadata[shared.WHY] = shared.metadata_of(found, explain)[shared.WHY]
        node.excluded_llm_metadata_keys.append(shared.WHY)
        node.excluded_embed_metadata_keys.append(shared.WHY)
    return node


def _filter_of(index: FeatureIndex, filters: MetadataFilters) -> Filter:
    """Return metadata filters as a native filter; NOT is that none of them matches."""
    parts: list[Any] = [
        _filter_of(index, one) if isinstance(one, MetadataFilters) else _condition(index, one)
        for one in filters.filters
    ]
    match filters.condition:
        case FilterCondition.OR:
            return Filter(should=parts)
        case FilterCondition.NOT:
            return Filter(must_not=parts)
    return Filter(must=parts)


def _condition(index: FeatureIndex, one: MetadataFilter) -> Filter:
    """Return a metadata filter as a native filter; InvalidInputError for what an index cannot compare."""
    field, value, operator = shared.field_of(one.key), one.value, one.operator
    asked = f"a filter {one.key} {operator.value} {value!r:.80}"
    if operator is FilterOperator.IS_EMPTY:
        return shared.missing(index, field)
    if operator in COMPARED and value is not None and not isinstance(value, list):
        return shared.compared(index, field, COMPARED[operator], value)
    if operator is FilterOperator.TEXT_MATCH and isinstance(value, str):
        return shared.having_text(field, value)
    if isinstance(value, list):
        match operator:
            case FilterOperator.IN | FilterOperator.ANY:
                return shared.one_of(index, field, value)
            case FilterOperator.NIN:
                return Filter(must_not=[shared.one_of(index, field, value)])
            case FilterOperator.ALL:
                return Filter(must=[shared.compared(index, field, "=", each) for each in value])
    do = "Use a list with in, nin, any and all, one value with other operators, or where=…."
    raise InvalidInputError(asked, "the index cannot compare so", do)


def _listed(codes: SparseCode) -> tuple[list[list[int]], list[list[float]]]:
    rows = [*codes.rows()]
    return [features.tolist() for features, _ in rows], [activations.tolist() for _, activations in rows]
