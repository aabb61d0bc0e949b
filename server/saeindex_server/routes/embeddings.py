"""Embeddings, and searches of an index as a vector store, in OpenAI's form."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from typing import Any, TypeVar

from fastapi import APIRouter, Request, Response
from pydantic import BaseModel, ValidationError

from saeindex.errors import InvalidInputError
from saeindex.index import FeatureIndex
from saeindex.language.ast import MAX_DEPTH
from saeindex.language.fields import METADATA, field_at
from saeindex.search.query import Query
from saeindex_server import schemas
from saeindex_server.access import Access, Caller
from saeindex_server.problems import refused_body
from saeindex_server.schemas import EmbeddingsBody, VectorStoreBody, problems, reply

router = APIRouter(prefix="/v1", tags=["embeddings"], responses=problems())
B = TypeVar("B", bound=BaseModel)
MAX_INPUTS = 2_048
# The comparisons of OpenAI's filters, as conditions write them.
OPERATORS = {"eq": "=", "ne": "!=", "gt": ">", "gte": ">=", "lt": "<", "lte": "<="}


async def _body(kind: type[B], request: Request, access: Access) -> B:
    try:
        return kind.model_validate_json(await access.service.bodies.json(request))
    except ValidationError as error:
        raise refused_body(error) from None


@router.get("/models", summary="List models", response_model=schemas.ModelsReply)
async def models(access: Caller) -> Response:
    """Return the indexes that the key is for as models, in OpenAI's form."""
    return reply({"object": "list", "data": [_model(index.name) for index in access.indexes()]})


@router.get("/models/{name}", summary="Show a model", response_model=schemas.ModelReply, responses=problems())
async def show_model(name: str, access: Caller) -> Response:
    """Return an index as a model, in OpenAI's form."""
    return reply(_model(access.index(name).name))


def _model(name: str) -> dict[str, Any]:
    return {"id": name, "object": "model", "created": 0, "owned_by": "saeindex"}


@router.post("/embeddings", summary="Embed texts", response_model=schemas.EmbeddingsReply,
             responses=problems(415), openapi_extra=schemas.body_named("EmbeddingsBody"))  # fmt: skip
async def embeddings(request: Request, access: Caller) -> Response:
    """Return the embeddings of texts, in OpenAI's form; ``model`` is an index, whose encoder is used."""
    body = await _body(EmbeddingsBody, request, access)
    texts: list[Any] = [body.input] if isinstance(body.input, str) else body.input
    if not all(isinstance(text, str) for text in texts):
        do = "Send texts: the tokens of another model are none of the encoder's."
        raise InvalidInputError("input", "token ids", do)
    if not texts or len(texts) > MAX_INPUTS or not all(texts):
        found = f"{len(texts):,} texts" if len(texts) > MAX_INPUTS else "no text, or an empty one"
        raise InvalidInputError("input", found, f"Give 1 to {MAX_INPUTS:,} texts.")

    def found_in(index: FeatureIndex) -> dict[str, Any]:
        encoder = index.state.encoder
        dimension = encoder.identity.dimension
        if body.dimensions not in (None, dimension):
            do = f"Leave it out, or use {dimension}."
            raise InvalidInputError(f"dimensions={body.dimensions}", "the encoder has others", do)
        vectors = encoder.encode_query(texts)
        tokens = sum(len(encoder.token_spans(text)) for text in texts)
        listed = [
            {
                "object": "embedding",
                "index": i,
                "embedding": vector.tolist()
                if body.encoding_format != "base64"
                else base64.b64encode(vector.astype("<f4").tobytes()).decode("ascii"),
            }
            for i, vector in enumerate(vectors)
        ]
        usage = {"prompt_tokens": tokens, "total_tokens": tokens}
        return {"object": "list", "data": listed, "model": body.model, "usage": usage}

    return reply(await access.index(body.model).run(found_in))


@router.post("/vector_stores/{name}/search", summary="Search a vector store",
             response_model=schemas.VectorStoreReply, responses=problems(415),
             openapi_extra=schemas.body_named("VectorStoreBody"))  # fmt: skip
async def search_vector_store(name: str, request: Request, access: Caller) -> Response:
    """Return the best records of an index, in OpenAI's form; ``rewrite_query`` is ignored."""
    body = await _body(VectorStoreBody, request, access)
    texts = [body.query] if isinstance(body.query, str) else body.query
    given: Mapping[str, Any] = {"score_threshold": (body.ranking_options or {}).get("score_threshold")}
    where = None if body.filters is None else _condition(body.filters)
    query = Query("\n".join(texts), where=where, limit=body.max_num_results, **given)
    hits = await access.index(name).run(lambda index: index.search(query))
    data = [
        {
            "file_id": hit.id,
            "filename": hit.document or hit.id,
            "score": hit.score,
            "attributes": dict(hit.metadata),
            "content": [{"type": "text", "text": hit.text}],
        }
        for hit in hits
    ]
    page = {"search_query": texts, "data": data, "has_more": False, "next_page": None}
    return reply({"object": "vector_store.search_results.page", **page})


def _condition(given: Any, depth: int = 0) -> dict[str, Any]:
    """Return a filter of OpenAI's form as a condition in JSON."""
    kind = given.get("type") if isinstance(given, dict) else None
    within = given.get("filters") if kind in ("and", "or") else None
    if isinstance(within, list) and within and depth < MAX_DEPTH:
        parts = [_condition(one, depth + 1) for one in within]
        return parts[0] if len(parts) == 1 else {"kind": kind, "parts": parts}
    if isinstance(given, dict) and isinstance(given.get("key"), str) and "value" in given:
        field, value = field_at((METADATA, *given["key"].split("."))), given["value"]
        if kind in OPERATORS:
            return {"kind": "compare", "field": field, "op": OPERATORS[kind], "value": value}
        if kind in ("in", "nin") and value:
            found = {"kind": "in", "field": field, "values": value}
            return found if kind == "in" else {"kind": "not", "part": found}
    do = "Give type, key and value, or type and filters, of which there is one at least."
    raise InvalidInputError("filters", f"{given!r:.80}, no filter of OpenAI's form", do)
