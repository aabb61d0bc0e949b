"""The indexes in a folder or on a server, read from their manifests without opening them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from saeindex.errors import NotFoundError, SaeIndexError
from saeindex.files import is_draft, size_on_disk
from saeindex.indexing.manifest import Manifest
from saeindex.stores.directory import IndexDirectory, read_json

if TYPE_CHECKING:
    from qdrant_client import QdrantClient


@dataclass(frozen=True, slots=True)
class IndexSummary:
    """An index: its ``name`` opens it; ``size`` is its number of bytes on disk, None on a server.

    ``records`` were counted at the end of the last write; ``is_counted`` is False while another one runs, or
    if that was interrupted. An index that cannot be opened has a ``problem`` in words, and no numbers.
    """

    name: str
    records: int = 0
    space: str = ""
    created: str = ""
    size: int | None = None
    problem: str | None = None
    is_counted: bool = True


def indexes_in(folder: Path) -> list[IndexSummary]:
    """Return the indexes in a folder, by name, or the folder itself if it is one.

    Raises:
        NotFoundError: there is no such folder.
    """
    if not folder.is_dir():
        found = "it is a file" if folder.exists() else "there is no such folder"
        raise NotFoundError(f"the indexes in {str(folder)!r}", found, "Give the path of a folder.")
    if _is_index(folder):
        return [_summary(folder)]
    inside = sorted(path for path in folder.iterdir() if path.is_dir() and not is_draft(path))
    return [_summary(path) for path in inside if _is_index(path)]


def indexes_on(client: QdrantClient) -> Iterator[IndexSummary]:
    """Yield the indexes of saeindex on a server, by name; other collections are left out."""
    from saeindex.stores.qdrant import QdrantStore
    from saeindex.stores.server_collection import translated

    with translated("list the collections", ""):
        names = sorted(one.name for one in client.get_collections().collections)
    for name in names:
        try:
            raw = QdrantStore.open(client, name).read_manifest()
        except SaeIndexError:
            continue  # not a collection of ours: it has no layout that we read
        if raw:
            yield _described(name, raw, None)


def _is_index(path: Path) -> bool:
    directory = IndexDirectory(path)
    return directory.layout.is_file() or (directory.points.is_dir() and (path / "lock").is_file())


def _summary(path: Path) -> IndexSummary:
    directory = IndexDirectory(path)
    size: int | None = None
    try:
        size = size_on_disk(path)
        directory.check_complete()
        if not directory.points.is_dir():
            return IndexSummary(str(path), size=size, problem="its directory 'points' is missing")
        raw = read_json(directory.manifest)
        if not raw:
            return IndexSummary(str(path), size=size, problem="its manifest is missing or empty")
        return _described(str(path), raw, size)
    except (SaeIndexError, OSError) as error:
        problem = error.found if isinstance(error, SaeIndexError) else str(error.strerror)
        return IndexSummary(str(path), size=size, problem=problem)


def _described(name: str, raw: dict[str, object], size: int | None) -> IndexSummary:
    try:
        found = Manifest.parse(raw, name)
    except SaeIndexError as error:
        return IndexSummary(name, size=size, problem=error.found)
    is_counted = not found.is_being_written
    return IndexSummary(name, found.counts.records, found.space.name, found.created, size, None, is_counted)
