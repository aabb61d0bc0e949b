"""The files of published autoencoders of language models, as each is, against its own formula."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor

from saeindex.errors import InvalidInputError
from saeindex.sae.importers import read_autoencoder
from saeindex.sae.pooling import activations_of, token_activations
from tests.sae.foreign import D, K, N, Weights, random_weights, top_k, unit_rows

SCALE, LEAST = 1.7, 0.4
WEIGHTS, THRESHOLD = random_weights(), 0.5 * torch.rand(N, generator=torch.Generator().manual_seed(5))


def linear(x: Tensor, weights: Weights = WEIGHTS) -> Tensor:
    return x @ weights["encoder"].T + weights["encoder_bias"]


def gemma(folder: Path, version: int) -> Path:
    place = folder / ("layer_12/width_16k" if version == 1 else "resid_post/layer_12_width_16k")
    place.mkdir(parents=True)
    tensors = {"enc": WEIGHTS["encoder"].T.contiguous(), "dec": WEIGHTS["decoder"]}
    others = {"b_enc": WEIGHTS["encoder_bias"], "b_dec": WEIGHTS["bias"], "threshold": THRESHOLD}
    if version == 1:
        arrays = {f"W_{name}": one for name, one in tensors.items()} | others
        given: dict[str, Any] = {name: one.numpy() for name, one in arrays.items()}
        np.savez(place / "params.npz", **given)
    else:
        named = {f"w_{name}": one for name, one in tensors.items()} | others
        save_file({name: one.bfloat16() for name, one in named.items()}, place / "params.safetensors")
        said = {"model_name": "google/gemma-3-1b-it", "hf_hook_point_in": "model.layers.12.output"}
        (place / "config.json").write_text(json.dumps(said))
    return place


def llama(folder: Path) -> Path:
    (folder / "checkpoints").mkdir(parents=True)
    said = {
        "d_model": D,
        "d_sae": N,
        "act_fn": "jumprelu",
        "jump_relu_threshold": LEAST,
        "hook_point_in": "blocks.15.hook_resid_post",
        "dataset_average_activation_norm": {"in": D**0.5 / SCALE},
    }
    (folder / "hyperparams.json").write_text(json.dumps(said))
    tensors = {
        "encoder.weight": WEIGHTS["encoder"],
        "encoder.bias": WEIGHTS["encoder_bias"],
        "decoder.weight": WEIGHTS["decoder"].T.contiguous(),
        "decoder.bias": WEIGHTS["bias"],
    }
    save_file(tensors, folder / "checkpoints/final.safetensors")
    return folder


def goodfire(folder: Path) -> Path:
    folder.mkdir(exist_ok=True)
    tensors = {
        "encoder_linear.weight": WEIGHTS["encoder"],
        "encoder_linear.bias": WEIGHTS["encoder_bias"],
        "decoder_linear.weight": WEIGHTS["decoder"].T,
        "decoder_linear.bias": WEIGHTS["bias"],
    }
    place = folder / "Llama-3.1-8B-Instruct-SAE-l19.pth"
    torch.save(tensors, place)
    return place


def openai(folder: Path) -> Path:
    folder.mkdir(exist_ok=True)
    tensors = {
        "pre_bias": WEIGHTS["bias"],
        "latent_bias": WEIGHTS["encoder_bias"],
        "encoder.weight": WEIGHTS["encoder"],
        "decoder.weight": WEIGHTS["decoder"].T.contiguous(),
        "stats_last_nonzero": torch.zeros(N, dtype=torch.long),
        "activation": "TopK",
        "activation_state_dict": {"k": K, "postact_fn": "ReLU"},
    }
    torch.save(tensors, folder / "8.pt")
    return folder / "8.pt"


def rounded() -> tuple[Weights, Tensor]:
    own = {name: one.bfloat16().float() for name, one in WEIGHTS.items()}
    return own, THRESHOLD.bfloat16().float()


def of_gemma_1(x: Tensor) -> Tensor:
    return torch.relu(linear(x)) * (linear(x) > THRESHOLD)


def of_gemma_2(x: Tensor) -> Tensor:
    weights, threshold = rounded()
    p = linear(x, weights)
    return torch.relu(p) * (p > threshold)


def of_llama(x: Tensor) -> Tensor:
    p = linear(SCALE * x)
    return torch.relu(p) * (p > LEAST * SCALE)


def of_openai(x: Tensor) -> Tensor:
    centred = x - x.mean(1, keepdim=True)
    return top_k(linear(centred / x.std(1, keepdim=True) - WEIGHTS["bias"]))


CASES: dict[str, tuple[Callable[[Path], Path], Callable[[Tensor], Tensor], str, int | None, str]] = {
    "gemma-1": (lambda p: gemma(p, 1), of_gemma_1, "", 13, "none"),
    "gemma-2": (lambda p: gemma(p, 2), of_gemma_2, "google/gemma-3-1b-it", 13, "none"),
    "llama": (llama, of_llama, "meta-llama/Llama-3.1-8B", 16, "none"),
    "goodfire": (goodfire, lambda x: torch.relu(linear(x)), "meta-llama/Llama-3.1-8B-Instruct", 20, "none"),
    "openai": (openai, of_openai, "", None, "layer"),
}


@pytest.mark.parametrize("name", CASES)
def test_its_activations_are_its_own(tmp_path: Path, name: str) -> None:
    write, forward, model, layer, reads = CASES[name]
    imported = read_autoencoder(write(tmp_path / "sae"), of_tokens=True)
    assert (imported.model, imported.layer, imported.reads) == (model, layer, reads)
    x = 3 * torch.from_numpy(unit_rows()) + 0.5
    own = torch.nn.functional.normalize(x - x.mean(1, keepdim=True), dim=1) if reads == "layer" else x
    expected = forward(x).numpy() * imported.scale
    np.testing.assert_allclose(activations_of(own.numpy(), imported.autoencoder), expected, atol=1e-4)
    np.testing.assert_allclose(token_activations(own, imported.autoencoder), expected, atol=1e-4)


def test_whole_texts_need_a_number_of_features_and_no_layer_norm(tmp_path: Path) -> None:
    with pytest.raises(InvalidInputError, match="no number k"):
        read_autoencoder(gemma(tmp_path / "a", 1))
    with pytest.raises(InvalidInputError, match="Import it as a reader"):
        read_autoencoder(openai(tmp_path / "b"))
    with pytest.raises(InvalidInputError, match="a transcoder"):
        read_autoencoder(gemma(tmp_path / "transcoder", 1), of_tokens=True)
    place = tmp_path / "params.npz"
    np.savez(place, w_enc=np.array([object()], object))
    with pytest.raises(InvalidInputError, match="not a file of plain arrays"):
        read_autoencoder(place, of_tokens=True)
