"""The ``SparseAutoEncoder`` module of sentence-transformers (CSR, arXiv 2503.01776), tied weights, TopK.

The path is its folder, or that of the whole ``SparseEncoder`` model, whose ``modules.json`` has its folder.
"""

from __future__ import annotations

import json
from pathlib import Path

from torch import Tensor

from saeindex.sae.importers.foreign import ForeignAutoencoder
from saeindex.sae.importers.tensors import (
    check_names,
    json_object,
    read_count,
    read_safetensors,
    read_state_dict,
    refuse,
    take,
)

MODULES, CONFIG = "modules.json", "config.json"
SAFE, UNSAFE = "model.safetensors", "pytorch_model.bin"
# The decoder is the transposed encoder; safetensors stores one of the names of the shared tensor.
ENCODER = ("encoder.weight", "decoder.linear.weight")
KEYS = {"input_dim", "hidden_dim", "k"}


def is_format(path: Path) -> bool:
    """Return whether ``path`` is such a module, or a model with such a module."""
    folder, _ = _module(path)
    return folder is not None


def read(path: Path) -> ForeignAutoencoder:
    """Read a module; InvalidInputError if it normalises its inputs by layer norm."""
    folder, notes = _module(path)
    if folder is None:
        refuse(path, f"no {CONFIG} of a SparseAutoEncoder module", "Give its folder, or that of the model.")
    config = json_object(folder / CONFIG)
    if config.get("normalize"):
        refuse(folder, "normalize=True (layer norm on the inputs)", "Train it with normalize=False.")
    d, n = read_count(folder, config, "input_dim"), read_count(folder, config, "hidden_dim")
    tensors = _tensors(folder)
    check_names(folder, tensors, {*ENCODER, "pre_bias", "latent_bias", "stats_last_nonzero"})
    name = next((name for name in ENCODER if name in tensors), ENCODER[0])
    encoder = take(folder, tensors, name, (n, d))
    return ForeignAutoencoder(
        format="sentence-transformers",
        activation="topk",
        encoder=encoder,
        encoder_bias=take(folder, tensors, "latent_bias", (n,)),
        decoder=encoder,
        bias=take(folder, tensors, "pre_bias", (d,)),
        k=read_count(folder, config, "k"),
        notes=notes,
    )


def _module(path: Path) -> tuple[Path | None, tuple[str, ...]]:
    """Return the module's folder, and a note if the model gives it vectors that are not unit vectors."""
    if (path / MODULES).is_file():
        try:
            listed = [
                (m["type"].rsplit(".", 1)[-1], m["path"]) for m in json.loads((path / MODULES).read_text())
            ]
        except (ValueError, TypeError, KeyError, AttributeError):
            return None, ()
        kinds = [kind for kind, _ in listed]
        if "SparseAutoEncoder" not in kinds:
            return None, ()
        at = kinds.index("SparseAutoEncoder")
        notes = (
            () if "Normalize" in kinds[:at] else ("it was made for vectors that are not scaled to norm 1",)
        )
        folder = path / listed[at][1]
        return (folder if folder.resolve().is_relative_to(path.resolve()) else None), notes
    if (path / CONFIG).is_file() and json_object(path / CONFIG).keys() >= KEYS:
        return path, ()
    return None, ()


def _tensors(folder: Path) -> dict[str, Tensor]:
    if (folder / SAFE).is_file():
        return read_safetensors(folder / SAFE)
    return read_state_dict(folder / UNSAFE)
