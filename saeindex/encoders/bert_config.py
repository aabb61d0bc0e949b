"""BERT models with a forward pass in this package: their config.json, and their weights by name."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, Literal, Self, TypeVar

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


def read_config(path: Path, default: Any = None) -> Any:
    """Return the content of one of a model's JSON files; if there is none, ``default`` (None: {})."""
    return json.loads(path.read_text()) if path.is_file() else ({} if default is None else default)
