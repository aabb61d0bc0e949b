"""Running a plan: the store's search, passages grouped by record, and explanations."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import numpy as np

from saeindex.config import DENSE, MAX_LIMIT, SAE
from saeindex.protocols import SearchRequest, SparseVector
from saeindex.query.explain import activations, explain_dense, explain_sparse
from saeindex.types import Hit, Hits

if TYPE_CHECKING:
    from saeindex.features import FeatureSpace
    from saeindex.protocols import Point, Vector, VectorStore
    from saeindex.query.planner import Plan
    from saeindex.types import Explanation


def execute(plan: Plan, store: VectorStore, space: FeatureSpace, has_passages: bool) -> Hits:
    """Return the hits of ``plan``; where records have passages, one hit per record (its best passage)."""
    started = time.perf_counter()
    vector = _query_vector(plan, space)
    if isinstance(vector, SparseVector) and not len(vector.indices):
        points: list[Point] = []
    elif has_passages and not plan.query.with_passages:
        points = _best_passages(plan, vector, store)
    else:
        points = store.search(_request(plan, vector, plan.query.limit, plan.query.offset))
    searched = time.perf_counter()
    hits = [_hit(point, vector, plan, space) for point in points]
    timings = {"search": (searched - started) * 1e3, "explain": (time.perf_counter() - searched) * 1e3}
    return Hits(hits, plan, timings)


def _query_vector(plan: Plan, space: FeatureSpace) -> Vector:
    if plan.query.using == DENSE:
        return plan.vector
    indices, values = space.sae.encode(plan.vector[None]).row(0)
    return SparseVector(indices, values)


def _request(plan: Plan, vector: Vector, limit: int, offset: int) -> SearchRequest:
    return SearchRequest(
        vector,
        using=plan.query.using,
        limit=limit,
        offset=offset,
        query_filter=plan.query_filter,
        score_threshold=plan.query.score_threshold,
        with_vectors=[DENSE, SAE] if plan.query.explain else [SAE],
    )


def _best_passages(plan: Plan, vector: Vector, store: VectorStore) -> list[Point]:
    """Widen the search until it holds enough different records, or everything that matches."""
    wanted = plan.query.offset + plan.query.limit
    fetched = 2 * wanted
    while True:
        points = store.search(_request(plan, vector, fetched, 0))
        best: dict[str, Point] = {}
        for point in points:
            best.setdefault(point.payload["record_id"], point)
        if len(best) >= wanted or len(points) < fetched or fetched >= 64 * MAX_LIMIT:
            return list(best.values())[plan.query.offset : wanted]
        fetched *= 4


def _hit(point: Point, vector: Vector, plan: Plan, space: FeatureSpace) -> Hit:
    found = point.vectors.get(SAE)
    code = found if isinstance(found, SparseVector) else None
    return Hit(
        id=point.payload["record_id"],
        score=float(point.score or 0.0),
        text=point.payload["text"],
        metadata=point.payload["metadata"],
        features=activations(code, space),
        explanation=_explain(point, vector, code, space) if plan.query.explain else None,
        passage=point.payload["passage"],
    )


def _explain(point: Point, vector: Vector, code: SparseVector | None, space: FeatureSpace) -> Explanation:
    code = code or SparseVector(np.zeros(0, np.int32), np.zeros(0, np.float32))
    if isinstance(vector, SparseVector):
        return explain_sparse(vector, code, space)
    document = point.vectors[DENSE]
    assert isinstance(document, np.ndarray)  # noqa: S101  (the layout says that "dense" is a dense vector)
    return explain_dense(vector, document, code, space)
