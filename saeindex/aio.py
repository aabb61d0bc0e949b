"""``AsyncFeatureIndex``: the index for programs that run an event loop."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractAsyncContextManager
from dataclasses import replace
from functools import partial
from inspect import iscoroutinefunction
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self, TypeVar, cast

from saeindex.config import DEFAULT_SENTENCES, DEFAULT_SPACE, DEFAULT_WORDS, SentenceStorage
from saeindex.errors import InvalidInputError
from saeindex.index import FeatureIndex
from saeindex.operations.analysis import Analysis
from saeindex.operations.operation import Change, Operation
from saeindex.operations.surfaces import AsyncSurface, awaited
from saeindex.schema import check_kind
from saeindex.stores.base import closed_error
from saeindex.stores.waiting import answered, driven

if TYPE_CHECKING:
    from qdrant_client import AsyncQdrantClient, QdrantClient
    from qdrant_client.models import Filter

    from saeindex.features import FeatureSpace
    from saeindex.features.reader_space import ReaderSpace
    from saeindex.protocols import PayloadKind, Quantization, TextEncoder
    from saeindex.types import JsonObject

R = TypeVar("R")

WORKERS = 4


class AsyncFeatureIndex(AsyncSurface, AbstractAsyncContextManager["AsyncFeatureIndex"]):
    """A :class:`FeatureIndex` with async methods; ``async with`` closes it.

    Over a server with an ``AsyncQdrantClient``, the event loop that opened the index drives its queries:
    any number of them wait for the server at the same time, and only texts are encoded on threads. Writes,
    analyses and all calls of other indexes run on threads, at most ``workers`` at the same time. Over a
    directory they run one after another, and each holds Python's GIL while the engine works, so the event
    loop waits too: under load, open such an index with ``isolated``. A cancelled call on a thread is no
    longer awaited, but runs to its end.
    """

    def __init__(self, index: FeatureIndex, workers: int = WORKERS, is_awaiting: bool = False) -> None:
        """Wrap an open index; closing this object closes it too.

        ``is_awaiting`` is whether its client is one of the running event loop, and asks a server.
        """
        check_kind("an async index", index, FeatureIndex, "Give an open FeatureIndex, or use open.")
        if isinstance(workers, bool) or not isinstance(workers, int) or workers < 1:
            raise InvalidInputError(f"workers={workers!r}", "out of range", "Use a whole number from 1 up.")
        self.index = index
        self._threads = ThreadPoolExecutor(workers, thread_name_prefix="saeindex")
        self._is_awaiting, self._driven = is_awaiting, set[asyncio.Future[Any]]()

    @classmethod
    async def create(  # noqa: PLR0913  (all but the path have defaults)
        cls,
        path: str | Path,
        space: FeatureSpace | str | Path = DEFAULT_SPACE,
        *,
        client: AsyncQdrantClient | QdrantClient | None = None,
        url: str | None = None,
        encoder: TextEncoder | None = None,
        payload_indexes: Mapping[str, PayloadKind] | None = None,
        fields: Sequence[str] = (),
        sentences: SentenceStorage = DEFAULT_SENTENCES,
        words: str = DEFAULT_WORDS,
        reader: ReaderSpace | str | Path | None = None,
        quantization: Quantization | None = None,
        shard_number: int | None = None,
        replication_factor: int | None = None,
        write_consistency_factor: int | None = None,
        on_disk_payload: bool | None = None,
        on_disk: bool | None = None,
        isolated: bool = False,
        workers: int = WORKERS,
    ) -> Self:
        """Create an empty index; the arguments are those of :meth:`FeatureIndex.create`."""
        return await cls._of(
            FeatureIndex.create,
            client,
            workers,
            path,
            space,
            url=url,
            encoder=encoder,
            payload_indexes=payload_indexes,
            fields=fields,
            sentences=sentences,
            words=words,
            reader=reader,
            quantization=quantization,
            shard_number=shard_number,
            replication_factor=replication_factor,
            write_consistency_factor=write_consistency_factor,
            on_disk_payload=on_disk_payload,
            on_disk=on_disk,
            isolated=isolated,
        )

    @classmethod
    async def open(
        cls,
        path: str | Path,
        *,
        space: FeatureSpace | str | Path | None = None,
        client: AsyncQdrantClient | QdrantClient | None = None,
        url: str | None = None,
        encoder: TextEncoder | None = None,
        reader: ReaderSpace | str | Path | None = None,
        isolated: bool = False,
        workers: int = WORKERS,
    ) -> Self:
        """Open an index; the arguments are those of :meth:`FeatureIndex.open`."""
        options = {"space": space, "url": url, "encoder": encoder, "reader": reader, "isolated": isolated}
        return await cls._of(FeatureIndex.open, client, workers, path, **options)

    @classmethod
    async def _of(
        cls, opened: Callable[..., FeatureIndex], client: Any, workers: int, *given: Any, **options: Any
    ) -> Self:
        from qdrant_client import AsyncQdrantClient

        blocking = _blocking(client)

        def asked() -> tuple[FeatureIndex, bool]:
            index = opened(*given, client=blocking, **options)
            return index, isinstance(client, AsyncQdrantClient) and index.state.store.has_graph

        index, is_awaiting = await asyncio.to_thread(asked)
        return cls(index, workers, is_awaiting)

    async def part(
        self, where: str | None = None, *, query_filter: Filter | JsonObject | None = None
    ) -> Self:
        """Return the records that match as an index of their own, which is only read, while this one is open.

        Its answers are those of an index that has no other records; own names and profiles stay here. Which
        records match is asked of the engine each time; what is derived of them is as of now.
        """
        made = partial(self.index.part, where, query_filter=query_filter)
        return type(self)(await self.run(made), is_awaiting=self._is_awaiting)

    async def perform(self, operation: Operation[R]) -> R:
        """Return the result of an operation."""
        if isinstance(other := getattr(operation, "other", None), AsyncFeatureIndex):
            changed: Any = operation
            operation = replace(changed, other=other.index)
        call = partial(self.index.perform, operation)
        is_driven = self._is_awaiting and not isinstance(operation, Analysis | Change)
        return await (self._drive(call) if is_driven else self.run(call))

    async def _drive(self, call: Callable[[], R]) -> R:
        running = asyncio.ensure_future(driven(call, self._threads))
        self._driven.add(running)
        running.add_done_callback(self._driven.discard)
        return await running

    async def run(self, call: Callable[[], R]) -> R:
        """Run ``call`` on a worker thread and return its result."""
        loop = asyncio.get_running_loop()
        try:
            running = loop.run_in_executor(self._threads, call)
        except RuntimeError:  # the threads take no more
            raise closed_error("a call") from None
        return await running

    backup, warm = awaited(FeatureIndex.backup), awaited(FeatureIndex.warm)
    copy = awaited(FeatureIndex.copy)
    create_payload_index = awaited(FeatureIndex.create_payload_index)
    delete_payload_index = awaited(FeatureIndex.delete_payload_index)
    export = awaited(FeatureIndex.export)
    info = awaited(FeatureIndex.info)
    refresh = awaited(FeatureIndex.refresh)
    upsert = awaited(FeatureIndex.upsert)

    async def close(self) -> None:
        """Wait for running calls, then flush and release the store."""
        if self._driven:
            await asyncio.wait(self._driven)
        await asyncio.to_thread(self._threads.shutdown)
        await asyncio.to_thread(self.index.close)

    async def __aexit__(self, *failed: object) -> None:
        await self.close()


class _BlockingClient:
    """An ``AsyncQdrantClient`` as stores use a client: each call returns the answer.

    The caller is a thread, which waits for the loop, or an operation that the loop drives.
    """

    def __init__(self, client: AsyncQdrantClient, loop: asyncio.AbstractEventLoop) -> None:
        self._client, self._loop = client, loop

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._client, name)
        if not iscoroutinefunction(found):
            return found
        return lambda *args, **options: answered(found(*args, **options), self._loop)


def _blocking(client: AsyncQdrantClient | QdrantClient | None) -> QdrantClient | None:
    """Return a blocking client that worker threads can call."""
    if client is None:
        return None
    from qdrant_client import AsyncQdrantClient

    if isinstance(client, AsyncQdrantClient):
        return cast("QdrantClient", _BlockingClient(client, asyncio.get_running_loop()))
    return client
