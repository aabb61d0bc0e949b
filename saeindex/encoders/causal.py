"""Causal language models of Hugging Face as readers: the residual stream at the tokens of texts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any
from weakref import WeakValueDictionary

import numpy as np

from saeindex.config import CAUSAL
from saeindex.devices import choose_device, choose_dtype
from saeindex.encoders.library import without_bars
from saeindex.encoders.sentence_transformers import model_hash, place_of, remember
from saeindex.errors import EncoderError, InvalidInputError
from saeindex.protocols import EncoderIdentity
from saeindex.schema import check_texts

if TYPE_CHECKING:
    import torch

    from saeindex.protocols import TokensSeen
    from saeindex.types import FloatArray, Scale

# Tokens of a padded batch, on a CPU and on a GPU, and of a text that is read, if nothing else is said.
BATCH_TOKENS, MAX_LENGTH = (4_096, 65_536), 1_024
GGUF = ".gguf"
_IN_USE: WeakValueDictionary[str, CausalReader] = WeakValueDictionary()


class CausalReader:
    """What a causal language model has at each token of a text after ``layer`` of its layers.

    Layers above it are not loaded into the pass. A token that begins texts is put in front where the model
    has one, and is not among what is read. ``scale`` says what is done to the vectors: "unit" makes their
    lengths 1, "layer" takes their means off, too, "none" leaves them. The vector of a text is the mean of its
    tokens. Longer texts are truncated to ``max_length`` tokens.
    """

    def __init__(
        self,
        model: str | Path,
        layer: int,
        *,
        scale: Scale = "unit",
        max_length: int | None = None,
        precision: str = "auto",
        device: str = "auto",
        batch_tokens: int | None = None,
        revision: str | None = None,
        trust_remote_code: bool = False,
        model_kwargs: Mapping[str, Any] | None = None,
    ) -> None:
        """Load the first ``layer`` layers of a model of the hub, of a folder, or of a ``.gguf`` file.

        ``model_kwargs`` are those of ``from_pretrained``, such as ``device_map`` or ``attn_implementation``.

        Raises:
            EncoderError: there is no such model, or it is none of transformers.
            InvalidInputError: it has fewer layers, or reads fewer tokens.
        """
        from transformers import AutoModelForCausalLM, AutoTokenizer

        self.device = choose_device(device)
        self.dtype: torch.dtype = choose_dtype(precision, self.device)
        place = Path(model).expanduser()
        source, name = (str(place.parent), place.name) if place.suffix == GGUF else (str(model), "")
        given: dict[str, Any] = {"revision": revision, "trust_remote_code": trust_remote_code}
        given |= {"gguf_file": name} if name else {}
        try:
            with without_bars():
                self._tokenizer: Any = AutoTokenizer.from_pretrained(source, **given)
                whole: Any = AutoModelForCausalLM.from_pretrained(
                    source, dtype=self.dtype, **{**given, **(model_kwargs or {})}
                )
        except (OSError, ValueError, ImportError) as error:
            found = f"{type(error).__name__}: {str(error).splitlines()[0]:.200}"
            raise EncoderError(f"language model {str(model)!r:.120}", found, "Correct its name.") from error
        layers = layers_of(whole)
        if not 1 <= layer <= len(layers):
            do = f"Use 1 to {len(layers)}."
            raise InvalidInputError(f"layer={layer}", f"the model has {len(layers)} layers", do)
        del layers[layer:]
        self._model: Any = whole.base_model.eval()
        if "device_map" not in (model_kwargs or {}):
            self._model.to(self.device)
        self._last = layers[-1]
        longest = int(getattr(whole.config, "max_position_embeddings", 0) or MAX_LENGTH)
        self.max_length = min(longest, MAX_LENGTH) if max_length is None else max_length
        if not 1 <= self.max_length <= longest:
            do = f"Choose 1 to {longest}."
            raise InvalidInputError(f"max_length={max_length}", f"the model has {longest} positions", do)
        self._batch_tokens, self._scale = batch_tokens or BATCH_TOKENS[self.device != "cpu"], scale
        folder = Path(source) if Path(source).is_dir() else Path(_snapshot(source, revision))
        digest = model_hash(folder)
        if Path(source).is_dir():
            remember(digest, place)
        self.identity = EncoderIdentity(
            kind=CAUSAL,
            model=place.stem if name else Path(source).name if Path(source).is_dir() else source,
            revision=digest,
            dimension=int(whole.config.hidden_size),
            max_length=self.max_length,
            pooling=f"layer {layer}, {scale}",
            normalized=scale == "unit",
        )
        _IN_USE[self.identity.digest] = self

    @property
    def max_tokens(self) -> int:
        """The number of tokens of a text that are read."""
        return self.max_length - len(self._begin)

    @cached_property
    def _begin(self) -> list[int]:
        """The token that begins texts, if the model has one."""
        first = self._tokenizer.bos_token_id
        return [] if first is None else [first]

    def token_spans(self, text: str) -> Sequence[tuple[int, int]]:
        """Return the character span of each token of ``text``, untruncated and without special tokens."""
        encoded = self._tokenizer(text, add_special_tokens=False, return_offsets_mapping=True, verbose=False)
        return list(encoded["offset_mapping"])

    def encode_document(self, texts: Sequence[str]) -> FloatArray:
        """Return the unit means (n, d) float32 of the tokens of texts."""
        return self.read_document(texts, lambda *_: None)

    def encode_query(self, texts: Sequence[str]) -> FloatArray:
        """Return what :meth:`encode_document` does: there are no prompts."""
        return self.encode_document(texts)

    def read_query(self, text: str) -> FloatArray:
        """Return the vectors (t, d) float32 of the tokens of a text."""
        found: list[FloatArray] = []
        self.read_document([text], lambda _, tokens, __: found.append(tokens.cpu().numpy()))
        return found[0]

    def read_document(self, texts: Sequence[str], seen: TokensSeen) -> FloatArray:
        """See :class:`~saeindex.protocols.TokenReader`."""
        import torch

        check_texts(texts)
        encoded = self._tokenizer(list(texts), add_special_tokens=False, verbose=False) if texts else None
        ids = [[*self._begin, *own[: self.max_tokens]] for own in encoded["input_ids"]] if encoded else []
        vectors = np.zeros((len(texts), self.identity.dimension), np.float32)
        order, at = sorted(range(len(texts)), key=lambda row: -len(ids[row])), 0
        with torch.inference_mode():
            while at < len(order):
                size = max(1, self._batch_tokens // max(1, len(ids[order[at]])))
                rows = order[at : at + size]
                at += size
                counts = [len(ids[row]) - len(self._begin) for row in rows]
                tokens = self._states([ids[row] for row in rows], counts)
                seen(rows, tokens, counts)
                owners = torch.repeat_interleave(torch.tensor(counts, device=tokens.device))
                sums = torch.zeros(len(rows), tokens.shape[1], device=tokens.device)
                means = torch.nn.functional.normalize(sums.index_add_(0, owners, tokens), dim=-1)
                vectors[rows] = means.cpu().numpy()
        if not np.isfinite(vectors).all():
            found, do = f"vectors with NaN or infinity, in {self.dtype}", "Try precision='fp32'."
            raise EncoderError(f"read {len(texts)} texts with {self.identity.model}", found, do)
        return vectors

    def _states(self, ids: Sequence[Sequence[int]], counts: Sequence[int]) -> torch.Tensor:
        """Return the vectors (t, d) float32 of the tokens of texts, one text after the other."""
        import torch

        longest, dimension = len(ids[0]), self.identity.dimension
        if not longest:
            return torch.zeros(0, dimension)
        device = self._model.get_input_embeddings().weight.device
        padded, mask = torch.zeros(2, len(ids), longest, dtype=torch.long)
        for row, own in enumerate(ids):
            padded[row, : len(own)], mask[row, : len(own)] = torch.tensor(own, dtype=torch.long), 1
        caught: list[torch.Tensor] = []

        def catch(_: object, __: object, output: Any) -> None:
            caught.append(output[0] if isinstance(output, tuple) else output)

        hook = self._last.register_forward_hook(catch)
        try:
            self._model(input_ids=padded.to(device), attention_mask=mask.to(device), use_cache=False)
        finally:
            hook.remove()
        first = len(self._begin)
        is_own = torch.arange(longest - first)[None] < torch.tensor(counts)[:, None]
        found = caught[0][:, first:].float()[is_own.to(caught[0].device)]
        if self._scale == "none":
            return found
        centred = found - found.mean(-1, keepdim=True) if self._scale == "layer" else found
        return torch.nn.functional.normalize(centred, dim=-1)


def reader_of(identity: EncoderIdentity, **options: Any) -> CausalReader:
    """Open the language model of an identity; one that is in use is not loaded again."""
    layer, scale = identity.pooling.removeprefix("layer ").split(", ")
    if not options and (known := _IN_USE.get(identity.digest)) is not None:
        return known
    own: Any = {"scale": scale, "max_length": identity.max_length, **options}
    found = CausalReader(place_of(identity), int(layer), **own)
    if differing := identity.differences(found.identity):
        do = "Give the folder of that model as it was."
        raise EncoderError(f"language model {identity.model!r}", f"another {', '.join(differing)}", do)
    return found


def name_and_layer(given: str) -> tuple[str, int | None]:
    """Return the parts of NAME:LAYER; of a name alone no layer."""
    name, _, layer = given.rpartition(":")
    return (name, int(layer)) if name and layer.isdecimal() else (given, None)


def layers_of(model: Any) -> Any:
    """Return the list of the layers of a model: the list of modules that is least deep in it."""
    import torch

    every = model.base_model.named_modules()
    lists = {name: one for name, one in every if isinstance(one, torch.nn.ModuleList)}
    if not lists:
        found, do = f"{type(model).__name__}, which has no list of layers", "Give a decoder of transformers."
        raise InvalidInputError("a language model", found, do)
    return lists[min(lists, key=lambda name: name.count("."))]


def _snapshot(name: str, revision: str | None) -> str:
    from huggingface_hub import snapshot_download

    return snapshot_download(name, revision=revision, local_files_only=True)
