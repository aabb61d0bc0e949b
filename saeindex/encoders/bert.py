"""A BERT encoder's forward pass in plain torch, read straight from a sentence-transformers folder.

The same weights and the same arithmetic as ``transformers.BertModel``, without the five seconds that
importing sentence-transformers costs: a search from the command line starts in a third of the time.
A model that is not exactly BERT + mean or CLS pooling runs through sentence-transformers instead.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

SUPPORTED_ACTIVATIONS = {"gelu": "none", "gelu_new": "tanh", "gelu_pytorch_tanh": "tanh"}


@dataclass(frozen=True, slots=True)
class _Layer:
    qkv: tuple[Tensor, Tensor]
    attended: tuple[Tensor, Tensor]
    attended_norm: tuple[Tensor, Tensor]
    up: tuple[Tensor, Tensor]
    down: tuple[Tensor, Tensor]
    norm: tuple[Tensor, Tensor]


def runs_here(folder: Path, config: dict[str, Any]) -> bool:
    """Say whether this module computes the model in ``folder`` exactly (``config`` is its config.json)."""
    return (
        config.get("model_type") == "bert"
        and config.get("hidden_act") in SUPPORTED_ACTIVATIONS
        and config.get("position_embedding_type", "absolute") == "absolute"
        and not config.get("is_decoder", False)
        and (folder / "model.safetensors").is_file()
        and (folder / "tokenizer.json").is_file()
    )


class BertEncoder:
    """Token ids (n, length) in, token states (n, length, d) out."""

    def __init__(self, folder: Path, dtype: torch.dtype, device: str) -> None:
        """Load the weights of ``folder`` in ``dtype`` onto ``device``."""
        from safetensors.torch import load_file

        config = json.loads((folder / "config.json").read_text())
        self.heads: int = config["num_attention_heads"]
        self.eps: float = config["layer_norm_eps"]
        self.approximate = SUPPORTED_ACTIVATIONS[config["hidden_act"]]
        loaded = load_file(folder / "model.safetensors", device=device)
        self._weights = {
            name.removeprefix("bert."): w.to(dtype) for name, w in loaded.items() if w.is_floating_point()
        }
        self.words = self._weights["embeddings.word_embeddings.weight"]
        # Token type is always 0 for a single text, so its embedding is a constant of every position.
        self.positions = (
            self._weights["embeddings.position_embeddings.weight"]
            + self._weights["embeddings.token_type_embeddings.weight"][0]
        )
        self.embedding_norm = self._pair("embeddings.LayerNorm")
        self.layers = [self._layer(i) for i in range(config["num_hidden_layers"])]
        del self._weights

    def _pair(self, name: str) -> tuple[Tensor, Tensor]:
        return self._weights[f"{name}.weight"], self._weights[f"{name}.bias"]

    def _layer(self, i: int) -> _Layer:
        at = f"encoder.layer.{i}"
        query, key, value = (self._pair(f"{at}.attention.self.{x}") for x in ("query", "key", "value"))
        return _Layer(
            qkv=(torch.cat([query[0], key[0], value[0]]), torch.cat([query[1], key[1], value[1]])),
            attended=self._pair(f"{at}.attention.output.dense"),
            attended_norm=self._pair(f"{at}.attention.output.LayerNorm"),
            up=self._pair(f"{at}.intermediate.dense"),
            down=self._pair(f"{at}.output.dense"),
            norm=self._pair(f"{at}.output.LayerNorm"),
        )

    def __call__(self, ids: Tensor, mask: Tensor | None) -> Tensor:
        """Return the last layer's states; ``mask`` (n, length) is True on real tokens, None if all are."""
        n, length = ids.shape
        states = F.embedding(ids, self.words) + self.positions[:length]
        width = states.shape[-1]
        states = F.layer_norm(states, (width,), *self.embedding_norm, self.eps)
        attend_to = None if mask is None else mask[:, None, None, :]
        for layer in self.layers:
            qkv = F.linear(states, *layer.qkv).view(n, length, 3, self.heads, width // self.heads)
            query, key, value = qkv.permute(2, 0, 3, 1, 4)
            mixed = F.scaled_dot_product_attention(query, key, value, attn_mask=attend_to)
            mixed = F.linear(mixed.transpose(1, 2).reshape(n, length, width), *layer.attended)
            states = F.layer_norm(states + mixed, (width,), *layer.attended_norm, self.eps)
            inner = F.gelu(F.linear(states, *layer.up), approximate=self.approximate)
            states = F.layer_norm(states + F.linear(inner, *layer.down), (width,), *layer.norm, self.eps)
        return states
