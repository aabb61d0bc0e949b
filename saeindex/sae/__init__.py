"""Sparse autoencoders over embeddings: the model, its training and its fidelity metrics."""

from __future__ import annotations

from saeindex.sae.config import TrainingConfig
from saeindex.sae.model import SparseAutoencoder
from saeindex.sae.train import train

__all__ = ["SparseAutoencoder", "TrainingConfig", "train"]
