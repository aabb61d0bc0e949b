"""Indexes as their parts, a store, a manifest and a feature space: created, opened, selected and listed."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from saeindex.config import READER_FOLDER, SPACE_FOLDER
from saeindex.errors import (
    DamageError,
    InvalidInputError,
    MismatchError,
    NotFoundError,
    SaeIndexError,
    copy_command,
)
from saeindex.features import FeatureSpace
from saeindex.features.reader_space import ReaderSpace
from saeindex.features.space_io import load_space, save_space
from saeindex.files import DRAFT, is_draft, size_on_disk
from saeindex.indexing.manifest import Counts, Manifest, ReaderReference
from saeindex.indexing.names import NameEdits
from saeindex.indexing.terms import features_in
from saeindex.schema import check_kind
from saeindex.stores import create_store, open_store
from saeindex.stores.directory import DirectoryLock, IndexDirectory, read_json
from saeindex.stores.selected import SelectedStore

if TYPE_CHECKING:
    from qdrant_client import QdrantClient
    from qdrant_client.models import Filter

    from saeindex.protocols import TextEncoder, VectorStore
    from saeindex.stores.base import BaseStore


@dataclass(frozen=True, slots=True)
class Place:
    """Where an index is: a directory (``~`` is the home), or a collection if there is a client or a url."""

    given: str | Path
    client: QdrantClient | None = None
    url: str | None = None
    isolated: bool = False

    @property
    def folder(self) -> Path | None:
        """The directory; None for a collection."""
        do = "Give the path of a directory, or the name of a collection on a server."
        check_kind(f"index {self.given!r:.80}", self.given, (str, os.PathLike), do)
        is_directory = self.client is None and self.url is None
        return Path(os.path.expanduser(self.given)) if is_directory else None  # noqa: PTH111

    def opened(self) -> BaseStore:
        """Return the store that is there; see :func:`saeindex.stores.open_store`."""
        return open_store(self.folder or self.given, self.client, self.url, self.isolated)


@dataclass(frozen=True, slots=True)
class IndexParts:
    """The parts of an index; ``folder`` is None where the index is a collection on a server."""

    store: VectorStore
    space: FeatureSpace
    manifest: Manifest
    folder: Path | None


def create_index(
    place: Place, space: FeatureSpace, manifest: Manifest, of_server: Mapping[str, Any] | None = None
) -> IndexParts:
    """Create an empty index, or complete an index whose creation was interrupted."""
    folder, options = place.folder, {k: value for k, value in (of_server or {}).items() if value is not None}
    store = _create_or_complete(place, manifest, options)
    try:
        if folder is not None:
            save_space(space, folder / SPACE_FOLDER, is_own=True)
            if space.reader is not None:
                save_space(space.reader, folder / READER_FOLDER, is_own=True)
        store.write_manifest(manifest.to_json())
        return IndexParts(store, space, manifest, folder)
    except BaseException:
        store.close()
        raise


def open_index(
    place: Place,
    space: FeatureSpace | str | Path | None,
    encoder: TextEncoder | None,
    reader: ReaderSpace | str | Path | None = None,
) -> IndexParts:
    """Open an index made by :func:`create_index`.

    Raises:
        NotFoundError: no index has that name.
        MismatchError: it was built with another space, encoder or reader, or has another format.
    """
    store, path = place.opened(), place.folder or place.given
    try:
        raw = _read_manifest(store, path)
        is_lost = not raw and store.count() > 0
        known = Manifest.parse(raw, str(path), is_lost)
        parts = parts_of(store, known, path, place.folder, space, reader)
        if encoder is not None:
            parts.space.check_encoder(encoder)
        return parts
    except BaseException:
        store.close()
        raise


def is_there(place: Place) -> bool:
    """Return whether an index is at a place, be it complete or not."""
    try:
        store = place.opened()
    except NotFoundError:
        return False
    with store:
        return bool(store.read_manifest())


def drop_index(path: str | Path, *, client: QdrantClient | None = None, url: str | None = None) -> None:
    """Delete an index with all its records: a directory, or a collection if ``client`` or ``url`` is given.

    Raises:
        NotFoundError: there is no index.
        IndexLockedError: another process, or this one, has the directory open.
    """
    place = Place(path, client, url)
    if (folder := place.folder) is not None:
        if not _is_index(folder):
            raise NotFoundError(f"drop {str(path)!r}", "there is no index", "Correct the path.")
        if folder.is_symlink():
            do = f"Drop {str(folder.resolve())!r}, and remove the link."
            raise InvalidInputError(f"drop {str(path)!r}", "a link to an index", do)
        lock = DirectoryLock(folder)
        try:  # what a kill leaves is no index
            gone = folder.with_name(f".{folder.name}{DRAFT}")
            shutil.rmtree(gone, ignore_errors=True)
            folder.rename(gone)
        finally:
            lock.release()
        shutil.rmtree(gone)
        return
    from saeindex.stores.qdrant import QdrantStore

    with place.opened() as store:
        if not isinstance(store, QdrantStore) or not store.read_manifest():
            do = "Delete the collection as it was made."
            raise MismatchError(f"drop {path}", "saeindex did not make it", do)
        store.drop()


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
    reader: ReaderSpace | str | Path | None = None,
) -> IndexParts:
    """Return the parts of an index with this manifest."""
    loaded = _space_of(manifest, folder) if space is None else given_space(space)
    loaded = manifest.with_own_levels(loaded.with_reader(None), str(path))
    if (known := manifest.reader) is not None or reader is not None:
        loaded = loaded.with_reader(_reader_of(str(path), known, folder, reader))
    return IndexParts(store, loaded, manifest, folder)


def _reader_of(
    name: str,
    known: ReaderReference | None,
    folder: Path | None,
    given: ReaderSpace | str | Path | None,
) -> ReaderSpace:
    """Return the reader that an index was built with: that given, its own copy, or by name.

    MismatchError if that is another one, or the index has none.
    """
    if given is not None:
        reader = _loaded(given)
    elif folder is not None:
        reader = load_space(folder / READER_FOLDER, ReaderSpace, is_own=True)
    else:
        assert known is not None  # noqa: S101
        try:
            reader = ReaderSpace.load(known.name)
        except NotFoundError as error:
            do = "Name the folder of the reader, or give it: FeatureIndex.open(…, reader=…)."
            raise NotFoundError(f"reader {known.name!r}", "it does not come with the package", do) from error
    if known is None or reader.fingerprint != known.fingerprint:
        asked = f"index {name!r} with the reader {reader.name!r} ({reader.fingerprint[:12]})"
        found = "it has none" if known is None else f"it has {known.name!r} ({known.fingerprint[:12]})"
        raise MismatchError(asked, found, f"Leave it out, or run {copy_command(name)} with --reader.")
    return reader


def _loaded(reader: ReaderSpace | str | Path) -> ReaderSpace:
    return reader if isinstance(reader, ReaderSpace) else ReaderSpace.load(reader)


def given_space(
    space: FeatureSpace | str | Path, reader: ReaderSpace | str | Path | None = None
) -> FeatureSpace:
    """Return a space, or load it, beside a reader if one is given.

    That of another index is taken without the terms of its collection.
    """
    found = space.without_terms() if isinstance(space, FeatureSpace) else FeatureSpace.load(space)
    return found if reader is None else found.with_reader(_loaded(reader))


def _space_of(manifest: Manifest, folder: Path | None) -> FeatureSpace:
    """Return the space that an index was built with: its own copy, or by name where it has none."""
    if folder is None:
        try:
            return FeatureSpace.load(manifest.space.name)
        except NotFoundError as error:
            do = "Name the folder of the space, or give it: FeatureIndex.open(…, space=…)."
            raise NotFoundError(error.asked, "it does not come with the package", do) from error
    try:
        return load_space(folder / SPACE_FOLDER, FeatureSpace, is_own=True)
    except (MismatchError, NotFoundError) as error:
        do = "Restore the folder from a backup, or name the space with which to open it."
        raise DamageError(error.asked, error.found, do) from error


def _create_or_complete(place: Place, manifest: Manifest, options: Mapping[str, Any]) -> VectorStore:
    """Create the store, or take over an empty store that was left without a manifest."""
    try:
        where = place.folder or place.given
        return create_store(where, manifest.layout, place.client, place.url, place.isolated, **options)
    except MismatchError:
        store = place.opened()
        if not store.read_manifest() and store.layout == manifest.layout and store.count() == 0:
            return store
        store.close()
        raise


# Parts of an index ------------------------------------------------------------------------------------


def part_of(
    store: VectorStore, space: FeatureSpace, manifest: Manifest, selected: Filter | None
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
    numbered = enumerate(manifest.terms, space.n_features)
    terms = tuple(term if feature in used else term.unnamed() for feature, term in numbered)
    update = {"counts": Counts(records=records), "terms": terms, "edits": NameEdits(), "profiles": {}}
    own = manifest.model_copy(update=update)
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
