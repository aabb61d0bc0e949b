"""Fitting a feature space: views, embeddings, a split by document, training, and measuring the fit."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from saeindex.encoders.cache import EmbeddingCache
from saeindex.errors import InvalidInputError
from saeindex.language.speech import sentence_spans
from saeindex.sae.batches import sample
from saeindex.sae.metrics import fidelity
from saeindex.sae.train import TrainingStatus, train
from saeindex.types import Record

if TYPE_CHECKING:
    from saeindex.features.anchors import Anchors
    from saeindex.protocols import TextEncoder
    from saeindex.sae.autoencoder import SparseAutoencoder
    from saeindex.sae.training_config import TrainingConfig
    from saeindex.types import FloatArray, Ints

HELD_OUT_SHARE = 0.1
# Held-out texts that validate the training; texts for calibration, labels and measurements.
VALIDATION_TEXTS, ANNOTATED_TEXTS = 4_096, 300_000
# Texts on which the features of two spaces are matched.
MAPPED_TEXTS = 20_000
KINDS = ("whole", "sentence", "window", "title")
MIN_CHARS = 20


@dataclass(frozen=True, slots=True)
class Split:
    """Rows (m,) for training, for validation during training, and for the final test."""

    kept: Ints
    validation: Ints
    held_out: Ints


def split_by_group(groups: Ints, seed: int) -> Split:
    """Hold out a tenth of the groups (m,), so that no document is on both sides; half of it validates."""
    members = np.unique(groups)
    order = np.random.default_rng(seed).permutation(members)
    n = int(len(members) * HELD_OUT_SHARE)
    is_held_out, is_validation = np.isin(groups, order[:n]), np.isin(groups, order[: n // 2])
    validation = np.flatnonzero(is_validation)[:VALIDATION_TEXTS]
    return Split(np.flatnonzero(~is_held_out), validation, np.flatnonzero(is_held_out & ~is_validation))


def training_embeddings(
    texts: Sequence[str], encoder: TextEncoder, embeddings: FloatArray | None
) -> FloatArray:
    """Return ``embeddings`` (m, d) if given and of the right shape, else encode the texts (cached)."""
    x = EmbeddingCache().embed(texts, encoder) if embeddings is None else embeddings
    if x.shape != (len(texts), encoder.identity.dimension):
        do = "Give one row for each text."
        raise InvalidInputError(f"fit on {len(texts)} texts", f"embeddings of shape {x.shape}", do)
    return x


def train_and_measure(
    x: FloatArray,
    config: TrainingConfig,
    *,
    groups: Ints | None = None,
    anchors: Anchors | None = None,
    aims: FloatArray | None = None,
    faithful: bool = False,
    start: SparseAutoencoder | None = None,
    checkpoint: Path | None = None,
    progress: Callable[[TrainingStatus], None] | None = None,
) -> tuple[SparseAutoencoder, dict[str, Any]]:
    """Return an autoencoder trained on ``x`` (m, d), and its report on the held-out rows.

    Free features are drawn towards ``aims``, see :func:`saeindex.sae.train.train`.
    """
    groups = np.arange(len(x)) if groups is None else groups
    split = split_by_group(groups, config.seed)
    last: list[TrainingStatus] = []

    def follow(status: TrainingStatus) -> None:
        last[:] = [status]
        if progress is not None:
            progress(status)

    steering = x[split.validation]
    sae = train(
        x,
        config,
        follow,
        rows=split.kept,
        held_out=steering,
        anchors=None if anchors is None else anchors.directions,
        shares=None if anchors is None else anchors.shares,
        aims=aims,
        start=start,
        checkpoint=checkpoint,
    )
    sae = sae.faithful() if faithful else sae
    settings = asdict(config) | {"prefixes": list(config.prefixes)}
    report: dict[str, Any] = {
        "training": settings | {"steps_done": last[-1].step if last else 0},
        "texts": len(split.kept),
        "held_out_texts": len(split.held_out),
        "dead_share": last[-1].dead_share if last else None,
        "held_out": {},
    }
    if len(split.held_out):
        fit_mean = sample(x, ANNOTATED_TEXTS, config.seed).mean(0)
        report["held_out"] = fidelity(sae.half(), x[split.held_out[:ANNOTATED_TEXTS]], fit_mean)
        report["fitted_nmse"] = fidelity(sae.half(), x[split.kept[: len(split.held_out)]], fit_mean)["nmse"]
    return sae, report


def draw_views(
    records: Iterable[Record | str], kinds: Sequence[str] = ("whole",), seed: int = 0
) -> tuple[list[str], Ints]:
    """Return the views of every record, and the number of each view's record (m,).

    ``whole`` is the text, ``sentence`` a random sentence, ``window`` two consecutive sentences, ``title``
    the metadata field of that name. A view that a record lacks, or that equals its text, is left out.
    """
    unknown = set(kinds) - set(KINDS)
    if unknown or not kinds:
        raise InvalidInputError(f"views {sorted(unknown)}", "no such views", f"Use some of {KINDS}.")
    rng = random.Random(seed)  # noqa: S311  (no secret)
    views, owners = [], []
    for owner, entry in enumerate(records):
        record = Record("", entry) if isinstance(entry, str) else entry
        for view in _views(record, kinds, rng):
            views.append(view)
            owners.append(owner)
    return views, np.array(owners, np.int64)


def sentences(text: str, count: int, rng: random.Random) -> str:
    """Return a random run of ``count`` sentences, fewer where the text has fewer."""
    found = (text[start:end] for start, end in sentence_spans(text))
    pieces = [piece for piece in found if len(piece) > MIN_CHARS] or [text]
    start = rng.randrange(max(1, len(pieces) - count + 1))
    return " ".join(pieces[start : start + count])


def _views(record: Record, kinds: Sequence[str], rng: random.Random) -> Iterator[str]:
    if "whole" in kinds:
        yield record.text
    for kind, count in (("sentence", 1), ("window", 2)):
        if kind in kinds:
            view = sentences(record.text, count, rng)
            if view != record.text or "whole" not in kinds:
                yield view
    title = record.metadata.get("title")
    if "title" in kinds and isinstance(title, str) and title.strip() and title != record.text:
        yield title
