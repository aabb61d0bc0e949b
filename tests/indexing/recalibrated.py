"""An index to recalibrate: records of several passages, under a small space calibrated on another corpus."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from qdrant_client import QdrantClient

from saeindex import FeatureIndex, FeatureSpace, Record
from saeindex.features import Calibration, FeatureLabel
from saeindex.indexing.passages import PassageOptions
from saeindex.protocols import EncoderIdentity
from saeindex.sae import SparseAutoencoder
from tests.samples import RandomEncoder, all_points, code_of, sample_records

N, K = 64, 8
PASSAGES = PassageOptions(10, 2)


def small_space(encoder: EncoderIdentity) -> FeatureSpace:
    """A space of few features, calibrated on vectors unlike those of the index."""
    torch.manual_seed(5)
    decoder = torch.nn.functional.normalize(torch.randn(N, encoder.dimension), dim=1)
    sae = SparseAutoencoder(decoder, torch.zeros(N), decoder, torch.zeros(encoder.dimension), k=K)
    other = np.random.default_rng(6).normal(0.02, 0.03, size=(400, encoder.dimension))
    x = other.astype(np.float32)
    return FeatureSpace(
        name="small",
        encoder=encoder,
        sae=sae.half(),
        calibration=Calibration.measure(sae.half().encode(x), x),
        labels=(FeatureLabel("a label"),) * N,
        label_vectors=np.zeros((N, encoder.dimension), np.float32),
        report={"held_out": {"nmse": 0.5}},
    )


def long_records(count: int) -> list[Record]:
    """Return records of one to five passages."""
    texts = [record.text for record in sample_records(5 * count, seed=4)]
    return [
        Record(f"r{n}", " ".join(texts[5 * n : 5 * n + 1 + n % 5]), {"n": n, "score": 1 / (n + 3)})
        for n in range(count)
    ]


def fill(name: str | Path, small: FeatureSpace, client: QdrantClient | None) -> FeatureIndex:
    encoder = RandomEncoder(small.encoder)
    index = FeatureIndex.create(name, small, client=client, encoder=encoder, passages=PASSAGES)
    index.add(long_records(80))
    return index


def other_weights(sae: SparseAutoencoder) -> SparseAutoencoder:
    return SparseAutoencoder(sae.encoder, sae.encoder_bias, sae.decoder, sae.bias + 1, k=sae.k)


def has_own_levels(index: FeatureIndex) -> bool:
    """Return whether the level codes of every point are those of the index's space."""
    for point in all_points(index):
        code = code_of(point)
        levels = index.space.calibration.concept_codes(code.indices, code.values)
        if point.payload["concepts"] != levels.tolist():
            return False
    return True
