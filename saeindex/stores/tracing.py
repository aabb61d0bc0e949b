"""The engine requests of a query, their time, and the query's time limit.

A query records its work in a context variable, so it does not see queries of other threads on the same store.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Sized
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import TypeVar

from saeindex.errors import InvalidInputError, QueryTimeoutError, StorageError

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Note:
    """A step of work: ``asked`` is the limit of points (None: no limit), ``points`` the number returned.

    ``points`` is None if the result is not points. ``action`` is an engine's request ("search", "get",
    "scroll", "count", "facet"), or a stage of the query.
    """

    action: str
    what: str
    asked: int | None
    points: int | None
    ms: float


_NOTES: ContextVar[list[Note] | None] = ContextVar("saeindex_notes", default=None)


@contextmanager
def watched() -> Iterator[list[Note]]:
    """Record the steps of this thread's queries inside the block."""
    notes: list[Note] = []
    token = _NOTES.set(notes)
    try:
        yield notes
    finally:
        _NOTES.reset(token)


def noted(action: str, call: Callable[[], T], what: str = "", asked: int | None = None) -> T:
    """Return the result of ``call``, and record it as a note inside :func:`watched`."""
    notes = _NOTES.get()
    if notes is None:
        return call()
    started = time.perf_counter()
    found = call()
    ms = (time.perf_counter() - started) * 1e3
    notes.append(Note(action, what, asked, _points(found), ms))
    return found


def _points(found: object) -> int | None:
    points = getattr(found, "points", found)  # the points of a page
    return len(points) if isinstance(points, Sized) else None


class Deadline:
    """A time limit of ``seconds`` from now, or no limit for None.

    A server gets the remaining time as the timeout of each request. An embedded engine cannot be stopped:
    there the time is checked between the stages of a search.
    """

    def __init__(self, seconds: float | None) -> None:
        """Start the clock; InvalidInputError unless ``seconds`` is a positive number."""
        if seconds is not None and not (isinstance(seconds, int | float) and 0 < seconds < math.inf):
            raise InvalidInputError(f"timeout={seconds!r}", "not a positive number", "Give seconds: 2.5.")
        self.seconds = seconds
        self._ends = math.inf if seconds is None else time.monotonic() + seconds

    @property
    def left(self) -> float | None:
        """The remaining seconds, at least a millisecond; None without a limit."""
        return None if self.seconds is None else max(1e-3, self._ends - time.monotonic())

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Raise QueryTimeoutError if the time is over after the block, or the server has timed out."""
        try:
            yield
        except StorageError as error:
            if time.monotonic() < self._ends:
                raise
            raise self._over(name) from error
        if time.monotonic() >= self._ends:
            raise self._over(name)

    def _over(self, name: str) -> QueryTimeoutError:
        return QueryTimeoutError(
            f"a search within {self.seconds:g} s",
            f"the time was over after {name}",
            "Raise the timeout, or use a narrower where or a lower limit.",
        )
