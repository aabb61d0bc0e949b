"""Sparse autoencoders over embeddings: the model, its training (:mod:`saeindex.sae.train`), its fidelity."""

from __future__ import annotations

from saeindex.sae.autoencoder import SparseAutoencoder
from saeindex.sae.training_config import TrainingConfig

__all__ = ["SparseAutoencoder", "TrainingConfig"]
