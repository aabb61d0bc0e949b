"""Fitting a reader: an autoencoder of the tokens of texts, and what its features weigh."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from saeindex.features.calibration import Calibration
from saeindex.features.fitting import train_and_measure
from saeindex.features.reader_space import ReaderSpace, tokens_of
from saeindex.sae.pooling import Pooling

if TYPE_CHECKING:
    from torch import Tensor

    from saeindex.protocols import EncoderIdentity, TextEncoder, TokenReader
    from saeindex.sae.autoencoder import SparseAutoencoder
    from saeindex.sae.train import TrainingStatus
    from saeindex.sae.training_config import TrainingConfig
    from saeindex.types import FloatArray

# Texts that are read at once, and tokens that a space is fitted on, at most: 1.5 GB at 384 dimensions.
READ_AT_ONCE, MOST_TOKENS = 2_048, 2_000_000


def fit_reader(
    texts: Sequence[str],
    encoder: TextEncoder,
    config: TrainingConfig,
    *,
    name: str = "tokens",
    most: int = 256,
    most_tokens: int = MOST_TOKENS,
    checkpoint: Path | None = None,
    progress: Callable[[TrainingStatus], None] | None = None,
) -> ReaderSpace:
    """Fit a space to the tokens of texts, up to ``most_tokens`` of them, which are on disk meanwhile.

    ``config`` is best of ``selection="batchtopk"``, whose threshold needs no ranking of the features of each
    token. An interrupted fit goes on from its ``checkpoint`` when it is called again.

    Raises:
        InvalidInputError: the encoder gives no tokens, or the texts have fewer than features.
    """
    reader, size = tokens_of(encoder), encoder.identity.dimension
    lengths, total = list[int](), 0
    with tempfile.TemporaryFile() as file:
        for at in range(0, len(texts), READ_AT_ONCE):
            for own in _tokens(reader, texts[at : at + READ_AT_ONCE]):
                kept = own[: most_tokens - total]
                file.write(kept.tobytes())
                lengths.append(len(kept))
                total += len(kept)
            if total >= most_tokens:
                break
        file.flush()
        config.check(total)
        x: Any = np.memmap(file, np.float16, "r", shape=(total, size))
        owners = np.repeat(np.arange(len(lengths)), lengths)
        sae, report = train_and_measure(x, config, groups=owners, checkpoint=checkpoint, progress=progress)
        return _measured(name, encoder.identity, sae.half(), most, x, lengths, report)


def _tokens(reader: TokenReader, texts: Sequence[str]) -> list[Any]:
    """Return the tokens (t, d) of each text in half precision."""
    found: list[Any] = [None] * len(texts)

    def seen(rows: Sequence[int], tokens: Tensor, counts: Sequence[int]) -> None:
        own, ends = tokens.half().cpu().numpy(), np.cumsum([0, *counts])
        for row, start, end in zip(rows, ends, ends[1:], strict=False):
            found[row] = own[start:end]

    reader.read_document(texts, seen)
    return found


def _measured(
    name: str,
    encoder: EncoderIdentity,
    sae: SparseAutoencoder,
    most: int,
    x: FloatArray,
    lengths: Sequence[int],
    report: dict[str, Any],
) -> ReaderSpace:
    """Return a space with the lengths and levels of the texts of tokens ``x`` (t, d)."""
    import torch

    pooling, ends, n = Pooling(sae, len(lengths)), np.cumsum([0, *lengths]), sae.n_features
    for at in range(0, len(lengths), READ_AT_ONCE):
        rows = range(at, min(at + READ_AT_ONCE, len(lengths)))
        tokens = torch.from_numpy(np.asarray(x[ends[at] : ends[rows.stop]], np.float32))
        pooling.add(rows, tokens, lengths[at : rows.stop])
    code = pooling.codes()
    density = (np.bincount(code.indices, minlength=n) / max(1, len(code))).astype(np.float32)
    never = np.full(n, np.inf, np.float32)
    first = Calibration(len(code), density, never, never)
    bare = ReaderSpace(name, encoder, sae, most, float(np.mean(lengths)), first, report)
    levels = Calibration.measure(bare.weighed(code, pooling.lengths))
    return replace(bare, calibration=replace(levels, density=density))
