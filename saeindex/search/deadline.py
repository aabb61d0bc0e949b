"""The time that a search may take."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from contextlib import contextmanager

from saeindex.errors import InvalidInputError, QueryTimeoutError, StorageError


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
