"""Options of a drift analysis."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypedDict

from saeindex.analysis.stats.choices import AUTO, FAMILIES, Family, check_settings
from saeindex.errors import InvalidInputError

if TYPE_CHECKING:
    from saeindex.analysis.stats.choices import Correction
    from saeindex.types import LevelName

# The maximum number of periods of a field, and the minimum number of different values that have an order.
MAX_PERIODS, MIN_PERIODS = 12, 3


@dataclass(frozen=True, slots=True)
class DriftOptions:
    """How drift is tested. The other options are as in :class:`saeindex.analysis.diff.options.DiffOptions`.

    - ``unit``: the metadata field by which records were sampled. "auto" can also choose the ordered field
      itself, if records of one of its values are far more alike than records of neighbouring values.
    - ``periods``: the maximum number of periods.
    """

    families: Sequence[Family] = FAMILIES
    level: LevelName = "typical"
    unit: str | None = AUTO
    strata: Sequence[str] = ()
    length_bins: int | None = None
    periods: int = MAX_PERIODS
    alpha: float = 0.05
    method: Correction = "bh"
    min_support: int = 5
    examples: int = 2
    seed: int = 0

    def __post_init__(self) -> None:
        """Check the settings."""
        check_settings(self.alpha, self.method, self.min_support, self.families)
        if not MIN_PERIODS <= self.periods <= 100:
            raise InvalidInputError(f"periods={self.periods}", "out of range", f"Use {MIN_PERIODS} to 100.")


class DriftKeywords(TypedDict, total=False):
    """The fields of :class:`DriftOptions`, by name."""

    families: Sequence[Family]
    level: LevelName
    unit: str | None
    strata: Sequence[str]
    length_bins: int | None
    periods: int
    alpha: float
    method: Correction
    min_support: int
    examples: int
    seed: int
