"""The TopK sparse autoencoder (Gao et al. 2024, arXiv 2406.04093), with amplitudes refined on the support.

    support  S = the k largest positive entries of  W_enc (x - b) + c
    code     z >= 0 on S, refined by projected gradient steps on  |x - b - sum_i z_i d_i|^2
    x̂        = sum_i z_i d_i + b,  with unit-norm decoder directions d_i

An autoencoder that is imported, or trained by BatchTopK or with named features, may have a threshold (a
strength at or below it is not an activation). An imported autoencoder may also have a gain (the amplitude of
a unit of strength), if its decoder rows had different norms.

The encoder alone selects good features but gives poor amplitudes: two exact-line-search steps on the selected
support reduce the error by a tenth, and do not change the selection of features or their meaning. The
*faithful* mode also selects again: in each round it steps along the whole gradient and keeps the k largest
amplitudes (normalised iterative hard thresholding, Blumensath & Davies 2010, IEEE JSTSP 4:298). This
reduces the error by another quarter, and makes the selection less stable and harder to name.

An autoencoder with named features has two budgets: ``k_named`` of the first ``n_named`` features, which stand
for concepts, and what they leave of k for the others, which are free.

The support is selected, and amplitudes are refined, in double precision among the best candidates of a
single-precision product, so that a text's code does not depend on the other texts of its batch.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from saeindex.devices import one_blas_thread
from saeindex.errors import InvalidInputError
from saeindex.sae.one_vector import Budget, encode_one
from saeindex.types import SparseCode

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from torch import Tensor

    from saeindex.types import FloatArray, IntArray

ENCODE_CHUNK = 1_024
FAITHFUL_ROUNDS = 2
TENSORS = ("encoder", "encoder_bias", "decoder", "bias")
OPTIONAL_TENSORS = ("threshold", "gain")
SETTINGS = ("k", "refine_steps", "support_rounds", "n_named", "k_named")


class SparseAutoencoder:
    """Weights: ``encoder`` (n, d), ``encoder_bias`` (n,), ``decoder`` (n, d) of unit rows, ``bias`` (d,).

    ``threshold`` (n,) and ``gain`` (n,) are None if not used. All are torch tensors; torch is imported when
    the first of them is used, or a batch is encoded. ``weights`` are the same as numpy arrays.
    """

    def __init__(
        self,
        encoder: Tensor | FloatArray,
        encoder_bias: Tensor | FloatArray,
        decoder: Tensor | FloatArray,
        bias: Tensor | FloatArray,
        *,
        k: int,
        refine_steps: int = 2,
        support_rounds: int = 0,
        threshold: Tensor | FloatArray | None = None,
        gain: Tensor | FloatArray | None = None,
        n_named: int = 0,
        k_named: int = 0,
    ) -> None:
        """The weights are converted to float32; ``k`` is the maximum number of active features.

        ``refine_steps`` refine amplitudes; before them, ``support_rounds`` select the support again. Of the
        k active features at most ``k_named`` are of the first ``n_named``; the others take the places left.
        """
        n, d = decoder.shape
        given = (encoder, encoder_bias, decoder, bias, threshold, gain)
        found = [tuple(t.shape) for t in given if t is not None]
        if found != [(n, d), (n,), (n, d), (d,), *[(n,)] * (len(found) - 4)] or not 1 <= k <= n:
            do = "Give (n, d), (n,), (n, d), (d,), k <= n."
            raise InvalidInputError("a sparse autoencoder", f"shapes {found} and k={k}", do)
        check_budget(k, n, n_named, k_named)
        names = TENSORS + OPTIONAL_TENSORS
        self._given = {name: t for name, t in zip(names, given, strict=True) if t is not None}
        self._arrays: dict[str, FloatArray] = {}
        self.k, self.refine_steps, self.support_rounds = k, refine_steps, support_rounds
        self.n_named, self.k_named = n_named, k_named

    @property
    def settings(self) -> dict[str, int]:
        """Return the settings that affect a code besides the weights."""
        return {name: getattr(self, name) for name in SETTINGS}

    @property
    def budget(self) -> Budget:
        """The maximum numbers of active features."""
        return Budget(self.k, self.n_named, self.k_named)

    @property
    def n_features(self) -> int:
        """Number of latents n."""
        return self._given["decoder"].shape[0]

    @property
    def dimension(self) -> int:
        """Dimension d of the embeddings."""
        return self._given["decoder"].shape[1]

    # The weights as tensors: made when they are first used, since torch is imported for them.
    encoder: cached_property[Tensor] = cached_property(lambda self: self._tensor("encoder"))
    encoder_bias: cached_property[Tensor] = cached_property(lambda self: self._tensor("encoder_bias"))
    decoder: cached_property[Tensor] = cached_property(lambda self: self._tensor("decoder"))
    bias: cached_property[Tensor] = cached_property(lambda self: self._tensor("bias"))
    threshold: cached_property[Tensor | None] = cached_property(lambda self: self._tensor("threshold"))
    gain: cached_property[Tensor | None] = cached_property(lambda self: self._tensor("gain"))

    @cached_property
    def weights(self) -> dict[str, FloatArray]:
        """The weights by name as float32 arrays on the CPU, without those that are None."""
        return {name: self._array(name) for name in self._given}

    @property
    def directions(self) -> FloatArray:
        """The unit decoder directions (n, d) float32."""
        return self._array("decoder")

    def encode_one(self, vector: FloatArray) -> tuple[IntArray, FloatArray]:
        """Return the active features of one vector (d,), ascending, and their activations, without torch.

        Equals :meth:`encode` up to float32 rounding; InvalidInputError for another shape or NaN.
        """
        self._check_shape(vector[None])
        _check_finite(vector[None], 0)
        steps = {"refine_steps": self.refine_steps, "support_rounds": self.support_rounds}
        with one_blas_thread():
            return encode_one(vector, self.weights, self.budget, **steps)

    def encode(self, vectors: FloatArray) -> SparseCode:
        """Return the sparse codes of ``vectors`` (m, d); InvalidInputError for another shape or NaN."""
        import torch

        self._check_shape(vectors)
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
        from saeindex.sae.topk import rechoose, refine, strongest

        centred = (x - self.bias).double()
        support, strengths = strongest(
            centred,
            self.encoder,
            self.encoder_bias,
            self.budget,
            exact_encoder=self._encoder64,
            threshold=self.threshold,
        )
        amplitudes = strengths.relu()
        if self.threshold is not None:
            amplitudes = amplitudes * (strengths > self.threshold[support])
        if self.gain is not None:
            amplitudes = amplitudes * self.gain[support]
        decoder, silent = self._decoder64, self._silent(centred)
        for _ in range(self.support_rounds):
            support, amplitudes = rechoose(centred, decoder, support, amplitudes, self.budget, silent)
        if self.refine_steps:
            amplitudes = refine(centred, decoder, support, amplitudes, self.refine_steps)
        return support, amplitudes.float()

    def _silent(self, centred: Tensor) -> Tensor | None:
        """Return where named features may not be selected again (m, n_named), None if nothing forbids it."""
        n = self.n_named
        if self.threshold is None or not (n and self.support_rounds):
            return None
        strengths = centred @ self._encoder64[:n].T + self.encoder_bias[:n].double()
        return strengths <= self.threshold[:n]

    @cached_property
    def _encoder64(self) -> Tensor:
        return self.encoder.double()

    @cached_property
    def _decoder64(self) -> Tensor:
        return self.decoder.double()

    def decode(self, code: SparseCode) -> FloatArray:
        """Return the reconstructions (m, d) float32 of a batch of codes."""
        reconstructed: FloatArray = code.to_csr() @ self.directions + self.weights["bias"]
        return reconstructed.astype(np.float32, copy=False)

    def to(self, device: str) -> SparseAutoencoder:
        """Return the same autoencoder with its weights on ``device``."""
        weights = {name: tensor.to(device) for name, tensor in self.tensors().items()}
        return _assemble(weights, self.settings)

    def faithful(self, rounds: int = FAITHFUL_ROUNDS) -> SparseAutoencoder:
        """Return the autoencoder in faithful mode with ``rounds``: more accurate, less stable codes.

        Its codes differ, so an index and its space use the same mode; the fingerprint depends on the mode.
        """
        return _assemble(self.tensors(), self.settings | {"support_rounds": rounds})

    def prefix(self, n_features: int, k: int | None = None) -> SparseAutoencoder:
        """Return the autoencoder of the first ``n_features``, such as a Matryoshka level, with one budget."""
        weights = {name: t[:n_features] if name != "bias" else t for name, t in self.tensors().items()}
        one_budget = {"k": min(k or self.k, n_features), "n_named": 0, "k_named": 0}
        return _assemble(weights, self.settings | one_budget)

    def take(self, features: Sequence[int]) -> SparseAutoencoder:
        """Return the autoencoder of these features, which are ascending; budgets shrink to their numbers."""
        rows = list(features)
        weights = {name: t[rows] if name != "bias" else t for name, t in self.tensors().items()}
        n_named = sum(feature < self.n_named for feature in rows)
        k_named = min(self.k_named, n_named)
        k = min(self.k, k_named + len(rows) - n_named)
        return _assemble(weights, self.settings | {"k": k, "n_named": n_named, "k_named": k_named})

    def half(self) -> SparseAutoencoder:
        """Return the autoencoder with weights rounded to float16, as after saving and loading."""
        weights = {name: tensor.half().float() for name, tensor in self.tensors().items()}
        return _assemble(weights, self.settings)

    def tensors(self) -> dict[str, Tensor]:
        """Return the weights by name, without those that are None."""
        return {name: getattr(self, name) for name in self._given}

    def digest(self) -> str:
        """Return the hash of all that affects activations, at the stored precision."""
        mode = f" rounds={self.support_rounds}" if self.support_rounds else ""
        mode += f" named={self.k_named} of {self.n_named}" if self.n_named else ""
        digest = hashlib.sha256(f"topk k={self.k} refine={self.refine_steps}{mode}".encode())
        for name, array in self._stored().items():
            if name in OPTIONAL_TENSORS:
                digest.update(name.encode())
            digest.update(array.tobytes())
        return digest.hexdigest()

    def save(self, path: Path) -> None:
        """Write the weights as float16 safetensors."""
        from safetensors.numpy import save_file

        save_file(self._stored(), path, metadata={name: str(value) for name, value in self.settings.items()})

    def _stored(self) -> dict[str, NDArray[np.float16]]:
        """Return the weights in the form stored on disk."""
        with np.errstate(over="ignore"):  # a threshold may be infinite
            return {
                name: np.ascontiguousarray(w if isinstance(w, np.ndarray) else self._array(name), np.float16)
                for name, w in self._given.items()
            }

    @classmethod
    def load(cls, path: Path, device: str = "cpu") -> SparseAutoencoder:
        """Read a file written by :meth:`save`."""
        from safetensors import safe_open

        with safe_open(path, framework="numpy") as file:
            found = file.metadata() or {}
            names = [*TENSORS, *(name for name in OPTIONAL_TENSORS if name in file.keys())]  # noqa: SIM118
            weights = {name: file.get_tensor(name) for name in names}
        loaded = _assemble(weights, {name: int(found[name]) for name in SETTINGS})
        return loaded if device == "cpu" else loaded.to(device)

    def _array(self, name: str) -> FloatArray:
        """Return weights in float32; they are converted when they are first used."""
        if name not in self._arrays:
            given = self._given[name]
            array = given if isinstance(given, np.ndarray) else given.float().cpu().numpy()
            self._arrays[name] = array.astype(np.float32, copy=False)
        return self._arrays[name]

    def _tensor(self, name: str) -> Any:
        """Return weights as a float32 tensor, None if they are not used."""
        import torch

        if isinstance(given := self._given.get(name), np.ndarray):
            return torch.from_numpy(self._array(name))
        return None if given is None else given.float()

    def _check_shape(self, vectors: FloatArray) -> None:
        if vectors.ndim != 2 or vectors.shape[1] != self.dimension:
            asked, do = f"encode vectors of shape {vectors.shape}", "Use the encoder of the feature space."
            raise InvalidInputError(asked, f"this autoencoder takes (m, {self.dimension})", do)


def _assemble(weights: Mapping[str, Tensor | FloatArray], settings: Mapping[str, Any]) -> SparseAutoencoder:
    return SparseAutoencoder(
        *(weights[name] for name in TENSORS),
        threshold=weights.get("threshold"),
        gain=weights.get("gain"),
        **settings,
    )


def check_budget(k: int, n: int, n_named: int, k_named: int) -> None:
    """Raise InvalidInputError unless the named and the free features, if there are any, can be active."""
    if not n_named == k_named == 0 and not (0 < k_named <= min(k, n_named) and k - k_named <= n - n_named):
        asked = f"k_named={k_named} of {n_named} named features"
        do = "Give at least 1 of k to the named features, and to either kind no more than it has."
        raise InvalidInputError(asked, f"k={k} of {n} features", do)


def _check_finite(vectors: FloatArray, start: int) -> None:
    is_finite = np.isfinite(vectors).all(1)
    if not is_finite.all():
        found = f"NaN or infinity in row {start + int(np.argmin(is_finite))}"
        raise InvalidInputError("encode vectors", found, "Check the program that computed them.")


def _to_code(indices: list[np.ndarray], values: list[np.ndarray], n_features: int) -> SparseCode:
    if not indices:
        return SparseCode(np.zeros(1, np.int64), np.zeros(0, np.int32), np.zeros(0, np.float32), n_features)
    all_indices, all_values = np.concatenate(indices), np.concatenate(values)
    is_active = all_values > 0
    indptr = np.concatenate([[0], np.cumsum(is_active.sum(1))]).astype(np.int64)
    return SparseCode(
        indptr, all_indices[is_active].astype(np.int32), all_values[is_active].astype(np.float32), n_features
    )
