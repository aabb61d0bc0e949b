"""Where an operation waits: on its thread or, driven by an event loop, while the loop does other things.

What asks the engine is written once, as if answers came at once. On a thread it waits for them. An event loop
runs it as a greenlet, which stops where it would wait; the loop awaits the answer, and it goes on with that.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from concurrent.futures import Executor
from contextvars import copy_context
from typing import Any, TypeVar

from greenlet import getcurrent, greenlet

from saeindex.errors import InvalidInputError

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
