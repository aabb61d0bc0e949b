"""Bytes and lines of plain and compressed files, in bounded memory for any content."""

from __future__ import annotations

import gzip
import io
import zlib
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import IO, TYPE_CHECKING, cast

from saeindex.errors import InvalidInputError, NotFoundError, installed

if TYPE_CHECKING:
    import zstandard
    from _typeshed import WriteableBuffer

MAX_LINE_BYTES = 16 * 2**20
COMPRESSIONS = (".gz", ".zst")


class DamagedFrameError(Exception):
    """A frame of Zstandard cannot be decompressed."""


# Exceptions from reading a truncated or damaged compressed file.
DAMAGE = (EOFError, gzip.BadGzipFile, zlib.error, DamagedFrameError)

# Bytes decompressed at a time: 4 bytes can expand to 128 KiB, so the output is at most 32 MiB.
_ZSTD_INPUT_BYTES = 1024
_BUFFER_BYTES = 2**18


class LineTooLongError(Exception):
    """A line is longer than ``MAX_LINE_BYTES``; the next read gives the line after it."""


class Lines(Iterator[bytes]):
    """The lines of a binary stream, counted; reading can continue after an overlong line."""

    def __init__(self, stream: IO[bytes]) -> None:
        """Start before the first line of ``stream``."""
        self._stream = stream
        self.number = 0

    def __next__(self) -> bytes:
        """Return the next line; raises ``LineTooLongError``, ``StopIteration`` or one of ``DAMAGE``."""
        line = self._stream.readline(MAX_LINE_BYTES + 1)
        if not line:
            raise StopIteration
        self.number += 1
        if len(line) > MAX_LINE_BYTES and not line.endswith(b"\n"):
            while line and not line.endswith(b"\n"):
                line = self._stream.readline(_BUFFER_BYTES)
            raise LineTooLongError
        return line.removeprefix(b"\xef\xbb\xbf") if self.number == 1 else line


def open_lines(path: Path) -> IO[bytes]:
    """Open a file as :func:`open_bytes` does; where lines end in CR alone, they end in LF."""
    with open_bytes(path) as stream, suppress(*DAMAGE):
        start = stream.read(_BUFFER_BYTES)
        if b"\r" in start.rstrip(b"\r") and b"\n" not in start:
            return io.BufferedReader(_UnixLines(open_bytes(path)), _BUFFER_BYTES)
    return open_bytes(path)


def open_bytes(path: Path) -> IO[bytes]:
    """Open a file for reading and decompress ``.gz`` and ``.zst``."""
    suffix = path.suffix.lower()
    try:
        file = cast("IO[bytes]", gzip.GzipFile(path)) if suffix == ".gz" else path.open("rb")
    except OSError as error:
        do = "Check the path and its permissions."
        raise NotFoundError(f"file {path}", str(error.strerror), do) from error
    if suffix == ".zst":
        return io.BufferedReader(_ZstdStream(file), _BUFFER_BYTES)
    return file


def check_utf8(path: Path) -> None:
    """Raise InvalidInputError for a file that starts as UTF-16 or UTF-32 does; read as UTF-8 it is noise."""
    with open_bytes(path) as stream, suppress(*DAMAGE):
        start = stream.read(2)
        if start in (b"\xff\xfe", b"\xfe\xff"):
            raise InvalidInputError(f"records in {path}", "text in UTF-16 or UTF-32", "Save it as UTF-8.")


def count_lines(path: Path, quote: bytes = b"") -> int:
    """Return the number of line ends in a file, as far as it can be read; for an estimate of records.

    Those between two ``quote`` characters do not count: a cell of a CSV file may have several lines.
    """
    lines, is_inside = 0, False
    with open_lines(path) as stream:
        try:
            while block := stream.read(_BUFFER_BYTES):
                parts = block.split(quote) if quote else [block]
                lines += sum(part.count(b"\n") for part in parts[is_inside::2])
                is_inside ^= len(parts) % 2 == 0
        except DAMAGE:
            return lines
    return lines


def damage_reason(error: Exception) -> str:
    """Return the reason why reading a compressed file cannot continue."""
    if isinstance(error, EOFError):
        return "the compressed file is truncated: the rest is lost"
    return f"the compressed file is damaged, the rest is lost ({error})"


class _Converted(io.RawIOBase):
    """What is read from a file in another form; closing it closes the file."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file

    def readable(self) -> bool:
        return True

    def close(self) -> None:
        self._file.close()
        super().close()


class _UnixLines(_Converted):
    """A file of lines that end in CR, as lines that end in LF."""

    def readinto(self, buffer: WriteableBuffer) -> int:
        target = memoryview(buffer).cast("B")
        block = self._file.read(len(target)).replace(b"\r", b"\n")
        target[: len(block)] = block
        return len(block)


class _ZstdStream(_Converted):
    """Zstandard frames, one after another.

    For a truncated file this raises ``EOFError``; ``ZstdDecompressor.stream_reader`` reports no error.
    """

    def __init__(self, file: IO[bytes]) -> None:
        super().__init__(file)
        self._zstandard = installed("zstandard", "a .zst file", "zstd")
        self._frame: zstandard.ZstdDecompressionObj | None = None
        self._pending_input = b""
        self._output = memoryview(b"")

    def readinto(self, buffer: WriteableBuffer) -> int:
        while not self._output:
            chunk = self._pending_input or self._file.read(_ZSTD_INPUT_BYTES)
            if not chunk:
                if self._frame is not None:
                    raise EOFError("the last frame is not complete")
                return 0
            self._output = memoryview(self._decompress(chunk))
        target = memoryview(buffer).cast("B")
        size = min(len(target), len(self._output))
        target[:size] = self._output[:size]
        self._output = self._output[size:]
        return size

    def _decompress(self, chunk: bytes) -> bytes:
        frame = self._frame or self._zstandard.ZstdDecompressor().decompressobj()
        try:
            output = frame.decompress(chunk)
        except self._zstandard.ZstdError as error:
            raise DamagedFrameError(str(error)) from error
        self._pending_input = frame.unused_data if frame.eof else b""
        self._frame = None if frame.eof else frame
        return output
