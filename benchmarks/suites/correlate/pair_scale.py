"""The cost of all pairs of concepts, each size in a process of its own: seconds, and memory."""

from __future__ import annotations

import threading
import time
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from typing import TYPE_CHECKING

import numpy as np
import psutil

from benchmarks.snapshots import levels_reached
from saeindex import FeatureSpace
from saeindex.analysis.correlate.all_pairs import correlate_open
from saeindex.analysis.stats.options import CorrelateOptions
from saeindex.collection.snapshot import Snapshot
from saeindex.config import DEFAULT_SPACE
from saeindex.features import Calibration, FeatureLabel
from saeindex.sae import SparseAutoencoder

if TYPE_CHECKING:
    from scipy.sparse import csr_matrix

FEATURES, ACTIVE, DIMENSION, TOPICS, WORDS = 4_096, 32, 384, 64, 1_000
# A share of a record's concepts comes from its topic, so that there are pairs to find.
OF_TOPIC = 0.3
# Seconds between two readings of the process's memory.
INTERVAL = 0.005


def measured(records: int) -> tuple[float, float]:
    """Return seconds and MiB of :func:`correlate_open` over synthetic codes, at the level "present"."""
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        return pool.submit(_measure, records).result()


def _measure(records: int) -> tuple[float, float]:
    snapshot = synthetic(records)
    process, peak, done = psutil.Process(), [0], threading.Event()

    def watch() -> None:
        while not done.wait(INTERVAL):
            peak[0] = max(peak[0], process.memory_info().rss)

    before = process.memory_info().rss
    watcher = threading.Thread(target=watch)
    watcher.start()
    started = time.perf_counter()
    try:
        correlate_open(snapshot, options=CorrelateOptions(level="present", unit=None))
        seconds = time.perf_counter() - started
    finally:
        done.set()
        watcher.join()
    return seconds, max(0, peak[0] - before) / 2**20


def synthetic(records: int) -> Snapshot:
    """Return records of 32 concepts of Zipf-like frequency, some of them of the record's topic."""
    from scipy.sparse import random as random_matrix

    rng = np.random.default_rng(0)
    vectors = rng.standard_normal((records, DIMENSION), np.float32)
    words = random_matrix(records, WORDS, 0.01, "csr", np.float32, rng=rng)
    words.data[:] = 1.0
    vocabulary = tuple(f"w{number}" for number in range(WORDS))
    ids = [str(number) for number in range(records)]
    lengths = np.full(records, 10, np.int32)
    metadata = ["{}"] * records
    active = codes(records, rng)
    reached = levels_reached(active, space().calibration)
    return Snapshot(
        space(),
        "",
        ids,
        vectors,
        active,
        reached,
        words,
        vocabulary,
        lengths,
        metadata,
        lambda rows: [""] * len(rows),
    )


def codes(records: int, rng: np.random.Generator) -> csr_matrix:
    """Return activations (m, 4096), all above any level."""
    from scipy.sparse import csr_matrix

    weights = np.arange(1, FEATURES + 1) ** -0.7
    cumulative = np.cumsum(weights / weights.sum())
    shape = (records, ACTIVE)
    drawn = np.searchsorted(cumulative, rng.random(shape, np.float32)).astype(np.int32)
    drawn = np.minimum(drawn, FEATURES - 1)
    size = FEATURES // TOPICS
    topical = (rng.integers(TOPICS, size=(records, 1)) * size + rng.integers(size, size=shape)).astype(
        np.int32
    )
    indices = np.where(rng.random(shape, np.float32) < OF_TOPIC, topical, drawn)
    indices.sort(axis=1)
    matrix = csr_matrix(
        (np.ones(indices.size, np.float32), indices.ravel(), np.arange(records + 1) * ACTIVE),
        shape=(records, FEATURES),
    )
    matrix.sum_duplicates()
    return matrix


def space() -> FeatureSpace:
    """Return a space of 4,096 random directions, of the default encoder."""
    import torch

    generator = torch.Generator().manual_seed(0)
    decoder = torch.nn.functional.normalize(torch.randn(FEATURES, DIMENSION, generator=generator), dim=1)
    sae = SparseAutoencoder(decoder, torch.zeros(FEATURES), decoder, torch.zeros(DIMENSION), k=ACTIVE)
    flat = np.zeros(FEATURES, np.float32)
    labels = tuple(FeatureLabel(f"label {number}") for number in range(FEATURES))
    vectors = np.random.default_rng(1).standard_normal((FEATURES, DIMENSION), np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    encoder = FeatureSpace.load(DEFAULT_SPACE).encoder
    calibration = Calibration(1, flat, flat, flat)
    return FeatureSpace("synthetic", encoder, sae.half(), calibration, labels, vectors, {})
