"""Tables of a result as files that other programs read."""

from __future__ import annotations

from typing import Any, Protocol


class Analysed(Protocol):
    """What every analysis returns."""

    def to_json(self) -> dict[str, Any]:
        """Return all of it as JSON."""

    def tables(self) -> dict[str, list[dict[str, Any]]]:
        """Return its tables by name, as rows."""

    def __len__(self) -> int: ...
