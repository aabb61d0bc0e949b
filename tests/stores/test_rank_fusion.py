"""Our fusion compared with the engines', on lists without ties, where all must agree."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import qdrant_edge
from qdrant_client import QdrantClient, models

from saeindex.protocols import Fusion, Layout, Point, SearchRequest, SparseVector
from saeindex.stores.edge import EdgeStore
from saeindex.stores.qdrant import QdrantStore
from saeindex.stores.ranking import reciprocal_rank_fusion

LAYOUT = Layout({"dense": 16}, ("sae",))


def _points() -> list[Point]:
    rng = np.random.default_rng(7)
    return [
        Point(
            n,
            {
                "dense": rng.standard_normal(16).astype(np.float32),
                "sae": SparseVector(np.arange(4, dtype=np.int32), rng.random(4).astype(np.float32)),
            },
        )
        for n in range(60)
    ]


def _request() -> SearchRequest:
    first, second = _points()[0].vectors["dense"], _points()[1].vectors["sae"]
    stages = (SearchRequest(first, limit=20), SearchRequest(second, "sae", 15))
    return SearchRequest(Fusion(), limit=25, prefetch=stages)


def _agree(ours: list[Point], theirs: Any) -> None:
    assert len(ours) == len(theirs)
    found = {point.id: point.score for point in ours}
    for point in theirs:
        assert found[point.id] == pytest.approx(point.score, abs=2e-6)


def test_edge_fuses_to_the_same_scores(index_path: Path) -> None:
    request = _request()
    with EdgeStore.create(index_path, LAYOUT) as store:
        store.upsert(_points())
        dense, sparse = (stage.query for stage in request.prefetch)
        assert isinstance(sparse, SparseVector)
        nearest = qdrant_edge.Query.Nearest
        entries = qdrant_edge.SparseVector(sparse.indices.tolist(), sparse.values.tolist())
        fused: Any = qdrant_edge.Fusion.Rrf(k=2)
        native = qdrant_edge.QueryRequest(
            limit=25,
            query=fused,
            prefetches=[
                qdrant_edge.Prefetch(20, nearest(np.asarray(dense).tolist(), "dense")),
                qdrant_edge.Prefetch(15, nearest(entries, "sae")),
            ],
        )
        _agree(store.search(request), store._shard.query(native))


def test_the_client_fuses_to_the_same_scores() -> None:
    request = _request()
    client = QdrantClient(":memory:")
    with QdrantStore.create(client, "c", LAYOUT, owns_client=True) as store:
        store.upsert(_points())
        dense, sparse = (stage.query for stage in request.prefetch)
        assert isinstance(sparse, SparseVector)
        entries = models.SparseVector(indices=sparse.indices.tolist(), values=sparse.values.tolist())
        theirs = client.query_points(
            "c",
            limit=25,
            query=models.FusionQuery(fusion=models.Fusion.RRF),
            prefetch=[
                models.Prefetch(limit=20, query=np.asarray(dense).tolist(), using="dense"),
                models.Prefetch(limit=15, query=entries, using="sae"),
            ],
        )
        _agree(store.search(request), theirs.points)


def test_reciprocal_ranks_by_hand() -> None:
    fused = reciprocal_rank_fusion([[(1, 9.0), (2, 8.0)], [(2, 0.5)], []])
    assert fused == {1: 1 / 2, 2: 1 / 3 + 1 / 2}
