"""Checkpoints of a training: the whole state that the next step depends on, in one safetensors file."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from saeindex.errors import MismatchError
from saeindex.files import replacing

if TYPE_CHECKING:
    from saeindex.sae.objective import Weights
    from saeindex.sae.training_config import TrainingConfig
    from saeindex.types import FloatArray

MOMENTS = ("exp_avg", "exp_avg_sq", "step")


@dataclass(slots=True)
class Progress:
    """The progress of a training; ``step`` is the number of finished steps."""

    step: int = 0
    decay_from: int = 0
    """The step at which the learning rate starts to fall."""
    best_step: int = 0
    best_error: float = float("inf")
    """The lowest held-out error so far."""


def save_checkpoint(
    path: Path,
    weights: Weights,
    best: dict[str, Tensor],
    optimizer: torch.optim.Optimizer,
    progress: Progress,
    training: str,
) -> None:
    """Write under a temporary name, then rename."""
    from safetensors.torch import save_file

    tensors = {f"weights.{name}": tensor for name, tensor in weights.state_dict().items()}
    tensors |= {f"best.{name}": tensor for name, tensor in best.items()}
    for number, state in optimizer.state_dict()["state"].items():
        tensors |= {f"moments.{number}.{name}": state[name] for name in MOMENTS}
    metadata = {"progress": json.dumps(asdict(progress)), "training": training}
    with replacing(path, durable=True) as draft:
        save_file({name: t.detach().cpu().contiguous() for name, t in tensors.items()}, draft, metadata)


def load_checkpoint(
    path: Path, weights: Weights, optimizer: torch.optim.Optimizer, training: str
) -> tuple[dict[str, Tensor], Progress]:
    """Restore ``weights`` and ``optimizer``; return the best weights and the progress.

    MismatchError where the checkpoint is of another training: other options or other embeddings.
    """
    from safetensors import safe_open

    with safe_open(path, framework="pt", device=str(weights.bias.device)) as file:
        found = file.metadata() or {}
        if found.get("training") != training:
            asked = f"resume the training in {path}"
            do = "Use its original options and embeddings, or delete the file to start again."
            raise MismatchError(asked, "it has other options or other embeddings", do)
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    progress = Progress(**json.loads(found["progress"]))
    weights.load_state_dict(_part(tensors, "weights."))
    described = optimizer.state_dict()
    moments = _part(tensors, "moments.")
    numbers = sorted({int(name.partition(".")[0]) for name in moments})
    described["state"] = {i: {m: moments[f"{i}.{m}"] for m in MOMENTS} for i in numbers}
    optimizer.load_state_dict(described)
    return _part(tensors, "best."), progress


def training_signature(x: FloatArray, config: TrainingConfig, *given: FloatArray | None) -> str:
    """Return a hash of a training's inputs: its options, other arrays, and some of the embeddings."""
    digest = hashlib.sha256(json.dumps(asdict(config), sort_keys=True).encode())
    digest.update(repr(x.shape).encode())
    for row in np.linspace(0, len(x) - 1, 64).astype(int):
        digest.update(np.ascontiguousarray(x[row], np.float32).tobytes())
    for array in given:
        if array is not None:
            digest.update(repr(array.shape).encode())
            digest.update(np.ascontiguousarray(array, np.float32).tobytes())
    return digest.hexdigest()


def _part(tensors: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): t for name, t in tensors.items() if name.startswith(prefix)}
