"""Creating and opening the parts of an index: its store, its manifest and its feature space."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from saeindex.config import SPACE_FOLDER
from saeindex.errors import DamageError, MismatchError, NotFoundError, copy_command
from saeindex.features import FeatureSpace
from saeindex.features.space_io import check_files
from saeindex.indexing.manifest import Manifest
from saeindex.schema import check_kind
from saeindex.stores import create_store, open_store

if TYPE_CHECKING:
    from qdrant_client import QdrantClient

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
        check_files(folder / SPACE_FOLDER)
        return FeatureSpace.load(folder / SPACE_FOLDER)
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
