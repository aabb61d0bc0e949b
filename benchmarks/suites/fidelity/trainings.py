"""Trainings that benchmarks share: each is run once, its weights cached by their inputs."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from saeindex.files import replacing
from saeindex.sae import SparseAutoencoder, TrainingConfig
from saeindex.sae.checkpoint import training_signature
from saeindex.sae.train import train

if TYPE_CHECKING:
    from saeindex.types import FloatArray

CACHE = Path(".cache/trained")


def trained(
    x: FloatArray,
    config: TrainingConfig,
    anchors: FloatArray | None = None,
    shares: FloatArray | None = None,
) -> SparseAutoencoder:
    """Return our autoencoder for ``x`` (m, d), at the precision in which it is saved."""
    signature = training_signature(x, config, anchors, shares)
    return cached(signature, lambda: train(x, config, anchors=anchors, shares=shares))


def cached(signature: str, make: Callable[[], SparseAutoencoder]) -> SparseAutoencoder:
    """Return the autoencoder of this signature, trained unless it is on disk."""
    path = CACHE / f"{hashlib.sha256(signature.encode()).hexdigest()[:32]}.safetensors"
    if not path.is_file():
        with replacing(path) as draft:
            make().save(draft)
    return SparseAutoencoder.load(path)


def dead_share(sae: SparseAutoencoder, x: FloatArray) -> float:
    """Return the share of features that none of up to 50,000 fit records activates."""
    active = np.unique(sae.encode(x[:50_000]).indices)
    return 1 - len(active) / sae.n_features
