"""Random autoencoders, and the comparison of an imported one with its format's own forward pass."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import save_file
from torch import Tensor

from saeindex.sae.importers import (
    ImportedAutoencoder,
)

N, D, K = 48, 12, 5
Weights = dict[str, Tensor]
Forward = Callable[[Tensor], tuple[Tensor, Tensor]]
"""Returns the activations (m, n) and reconstructions (m, d) of the foreign autoencoder."""


def unit_rows(count: int = 200, seed: int = 1) -> NDArray[np.float32]:
    rows = np.random.default_rng(seed).normal(size=(count, D)).astype(np.float32)
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    return rows


def random_weights(seed: int = 0, unit_decoder: bool = False) -> Weights:
    """Return encoder (n, d), decoder (n, d), encoder_bias (n,), bias (d,)."""
    rng = torch.Generator().manual_seed(seed)
    decoder = torch.randn(N, D, generator=rng)
    if unit_decoder:
        decoder = torch.nn.functional.normalize(decoder, dim=1)
    return {
        "encoder": decoder + 0.2 * torch.randn(N, D, generator=rng),
        "decoder": decoder,
        "encoder_bias": 0.1 * torch.randn(N, generator=rng),
        "bias": 0.2 * torch.randn(D, generator=rng),
    }


def top_k(strengths: Tensor, k: int = K) -> Tensor:
    """Return relu of the k largest entries of each row, zeros elsewhere, by a loop over rows."""
    kept = torch.zeros_like(strengths)
    for row, values in enumerate(strengths):
        for i in sorted(range(len(values)), key=lambda i: -float(values[i]))[:k]:
            kept[row, i] = max(float(values[i]), 0.0)
    return kept


def assert_same(imported: ImportedAutoencoder, forward: Forward) -> None:
    """Compare activations (times ``scale``) and reconstructions on unit vectors, to 2e-5."""
    x = unit_rows()
    activations, reconstructed = forward(torch.from_numpy(x))
    code = imported.autoencoder.encode(x)
    np.testing.assert_allclose(
        code.to_csr().toarray(), activations.numpy() * imported.scale, atol=2e-5, rtol=2e-5
    )
    np.testing.assert_allclose(imported.autoencoder.decode(code), reconstructed.numpy(), atol=2e-5)
    np.testing.assert_allclose(np.linalg.norm(imported.autoencoder.directions, axis=1), 1, atol=1e-6)
    assert imported.autoencoder.refine_steps == 0


def write_saelens(folder: Path, weights: Weights, extra: Weights | None = None, **config: Any) -> Path:
    folder.mkdir(exist_ok=True)
    settings = {"architecture": "topk", "d_in": D, "d_sae": N, "k": K, "dtype": "float32", **config}
    (folder / "cfg.json").write_text(json.dumps(settings))
    tensors = {
        "W_enc": weights["encoder"].T.contiguous(),
        "W_dec": weights["decoder"],
        "b_enc": weights["encoder_bias"],
        "b_dec": weights["bias"],
        **(extra or {}),
    }
    save_file(tensors, folder / "sae_weights.safetensors")
    return folder
