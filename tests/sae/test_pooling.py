"""Pooled codes of tokens, compared with the plain computation; and the memory that they take."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch

from saeindex.sae.autoencoder import SparseAutoencoder
from saeindex.sae.pooling import BLOCK, HELD, Pooling, activations_of

if TYPE_CHECKING:
    from saeindex.types import FloatArray

N, D, LENGTHS = 640, 24, (0, 5, 512, 1, 0, 300, 17, 0)


def autoencoder(kind: str, n: int = N, d: int = D) -> SparseAutoencoder:
    """Return a random autoencoder: of the k strongest, above a threshold with a gain, or of all positive."""
    rng = np.random.default_rng(0)
    encoder = rng.standard_normal((n, d), np.float32) / np.float32(np.sqrt(d))
    decoder = encoder / np.linalg.norm(encoder, axis=1, keepdims=True)
    weights = (encoder, rng.standard_normal(n, np.float32) - 1, decoder, rng.standard_normal(d, np.float32))
    if kind == "threshold":
        gain, threshold = rng.random(n, np.float32) + 0.5, np.full(n, 0.3, np.float32)
        return SparseAutoencoder(*weights, k=8, threshold=threshold, gain=gain)
    return SparseAutoencoder(*weights, k=8 if kind == "topk" else n)


def tokens(lengths: tuple[int, ...] = LENGTHS, d: int = D) -> list[FloatArray]:
    rng = np.random.default_rng(1)
    return [2 * rng.standard_normal((length, d), np.float32) for length in lengths]


def plainly(own: FloatArray, sae: SparseAutoencoder) -> FloatArray:
    """Return the activations (t, n) of tokens, computed in double precision."""
    w = {name: array.astype(np.float64) for name, array in sae.weights.items()}
    found = (own - w["bias"]) @ w["encoder"].T + w["encoder_bias"]
    if "threshold" in w:
        found = np.where(found > w["threshold"], found, 0)
    elif sae.k < sae.n_features:
        least = np.sort(found, axis=1)[:, -sae.k, None]
        found = np.where(found >= least, found, 0)
    return (np.maximum(found, 0) * w.get("gain", 1.0)).astype(np.float32)


@pytest.mark.parametrize("kind", ["topk", "threshold", "all"])
def test_pooled_in_batches_in_any_order_or_alone_is_the_plain_computation(kind: str) -> None:
    sae, texts = autoencoder(kind), tokens()
    pooling = Pooling(sae, len(texts))
    for rows in ([3, 1], [0, 2, 5, 4], [7], [6]):
        own = torch.from_numpy(np.concatenate([texts[row] for row in rows]))
        pooling.add(rows, own, [LENGTHS[row] for row in rows])
    found = pooling.codes().to_csr().toarray()
    expected: Any = np.stack([plainly(one, sae).sum(0) for one in texts])
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)
    for one in texts:
        np.testing.assert_allclose(activations_of(one, sae), plainly(one, sae), rtol=1e-4, atol=1e-5)
    assert pooling.lengths.tolist() == list(LENGTHS)


def test_activations_of_all_tokens_are_never_in_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    n, lengths = 16_384, (512, 256, 256)
    sae, (one, *others), made = autoencoder("threshold", n), tokens(lengths), list[int]()
    linear = torch.nn.functional.linear

    def counted(*given: torch.Tensor) -> torch.Tensor:
        made.append(given[0].shape[0] * given[1].shape[0])
        return linear(*given)

    monkeypatch.setattr(torch.nn.functional, "linear", counted)
    pooling = Pooling(sae, 3)
    pooling.add([0, 1, 2], torch.from_numpy(np.concatenate([one, *others])), lengths)
    assert sum(made) == sum(lengths) * n
    assert max(made) <= BLOCK
    assert 0.1 * (32 * 512 * n * 4) >= HELD * 4 + BLOCK * 4  # a batch of 32 texts of 512 tokens
