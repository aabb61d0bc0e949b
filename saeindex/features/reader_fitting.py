"""Fitting a reader: an autoencoder of the tokens of texts, and what its features weigh."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from saeindex.config import CAUSAL
from saeindex.encoders import open_encoder
from saeindex.errors import MismatchError
from saeindex.features.calibration import Calibration
from saeindex.features.fitting import train_and_measure
from saeindex.features.labelling import LABELLED_SHARE, refreshed, split_texts
from saeindex.features.reader_space import ReaderSpace, tokens_of
from saeindex.features.token_labels import TokenWords, measured, named_by_words
from saeindex.features.trust import MAX_ACTIVE, contrast_sets
from saeindex.sae.autoencoder import SparseAutoencoder
from saeindex.sae.pooling import Pool, Pooling
from saeindex.sae.training_config import TrainingConfig
from saeindex.types import SparseCode

if TYPE_CHECKING:
    from torch import Tensor

    from saeindex.protocols import TextEncoder, TokenReader
    from saeindex.sae.train import TrainingStatus
    from saeindex.types import FloatArray

# Texts that are read at once, and tokens that a space is fitted on, at most: 1.5 GB at 384 dimensions.
READ_AT_ONCE, MOST_TOKENS = 2_048, 2_000_000
# A feature of tokens has some activation in many texts, and means one thing in those that have most: the
# quantiles of its weights from which on it is typical, and strong. By its name a text of the highest tenth is
# told from others with an AUROC of .83, one of the higher half with .73.
LEVELS = 0.9, 0.97
# Texts that a feature is typical of, at least, for its name to be measured.
LEAST_TYPICAL = 20


def fit_reader(
    texts: Sequence[str],
    encoder: TextEncoder,
    config: TrainingConfig | SparseAutoencoder,
    *,
    name: str = "tokens",
    most: int = 256,
    pool: Pool | None = None,
    namer: TextEncoder | None = None,
    most_tokens: int = MOST_TOKENS,
    checkpoint: Path | None = None,
    progress: Callable[[TrainingStatus], None] | None = None,
) -> ReaderSpace:
    """Fit a space to the tokens of texts, up to ``most_tokens`` of them, which are on disk meanwhile.

    ``pool`` is by default the greatest activation of a language model, and the sum of another encoder. The
    features of a language model are named by the vectors of ``namer``, by default the default encoder.

    An autoencoder in the place of ``config`` is taken as it is, and gets levels and names. A ``config`` is
    best of ``selection="batchtopk"``, whose threshold needs no ranking of the features of each token. An
    interrupted fit goes on from its ``checkpoint`` when it is called again.

    Raises:
        InvalidInputError: the encoder gives no tokens, or the texts have fewer than features.
        MismatchError: the autoencoder is of other dimensions than the tokens.
    """
    reader, size = tokens_of(encoder), encoder.identity.dimension
    if isinstance(config, SparseAutoencoder) and config.dimension != size:
        asked = f"an autoencoder of {config.dimension} dimensions with {encoder.identity.model!r}"
        raise MismatchError(asked, f"its tokens have {size}", "Name the model that it was trained on.")
    lengths, vectors, total = list[int](), list[Any](), 0
    with tempfile.TemporaryFile() as file:
        for at in range(0, len(texts), READ_AT_ONCE):
            found, tokens = _tokens(reader, texts[at : at + READ_AT_ONCE])
            vectors.append(found)
            for own in tokens:
                kept = own[: most_tokens - total]
                file.write(kept.tobytes())
                lengths.append(len(kept))
                total += len(kept)
            if total >= most_tokens:
                break
        file.flush()
        if isinstance(config, TrainingConfig):
            config.check(total)
        x: Any = np.memmap(file, np.float16, "r", shape=(total, size))
        owners = np.repeat(np.arange(len(lengths)), lengths)
        if isinstance(config, SparseAutoencoder):
            sae, report = config, {"texts": len(lengths)}
        else:
            follow: Any = {"checkpoint": checkpoint, "progress": progress}
            sae, report = train_and_measure(x, config, groups=owners, **follow)
        bare = ReaderSpace.unlabelled(sae, encoder.identity, name=name, report=report)
        is_causal = encoder.identity.kind == CAUSAL
        bare = replace(bare, most=most, pool=pool or ("max" if is_causal else "sum"))
        read, own = texts[: len(lengths)], np.concatenate(vectors)
        if is_causal:
            encoder = namer or open_encoder()
            own = encoder.encode_document(read)
        return annotated(bare, reader, encoder, read, own, x, lengths)


def annotated(
    bare: ReaderSpace,
    reader: TokenReader,
    encoder: TextEncoder,
    texts: Sequence[str],
    vectors: FloatArray,
    x: FloatArray,
    lengths: Sequence[int],
) -> ReaderSpace:
    """Return the space with levels and names, of texts whose tokens are ``x`` (t, D) by the ``reader``.

    ``vectors`` (m, d) of the texts are the encoder's, as are those of the names then.
    """
    code, levelled = _measured(replace(bare, length=float(np.mean(lengths))), x, lengths)
    words, levels = TokenWords(texts, reader.token_spans, lengths), levelled.calibration
    shown, unseen = split_texts(len(texts), None, LABELLED_SHARE, 0)
    labels = named_by_words(levelled.sae, x, words, shown)
    distinct = [*dict.fromkeys(label.text for label in labels)]
    named = dict(zip(distinct, encoder.encode_query(distinct).astype(np.float16), strict=True))
    label_vectors = np.stack([named[label.text] for label in labels]).astype(np.float32)
    has = code.to_csr()[unseen]
    has.data[has.data < levels.median[has.indices]] = 0.0
    has.eliminate_zeros()
    typical = SparseCode(has.indptr.astype(np.int64), has.indices, has.data, code.n_features)
    contrasts = contrast_sets(vectors[unseen], typical, levels, MAX_ACTIVE, least=LEAST_TYPICAL)
    counts = words.counts(len(texts))[unseen]
    labels = measured(labels, label_vectors, counts, words.names, vectors[unseen], contrasts)
    report = {**levelled.report, "named_by": encoder.identity.digest}
    space = replace(levelled, labels=tuple(labels), label_vectors=label_vectors, report=report)
    return refreshed(space)


def _tokens(reader: TokenReader, texts: Sequence[str]) -> tuple[FloatArray, list[Any]]:
    """Return the vectors of texts (n, d), and the tokens (t, d) of each in half precision."""
    found: list[Any] = [None] * len(texts)

    def seen(rows: Sequence[int], tokens: Tensor, counts: Sequence[int]) -> None:
        own, ends = tokens.half().cpu().numpy(), np.cumsum([0, *counts])
        for row, start, end in zip(rows, ends, ends[1:], strict=False):
            found[row] = own[start:end]

    return reader.read_document(texts, seen), found


def _measured(bare: ReaderSpace, x: FloatArray, lengths: Sequence[int]) -> tuple[SparseCode, ReaderSpace]:
    """Return the codes of the texts of tokens ``x`` (t, d), and the space with their levels."""
    import torch

    pooling, ends, n = Pooling(bare.sae, len(lengths), bare.pool), np.cumsum([0, *lengths]), bare.n_features
    for at in range(0, len(lengths), READ_AT_ONCE):
        rows = range(at, min(at + READ_AT_ONCE, len(lengths)))
        tokens = torch.from_numpy(np.asarray(x[ends[at] : ends[rows.stop]], np.float32))
        pooling.add(rows, tokens, lengths[at : rows.stop])
    code = pooling.codes()
    density = (np.bincount(code.indices, minlength=n) / max(1, len(code))).astype(np.float32)
    first = replace(bare, calibration=replace(bare.calibration, records=len(code), density=density))
    weighed = first.weighed(code, pooling.lengths)
    levels = Calibration.measure(weighed, quantiles=LEVELS)
    return weighed, replace(first, calibration=replace(levels, density=density))
