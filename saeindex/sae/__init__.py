"""Sparse autoencoders over embeddings: the model, its training and its fidelity metrics."""

from __future__ import annotations

from saeindex.sae.autoencoder import SparseAutoencoder
from saeindex.sae.train import train
from saeindex.sae.training_config import TrainingConfig

__all__ = ["SparseAutoencoder", "TrainingConfig", "train"]
