"""The TopK sparse autoencoder (Gao et al. 2024, arXiv 2406.04093), with amplitudes refined on the support.

    support  S = the k largest positive entries of  W_enc (x - b) + c
    code     z >= 0 on S, refined by projected gradient steps on  |x - b - sum_i z_i d_i|^2
    x̂        = sum_i z_i d_i + b,  with unit-norm decoder directions d_i

An imported autoencoder may also have a threshold (a strength at or below it is no activation) and a gain (the
amplitude of a unit of strength, where its decoder rows were not of one norm); ours have neither.

The one-shot encoder picks good features and poor amplitudes: two exact-line-search steps on the chosen
support take a tenth off the error, and leave the choice of features, and so their meaning, as it was.
"""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from saeindex.errors import InvalidInputError
from saeindex.types import SparseCode

if TYPE_CHECKING:
    from saeindex.types import FloatArray

ENCODE_CHUNK = 1_024
TENSORS = ("encoder", "encoder_bias", "decoder", "bias")
OPTIONAL_TENSORS = ("threshold", "gain")


class SparseAutoencoder:
    """Weights: ``encoder`` (n, d), ``encoder_bias`` (n,), ``decoder`` (n, d) of unit rows, ``bias`` (d,).

    ``threshold`` (n,) and ``gain`` (n,) are for imported ones, else None.
    """

    def __init__(
        self,
        encoder: Tensor,
        encoder_bias: Tensor,
        decoder: Tensor,
        bias: Tensor,
        *,
        k: int,
        refine_steps: int = 2,
        threshold: Tensor | None = None,
        gain: Tensor | None = None,
    ) -> None:
        """Take the weights in float32; ``k`` is the largest number of active features."""
        n, d = decoder.shape
        found = [tuple(t.shape) for t in (encoder, encoder_bias, decoder, bias)]
        found += [tuple(t.shape) for t in (threshold, gain) if t is not None]
        if found != [(n, d), (n,), (n, d), (d,), *[(n,)] * (len(found) - 4)] or not 1 <= k <= n:
            raise InvalidInputError(
                "a sparse autoencoder",
                f"shapes {found} and k={k}",
                "Give (n, d), (n,), (n, d), (d,), k <= n.",
            )
        self.encoder, self.encoder_bias = encoder.float(), encoder_bias.float()
        self.decoder, self.bias = decoder.float(), bias.float()
        self.threshold = None if threshold is None else threshold.float()
        self.gain = None if gain is None else gain.float()
        self.k, self.refine_steps = k, refine_steps

    @property
    def n_features(self) -> int:
        """Number of latents n."""
        return self.decoder.shape[0]

    @property
    def dimension(self) -> int:
        """Dimension d of the embeddings."""
        return self.decoder.shape[1]

    @property
    def directions(self) -> FloatArray:
        """The unit decoder directions (n, d) float32."""
        directions: FloatArray = self.decoder.cpu().numpy()
        return directions

    def encode(self, vectors: FloatArray) -> SparseCode:
        """Return the sparse codes of ``vectors`` (m, d); InvalidInputError for another shape or NaN."""
        if vectors.ndim != 2 or vectors.shape[1] != self.dimension:
            raise InvalidInputError(
                f"encode vectors of shape {vectors.shape}",
                f"this autoencoder takes (m, {self.dimension})",
                "Use the encoder that the feature space names.",
            )
        is_finite = np.isfinite(vectors).all(1)
        if not is_finite.all():
            raise InvalidInputError(
                f"encode {len(vectors)} vectors",
                f"NaN or infinity in row {int(np.argmin(is_finite))}",
                "Look into what computed them.",
            )
        indices, values = [], []
        with torch.inference_mode():
            for start in range(0, len(vectors), ENCODE_CHUNK):
                chunk = torch.from_numpy(np.array(vectors[start : start + ENCODE_CHUNK], np.float32))
                support, amplitudes = self.encode_dense(chunk.to(self.decoder.device))
                support, order = support.sort(dim=1)
                indices.append(support.cpu().numpy())
                values.append(amplitudes.gather(1, order).cpu().numpy())
        return _to_code(indices, values, self.n_features)

    def encode_dense(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return support (m, k) int64 and refined amplitudes (m, k) >= 0 of ``x`` (m, d)."""
        centred = x - self.bias
        strengths, support = F.linear(centred, self.encoder, self.encoder_bias).topk(self.k, dim=1)
        amplitudes = strengths.relu()
        if self.threshold is not None:
            amplitudes = amplitudes * (strengths > self.threshold[support])
        if self.gain is not None:
            amplitudes = amplitudes * self.gain[support]
        if self.refine_steps:
            amplitudes = refine(centred, self.decoder[support], amplitudes, self.refine_steps)
        return support, amplitudes

    def decode(self, code: SparseCode) -> FloatArray:
        """Return the reconstructions (m, d) float32 of a batch of codes."""
        reconstructed: FloatArray = code.to_csr() @ self.directions + self.bias.cpu().numpy()
        return reconstructed.astype(np.float32, copy=False)

    def to(self, device: str) -> SparseAutoencoder:
        """Return the same autoencoder with its weights on ``device``."""
        weights = {name: tensor.to(device) for name, tensor in self.tensors().items()}
        return SparseAutoencoder(**weights, k=self.k, refine_steps=self.refine_steps)

    def half(self) -> SparseAutoencoder:
        """Return the autoencoder that a save and a load give: weights rounded to float16."""
        weights = {name: tensor.half().float() for name, tensor in self.tensors().items()}
        return SparseAutoencoder(**weights, k=self.k, refine_steps=self.refine_steps)

    def tensors(self) -> dict[str, Tensor]:
        """Return the weights by name, those that it does not have left out."""
        found = {name: getattr(self, name) for name in TENSORS + OPTIONAL_TENSORS}
        return {name: tensor for name, tensor in found.items() if tensor is not None}

    def digest(self) -> str:
        """Return the hash of everything that changes activations, at the stored precision."""
        digest = hashlib.sha256(f"topk k={self.k} refine={self.refine_steps}".encode())
        for name, tensor in self.tensors().items():
            if name in OPTIONAL_TENSORS:
                digest.update(name.encode())
            digest.update(tensor.half().cpu().contiguous().numpy().tobytes())
        return digest.hexdigest()

    def save(self, path: Path) -> None:
        """Write the weights as float16 safetensors."""
        from safetensors.torch import save_file

        weights = {name: tensor.half().cpu().contiguous() for name, tensor in self.tensors().items()}
        save_file(weights, path, metadata={"k": str(self.k), "refine_steps": str(self.refine_steps)})

    @classmethod
    def load(cls, path: Path, device: str = "cpu") -> SparseAutoencoder:
        """Read what :meth:`save` wrote."""
        from safetensors import safe_open

        with safe_open(path, framework="pt", device=device) as file:
            settings = file.metadata() or {}
            names = [*TENSORS, *(name for name in OPTIONAL_TENSORS if name in file.keys())]  # noqa: SIM118
            weights = {name: file.get_tensor(name) for name in names}
        return cls(**weights, k=int(settings["k"]), refine_steps=int(settings["refine_steps"]))


def refine(target: Tensor, directions: Tensor, amplitudes: Tensor, steps: int) -> Tensor:
    """Lower |target - amplitudes @ directions|² on a fixed support by projected gradient descent.

    ``target`` (m, d), ``directions`` (m, k, d), ``amplitudes`` (m, k) >= 0. Each step moves along the
    projected gradient by the exact minimiser of the quadratic, then clamps at 0; where clamping would raise
    the error, the row stays as it is. Entries that start at 0 are outside the support and stay there.
    """
    in_support = amplitudes > 0
    residual = target - _combine(amplitudes, directions)
    for _ in range(steps):
        gradient = torch.bmm(directions, residual[:, :, None])[:, :, 0] * in_support
        gradient = torch.where((amplitudes <= 0) & (gradient < 0), 0, gradient)
        moved = _combine(gradient, directions)
        step = gradient.square().sum(1) / moved.square().sum(1).clamp_min(1e-12)
        tried = (amplitudes + step[:, None] * gradient).clamp_min(0)
        left = target - _combine(tried, directions)
        is_better = (left.square().sum(1) <= residual.square().sum(1))[:, None]
        amplitudes = torch.where(is_better, tried, amplitudes)
        residual = torch.where(is_better, left, residual)
    return amplitudes


def _combine(amplitudes: Tensor, directions: Tensor) -> Tensor:
    """Return sum_i z_i d_i (m, d) of ``amplitudes`` (m, k) and ``directions`` (m, k, d)."""
    return torch.bmm(amplitudes[:, None], directions)[:, 0]


def _to_code(indices: list[np.ndarray], values: list[np.ndarray], n_features: int) -> SparseCode:
    if not indices:
        return SparseCode(np.zeros(1, np.int64), np.zeros(0, np.int32), np.zeros(0, np.float32), n_features)
    all_indices, all_values = np.concatenate(indices), np.concatenate(values)
    is_active = all_values > 0
    indptr = np.concatenate([[0], np.cumsum(is_active.sum(1))]).astype(np.int64)
    return SparseCode(
        indptr, all_indices[is_active].astype(np.int32), all_values[is_active].astype(np.float32), n_features
    )
