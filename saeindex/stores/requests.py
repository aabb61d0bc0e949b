"""What the shared half of a store asks of an engine: parts to fetch, and one plain search."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from saeindex.errors import InvalidInputError
from saeindex.stores.points import PlainVector

if TYPE_CHECKING:
    from qdrant_client.models import Filter


MAX_COUNT = 2**31 - 1


@dataclass(frozen=True, slots=True)
class NearestIds:
    """The ids of a search, as the engine has them and ``Nearest.among`` takes them, and the last score."""

    points: tuple[Any, ...]
    last: float


@dataclass(frozen=True, slots=True)
class Fetch:
    """Which parts of a point to bring: payload (all, none or some keys), and vectors by name."""

    payload: bool | list[str] = False
    vectors: list[str] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Nearest:
    """One search without stages, as an engine does it: every filter in ``filters`` must hold.

    ``above`` is strict (``>``), as engines have it. ``among`` limits the search to some ids.
    """

    vector: PlainVector
    using: str
    limit: int
    filters: tuple[Filter, ...] = ()
    above: float | None = None
    among: tuple[Any, ...] | None = None
    exact: bool = True
    fetch: Fetch = Fetch()
    timeout: float | None = None


def check_count(asked: str, name: str, value: object, least: int) -> None:
    """Raise InvalidInputError unless ``value`` is an int from ``least`` up that fits an engine's counters."""
    if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= MAX_COUNT:
        raise InvalidInputError(asked, f"{name} is {value!r}", f"Use an int from {least} to {MAX_COUNT}")
