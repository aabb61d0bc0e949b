"""Products with codes that are mostly zeros: (m, k) supports and amplitudes in place of (m, n) matrices.

On a CPU these take a tenth of the time of the dense products, forth and back.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

# Rows whose directions are gathered at a time: 32 x k x d numbers stay in the cache.
BLOCK = 32


def combine(support: Tensor, amplitudes: Tensor, directions: Tensor) -> Tensor:
    """Return sum_i z_i d_i (m, d) of ``support`` (m, k), ``amplitudes`` (m, k), ``directions`` (n, d)."""
    return F.embedding_bag(support, directions, per_sample_weights=amplitudes, mode="sum")


def project(x: Tensor, directions: Tensor, support: Tensor) -> Tensor:
    """Return x · d_i (m, k) for the directions (n, d) in each row's ``support`` (m, k)."""
    if x.device.type != "cpu":
        return torch.einsum("md,mkd->mk", x, directions[support])
    products = x.new_empty(support.shape)
    for start in range(0, len(x), BLOCK):
        rows = slice(start, start + BLOCK)
        products[rows] = (F.embedding(support[rows], directions) * x[rows, None]).sum(-1)
    return products


def transposed_combine(support: Tensor, amplitudes: Tensor, x: Tensor, n: int) -> Tensor:
    """Return sum_m z_mi x_m (n, d), the gradient of n directions in :func:`combine` and :func:`project`."""
    flat = support.flatten()
    order = flat.argsort(stable=True)
    counts = torch.bincount(flat, minlength=n)
    offsets = counts.cumsum(0) - counts
    weights = amplitudes.flatten()[order]
    return F.embedding_bag(order // support.shape[1], x, offsets, per_sample_weights=weights, mode="sum")


def strengths_on(x: Tensor, encoder: Tensor, encoder_bias: Tensor, support: Tensor) -> Tensor:
    """Return W x + c (m, k) on the support alone, with gradients for all but the support."""
    strengths: Tensor = _Strengths.apply(x, encoder, encoder_bias, support)  # type: ignore[no-untyped-call]
    return strengths


class _Strengths(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, encoder: Tensor, encoder_bias: Tensor, support: Tensor) -> Tensor:
        ctx.save_for_backward(x, encoder, support)
        return project(x, encoder, support) + encoder_bias[support]

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, Tensor, Tensor, None]:
        x, encoder, support = ctx.saved_tensors
        gradient = gradients[0].contiguous()
        of_bias = torch.zeros(len(encoder), dtype=gradient.dtype, device=gradient.device)
        of_bias.index_add_(0, support.flatten(), gradient.flatten())
        of_encoder = transposed_combine(support, gradient, x, len(encoder))
        return combine(support, gradient, encoder), of_encoder, of_bias, None
