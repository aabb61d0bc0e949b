"""Caches of computed values, valid while their inputs stay the same."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable, Sequence
from typing import TYPE_CHECKING, Generic, TypeVar

from saeindex.stores.event_loop import elsewhere

if TYPE_CHECKING:
    from saeindex.types import FloatArray

Value = TypeVar("Value")
KEPT = 256


class Memo(Generic[Value]):
    """A cache of the last ``size`` values; thread-safe."""

    def __init__(self, size: int) -> None:
        """``size`` is the maximum number of values."""
        self._size = size
        self._kept: OrderedDict[Hashable, Value] = OrderedDict()
        self._lock = threading.Lock()

    def get(self, key: Hashable, compute: Callable[[], Value]) -> Value:
        """Return the value of ``key``; it is computed unless it is cached."""
        with self._lock:
            if key in self._kept:
                return self._kept[key]
        found = compute()
        with self._lock:
            found = self._kept.setdefault(key, found)
            while len(self._kept) > self._size:
                self._kept.popitem(last=False)
        return found


class QueryVectors:
    """Encodes query texts and caches the last 256 vectors; thread-safe."""

    def __init__(self, encode: Callable[[Sequence[str]], FloatArray]) -> None:
        """``encode`` turns texts into vectors (n, d)."""
        self._encode = encode
        self._kept: OrderedDict[str, FloatArray] = OrderedDict()
        self._lock = threading.Lock()

    def __call__(self, text: str) -> FloatArray:
        """Return the vector (d,) of a text."""
        with self._lock:
            if text in self._kept:
                self._kept.move_to_end(text)
                return self._kept[text]
        return self._keep([text], elsewhere(lambda: self._encode([text])))[0]

    def warm(self, texts: Sequence[str]) -> None:
        """Encode the texts (at most 256) that are not cached yet, in one batch."""
        with self._lock:
            fresh = [text for text in dict.fromkeys(texts) if text not in self._kept]
        if fresh:
            self._keep(fresh, elsewhere(lambda: self._encode(fresh)))

    def _keep(self, texts: Sequence[str], vectors: FloatArray) -> list[FloatArray]:
        rows = [row.copy() for row in vectors]
        for row in rows:
            row.flags.writeable = False  # the array is shared: zero steering returns it unchanged
        with self._lock:
            # Two threads may have encoded the same text: keep the first vector, which others may already use.
            kept = [self._kept.setdefault(text, row) for text, row in zip(texts, rows, strict=True)]
            while len(self._kept) > KEPT:
                self._kept.popitem(last=False)
        return kept
