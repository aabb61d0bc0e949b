"""SAELens files against the forward pass of sae-lens 6, written here from its documentation."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from saeindex import SparseAutoencoder
from saeindex.errors import InvalidInputError
from saeindex.sae.importers import (
    ImportedAutoencoder,
    read_autoencoder,
)
from saeindex.sae.pooling import activations_of
from tests.sae.foreign import (
    D,
    Forward,
    K,
    N,
    Weights,
    assert_same,
    random_weights,
    top_k,
    unit_rows,
    write_saelens,
)


def saelens_forward(
    weights: Weights,
    activation: Callable[[Tensor], Tensor],
    subtracts_bias: bool = True,
    rescales: bool = False,
    to_norm: float | None = None,
) -> Forward:
    """``process_sae_in``, ``encode`` and ``decode`` of sae-lens 6."""
    w_enc, w_dec = weights["encoder"].T, weights["decoder"]

    def forward(x: Tensor) -> tuple[Tensor, Tensor]:
        coefficient = to_norm / x.norm(dim=-1, keepdim=True) if to_norm else 1.0
        sae_in = x * coefficient - weights["bias"] * subtracts_bias
        hidden = sae_in @ w_enc + weights["encoder_bias"]
        norms = w_dec.norm(dim=-1)
        acts = activation(hidden * norms if rescales else hidden)
        out = (acts / norms if rescales else acts) @ w_dec + weights["bias"]
        return acts, out / coefficient

    return forward


@pytest.mark.parametrize("subtracts_bias", [True, False])
@pytest.mark.parametrize("rescales", [True, False])
@pytest.mark.parametrize("unit_decoder", [True, False])
def test_saelens_topk(tmp_path: Path, subtracts_bias: bool, rescales: bool, unit_decoder: bool) -> None:
    weights = random_weights(unit_decoder=unit_decoder)
    folder = write_saelens(
        tmp_path / "sae",
        weights,
        apply_b_dec_to_input=subtracts_bias,
        rescale_acts_by_decoder_norm=rescales,
    )
    imported = read_autoencoder(folder)
    assert (imported.format, imported.activation, imported.k) == ("saelens", "topk", K)
    assert_same(imported, saelens_forward(weights, top_k, subtracts_bias, rescales))
    assert (imported.autoencoder.gain is not None) == (not rescales and not unit_decoder)


def test_saelens_standard_is_exact_or_keeps_the_k_strongest(
    tmp_path: Path,
) -> None:
    weights = random_weights()
    folder = write_saelens(tmp_path / "sae", weights, architecture="standard", k=None)
    with pytest.raises(InvalidInputError, match="no number k of active features"):
        read_autoencoder(folder)
    assert_same(read_autoencoder(folder, k=N), saelens_forward(weights, torch.relu))
    few = read_autoencoder(folder, k=4)
    assert "beyond 4 the strongest are kept" in " ".join(few.notes)
    x = unit_rows()
    full = read_autoencoder(folder, k=N).autoencoder.encode(x).to_csr().toarray()
    strongest = np.sort(full, axis=1)[:, -4:].sum(1)
    np.testing.assert_allclose(few.autoencoder.encode(x).to_csr().toarray().sum(1), strongest, rtol=1e-5)


@pytest.mark.parametrize("subtracts_bias", [True, False])
def test_saelens_jumprelu(tmp_path: Path, subtracts_bias: bool) -> None:
    weights = random_weights()
    threshold = torch.rand(N, generator=torch.Generator().manual_seed(3)) * 2 - 0.3
    folder = write_saelens(
        tmp_path / "sae",
        weights,
        {"threshold": threshold},
        architecture="jumprelu",
        apply_b_dec_to_input=subtracts_bias,
    )
    imported = read_autoencoder(folder, k=N)
    forward = saelens_forward(weights, lambda p: torch.relu(p) * (p > threshold), subtracts_bias)
    assert_same(imported, forward)
    active = imported.autoencoder.encode(unit_rows())
    assert 0 < len(active.indices) < len(import_without_threshold(imported).encode(unit_rows()).indices)


def import_without_threshold(imported: ImportedAutoencoder) -> SparseAutoencoder:
    tensors = imported.autoencoder.tensors()
    del tensors["threshold"]
    return SparseAutoencoder(**tensors, k=imported.k, refine_steps=0)  # type: ignore[arg-type]


@pytest.mark.parametrize("architecture", ["batchtopk", "matryoshka_batchtopk"])
@pytest.mark.parametrize("rescales", [True, False])
def test_saelens_training_checkpoints_have_one_threshold(
    tmp_path: Path, architecture: str, rescales: bool
) -> None:
    weights = random_weights()
    folder = write_saelens(
        tmp_path / "sae",
        weights,
        {"topk_threshold": torch.tensor(0.7, dtype=torch.float64)},
        architecture=architecture,
        k=4.5,
        rescale_acts_by_decoder_norm=rescales,
    )
    forward = saelens_forward(weights, lambda p: torch.relu(p) * (p > 0.7), rescales=rescales)
    assert_same(read_autoencoder(folder, k=N), forward)


def test_saelens_input_scaling_to_a_constant_norm_is_folded_into_weights(tmp_path: Path) -> None:
    for rescales in (True, False):
        weights = random_weights()
        folder = write_saelens(
            tmp_path / "sae",
            weights,
            normalize_activations="constant_norm_rescale",
            rescale_acts_by_decoder_norm=rescales,
        )
        assert_same(
            read_autoencoder(folder),
            saelens_forward(weights, top_k, rescales=rescales, to_norm=D**0.5),
        )


def test_saelens_configurations_from_before_version_6_are_understood(tmp_path: Path) -> None:
    weights = random_weights(unit_decoder=True)
    old: dict[str, Any] = {
        "activation_fn_str": "topk",
        "activation_fn_kwargs": {"k": 3},
        "hook_point": "blocks.0",
    }
    folder = write_saelens(tmp_path / "a", weights, architecture="standard", **old, k=None)
    assert_same(read_autoencoder(folder), saelens_forward(weights, lambda p: top_k(p, 3)))
    folder = write_saelens(tmp_path / "b", weights, architecture="standard", normalize_activations=False)
    assert read_autoencoder(folder, k=7).activation == "relu"


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"architecture": "transcoder"}, "architecture 'transcoder'"),
        ({"activation_fn_str": "tanh-relu"}, "tanh-relu"),
        ({"normalize_activations": "layer_norm"}, "Import it as a reader"),
        ({"normalize_activations": "expected_average_only_in"}, "Fold it into the weights"),
        ({"normalize_activations": True}, "expected_average_only_in"),
        ({"normalize_activations": "covariance_whitening"}, "covariance_whitening"),
        ({"reshape_activations": "hook_z"}, "hook_z"),
        ({"finetuning_scaling_factor": True}, "finetuning"),
        ({"d_sae": N + 1}, "W_enc is"),
        ({"d_in": "12"}, "d_in is '12'"),
        ({"k": 2.5}, "k is 2.5"),
        ({"k": N + 1}, f"k={N + 1}"),
    ],
)
def test_saelens_files_that_cannot_be_represented_are_refused(
    tmp_path: Path, config: dict[str, Any], message: str
) -> None:
    folder = write_saelens(tmp_path / "sae", random_weights(), **config)
    with pytest.raises(InvalidInputError, match=re.escape(message)):
        read_autoencoder(folder)


def test_tensors_that_could_change_the_result_are_refused(tmp_path: Path) -> None:
    folder = write_saelens(tmp_path / "sae", random_weights(), {"scaling_factor": torch.ones(N)})
    with pytest.raises(InvalidInputError, match="scaling_factor"):
        read_autoencoder(folder)


def test_a_gate_is_a_threshold(tmp_path: Path) -> None:
    weights, rng = random_weights(), torch.Generator().manual_seed(3)
    gain, gate, size = (0.3 * torch.randn(N, generator=rng) for _ in range(3))
    tensors = {"r_mag": gain, "b_gate": gate, "b_mag": size}
    folder = write_saelens(tmp_path / "sae", weights, tensors, architecture="gated")
    weights_file = folder / "sae_weights.safetensors"
    save_file({name: one for name, one in load_file(weights_file).items() if name != "b_enc"}, weights_file)

    def forward(x: Tensor) -> tuple[Tensor, Tensor]:
        inner = (x - weights["bias"]) @ weights["encoder"].T
        acts = (inner + gate > 0) * torch.relu(inner * gain.exp() + size)
        return acts, acts @ weights["decoder"] + weights["bias"]

    assert_same(read_autoencoder(folder, k=N), forward)
    assert read_autoencoder(folder, of_tokens=True).k == N


@pytest.mark.parametrize(("kind", "reads"), [("layer_norm", "layer"), ("constant_norm_rescale", "unit")])
def test_what_is_done_to_inputs_is_said_of_those_of_tokens(tmp_path: Path, kind: str, reads: str) -> None:
    weights = random_weights()
    hook = {"model_name": "gpt2", "hook_name": "blocks.7.hook_resid_post"}
    folder = write_saelens(tmp_path / "sae", weights, normalize_activations=kind, metadata=hook)
    imported = read_autoencoder(folder, of_tokens=True)
    assert (imported.reads, imported.model, imported.layer) == (reads, "gpt2", 8)
    x = 5 * torch.from_numpy(unit_rows()) + 1
    if kind == "layer_norm":
        given = (x - x.mean(1, keepdim=True)) / x.std(1, keepdim=True)
        own = torch.nn.functional.normalize(x - x.mean(1, keepdim=True), dim=1)
    else:
        own = torch.nn.functional.normalize(x, dim=1)
        given = D**0.5 * own
    expected = top_k((given - weights["bias"]) @ weights["encoder"].T + weights["encoder_bias"])
    found = activations_of(own.numpy(), imported.autoencoder) / imported.scale
    np.testing.assert_allclose(found, expected.numpy(), atol=1e-4)
