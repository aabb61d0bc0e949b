"""Models of any architecture as sentence-transformers computes them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from saeindex.errors import InvalidInputError

if TYPE_CHECKING:
    import torch

    from saeindex.protocols import TokensSeen
    from saeindex.types import FloatArray

# The most texts of a batch, and the tokens of what has no limit.
LIBRARY_BATCH, NO_LIMIT = 32, 32_768


@contextmanager
def without_bars() -> Iterator[None]:
    """Do not show the bar of transformers for weights that are read from the disk."""
    from transformers.utils import logging

    if not logging.is_progress_bar_enabled():
        yield
        return
    logging.disable_progress_bar()  # type: ignore[no-untyped-call]
    try:
        yield
    finally:
        logging.enable_progress_bar()  # type: ignore[no-untyped-call]


class LibraryBackend:
    """The forward pass of sentence-transformers, for every other architecture."""

    def __init__(
        self,
        folder: Path,
        dtype: torch.dtype,
        device: str,
        max_length: int | None,
        trust_remote_code: bool = False,
    ) -> None:
        from sentence_transformers import SentenceTransformer

        self.device, self.dtype = device, dtype
        with without_bars():
            self._model = SentenceTransformer(
                str(folder), device=device, model_kwargs={"torch_dtype": dtype}, local_files_only=True,
                trust_remote_code=trust_remote_code,
            )  # fmt: skip
        self._tokenizer: Any = self._model.tokenizer
        if max_length is not None:
            longest = getattr(self._tokenizer, "model_max_length", NO_LIMIT)
            self._model.max_seq_length = checked_length(max_length, longest)
        self.max_length = int(min(self._model.max_seq_length or 512, NO_LIMIT))
        # The name until sentence-transformers 5; not every supported version has the new name.
        count = getattr(self._model, "get_embedding_dimension", None)
        self.dimension = int((count or self._model.get_sentence_embedding_dimension)() or 0)
        self.pooling = ",".join(type(module).__name__ for module in self._model)
        specials = getattr(self._tokenizer, "num_special_tokens_to_add", None)
        self.n_special = int(specials(False)) if specials else 0

    def encode(self, texts: Sequence[str], prompt: str, batch: int) -> FloatArray:
        """Return unit vectors (n, d) float32; the library knows whether the prompt is pooled."""
        found = self._model.encode(
            list(texts), prompt=prompt, batch_size=batch, normalize_embeddings=True, show_progress_bar=False
        )
        return np.asarray(found, np.float32)

    def read(self, texts: Sequence[str], prompt: str, n_prompt: int, seen: TokensSeen) -> FloatArray:
        """Return unit vectors (n, d) of texts, whose tokens ``seen`` gets, but those of the prompt."""
        import torch

        vectors = np.empty((len(texts), self.dimension), np.float32)
        specials = [*{*self._tokenizer.all_special_ids} - {self._tokenizer.unk_token_id}]
        order = sorted(range(len(texts)), key=lambda i: -len(texts[i]))
        for at in range(0, len(order), LIBRARY_BATCH):
            rows, parts = order[at : at + LIBRARY_BATCH], list[torch.Tensor]()
            found: Any = self._model.encode(
                [texts[row] for row in rows], prompt=prompt, batch_size=LIBRARY_BATCH, output_value=None,
                show_progress_bar=False,
            )  # fmt: skip
            for row, one in zip(rows, found, strict=True):
                if "token_embeddings" not in one:  # a static model
                    do = "Leave the reader out, or use a transformer."
                    raise InvalidInputError("a reader", "a model that gives no vectors of tokens", do)
                own = torch.nn.functional.normalize(one["sentence_embedding"].float(), dim=-1)
                vectors[row] = own.cpu().numpy()
                ids, tokens = one["input_ids"], one["token_embeddings"]
                is_special = torch.isin(ids, torch.tensor(specials, device=ids.device))
                is_own = (one["attention_mask"] > 0) & ~is_special
                parts.append(tokens[: len(ids)][is_own][n_prompt:])
            tokens = torch.nn.functional.normalize(torch.cat(parts).float(), dim=-1)
            seen(rows, tokens, [len(part) for part in parts])
        return vectors

    def token_spans(self, text: str) -> list[tuple[int, int]]:
        """Return the character span of each token, untruncated and without special ones."""
        if not callable(self._tokenizer):  # of the library tokenizers, as static models have it
            return list(self._tokenizer.encode(text, add_special_tokens=False).offsets)
        encoded = self._tokenizer(text, add_special_tokens=False, return_offsets_mapping=True)
        return list(encoded["offset_mapping"])


def checked_length(max_length: int, positions: int) -> int:
    """Return a length in tokens that a model has; InvalidInputError for another one."""
    if not 3 <= max_length <= positions:
        do = f"Choose 3 to {positions}."
        raise InvalidInputError(f"max_length={max_length}", f"the model has {positions} positions", do)
    return max_length
