"""Sparse autoencoders over embeddings: the model, its training and its fidelity metrics."""

from __future__ import annotations

from saeindex.sae.model import SparseAutoencoder
from saeindex.sae.train import TrainingConfig, train

__all__ = ["SparseAutoencoder", "TrainingConfig", "train"]
