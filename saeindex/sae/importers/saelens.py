"""SAELens: a folder with ``cfg.json`` and ``sae_weights.safetensors`` (W_enc (d, n), W_dec (n, d)).

It is read as by sae-lens 6, including older configurations: ``standard`` (ReLU), ``topk``, ``jumprelu``, and
the training checkpoints ``batchtopk`` and ``matryoshka_batchtopk``, whose inference form is a JumpReLU with
one threshold. https://github.com/decoderesearch/SAELens
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor

from saeindex.sae.autoencoder import SparseAutoencoder
from saeindex.sae.importers.foreign import ForeignAutoencoder
from saeindex.sae.importers.tensors import (
    check_names,
    json_object,
    read_count,
    read_safetensors,
    refuse,
    take,
)

CONFIG, WEIGHTS = "cfg.json", "sae_weights.safetensors"
BATCH_TOPK = ("batchtopk", "matryoshka_batchtopk")
ARCHITECTURES = ("standard", "topk", "jumprelu", *BATCH_TOPK)


def is_format(path: Path) -> bool:
    """Return whether ``path`` is a folder that SAELens wrote."""
    return (path / WEIGHTS).is_file() and (path / CONFIG).is_file()


def read(path: Path) -> ForeignAutoencoder:
    """Read a folder; InvalidInputError for architectures and options that ours cannot represent."""
    config = _modern(json_object(path / CONFIG))
    architecture = config["architecture"]
    _check_representable(path, config)
    d, n = read_count(path, config, "d_in"), read_count(path, config, "d_sae")
    tensors = read_safetensors(path / WEIGHTS)
    encoder = take(path, tensors, "W_enc", (d, n)).T.contiguous()
    activation, threshold = _activation(path, tensors, architecture, n)
    scale, notes = _input_scale(path, config, d)
    known = {"W_enc", "W_dec", "b_enc", "b_dec", *(("threshold",) if architecture == "jumprelu" else ())}
    check_names(path, tensors, known | ({"topk_threshold"} if architecture in BATCH_TOPK else set()))
    return ForeignAutoencoder(
        format="saelens",
        activation=activation,
        encoder=encoder,
        encoder_bias=take(path, tensors, "b_enc", (n,)),
        decoder=take(path, tensors, "W_dec", (n, d)),
        bias=take(path, tensors, "b_dec", (d,)),
        k=read_count(path, config, "k") if architecture == "topk" else None,
        threshold=threshold,
        is_centred=bool(config.get("apply_b_dec_to_input", True)),
        is_scaled_by_norm=bool(config.get("rescale_acts_by_decoder_norm", architecture in BATCH_TOPK)),
        input_scale=scale,
        notes=notes,
    )


def _modern(config: dict[str, Any]) -> dict[str, Any]:
    """Return a configuration in the form of version 6; older forms name the activation function instead."""
    modern = {"architecture": "standard", "normalize_activations": "none", **config}
    function = config.get("activation_fn_str", config.get("activation_fn", "relu"))
    settings = config.get("activation_fn_kwargs") or {}
    if function == "topk" and "k" in settings:
        modern.update(architecture="topk", k=settings["k"])
    elif function not in ("relu", "topk"):
        modern["architecture"] = f"{modern['architecture']} with {function}"
    if isinstance(modern["normalize_activations"], bool) or modern["normalize_activations"] is None:
        modern["normalize_activations"] = (
            "expected_average_only_in" if modern["normalize_activations"] else "none"
        )
    return modern


def _check_representable(path: Path, config: Mapping[str, Any]) -> None:
    if config["architecture"] not in ARCHITECTURES:
        refuse(
            path,
            f"architecture {config['architecture']!r}",
            f"Import one of {', '.join(ARCHITECTURES)}; saeindex cannot compute other activations.",
        )
    if config.get("reshape_activations", "none") != "none":
        refuse(path, f"reshaped activations ({config['reshape_activations']})", "Import one for embeddings.")
    if config.get("finetuning_scaling_factor"):
        refuse(path, "a finetuning scaling factor", "Fold it into the decoder with SAELens first.")


def _activation(
    path: Path, tensors: Mapping[str, Tensor], architecture: str, n: int
) -> tuple[Literal["topk", "relu", "jumprelu"], Tensor | None]:
    if architecture == "jumprelu":
        return "jumprelu", take(path, tensors, "threshold", (n,))
    if architecture in BATCH_TOPK:
        return "jumprelu", take(path, tensors, "topk_threshold", ()).expand(n).contiguous()
    return ("topk" if architecture == "topk" else "relu"), None


def _input_scale(path: Path, config: Mapping[str, Any], d: int) -> tuple[float, tuple[str, ...]]:
    """Return the factor on the input; for unit vectors the norm rescaling to sqrt(d) is one."""
    kind = config["normalize_activations"]
    if kind == "none":
        return 1.0, ()
    if kind == "constant_norm_rescale":
        return d**0.5, ("inputs are rescaled to norm sqrt(d): folded in, exact for unit vectors",)
    do = "Fold it into the weights with SAELens (its fold_activation_… methods), and save."
    if kind == "layer_norm":
        do = "Train without layer norm: it is not linear, so it cannot be folded in."
    return refuse(path, f"inputs are normalised by {kind!r}, with statistics that are not in the file", do)


def write(autoencoder: SparseAutoencoder, folder: Path) -> list[str]:
    """Write a folder that SAELens loads with ``SAE.load_from_disk``; return notes on what is lost."""
    from safetensors.torch import save_file

    n, d = autoencoder.decoder.shape
    is_thresholded = autoencoder.threshold is not None
    scale = torch.ones(n) if autoencoder.gain is None else autoencoder.gain
    weights = {
        "W_enc": autoencoder.encoder.T,
        "b_enc": autoencoder.encoder_bias,
        "W_dec": autoencoder.decoder * scale[:, None],
        "b_dec": autoencoder.bias,
    }
    config: dict[str, Any] = {
        "architecture": "jumprelu" if is_thresholded else "topk",
        "d_in": d,
        "d_sae": n,
        "dtype": "float32",
        "device": "cpu",
        "apply_b_dec_to_input": True,
        "normalize_activations": "none",
        "reshape_activations": "none",
        "metadata": {},
    }
    if autoencoder.threshold is not None:
        weights["threshold"] = autoencoder.threshold
    else:
        config |= {"k": autoencoder.k, "rescale_acts_by_decoder_norm": False}
    save_file({name: w.cpu().contiguous() for name, w in weights.items()}, folder / WEIGHTS)
    (folder / CONFIG).write_text(json.dumps(config, indent=2) + "\n")
    return [f"JumpReLU has no k: the limit of {autoencoder.k} is lost"] if is_thresholded else []
