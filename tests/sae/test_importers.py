"""Importers compared with each format's forward pass, from its documentation or its library."""

from __future__ import annotations

import json
import pickle
import re
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from saeindex import SparseAutoencoder
from saeindex.errors import InvalidInputError, NotFoundError
from saeindex.sae.importers import FORMATS, export_autoencoder, read_autoencoder
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

# sparsify -----------------------------------------------------------------------------------------


def write_sparsify(folder: Path, weights: Weights, dtype: torch.dtype = torch.float32, **config: Any) -> Path:
    folder.mkdir(exist_ok=True)
    settings = {"activation": "topk", "k": K, "num_latents": N, "d_in": D, "multi_topk": True, **config}
    (folder / "cfg.json").write_text(json.dumps(settings))
    tensors = {
        "encoder.weight": weights["encoder"],
        "encoder.bias": weights["encoder_bias"],
        "W_dec": weights["decoder"],
        "b_dec": weights["bias"],
    }
    save_file({name: tensor.to(dtype) for name, tensor in tensors.items()}, folder / "sae.safetensors")
    return folder


def plain_forward(weights: Weights, k: int = K) -> Forward:
    """TopK of relu(W_enc (x - b) + c), as in sparsify, saerch and CSR."""

    def forward(x: Tensor) -> tuple[Tensor, Tensor]:
        strengths = torch.relu((x - weights["bias"]) @ weights["encoder"].T + weights["encoder_bias"])
        activations = top_k(strengths, k)
        return activations, activations @ weights["decoder"] + weights["bias"]

    return forward


@pytest.mark.parametrize("unit_decoder", [True, False])
def test_sparsify(tmp_path: Path, unit_decoder: bool) -> None:
    weights = random_weights(2, unit_decoder)
    folder = write_sparsify(tmp_path / "sae", weights, normalize_decoder=unit_decoder)
    imported = read_autoencoder(folder)
    assert (imported.format, imported.k) == ("sparsify", K)
    assert_same(imported, plain_forward(weights))
    assert_same(read_autoencoder(folder, k=9), plain_forward(weights, 9))
    assert "the file has k=5; imported with k=9" in read_autoencoder(folder, k=9).notes


def test_sparsify_accepts_an_expansion_factor_and_bfloat16(tmp_path: Path) -> None:
    rounded = {name: t.bfloat16().float() for name, t in random_weights(5).items()}
    folder = write_sparsify(tmp_path / "sae", rounded, torch.bfloat16, num_latents=0, expansion_factor=N // D)
    assert_same(read_autoencoder(folder), plain_forward(rounded))


@pytest.mark.parametrize(
    "config",
    [{"transcode": True}, {"skip_connection": True}, {"activation": "groupmax"}, {"gram_lookup": True}],
)
def test_sparsify_files_that_cannot_be_represented_are_refused(
    tmp_path: Path, config: dict[str, Any]
) -> None:
    folder = write_sparsify(tmp_path / "sae", random_weights(), **config)
    with pytest.raises(InvalidInputError, match=next(iter(config))):
        read_autoencoder(folder)


# saerch -----------------------------------------------------------------------------------------------


def write_saerch(path: Path, weights: Weights) -> Path:
    state = {
        "pre_bias": weights["bias"],
        "latent_bias": weights["encoder_bias"],
        "encoder.weight": weights["encoder"],
        "decoder.weight": weights["decoder"].T.contiguous(),
    }
    torch.save(state, path)
    return path


def test_saerch_checkpoints_have_k_in_their_name(tmp_path: Path) -> None:
    weights = random_weights(3, unit_decoder=True)
    imported = read_autoencoder(write_saerch(tmp_path / f"{K}_{N}_10_auxk_csLG_epoch_137.pth", weights))
    assert (imported.format, imported.k, imported.notes) == ("saerch", K, ())
    assert_same(imported, plain_forward(weights))
    unnamed = write_saerch(tmp_path / "model.pt", weights)
    with pytest.raises(InvalidInputError, match="Give k"):
        read_autoencoder(unnamed)
    assert_same(read_autoencoder(unnamed, k=8), plain_forward(weights, 8))


def test_a_transposed_matrix_is_corrected(tmp_path: Path) -> None:
    weights = random_weights(3, unit_decoder=True)
    turned = weights | {"encoder": weights["encoder"].T, "decoder": weights["decoder"].T}
    path = write_saerch(tmp_path / "turned.pth", turned)
    assert_same(read_autoencoder(path, k=K), plain_forward(weights))


class _Malicious:
    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> Any:
        return (Path.touch, (self.path,))


@pytest.mark.filterwarnings("ignore:Detected pickle protocol")
def test_a_pickle_is_never_executed(tmp_path: Path) -> None:
    marker = tmp_path / "was-run"
    torch.save({"encoder.weight": _Malicious(marker)}, tmp_path / "a.pth")
    (tmp_path / "b.pt").write_bytes(pickle.dumps(_Malicious(marker)))
    (tmp_path / "c.pt").write_bytes(b"not a checkpoint")
    module = tmp_path / "module"
    module.mkdir()
    (module / "config.json").write_text(json.dumps({"input_dim": D, "hidden_dim": N, "k": K}))
    torch.save({"encoder.weight": _Malicious(marker)}, module / "pytorch_model.bin")
    for path in (tmp_path / "a.pth", tmp_path / "b.pt", tmp_path / "c.pt", module):
        with pytest.raises(InvalidInputError, match="not a file of plain tensors"):
            read_autoencoder(path, k=4)
    assert not marker.exists()


@pytest.mark.parametrize("damage", [torch.nan, torch.inf, 1e6])
def test_values_that_a_saved_space_cannot_store_are_refused(tmp_path: Path, damage: float) -> None:
    weights = random_weights(3, unit_decoder=True)
    weights["encoder"][2, 3] = damage
    with pytest.raises(InvalidInputError, match="not finite or beyond"):
        read_autoencoder(write_saerch(tmp_path / "model.pt", weights), k=K)


@pytest.mark.parametrize("missing", ["pre_bias", "encoder.weight"])
def test_the_error_names_the_tensor_that_a_checkpoint_lacks(tmp_path: Path, missing: str) -> None:
    path = write_saerch(tmp_path / "model.pt", random_weights())
    state = torch.load(path, weights_only=True)
    del state[missing]
    torch.save(state, path)
    with pytest.raises(InvalidInputError, match=re.escape(missing)):
        read_autoencoder(path, k=K)


# sentence-transformers (CSR), the real module -----------------------------------------------------------


def csr_module(normalize: bool = False) -> Any:
    modules = pytest.importorskip("sentence_transformers.sparse_encoder.modules")
    module = modules.SparseAutoEncoder(D, N, k=K, k_aux=8, normalize=normalize)
    rng = torch.Generator().manual_seed(4)
    with torch.no_grad():
        module.pre_bias.copy_(0.2 * torch.randn(D, generator=rng))
        module.latent_bias.copy_(0.1 * torch.randn(N, generator=rng))
    return module.eval()


def csr_forward(module: Any) -> Forward:
    def forward(x: Tensor) -> tuple[Tensor, Tensor]:
        with torch.no_grad():
            found = module({"sentence_embedding": x})
        return found["sentence_embedding"], found["decoded_embedding_k"]

    return forward


@pytest.mark.parametrize("is_safe", [True, False])
def test_a_csr_module_of_sentence_transformers(tmp_path: Path, is_safe: bool) -> None:
    module = csr_module()
    module.save(str(tmp_path), safe_serialization=is_safe)
    imported = read_autoencoder(tmp_path)
    assert (imported.format, imported.k) == ("sentence-transformers", K)
    assert imported.autoencoder.gain is not None
    assert_same(imported, csr_forward(module))


def test_a_csr_model_gives_the_path_of_its_module_and_normalisation(tmp_path: Path) -> None:
    module = csr_module()
    folder = tmp_path / "2_SparseAutoEncoder"
    folder.mkdir()
    module.save(str(folder))
    listed = [
        {"path": "", "type": "sentence_transformers.models.Transformer"},
        {"path": "2_SparseAutoEncoder", "type": "sentence_transformers.SparseAutoEncoder"},
    ]
    (tmp_path / "modules.json").write_text(json.dumps(listed))
    imported = read_autoencoder(tmp_path)
    assert "not scaled to norm 1" in imported.notes[0]
    assert_same(imported, csr_forward(module))
    listed[1]["path"] = "../elsewhere"
    (tmp_path / "modules.json").write_text(json.dumps(listed))
    with pytest.raises(InvalidInputError):
        read_autoencoder(tmp_path)


def test_a_csr_module_with_layer_norm_is_refused(tmp_path: Path) -> None:
    csr_module(normalize=True).save(str(tmp_path))
    with pytest.raises(InvalidInputError, match="layer norm"):
        read_autoencoder(tmp_path)


# All formats ------------------------------------------------------------------------------------------


def test_features_without_a_decoder_stay_inactive(tmp_path: Path) -> None:
    weights = random_weights()
    weights["decoder"][7] = 0
    weights["decoder"][8] = weights["encoder"][8] = 0
    folder = write_sparsify(tmp_path / "sae", weights)
    imported = read_autoencoder(folder)
    assert "2 features have no decoder" in " ".join(imported.notes)
    assert_same(imported, plain_forward(weights))


def test_an_imported_autoencoder_survives_a_save_with_its_threshold_and_gain(tmp_path: Path) -> None:
    threshold = torch.full((N,), 0.4)
    folder = write_saelens(
        tmp_path / "sae", random_weights(), {"threshold": threshold}, architecture="jumprelu"
    )
    thresholded = read_autoencoder(folder, k=20).autoencoder
    gained = read_autoencoder(write_sparsify(tmp_path / "sparsify", random_weights())).autoencoder
    x = unit_rows()
    for sae in (thresholded, gained):
        sae.save(tmp_path / "saved.safetensors")
        loaded = SparseAutoencoder.load(tmp_path / "saved.safetensors")
        assert loaded.digest() == sae.digest()
        ours, again = sae.half().encode(x), loaded.encode(x)
        assert ours.values.tobytes() == again.values.tobytes()
    plain = {name: tensor for name, tensor in gained.tensors().items() if name != "gain"}
    ungained = SparseAutoencoder(**plain, k=K, refine_steps=0)  # type: ignore[arg-type]
    assert ungained.digest() != gained.digest()


@pytest.mark.parametrize("format", ["saelens", "sparsify"])
@pytest.mark.parametrize("unit_decoder", [True, False])
def test_an_export_is_imported_unchanged(tmp_path: Path, format: str, unit_decoder: bool) -> None:
    sae = read_autoencoder(write_sparsify(tmp_path / "a", random_weights(6, unit_decoder))).autoencoder
    (tmp_path / "b").mkdir()
    assert export_autoencoder(sae, tmp_path / "b", format) == []
    back = read_autoencoder(tmp_path / "b")
    assert back.format == format
    for name, tensor in sae.tensors().items():
        torch.testing.assert_close(back.autoencoder.tensors()[name], tensor, atol=1e-6, rtol=1e-5)


def test_an_export_reports_what_it_cannot_represent(tmp_path: Path) -> None:
    folder = write_saelens(
        tmp_path / "a", random_weights(), {"threshold": torch.full((N,), 0.4)}, architecture="jumprelu"
    )
    sae = read_autoencoder(folder, k=20).autoencoder
    (tmp_path / "b").mkdir()
    assert "limit of 20 is lost" in export_autoencoder(sae, tmp_path / "b", "saelens")[0]
    assert load_file(tmp_path / "b" / "sae_weights.safetensors")["threshold"].shape == (N,)
    with pytest.raises(InvalidInputError, match="thresholds"):
        export_autoencoder(sae, tmp_path / "b", "sparsify")
    refined = read_autoencoder(write_sparsify(tmp_path / "c", random_weights())).autoencoder
    refined.refine_steps = 2
    assert "refinement" in export_autoencoder(refined, tmp_path / "b", "sparsify")[0]
    with pytest.raises(InvalidInputError, match="saelens, sparsify"):
        export_autoencoder(sae, tmp_path / "b", "onnx")


def test_files_that_are_not_autoencoders_are_refused(tmp_path: Path) -> None:
    with pytest.raises(NotFoundError):
        read_autoencoder(tmp_path / "nowhere")
    with pytest.raises(InvalidInputError, match=", ".join(FORMATS)):
        read_autoencoder(tmp_path)
    with pytest.raises(InvalidInputError, match="no such format"):
        read_autoencoder(tmp_path, "onnx")
    with pytest.raises(InvalidInputError, match="at least 1"):
        read_autoencoder(tmp_path, k=0)
    for format in FORMATS:
        with pytest.raises(InvalidInputError):
            read_autoencoder(tmp_path, format)
    (tmp_path / "cfg.json").write_text("[1]")
    (tmp_path / "sae.safetensors").write_bytes(b"x" * 64)
    with pytest.raises(InvalidInputError, match="JSON list"):
        read_autoencoder(tmp_path)
    (tmp_path / "cfg.json").write_text(json.dumps({"d_in": D, "num_latents": N, "k": K}))
    with pytest.raises(InvalidInputError, match="not a safetensors file"):
        read_autoencoder(tmp_path)
