"""Random points for tests: every kind of payload, ties, unicode, missing fields and missing vectors."""

from __future__ import annotations

import math
import uuid
from typing import Any

import numpy as np

from saeindex.protocols import Layout, Point, PointId, SparseVector

DIMENSION = 8
LAYOUT = Layout(
    dense={"dense": DIMENSION},
    sparse=("sae", "reader"),
    payload_indexes={
        "tag": "keyword",
        "concepts": "integer",
        "year": "integer-range",
        "price": "float",
        "flag": "bool",
        "day": "datetime",
        "text": "text",
    },
    multi={"sentences": DIMENSION},
)
WORDS = ("dark", "matter", "Galaxy", "naïve", "42", "שלום", "宇宙", "x-ray", "under_score", "👋🏽")
TAGS = ("a", "b", "B", "naïve", "שלום", "👋🏽", "with space", "")
ONES = np.ones(DIMENSION, dtype=np.float32)
AXIS = np.eye(DIMENSION, dtype=np.float32)
FIRST = AXIS[0] == 1


def sample_id(number: int) -> PointId:
    """Return the ``number``-th id: integers for even numbers, UUIDs for odd numbers."""
    return number if number % 2 == 0 else str(uuid.uuid5(uuid.NAMESPACE_OID, str(number)))


def sample_dense(rng: np.random.Generator) -> np.ndarray[Any, np.dtype[np.float32]]:
    """Return a random vector (8,), not of unit length."""
    return rng.standard_normal(DIMENSION).astype(np.float32) * np.float32(rng.uniform(0.1, 9.0))


def sample_rows(rng: np.random.Generator, count: int) -> np.ndarray[Any, np.dtype[np.float32]]:
    """Return random vectors (count, 8), not of unit length."""
    return np.array([sample_dense(rng) for _ in range(count)], np.float32).reshape(count, DIMENSION)


def sample_sparse(rng: np.random.Generator) -> SparseVector:
    """Return a vector of up to 4 of 12 entries: small integers, so that scores are exact and have ties."""
    indices = np.sort(rng.choice(12, size=rng.integers(0, 5), replace=False)).astype(np.int32)
    return SparseVector(indices, rng.integers(-2, 4, size=len(indices)).astype(np.float32))


def sample_payload(rng: np.random.Generator) -> dict[str, Any]:
    """Return a payload in which each field may be missing, null, single or an array."""
    draws: dict[str, list[Any]] = {
        "tag": [str(rng.choice(TAGS)), [str(tag) for tag in rng.choice(TAGS, size=2)], [], None],
        "concepts": [sorted(int(c) for c in rng.choice(20, size=rng.integers(0, 6), replace=False))],
        "year": [int(rng.integers(1990, 1996)), [int(year) for year in rng.integers(1990, 1996, 2)], None],
        "price": [float(rng.integers(-4, 5)) / 4, int(rng.integers(-1, 2))],
        "flag": [True, False, None],
        "day": [f"2024-0{rng.integers(1, 4)}-01T0{rng.integers(0, 9)}:30:00Z", "2024-02-01"],
        "text": [" ".join(str(word) for word in rng.choice(WORDS, size=3))],
        "plain": ["x", 1, True, 1.5, [1, "x"], ["x", None]],
        "parts": [[{"kind": str(rng.choice(["p", "q"])), "n": int(rng.integers(0, 3))} for _ in range(2)]],
        "deep": [{"inner": {"n": int(rng.integers(0, 3))}}, {"inner": None}],
    }
    payload = {}
    for key, choices in draws.items():
        if rng.random() < 0.8:
            payload[key] = choices[int(rng.integers(len(choices)))]
    return payload


def sample_point(rng: np.random.Generator, number: int) -> Point:
    """Return a random point with the ``number``-th id."""
    vectors: dict[str, Any] = {}
    if rng.random() < 0.9:
        vectors["dense"] = sample_dense(rng)
    for name in LAYOUT.sparse:
        if rng.random() < 0.8:
            vectors[name] = sample_sparse(rng)
    if rng.random() < 0.8:
        vectors["sentences"] = sample_rows(rng, int(rng.integers(0, 4)))
    return Point(sample_id(number), vectors, sample_payload(rng))


def sample_points(seed: int, count: int) -> list[Point]:
    """Return ``count`` random points, the same for the same seed."""
    rng = np.random.default_rng(seed)
    return [sample_point(rng, number) for number in range(count)]


def sparse_vector(indices: Any, values: Any) -> SparseVector:
    """Return a sparse vector of arrays as they are given, sound or not."""
    return SparseVector(np.array(indices), np.array(values))


def bad_points() -> dict[str, Point]:
    """Return points that every store must refuse, by the kind of their error."""
    nested: Any = 1
    for _ in range(40):
        nested = [nested]
    dense: dict[str, Any] = {
        "NaN": np.where(FIRST, np.nan, ONES),
        "infinity": np.where(FIRST, np.inf, ONES),
        "beyond float32": ONES.astype(np.float64) * 1e300,
        "wrong dimension": ONES[:-1],
        "a matrix": np.ones((2, DIMENSION), dtype=np.float32),
        "zero dense": 0 * ONES,
        "text for dense": ["1"] * DIMENSION,
        "bool for dense": [True] * DIMENSION,
        "ragged dense": [[1.0], [1.0, 2.0]],
        "sparse for dense": sparse_vector([1], [1.0]),
    }
    sentences: dict[str, Any] = {
        "a row with NaN": np.stack([ONES, np.where(FIRST, np.nan, ONES)]),
        "rows of another dimension": np.ones((2, DIMENSION + 1), np.float32),
        "a zero row": np.stack([ONES, 0 * ONES]),
        "rows of rows": np.ones((1, 2, DIMENSION), np.float32),
        "ragged rows": [[1.0], [1.0, 2.0]],
        "text for rows": [["1"] * DIMENSION],
        "sparse for rows": sparse_vector([1], [1.0]),
    }
    sae: dict[str, Any] = {
        "dense for sparse": ONES,
        "more indices than values": sparse_vector([1, 2], [1.0]),
        "more values than indices": sparse_vector([1], [1.0, 2.0]),
        "duplicate indices": sparse_vector([1, 1], [1.0, 2.0]),
        "unsorted indices": sparse_vector([2, 1], [1.0, 2.0]),
        "negative index": sparse_vector([-1, 1], [1.0, 2.0]),
        "index beyond 32 bits": sparse_vector([1, 2**33], [1.0, 2.0]),
        "float indices": sparse_vector([1.0, 2.0], [1.0, 2.0]),
        "NaN in sparse": sparse_vector([1, 2], [1.0, math.nan]),
        "infinity in sparse": sparse_vector([1, 2], [1.0, -math.inf]),
    }
    payloads: dict[str, Any] = {
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
    ids: dict[str, Any] = {
        "bool": True,
        "negative": -1,
        "large": 2**64,
        "float": 1.0,
        "text": "a",
        "none": None,
    }
    vectors = {"dense": dense, "sentences": sentences, "sae": sae, "other": {"unknown vector": ONES}}
    return {
        **{
            f"vector: {name}": Point(1, {of: bad})
            for of, kinds in vectors.items()
            for name, bad in kinds.items()
        },
        **{f"id: {name}": Point(bad, {"dense": ONES}) for name, bad in ids.items()},
        **{f"payload: {name}": Point(1, {"dense": ONES}, bad) for name, bad in payloads.items()},
    }
