"""Records, texts and embeddings for the commands that need a corpus but no index."""

from __future__ import annotations

from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

from saeindex.errors import InvalidInputError

if TYPE_CHECKING:
    from saeindex.protocols import TextEncoder
    from saeindex.types import FloatArray, Record


def read_records(paths: list[str], text_field: str | None, limit: int | None) -> list[Record]:
    """Return at most ``limit`` records of files or folders; InvalidInputError if there are none."""
    from saeindex.indexing.sources.columns import Columns
    from saeindex.indexing.sources.open_source import open_source
    from saeindex.types import Record

    if not paths:
        return []
    source = open_source(paths[0] if len(paths) == 1 else paths, columns=Columns(text=text_field))
    records = list(islice((entry for entry in source if isinstance(entry, Record)), limit))
    if not records:
        raise InvalidInputError(
            f"texts in {', '.join(paths)}", "no records", "Give files that contain texts."
        )
    return records


def read_texts(paths: list[str], text_field: str | None, limit: int | None) -> list[str]:
    """Return the texts of :func:`read_records`."""
    return [record.text for record in read_records(paths, text_field, limit)]


def embed(texts: list[str], encoder: TextEncoder) -> FloatArray:
    """Return the embeddings (m, d) of texts, from the cache where possible, with a progress bar."""
    from saeindex.encoders.cache import EmbeddingCache
    from saeindex.indexing.pipeline import progress_bar

    with progress_bar("encoding", "docs", len(texts)) as bar:
        return EmbeddingCache().embed(texts, encoder, bar.update)


def is_embeddings(paths: list[str]) -> bool:
    """Return whether the corpus is one file of embeddings."""
    return len(paths) == 1 and paths[0].endswith(".npy")


def read_embeddings(path: str, limit: int | None = None) -> FloatArray:
    """Return the embeddings (m, d) of a ``.npy`` file, memory-mapped; pickled objects are refused."""
    import numpy as np

    try:
        vectors: FloatArray = np.load(Path(path), mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError) as error:
        raise InvalidInputError(
            f"embeddings in {path}", str(error), "Give a .npy file of numbers, one row per text."
        ) from error
    if vectors.ndim != 2 or vectors.dtype.kind != "f" or not len(vectors):
        raise InvalidInputError(
            f"embeddings in {path}",
            f"shape {vectors.shape} of {vectors.dtype}",
            "Give a float array with one row per text.",
        )
    return vectors[:limit]
