"""Quantized vectors: searches that need not be exact are near to those that are; scores are the same."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from qdrant_client import QdrantClient

from saeindex import FeatureIndex, FeatureSpace
from saeindex.errors import InvalidInputError
from saeindex.protocols import Layout, Point, SearchRequest
from saeindex.stores.base import BaseStore
from saeindex.stores.edge import EdgeStore
from saeindex.stores.isolated import IsolatedStore

COUNT, DIMENSION = 30_000, 192
rng = np.random.default_rng(0)
VECTORS = rng.standard_normal((COUNT, DIMENSION)).astype(np.float32)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("quantized") / "index"
    with EdgeStore.create(path, Layout({"dense": DIMENSION}, quantization="int8")) as store:
        for at in range(0, COUNT, 2_000):
            store.upsert([Point(n, {"dense": VECTORS[n]}, {"odd": n % 2}) for n in range(at, at + 2_000)])
        assert store.optimize()
    return path


@pytest.fixture(scope="module", params=[EdgeStore, IsolatedStore])
def store(request: pytest.FixtureRequest, folder: Path) -> Iterator[BaseStore]:
    with request.param.open(folder) as opened:
        yield opened


def test_what_is_found_is_scored_exactly(store: BaseStore) -> None:
    assert store.has_graph and store.layout.quantization == "int8"
    found = 0
    for query in VECTORS[:20] + rng.standard_normal((20, DIMENSION)).astype(np.float32):
        exactly, fast = (store.search(SearchRequest(query, limit=10, exact=one)) for one in (True, False))
        scores = {point.id: point.score for point in exactly}
        found += sum(point.id in scores for point in fast)
        assert all(
            scores.get(point.id, point.score) == pytest.approx(point.score, abs=1e-6) for point in fast
        )
        pages = [
            store.search(SearchRequest(query, limit=2, offset=at, exact=False)) for at in range(0, 10, 2)
        ]
        assert [point.id for page in pages for point in page] == [point.id for point in fast]
    assert found >= 196


def test_the_manifest_keeps_it_and_a_wrong_one_is_refused(tmp_path: Path, space: FeatureSpace) -> None:
    with pytest.raises(InvalidInputError, match=r"quantization='int4'.*Use 'int8'"):
        FeatureIndex.create(tmp_path / "wrong", space, quantization="int4")  # type: ignore[arg-type]
    with FeatureIndex.create(tmp_path / "a", space, quantization="int8") as index:
        assert index.info()["quantization"] == "int8"
        assert index.state.store.has_graph
    client = QdrantClient(":memory:")
    with FeatureIndex.create("a", space, client=client, quantization="int8", on_disk=True) as index:
        assert index.state.store.layout.quantization == "int8"
        params: Any = client.get_collection("a").config.params.vectors
        assert params["dense"].on_disk
        assert params["dense"].quantization_config.scalar.type == "int8"
