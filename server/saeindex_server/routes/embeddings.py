"""Embeddings in OpenAI's form."""

from __future__ import annotations

import base64
from typing import Any

from fastapi import APIRouter, Request, Response
from pydantic import ValidationError

from saeindex.errors import InvalidInputError
from saeindex.index import FeatureIndex
from saeindex_server import replies
from saeindex_server.access import Caller
from saeindex_server.problems import refused_body
from saeindex_server.replies import problems, reply
from saeindex_server.requests import EmbeddingsBody

router = APIRouter(prefix="/v1", tags=["embeddings"], responses=problems())
MAX_INPUTS = 2_048


@router.get("/models", summary="List models", response_model=replies.ModelsReply)
async def models(access: Caller) -> Response:
    """Return the indexes that the key is for as models, in OpenAI's form."""
    listed = [{"id": index.name, "object": "model"} for index in access.indexes()]
    return reply({"object": "list", "data": listed})


@router.get("/models/{name}", summary="Show a model", response_model=replies.ModelReply, responses=problems())
async def show_model(name: str, access: Caller) -> Response:
    """Return an index as a model, in OpenAI's form."""
    return reply({"id": access.index(name).name, "object": "model"})


@router.post("/embeddings", summary="Embed texts", response_model=replies.EmbeddingsReply,
             responses=problems(415), openapi_extra=replies.body_named("EmbeddingsBody"))  # fmt: skip
async def embeddings(request: Request, access: Caller) -> Response:
    """Return the embeddings of texts, in OpenAI's form; ``model`` is an index, whose encoder is used."""
    try:
        body = EmbeddingsBody.model_validate_json(await access.service.bodies.json(request, access.key.id))
    except ValidationError as error:
        raise refused_body(error) from None
    texts = [body.input] if isinstance(body.input, str) else body.input
    if not texts or len(texts) > MAX_INPUTS or not all(texts):
        found = f"{len(texts):,} texts" if texts and len(texts) > MAX_INPUTS else "no text, or an empty one"
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
                if body.encoding_format == "float"
                else base64.b64encode(vector.astype("<f4").tobytes()).decode("ascii"),
            }
            for i, vector in enumerate(vectors)
        ]
        usage = {"prompt_tokens": tokens, "total_tokens": tokens}
        return {"object": "list", "data": listed, "model": body.model, "usage": usage}

    return reply(await access.index(body.model).run(found_in))
