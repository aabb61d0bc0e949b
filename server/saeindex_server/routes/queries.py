"""Queries: search, plans, explanations, facets, feedback; and embeddings in OpenAI's form."""

from __future__ import annotations

import base64
from collections.abc import Callable
from dataclasses import asdict
from typing import Any, TypeVar

from fastapi import APIRouter, Response

from saeindex.errors import InvalidInputError
from saeindex.index import FeatureIndex
from saeindex.search.hits import Hits
from saeindex.search.query import Query
from saeindex.types import Steer
from saeindex_server import replies
from saeindex_server.access import Access, Caller
from saeindex_server.limits import CheckedRoute
from saeindex_server.replies import problems, reply
from saeindex_server.requests import (
    Body,
    CompareBody,
    EmbeddingsBody,
    FacetsBody,
    FeedbackBody,
    ManyBody,
    SearchBody,
)

router = APIRouter(
    route_class=CheckedRoute, prefix="/v1/indexes/{name}", tags=["queries"], responses=problems()
)
embeddings_router = APIRouter(route_class=CheckedRoute, prefix="/v1", tags=["queries"], responses=problems())
MAX_INPUTS = 2_048
R = TypeVar("R")


def query_of(body: Body, access: Access, without: tuple[str, ...] = ()) -> dict[str, Any]:
    """Return a body as the keywords of a query; its time is limited to that of a request."""
    given = {name: value for name, value in body.options().items() if name not in without}
    if isinstance(steers := given.get("steer"), list):
        given["steer"] = [_steer(one) if isinstance(one, dict) else one for one in steers]
    if "text" in given:
        given["query"] = given.pop("text")
    limit = access.service.settings.timeout
    given["timeout"] = limit if given.get("timeout") is None else min(limit, given["timeout"])
    return given


def _steer(given: dict[str, Any]) -> Steer:
    fields: dict[str, Any] = {
        name: tuple(value) if isinstance(value, list) else value for name, value in given.items()
    }
    return Steer(**fields)


def _to_json(value: Any) -> Any:
    return value.to_json()


def _counted(access: Access, hits: Hits) -> Hits:
    access.service.metrics.stages(hits.timings_ms)
    return hits


async def _answer(
    access: Access, name: str, find: Callable[[FeatureIndex], R], described: Callable[[R], Any] = _to_json
) -> Response:
    return await access.index(name).run(lambda index: access.answer(find(index), described))


@router.post("/search", summary="Search", response_model=replies.HitsReply)
async def search(name: str, body: SearchBody, access: Caller) -> Response:
    """Return the best hits: ranked by text, property or examples; filtered and steered by concept."""
    given = query_of(body, access)
    return await _answer(access, name, lambda index: _counted(access, index.search(**given)))


@router.post("/search/many", summary="Search many", response_model=replies.ManyReply)
async def search_many(name: str, body: ManyBody, access: Caller) -> Response:
    """Return the hits of several queries; if one is wrong, none is run."""
    queries = [_query(query_of(one, access)) for one in body.queries]

    return await _answer(
        access, name, lambda index: index.search_many(queries),
        lambda found: {"results": [hits.to_json() for hits in found]},
    )  # fmt: skip


def _query(given: dict[str, Any]) -> Query:
    return Query(text=given.pop("query", ""), **given)


@router.post("/plan", summary="Plan a search", response_model=replies.AnalysisReply)
async def plan(name: str, body: SearchBody, access: Caller) -> Response:
    """Return the plan that a search would run, without running it."""
    given = query_of(body, access)
    return await _answer(access, name, lambda index: index.plan(**given))


@router.post("/explain-analyze", summary="Measure a search", response_model=replies.AnalysisReply)
async def explain_analyze(name: str, body: SearchBody, access: Caller) -> Response:
    """Run a search and return its plan beside the measured counts and times of each stage."""
    given = query_of(body, access)
    return await _answer(access, name, lambda index: index.explain_analyze(**given))


@router.post("/compare", summary="Compare two records", response_model=replies.AnalysisReply)
async def compare(name: str, body: CompareBody, access: Caller) -> Response:
    """Return why one record ranks above or below another for a query."""
    given = {"query": "", **query_of(body, access)}
    return await _answer(access, name, lambda index: index.compare(**given))


@router.post("/facets", summary="Concepts of the results", response_model=replies.FacetsReply)
async def concept_facets(name: str, body: FacetsBody, access: Caller) -> Response:
    """Return the concepts that are more frequent in a query's results than in the index."""
    given = query_of(body, access)

    return await _answer(
        access, name, lambda index: index.concept_facets(**given),
        lambda found: {"facets": [asdict(one) for one in found]},
    )  # fmt: skip


@router.post("/exclusions", summary="Concepts to exclude", response_model=replies.ExclusionsReply)
async def suggest_exclusions(name: str, body: FacetsBody, access: Caller) -> Response:
    """Return concepts that some of a query's results have and its text does not mention."""
    given = {"query": "", **query_of(body, access)}

    return await _answer(
        access, name, lambda index: index.suggest_exclusions(**given),
        lambda found: {"exclusions": [asdict(one) for one in found]},
    )  # fmt: skip


@router.post("/feedback", summary="Judge a property search", response_model=replies.AnalysisReply)
async def feedback(name: str, body: FeedbackBody, access: Caller) -> Response:
    """Return the feedback of a search with judgements of its concepts; search again with it."""
    access.index(name)
    changed = body.feedback.accept(*body.accept) if body.accept else body.feedback
    if body.reject or body.reject_words:
        changed = changed.reject(*body.reject, words=tuple(body.reject_words))
    if body.concept_weights or body.word_weights:
        changed = changed.reweighted(body.concept_weights, body.word_weights)
    return access.answer(changed, lambda one: one.model_dump(mode="json"))


@embeddings_router.post("/embeddings", summary="Embed texts", response_model=replies.EmbeddingsReply)
async def embeddings(body: EmbeddingsBody, access: Caller) -> Response:
    """Return the embeddings of texts, in OpenAI's form; ``model`` is an index, whose encoder is used."""
    texts = [body.input] if isinstance(body.input, str) else body.input
    if not texts or len(texts) > MAX_INPUTS or not all(texts):
        found = f"{len(texts):,} texts" if texts and len(texts) > MAX_INPUTS else "no text, or an empty one"
        raise InvalidInputError("input", found, f"Give 1 to {MAX_INPUTS:,} texts.")

    def found_in(index: FeatureIndex) -> dict[str, Any]:
        dimension = index.encoder.identity.dimension
        if body.dimensions not in (None, dimension):
            do = f"Leave it out, or use {dimension}."
            raise InvalidInputError(f"dimensions={body.dimensions}", "the encoder has others", do)
        vectors = index.encoder.encode_query(texts)
        tokens = sum(len(index.encoder.token_spans(text)) for text in texts)
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
