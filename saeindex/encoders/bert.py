"""BERT models that this package computes: their config.json, their weights by name, and the pass in numpy.

Embedding a query in numpy takes less time than importing torch.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Generic, Literal, Self, TypeVar

import numpy as np

if TYPE_CHECKING:
    from saeindex.types import FloatArray

Array = TypeVar("Array")
ACTIVATIONS: dict[str, Literal["none", "tanh"]] = {
    "gelu": "none", "gelu_new": "tanh", "gelu_pytorch_tanh": "tanh",
}  # fmt: skip
WEIGHTS_FILE, CONFIG_FILE = "model.safetensors", "config.json"


@dataclass(frozen=True, slots=True)
class BertConfig:
    """The settings of the forward pass; ``approximate`` is the form of GELU ("none" is exact)."""

    layers: int
    heads: int
    dimension: int
    positions: int
    eps: float
    approximate: Literal["none", "tanh"]
    pad_id: int

    @classmethod
    def read(cls, folder: Path) -> Self:
        """Read the config.json of a model's folder."""
        config = read_config(folder / CONFIG_FILE)
        return cls(
            layers=config["num_hidden_layers"],
            heads=config["num_attention_heads"],
            dimension=config["hidden_size"],
            positions=config["max_position_embeddings"],
            eps=config["layer_norm_eps"],
            approximate=ACTIVATIONS[config["hidden_act"]],
            pad_id=config.get("pad_token_id") or 0,
        )

    @staticmethod
    def is_supported(folder: Path) -> bool:
        """Return whether this package computes the model in ``folder`` exactly."""
        config = read_config(folder / CONFIG_FILE)
        return (
            config.get("model_type") == "bert"
            and config.get("hidden_act") in ACTIVATIONS
            and config.get("position_embedding_type", "absolute") == "absolute"
            and not config.get("is_decoder", False)
            and (folder / WEIGHTS_FILE).is_file()
            and (folder / "tokenizer.json").is_file()
        )


@dataclass(frozen=True, slots=True)
class BertLayer(Generic[Array]):
    """The weights of one layer, each with its bias; query, key and value are one matrix."""

    qkv: tuple[Array, Array]
    attended: tuple[Array, Array]
    attended_norm: tuple[Array, Array]
    up: tuple[Array, Array]
    down: tuple[Array, Array]
    norm: tuple[Array, Array]


def layer_weights(weights: Mapping[str, Array], number: int, concatenate: Any) -> BertLayer[Array]:
    """Return the weights of a layer by their names in the file; ``concatenate`` joins a list of arrays."""

    def pair(name: str) -> tuple[Array, Array]:
        return tensor_pair(weights, f"encoder.layer.{number}.{name}")

    parts = [pair(f"attention.self.{name}") for name in ("query", "key", "value")]
    return BertLayer(
        qkv=(concatenate([part[0] for part in parts]), concatenate([part[1] for part in parts])),
        attended=pair("attention.output.dense"),
        attended_norm=pair("attention.output.LayerNorm"),
        up=pair("intermediate.dense"),
        down=pair("output.dense"),
        norm=pair("output.LayerNorm"),
    )


def tensor_pair(weights: Mapping[str, Array], name: str) -> tuple[Array, Array]:
    """Return a weight and its bias."""
    return weights[f"{name}.weight"], weights[f"{name}.bias"]


def read_config(path: Path) -> Any:
    """Return the content of one of a model's JSON files; {} if there is none."""
    return json.loads(path.read_text()) if path.is_file() else {}


# erf(x) = 1 - (a1 t + … + a5 t⁵) exp(-x²) with t = 1 / (1 + p x), x >= 0: Abramowitz and Stegun 1964, 7.1.26.
# The error is at most 1.5e-7, about the precision of float32.
ERF_P = 0.3275911
ERF_A = (0.254829592, -0.284496736, 1.421413741, -1.453152027, 1.061405429)


class BertInNumpy:
    """Maps the token ids of one text to its token states (length, d) float32, like :class:`BertEncoder`."""

    def __init__(self, folder: Path, config: BertConfig) -> None:
        """Load the weights of ``folder``."""
        from safetensors.numpy import load_file

        self.config = config
        weights = {
            name.removeprefix("bert."): w.astype(np.float32, copy=False)
            for name, w in load_file(folder / WEIGHTS_FILE).items()
            if w.dtype.kind == "f"
        }
        self._words: FloatArray = weights["embeddings.word_embeddings.weight"]
        self._positions: FloatArray = (
            weights["embeddings.position_embeddings.weight"]
            + weights["embeddings.token_type_embeddings.weight"][0]
        )
        self._norm = tensor_pair(weights, "embeddings.LayerNorm")
        self._layers = [layer_weights(weights, i, np.concatenate) for i in range(config.layers)]

    def __call__(self, ids: Sequence[int]) -> FloatArray:
        """Return the last layer's states of a text's tokens."""
        length, heads, eps = len(ids), self.config.heads, self.config.eps
        states = self._words[list(ids)] + self._positions[:length]
        width = states.shape[1]
        states = _layer_norm(states, *self._norm, eps)
        for layer in self._layers:
            qkv = _linear(states, *layer.qkv).reshape(length, 3, heads, width // heads)
            query, key, value = qkv.transpose(1, 2, 0, 3)
            scores = _softmax(query @ key.transpose(0, 2, 1) / np.float32(np.sqrt(width // heads)))
            mixed = _linear((scores @ value).transpose(1, 0, 2).reshape(length, width), *layer.attended)
            states = _layer_norm(states + mixed, *layer.attended_norm, eps)
            inner = _gelu(_linear(states, *layer.up), self.config.approximate)
            states = _layer_norm(states + _linear(inner, *layer.down), *layer.norm, eps)
        return states


def _linear(x: FloatArray, weight: FloatArray, bias: FloatArray) -> FloatArray:
    return np.asarray(x @ weight.T + bias, np.float32)


def _layer_norm(x: FloatArray, weight: FloatArray, bias: FloatArray, eps: float) -> FloatArray:
    centred = x - x.mean(1, keepdims=True)
    scale = 1 / np.sqrt(np.square(centred).mean(1, keepdims=True) + np.float32(eps))
    return np.asarray(centred * scale * weight + bias, np.float32)


def _softmax(scores: FloatArray) -> FloatArray:
    weights = np.exp(scores - scores.max(-1, keepdims=True))
    return np.asarray(weights / weights.sum(-1, keepdims=True), np.float32)


def _gelu(x: FloatArray, approximate: str) -> FloatArray:
    """Return x Φ(x), with Φ of the normal distribution or its tanh form (Hendrycks and Gimpel 2016)."""
    if approximate == "tanh":
        inner = np.tanh(np.float32(np.sqrt(2 / np.pi)) * (x + np.float32(0.044715) * x**3))
    else:
        inner = _erf(x * np.float32(np.sqrt(0.5)))
    return np.asarray(np.float32(0.5) * x * (1 + inner), np.float32)


def _erf(x: FloatArray) -> FloatArray:
    size = np.abs(x)
    t = 1 / (1 + np.float32(ERF_P) * size)
    series = np.zeros_like(t)
    for a in reversed(ERF_A):
        series = (series + np.float32(a)) * t
    return np.asarray(np.copysign(1 - series * np.exp(-size * size), x), np.float32)
