"""The embedded store with its engine in a child process, whose death is an error and not ours."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from saeindex.errors import EngineDiedError, SaeIndexError
from saeindex.stores.directory import EmbeddedStore, engine_died
from saeindex.stores.engine_process import EngineProcess, RelayedEngine

if TYPE_CHECKING:
    from qdrant_client.models import Filter

    from saeindex.protocols import Layout
    from saeindex.types import JsonObject


def _forwarded(name: str) -> Any:
    """Return a method that is called in the engine's process."""

    def call(store: IsolatedStore, *arguments: Any) -> Any:
        return store._engine.call(name, *arguments)

    return call


class IsolatedStore(EmbeddedStore):
    """A collection in a directory, as :class:`~saeindex.stores.edge.EdgeStore`, in a child process.

    In the process of its caller the engine can end it: a full disk, a damaged file and a query that takes all
    memory are fatal signals there. Here each is an :class:`~saeindex.errors.EngineDiedError`; what was
    acknowledged is safe. Calls do not hold Python's GIL. A call takes a fraction of a millisecond longer.
    """

    def __init__(self, path: Path, layout: Layout, engine: RelayedEngine) -> None:
        """Take over a process that has opened its directory; for :meth:`create` and :meth:`open`.

        Or share that of another process, by a :class:`RelayedEngine`: this store is then only read.
        """
        super().__init__(layout, path)
        self._engine = engine

    @classmethod
    def create(cls, path: str | os.PathLike[str], layout: Layout) -> Self:
        """Create an empty index at ``path``; the errors are those of ``EdgeStore.create``."""
        return cls._started(Path(path), "create", layout)

    @classmethod
    def open(cls, path: str | os.PathLike[str]) -> Self:
        """Open the index at ``path``; the errors are those of ``EdgeStore.open``, and EngineDiedError."""
        return cls._started(Path(path), "open")

    @classmethod
    def _started(cls, path: Path, action: str, *layout: Layout) -> Self:
        engine = EngineProcess()
        try:
            return cls(path, engine.call(action, str(path), *layout), engine)
        except BaseException as error:
            engine.end()
            if isinstance(error, EngineDiedError):
                raise _died(error, f"opening the index {str(path)!r}") from None
            raise

    @property
    def pid(self) -> int:
        """The process of the engine, 0 if it is that of another."""
        return self._engine.pid if isinstance(self._engine, EngineProcess) else 0

    def relay(self, request: bytes) -> bytes:
        """Return the packed answer to a call that another process made with a :class:`RelayedEngine`."""
        return self._run("relay", lambda: self._engine.relay(request))

    def read_manifest(self) -> dict[str, Any]:
        """Return the JSON object in ``manifest.json`` ({} if there is no file)."""
        manifest: dict[str, Any] = self._sent("read_manifest")
        return manifest

    def write_manifest(self, manifest: JsonObject, durable: bool = True) -> None:
        """Replace ``manifest.json``, atomically."""
        self._sent("write_manifest", manifest, durable)

    def optimize(self) -> bool:
        """Reclaim the space of deleted points; return whether anything changed."""
        return bool(self._sent("optimize"))

    def flush(self) -> None:
        """Make all writes durable against power loss."""
        self._sent("flush")

    def _shut(self) -> None:
        if isinstance(self._engine, EngineProcess):  # else it is for its owner to close
            self._sent("close")

    def _release(self) -> None:
        self._engine.end()

    # The primitives: each is one message and its answer ----------------------------------------------

    def _sent(self, name: str, *arguments: Any) -> Any:
        return self._run(name, lambda: self._engine.call(name, *arguments))

    @contextmanager
    def _translated(self, action: str) -> Iterator[None]:
        what = action.replace("_", " ")
        try:
            yield
        except EngineDiedError as error:
            self._refusal = engine_died
            raise _died(error, f"{what} in {self.name!r}") from None

    _upsert = _forwarded("_upsert")
    _set_payload = _forwarded("_set_payload")
    _delete = _forwarded("_delete")
    _retrieve = _forwarded("_retrieve")
    _nearest = _forwarded("_nearest")
    _nearest_ids = _forwarded("_nearest_ids")
    _scroll = _forwarded("_scroll")
    _scroll_ordered = _forwarded("_scroll_ordered")
    _index_payload = _forwarded("_index_payload")
    _count = _forwarded("_count")

    def _facet(
        self, key: str, value_type: type, query_filter: Filter | None, limit: int, exact: bool
    ) -> list[tuple[str | int | bool, int]]:
        # The engine knows the type of its values.
        counts: list[Any] = self._engine.call("_facet", key, None, query_filter, limit, exact)
        return counts

    def _abandon(self) -> None:
        self._engine.let_go()


def _died(error: SaeIndexError, asked: str) -> EngineDiedError:
    return EngineDiedError(asked, error.found, "Open it again; what was acknowledged is safe.")
