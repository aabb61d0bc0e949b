"""Points that no store may take: each would harm an engine, or be distorted silently."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from saeindex.protocols import Point, SparseVector
from saeindex.testing.sample_points import DIMENSION

ONES = np.ones(DIMENSION, dtype=np.float32)
FIRST = np.arange(DIMENSION) == 0


def bad_points() -> dict[str, Point]:
    """Return points that no store may take, by what is wrong with them."""
    vectors = {**_bad_dense(), **_bad_sparse()}
    ids: dict[str, Any] = {
        "bool": True,
        "negative": -1,
        "large": 2**64,
        "float": 1.0,
        "text": "a",
        "none": None,
    }
    return {
        **{f"vector: {name}": Point(1, bad) for name, bad in vectors.items()},
        **{f"id: {name}": Point(bad, {"dense": ONES}) for name, bad in ids.items()},
        **{f"payload: {name}": Point(1, {"dense": ONES}, bad) for name, bad in _bad_payloads().items()},
    }


def _sparse(indices: Any, values: Any) -> SparseVector:
    return SparseVector(np.array(indices), np.array(values))


def _bad_dense() -> dict[str, dict[str, Any]]:
    dense = {
        "NaN": np.where(FIRST, np.nan, ONES),
        "infinity": np.where(FIRST, np.inf, ONES),
        "beyond float32": ONES.astype(np.float64) * 1e300,
        "wrong dimension": ONES[:-1],
        "a matrix": np.ones((2, DIMENSION), dtype=np.float32),
        "zero dense": 0 * ONES,
        "text for dense": ["1"] * DIMENSION,
        "bool for dense": [True] * DIMENSION,
        "ragged dense": [[1.0], [1.0, 2.0]],
        "sparse for dense": _sparse([1], [1.0]),
    }
    return {**{name: {"dense": bad} for name, bad in dense.items()}, "unknown vector": {"other": ONES}}


def _bad_sparse() -> dict[str, dict[str, Any]]:
    sparse = {
        "dense for sparse": ONES,
        "more indices than values": _sparse([1, 2], [1.0]),
        "more values than indices": _sparse([1], [1.0, 2.0]),
        "duplicate indices": _sparse([1, 1], [1.0, 2.0]),
        "unsorted indices": _sparse([2, 1], [1.0, 2.0]),
        "negative index": _sparse([-1, 1], [1.0, 2.0]),
        "index beyond 32 bits": _sparse([1, 2**33], [1.0, 2.0]),
        "float indices": _sparse([1.0, 2.0], [1.0, 2.0]),
        "NaN in sparse": _sparse([1, 2], [1.0, math.nan]),
        "infinity in sparse": _sparse([1, 2], [1.0, -math.inf]),
    }
    return {name: {"sae": bad} for name, bad in sparse.items()}


def _bad_payloads() -> dict[str, dict[Any, Any]]:
    nested: Any = 1
    for _ in range(40):
        nested = [nested]
    return {
        "lone surrogate": {"text": "a\ud800"},
        "surrogate key": {"a\ud800": 1},
        "huge integer": {"n": [1, 2**63]},
        "huge negative": {"n": {"m": -(2**63) - 1}},
        "enormous integer": {"n": 10**6000},
        "NaN": {"n": math.nan},
        "infinity": {"n": [1, 2.5, math.inf]},
        "integer key": {1: "x"},
        "bytes": {"n": b"x"},
        "set": {"n": {1}},
        "numpy array": {"n": np.ones(2)},
        "too deep": {"n": nested},
        "too large": {"n": "x" * (9 * 2**20)},
    }
