"""saerch's training recipe, from its paper (arXiv 2408.00657) and its published settings.

TopK with AuxK: encoder starting at decoderᵀ, bias at the coordinate-wise median, Xavier decoder of unit
columns with the parallel gradient removed, loss 1 - R² of the batch + 1/32 · AuxK (2k dead latents fit the
residual; dead after 266 steps without activation), gradient norm clipped at 1, Adam at a constant 1e-4,
batches of 1,024, full precision. Only the matrix products are ours, to be as fast as our training.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor
from torch.nn import functional as F

from saeindex.sae import SparseAutoencoder
from saeindex.sae.batches import Batches
from saeindex.sae.objective import remove_parallel_gradient
from saeindex.sae.topk import combine, strengths_on

if TYPE_CHECKING:
    from saeindex.types import FloatArray

LEARNING_RATE, BATCH_SIZE, AUXILIARY_WEIGHT, MAX_GRADIENT = 1e-4, 1_024, 1 / 32, 1.0
DEAD_AFTER, MEDIAN_ROWS = 266, 10_000


def train(
    x: FloatArray, n: int, k: int, steps: int, learning_rate: float = LEARNING_RATE, seed: int = 0
) -> SparseAutoencoder:
    """Train on embeddings (m, d) for ``steps`` batches; codes are one-shot, as saerch's are."""
    torch.manual_seed(seed)
    decoder = F.normalize(torch.nn.init.xavier_uniform_(torch.empty(x.shape[1], n)).T.contiguous(), dim=1)
    bias = torch.from_numpy(x[:MEDIAN_ROWS]).median(0).values
    weights = [decoder.clone(), torch.zeros(n), decoder, bias]
    for tensor in weights:
        tensor.requires_grad_()
    optimizer = torch.optim.Adam(weights, lr=learning_rate, fused=True)
    batches, silent = Batches(x, BATCH_SIZE, seed), torch.zeros(n)
    for step in range(steps):
        optimizer.zero_grad(set_to_none=True)
        _loss(batches[step], weights, k, silent).backward()  # type: ignore[no-untyped-call]
        remove_parallel_gradient(weights[2])
        torch.nn.utils.clip_grad_norm_(weights, MAX_GRADIENT)
        optimizer.step()
        with torch.no_grad():
            weights[2].div_(weights[2].norm(dim=1, keepdim=True))
    encoder, encoder_bias, decoder, bias = (tensor.detach() for tensor in weights)
    return SparseAutoencoder(encoder, encoder_bias, decoder, bias, k=k, refine_steps=0)


def _loss(batch: Tensor, weights: list[Tensor], k: int, silent: Tensor) -> Tensor:
    encoder, encoder_bias, decoder, bias = weights
    centred = batch - bias
    with torch.no_grad():
        strengths = F.linear(centred, encoder, encoder_bias)
        support = strengths.topk(k, dim=1, sorted=False).indices
        silent += 1
        silent[support] = 0
        is_dead = silent > DEAD_AFTER
    values = strengths_on(centred, encoder, encoder_bias, support).relu()
    reconstructed = combine(support, values, decoder) + bias
    loss = _normalised_error(reconstructed, batch)
    if is_dead.any():
        dead = (strengths * is_dead).topk(2 * k, dim=1, sorted=False).indices
        values = strengths_on(centred, encoder, encoder_bias, dead).relu() * is_dead[dead]
        residual = (batch - reconstructed).detach()
        loss = loss + AUXILIARY_WEIGHT * _normalised_error(combine(dead, values, decoder), residual)
    return loss


def _normalised_error(reconstructed: Tensor, target: Tensor) -> Tensor:
    return (reconstructed - target).square().mean() / (target - target.mean(0)).square().mean()
