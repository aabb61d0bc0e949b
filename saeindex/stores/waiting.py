"""How operations wait: for their turn, and on an event loop for an answer, while the loop does other things.

What asks the engine is written once, as if answers came at once. On a thread it waits for them. An event loop
runs it as a greenlet, which stops where it would wait; the loop awaits the answer, and it goes on with that.
"""

from __future__ import annotations

import asyncio
import threading
from collections import deque
from collections.abc import Awaitable, Callable, Coroutine, Iterable, Iterator
from concurrent.futures import Executor
from contextlib import ExitStack, contextmanager, nullcontext
from contextvars import copy_context
from typing import TYPE_CHECKING, Any, TypeVar

from greenlet import getcurrent, greenlet

from saeindex.errors import InvalidInputError

if TYPE_CHECKING:
    from saeindex.protocols import VectorStore


class OwnTurns:
    """Many readers or one writer at a time, in the order in which they come.

    Within its turn a thread may begin further ones: a reader as a reader, a writer as either.
    """

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._waiting: deque[object] = deque()
        self._readers = self._depth = 0
        self._writer: int | None = None
        self._own = threading.local()

    @contextmanager
    def reading(self) -> Iterator[None]:
        """See :class:`saeindex.protocols.Turns`."""
        depth = getattr(self._own, "depth", 0)
        with self._changed:
            if not depth and self._writer != threading.get_ident():
                self._wait(lambda: self._writer is None)
            self._readers += 1
        self._own.depth = depth + 1
        try:
            yield
        finally:
            self._own.depth = depth
            with self._changed:
                self._readers -= 1
                self._changed.notify_all()

    @contextmanager
    def writing(self) -> Iterator[None]:
        """See :class:`saeindex.protocols.Turns`."""
        me = threading.get_ident()
        with self._changed:
            if self._writer != me:
                # A reader that waits for itself to end would wait for ever.
                assert not getattr(self._own, "depth", 0)  # noqa: S101
                self._wait(lambda: self._writer is None and not self._readers)
                self._writer = me
            self._depth += 1
        try:
            yield
        finally:
            with self._changed:
                self._depth -= 1
                if not self._depth:
                    self._writer = None
                    self._changed.notify_all()

    def _wait(self, is_free: Callable[[], bool]) -> None:
        """Wait until all that came before have begun, and the collection is free for this turn."""
        place = object()
        self._waiting.append(place)
        try:
            while self._waiting[0] is not place or not is_free():
                self._changed.wait()
        finally:  # also after Ctrl-C: those that come later would wait for this one for ever
            self._waiting.remove(place)
            self._changed.notify_all()


def reading_all(stores: Iterable[VectorStore]) -> ExitStack:
    """Return the turn of a reader of several collections, begun; two readers never wait for each other."""
    with ExitStack() as begun:
        for store in sorted(stores, key=lambda store: id(store.turns)):
            begun.enter_context(store.turns.reading())
        return begun.pop_all()


class NoTurns:
    """For a server's collection, which other processes may change at any time."""

    reading = writing = staticmethod(nullcontext)


R = TypeVar("R")


class _Driven(greenlet):  # type: ignore[misc]
    """An operation that an event loop drives; ``threads`` compute for it."""

    threads: Executor


async def driven(operation: Callable[[], R], threads: Executor) -> R:
    """Return the result of an operation that this event loop runs; what it waits for is awaited."""
    task = _Driven(operation)
    task.threads, task.gr_context = threads, copy_context()
    found: Any = task.switch()
    while not task.dead:
        try:
            answer = await found
        except BaseException as error:  # a cancelled operation ends where it waits
            found = task.throw(error)
        else:
            found = task.switch(answer)
    result: R = found
    return result


def elsewhere(call: Callable[[], R]) -> R:
    """Return the result of what computes long; for a driven operation, a thread does it."""
    task = getcurrent()
    if not isinstance(task, _Driven):
        return call()
    return _awaited(task, asyncio.get_running_loop().run_in_executor(task.threads, copy_context().run, call))


def answered(request: Coroutine[Any, Any, R], loop: asyncio.AbstractEventLoop) -> R:
    """Return the answer to a request of a client of ``loop``, to a driven operation or to another thread."""
    task = getcurrent()
    if isinstance(task, _Driven):
        return _awaited(task, request)
    if asyncio._get_running_loop() is loop:
        request.close()
        do = "Await the methods of AsyncFeatureIndex."
        raise InvalidInputError("a call on an event loop", "it would wait for itself", do)
    return asyncio.run_coroutine_threadsafe(request, loop).result()


def _awaited(task: _Driven, waited_for: Awaitable[R]) -> R:
    assert task.parent is not None  # noqa: S101
    found: R = task.parent.switch(waited_for)
    return found
