"""Records, texts and embeddings for the commands that need a corpus but no index."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Annotated, Any

import typer

from saeindex.errors import InvalidInputError

if TYPE_CHECKING:
    from saeindex.protocols import TextEncoder
    from saeindex.types import FloatArray, Record

Space = Annotated[str, typer.Argument(metavar="SPACE", help="A feature space: a name or a directory.")]
TextField = Annotated[str | None, typer.Option(help="Column of the text. Default: detected.")]
Limit = Annotated[int | None, typer.Option(min=1, help="Use only this many texts.")]
Seed = Annotated[int, typer.Option(help="Seed of the random numbers.")]


@contextmanager
def files(paths: Sequence[str]) -> Iterator[str | list[str]]:
    """Yield one path or several, with standard input (``-``) as a file: JSON, JSON Lines or CSV."""
    with TemporaryDirectory(prefix="saeindex-") as folder:
        found = [str(_stdin_in(Path(folder))) if path == "-" else path for path in paths]
        yield found[0] if len(found) == 1 else found


def _stdin_in(folder: Path) -> Path:
    stream = sys.stdin.buffer
    start = stream.read(1)
    while start.isspace() or start == b"\xef":  # also the three bytes of a byte order mark
        start = stream.read(3 if start == b"\xef" else 1)[-1:]
    path = folder / ("stdin.json" if start in (b"{", b"[") else "stdin.csv")
    with path.open("wb") as file:
        file.write(start)
        shutil.copyfileobj(stream, file)
    return path


def read_records(paths: list[str], text_field: str | None, limit: int | None) -> list[Record]:
    """Return at most ``limit`` records of files or folders; InvalidInputError if there are none."""
    from saeindex.indexing.sources.columns import Columns
    from saeindex.indexing.sources.open_source import open_source
    from saeindex.types import Record

    if not paths:
        return []
    with files(paths) as what:
        source = open_source(what, columns=Columns(text=text_field))
        records = list(islice((entry for entry in source if isinstance(entry, Record)), limit))
    if not records:
        asked = f"texts in {', '.join(paths)}"
        raise InvalidInputError(asked, "no records", "Give files that contain texts.")
    return records


def read_texts(paths: list[str], text_field: str | None, limit: int | None) -> list[str]:
    """Return the texts of :func:`read_records`."""
    return [record.text for record in read_records(paths, text_field, limit)]


def embed(texts: list[str], encoder: TextEncoder) -> FloatArray:
    """Return the embeddings (m, d) of texts, from the cache where possible, with a progress bar."""
    from saeindex.encoders.cache import EmbeddingCache

    cache = EmbeddingCache()
    with followed("encoding", "docs", len(cache.missing(texts, encoder))) as bar:
        return cache.embed(texts, encoder, bar.update)


def followed(what: str, unit: str, total: int) -> Any:
    """Return the progress bar of a step."""
    from saeindex.indexing.pipeline import progress_bar

    return progress_bar(what, unit, total)


def is_embeddings(paths: list[str]) -> bool:
    """Return whether the corpus is one file of embeddings."""
    return len(paths) == 1 and paths[0].endswith(".npy")


def read_embeddings(path: str, limit: int | None = None) -> FloatArray:
    """Return the embeddings (m, d) of a ``.npy`` file, memory-mapped; pickled objects are refused."""
    import numpy as np

    try:
        vectors: FloatArray = np.load(Path(path), mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError) as error:
        do = "Give a .npy file of numbers, one row per text."
        raise InvalidInputError(f"embeddings in {path}", str(error), do) from error
    if vectors.ndim != 2 or vectors.dtype.kind != "f" or not len(vectors):
        found = f"shape {vectors.shape} of {vectors.dtype}"
        raise InvalidInputError(f"embeddings in {path}", found, "Give a float array with one row per text.")
    return vectors[:limit]


def check_target(into: Path, is_space: bool) -> None:
    """Raise InvalidInputError for a directory with other files; a space may replace a space."""
    is_replaced = is_space and (into / "space.json").is_file()
    if not is_replaced and into.exists() and not (into.is_dir() and not any(into.iterdir())):
        raise InvalidInputError(f"--into {into}", "it contains other files", "Name a new directory.")
