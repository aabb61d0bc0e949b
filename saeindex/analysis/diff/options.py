"""What may be asked of a comparison."""

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

    ``unit`` is the field that records were sampled by ("auto" looks for one, None: each record is its own),
    ``strata`` fields within whose values records are compared, ``length_bins`` the number of quantiles of
    text length that they are compared within (None: 5 where it may matter), ``paired`` whether units have
    records in both groups (None: find out). ``min_support`` records must have a piece of evidence.
    ``method`` "by" controls the false discovery rate ``alpha`` under any dependence.
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
