"""Labelled corpora as snapshots in memory, to measure analyses without an index."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

import numpy as np
from scipy.sparse import csr_matrix

from benchmarks import data
from benchmarks.corpora import CachedEncoder
from saeindex import FeatureSpace
from saeindex.collection.snapshot import Snapshot, levels_reached
from saeindex.config import DEFAULT_SPACE
from saeindex.indexing.points import Coded
from saeindex.indexing.sentences import completed, spans_in
from saeindex.indexing.terms import SAMPLED, terms_of
from saeindex.types import JsonObject


@lru_cache
def default_space() -> FeatureSpace:
    """Return the packaged space."""
    return FeatureSpace.load(DEFAULT_SPACE)


@lru_cache
def encoder() -> CachedEncoder:
    """Return the default encoder, which embeds each text once."""
    return CachedEncoder()


def labelled(
    name: str,
    parts: Sequence[str] = ("test",),
    limit: int | None = None,
    seed: int = 0,
    space: FeatureSpace | None = None,
) -> Snapshot:
    """Return parts of a corpus in a random order, as in an index of a space, by default the packaged one."""
    records = [record for part in parts for record in data.read(name, part)]
    order = np.random.default_rng(seed).permutation(len(records))[:limit]
    chosen = [records[i] for i in order.tolist()]
    metadata = [record.metadata for record in chosen]
    return as_indexed([record.text for record in chosen], [record.id for record in chosen], metadata, space)


def space_of_index(name: str) -> FeatureSpace:
    """Return the default space with the terms that an index of the `test` part of a corpus has."""
    texts = [record.text for record in data.read(name, "test")]
    chosen = np.random.default_rng(0).permutation(len(texts))[:SAMPLED].tolist()
    found = terms_of([texts[i] for i in chosen], default_space(), encoder())
    return default_space().with_terms([one.term() for one in found])


def as_indexed(
    texts: Sequence[str],
    ids: Sequence[str] | None = None,
    metadata: Sequence[JsonObject] | None = None,
    space: FeatureSpace | None = None,
    field: str = "",
) -> Snapshot:
    """Return texts as an index of a space would have them, by default of the packaged one."""
    space, x = space or default_space(), encoder().encode_document(texts)
    spans = [spans_in(text) for text in texts]
    sentences = completed(texts, spans, [None] * len(texts), encoder, is_stored=False)
    code = space.encode(x)
    coded = Coded.of(space, x, code, sentences)
    return Snapshot.in_memory(
        space,
        ids or [str(number) for number in range(len(texts))],
        x,
        code.to_csr(),
        texts,
        metadata or [{}] * len(texts),
        field,
        [coded.payload_of(row, field) for row in range(len(texts))],
    )


def synthetic(records: int, active: int = 32, seed: int = 0) -> Snapshot:
    """Return a snapshot of random codes, whose features are as frequent as those of the default space."""
    space, rng = default_space(), np.random.default_rng(seed)
    density = np.maximum(space.calibration.density, 1e-6)
    cumulated = np.cumsum(density / density.sum())
    indices = np.searchsorted(cumulated, rng.random(records * active)).astype(np.int32)
    values = rng.random(records * active, np.float32)
    starts = np.arange(0, records * active + 1, active, dtype=np.int64)
    codes = csr_matrix(
        (values, np.minimum(indices, space.n_features - 1), starts), (records, space.n_features)
    )
    codes.sum_duplicates()
    nothing = csr_matrix((records, 1), dtype=np.float32)
    return Snapshot(
        space=space,
        field="",
        ids=[str(i) for i in range(records)],
        vectors=np.zeros((records, 0), np.float32),
        activations=codes,
        reached=levels_reached(codes, space.calibration),
        words=nothing,
        vocabulary=("",),
        lengths=np.full(records, 100, np.int32),
        metadata=["{}"] * records,
        read_texts=lambda ids: [""] * len(ids),
    )
