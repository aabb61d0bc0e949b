"""Texts to index, an encoder that records its requests, and helpers to inspect an index."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from saeindex import FeatureIndex, FeatureSpace, Query, Record
from saeindex.features import Calibration, FeatureLabel
from saeindex.operations.search import searcher_of
from saeindex.protocols import EncoderIdentity, Point, SparseVector, TextEncoder
from saeindex.sae import SparseAutoencoder
from saeindex.search.prepared import Prepared

if TYPE_CHECKING:
    from saeindex.types import FloatArray

SUBJECTS = {
    "astronomy": ["spiral galaxies", "a distant quasar", "dark matter halos", "the moons of Jupiter"],
    "medicine": ["influenza vaccines", "chronic back pain", "a broken wrist", "high blood pressure"],
    "finance": ["interest rates", "a small pension fund", "corporate bonds", "the price of copper"],
    "cooking": ["sourdough bread", "a lentil soup", "roasted peppers", "the perfect omelette"],
    "software": ["sorting an array", "a memory leak", "unit tests", "the garbage collector"],
    "politics": ["the senate election", "a border treaty", "tax reform", "the mayor of a small town"],
    "music": ["a violin concerto", "jazz improvisation", "the opera house", "a broken guitar string"],
    "weather": ["a summer thunderstorm", "frost in the valley", "monsoon rain", "the hottest July on record"],
}
OPENINGS = [
    "Researchers measured {} for eleven years.",
    "Nobody in our family ever talks about {}!",
    "Why is {} so hard to explain?",
    "This chapter compares {} with {}.",
    "I was deeply disappointed by {}.",
    "A short history of {}, told by an eyewitness.",
    "Please note that {} must be checked twice.",
    "We prove a simple bound that also holds for {}.",
    "Apparently {} was never meant to last.",
    "The committee discussed {} and then {}.",
]
ENDINGS = ["", " It went well.", " The cost was far too high.", " Details are in the appendix.", " Sadly."]


def sample_records(count: int, seed: int = 0, prefix: str = "doc") -> list[Record]:
    """Return short records of many topics and tones; all texts differ."""
    rng = np.random.default_rng(seed)
    topics = list(SUBJECTS)
    records = []
    for number in range(count):
        topic = topics[int(rng.integers(len(topics)))]
        pair = rng.permutation(SUBJECTS[topic])[:2]
        opening = OPENINGS[int(rng.integers(len(OPENINGS)))].format(*pair)
        text = f"{opening}{ENDINGS[int(rng.integers(len(ENDINGS)))]} Note {int(rng.integers(90))}-{number}."
        metadata = {"topic": topic, "year": int(rng.integers(1990, 2025)), "score": float(rng.random())}
        records.append(Record(f"{prefix}-{number}", text, metadata))
    return records


def write_records(path: Path, records: Sequence[Record], extra_lines: Sequence[str] = ()) -> Path:
    """Write records as JSON lines."""
    rows = [json.dumps({"id": r.id, "text": r.text, "metadata": dict(r.metadata)}) for r in records]
    path.write_text("\n".join([*rows, *extra_lines]) + "\n")
    return path


class RecordingEncoder:
    """A real encoder that encodes each text once, and records every requested document."""

    def __init__(self, encoder: TextEncoder) -> None:
        self._encoder = encoder
        self._known: dict[str, FloatArray] = {}
        self.requested: list[str] = []

    @property
    def identity(self) -> EncoderIdentity:
        return self._encoder.identity

    def encode_document(self, texts: Sequence[str]) -> FloatArray:
        self.requested.extend(texts)
        return self._cached(texts)

    def encode_query(self, texts: Sequence[str]) -> FloatArray:
        return self._cached(texts)

    @property
    def max_tokens(self) -> int:
        return self._encoder.max_tokens

    def token_spans(self, text: str) -> Sequence[tuple[int, int]]:
        return self._encoder.token_spans(text)

    def _cached(self, texts: Sequence[str]) -> FloatArray:
        fresh = [text for text in dict.fromkeys(texts) if text not in self._known]
        self._known.update(zip(fresh, self._encoder.encode_document(fresh), strict=True))
        if not texts:
            return np.zeros((0, self.identity.dimension), np.float32)
        return np.stack([self._known[text] for text in texts])


class RandomEncoder:
    """Unit vectors that depend on the text alone, at no cost, under a real encoder's identity."""

    def __init__(self, identity: EncoderIdentity) -> None:
        self.identity = identity

    def encode_document(self, texts: Sequence[str]) -> FloatArray:
        seeds = (int.from_bytes(hashlib.sha256(text.encode()).digest()[:8]) for text in texts)
        rows = [np.random.default_rng(seed).normal(size=self.identity.dimension) for seed in seeds]
        vectors = np.array(rows, np.float32).reshape(len(texts), self.identity.dimension)
        vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
        return vectors

    def encode_query(self, texts: Sequence[str]) -> FloatArray:
        return self.encode_document(texts)

    @property
    def max_tokens(self) -> int:
        return self.identity.max_length - 2

    def token_spans(self, text: str) -> Sequence[tuple[int, int]]:
        return [match.span() for match in re.finditer(r"\S+", text)]


def small_space(encoder: EncoderIdentity, name: str = "small") -> FeatureSpace:
    """A space of 64 features, 8 in a text, calibrated on vectors unlike those of any index."""
    import torch

    torch.manual_seed(5)
    decoder = torch.nn.functional.normalize(torch.randn(64, encoder.dimension), dim=1)
    sae = SparseAutoencoder(decoder, torch.zeros(64), decoder, torch.zeros(encoder.dimension), k=8).half()
    x = np.random.default_rng(6).normal(0.02, 0.03, size=(400, encoder.dimension)).astype(np.float32)
    labels = (FeatureLabel("a label"),) * 64
    vectors = np.zeros((64, encoder.dimension), np.float32)
    report = {"held_out": {"nmse": 0.5}}
    return FeatureSpace(name, encoder, sae, Calibration.measure(sae.encode(x), x), labels, vectors, report)


def assert_alike(there: Any, here: Any, place: str = "") -> None:
    """Compare results; the last bits of numbers depend on threads and on the history of the engine."""
    if isinstance(here, dict):
        assert there.keys() == here.keys(), place
        for name, value in here.items():
            if name not in ("timings_ms", "timeout"):
                assert_alike(there[name], value, f"{place}.{name}")
    elif isinstance(here, list | tuple):
        assert len(there) == len(here), place
        for i, value in enumerate(here):
            assert_alike(there[i], value, f"{place}[{i}]")
    elif isinstance(here, float):
        assert there == pytest.approx(here, rel=1e-4, abs=1e-6), place
    elif isinstance(here, np.ndarray):
        np.testing.assert_allclose(there, here, rtol=1e-4, atol=1e-6)
    else:
        assert there == here, place


def all_points(index: FeatureIndex) -> list[Point]:
    """Return every point of an index in id order, with payload and vectors."""
    points: list[Point] = []
    cursor = None
    while True:
        page = index.state.store.scroll(cursor=cursor, with_vectors=True)
        points.extend(page.points)
        if page.cursor is None:
            return points
        cursor = page.cursor


def contents(index: FeatureIndex) -> list[tuple[Any, ...]]:
    """Return every point as values that compare equal only where every bit is."""
    return [
        (p.id, dict(p.payload), dense(p).tobytes(), *_bytes(code_of(p)), *_bytes_of_sentences(p))
        for p in all_points(index)
    ]


def dense(point: Point) -> FloatArray:
    """Return a point's dense vector (d,)."""
    vector = point.vectors["dense"]
    assert isinstance(vector, np.ndarray)
    return vector


def code_of(point: Point, field: str = "") -> SparseVector:
    """Return a point's sparse code, empty where it has none."""
    name = f"sae_{field}" if field else "sae"
    vector = point.vectors.get(name, SparseVector(np.zeros(0, np.int32), np.zeros(0, np.float32)))
    assert isinstance(vector, SparseVector)
    return vector


def _bytes(code: SparseVector) -> tuple[bytes, bytes]:
    return code.indices.tobytes(), code.values.tobytes()


def _bytes_of_sentences(point: Point) -> list[bytes]:
    named = sorted(name for name in point.vectors if name.startswith("sentences"))
    return [np.asarray(point.vectors[name]).tobytes() for name in named]


def prepared(index: FeatureIndex, text: str = "", **options: Any) -> Prepared:
    """Return a query ready to run: what a plan computed."""
    return searcher_of(index.state).prepare(Query(text, **options))
