"""Indexes for the tests of properties and steering."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest
from qdrant_client import QdrantClient

from saeindex import FeatureIndex, FeatureSpace, Record
from saeindex.collection import sample, state
from saeindex.protocols import TextEncoder


def memory_index(records: Sequence[Record], space: FeatureSpace, encoder: TextEncoder) -> FeatureIndex:
    """Return an index of ``records`` in the client's local mode."""
    index = FeatureIndex.create("few", space, client=QdrantClient(":memory:"), encoder=encoder)
    if records:
        index.upsert(records)
    return index


def edge_index(
    path: Path, records: Sequence[Record], space: FeatureSpace, encoder: TextEncoder
) -> FeatureIndex:
    """Return an index of ``records`` in a directory, without terms of its own."""
    index = FeatureIndex.create(path, space, encoder=encoder)
    index.upsert(records, learn_terms=False)
    return index


@contextmanager
def sampled(size: int, nearest: int) -> Iterator[None]:
    """Limit samples to ``size`` records, so that a small collection is larger than its sample."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sample, "SAMPLE", size)
        patch.setattr(sample, "PAGE", size)
        patch.setattr(state, "NEAREST", nearest)
        yield
