"""The computation of a foreign autoencoder in one form for all formats, and its conversion to ours.

    u = f x - b  (or f x)         f a fixed scale of the input
    p = W_enc u + c               times |d_i| where activations are scaled by the decoder's norms
    z = TopK(p), ReLU(p) or p where p > threshold
    x̂ = (sum_i z_i d_i + b) / f   with decoder rows d_i of any norm

Ours has unit decoder rows, so a foreign activation z_i is ours times the norm of its row; everything else
folds into the encoder and its bias, exactly.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import torch
from torch import Tensor
from torch.nn import functional as F

from saeindex.errors import InvalidInputError
from saeindex.sae.autoencoder import SparseAutoencoder

if TYPE_CHECKING:
    from saeindex.types import FloatArray

# Relative difference below which norms count as equal: the precision of float16 files.
SAME_NORM = 1e-3
FLOAT16_MAX = 65_504.0
FLOAT16_ERROR = 1e-2


@dataclass(frozen=True, slots=True, eq=False)
class ForeignAutoencoder:
    """The weights of the file: ``encoder`` and ``decoder`` (n, d), with any decoder norms."""

    format: str
    activation: Literal["topk", "relu", "jumprelu"]
    encoder: Tensor
    encoder_bias: Tensor
    decoder: Tensor
    bias: Tensor
    k: int | None
    threshold: Tensor | None = None
    is_centred: bool = True
    """Whether ``bias`` is subtracted from the input before encoding."""
    is_scaled_by_norm: bool = False
    """Whether strengths are multiplied by the decoder's norms before the activation function."""
    input_scale: float = 1.0
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, eq=False)
class ImportedAutoencoder:
    """An autoencoder in our form, and notes about its file.

    ``scale`` (n,) float32: our activation of a feature is the foreign activation times this.
    """

    autoencoder: SparseAutoencoder
    format: str
    activation: str
    k: int
    scale: FloatArray
    notes: tuple[str, ...]


def to_ours(foreign: ForeignAutoencoder, k: int | None = None) -> ImportedAutoencoder:
    """Convert a foreign autoencoder to ours; ``k`` sets or overrides the maximum number of active features.

    Raises InvalidInputError if neither the file nor the caller gives ``k``, and for weights that are not
    finite or exceed float16, the precision of a saved space.
    """
    chosen = _choose_k(foreign, k)
    norms = foreign.decoder.norm(dim=1)
    unit = norms / foreign.input_scale
    encoder = foreign.encoder * foreign.input_scale
    encoder_bias = foreign.encoder_bias
    if not foreign.is_centred:
        encoder_bias = encoder_bias + foreign.encoder @ foreign.bias
    threshold, gain = foreign.threshold, None
    if _picks_by_unscaled_strength(foreign, norms):
        gain = unit
    else:
        encoder, encoder_bias = encoder * unit[:, None], encoder_bias * unit
    if threshold is not None:
        threshold = threshold * (1 / foreign.input_scale if foreign.is_scaled_by_norm else unit)
    autoencoder = SparseAutoencoder(
        encoder,
        encoder_bias,
        _directions(foreign),
        foreign.bias / foreign.input_scale,
        k=chosen,
        refine_steps=0,
        threshold=threshold,
        gain=gain,
    )
    scale = torch.full_like(norms, 1 / foreign.input_scale) if foreign.is_scaled_by_norm else unit
    notes = (*foreign.notes, *_notes(foreign, chosen, norms), *_check_precision(autoencoder))
    return ImportedAutoencoder(autoencoder, foreign.format, foreign.activation, chosen, scale.numpy(), notes)


def _choose_k(foreign: ForeignAutoencoder, k: int | None) -> int:
    chosen = k or foreign.k
    if chosen is None:
        raise InvalidInputError(
            f"import a {foreign.format} autoencoder",
            f"{foreign.activation} activations, and no number k of active features in the file",
            "Give k, the maximum number of features of a text; the k strongest are kept.",
        )
    return chosen


def _picks_by_unscaled_strength(foreign: ForeignAutoencoder, norms: Tensor) -> bool:
    """Return whether TopK ranks strengths that are not amplitudes, so that norms cannot be folded in."""
    if foreign.activation != "topk" or foreign.is_scaled_by_norm:
        return False
    return bool((norms - norms.mean()).abs().max() > SAME_NORM * norms.mean())


def _directions(foreign: ForeignAutoencoder) -> Tensor:
    """Return unit decoder rows; a row of zeros, which has no effect, gets its encoder's direction."""
    is_dead = foreign.decoder.norm(dim=1, keepdim=True) == 0
    rows = torch.where(is_dead, foreign.encoder, foreign.decoder)
    rows = torch.where(rows.norm(dim=1, keepdim=True) == 0, torch.ones_like(rows), rows)
    return F.normalize(rows.double(), dim=1).float()


def _notes(foreign: ForeignAutoencoder, k: int, norms: Tensor) -> list[str]:
    notes = []
    if foreign.k is not None and k != foreign.k:
        notes.append(f"the file has k={foreign.k}; imported with k={k}")
    if foreign.activation != "topk" and k < len(norms):
        notes.append(
            f"{foreign.activation} has no limit on active features; beyond {k} the strongest are kept"
        )
    if bool(((norms - 1).abs() > SAME_NORM).any()):
        span = f"{float(norms.min()):.3g} to {float(norms.max()):.3g}"
        notes.append(f"decoder norms, {span}, are folded into the activations")
    if bool((norms == 0).any()):
        notes.append(f"{int((norms == 0).sum())} features have no decoder and are never active")
    return notes


def _check_precision(autoencoder: SparseAutoencoder) -> list[str]:
    notes = []
    for name, tensor in autoencoder.tensors().items():
        if not bool(tensor.isfinite().all()) or float(tensor.abs().max()) > FLOAT16_MAX:
            raise InvalidInputError(
                "import an autoencoder",
                f"{name} has values that are not finite or beyond {FLOAT16_MAX:,.0f}",
                "Scale it down, or check the program that wrote it.",
            )
        error = float((tensor - tensor.half().float()).norm() / tensor.norm().clamp_min(1e-12))
        if error > FLOAT16_ERROR:
            notes.append(f"{name} loses {error:.1%} when it is saved as float16")
    return notes
