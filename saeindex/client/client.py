"""``Client``: a saeindex server and its indexes; and its async twin, which works on threads."""

from __future__ import annotations

import asyncio
import builtins
from collections.abc import Awaitable, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractAsyncContextManager, AbstractContextManager
from functools import partial, wraps
from typing import TYPE_CHECKING, Any, Concatenate, ParamSpec, TypeVar

from saeindex.client.connection import Connection, named
from saeindex.client.jobs import PAGE, Job, Jobs
from saeindex.client.remote_index import RemoteIndex
from saeindex.operations.operation import Operation
from saeindex.operations.surfaces import AsyncSurface, awaited

if TYPE_CHECKING:
    from saeindex.indexing.pipeline import IndexingReport

P = ParamSpec("P")
R = TypeVar("R")
Twin = TypeVar("Twin")
WORKERS = 16


class Client(AbstractContextManager["Client"]):
    """A saeindex server (``saeindex serve``); a context manager.

    ``Client("http://localhost:8000").index("papers").search("galaxies")``
    """

    def __init__(
        self, url: str, api_key: str | None = None, *, timeout: float = 60.0, retries: int = 4
    ) -> None:
        """``timeout`` is in seconds; what the server cannot take now is asked again ``retries`` times."""
        self.connection = Connection(url, api_key, timeout, retries)
        self.jobs = Jobs(self.connection)

    def index(self, name: str) -> RemoteIndex:
        """Return an index of the server; NotFoundError where it is first used, if there is none."""
        return RemoteIndex(self.connection, name)

    def indexes(self) -> list[str]:
        """Return the names of the indexes that the key is for."""
        found = self.connection.ask("GET", "/v1/indexes")
        return [one["name"] for one in found["indexes"]]

    def create(self, name: str, **options: Any) -> RemoteIndex:
        """Make an empty index, with the options of :meth:`FeatureIndex.create`; needs the scope admin."""
        self.connection.ask("POST", "/v1/indexes", {"name": name, **options})
        return self.index(name)

    def drop(self, name: str) -> None:
        """Delete an index with all its records; needs the scope admin."""
        self.connection.ask("DELETE", f"/v1/indexes/{named(name)}")

    def embeddings(self, index: str, texts: Sequence[str]) -> list[list[float]]:
        """Return the embeddings of texts by the encoder of an index."""
        found = self.connection.ask("POST", "/v1/embeddings", {"model": index, "input": list(texts)})
        return [one["embedding"] for one in found["data"]]

    def close(self) -> None:
        """Close the connections."""
        self.connection.close()

    def __exit__(self, *failed: object) -> None:
        self.close()


def awaited_job(
    method: Callable[Concatenate[Twin, P], Job], twin: str = "index"
) -> Callable[Concatenate[Any, P], Awaitable[AsyncJob]]:
    """Return an async method that does what ``method`` does, as :func:`awaited`, and returns its job."""
    job_of = awaited(method, twin)

    @wraps(method)
    async def call(self: Any, /, *args: P.args, **options: P.kwargs) -> AsyncJob:
        return AsyncJob(self.client, await job_of(self, *args, **options))

    return call


class AsyncClient(AbstractAsyncContextManager["AsyncClient"]):
    """A :class:`Client` with async methods; at most ``workers`` requests run at a time."""

    def __init__(
        self,
        url: str,
        api_key: str | None = None,
        *,
        timeout: float = 60.0,
        retries: int = 4,
        workers: int = WORKERS,
    ) -> None:
        """See :class:`Client`."""
        self.client = Client(url, api_key, timeout=timeout, retries=retries)
        self._threads = ThreadPoolExecutor(workers, thread_name_prefix="saeindex-client")

    def index(self, name: str) -> AsyncRemoteIndex:
        """See :meth:`Client.index`."""
        return AsyncRemoteIndex(self, self.client.index(name))

    async def create(self, name: str, **options: Any) -> AsyncRemoteIndex:
        """See :meth:`Client.create`."""
        return AsyncRemoteIndex(self, await self.run(partial(self.client.create, name, **options)))

    indexes, drop = awaited(Client.indexes, "client"), awaited(Client.drop, "client")
    embeddings = awaited(Client.embeddings, "client")

    @property
    def jobs(self) -> AsyncJobs:
        """The jobs of the key."""
        return AsyncJobs(self)

    async def run(self, call: Callable[[], R]) -> R:
        """Run ``call`` on a worker thread and return its result."""
        return await asyncio.get_running_loop().run_in_executor(self._threads, call)

    async def close(self) -> None:
        """Wait for running requests, then close the connections."""
        await asyncio.to_thread(self._threads.shutdown)
        self.client.close()

    async def __aexit__(self, *failed: object) -> None:
        await self.close()


class AsyncRemoteIndex(AsyncSurface):
    """A :class:`RemoteIndex` with async methods."""

    def __init__(self, client: AsyncClient, index: RemoteIndex) -> None:
        """Called by :meth:`AsyncClient.index`, not by users."""
        self.client, self.index, self.name, self.run = client, index, index.name, client.run

    async def perform(self, operation: Operation[R]) -> R:
        """Return the result of an operation, computed by the server."""
        return await self.client.run(partial(self.index.perform, operation))

    submit, submit_upsert = awaited_job(RemoteIndex.submit), awaited_job(RemoteIndex.submit_upsert)
    upsert, export, info = awaited(RemoteIndex.upsert), awaited(RemoteIndex.export), awaited(RemoteIndex.info)
    backup = awaited(RemoteIndex.backup)


class AsyncJobs:
    """:class:`saeindex.client.jobs.Jobs` with async methods."""

    def __init__(self, client: AsyncClient) -> None:
        """Called by :class:`AsyncClient`, not by users."""
        self._client = client

    async def list(self, state: str | None = None, limit: int = PAGE) -> list[AsyncJob]:
        """See :meth:`Jobs.list`."""
        found = await self._client.run(partial(self._client.client.jobs.list, state, limit))
        return [AsyncJob(self._client, one) for one in found]

    async def get(self, identity: str) -> AsyncJob:
        """See :meth:`Jobs.get`."""
        return AsyncJob(self._client, await self._client.run(partial(self._client.client.jobs.get, identity)))


class AsyncJob:
    """A :class:`saeindex.client.jobs.Job` whose requests are awaited; ``job`` is as it was seen last.

    ``wait`` takes one of the client's threads meanwhile.
    """

    def __init__(self, client: AsyncClient, job: Job) -> None:
        """Called by the client, not by users."""
        self.client, self.job, self.id, self.run = client, job, job.id, client.run

    @property
    def state(self) -> str:
        """Queued, running, done, failed or cancelled."""
        return self.job.state

    async def report(self) -> IndexingReport:
        """See :attr:`Job.report`."""
        return await self.run(lambda: self.job.report)

    async def rejects(self) -> builtins.list[dict[str, Any]]:
        """See :attr:`Job.rejects`."""
        return await self.run(lambda: self.job.rejects)

    wait, refresh = awaited_job(Job.wait, "job"), awaited_job(Job.refresh, "job")
    cancel, result = awaited_job(Job.cancel, "job"), awaited(Job.result, "job")

    def __repr__(self) -> str:
        return f"Async{self.job!r}"
