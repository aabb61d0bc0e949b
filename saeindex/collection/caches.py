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
# Vectors of texts: those of one index, 3 MB at 384 dimensions.
KEPT = 2_048


class Memo(Generic[Value]):
    """A cache of the last ``size`` values; thread-safe."""

    def __init__(self, size: int) -> None:
        """``size`` is the maximum number of values."""
        self._size = size
        self._kept: OrderedDict[Hashable, Value] = OrderedDict()
        self._lock = threading.Lock()

    def __contains__(self, key: Hashable) -> bool:
        with self._lock:
            return key in self._kept

    def get(self, key: Hashable, compute: Callable[[], Value]) -> Value:
        """Return the value of ``key``; it is computed unless it is cached."""
        with self._lock:
            if key in self._kept:
                self._kept.move_to_end(key)
                return self._kept[key]
        return self.keep(key, compute())

    def keep(self, key: Hashable, value: Value) -> Value:
        """Cache a value; if another thread has, return that one, which others may already use."""
        with self._lock:
            found = self._kept.setdefault(key, value)
            while len(self._kept) > self._size:
                self._kept.popitem(last=False)
        return found


class QueryVectors:
    """Encodes query texts and caches the last 2,048 vectors; thread-safe."""

    def __init__(self, encode: Callable[[Sequence[str]], FloatArray]) -> None:
        """``encode`` turns texts into vectors (n, d)."""
        self._encode = encode
        self._kept: Memo[FloatArray] = Memo(KEPT)

    def __call__(self, text: str) -> FloatArray:
        """Return the vector (d,) of a text."""
        return self._kept.get(text, lambda: self._encoded([text])[0])

    def warm(self, texts: Sequence[str]) -> None:
        """Encode the texts (at most 2,048) that are not cached yet, in one batch."""
        fresh = [text for text in dict.fromkeys(texts) if text not in self._kept]
        for text, vector in zip(fresh, self._encoded(fresh) if fresh else (), strict=True):
            self._kept.keep(text, vector)

    def _encoded(self, texts: Sequence[str]) -> list[FloatArray]:
        rows = [row.copy() for row in elsewhere(lambda: self._encode(texts))]
        for row in rows:
            row.flags.writeable = False  # the array is shared: zero steering returns it unchanged
        return rows
