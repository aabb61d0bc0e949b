"""The TopK sparse autoencoder (Gao et al. 2024, arXiv 2406.04093), with amplitudes refined on the support.

    support  S = the k largest positive entries of  W_enc (x - b) + c
    code     z >= 0 on S, refined by projected gradient steps on  |x - b - sum_i z_i d_i|^2
    x̂        = sum_i z_i d_i + b,  with unit-norm decoder directions d_i

An imported autoencoder, or one trained by BatchTopK, may also have a threshold (a strength at or below it
is no activation), an imported one a gain (the amplitude of a unit of strength, where its decoder rows were
not of one norm).

The one-shot encoder picks good features and poor amplitudes: two exact-line-search steps on the chosen
support take a tenth off the error, and leave the choice of features, and so their meaning, as it was. The
*faithful* mode also chooses again: in each round it steps along the whole gradient and keeps the k largest
amplitudes (normalised iterative hard thresholding, Blumensath & Davies 2010, IEEE JSTSP 4:298). That
takes another quarter off the error, and makes the choice less stable and harder to name.

The support is chosen, and amplitudes are refined, in double precision among the few best of a single
precision product, so that a text's code does not depend on what else was in its batch.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from saeindex.errors import InvalidInputError
from saeindex.sae.products import combine, project
from saeindex.types import SparseCode

if TYPE_CHECKING:
    from saeindex.types import FloatArray

ENCODE_CHUNK = 1_024
FAITHFUL_ROUNDS = 2
# Features beyond k whose strengths are computed again in double precision: rounding moves none further.
MARGIN = 8
TENSORS = ("encoder", "encoder_bias", "decoder", "bias")
OPTIONAL_TENSORS = ("threshold", "gain")
SETTINGS = ("k", "refine_steps", "support_rounds")


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
        support_rounds: int = 0,
        threshold: Tensor | None = None,
        gain: Tensor | None = None,
    ) -> None:
        """Take the weights in float32; ``k`` is the largest number of active features.

        ``refine_steps`` refine amplitudes; before them, ``support_rounds`` choose the support again.
        """
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
        self.k, self.refine_steps, self.support_rounds = k, refine_steps, support_rounds

    @property
    def settings(self) -> dict[str, int]:
        """Return what besides the weights decides a code."""
        return {name: getattr(self, name) for name in SETTINGS}

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
        indices, values = [], []
        with torch.inference_mode():
            for start in range(0, len(vectors), ENCODE_CHUNK):
                chunk = np.array(vectors[start : start + ENCODE_CHUNK], np.float32)
                _check_finite(chunk, start)
                support, amplitudes = self.encode_dense(torch.from_numpy(chunk).to(self.decoder.device))
                support, order = support.sort(dim=1)
                indices.append(support.cpu().numpy())
                values.append(amplitudes.gather(1, order).cpu().numpy())
        return _to_code(indices, values, self.n_features)

    def encode_dense(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return support (m, k) int64 and amplitudes (m, k) float32 >= 0 of ``x`` (m, d)."""
        centred = (x - self.bias).double()
        support, strengths = self._select(centred)
        amplitudes = strengths.relu()
        if self.threshold is not None:
            amplitudes = amplitudes * (strengths > self.threshold[support])
        if self.gain is not None:
            amplitudes = amplitudes * self.gain[support]
        decoder = self._decoder64
        for _ in range(self.support_rounds):
            support, amplitudes = rechoose(centred, decoder, support, amplitudes)
        if self.refine_steps:
            amplitudes = refine(centred, decoder, support, amplitudes, self.refine_steps)
        return support, amplitudes.float()

    def _select(self, centred: Tensor) -> tuple[Tensor, Tensor]:
        """Return the k strongest features (m, k) and their strengths, ties going to the lower id."""
        near = min(self.k + MARGIN, self.n_features)
        strengths = F.linear(centred.float(), self.encoder, self.encoder_bias)
        candidates = strengths.topk(near, dim=1, sorted=False).indices.sort(dim=1).values
        exact = project(centred, self._encoder64, candidates) + self.encoder_bias.double()[candidates]
        chosen = exact.sort(dim=1, descending=True, stable=True).indices[:, : self.k]
        return candidates.gather(1, chosen), exact.gather(1, chosen)

    @cached_property
    def _encoder64(self) -> Tensor:
        return self.encoder.double()

    @cached_property
    def _decoder64(self) -> Tensor:
        return self.decoder.double()

    def decode(self, code: SparseCode) -> FloatArray:
        """Return the reconstructions (m, d) float32 of a batch of codes."""
        reconstructed: FloatArray = code.to_csr() @ self.directions + self.bias.cpu().numpy()
        return reconstructed.astype(np.float32, copy=False)

    def to(self, device: str) -> SparseAutoencoder:
        """Return the same autoencoder with its weights on ``device``."""
        weights = {name: tensor.to(device) for name, tensor in self.tensors().items()}
        return _assemble(weights, self.settings)

    def faithful(self, rounds: int = FAITHFUL_ROUNDS) -> SparseAutoencoder:
        """Return the autoencoder that chooses its support again ``rounds`` times: truer, less stable codes.

        Its codes are other codes: an index and its space use one mode, which the fingerprint tells apart.
        """
        return _assemble(self.tensors(), self.settings | {"support_rounds": rounds})

    def prefix(self, n_features: int, k: int | None = None) -> SparseAutoencoder:
        """Return the autoencoder of the first ``n_features``: a Matryoshka level is one of its own."""
        weights = {name: t[:n_features] if name != "bias" else t for name, t in self.tensors().items()}
        return _assemble(weights, self.settings | {"k": min(k or self.k, n_features)})

    def half(self) -> SparseAutoencoder:
        """Return the autoencoder that a save and a load give: weights rounded to float16."""
        weights = {name: tensor.half().float() for name, tensor in self.tensors().items()}
        return _assemble(weights, self.settings)

    def tensors(self) -> dict[str, Tensor]:
        """Return the weights by name, those that it does not have left out."""
        found = {name: getattr(self, name) for name in TENSORS + OPTIONAL_TENSORS}
        return {name: tensor for name, tensor in found.items() if tensor is not None}

    def digest(self) -> str:
        """Return the hash of everything that changes activations, at the stored precision."""
        mode = f" rounds={self.support_rounds}" if self.support_rounds else ""
        digest = hashlib.sha256(f"topk k={self.k} refine={self.refine_steps}{mode}".encode())
        for name, tensor in self.tensors().items():
            if name in OPTIONAL_TENSORS:
                digest.update(name.encode())
            digest.update(tensor.half().cpu().contiguous().numpy().tobytes())
        return digest.hexdigest()

    def save(self, path: Path) -> None:
        """Write the weights as float16 safetensors."""
        from safetensors.torch import save_file

        weights = {name: tensor.half().cpu().contiguous() for name, tensor in self.tensors().items()}
        save_file(weights, path, metadata={name: str(value) for name, value in self.settings.items()})

    @classmethod
    def load(cls, path: Path, device: str = "cpu") -> SparseAutoencoder:
        """Read what :meth:`save` wrote."""
        from safetensors import safe_open

        with safe_open(path, framework="pt", device=device) as file:
            found = {"support_rounds": "0"} | (file.metadata() or {})  # absent from the first files
            names = [*TENSORS, *(name for name in OPTIONAL_TENSORS if name in file.keys())]  # noqa: SIM118
            weights = {name: file.get_tensor(name) for name in names}
        return _assemble(weights, {name: int(found[name]) for name in SETTINGS})


def _assemble(weights: Mapping[str, Tensor], settings: Mapping[str, int]) -> SparseAutoencoder:
    return SparseAutoencoder(
        *(weights[name] for name in TENSORS),
        k=settings["k"],
        refine_steps=settings["refine_steps"],
        support_rounds=settings["support_rounds"],
        threshold=weights.get("threshold"),
        gain=weights.get("gain"),
    )


def refine(target: Tensor, decoder: Tensor, support: Tensor, amplitudes: Tensor, steps: int) -> Tensor:
    """Lower |target - sum_i z_i d_i|² on a fixed support by projected gradient descent.

    ``target`` (m, d), ``decoder`` (n, d), ``support`` and ``amplitudes`` >= 0 (m, k). Each step moves along
    the projected gradient by the exact minimiser of the quadratic, then clamps at 0; where clamping would
    raise the error, the row stays as it is. Entries that start at 0 are outside the support and stay there.
    """
    in_support = amplitudes > 0
    residual = target - combine(support, amplitudes, decoder)
    for _ in range(steps):
        gradient = project(residual, decoder, support) * in_support
        gradient = torch.where((amplitudes <= 0) & (gradient < 0), 0, gradient)
        step = _exact_step(gradient, combine(support, gradient, decoder))
        tried = (amplitudes + step * gradient).clamp_min(0)
        left = target - combine(support, tried, decoder)
        is_better = (left.square().sum(1) <= residual.square().sum(1))[:, None]
        amplitudes = torch.where(is_better, tried, amplitudes)
        residual = torch.where(is_better, left, residual)
    return amplitudes


def rechoose(target: Tensor, decoder: Tensor, support: Tensor, amplitudes: Tensor) -> tuple[Tensor, Tensor]:
    """Return the support and amplitudes (m, k) after one round of hard thresholding.

    All n amplitudes move along the gradient, by the step that is exact on the present support; the k largest
    stay, and are refined once. Where that would raise the error, the row stays as it is.
    """
    residual = target - combine(support, amplitudes, decoder)
    correlation = residual @ decoder.T
    on_support = correlation.gather(1, support) * (amplitudes > 0)
    step = _exact_step(on_support, combine(support, on_support, decoder))
    moved = (step * correlation).scatter_add(1, support, amplitudes)
    values, chosen = moved.topk(support.shape[1], dim=1)
    values = refine(target, decoder, chosen, values.relu(), 1)
    left = target - combine(chosen, values, decoder)
    is_better = (left.square().sum(1) < residual.square().sum(1))[:, None]
    return torch.where(is_better, chosen, support), torch.where(is_better, values, amplitudes)


def _exact_step(gradient: Tensor, moved: Tensor) -> Tensor:
    """Return the minimiser (m, 1) of the error along ``gradient`` (m, k), moving x̂ by ``moved`` (m, d)."""
    return (gradient.square().sum(1) / moved.square().sum(1).clamp_min(1e-12))[:, None]


def _check_finite(vectors: FloatArray, start: int) -> None:
    is_finite = np.isfinite(vectors).all(1)
    if not is_finite.all():
        raise InvalidInputError(
            "encode vectors",
            f"NaN or infinity in row {start + int(np.argmin(is_finite))}",
            "Look into what computed them.",
        )


def _to_code(indices: list[np.ndarray], values: list[np.ndarray], n_features: int) -> SparseCode:
    if not indices:
        return SparseCode(np.zeros(1, np.int64), np.zeros(0, np.int32), np.zeros(0, np.float32), n_features)
    all_indices, all_values = np.concatenate(indices), np.concatenate(values)
    is_active = all_values > 0
    indptr = np.concatenate([[0], np.cumsum(is_active.sum(1))]).astype(np.int64)
    return SparseCode(
        indptr, all_indices[is_active].astype(np.int32), all_values[is_active].astype(np.float32), n_features
    )
