"""What stores of a directory have in common: they are refused after a crash, a close and a fork."""

from __future__ import annotations

import os
import threading
import weakref
from abc import abstractmethod
from collections.abc import Callable
from typing import TYPE_CHECKING

from saeindex.errors import EngineDiedError, StorageError
from saeindex.stores.base import BaseStore, closed_error
from saeindex.stores.turns import OwnTurns

if TYPE_CHECKING:
    from saeindex.protocols import Layout


class EmbeddedStore(BaseStore):
    """A collection in a directory, with an engine of its own."""

    def __init__(self, layout: Layout) -> None:
        """Store the layout, and refuse all calls in children that are forked from now on."""
        super().__init__(layout)
        self._pid = os.getpid()
        self._refusal: Callable[[str], StorageError] | None = None
        _OPEN_STORES.add(self)

    @property
    def prefers_postfilter(self) -> bool:
        """Whether ``SearchRequest.postfilter`` can make a search faster: the engine filters slowly."""
        return True

    @abstractmethod
    def optimize(self) -> bool:
        """Reclaim the space of deleted points; return whether anything changed."""

    def close(self) -> None:
        """Flush and release the directory; a second call, or a call in a forked child, does nothing."""
        if self._pid != os.getpid() or self._refusal is closed_error:
            return
        with self._mutex:
            try:
                if self._refusal is None:
                    self._shut()
            finally:
                self._refusal = closed_error
                _OPEN_STORES.discard(self)
                self._release()

    @abstractmethod
    def _shut(self) -> None:
        """Flush and close an engine that has not crashed."""

    @abstractmethod
    def _release(self) -> None:
        """Let go of what the store holds, also after a crash."""

    @abstractmethod
    def _abandon(self) -> None:
        """Let go of the engine in a forked child, without any effect on the parent's."""

    def _check_open(self, action: str) -> None:
        if self._refusal is not None:
            raise self._refusal(action)

    def _refuse_in_child(self) -> None:
        self._refusal, self._mutex, self.turns = _forked, threading.RLock(), OwnTurns()
        self._abandon()


def engine_died(action: str) -> StorageError:
    """Return the error for a call after the one in which the engine crashed."""
    found = "its engine crashed in an earlier call"
    return EngineDiedError(f"{action} on a store", found, "Close the store and open it again.")


def _forked(action: str) -> StorageError:
    return StorageError(
        f"{action} on a store",
        "this process was forked from the one that opened it, and the engine does not survive a fork",
        "Use the 'spawn' start method and open the store where it is used.",
    )


_OPEN_STORES: weakref.WeakSet[EmbeddedStore] = weakref.WeakSet()


def _refuse_all() -> None:
    for store in list(_OPEN_STORES):
        store._refuse_in_child()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_refuse_all)
