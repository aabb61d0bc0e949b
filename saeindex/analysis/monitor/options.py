"""Options of a monitor."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypedDict

from saeindex.analysis.diff.options import DiffOptions
from saeindex.analysis.stats.choices import AUTO, Family, check_settings
from saeindex.errors import InvalidInputError

if TYPE_CHECKING:
    from saeindex.analysis.stats.choices import Correction
    from saeindex.types import LevelName


@dataclass(frozen=True, slots=True)
class MonitorOptions:
    """When an alert is raised. The other options are as in :class:`DiffOptions`.

    - ``alpha``: the rate of false alerts over all looks and families together; they share it equally.
    - ``looks``: the number of windows that will be compared.
    - ``min_effect``: the minimum change of a share; a smaller change raises no alert.
    - ``min_odds_ratio``: the minimum change of the odds, as a ratio; a smaller change raises no alert.
    """

    families: Sequence[Family] = ("concepts", "words")
    level: LevelName = "typical"
    unit: str | None = AUTO
    strata: Sequence[str] = ()
    length_bins: int | None = None
    alpha: float = 0.05
    looks: int = 1
    min_effect: float = 0.02
    min_odds_ratio: float = 1.5
    method: Correction = "bh"
    min_support: int = 5
    examples: int = 2
    seed: int = 0

    def __post_init__(self) -> None:
        """Check the numbers."""
        if self.looks < 1:
            raise InvalidInputError(f"looks={self.looks}", "out of range", "Use 1 or more.")
        if not 0 <= self.min_effect < 1 or self.min_odds_ratio < 1:
            found = f"min_effect={self.min_effect}, min_odds_ratio={self.min_odds_ratio}"
            raise InvalidInputError(
                "the minimum change", found, "Use an effect from 0 to 1, and an odds ratio of 1 or more."
            )
        check_settings(self.alpha, self.method, self.min_support, self.families)

    @property
    def spent(self) -> float:
        """The error rate for one family of evidence in one look."""
        return self.alpha / (self.looks * max(1, len(self.families)))

    def comparing(self) -> DiffOptions:
        """Return the options of the comparison."""
        return DiffOptions(
            families=self.families,
            level=self.level,
            unit=self.unit,
            strata=self.strata,
            length_bins=self.length_bins,
            paired=False,
            alpha=self.spent,
            method=self.method,
            min_support=self.min_support,
            confirm=False,
            examples=self.examples,
            seed=self.seed,
        )


class MonitorKeywords(TypedDict, total=False):
    """The fields of :class:`MonitorOptions`, by name."""

    families: Sequence[Family]
    level: LevelName
    unit: str | None
    strata: Sequence[str]
    length_bins: int | None
    alpha: float
    looks: int
    min_effect: float
    min_odds_ratio: float
    method: Correction
    min_support: int
    examples: int
    seed: int
