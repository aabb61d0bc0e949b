"""Turns of readers and writers of a collection that one process owns."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from saeindex.protocols import VectorStore


class OwnTurns:
    """Many readers or one writer at a time, in the order in which they come.

    Within its turn a thread may begin further ones: a reader as a reader, a writer as either.
    """

    def __init__(self) -> None:
        """Start without anybody."""
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

    @contextmanager
    def reading(self) -> Iterator[None]:
        """See :class:`saeindex.protocols.Turns`."""
        yield

    writing = reading
