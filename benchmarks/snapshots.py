"""Labelled corpora as snapshots in memory: what analyses are judged on, without an index."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

import numpy as np

from benchmarks import data
from benchmarks.corpora import CachedEncoder
from saeindex import FeatureSpace
from saeindex.analysis.snapshot import Snapshot
from saeindex.config import DEFAULT_SPACE


@lru_cache
def default_space() -> FeatureSpace:
    """Return the space that comes with the package."""
    return FeatureSpace.load(DEFAULT_SPACE)


@lru_cache
def encoder() -> CachedEncoder:
    """Return the default encoder, which embeds each text once."""
    return CachedEncoder()


def labelled(name: str, parts: Sequence[str] = ("test",), limit: int | None = None, seed: int = 0) -> Snapshot:
    """Return parts of a corpus in a random order, as an index has them."""
    records = [record for part in parts for record in data.read(name, part)]
    order = np.random.default_rng(seed).permutation(len(records))[:limit]
    chosen = [records[i] for i in order.tolist()]
    texts = [record.text for record in chosen]
    space, x = default_space(), encoder().encode_document(texts)
    code = space.sae.encode(x).to_csr()
    metadata = [record.metadata for record in chosen]
    return Snapshot.in_memory(space, [record.id for record in chosen], x, code, texts, metadata)
