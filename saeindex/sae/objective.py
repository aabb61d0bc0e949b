"""The training objective: the reconstruction error, and the terms that shape the dictionary."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from saeindex.sae.one_vector import Budget
from saeindex.sae.topk import combine, largest, refine, strengths_on
from saeindex.sae.training_config import TrainingConfig

TEMPERATURE = 0.1
# The least length of a tied row, and the least strength at its gate. Without them one named feature in four
# falls silent, the broader ones first: "sport", where "team" and "score" reconstruct the text as well.
LEAST_SCALE, LEAST_STRENGTH = 0.3, 0.02


class Weights(torch.nn.Module):
    """The four tensors in training, and the number of steps since each latent was active.

    The first rows of the decoder are named: they are held near their ``anchors`` (n_named, d), or at them.
    """

    silent_since: Tensor
    least_strength: Tensor
    threshold: Tensor
    anchors: Tensor
    aims: Tensor

    def __init__(self, decoder: Tensor, bias: Tensor, n_named: int = 0, aims: Tensor | None = None) -> None:
        """The encoder starts equal to the decoder (n, d), which has unit rows; ``bias`` is (d,).

        The other rows are free, and drawn towards ``aims`` (n - n_named, d), if there are any.
        """
        super().__init__()
        self.encoder = torch.nn.Parameter(decoder.clone())
        self.encoder_bias = torch.nn.Parameter(torch.zeros(len(decoder), device=decoder.device))
        self.decoder = torch.nn.Parameter(decoder.clone())
        self.bias = torch.nn.Parameter(bias.clone())
        self.register_buffer("anchors", decoder[:n_named].clone(), persistent=False)
        self.register_buffer("aims", decoder[:0].clone() if aims is None else aims, persistent=False)
        self.register_buffer("silent_since", torch.zeros(len(decoder), device=decoder.device))
        self.register_buffer("least_strength", torch.zeros((), device=decoder.device))
        self.register_buffer("threshold", torch.full((len(decoder),), -torch.inf, device=decoder.device))

    @torch.no_grad()
    def set_gate(self, rows: Tensor, shares: Tensor, *, is_tied: bool) -> None:
        """Set the thresholds of the named latents, so that each is active in its share (a,) of the rows.

        At most in these, and if they are tied, in all of them that the budget allows.
        """
        named = slice(0, len(self.anchors))
        strengths = self.encoder[named] @ (rows - self.bias).T + self.encoder_bias[named, None]
        silent = ((1 - shares) * (len(rows) - 1)).long()
        threshold = strengths.sort(dim=1).values.gather(1, silent[:, None])[:, 0]
        if is_tied:
            lift = (LEAST_STRENGTH - threshold).clamp_min(0)
            self.encoder_bias[named] += lift
            threshold += lift
        self.threshold[named] = threshold

    @torch.no_grad()
    def normalize(self, config: TrainingConfig) -> None:
        """Normalise the decoder rows to norm 1, and set back what is held at the anchors."""
        named = slice(0, len(self.anchors))
        self.decoder.div_(self.decoder.norm(dim=1, keepdim=True).clamp_min(1e-8))
        if config.fixed_anchors:
            self.decoder[named] = self.anchors
        if config.tied_encoder:
            scale = (self.encoder[named] * self.anchors).sum(1, keepdim=True)
            self.encoder[named] = scale.clamp_min(LEAST_SCALE) * self.anchors


@torch.no_grad()
def remove_parallel_gradient(decoder: Tensor) -> None:
    """Remove the part of the gradient of unit rows (n, d) that would only change their norms."""
    gradient = decoder.grad
    if gradient is not None:
        gradient -= (gradient * decoder).sum(1, keepdim=True) * decoder


def _distance_from_aims(weights: Weights) -> Tensor:
    """Return the mean distance of free features from their aims, of encoder and decoder rows together."""
    free = slice(len(weights.anchors), None)
    both = weights.encoder, weights.decoder
    reading, writing = (1 - F.cosine_similarity(rows[free], weights.aims).mean() for rows in both)
    return reading + writing


@dataclass(frozen=True, slots=True)
class Objective:
    """The loss of a batch, in units of the data's variance, and its plain reconstruction error."""

    config: TrainingConfig
    variance: float
    dtype: torch.dtype
    """Precision of the dense product, which only selects the support."""

    def __call__(self, batch: Tensor, weights: Weights, step: int, is_refined: bool) -> tuple[Tensor, Tensor]:
        """Return (loss, error) of ``batch`` (b, d); record in ``weights`` which latents were active."""
        config = self.config
        rng = torch.Generator().manual_seed(config.seed * 1_000_003 + step)
        centred = self._noisy(batch, rng) - weights.bias
        strengths = self._strengths(centred, weights)
        support, values = self._choose(strengths, centred, weights, weights.decoder.shape[0])
        error = self._error(batch, support, values, weights)
        loss = error
        if is_refined:
            with torch.no_grad():
                refined = refine(batch - weights.bias, weights.decoder, support, values, config.refine_steps)
            loss = 0.5 * loss + 0.5 * self._error(batch, support, refined, weights)
        if config.k_named:
            loss = self._with_anchors(loss, batch, support, values, weights)
        if len(weights.aims):
            loss = loss + config.aim_weight * _distance_from_aims(weights)
        if config.prefixes:
            loss = self._with_prefixes(loss, batch, strengths, centred, weights)
        dead = weights.silent_since >= config.dead_after
        dead[: len(weights.anchors)] = False  # a named latent never learns what others leave
        if config.auxiliary_weight and bool(dead.any()):
            target = (batch - weights.bias - combine(support, values, weights.decoder)).detach()
            loss = loss + config.auxiliary_weight * self._auxiliary(target, strengths, dead, centred, weights)
        if config.contrastive_weight:
            other = self._noisy(batch, rng) - weights.bias
            loss = loss + config.contrastive_weight * self._contrastive(support, values, other, weights)
        with torch.no_grad():
            weights.silent_since += 1
            weights.silent_since[support[values > 0]] = 0
        return loss, error.detach()

    def _noisy(self, batch: Tensor, rng: torch.Generator) -> Tensor:
        if not self.config.input_noise:
            return batch
        scale: float = self.config.input_noise / batch.shape[1] ** 0.5
        return batch + scale * torch.randn(batch.shape, generator=rng).to(batch.device)

    @torch.no_grad()
    def _strengths(self, centred: Tensor, weights: Weights) -> Tensor:
        encoder, bias = weights.encoder.to(self.dtype), weights.encoder_bias.to(self.dtype)
        return F.linear(centred.to(self.dtype), encoder, bias)

    def _choose(self, strengths: Tensor, centred: Tensor, weights: Weights, n: int) -> tuple[Tensor, Tensor]:
        """Return the support (b, ≤ 2k) among the first ``n`` latents, and its activations."""
        n_named = len(weights.anchors)
        budget = Budget(min(self.config.max_active, n), n_named, self.config.k_named)
        if n_named:
            is_silent = strengths[:, :n_named] <= weights.threshold[:n_named]
            named = strengths[:, :n_named].masked_fill(is_silent, 0)
            strengths = torch.cat([named, strengths[:, n_named:]], dim=1)
        support = largest(strengths[:, :n], budget)
        values = strengths_on(centred, weights.encoder, weights.encoder_bias, support).relu()
        if n_named:
            values = values * (values > weights.threshold[support])
        if self.config.selection == "batchtopk":
            kept = min(self.config.k, n) * len(values)
            smallest = values.detach().flatten().topk(kept).values[-1]
            values = values * (values >= smallest)
            if n == len(weights.decoder):
                weights.least_strength.lerp_(smallest, 0.01 if weights.least_strength else 1.0)
        return support, values

    def _error(self, batch: Tensor, support: Tensor, values: Tensor, weights: Weights) -> Tensor:
        reconstructed = combine(support, values, weights.decoder) + weights.bias
        return (batch - reconstructed).square().sum(1).mean() / self.variance

    def _with_prefixes(
        self, loss: Tensor, batch: Tensor, strengths: Tensor, centred: Tensor, weights: Weights
    ) -> Tensor:
        """Return the loss including the prefixes, which are weighted by 1, 2, 3 … from the smallest."""
        prefixes, share = self.config.prefixes, self.config.prefix_weight
        total = len(prefixes) * (len(prefixes) + 1) / 2
        loss = (1 - share) * loss
        for rank, n in enumerate(prefixes, 1):
            support, values = self._choose(strengths, centred, weights, n)
            loss = loss + share * rank / total * self._error(batch, support, values, weights)
        return loss

    def _with_anchors(
        self, loss: Tensor, batch: Tensor, support: Tensor, values: Tensor, weights: Weights
    ) -> Tensor:
        """Return the loss with the errors of named and free features alone, and how far anchors are."""
        config, n_named = self.config, len(weights.anchors)
        named = slice(0, config.k_named)  # active named latents come first in a support
        alone = self._error(batch, support[:, named], (values * (support < n_named))[:, named], weights)
        loss = (1 - config.named_share - config.free_share) * loss + config.named_share * alone
        if config.free_share:
            free = self._error(batch, support, values * (support >= n_named), weights)
            loss = loss + config.free_share * free
        if not config.fixed_anchors:
            cosine = (F.normalize(weights.decoder[:n_named], dim=1) * weights.anchors).sum(1)
            loss = loss + config.anchor_weight * (1 - cosine).mean()
        return loss

    def _auxiliary(
        self, target: Tensor, strengths: Tensor, dead: Tensor, centred: Tensor, weights: Weights
    ) -> Tensor:
        """Return the error of the residual ``target`` (b, d) rebuilt by the 2k strongest dead latents."""
        size = min(2 * self.config.k, int(dead.sum()))
        support = strengths.masked_fill(~dead, -torch.inf).topk(size, dim=1, sorted=False).indices
        values = strengths_on(centred, weights.encoder, weights.encoder_bias, support).relu()
        error = (target - combine(support, values, weights.decoder)).square().sum(1).mean()
        return error / target.square().sum(1).mean().clamp_min(1e-12)

    def _contrastive(self, support: Tensor, values: Tensor, other: Tensor, weights: Weights) -> Tensor:
        """Return the cross-entropy of identifying each text's other noisy input by the cosine of codes."""
        n = len(weights.decoder)
        chosen, partner = self._choose(self._strengths(other, weights), other, weights, n)
        codes = [
            torch.zeros(len(v), n, device=v.device).scatter(1, s, F.normalize(v, dim=1))
            for s, v in ((support, values), (chosen, partner))
        ]
        alike = codes[0] @ codes[1].T / TEMPERATURE
        return F.cross_entropy(alike, torch.arange(len(alike), device=alike.device))
