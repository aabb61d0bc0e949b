"""Training of a sparse autoencoder on embeddings."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from saeindex.devices import choose_dtype
from saeindex.errors import InvalidInputError
from saeindex.sae.autoencoder import TENSORS, SparseAutoencoder, check_budget
from saeindex.sae.batches import Batches, sample
from saeindex.sae.checkpoint import Progress, load_checkpoint, save_checkpoint, training_signature
from saeindex.sae.metrics import nmse
from saeindex.sae.objective import Objective, Weights, remove_parallel_gradient
from saeindex.sae.training_config import TrainingConfig

if TYPE_CHECKING:
    from saeindex.types import FloatArray, Ints

MEDIAN_ROWS = 20_000
MIN_RATE = 0.02
REPORT_EVERY = 25
# Seconds between checkpoints: what a stopped training loses.
CHECKPOINT_EVERY = 30.0
# Steps of each phase by which a training is timed.
TIMED = 3
# Steps between measurements of the gate of named features, and their rows; weights are kept with a gate that
# was measured on all rows of the median.
GATE_EVERY, GATE_ROWS = 50, 4_000


@dataclass(frozen=True, slots=True)
class TrainingStatus:
    """The progress report of a training; errors are shares of the variance (NMSE)."""

    step: int
    steps: int
    error: float
    """Error of the last batch, with noise and without refinement."""
    held_out: float | None
    """Last error on held-out embeddings, encoded as in an index."""
    dead_share: float


def train(
    x: FloatArray,
    config: TrainingConfig = TrainingConfig(),  # noqa: B008  (frozen)
    progress: Callable[[TrainingStatus], None] | None = None,
    *,
    rows: Ints | None = None,
    held_out: FloatArray | None = None,
    anchors: FloatArray | None = None,
    shares: FloatArray | None = None,
    aims: FloatArray | None = None,
    start: SparseAutoencoder | None = None,
    checkpoint: Path | None = None,
) -> SparseAutoencoder:
    """Fit a sparse autoencoder to embeddings ``x`` (m, d); deterministic by seed on one device.

    ``x`` may be a memory-mapped array larger than memory, ``rows`` are its ascending rows to use. With
    ``held_out`` (h, d) training stops early when the error on it no longer falls, and the best weights are
    returned. The first features are named ones: they are held at ``anchors`` (a, d) and have a budget of
    ``config.k_named``; ``shares`` (a,) are the largest shares of texts in which they are active, since what a
    text does not speak of is left to free features. These are drawn towards ``aims`` (n_features - a, d).
    Training begins with the weights of ``start``, if it is given. A ``checkpoint`` file is written
    each half minute, resumed from if it exists, and deleted at the end.
    """
    rows = np.arange(len(x)) if rows is None else rows
    config.check(len(rows))
    return _Training(x, rows, config, progress, held_out, anchors, shares, aims, start, checkpoint).run()


def training_seconds(config: TrainingConfig, dimension: int) -> float:
    """Return how long a training takes here, by some of its steps on random rows."""
    rng, n_named = np.random.default_rng(0), config.n_features // 2 if config.k_named else 0
    x, anchors = (rng.standard_normal((n, dimension), np.float32) for n in (config.batch_size, n_named))
    shares = np.full(n_named, 0.01, np.float32)
    training = _Training(x, np.arange(len(x)), config, None, None, anchors, shares, None, None, None)
    training._step()  # which prepares
    seconds = 0.0
    for first, steps in ((1, config.steps), (config.steps + 1, config.refined_steps)):
        training.progress.step, started = first, time.perf_counter()
        for _ in range(TIMED):
            training._step()
        seconds += (time.perf_counter() - started) / TIMED * steps
    return seconds


class _Training:
    def __init__(
        self,
        x: FloatArray,
        kept: Ints,
        config: TrainingConfig,
        report: Callable[[TrainingStatus], None] | None,
        held_out: FloatArray | None,
        anchors: FloatArray | None,
        shares: FloatArray | None,
        aims: FloatArray | None,
        start: SparseAutoencoder | None,
        checkpoint: Path | None,
    ) -> None:
        self.config, self.report, self.held_out, self.checkpoint = config, report, held_out, checkpoint
        self.batches = Batches(x, config.batch_size, config.seed, kept)
        rows = torch.from_numpy(sample(x, MEDIAN_ROWS, config.seed, kept))
        self.mean = rows.mean(0).numpy()
        variance = float((rows - rows.mean(0)).square().sum(1).mean())
        self.objective = Objective(config, variance, choose_dtype("auto", config.device))
        self.weights = _initial_weights(rows, config, anchors, aims, start)
        order = torch.randperm(len(rows), generator=torch.Generator().manual_seed(config.seed))
        self.gate_rows = rows[order].to(config.device)
        self.shares = None if shares is None else torch.from_numpy(shares).to(config.device)
        self.best = _copy(self.weights)
        fused = torch.device(config.device).type in ("cpu", "cuda")
        self.optimizer = torch.optim.Adam(self.weights.parameters(), lr=config.learning_rate, fused=fused)
        self.progress = Progress(decay_from=config.steps // 2)
        self.last_held_out: float | None = None
        given = (anchors, shares, aims, *(start.weights.values() if start else ()))
        self.signature = training_signature(x, config, *given) if checkpoint else ""

    @property
    def steps(self) -> int:
        """Total number of steps, reduced by an early fall of the learning rate."""
        main = self.progress.decay_from + self.config.steps - self.config.steps // 2
        return main + self.config.refined_steps

    def run(self) -> SparseAutoencoder:
        if self.checkpoint is not None and self.checkpoint.is_file():
            self.best, self.progress = load_checkpoint(
                self.checkpoint, self.weights, self.optimizer, self.signature
            )
        saved = time.monotonic()
        while self.progress.step < self.steps and not self._has_stalled():
            error = self._step()
            if self.progress.step % self.config.evaluate_every == 0:
                self._evaluate()
            if self.checkpoint is not None and time.monotonic() - saved > CHECKPOINT_EVERY:
                state = self.weights, self.best, self.optimizer, self.progress, self.signature
                save_checkpoint(self.checkpoint, *state)
                saved = time.monotonic()
            if self.report is not None and self.progress.step % REPORT_EVERY == 0:
                dead = (self.weights.silent_since >= self.config.dead_after).float().mean()
                errors = error.item(), self.last_held_out
                self.report(TrainingStatus(self.progress.step, self.steps, *errors, float(dead)))
        if self.progress.step % self.config.evaluate_every:  # else the loop has measured them
            self._evaluate()
        if self.checkpoint is not None:
            self.checkpoint.unlink(missing_ok=True)
        return self._frozen(self.best)

    def _frozen(self, state: dict[str, Tensor]) -> SparseAutoencoder:
        return SparseAutoencoder(
            *(state[name].cpu() for name in TENSORS),
            k=self.config.max_active,
            refine_steps=self.config.refine_steps,
            threshold=self._threshold(state),
            n_named=len(self.weights.anchors),
            k_named=self.config.k_named,
        )

    def _threshold(self, state: dict[str, Tensor]) -> Tensor | None:
        """Return the strengths (n,) that features must exceed: BatchTopK's, or the gate of the named ones."""
        if self.config.selection == "batchtopk":
            return state["least_strength"].cpu().expand(len(state["decoder"])).clone()
        return None if self.shares is None else state["threshold"].cpu()

    def _step(self) -> Tensor:
        step = self.progress.step
        is_refined = step >= self.steps - self.config.refined_steps
        for group in self.optimizer.param_groups:
            group["lr"] = self._learning_rate(step)
        if step % GATE_EVERY == 0:
            self._set_gate(self.gate_rows[:GATE_ROWS])
        batch = self.batches[step].to(self.config.device)
        loss, error = self.objective(batch, self.weights, step, is_refined)
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        remove_parallel_gradient(self.weights.decoder)
        self.optimizer.step()
        self.weights.normalize(self.config)
        self.progress.step += 1
        return error

    def _set_gate(self, rows: Tensor) -> None:
        if self.shares is not None:
            self.weights.set_gate(rows, self.shares, is_tied=self.config.tied_encoder)

    def _learning_rate(self, step: int) -> float:
        """Return the rate of a step: it rises, stays, then falls linearly; phase two starts at half of it."""
        config, decay_from = self.config, self.progress.decay_from
        falling = config.steps - config.steps // 2
        if step < decay_from + falling:
            fall = max(0.0, (step - decay_from) / falling)
            return (
                config.learning_rate
                * min(1.0, (step + 1) / (config.warmup + 1))
                * (1 - (1 - MIN_RATE) * fall)
            )
        done = (step - decay_from - falling) / max(1, config.refined_steps)
        return config.learning_rate * 0.5 * (1 - (1 - MIN_RATE) * done)

    def _evaluate(self) -> None:
        """Measure the held-out error, keep the best weights, and lower the rate if the error stalls."""
        progress = self.progress
        self._set_gate(self.gate_rows)
        if self.held_out is None or not len(self.held_out):
            self.best = _copy(self.weights)
            return
        sae = self._frozen(self.weights.state_dict())
        error = nmse(self.held_out, sae.decode(sae.encode(self.held_out)), self.mean)
        self.last_held_out = error
        if error < progress.best_error:
            progress.best_error, progress.best_step = error, progress.step
            self.best = _copy(self.weights)
        elif self._is_late() and progress.step < progress.decay_from:
            progress.decay_from = progress.best_step = progress.step

    def _is_late(self) -> bool:
        waited = self.progress.step - self.progress.best_step
        return waited >= self.config.patience * self.config.evaluate_every

    def _has_stalled(self) -> bool:
        is_measured = self.progress.best_error < float("inf")
        return is_measured and self._is_late() and self.progress.step > self.progress.decay_from


def _copy(weights: Weights) -> dict[str, Tensor]:
    return {name: tensor.detach().clone() for name, tensor in weights.state_dict().items()}


def _initial_weights(
    rows: Tensor,
    config: TrainingConfig,
    anchors: FloatArray | None,
    aims: FloatArray | None,
    start: SparseAutoencoder | None,
) -> Weights:
    """Return the weights of ``start``, else those of an untrained autoencoder.

    That has its bias at the geometric median, a decoder of anchors and random rows, and an equal encoder.
    """
    rng = torch.Generator().manual_seed(config.seed)
    directions = torch.randn(config.n_features, rows.shape[1], generator=rng)
    n_named = 0 if anchors is None else len(anchors)
    if anchors is not None:
        if anchors.ndim != 2 or anchors.shape[1] != rows.shape[1] or n_named > config.n_features:
            asked, do = f"anchors of shape {anchors.shape}", "Give at most one row for each feature."
            raise InvalidInputError(asked, f"{config.n_features} features of dimension {rows.shape[1]}", do)
        directions[:n_named] = torch.from_numpy(anchors.astype(np.float32))
    check_budget(config.k, config.n_features, n_named, config.k_named)
    decoder = F.normalize(directions, dim=1).to(config.device)
    if aims is not None and aims.shape != (config.n_features - n_named, rows.shape[1]):
        found = f"{config.n_features - n_named} free features of dimension {rows.shape[1]}"
        raise InvalidInputError(f"aims of shape {aims.shape}", found, "Give one row for each free feature.")
    towards = None if aims is None else torch.from_numpy(aims.astype(np.float32)).to(config.device)
    weights = Weights(decoder, geometric_median(rows).to(config.device), n_named, towards)
    if start is not None:
        _continue_from(start, weights)
    return weights


def _continue_from(start: SparseAutoencoder, weights: Weights) -> None:
    """Set the weights to those of ``start``, which must have the same numbers of features."""
    n_features, dimension = weights.decoder.shape
    n_named = len(weights.anchors)
    if (start.n_features, start.dimension, start.n_named) != (n_features, dimension, n_named):
        asked = f"start with {start.n_features} features, {start.n_named} of them named"
        found = f"a training of {n_features}, {n_named} of them named"
        raise InvalidInputError(asked, found, "Start with an autoencoder of the same numbers.")
    with torch.no_grad():
        for name in TENSORS:
            getattr(weights, name).copy_(start.tensors()[name])


def geometric_median(x: Tensor, iterations: int = 30) -> Tensor:
    """Return the point with the smallest sum of distances to ``x`` (m, d), by Weiszfeld's iteration."""
    median = x.mean(0)
    for _ in range(iterations):
        weight = 1 / (x - median).norm(dim=1).clamp_min(1e-6)
        median = (weight[:, None] * x).sum(0) / weight.sum()
    return median
