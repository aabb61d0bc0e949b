"""What a running server has: its indexes, encoders, keys, jobs and threads; and the limits of its work."""

from __future__ import annotations

import asyncio
import gc
import json
import math
import threading
from collections.abc import Callable, Mapping
from contextlib import suppress
from importlib import import_module
from typing import TYPE_CHECKING, Any, TypeVar

import anyio
from anyio import CapacityLimiter, to_thread

from saeindex.errors import IndexLockedError, InvalidInputError, MismatchError, StorageError
from saeindex.index import FeatureIndex
from saeindex.search.rerank import offer
from saeindex.stores.directory import DirectoryLock
from saeindex_server.analysis_process import AnalysisProcess, AnalysisThread
from saeindex_server.database import Database
from saeindex_server.hosts import Hosts
from saeindex_server.ingestion import ROOM, Ingestion
from saeindex_server.jobs import Jobs
from saeindex_server.keys import Key, KeyStore
from saeindex_server.limits import Bodies
from saeindex_server.logs import AuditLog, log
from saeindex_server.metrics import Metrics
from saeindex_server.problems import Refusal
from saeindex_server.shared_encoder import ABANDONED, SharedEncoder

if TYPE_CHECKING:
    from saeindex.features import FeatureSpace
    from saeindex.protocols import TextEncoder
    from saeindex_server.settings import ServerSettings

R = TypeVar("R")
# Threads that read the database for requests, and that write to it; searches have threads of their own.
READERS, WRITERS = 8, 4


class Service:
    """The parts of a server; started and ended with the application."""

    def __init__(self, settings: ServerSettings, places: list[str], url: str | None = None) -> None:
        """``places`` are directories of indexes, or collections on the Qdrant server at ``url``."""
        if not places and settings.folder is None:
            raise InvalidInputError("serve", "no index", "Name one or more, or give --folder.")
        self.settings = settings
        self.database = Database(settings.state)
        self.keys = KeyStore(self.database)
        self.audit = AuditLog(settings.state)
        self.metrics = Metrics()
        self.bodies = Bodies(settings)
        self._encoders: dict[str, SharedEncoder] = {}
        self._opening = threading.Lock()
        self.hosts = Hosts(places, url, self._encoder_of, settings.folder)
        self.jobs = Jobs(self.database, settings)
        self.ingestion = Ingestion(self.jobs, self.hosts)
        process = AnalysisProcess(settings.analysis_memory, settings.rerankers)
        self.analysis = AnalysisThread(self.jobs, self.hosts, process, settings.analysis_timeout)
        self._running, self._threads = CapacityLimiter(settings.max_running), CapacityLimiter(math.inf)
        # Requests that are computed, or wait for a thread. Others take none: their bodies arrive, they
        # follow a job, or they read or write a row of the database.
        self.running = 0
        self._reading, self._writing = CapacityLimiter(READERS), CapacityLimiter(WRITERS)
        self._owned: DirectoryLock | None = None
        self.is_ready = self._is_stopped = False

    def start(self) -> None:
        """Open the indexes, then begin with what waits."""
        if not self.keys.look() and not self.settings.is_loopback:
            asked = f"serve on {self.settings.host}"
            do = f"Make one: `saeindex keys create NAME --state {self.settings.state}`."
            raise InvalidInputError(asked, "anybody in the network could use it: there is no key", do)
        # Its modules import each other: of two first requests, one would see a part of them.
        import_module("qdrant_client.models")
        self._own_state()
        offer(self.settings.rerankers)
        for hosted in self.hosts:
            hosted.whole().encoder.encode_query(["warm"])
            if self.settings.warm:
                hosted.call(None, FeatureIndex.warm)
        self.jobs.requeue()
        self.ingestion.start()
        self.analysis.start()
        gc.freeze()  # what is loaded stays: each full collection took .15 s, in which nothing is answered
        self.is_ready = True
        log("ready", indexes=[hosted.name for hosted in self.hosts], needs_keys=self.keys.are_on)

    def stop(self) -> None:
        """End: what runs is finished or queued again, and the indexes are closed."""
        if self._is_stopped:
            return
        self.is_ready, self._is_stopped = False, True
        self.jobs.close()
        self.analysis.stop(self.settings.shutdown)
        self.ingestion.join(self.settings.shutdown)
        for encoder in self._encoders.values():
            encoder.close()
        self.hosts.close()
        self.database.close()
        if self._owned is not None:
            self._owned.release()
        gc.unfreeze()
        offer(None)  # last: until then requests may name no other models
        log("ended")

    def _own_state(self) -> None:
        """Keep other services out of the state folder; the lock ends with the process, however that ends."""
        try:
            self._owned = DirectoryLock(self.settings.state)
        except IndexLockedError as error:
            asked, do = f"serve with the state {self.settings.state}", "Give each service its own --state."
            raise IndexLockedError(asked, error.found, do) from None
        except OSError as error:
            asked, do = f"the server's state in {str(self.settings.state)!r}", "Make room on its disk."
            raise StorageError(asked, error.strerror or str(error), do) from error

    def create(self, name: str, options: Mapping[str, Any]) -> None:
        """Make an empty index; no key that is bound to its name gets it."""
        self.hosts.create(name, options, lambda: self.keys.unbind(name))

    def drop(self, name: str) -> None:
        """Delete an index with all its records; MismatchError while a job of it waits or runs."""
        one = self.hosts.get(name).name
        if (busy := self.jobs.open_job(one)) is not None:
            do = "Wait until it is done, or cancel it."
            raise MismatchError(f"delete {one!r}", f"job {busy.id} is not done", do)
        self.hosts.drop(one)
        self.keys.unbind(one)
        self.jobs.indexes.pop(one, None)

    @property
    def waits_for(self) -> str | None:
        """What keeps records from being indexed at the moment."""
        return ROOM if ROOM in self.jobs.indexes.values() else None

    async def run(self, function: Callable[[], R]) -> R:
        """Run a function on one of the threads; 504 when it takes longer than a request may.

        Nobody waits then for a function that took too long: it ends before it encodes further queries, and
        keeps its place among those that run until it has ended. 503 while too many wait.
        """
        limit = self.settings.timeout
        if self.running >= self.settings.max_running + self.settings.max_waiting:
            self.metrics.shed()
            raise Refusal(503, "a request", "too many wait", "Ask again after Retry-After seconds.")
        self.running += 1
        ABANDONED.set(abandoned := threading.Event())
        try:
            with anyio.fail_after(limit):
                return await self._on_thread(function)
        except TimeoutError:
            do = "Ask for less, or raise the server's --timeout."
            raise Refusal(504, "a request", f"it took longer than {limit:g} s", do) from None
        finally:
            abandoned.set()
            self.running -= 1

    async def _on_thread(self, function: Callable[[], R]) -> R:
        """Run a function on a thread when one of the places of those that run is free, until it has ended."""
        place, running = object(), self._running
        await running.acquire_on_behalf_of(place)
        loop, has_begun = asyncio.get_running_loop(), False

        def placed() -> R:
            nonlocal has_begun
            has_begun = True
            try:
                return function()
            finally:
                with suppress(RuntimeError):  # the loop has ended with the server
                    loop.call_soon_threadsafe(running.release_on_behalf_of, place)

        try:
            return await to_thread.run_sync(placed, abandon_on_cancel=True, limiter=self._threads)
        except BaseException:
            if not has_begun:
                running.release_on_behalf_of(place)
            raise

    async def read(self, function: Callable[[], R]) -> R:
        """Return what a function reads from the database; searches and writes take other threads."""
        return await to_thread.run_sync(function, limiter=self._reading)

    async def write(self, function: Callable[[], R]) -> R:
        """Run a function that writes to the database, or to the audit log, and waits for the disk."""
        return await to_thread.run_sync(function, limiter=self._writing)

    async def needs_keys(self) -> bool:
        """Return whether every request needs a key: not on loopback before the first key was made."""
        return not self.settings.is_loopback or self.keys.are_on or await self.read(self.keys.look)

    async def verified(self, text: str) -> Key | None:
        """Return the key of a text."""
        return await self.read(lambda: self.keys.verified(text))

    def _encoder_of(self, space: FeatureSpace) -> TextEncoder:
        """Return the encoder of a space, shared by all indexes whose vectors are of the same."""
        with self._opening:
            place = json.dumps(space.encoder.signature(), sort_keys=True)
            if place not in self._encoders:
                self._encoders[place] = SharedEncoder(space.open_encoder(), self.metrics.batch)
            return self._encoders[place]

    def measured(self) -> bytes:
        """Return the measurements in Prometheus' text format."""
        encoding = sum(encoder.waiting for encoder in self._encoders.values())
        deaths = {hosted.name: hosted.deaths for hosted in self.hosts}
        return self.metrics.page(self.running, encoding, self.jobs.waiting(), deaths)
