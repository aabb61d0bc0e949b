"""Indexes as their parts, a store, a manifest and a feature space: created, opened, selected and listed."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from saeindex.config import SPACE_FOLDER
from saeindex.errors import (
    DamageError,
    InvalidInputError,
    MismatchError,
    NotFoundError,
    SaeIndexError,
    copy_command,
)
from saeindex.features import FeatureSpace
from saeindex.features.space_io import load_space
from saeindex.files import is_draft, size_on_disk
from saeindex.indexing.manifest import Counts, Manifest
from saeindex.indexing.names import NameEdits
from saeindex.indexing.terms import features_in
from saeindex.schema import check_kind
from saeindex.stores import create_store, open_store
from saeindex.stores.directory import IndexDirectory, read_json
from saeindex.stores.selected import SelectedStore

if TYPE_CHECKING:
    from qdrant_client import QdrantClient
    from qdrant_client.models import Filter

    from saeindex.protocols import TextEncoder, VectorStore


def located(path: str | Path, client: QdrantClient | None, url: str | None) -> str | Path:
    """Return where an index is: for a directory, ``~`` is the home of the user."""
    check_kind(f"index {path!r:.80}", path, (str, os.PathLike), PLACE)
    return os.path.expanduser(path) if client is None and url is None else path  # noqa: PTH111


PLACE = "Give the path of a directory, or the name of a collection on a server."


@dataclass(frozen=True, slots=True)
class IndexParts:
    """The parts of an index; ``folder`` is None where the index is a collection on a server."""

    store: VectorStore
    space: FeatureSpace
    manifest: Manifest
    folder: Path | None


def create_index(
    path: str | Path,
    space: FeatureSpace,
    manifest: Manifest,
    client: QdrantClient | None,
    url: str | None,
    isolated: bool,
    of_server: Mapping[str, Any],
) -> IndexParts:
    """Create an empty index, or complete an index whose creation was interrupted."""
    path = located(path, client, url)
    options = {name: value for name, value in of_server.items() if value is not None}
    store = _create_or_complete(path, manifest, client, url, isolated, options)
    folder = Path(path) if client is None and url is None else None
    try:
        if folder is not None:
            space.save(folder / SPACE_FOLDER)
        store.write_manifest(manifest.to_json())
        return IndexParts(store, space, manifest, folder)
    except BaseException:
        store.close()
        raise


def open_index(
    path: str | Path,
    space: FeatureSpace | str | Path | None,
    client: QdrantClient | None,
    url: str | None,
    encoder: TextEncoder | None,
    isolated: bool,
) -> IndexParts:
    """Open an index made by :func:`create_index`.

    Raises:
        NotFoundError: no index has that name.
        MismatchError: it was built with another space or encoder, or has another format.
    """
    path = located(path, client, url)
    store = open_store(path, client=client, url=url, isolated=isolated)
    folder = Path(path) if client is None and url is None else None
    return index_in(store, path, folder, space, encoder)


def is_there(path: str | Path, client: QdrantClient | None, url: str | None, isolated: bool) -> bool:
    """Return whether an index is at a place, be it complete or not."""
    try:
        store = open_store(located(path, client, url), client=client, url=url, isolated=isolated)
    except NotFoundError:
        return False
    try:
        return bool(store.read_manifest())
    finally:
        store.close()


def index_in(
    store: VectorStore,
    path: str | Path,
    folder: Path | None,
    space: FeatureSpace | str | Path | None = None,
    encoder: TextEncoder | None = None,
) -> IndexParts:
    """Return the index in an open store, which is closed after an error; see :func:`open_index`."""
    try:
        raw = _read_manifest(store, path)
        is_lost = not raw and store.count() > 0
        parts = parts_of(store, Manifest.parse(raw, str(path), is_lost), path, folder, space)
        if encoder is not None:
            parts.space.check_encoder(encoder)
        return parts
    except BaseException:
        store.close()
        raise


def _read_manifest(store: VectorStore, path: str | Path) -> Mapping[str, Any]:
    try:
        return store.read_manifest()
    except DamageError as damage:
        do = f"Run {copy_command(path)}: it reads the records."
        raise DamageError(damage.asked, damage.found, do) from None


def parts_of(
    store: VectorStore,
    manifest: Manifest,
    path: str | Path,
    folder: Path | None,
    space: FeatureSpace | str | Path | None = None,
) -> IndexParts:
    """Return the parts of an index with this manifest."""
    loaded = _space_of(manifest, folder) if space is None else given_space(space)
    return IndexParts(store, manifest.with_own_levels(loaded, str(path)), manifest, folder)


def given_space(space: FeatureSpace | str | Path) -> FeatureSpace:
    """Return a space, or load it; that of another index is taken without the terms of its collection."""
    return space.without_terms() if isinstance(space, FeatureSpace) else FeatureSpace.load(space)


def _space_of(manifest: Manifest, folder: Path | None) -> FeatureSpace:
    """Return the space that an index was built with: its own copy, or by name where it has none."""
    if folder is None:
        return FeatureSpace.load(manifest.space.name)
    try:
        return load_space(folder / SPACE_FOLDER, FeatureSpace, is_own=True)
    except (MismatchError, NotFoundError) as error:
        do = "Restore the folder from a backup, or name the space with which to open it."
        raise DamageError(error.asked, error.found, do) from error


def _create_or_complete(
    path: str | Path,
    manifest: Manifest,
    client: QdrantClient | None,
    url: str | None,
    isolated: bool,
    options: dict[str, Any],
) -> VectorStore:
    """Create the store, or take over an empty store that was left without a manifest."""
    try:
        return create_store(path, manifest.layout, client=client, url=url, isolated=isolated, **options)
    except MismatchError:
        store = open_store(path, client=client, url=url, isolated=isolated)
        if not store.read_manifest() and store.layout == manifest.layout and store.count() == 0:
            return store
        store.close()
        raise


# Parts of an index ------------------------------------------------------------------------------------


def part_of(
    store: VectorStore,
    space: FeatureSpace,
    manifest: Manifest,
    selected: Filter | None,
) -> IndexParts:
    """Return the parts of an index that has only the ``selected`` points.

    Of the terms of the collection it has those that its records use; others have no name there. Names,
    profiles and files of the whole stay there: they may tell of other records.
    """
    if selected is None:
        raise InvalidInputError("a part of an index", "no condition", "Give where or query_filter.")
    view = SelectedStore(store, selected)
    records = view.count()
    used = features_in(view, manifest.fields) if manifest.terms else set()
    terms = tuple(
        term if space.n_features + number in used else term.unnamed()
        for number, term in enumerate(manifest.terms)
    )
    own = manifest.model_copy(
        update={"counts": Counts(records=records), "terms": terms, "edits": NameEdits(), "profiles": {}}
    )
    return IndexParts(SelectedStore(store, selected, own.to_json()), space, own, None)


# Lists of indexes -------------------------------------------------------------------------------------


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
