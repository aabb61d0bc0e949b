"""Codes of texts from their tokens: each token vector is encoded, and the codes of a text are pooled.

The activations of all features at all tokens of a batch may take gigabytes. They are computed for a block of
tokens at a time, and added to what is known of the text.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal, get_args

import numpy as np

from saeindex.types import SparseCode

if TYPE_CHECKING:
    from torch import Tensor

    from saeindex.sae.autoencoder import SparseAutoencoder
    from saeindex.types import FloatArray

Pool = Literal["sum", "max", "mean", "count", "last"]
POOLS = get_args(Pool)
# Numbers of a block of activations, and of the pooled codes that are held: 16 and 32 MB of float32.
BLOCK, HELD = 2**22, 2**23


def token_activations(x: Tensor, sae: SparseAutoencoder) -> Tensor:
    """Return the activations (t, n) of token vectors (t, d), as the encoder has them: none is refined."""
    from torch.nn import functional as F

    strengths = F.linear(x - sae.bias, sae.encoder, sae.encoder_bias)
    if sae.threshold is not None:
        strengths.mul_(strengths > sae.threshold)
    elif sae.k < sae.n_features:
        strengths.mul_(strengths >= strengths.topk(sae.k, dim=1).values[:, -1:])
    strengths.relu_()
    return strengths if sae.gain is None else strengths.mul_(sae.gain)


class Pooling:
    """Pools the activations at the tokens of texts, a batch of texts at a time, in any order.

    By their sum, their greatest ("max"), their "mean", their number above 0 ("count"), or the last token's.
    """

    def __init__(self, sae: SparseAutoencoder, texts: int, pool: Pool = "sum") -> None:
        """Take the number of ``texts``."""
        self._sae, self._pool = sae, pool
        self.lengths = np.zeros(texts, np.int64)
        """The number of tokens of each text (m,)."""
        self._parts = [(np.zeros(0, np.int64), np.zeros(0, np.int64), np.zeros(0, np.float32))]

    def add(self, rows: Sequence[int], vectors: Tensor, lengths: Sequence[int]) -> None:
        """Pool the tokens (t, d) of the texts at ``rows``, one after the other, of these ``lengths``."""
        import torch

        start, step = 0, max(1, HELD // self._sae.n_features)
        with torch.inference_mode():
            for at in range(0, len(rows), step):
                own, counts = np.asarray(rows[at : at + step]), lengths[at : at + step]
                pooled = self._pooled(vectors[start : (start := start + sum(counts))], counts)
                places, features = pooled.nonzero(as_tuple=True)
                values = pooled[places, features].cpu().numpy()
                self._parts.append((own[places.cpu().numpy()], features.cpu().numpy(), values))
                self.lengths[own] = counts

    def codes(self) -> SparseCode:
        """Return the codes of all texts (m); a text without tokens has no feature."""
        rows, features, values = (np.concatenate(part) for part in zip(*self._parts, strict=True))
        order = np.lexsort((features, rows))
        ends = np.cumsum(np.bincount(rows + 1, minlength=len(self.lengths) + 1))
        return SparseCode(ends, features[order].astype(np.int32), values[order], self._sae.n_features)

    def _pooled(self, vectors: Tensor, lengths: Sequence[int]) -> Tensor:
        """Return the pooled activations (m, n) of texts of these lengths."""
        import torch

        found = torch.zeros(len(lengths), self._sae.n_features, device=vectors.device)
        owners = torch.from_numpy(np.repeat(np.arange(len(lengths)), lengths)).to(vectors.device)
        size = max(1, BLOCK // self._sae.n_features)
        for start in range(0, len(vectors), size):
            active = token_activations(vectors[start : start + size].float(), self._sae)
            own = owners[start : start + size]
            if self._pool == "max":
                found.scatter_reduce_(0, own[:, None].expand_as(active), active, "amax")
            elif self._pool == "last":
                found[own] = active  # of one text, the later tokens come later
            else:
                found.index_add_(0, own, active.sign_() if self._pool == "count" else active)
        if self._pool == "mean":
            found /= torch.tensor(lengths, device=found.device).clamp(min=1)[:, None]
        return found


def activations_of(tokens: FloatArray, sae: SparseAutoencoder) -> FloatArray:
    """Return :func:`token_activations` (t, n) of the tokens (t, d) of a query, in numpy: without torch."""
    given = sae.weights
    strengths = (tokens - given["bias"]) @ given["encoder"].T + given["encoder_bias"]
    if "threshold" in given:
        strengths *= strengths > given["threshold"]
    elif len(tokens) and sae.k < sae.n_features:
        strengths *= strengths >= np.partition(strengths, -sae.k, axis=1)[:, -sae.k, None]
    active: FloatArray = np.maximum(strengths, 0.0) * given.get("gain", np.float32(1.0))
    return active
