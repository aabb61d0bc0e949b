"""What was computed before, for as long as what it was computed from stays the same."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Hashable
from typing import Generic, TypeVar

Value = TypeVar("Value")


class Memo(Generic[Value]):
    """Remembers the last ``most`` values."""

    def __init__(self, most: int) -> None:
        """Start with nothing remembered."""
        self._most = most
        self._kept: OrderedDict[Hashable, tuple[object, Value]] = OrderedDict()

    def get(self, key: Hashable, compute: Callable[[], Value], of: object = None) -> Value:
        """Return the value of ``key``, computed where it is not known, or known ``of`` another object."""
        found = self._kept.get(key)
        if found is None or found[0] is not of:
            found = self._kept[key] = of, compute()
            while len(self._kept) > self._most:
                self._kept.popitem(last=False)
        return found[1]
