"""BERT's forward pass in torch, for batches of documents on any device."""

from __future__ import annotations

import threading
import warnings
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor
from torch.nn import functional as F

from saeindex.encoders.bert import WEIGHTS_FILE, BertConfig, layer_weights, tensor_pair


class BertEncoder:
    """Maps token ids (n, length) to token states (n, length, d).

    Weights and arithmetic are those of ``transformers.BertModel``, without the five seconds for importing
    sentence-transformers.
    """

    def __init__(self, folder: Path, config: BertConfig, dtype: torch.dtype, device: str) -> None:
        """Load the weights of ``folder`` in ``dtype`` onto ``device``."""
        from safetensors.torch import load_file

        self.config = config
        loaded = load_file(folder / WEIGHTS_FILE, device=device)
        weights = {
            name.removeprefix("bert."): w.to(dtype) for name, w in loaded.items() if w.is_floating_point()
        }
        self.words = weights["embeddings.word_embeddings.weight"]
        # The token type of a single text is always 0, so its embedding is added to every position.
        self.positions = (
            weights["embeddings.position_embeddings.weight"]
            + weights["embeddings.token_type_embeddings.weight"][0]
        )
        self.norm = tensor_pair(weights, "embeddings.LayerNorm")
        self.layers = [layer_weights(weights, i, torch.cat) for i in range(config.layers)]

    def __call__(self, ids: Tensor, mask: Tensor | None) -> Tensor:
        """Return the last layer's states; ``mask`` (n, length) is False for padding, None without padding."""
        (n, length), heads, eps = ids.shape, self.config.heads, self.config.eps
        states = F.embedding(ids, self.words) + self.positions[:length]
        width = states.shape[-1]
        states = F.layer_norm(states, (width,), *self.norm, eps)
        attend_to = None if mask is None else mask[:, None, None, :]
        for layer in self.layers:
            qkv = F.linear(states, *layer.qkv).view(n, length, 3, heads, width // heads)
            query, key, value = qkv.permute(2, 0, 3, 1, 4)
            mixed = F.scaled_dot_product_attention(query, key, value, attn_mask=attend_to)
            mixed = F.linear(mixed.transpose(1, 2).reshape(n, length, width), *layer.attended)
            states = F.layer_norm(states + mixed, (width,), *layer.attended_norm, eps)
            inner = F.gelu(F.linear(states, *layer.up), approximate=self.config.approximate)
            states = F.layer_norm(states + F.linear(inner, *layer.down), (width,), *layer.norm, eps)
        return states


class BertInOneCall:
    """What a :class:`BertEncoder` computes, bit for bit, as one call into torch for each shape of a batch.

    Python's threads take turns at each operation of torch. Beside threads that serve requests, 90 operations
    of a batch take 26 ms instead of 16.
    """

    def __init__(self, model: BertEncoder) -> None:
        """Take the model; it is traced with the first batch of each shape."""
        self._model = model
        self._traced: dict[torch.Size, Callable[[Tensor, Tensor], Tensor]] = {}
        self._lock = threading.Lock()

    def __call__(self, ids: Tensor, mask: Tensor) -> Tensor:
        """Return the last layer's states; ``mask`` (n, length) is False for padding."""
        with self._lock:
            if ids.shape not in self._traced:
                with warnings.catch_warnings():  # that shapes are fixed, as they shall be
                    warnings.simplefilter("ignore")
                    self._traced[ids.shape] = torch.jit.trace(  # type: ignore[no-untyped-call]
                        self._model.__call__, (ids, mask), check_trace=False
                    )
        return self._traced[ids.shape](ids, mask)
