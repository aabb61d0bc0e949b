"""Labelled corpora as snapshots in memory, to measure analyses without an index."""

from __future__ import annotations

import json
from collections.abc import Sequence
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np
from scipy.sparse import csr_matrix

from benchmarks import data
from benchmarks.corpora import CachedEncoder
from saeindex import FeatureSpace
from saeindex.collection.sample import tokens
from saeindex.collection.snapshot import Snapshot
from saeindex.collection.snapshot_files import level_columns, reached_of
from saeindex.config import DEFAULT_SPACE
from saeindex.features import Calibration
from saeindex.indexing.points import Coded
from saeindex.indexing.sentences import completed, spans_in
from saeindex.indexing.terms import SAMPLED, terms_of
from saeindex.types import JsonObject

if TYPE_CHECKING:
    from saeindex.types import FloatArray


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
    return snapshot_of(
        space,
        ids or [str(number) for number in range(len(texts))],
        x,
        code.to_csr(),
        texts,
        metadata or [{}] * len(texts),
        field,
        [coded.payload_of(row, field) for row in range(len(texts))],
    )


def snapshot_of(
    space: FeatureSpace,
    ids: Sequence[str],
    vectors: FloatArray,
    activations: csr_matrix,
    texts: Sequence[str],
    metadata: Sequence[JsonObject],
    field: str = "",
    payloads: Sequence[JsonObject] | None = None,
) -> Snapshot:
    """Return a snapshot of records that are not in an index.

    Levels are those in ``payloads``, as an index would have them, or else those of activations.
    """
    found = [sorted(tokens(text)) for text in texts]
    vocabulary = sorted({word for words in found for word in words})
    place = {word: column for column, word in enumerate(vocabulary)}
    words = csr_matrix((len(found), len(vocabulary)), dtype=np.float32)
    if vocabulary:
        owners = np.repeat(np.arange(len(found)), [len(words) for words in found])
        columns = np.array([place[word] for words in found for word in words])
        words = csr_matrix((np.ones(len(owners), np.float32), (owners, columns)), words.shape)
    if payloads is None:
        reached = levels_reached(activations, space.calibration)
    else:
        reached = reached_of(level_columns(payloads, field), space.n_features)
    text_of = dict(zip(ids, texts, strict=True))
    return Snapshot(
        space=space,
        field=field,
        ids=tuple(ids),
        vectors=vectors,
        activations=activations,
        reached=reached,
        words=words,
        vocabulary=tuple(vocabulary),
        lengths=np.array([len(text.split()) for text in texts], np.int32),
        metadata=[json.dumps(dict(one), ensure_ascii=False) for one in metadata],
        read_texts=lambda wanted: [text_of[one] for one in wanted],
    )


def levels_reached(activations: csr_matrix, calibration: Calibration) -> csr_matrix:
    """Return the bits of the levels (m, n) that activations (m, n) reach."""
    from scipy.sparse import csr_matrix

    levels = calibration.levels(activations.indices, activations.data)
    return csr_matrix(
        (np.array([0b1, 0b11, 0b111], np.int32)[levels], activations.indices, activations.indptr),
        shape=activations.shape,
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
