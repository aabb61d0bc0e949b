"""What may be asked of correlations and triggers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypedDict

from saeindex.analysis.stats.two_by_two import check_correction
from saeindex.errors import InvalidInputError

if TYPE_CHECKING:
    from saeindex.analysis.stats.two_by_two import Correction
    from saeindex.types import LevelName

# Pairs that are listed each way: of all features, of concepts that were named.
LISTED, LISTED_NAMED = 100, 1_000


@dataclass(frozen=True, slots=True)
class CorrelateOptions:
    """How pairs of concepts are tested.

    A feature counts in a record from ``level`` on. Records with the same value of the metadata field ``unit``
    count together as one. ``alpha`` is the false discovery rate over all pairs that are tested, held under
    any dependence by ``method`` "by". ``min_support`` records must have a pair, or be expected to. At most
    ``limit`` pairs are listed each way (None: 100, of named concepts 1,000); ``with_trivial`` keeps those
    that say nothing. ``level`` and ``with_trivial`` are of all pairs: named concepts have their own levels.
    """

    level: LevelName = "typical"
    unit: str | None = None
    alpha: float = 0.05
    method: Correction = "bh"
    min_support: int = 5
    limit: int | None = None
    with_trivial: bool = False

    def __post_init__(self) -> None:
        """Check the numbers."""
        check_settings(
            self.alpha, self.min_support, LISTED if self.limit is None else self.limit, self.method
        )


class CorrelateKeywords(TypedDict, total=False):
    """The fields of :class:`CorrelateOptions`, by name."""

    level: LevelName
    unit: str | None
    alpha: float
    method: Correction
    min_support: int
    limit: int | None
    with_trivial: bool


@dataclass(frozen=True, slots=True)
class TriggerOptions:
    """How concepts of prompts are tested with a behaviour; the names are those of correlations."""

    level: LevelName = "typical"
    unit: str | None = None
    alpha: float = 0.05
    method: Correction = "bh"
    min_support: int = 5
    limit: int = 10

    def __post_init__(self) -> None:
        """Check the numbers."""
        check_settings(self.alpha, self.min_support, self.limit, self.method)


class TriggerKeywords(TypedDict, total=False):
    """The fields of :class:`TriggerOptions`, by name."""

    level: LevelName
    unit: str | None
    alpha: float
    method: Correction
    min_support: int
    limit: int


def check_settings(alpha: float, min_support: int, limit: int, method: str) -> None:
    """Raise InvalidInputError for a setting that is out of range."""
    check_correction(method)
    checks: Sequence[tuple[str, float, bool, str]] = (
        ("alpha", alpha, 0 < alpha < 1, "Use a rate between 0 and 1."),
        ("min_support", min_support, min_support >= 1, "Use 1 or more."),
        ("limit", limit, limit >= 1, "Use 1 or more."),
    )
    for name, value, is_right, do in checks:
        if not is_right:
            raise InvalidInputError(f"correlate with {name}={value}", "out of range", do)
