"""Options of correlations and triggers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, TypedDict

from saeindex.analysis.stats.choices import AUTO, check_settings
from saeindex.errors import InvalidInputError

if TYPE_CHECKING:
    from saeindex.analysis.stats.choices import Correction
    from saeindex.types import LevelName

# The maximum number of listed pairs for each sign of the association: of all features, of named concepts.
LISTED, LISTED_NAMED = 100, 1_000


@dataclass(frozen=True, slots=True)
class CorrelateOptions:
    """How pairs of concepts are tested.

    - ``level``: the minimum strength at which a record counts as having a feature. Named concepts have
      their own levels.
    - ``unit``: a field; records with the same value of it count together as one unit. "auto" is the document,
      where texts were split into several records.
    - ``alpha``: the false discovery rate over all tested pairs.
    - ``method``: "bh" (Benjamini-Hochberg), or "by", which controls the rate under any dependence.
    - ``min_support``: the minimum number of records that have, or are expected to have, both concepts.
    - ``limit``: the maximum number of listed pairs that occur together, and of pairs that avoid each other.
      With None, 100, and 1,000 for named concepts.
    - ``with_trivial``: whether pairs that are associated for a trivial reason are listed. Not for named
      concepts.
    """

    level: LevelName = "typical"
    unit: str | None = AUTO
    alpha: float = 0.05
    method: Correction = "bh"
    min_support: int = 5
    limit: int | None = None
    with_trivial: bool = False

    def __post_init__(self) -> None:
        """Check the numbers."""
        check_listing(self.alpha, self.method, self.min_support, self.limit)


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
    """How concepts of prompts are tested against a behaviour; see :class:`CorrelateOptions`."""

    level: LevelName = "typical"
    unit: str | None = AUTO
    alpha: float = 0.05
    method: Correction = "bh"
    min_support: int = 5
    limit: int = 10

    def __post_init__(self) -> None:
        """Check the numbers."""
        check_listing(self.alpha, self.method, self.min_support, self.limit)


class TriggerKeywords(TypedDict, total=False):
    """The fields of :class:`TriggerOptions`, by name."""

    level: LevelName
    unit: str | None
    alpha: float
    method: Correction
    min_support: int
    limit: int


def check_listing(alpha: float, method: str, min_support: int, limit: int | None) -> None:
    """Raise InvalidInputError for a setting that is not possible."""
    check_settings(alpha, method, min_support)
    if limit is not None and limit < 1:
        raise InvalidInputError(f"limit={limit}", "out of range", "Use 1 or more.")
