"""The engine of a directory in a process of its own: the program, the caller's end of it, and their messages.

Messages are msgpack, with our types as extensions. A message can only name the types listed here, so reading
one runs no code of its sender.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import fields
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any
from uuid import UUID

import msgpack
import numpy as np

from saeindex.errors import EngineDiedError, InvalidInputError, SaeIndexError, StorageError, kind_of, rebuilt
from saeindex.protocols import Layout, OrderBy, Page, Point, SparseVector
from saeindex.stores.engine import Fetch, NearestIds, NearestSearch
from saeindex.stores.point_checks import CheckedPoint

if TYPE_CHECKING:
    from saeindex.stores.edge import EdgeStore

# The folder of this package comes last, so that it hides nothing.
_PROGRAM = "import sys; sys.path.append(sys.argv[1]); from saeindex.stores.engine_process import main; main()"
SECONDS_TO_END = 10
# What a signal that ends the engine usually means.
_REASONS = {
    "SIGBUS": "the disk is full, or a file of the index was cut off",
    "SIGKILL": "the memory of this machine may be used up",
    "SIGABRT": "its memory may be used up",
}
# The calls of a store that are sent, and their names in error messages.
PRIMITIVES = {
    "_upsert": "upsert", "_set_payload": "set_payload", "_delete": "delete", "_retrieve": "get",
    "_nearest": "search", "_nearest_ids": "search", "_scroll": "scroll", "_scroll_ordered": "scroll",
    "_count": "count", "_facet": "facet", "_index_payload": "index_payload",
}  # fmt: skip
METHODS = ("read_manifest", "write_manifest", "optimize", "flush", "close")


class RelayedEngine:
    """An engine that belongs to another process, which passes calls on to it."""

    def __init__(self, relay: Callable[[bytes], bytes]) -> None:
        """``relay`` sends a packed call and returns its packed answer."""
        self.relay = relay

    def call(self, name: str, *arguments: Any) -> Any:
        """Return the result of a call; its error, if it is one of ours, is raised here."""
        is_error, answer = unpacked(self.relay(packed([name, *arguments])))
        if is_error:
            raise rebuilt(*answer) or StorageError(*answer[1:])
        return answer

    def end(self) -> None:
        """Leave the engine to its owner."""

    def let_go(self) -> None:
        """Leave the engine to its owner."""


class EngineProcess(RelayedEngine):
    """A child process that owns the engine of one directory, and answers one call at a time."""

    def __init__(self) -> None:
        """Start the process; its calls raise EngineDiedError if it ended."""
        self._last_words = tempfile.TemporaryFile()  # noqa: SIM115  (lives as long as the process)
        folder = str(Path(__file__).parents[2])
        self._process = subprocess.Popen(  # noqa: S603 - this Python with a fixed program
            [sys.executable, "-P", "-c", _PROGRAM, folder],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._last_words,
        )
        # A thread of its own reads each answer to its end, also if the caller is interrupted.
        self._line = ThreadPoolExecutor(1, thread_name_prefix="saeindex-engine")

    @property
    def pid(self) -> int:
        """The id of the process."""
        return self._process.pid

    def relay(self, request: bytes) -> bytes:
        """Return the packed answer to a packed call, such as one that another process made."""
        try:
            return self._line.submit(self._exchange, request).result()
        except (EOFError, OSError):
            found = self._cause_of_death()
            raise EngineDiedError("a call of an engine", found, "Open it again.") from None

    def end(self) -> None:
        """Let the process end, after it has answered what it was asked."""
        self._line.shutdown(wait=True)
        self.let_go()
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(SECONDS_TO_END)
        self._process.kill()
        self._process.wait()
        self._last_words.close()

    def let_go(self) -> None:
        """Close the pipes; a process that nobody can call any more closes its store and ends."""
        for stream in (self._process.stdin, self._process.stdout):
            with suppress(OSError):
                stream.close()  # type: ignore[union-attr]

    def _exchange(self, request: bytes) -> bytes:
        assert self._process.stdin is not None  # noqa: S101
        assert self._process.stdout is not None  # noqa: S101
        send(self._process.stdin, request)
        return received(self._process.stdout)

    def _cause_of_death(self) -> str:
        try:
            code = self._process.wait(SECONDS_TO_END)
        except subprocess.TimeoutExpired:
            self._process.kill()
            return "the engine's process does not answer any more"
        if code >= 0:
            return f"the engine's process ended with code {code}{self._said()}"
        name = signal.Signals(-code).name
        reason = f": {_REASONS[name]}" if name in _REASONS else ""
        return f"the engine's process died of {name}{reason}{self._said()}"

    def _said(self) -> str:
        self._last_words.seek(max(0, self._last_words.seek(0, os.SEEK_END) - 2000))
        lines = self._last_words.read().decode(errors="replace").split("\n")
        last = next((line for line in reversed(lines) if line.strip()), "")
        return f" ({last[:300]})" if last else ""


# The child --------------------------------------------------------------------------------------------


def main() -> None:
    """Answer calls from standard input on standard output until it is closed."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent decides what an interrupt means
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # what the engine prints must not get between the answers
    serve(sys.stdin.buffer, answers)


def limit_memory(size: int) -> None:
    """Limit the bytes that this process can allocate, where the system can; 0 for no limit."""
    try:
        import resource
    except ImportError:  # Windows has no limits
        return
    if size:
        resource.setrlimit(resource.RLIMIT_DATA, (size, size))


def serve(requests: IO[bytes], answers: IO[bytes]) -> None:
    """Answer calls until there are no more, then close the store."""
    store: EdgeStore | None = None
    try:
        while True:
            name, *arguments = receive(requests)
            try:
                if name in ("open", "create"):
                    store = _opened(*arguments)
                    result: Any = store.layout
                else:
                    result = _called(store, name, arguments)
                answer = packed([False, compact(result)])
            except SaeIndexError as error:
                answer = packed([True, [type(error).__name__, error.asked, error.found, error.do]])
            send(answers, answer)
    except (EOFError, BrokenPipeError):
        pass  # the parent has ended
    finally:
        if store is not None:
            store.close()


def _opened(path: str, layout: Layout | None = None) -> EdgeStore:
    from saeindex.stores.edge import EdgeStore

    owner = os.getppid()
    return EdgeStore.open(path, owner) if layout is None else EdgeStore.create(path, layout, owner)


def _called(store: EdgeStore | None, name: str, arguments: list[Any]) -> Any:
    assert store is not None  # noqa: S101 - the first call opens it
    if action := PRIMITIVES.get(name):
        return store._run(action, lambda: getattr(store, name)(*arguments))
    assert name in METHODS, name  # noqa: S101
    return getattr(store, name)(*arguments)


# Messages ---------------------------------------------------------------------------------------------

_TUPLE, _FILTER, _POINTS, _MATRIX, _FIRST_TYPE = 0, 1, 4, 5, 10
_ARRAYS = {2: "<f4", 3: "<i4"}
_ARRAY_CODES = {kind: code for code, kind in _ARRAYS.items()}
_TYPES: tuple[type, ...] = (
    Point, SparseVector, CheckedPoint, Page, NearestSearch, NearestIds, Fetch, OrderBy, Layout,
)  # fmt: skip
_CODES = {kind: code for code, kind in enumerate(_TYPES, _FIRST_TYPE)}
_NAMES: dict[type, tuple[str, ...]] = {kind: tuple(one.name for one in fields(kind)) for kind in _TYPES}
_PLAIN: dict[type, Callable[[Any], Any]] = {
    np.generic: np.generic.item, str: str.__str__, int: int, float: float, list: list, Mapping: dict,
    UUID: str,
}  # fmt: skip
_SIZE_BYTES = 8


def send(stream: IO[bytes], message: bytes) -> None:
    """Write a packed message."""
    stream.write(len(message).to_bytes(_SIZE_BYTES, "little"))
    stream.write(message)
    stream.flush()


def receive(stream: IO[bytes]) -> Any:
    """Read a message and unpack it; EOFError if the sender has ended."""
    return unpacked(received(stream))


def received(stream: IO[bytes]) -> bytes:
    """Read a message as it was packed; EOFError if the sender has ended."""
    return _exactly(stream, int.from_bytes(_exactly(stream, _SIZE_BYTES), "little"))


def _exactly(stream: IO[bytes], size: int) -> bytes:
    read = stream.read(size)
    if len(read) < size:
        raise EOFError
    return read


def packed(value: object) -> bytes:
    """Return a value as bytes; InvalidInputError if it has a part of a type that engines do not know."""
    message: bytes = msgpack.packb(
        value, default=_extension, strict_types=True, unicode_errors="surrogatepass"
    )
    return message


def unpacked(message: bytes) -> Any:
    """Return the value of :func:`packed`."""
    return msgpack.unpackb(
        message, ext_hook=_of_extension, strict_map_key=False, unicode_errors="surrogatepass"
    )


def compact(value: object) -> object:
    """Return an answer in the form that is sent fastest: a list of points as its columns."""
    if isinstance(value, Page):
        return Page(compact(value.points), value.cursor)  # type: ignore[arg-type]
    if not (isinstance(value, list) and value and isinstance(value[0], Point)):
        return value
    columns = [[getattr(point, name) for point in value] for name in _NAMES[Point]]
    return msgpack.ExtType(_POINTS, packed(columns))


def _extension(value: Any) -> Any:
    kind = type(value)
    if code := _CODES.get(kind):
        return msgpack.ExtType(code, packed([getattr(value, name) for name in _NAMES[kind]]))
    if isinstance(value, np.ndarray) and value.ndim == 2:
        return msgpack.ExtType(_MATRIX, packed([value.shape[1], np.ascontiguousarray(value).ravel()]))
    if isinstance(value, np.ndarray):
        return msgpack.ExtType(_ARRAY_CODES[value.dtype.str], value.tobytes())
    if isinstance(value, tuple):
        return msgpack.ExtType(_TUPLE, packed(list(value)))
    if hasattr(value, "model_dump"):
        return msgpack.ExtType(
            _FILTER, packed(value.model_dump(mode="json", by_alias=True, exclude_none=True))
        )
    return _plain(value)


def _plain(value: Any) -> Any:
    """Return the plain form of an enumeration, a number of numpy or a mapping that is no dict."""
    if plain := next((plain for kind, plain in _PLAIN.items() if isinstance(value, kind)), None):
        return plain(value)
    found = f"it has {kind_of(value)} in it"
    raise InvalidInputError("what is sent to the engine", found, "Use text, numbers, lists and objects.")


def _of_extension(code: int, data: bytes) -> Any:
    if code >= _FIRST_TYPE:
        return _TYPES[code - _FIRST_TYPE](*unpacked(data))
    if code in _ARRAYS:
        return np.frombuffer(bytearray(data), _ARRAYS[code])
    if code == _MATRIX:
        width, flat = unpacked(data)
        return flat.reshape(-1, width)
    if code == _TUPLE:
        return tuple(unpacked(data))
    if code == _POINTS:
        return [Point(*row) for row in zip(*unpacked(data), strict=True)]
    from qdrant_client.models import Filter

    return Filter.model_validate(unpacked(data))
