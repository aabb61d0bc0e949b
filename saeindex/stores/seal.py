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
from pathlib import Path
from typing import Any

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


def is_settled(directory: IndexDirectory) -> bool:
    """Return whether opening the index changes none of its files."""
    return read_checked_json(directory.seal).get("is_settled") is True


def break_seal(directory: IndexDirectory) -> None:
    """Remove the seal, durably, before the engine's files change."""
    if directory.seal.exists():
        directory.seal.unlink()
        descriptor = os.open(directory.root, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def sealed_sizes(directory: IndexDirectory) -> dict[str, int]:
    """Return the sizes that the engine's files had when the index was closed; {} if it was not."""
    return {name: size for name, (size, _) in _kept(directory).items() if size is not None}


def broken_files(directory: IndexDirectory) -> Iterator[str]:
    """Yield in words each file of the engine that is not as it was when the index was closed."""
    for name, (size, checksum) in _kept(directory).items():
        path = directory.points / name
        if not path.is_file():
            yield f"{name} is missing"
        elif _size(path) != size:
            yield f"{name} has {path.stat().st_size:,} bytes instead of {size:,}"
        elif checksum is not None and _checksum(name, path) != checksum:
            yield f"{name} has other content"


def check_seal(directory: IndexDirectory) -> None:
    """Raise DamageError unless the engine's files are as they were when the index was closed."""
    broken = list(broken_files(directory))
    if broken:
        more = f" and {len(broken) - NAMED} more" if len(broken) > NAMED else ""
        found = f"files have changed since it was closed: {'; '.join(broken[:NAMED])}{more}"
        raise damaged_directory(directory.root, found)


def damaged_directory(root: Path, found: str) -> DamageError:
    """Return the error for an index whose files are damaged."""
    return DamageError(f"opening {str(root)!r}", found, f"Run {repair_of(root)}.")


def _kept(directory: IndexDirectory) -> Mapping[str, Any]:
    files: Mapping[str, Any] = read_checked_json(directory.seal).get("files", {})
    return files


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
