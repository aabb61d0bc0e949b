"""Options of correlations and triggers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypedDict

from saeindex.analysis.stats.two_by_two import check_correction
from saeindex.errors import InvalidInputError

if TYPE_CHECKING:
    from saeindex.analysis.stats.two_by_two import Correction
    from saeindex.types import LevelName

# The maximum number of listed pairs for each sign of the association: of all features, of named concepts.
LISTED, LISTED_NAMED = 100, 1_000


@dataclass(frozen=True, slots=True)
class CorrelateOptions:
    """How pairs of concepts are tested.

    - ``level``: the minimum strength at which a record counts as having a feature. Named concepts have
      their own levels.
    - ``unit``: a metadata field; records with the same value of it count together as one unit.
    - ``alpha``: the false discovery rate over all tested pairs.
    - ``method``: "bh" (Benjamini-Hochberg), or "by", which controls the rate under any dependence.
    - ``min_support``: the minimum number of records that have, or are expected to have, both concepts.
    - ``limit``: the maximum number of listed pairs that occur together, and of pairs that avoid each other.
      With None, 100, and 1,000 for named concepts.
    - ``with_trivial``: whether pairs that are associated for a trivial reason are listed. Not for named
      concepts.
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
    """How concepts of prompts are tested against a behaviour; see :class:`CorrelateOptions`."""

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
