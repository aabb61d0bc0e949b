"""Import and export of autoencoders of other libraries, and of published ones.

They are those of SAELens, sparsify, saerch, sentence-transformers (CSR), Gemma Scope 1 and 2, Llama Scope,
Goodfire and OpenAI. A foreign autoencoder is read into one form for all formats:

    u = f x - b  (or f x)         f a fixed scale of the input
    p = W_enc u + c               times |d_i| where activations are scaled by the decoder's norms
    z = TopK(p), ReLU(p) or ReLU(p) where p > threshold; a gate is a threshold
    x̂ = (sum_i z_i d_i + b) / f   with decoder rows d_i of any norm

Ours has unit decoder rows, so a foreign activation z_i is ours times the norm of its row; everything else
folds into the encoder and its bias, exactly. No file is unpickled.
"""

from __future__ import annotations

import json
import pickle
import re
import zipfile
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NoReturn

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from saeindex.errors import InvalidInputError, NotFoundError
from saeindex.sae.autoencoder import SparseAutoencoder

if TYPE_CHECKING:
    from saeindex.types import FloatArray, Scale

MAX_BYTES = 16 * 2**30
# Relative difference below which norms count as equal: the precision of float16 files.
SAME_NORM = 1e-3
FLOAT16_MAX, FLOAT16_ERROR = 65_504.0, 1e-2
EXPORT_FORMATS = ("saelens", "sparsify")
# The tensors of each format: the encoder (n, d), its bias (n,), the decoder (n, d) and the bias (d,), or
# their transposes (.T). That of CSR is tied, and a file has one of two names of it.
PARTS = ("encoder", "encoder_bias", "decoder", "bias")
TENSORS = {
    "saelens": ("W_enc.T", "b_enc", "W_dec", "b_dec"),
    "sparsify": ("encoder.weight", "encoder.bias", "W_dec", "b_dec"),
    "saerch": ("encoder.weight", "latent_bias", "decoder.weight.T", "pre_bias"),
    "sentence-transformers": ("encoder.weight", "latent_bias", "encoder.weight", "pre_bias"),
    "gemma-scope": ("w_enc.T", "b_enc", "w_dec", "b_dec"),
    "llama-scope": ("encoder.weight", "encoder.bias", "decoder.weight.T", "decoder.bias"),
    "goodfire": (
        "encoder_linear.weight",
        "encoder_linear.bias",
        "decoder_linear.weight.T",
        "decoder_linear.bias",
    ),
}
FILES = {
    "saelens": ("cfg.json", "sae_weights.safetensors"),
    "sparsify": ("cfg.json", "sae.safetensors"),
    "llama-scope": ("hyperparams.json", "checkpoints/final.safetensors"),
}
GEMMA_SCOPE = ("params.npz", "params.safetensors")
TORCH_FILES, OF_OPENAI = (".pth", ".pt"), ("activation", "activation_state_dict")
# Options of sparsify that change the computation; ``multi_topk`` and ``normalize_decoder`` only affect
# training. https://github.com/EleutherAI/sparsify
REFUSED_BY_SPARSIFY = ("transcode", "skip_connection", "embed_skip", "gram_lookup", "signed")
# The training checkpoints of SAELens whose inference form is a JumpReLU with one threshold, and all that are
# read. https://github.com/decoderesearch/SAELens
BATCH_TOPK = ("batchtopk", "matryoshka_batchtopk")
ARCHITECTURES = ("standard", "topk", "jumprelu", "gated", *BATCH_TOPK)
# The residual stream after layer L, as SAELens and as transformers name it.
_HOOK = re.compile(r"(?:blocks|layers)\.(\d+)\.(hook_resid_post|hook_resid_pre|output)$")
# saerch has k in the names of its files: {k}_{n}_{auxk}_auxk…. https://github.com/Christine8888/saerch
SAERCH_NAME = re.compile(r"^(\d+)_(\d+)_\d+_auxk")


@dataclass(frozen=True, slots=True, eq=False)
class ForeignAutoencoder:
    """The weights of the file: ``encoder`` and ``decoder`` (n, d), with any decoder norms."""

    encoder: Tensor
    encoder_bias: Tensor
    decoder: Tensor
    bias: Tensor
    k: int | None
    activation: Literal["topk", "relu", "jumprelu"] = "topk"
    threshold: Tensor | None = None
    is_centred: bool = True
    """Whether ``bias`` is subtracted from the input before encoding."""
    is_scaled_by_norm: bool = False
    """Whether strengths are multiplied by the decoder's norms before the activation function."""
    input_scale: float = 1.0
    reads: Scale = "none"
    """What is done to each input before: "unit" scales it to length 1, "layer" centres it first."""
    model: str = ""
    layer: int | None = None
    """The language model, and the number of its layers after which the inputs are."""
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, eq=False)
class ImportedAutoencoder:
    """An autoencoder in our form, and notes about its file.

    ``scale`` (n,) float32: our activation of a feature is the foreign activation times this. What it
    ``reads`` is a vector as it is ("none"), of length 1 ("unit") or centred besides ("layer"): of a language
    ``model`` after so many layers, where the file says so.
    """

    autoencoder: SparseAutoencoder
    format: str
    activation: str
    k: int
    scale: FloatArray
    notes: tuple[str, ...]
    reads: Scale = "none"
    model: str = ""
    layer: int | None = None


def read_autoencoder(
    path: str | Path, format: str = "auto", *, k: int | None = None, of_tokens: bool = False
) -> ImportedAutoencoder:
    """Convert a foreign autoencoder to ours; its activations are the same, times the decoder's norms.

    ``format`` is one of ``FORMATS``, or "auto" to detect it from the files. ``k``, the maximum number of
    active features, is needed if the file has none (ReLU, JumpReLU, gated) and it is not one of tokens, and
    overrides that of the file.
    Amplitudes are not refined (``refine_steps=0``). Raises NotFoundError, and InvalidInputError for an
    autoencoder that ours cannot represent, or a saved space cannot hold.
    """
    found = Path(path)
    if not found.exists():
        raise NotFoundError(f"import {path}", "no file or folder has that name", "Check the path.")
    if k is not None and k < 1:
        raise InvalidInputError(f"import {path} with k={k}", "not a number of features", "Give at least 1.")
    if format not in ("auto", *FORMATS):
        do = f"Use auto, {', '.join(FORMATS)}."
        raise InvalidInputError(f"import {path} as {format!r}", "no such format", do)
    if format == "auto":
        format = next((name for name in FORMATS if _is_format(found, name)), "")
    if not format:
        do = f"Give a folder or file of {', '.join(FORMATS)}."
        _refuse(found, "no format that can be detected from its files", do)
    foreign = _READERS[format](found)
    if foreign.reads == "layer" and not of_tokens:
        _refuse(found, "layer norm on the inputs, which texts' vectors have not", "Import it as a reader.")
    return _to_ours(foreign, format, k or foreign.k or (len(foreign.decoder) if of_tokens else None))


def export_autoencoder(autoencoder: SparseAutoencoder, folder: Path, format: str) -> list[str]:
    """Write into an existing folder in one of ``EXPORT_FORMATS``; return notes on what is lost.

    SAELens loads it with ``SAE.load_from_disk``, sparsify with ``SparseCoder.load_from_disk``. No other
    format has two budgets: InvalidInputError for an autoencoder with named features.
    """
    from safetensors.torch import save_file

    if format not in EXPORT_FORMATS:
        do = f"Use one of {', '.join(EXPORT_FORMATS)}."
        raise InvalidInputError(f"export to {format!r}", "no such format", do)
    if autoencoder.n_named:
        found = "an autoencoder with named features, which have a budget and a gate of their own"
        do = "Export the space itself (the format saeindex), or fit one without named features."
        raise InvalidInputError(f"export to {format}", found, do)
    weights, notes = dict(autoencoder.tensors()), list[str]()
    threshold, gain = weights.pop("threshold", None), weights.pop("gain", None)
    n, d = autoencoder.decoder.shape
    config: dict[str, Any] = {"d_in": d}
    if gain is not None:
        weights["decoder"] = weights["decoder"] * gain[:, None]
    if format == "saelens":
        config |= {
            "architecture": "topk" if threshold is None else "jumprelu",
            "d_sae": n,
            "dtype": "float32",
            "device": "cpu",
            "apply_b_dec_to_input": True,
            "normalize_activations": "none",
            "reshape_activations": "none",
            "metadata": {},
        }
        if threshold is None:
            config |= {"k": autoencoder.k, "rescale_acts_by_decoder_norm": False}
        else:
            notes.append(f"JumpReLU has no k: the limit of {autoencoder.k} is lost")
    elif threshold is not None:
        found = "the autoencoder has thresholds, and sparsify supports only TopK"
        raise InvalidInputError("export to sparsify", found, "Use saelens.")
    else:
        config |= {
            "activation": "topk",
            "expansion_factor": max(1, n // d),
            "normalize_decoder": gain is None,
            "num_latents": n,
            "k": autoencoder.k,
            "multi_topk": False,
            "skip_connection": False,
            "transcode": False,
        }
    tensors = {} if threshold is None else {"threshold": threshold}
    for part, name in zip(PARTS, TENSORS[format], strict=True):
        tensors[name.removesuffix(".T")] = weights[part].T if name.endswith(".T") else weights[part]
    config_file, weights_file = FILES[format]
    save_file({name: w.cpu().contiguous() for name, w in tensors.items()}, folder / weights_file)
    (folder / config_file).write_text(json.dumps(config, indent=2) + "\n")
    if autoencoder.refine_steps:
        notes.append("amplitudes are those of the encoder: the format has no refinement on the support")
    return notes


# Conversion -------------------------------------------------------------------------------------------


def _to_ours(foreign: ForeignAutoencoder, format: str, chosen: int | None) -> ImportedAutoencoder:
    if chosen is None:
        found = f"{foreign.activation} activations, and no number k of active features in the file"
        do = "Give k, the maximum number of features of a text; the k strongest are kept."
        raise InvalidInputError(f"import a {format} autoencoder", found, do)
    norms = foreign.decoder.norm(dim=1)
    unit = norms / foreign.input_scale
    encoder, encoder_bias = foreign.encoder * foreign.input_scale, foreign.encoder_bias
    if not foreign.is_centred:
        encoder_bias = encoder_bias + foreign.encoder @ foreign.bias
    threshold, gain = foreign.threshold, None
    has_equal_norms = bool((norms - norms.mean()).abs().max() <= SAME_NORM * norms.mean())
    if foreign.activation == "topk" and not foreign.is_scaled_by_norm and not has_equal_norms:
        gain = unit  # TopK ranks strengths that are not amplitudes, so that norms cannot be folded in
    else:
        encoder, encoder_bias = encoder * unit[:, None], encoder_bias * unit
    if threshold is not None:
        threshold = threshold * (1 / foreign.input_scale if foreign.is_scaled_by_norm else unit)
    autoencoder = SparseAutoencoder(
        encoder,
        encoder_bias,
        _directions(foreign),
        foreign.bias / foreign.input_scale,
        k=chosen,
        refine_steps=0,
        threshold=threshold,
        gain=gain,
    )
    scale = torch.full_like(norms, 1 / foreign.input_scale) if foreign.is_scaled_by_norm else unit
    notes = (*foreign.notes, *_notes(foreign, chosen, norms), *_check_precision(autoencoder))
    of_model = foreign.reads, foreign.model, foreign.layer
    return ImportedAutoencoder(
        autoencoder, format, foreign.activation, chosen, scale.numpy(), notes, *of_model
    )


def _directions(foreign: ForeignAutoencoder) -> Tensor:
    """Return unit decoder rows; a row of zeros, which has no effect, gets its encoder's direction."""
    is_dead = foreign.decoder.norm(dim=1, keepdim=True) == 0
    rows = torch.where(is_dead, foreign.encoder, foreign.decoder)
    rows = torch.where(rows.norm(dim=1, keepdim=True) == 0, torch.ones_like(rows), rows)
    return F.normalize(rows.double(), dim=1).float()


def _notes(foreign: ForeignAutoencoder, k: int, norms: Tensor) -> list[str]:
    notes = []
    if foreign.k is not None and k != foreign.k:
        notes.append(f"the file has k={foreign.k}; imported with k={k}")
    if foreign.activation != "topk" and k < len(norms):
        notes.append(
            f"{foreign.activation} has no limit on active features; beyond {k} the strongest are kept"
        )
    if bool(((norms - 1).abs() > SAME_NORM).any()):
        span = f"{float(norms.min()):.3g} to {float(norms.max()):.3g}"
        notes.append(f"decoder norms, {span}, are folded into the activations")
    if dead := int((norms == 0).sum()):
        notes.append(f"{dead} features have no decoder and are never active")
    return notes


def _check_precision(autoencoder: SparseAutoencoder) -> list[str]:
    notes = []
    for name, tensor in autoencoder.tensors().items():
        if not bool(tensor.isfinite().all()) or float(tensor.abs().max()) > FLOAT16_MAX:
            asked = "import an autoencoder"
            found = f"{name} has values that are not finite or beyond {FLOAT16_MAX:,.0f}"
            raise InvalidInputError(asked, found, "Scale it down, or check the program that wrote it.")
        error = float((tensor - tensor.half().float()).norm() / tensor.norm().clamp_min(1e-12))
        if error > FLOAT16_ERROR:
            notes.append(f"{name} loses {error:.1%} when it is saved as float16")
    return notes


# Formats ----------------------------------------------------------------------------------------------


def _is_format(path: Path, format: str) -> bool:
    if format == "sentence-transformers":
        return _csr_module(path)[0] is not None
    if format == "gemma-scope":
        return path.name in GEMMA_SCOPE or any((path / name).is_file() for name in GEMMA_SCOPE)
    if format not in FILES:
        is_torch = path.is_file() and path.suffix in TORCH_FILES
        return is_torch and TENSORS[format][1] in _state_dict(path)[0]
    return all((path / name).is_file() for name in FILES[format])


def _read_saelens(path: Path) -> ForeignAutoencoder:
    """Read as sae-lens 6 does; older configurations name the activation function instead."""
    given, weights = _json_object(path / FILES["saelens"][0]), FILES["saelens"][1]
    config = {"architecture": "standard", "normalize_activations": "none", **given}
    function = config.get("activation_fn_str", config.get("activation_fn", "relu"))
    settings = config.get("activation_fn_kwargs") or {}
    if function == "topk" and "k" in settings:
        config |= {"architecture": "topk", "k": settings["k"]}
    elif function not in ("relu", "topk"):
        config["architecture"] = f"{config['architecture']} with {function}"
    if (architecture := config["architecture"]) not in ARCHITECTURES:
        do = f"Import one of {', '.join(ARCHITECTURES)}; saeindex cannot compute other activations."
        _refuse(path, f"architecture {architecture!r}", do)
    if config.get("reshape_activations", "none") != "none":
        _refuse(path, f"reshaped activations ({config['reshape_activations']})", "Import one for embeddings.")
    if config.get("finetuning_scaling_factor"):
        _refuse(path, "a finetuning scaling factor", "Fold it into the decoder with SAELens first.")
    d, n = _count(path, config, "d_in"), _count(path, config, "d_sae")
    reads, scale, notes = _input_scale(path, config["normalize_activations"], d)
    tensors, is_batch = _safetensors(path / weights), architecture in BATCH_TOPK
    threshold, gates = None, list[str]()
    if is_batch or architecture == "jumprelu":
        gates = ["topk_threshold" if is_batch else "threshold"]
        threshold = _take(path, tensors, gates[0], () if is_batch else (n,)).expand(n).contiguous()
    elif architecture == "gated":
        gain, gate, size = (_take(path, tensors, name, (n,)) for name in ("r_mag", "b_gate", "b_mag"))
        threshold = size - gain.exp() * gate
        encoder = _take(path, tensors, "W_enc", (d, n)) * gain.exp()
        others = {name: one for name, one in tensors.items() if name not in ("r_mag", "b_gate", "b_mag")}
        tensors = {**others, "W_enc": encoder, "b_enc": size}
    hook = {**config, **(config.get("metadata") or {})}
    return ForeignAutoencoder(
        **_weights(path, tensors, "saelens", n, d, gates),
        k=_count(path, config, "k") if architecture == "topk" else None,
        activation="jumprelu" if threshold is not None else "topk" if architecture == "topk" else "relu",
        threshold=threshold,
        is_centred=bool(config.get("apply_b_dec_to_input", True)),
        is_scaled_by_norm=bool(config.get("rescale_acts_by_decoder_norm", is_batch)),
        input_scale=scale,
        reads=reads,
        model=str(hook.get("model_name") or ""),
        layer=_layer(hook.get("hook_name") or hook.get("hook_point")),
        notes=notes,
    )


def _layer(hook: Any) -> int | None:
    """Return after how many layers of a model a hook point is; None for one that is not between layers."""
    if (match := _HOOK.search(str(hook or ""))) is None:
        return None
    return int(match[1]) + (match[2] != "hook_resid_pre")


def _input_scale(path: Path, kind: Any, d: int) -> tuple[Scale, float, tuple[str, ...]]:
    """Return what is done to each input, and the factor on it then."""
    if kind in ("none", False, None):
        return "none", 1.0, ()
    if kind == "constant_norm_rescale":
        return "unit", d**0.5, ("inputs are rescaled to norm sqrt(d): folded in, exact for unit vectors",)
    if kind == "layer_norm":
        return "layer", (d - 1) ** 0.5, ()
    do = "Fold it into the weights with SAELens (its fold_activation_… methods), and save."
    kind = "expected_average_only_in" if kind is True else kind
    return _refuse(path, f"inputs are normalised by {kind!r}, with statistics that are not in the file", do)


def _read_sparsify(path: Path) -> ForeignAutoencoder:
    config_file, weights = FILES["sparsify"]
    config = {"expansion_factor": 32, **_json_object(path / config_file)}
    refused = [option for option in REFUSED_BY_SPARSIFY if config.get(option)]
    if config.get("activation", "topk") != "topk":
        refused.append(f"activation {config['activation']!r}")
    if refused:
        _refuse(path, f"{', '.join(refused)} set in {config_file}", "Import a plain TopK autoencoder.")
    d, has_width = _count(path, config, "d_in"), bool(config.get("num_latents"))
    n = _count(path, config, "num_latents" if has_width else "expansion_factor") * (1 if has_width else d)
    tensors = _weights(path, _safetensors(path / weights), "sparsify", n, d)
    return ForeignAutoencoder(**tensors, k=_count(path, config, "k"))


def _read_gemma_scope(path: Path) -> ForeignAutoencoder:
    """Read Gemma Scope 1 (``params.npz``) or 2 (``params.safetensors``): a JumpReLU, not centred."""
    there = [one for one in (path, *(path / name for name in GEMMA_SCOPE)) if one.is_file()]
    file = there[0] if there else path / GEMMA_SCOPE[0]
    tensors = _arrays(file) if file.suffix == ".npz" else _safetensors(file)
    tensors = {name.lower(): one for name, one in tensors.items()}
    d, n = tensors["w_enc"].shape if getattr(tensors.get("w_enc"), "ndim", 0) == 2 else (0, 0)
    threshold = _take(file, tensors, "threshold", (n,))
    config, place = file.parent / "config.json", str(file.parent)
    described = _json_object(config) if config.is_file() else {}
    if described.get("affine_connection") or "transcoder" in place:
        _refuse(file, "a transcoder, which reads other vectors than it writes", "Give one of `resid_post`.")
    layer = re.search(r"layer_(\d+)", place)
    return ForeignAutoencoder(
        **_weights(file, tensors, "gemma-scope", n, d, ["threshold"]),
        k=None,
        activation="jumprelu",
        threshold=threshold,
        is_centred=False,
        model=str(described.get("model_name", "")),
        layer=_layer(described.get("hf_hook_point_in")) or (int(layer[1]) + 1 if layer else None),
    )


def _read_llama_scope(path: Path) -> ForeignAutoencoder:
    """Read as sae-lens does: one threshold, which is scaled as the inputs are."""
    names = FILES["llama-scope"]
    config, tensors = _json_object(path / names[0]), _safetensors(path / names[1])
    d, n, norms = (
        _count(path, config, "d_model"),
        _count(path, config, "d_sae"),
        config.get("dataset_average_activation_norm"),
    )
    usual, threshold = (norms or {}).get("in"), config.get("jump_relu_threshold")
    if (
        config.get("act_fn") != "jumprelu"
        or not isinstance(usual, int | float)
        or not isinstance(threshold, int | float)
    ):
        _refuse(path, "no JumpReLU with a threshold and the average norm of its inputs", "Give such a one.")
    scale = d**0.5 / usual
    return ForeignAutoencoder(
        **_weights(path, tensors, "llama-scope", n, d),
        k=None,
        activation="jumprelu",
        threshold=torch.full((n,), threshold * scale),
        is_centred=False,
        input_scale=scale,
        model="meta-llama/Llama-3.1-8B",
        layer=_layer(config.get("hook_point_in")),
    )


def _read_goodfire(path: Path) -> ForeignAutoencoder:
    tensors, _ = _state_dict(path)
    n, d = tensors["encoder_linear.weight"].shape
    layer = re.search(r"^(.+)-SAE-l(\d+)", path.name)
    return ForeignAutoencoder(
        **_weights(path, tensors, "goodfire", n, d),
        k=None,
        activation="relu",
        is_centred=False,
        model=f"meta-llama/{layer[1]}" if layer else "",
        layer=int(layer[2]) + 1 if layer else None,
    )


def _read_saerch(path: Path) -> ForeignAutoencoder:
    """Read a checkpoint of saerch, or one of OpenAI, which says its activation and scales its inputs."""
    tensors, settings = _state_dict(path)
    for name in ("pre_bias", "latent_bias"):
        if name not in tensors or tensors[name].ndim != 1:
            needed = ", ".join(one.removesuffix(".T") for one in TENSORS["saerch"])
            _refuse(path, f"no vector {name!r}", f"A saerch checkpoint has {needed}.")
    n, match = len(tensors["latent_bias"]), SAERCH_NAME.match(path.name)
    k, d = int(match[1]) if match and int(match[2]) == n else None, len(tensors["pre_bias"])
    weights = _weights(path, tensors, "saerch", n, d, ["stats_last_nonzero"])
    if not settings:
        return ForeignAutoencoder(**weights, k=k)
    if (kind := settings["activation"]) not in ("TopK", "ReLU"):
        _refuse(path, f"activation {kind!r}", "Import one of TopK or ReLU.")
    is_topk, own = kind == "TopK", settings.get("activation_state_dict") or {}
    return ForeignAutoencoder(
        **weights,
        k=_count(path, own, "k") if is_topk else None,
        activation="topk" if is_topk else "relu",
        input_scale=(d - 1) ** 0.5 if is_topk else 1.0,
        reads="layer" if is_topk else "none",
    )


def _read_csr(path: Path) -> ForeignAutoencoder:
    """Read the ``SparseAutoEncoder`` module of sentence-transformers (CSR, arXiv 2503.01776)."""
    folder, notes = _csr_module(path)
    if folder is None:
        do = "Give its folder, or that of the model."
        _refuse(path, "no config.json of a SparseAutoEncoder module", do)
    config = _json_object(folder / "config.json")
    if config.get("normalize"):
        _refuse(folder, "normalize=True (layer norm on the inputs)", "Train it with normalize=False.")
    safe, unsafe = folder / "model.safetensors", folder / "pytorch_model.bin"
    tensors = _safetensors(safe) if safe.is_file() else _state_dict(unsafe)[0]
    if (tied := tensors.pop("decoder.linear.weight", None)) is not None:
        tensors.setdefault("encoder.weight", tied)
    d, n = _count(folder, config, "input_dim"), _count(folder, config, "hidden_dim")
    weights = _weights(folder, tensors, "sentence-transformers", n, d, ["stats_last_nonzero"])
    return ForeignAutoencoder(**weights, k=_count(folder, config, "k"), notes=notes)


def _csr_module(path: Path) -> tuple[Path | None, tuple[str, ...]]:
    """Return the module's folder, and a note if the model gives it vectors that are not unit vectors."""
    listed_in, config = path / "modules.json", path / "config.json"
    if not listed_in.is_file():
        is_module = config.is_file() and _json_object(config).keys() >= {"input_dim", "hidden_dim", "k"}
        return (path if is_module else None), ()
    try:
        listed = [(m["type"].rsplit(".", 1)[-1], m["path"]) for m in json.loads(listed_in.read_text())]
    except (ValueError, TypeError, KeyError, AttributeError):
        return None, ()
    kinds = [kind for kind, _ in listed]
    if "SparseAutoEncoder" not in kinds:
        return None, ()
    at = kinds.index("SparseAutoEncoder")
    notes = () if "Normalize" in kinds[:at] else ("it was made for vectors that are not scaled to norm 1",)
    folder: Path = path / listed[at][1]
    return (folder if folder.resolve().is_relative_to(path.resolve()) else None), notes


_READERS: dict[str, Callable[[Path], ForeignAutoencoder]] = {
    "saelens": _read_saelens,
    "sparsify": _read_sparsify,
    "gemma-scope": _read_gemma_scope,
    "llama-scope": _read_llama_scope,
    "goodfire": _read_goodfire,
    "saerch": _read_saerch,
    "sentence-transformers": _read_csr,
}
FORMATS = tuple(_READERS)


# Files ------------------------------------------------------------------------------------------------


def _refuse(
    path: Path, found: str, do: str = "Check the program that wrote it, or import another file."
) -> NoReturn:
    raise InvalidInputError(f"import {path}", found, do)


def _json_object(path: Path) -> dict[str, Any]:
    try:
        found = json.loads(path.read_text())
    except (OSError, ValueError) as error:
        _refuse(path, f"not readable JSON ({type(error).__name__})")
    if not isinstance(found, dict):
        _refuse(path, f"a JSON {type(found).__name__}, not an object")
    return found


def _count(path: Path, config: Mapping[str, Any], key: str) -> int:
    """Return a whole number of at least 1 from a configuration."""
    value = config.get(key)
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        _refuse(path, f"{key} is {value!r}, not a whole number of at least 1")
    return value


def _safetensors(path: Path) -> dict[str, Tensor]:
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    _check_size(path)
    try:
        tensors: dict[str, Tensor] = load_file(path)
    except (SafetensorError, OSError, ValueError) as error:
        _refuse(path, f"not a safetensors file ({error})")
    return tensors


def _state_dict(path: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Read tensors by name, and OpenAI's settings, from a ``torch.save`` file; nothing is unpickled."""
    _check_size(path)
    try:
        found = torch.load(path, map_location="cpu", weights_only=True)
    except (pickle.UnpicklingError, RuntimeError, EOFError, OSError, ValueError, KeyError) as error:
        do = "Save the state dict, or safetensors: files with Python objects are never loaded."
        _refuse(path, f"not a file of plain tensors ({type(error).__name__})", do)
    others = (
        [name for name, one in found.items() if not isinstance(one, Tensor)]
        if isinstance(found, Mapping)
        else [""]
    )
    if not set(others) <= set(OF_OPENAI):
        _refuse(path, "not a mapping of names to tensors", "Save only the state dict.")
    return {name: one for name, one in found.items() if name not in others}, {
        name: found[name] for name in others
    }


def _arrays(path: Path) -> dict[str, Tensor]:
    """Read the arrays of a ``.npz`` file; those of Python objects are refused."""
    _check_size(path)
    try:
        with np.load(path, allow_pickle=False) as file:
            return {name: torch.from_numpy(file[name]) for name in file.files}
    except (OSError, ValueError, TypeError, zipfile.BadZipFile) as error:
        _refuse(path, f"not a file of plain arrays ({type(error).__name__})")


def _check_size(path: Path) -> None:
    if not path.is_file():
        _refuse(path, "no such file")
    if path.stat().st_size > MAX_BYTES:
        _refuse(path, f"{path.stat().st_size:,} bytes", f"Import files of at most {MAX_BYTES:,} bytes.")


def _weights(
    path: Path, tensors: Mapping[str, Tensor], format: str, n: int, d: int, also: Collection[str] = ()
) -> dict[str, Any]:
    """Return the four parts of a format; others than these could change results, and are refused."""
    names = TENSORS[format]
    if unknown := sorted(tensors.keys() - {name.removesuffix(".T") for name in names} - set(also)):
        _refuse(path, f"tensors that this importer does not know: {', '.join(unknown)}")
    found = {}
    for part, name, shape in zip(PARTS, names, ((n, d), (n,), (n, d), (d,)), strict=True):
        if name.endswith(".T"):
            found[part] = _take(path, tensors, name.removesuffix(".T"), shape[::-1]).T.contiguous()
        else:
            found[part] = _take(path, tensors, name, shape)
    return found


def _take(path: Path, tensors: Mapping[str, Tensor], name: str, shape: tuple[int, ...]) -> Tensor:
    """Return a tensor of this shape in float32; a transposed tensor of the file is transposed."""
    if name not in tensors:
        _refuse(path, f"no tensor {name!r} among {', '.join(sorted(tensors)) or 'none'}")
    tensor = tensors[name]
    if tuple(tensor.shape) != shape and tuple(tensor.shape) == shape[::-1]:
        tensor = tensor.T
    if tuple(tensor.shape) != shape or not tensor.is_floating_point():
        _refuse(path, f"{name} is {tensor.dtype} of shape {tuple(tensor.shape)}, expected floats of {shape}")
    return tensor.float().contiguous()
