"""EleutherAI sparsify: ``cfg.json`` and ``sae.safetensors`` (encoder.weight and W_dec (n, d), both biases).

TopK of relu(encoder(x - b_dec)). Transcoders, skip connections and ``groupmax`` are refused.
https://github.com/EleutherAI/sparsify
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from saeindex.errors import InvalidInputError
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

CONFIG, WEIGHTS = "cfg.json", "sae.safetensors"
TENSORS = ("encoder.weight", "encoder.bias", "W_dec", "b_dec")
EXPANSION = 32  # the library's default
# Options that change the computation; ``multi_topk`` and ``normalize_decoder`` only affect training.
REFUSED = ("transcode", "skip_connection", "embed_skip", "gram_lookup", "signed")


def is_format(path: Path) -> bool:
    """Return whether ``path`` is a folder that sparsify wrote."""
    return (path / WEIGHTS).is_file() and (path / CONFIG).is_file()


def read(path: Path) -> ForeignAutoencoder:
    """Read a folder; InvalidInputError for options that ours cannot represent."""
    config = json_object(path / CONFIG)
    refused = [option for option in REFUSED if config.get(option)]
    if config.get("activation", "topk") != "topk":
        refused.append(f"activation {config['activation']!r}")
    if refused:
        refuse(path, f"{', '.join(refused)} set in {CONFIG}", "Import a plain TopK autoencoder.")
    d = read_count(path, config, "d_in")
    has_width = bool(config.get("num_latents"))
    factor = {"expansion_factor": EXPANSION, **config}
    n = (
        read_count(path, config, "num_latents")
        if has_width
        else d * read_count(path, factor, "expansion_factor")
    )
    tensors = read_safetensors(path / WEIGHTS)
    check_names(path, tensors, TENSORS)
    return ForeignAutoencoder(
        format="sparsify",
        activation="topk",
        encoder=take(path, tensors, "encoder.weight", (n, d)),
        encoder_bias=take(path, tensors, "encoder.bias", (n,)),
        decoder=take(path, tensors, "W_dec", (n, d)),
        bias=take(path, tensors, "b_dec", (d,)),
        k=read_count(path, config, "k"),
    )


def write(autoencoder: SparseAutoencoder, folder: Path) -> list[str]:
    """Write a folder that sparsify loads with ``SparseCoder.load_from_disk``; return notes on losses."""
    from safetensors.torch import save_file

    if autoencoder.threshold is not None:
        raise InvalidInputError(
            "export to sparsify",
            "the autoencoder has thresholds, and sparsify supports only TopK",
            "Use saelens.",
        )
    n, d = autoencoder.decoder.shape
    decoder = autoencoder.decoder
    if autoencoder.gain is not None:
        decoder = decoder * autoencoder.gain[:, None]
    tensors = (autoencoder.encoder, autoencoder.encoder_bias, decoder, autoencoder.bias)
    weights = dict(zip(TENSORS, tensors, strict=True))
    config: dict[str, Any] = {
        "activation": "topk",
        "expansion_factor": max(1, n // d),
        "normalize_decoder": autoencoder.gain is None,
        "num_latents": n,
        "k": autoencoder.k,
        "multi_topk": False,
        "skip_connection": False,
        "transcode": False,
        "d_in": d,
    }
    save_file({name: w.cpu().contiguous() for name, w in weights.items()}, folder / WEIGHTS)
    (folder / CONFIG).write_text(json.dumps(config, indent=2) + "\n")
    return []
