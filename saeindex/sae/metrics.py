"""How much of an embedding a sparse code keeps."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from saeindex.sae.model import SparseAutoencoder
    from saeindex.types import FloatArray


def nmse(x: FloatArray, reconstructed: FloatArray, fit_mean: FloatArray) -> float:
    """Return mean |x - x̂|² / mean |x - x̄|², with x̄ the mean of the *fit* records."""
    error = np.square(x - reconstructed).sum(1).mean()
    return float(error / np.square(x - fit_mean).sum(1).mean())


def fidelity(sae: SparseAutoencoder, x: FloatArray, fit_mean: FloatArray) -> dict[str, float]:
    """Return NMSE, mean cosine and the mean number of active features on held-out embeddings (m, d)."""
    code = sae.encode(x)
    reconstructed = sae.decode(code)
    norms = np.linalg.norm(x, axis=1) * np.linalg.norm(reconstructed, axis=1)
    return {
        "nmse": nmse(x, reconstructed, fit_mean),
        "cosine": float(((x * reconstructed).sum(1) / norms).mean()),
        "active": float(len(code.indices) / max(1, len(code))),
    }
