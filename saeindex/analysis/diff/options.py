"""Options of a comparison."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypedDict

from saeindex.analysis.stats.choices import AUTO, FAMILIES, Family, check_settings

if TYPE_CHECKING:
    from saeindex.analysis.stats.choices import Correction
    from saeindex.types import LevelName


@dataclass(frozen=True, slots=True)
class DiffOptions:
    """How groups are compared.

    - ``families``: the kinds of evidence to test.
    - ``level``: the minimum strength at which a record counts as having a concept.
    - ``unit``: the field by which records were sampled. "auto" is the document where there is one, or
      looks for such a field; with None, each record is a unit of its own.
    - ``strata``: metadata fields; records are compared only with records of the same values.
    - ``length_bins``: the number of quantiles of text length within which records are compared. With None,
      5 if length may matter.
    - ``paired``: whether units have records in both groups. With None, this is detected.
    - ``alpha``: the false discovery rate.
    - ``method``: "bh" (Benjamini-Hochberg), or "by", which controls the rate under any dependence.
    - ``min_support``: the minimum number of records that have a concept or word, for it to be tested.
    - ``confirm``: whether findings are confirmed on records that were kept apart.
    - ``examples``: the number of example records of each finding.
    - ``hints``: the maximum number of hints of each family: large differences that are not significant.
    - ``seed``: the seed of the random number generator.
    """

    families: Sequence[Family] = FAMILIES
    level: LevelName = "typical"
    unit: str | None = AUTO
    strata: Sequence[str] = ()
    length_bins: int | None = None
    paired: bool | None = None
    alpha: float = 0.05
    method: Correction = "bh"
    min_support: int = 5
    confirm: bool = True
    examples: int = 2
    hints: int = 10
    seed: int = 0

    def __post_init__(self) -> None:
        """Check the settings."""
        check_settings(self.alpha, self.method, self.min_support, self.families)


class DiffKeywords(TypedDict, total=False):
    """The fields of :class:`DiffOptions`, by name."""

    families: Sequence[Family]
    level: LevelName
    unit: str | None
    strata: Sequence[str]
    length_bins: int | None
    paired: bool | None
    alpha: float
    method: Correction
    min_support: int
    confirm: bool
    examples: int
    hints: int
    seed: int
