"""What a query asked of the engine, how long it took, and how long it may take.

A query notes its work in a context variable: of other threads' queries on the same store nothing is seen.
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
    """One piece of work: ``asked`` points at most (None: no limit), ``points`` came (None: not points).

    ``action`` is an engine's request ("search", "get", "scroll", "count", "facet") where ``is_request``,
    else a stage of the query.
    """

    action: str
    what: str
    asked: int | None
    points: int | None
    ms: float
    is_request: bool


_NOTES: ContextVar[list[Note] | None] = ContextVar("saeindex_notes", default=None)


@contextmanager
def watched() -> Iterator[list[Note]]:
    """Note what this thread's queries do inside the block."""
    notes: list[Note] = []
    token = _NOTES.set(notes)
    try:
        yield notes
    finally:
        _NOTES.reset(token)


def noted(
    action: str, call: Callable[[], T], what: str = "", asked: int | None = None, is_request: bool = False
) -> T:
    """Return what ``call`` returns, with a note where someone watches."""
    notes = _NOTES.get()
    if notes is None:
        return call()
    started = time.perf_counter()
    found = call()
    ms = (time.perf_counter() - started) * 1e3
    notes.append(Note(action, what, asked, _points(found), ms, is_request))
    return found


def _points(found: object) -> int | None:
    points = getattr(found, "points", found)  # those of a page
    return len(points) if isinstance(points, Sized) else None


class Deadline:
    """``seconds`` from now; without them, never.

    A server is told how long each request may take. An embedded engine cannot be stopped: there the time
    is looked at between the stages of a search.
    """

    def __init__(self, seconds: float | None) -> None:
        """Start the clock; InvalidInputError unless ``seconds`` is a positive number."""
        if seconds is not None and not (isinstance(seconds, int | float) and 0 < seconds < math.inf):
            raise InvalidInputError(f"timeout={seconds!r}", "not a positive number", "Give seconds: 2.5.")
        self.seconds = seconds
        self._ends = math.inf if seconds is None else time.monotonic() + seconds

    @property
    def left(self) -> float | None:
        """The seconds that are left, at least a millisecond; None where there is no end."""
        return None if self.seconds is None else max(1e-3, self._ends - time.monotonic())

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Raise QueryTimeoutError where the time is over after the block, or made the server give up."""
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
            "Raise the timeout, or ask for less: a narrower where, a lower limit.",
        )
