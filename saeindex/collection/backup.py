"""Backups: all files of an index at one revision in one file, and their restoring.

The engine's files have holes: they are read and written block by block, and a block of zeros is left out.
"""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import os
import tarfile
import time
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from tempfile import TemporaryDirectory
from typing import IO, TYPE_CHECKING, Any

from saeindex.errors import DamageError, InvalidInputError, NotFoundError
from saeindex.files import is_draft, replacing, replacing_folder, writable
from saeindex.indexing.manifest import Counts
from saeindex.schema import Result
from saeindex.stores.directory import IndexDirectory, check_outside, write_json
from saeindex.stores.edge import disk_errors

if TYPE_CHECKING:
    from saeindex.collection.current import CurrentState

FORMAT, LISTING = 1, "backup.json"
BLOCK = 2**20
ZEROS = bytes(BLOCK)
# What reading a file that is no whole backup raises, beside ValueError.
NO_BACKUP = (tarfile.TarError, EOFError, gzip.BadGzipFile, KeyError, TypeError, AttributeError, zlib.error)
# The most bytes and files that a listing may have.
MAX_LISTING = 2**24


@dataclass(frozen=True, slots=True)
class Backup(Result):
    """A backup: its ``file`` of so many ``bytes``, with the ``records`` of an index at a ``revision``.

    Writes, and the searches behind them, waited for it ``paused`` seconds.
    """

    file: str
    records: int
    revision: str
    bytes: int
    paused: float


def back_up(current: CurrentState, given: str | Path) -> Backup:
    """Write all files of an index to one file, which appears when it is complete."""
    target, folder = writable(given), current.folder
    if not target.name.endswith((".tar.gz", ".tgz")):
        raise InvalidInputError(f"a backup at {str(target)!r:.200}", "no .tar.gz", "Name it NAME.tar.gz.")
    if folder is None:
        do = "Use the snapshots of Qdrant."
        raise InvalidInputError(f"a backup of {current.store.name}", "it is a collection on a server", do)
    check_outside(folder, target, "a backup")
    with disk_errors(f"a backup at {str(target)!r}"), TemporaryDirectory(dir=target.parent) as beside:
        kept = Path(beside, "index")
        with current.reading() as state:  # nothing is written meanwhile
            started = time.perf_counter()
            state.store.flush()
            for name in _files_of(folder):
                (kept / name).parent.mkdir(parents=True, exist_ok=True)
                with (folder / name).open("rb") as source, (kept / name).open("wb") as copy:
                    _copied(source, copy)
            records = state.store.count()
            settled = {"counts": Counts(records=records), "is_being_written": False}
            manifest = state.manifest.model_copy(update=settled)
            paused = time.perf_counter() - started
        write_json(IndexDirectory(kept).manifest, manifest.to_json())
        files = {name: _described(kept / name) for name in _files_of(kept)}
        listing = {"format": FORMAT, "revision": state.revision, "records": records, "files": files}
        with replacing(target, durable=True) as draft:
            _packed(kept, listing, draft)
    return Backup(str(target), records, state.revision, target.stat().st_size, paused)


def restore_index(file: str | Path, path: str | Path) -> int:
    """Make an index at ``path`` of a backup; return its number of records. It appears when it is complete.

    Raises:
        NotFoundError: there is no such file.
        DamageError: it is no backup, or not as it was written.
        MismatchError: there is an index at ``path``.
    """
    source, target = (Path(os.path.expanduser(one)) for one in (file, path))  # noqa: PTH111
    IndexDirectory(target).check_free_for_index()
    asked = f"restore {str(source)!r}"
    if not source.is_file():
        raise NotFoundError(asked, "there is no such file", "Correct the path.")
    with disk_errors(asked), replacing_folder(target, durable=True) as draft:
        try:
            with tarfile.open(source, "r|gz") as packed:
                records = _unpacked(packed, draft)
        except (*NO_BACKUP, ValueError) as error:
            found = str(error) if isinstance(error, ValueError) else "it is not a whole backup"
            raise DamageError(asked, found, "Use another backup.") from None
    return records


def _files_of(folder: Path) -> list[str]:
    """Return the files of an index, as paths within it, without its lock and drafts."""
    every = sorted(one for one in folder.rglob("*") if one.is_file() and one.name != "lock")
    inside = [one.relative_to(folder) for one in every]
    return [one.as_posix() for one in inside if not any(is_draft(Path(part)) for part in one.parts)]


def _copied(source: IO[bytes], target: IO[bytes]) -> tuple[int, str]:
    """Copy a file, with holes for blocks of zeros; return its length and a digest of its content."""
    digest, size = hashlib.sha256(), 0
    while block := source.read(BLOCK):
        digest.update(block)
        size += len(block)
        if block == ZEROS[: len(block)]:
            target.seek(len(block), io.SEEK_CUR)
        else:
            target.write(block)
    target.truncate(size)
    return size, digest.hexdigest()


def _described(file: Path) -> tuple[int, str]:
    with file.open("rb") as source:
        return file.stat().st_size, hashlib.file_digest(source, "sha256").hexdigest()


def _packed(folder: Path, listing: dict[str, Any], target: Path) -> None:
    with gzip.open(target, "wb", 1) as stream, tarfile.open(fileobj=stream, mode="w|") as packed:
        text = json.dumps(listing).encode()
        first = tarfile.TarInfo(LISTING)
        first.size = len(text)
        packed.addfile(first, io.BytesIO(text))
        for name in listing["files"]:
            packed.add(folder / name, name, recursive=False)


def _unpacked(packed: tarfile.TarFile, folder: Path) -> int:
    """Write the files of a backup; ValueError for one that is not as it was written. Return the records."""
    members = _members(packed)
    name, stream = next(members, ("", io.BytesIO()))
    if name != LISTING:
        raise ValueError("it is no backup of an index")
    listing = json.loads(stream.read(MAX_LISTING))
    if listing["format"] != FORMAT:
        raise ValueError(f"its format is {listing['format']!r}, not {FORMAT}")
    waiting = {str(name): tuple(known) for name, known in listing["files"].items()}
    for name, stream in members:
        path = PurePosixPath(name)
        if name not in waiting or path.is_absolute() or ".." in path.parts:
            raise ValueError(f"{name!r:.80} does not belong to it")
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        with (folder / name).open("wb") as target:
            if _copied(stream, target) != waiting.pop(name):
                raise ValueError(f"{name!r:.80} is not what was written")
    if waiting:
        raise ValueError(f"{next(iter(waiting))!r:.80} is missing")
    return int(listing["records"])


def _members(packed: tarfile.TarFile) -> Iterator[tuple[str, IO[bytes]]]:
    for one in packed:
        if not one.isreg() or (stream := packed.extractfile(one)) is None:
            raise ValueError(f"{one.name!r:.80} is no file")
        yield one.name, stream
