"""Training of a TopK sparse autoencoder on embeddings."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor
from torch.nn import functional as F

from saeindex.errors import InvalidInputError
from saeindex.sae.model import SparseAutoencoder, refine

if TYPE_CHECKING:
    from saeindex.types import FloatArray


@dataclass(frozen=True, slots=True)
class TrainingConfig:
    """Every option of :func:`train`; the defaults suit 20,000 to 300,000 sentence embeddings."""

    n_features: int = 2_048
    k: int = 32
    steps: int = 3_000
    """Steps of the main phase; the learning rate holds for half of them, then falls linearly to 2 %."""
    batch_size: int = 1_024
    learning_rate: float = 3e-3
    refine_steps: int = 2
    """Gradient steps that refine amplitudes, in encoding and in the second phase."""
    refined_phase: float = 0.25
    """Length of a second phase, as a share of ``steps``, with half of the loss on refined amplitudes."""
    input_noise: float = 0.0
    """Gaussian noise on the input, in units of 1/sqrt(d); the target stays clean."""
    seed: int = 0
    device: str = "cpu"

    def check(self, texts: int) -> None:
        """Raise InvalidInputError unless ``texts`` embeddings can train this."""
        if texts < self.n_features:
            raise InvalidInputError(
                f"train {self.n_features} features",
                f"{texts} embeddings",
                "Give at least as many texts as features, or ask for fewer features.",
            )
        if not 1 <= self.k <= self.n_features:
            raise InvalidInputError(f"k={self.k}", f"{self.n_features} features", "Use 1 to their number.")


def suitable_steps(texts: int, batch_size: int = 1_024) -> int:
    """Return 40 passes over the data, within 200 to 4,000 steps: fewer on a small corpus overfit less."""
    return min(4_000, max(200, 40 * texts // batch_size))


def train(
    x: FloatArray,
    config: TrainingConfig = TrainingConfig(),
    progress: Callable[[int, float], None] | None = None,
) -> SparseAutoencoder:
    """Fit a sparse autoencoder to embeddings ``x`` (m, d); deterministic by seed on one device.

    ``progress(step, loss)`` is called now and then with the batch's error as a share of the variance.
    """
    config.check(len(x))
    generator = torch.Generator().manual_seed(config.seed)
    rows = torch.from_numpy(x)
    weights = _initial_weights(rows, config, generator)
    variance = float((rows - rows.mean(0)).square().sum(1).mean())
    refined_steps = int(config.steps * config.refined_phase)
    optimizer = torch.optim.Adam(weights.parameters(), lr=config.learning_rate, betas=(0.9, 0.999))
    for step in range(config.steps + refined_steps):
        is_refined = step >= config.steps
        for group in optimizer.param_groups:
            group["lr"] = _learning_rate(step, config, refined_steps)
        batch = rows[torch.randint(len(rows), (config.batch_size,), generator=generator)].to(config.device)
        loss = _loss(batch, weights, config, generator, is_refined) / variance
        optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        weights.remove_parallel_gradient()
        optimizer.step()
        weights.normalize()
        if progress is not None and step % 50 == 0:
            progress(step, loss.item())
    return weights.frozen(config)


class _Weights(torch.nn.Module):
    """The four tensors while they are trained."""

    def __init__(self, decoder: Tensor, bias: Tensor) -> None:
        super().__init__()
        self.encoder = torch.nn.Parameter(decoder.clone())
        self.encoder_bias = torch.nn.Parameter(torch.zeros(len(decoder), device=decoder.device))
        self.decoder = torch.nn.Parameter(decoder.clone())
        self.bias = torch.nn.Parameter(bias.clone())

    @torch.no_grad()
    def remove_parallel_gradient(self) -> None:
        """Drop the part of the decoder's gradient that would only change the rows' norms."""
        gradient = self.decoder.grad
        if gradient is not None:
            gradient -= (gradient * self.decoder).sum(1, keepdim=True) * self.decoder

    @torch.no_grad()
    def normalize(self) -> None:
        self.decoder.div_(self.decoder.norm(dim=1, keepdim=True).clamp_min(1e-8))

    def frozen(self, config: TrainingConfig) -> SparseAutoencoder:
        weights = [
            getattr(self, name).detach().cpu() for name in ("encoder", "encoder_bias", "decoder", "bias")
        ]
        return SparseAutoencoder(*weights, k=config.k, refine_steps=config.refine_steps)


def _initial_weights(rows: Tensor, config: TrainingConfig, generator: torch.Generator) -> _Weights:
    """Bias at the geometric median, decoder rows random unit vectors, encoder equal to the decoder."""
    bias = geometric_median(rows[torch.randperm(len(rows), generator=generator)[:20_000]])
    noise = torch.randn(config.n_features, rows.shape[1], generator=generator)
    return _Weights(F.normalize(noise, dim=1).to(config.device), bias.to(config.device))


def _loss(
    batch: Tensor, weights: _Weights, config: TrainingConfig, generator: torch.Generator, is_refined: bool
) -> Tensor:
    """Return the mean squared error of the batch, half of it on refined amplitudes in the second phase."""
    noisy = batch
    if config.input_noise:
        noise = torch.randn(batch.shape, generator=generator).to(batch.device)
        noisy = batch + noise * (config.input_noise / batch.shape[1] ** 0.5)
    with torch.autocast(batch.device.type, torch.bfloat16):
        strengths = F.linear(noisy - weights.bias, weights.encoder, weights.encoder_bias)
    values, support = strengths.float().topk(config.k, dim=1)
    values = values.relu()
    loss = _error(batch, support, values, weights)
    if is_refined:
        with torch.no_grad():
            centred = batch - weights.bias
            refined = refine(centred, weights.decoder[support], values, config.refine_steps)
        loss = 0.5 * loss + 0.5 * _error(batch, support, refined, weights)
    return loss


def _error(batch: Tensor, support: Tensor, values: Tensor, weights: _Weights) -> Tensor:
    # A dense product with a mostly zero code: on a CPU faster than gathering k rows, forth and back.
    code = torch.zeros(len(batch), len(weights.decoder), device=batch.device).scatter(1, support, values)
    with torch.autocast(batch.device.type, torch.bfloat16):
        reconstructed = code @ weights.decoder
    return (batch - weights.bias - reconstructed).square().sum(1).mean()


def _learning_rate(step: int, config: TrainingConfig, refined_steps: int) -> float:
    """Hold, then fall linearly to 2 %; the second phase starts again at half the rate."""
    if step < config.steps:
        done = step / config.steps
        return config.learning_rate * (1 - 0.98 * max(0.0, 2 * done - 1))
    done = (step - config.steps) / max(1, refined_steps)
    return config.learning_rate * 0.5 * (1 - 0.98 * done)


def geometric_median(x: Tensor, iterations: int = 30) -> Tensor:
    """Return the point with the least sum of distances to ``x`` (m, d), by Weiszfeld's iteration."""
    median = x.mean(0)
    for _ in range(iterations):
        weight = 1 / (x - median).norm(dim=1).clamp_min(1e-6)
        median = (weight[:, None] * x).sum(0) / weight.sum()
    return median
