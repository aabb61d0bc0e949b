"""Options of a comparison."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypedDict

from saeindex.analysis.stats.design import AUTO
from saeindex.analysis.stats.evidence import FAMILIES, Family
from saeindex.analysis.stats.two_by_two import check_correction
from saeindex.errors import InvalidInputError

if TYPE_CHECKING:
    from saeindex.analysis.stats.two_by_two import Correction
    from saeindex.types import LevelName


@dataclass(frozen=True, slots=True)
class DiffOptions:
    """How groups are compared.

    - ``families``: the kinds of evidence to test.
    - ``level``: the minimum strength at which a record counts as having a concept.
    - ``unit``: the metadata field by which records were sampled. "auto" looks for such a field; with None,
      each record is a unit of its own.
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
        """Check the numbers."""
        if not 0 < self.alpha < 1:
            raise InvalidInputError(f"alpha={self.alpha}", "out of range", "Use a rate between 0 and 1.")
        check_correction(self.method)
        if self.min_support < 1:
            raise InvalidInputError(f"min_support={self.min_support}", "out of range", "Use 1 or more.")
        unknown = [one for one in self.families if one not in FAMILIES]
        if unknown or not self.families:
            found = f"{unknown[0]!r}" if unknown else "none"
            raise InvalidInputError("families of evidence", found, f"Use some of {', '.join(FAMILIES)}.")


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
