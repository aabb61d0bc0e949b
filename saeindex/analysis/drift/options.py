"""What may be asked of a drift."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypedDict

from saeindex.analysis.diff.options import DiffOptions
from saeindex.analysis.stats.design import AUTO
from saeindex.analysis.stats.evidence import FAMILIES, Family
from saeindex.errors import InvalidInputError

if TYPE_CHECKING:
    from saeindex.analysis.stats.two_by_two import Correction
    from saeindex.types import LevelName

# Most periods that a field is cut into, and the fewest different values that are an order.
MOST, FEWEST = 12, 3


@dataclass(frozen=True, slots=True)
class DriftOptions:
    """How drift is tested; the names are those of :class:`saeindex.analysis.diff.options.DiffOptions`.

    ``unit`` "auto" also takes the ordered field itself, where the records of one of its values are far more
    alike than those of the values beside it. ``periods`` is the largest number of periods.
    """

    families: Sequence[Family] = FAMILIES
    level: LevelName = "typical"
    unit: str | None = AUTO
    strata: Sequence[str] = ()
    length_bins: int | None = None
    periods: int = MOST
    alpha: float = 0.05
    method: Correction = "bh"
    min_support: int = 5
    examples: int = 2
    seed: int = 0

    def __post_init__(self) -> None:
        """Check the numbers."""
        DiffOptions(
            families=self.families, alpha=self.alpha, method=self.method, min_support=self.min_support
        )
        if not FEWEST <= self.periods <= 100:
            raise InvalidInputError(f"periods={self.periods}", "out of range", f"Use {FEWEST} to 100.")


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
