"""The seal of an embedded index: sizes and checksums of the engine's files, as they were when it was closed.

Each record has its own checksums (``checksums.py``); the seal covers what those cannot: indexes of payload
fields, the engine's tables, and files that were cut off, whose missing pages would end the process. It also
covers dense vectors, which the engine reads whole at opening and a search does not return. It is
written when an index is closed, removed before the first write after that, and compared when the index is
opened. So after a killed writer there is no seal. The first opening after a write puts the engine's journals
in order, which changes files: until then a seal is not settled. Later openings and reading change no file.
"""

from __future__ import annotations

import json
import os
import re
import zlib
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from saeindex.errors import DamageError, repair_of
from saeindex.files import with_checksum
from saeindex.stores.directory import IndexDirectory, read_checked_json, write_json

# The files of payloads and sparse vectors, which are checked with each hit: only their sizes are compared.
_RECORDS = re.compile(r"(payload_storage|store)/page_\d+\.dat$")
# The log has checksums of its own, and all that it holds has been applied when an index is closed.
_LOG = "wal/"
BLOCK = 1 << 16
_EMPTY = bytes(BLOCK)
NAMED = 3


def write_seal(directory: IndexDirectory, is_settled: bool) -> None:
    """Seal an index that is closed, or that was only read; ``is_settled`` after it was only read."""
    files = {name: [_size(path), _checksum(name, path)] for name, path in _files(directory.points)}
    write_json(directory.seal, with_checksum({"is_settled": is_settled, "files": files}))


def break_seal(directory: IndexDirectory) -> None:
    """Remove the seal, durably, before the engine's files change."""
    if directory.seal.exists():
        directory.seal.unlink()
        descriptor = os.open(directory.root, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


@dataclass(frozen=True, slots=True)
class Seal:
    """The seal of an index as it was read; one without ``files`` is none.

    ``files`` has the size and the checksum of each of the engine's files when the index was closed; None for
    what is not compared. ``is_settled`` says that opening the index changes none of them.
    """

    directory: IndexDirectory
    files: Mapping[str, tuple[int | None, int | None]]
    is_settled: bool

    @classmethod
    def read(cls, directory: IndexDirectory) -> Seal:
        """Read the seal of an index, if it has one; DamageError if the seal itself is damaged."""
        kept = read_checked_json(directory.seal)
        files = {name: (size, checksum) for name, (size, checksum) in kept.get("files", {}).items()}
        return cls(directory, files, kept.get("is_settled") is True)

    def sizes(self) -> dict[str, int]:
        """Return the sizes that the files had."""
        return {name: size for name, (size, _) in self.files.items() if size is not None}

    def broken(self) -> Iterator[str]:
        """Yield in words each file that is not as it was."""
        for name, (size, checksum) in self.files.items():
            path = self.directory.points / name
            if not path.is_file():
                yield f"{name} is missing"
            elif _size(path) != size:
                yield f"{name} has {path.stat().st_size:,} bytes instead of {size:,}"
            elif checksum is not None and _checksum(name, path) != checksum:
                yield f"{name} has other content"

    def check(self) -> None:
        """Raise DamageError unless all files are as they were."""
        if broken := list(self.broken()):
            root, more = (
                self.directory.root,
                f" and {len(broken) - NAMED} more" if len(broken) > NAMED else "",
            )
            found = f"files have changed since it was closed: {'; '.join(broken[:NAMED])}{more}"
            raise DamageError(f"opening {str(root)!r}", found, f"Run {repair_of(root)}.")


def _files(points: Path) -> Iterator[tuple[str, Path]]:
    for path in sorted(points.rglob("*")):
        name = path.relative_to(points).as_posix()
        if path.is_file() and not name.startswith(_LOG):
            yield name, path


def _size(path: Path) -> int | None:
    """Return the size of a file; None for JSON, which the engine writes again in another order."""
    return None if path.suffix == ".json" else path.stat().st_size


def _checksum(name: str, path: Path) -> int | None:
    """Return a checksum of the blocks that are not empty, and their places; None for a file of records.

    The engine reserves space: most blocks of most files are holes, which need not be read.
    """
    if _RECORDS.search(name):
        return None
    if path.suffix == ".json":
        return _checksum_of_json(path.read_bytes())
    checksum = 0
    with path.open("rb", buffering=0) as file:
        for start, end in _extents(file.fileno(), path.stat().st_size):
            file.seek(start)
            for at in range(start, end, BLOCK):
                block = file.read(BLOCK)
                if block != _EMPTY[: len(block)]:
                    checksum = zlib.crc32(block, zlib.crc32(b"%d" % at, checksum))
    return checksum


def _checksum_of_json(text: bytes) -> int:
    with suppress(ValueError, RecursionError):
        text = json.dumps(json.loads(text), sort_keys=True).encode()
    return zlib.crc32(text)


def _extents(file: int, size: int) -> Iterator[tuple[int, int]]:
    """Yield the parts of a file that may hold data, from and to the limits of blocks."""
    if not hasattr(os, "SEEK_DATA"):
        yield 0, size
        return
    end = 0
    while end < size:
        try:
            start = os.lseek(file, end, os.SEEK_DATA)
        except OSError:  # nothing but a hole is left
            return
        stop = os.lseek(file, start, os.SEEK_HOLE)
        start = max(end, start // BLOCK * BLOCK)
        end = min(size, -(-stop // BLOCK) * BLOCK)
        yield start, end
