"""The result of a drift analysis: trends, change points, new and vanished concepts, with shares by period."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Literal, TypeAlias

from saeindex.analysis.diff.results import FoundByFamily, OfFamily
from saeindex.analysis.stats.options import Family
from saeindex.report.model import Example

Kind: TypeAlias = Literal["trend", "change", "new", "vanished"]


@dataclass(frozen=True, slots=True)
class Period:
    """A period: the ``first`` and ``last`` of the field's values, and the number of records."""

    name: str
    first: Any
    last: Any
    records: int


@dataclass(frozen=True, slots=True)
class Trend(OfFamily):
    """A concept, word or cluster whose share of the records drifts.

    ``shares`` (P,) are the counted shares of the periods. ``fitted`` (P,) are those of a logistic line for a
    trend, and otherwise one share before ``at`` and one from it on; both are fitted within strata.
    ``effect``, with its 95 % interval ``ci``, is the last fitted share less the first, and ``slope`` is its
    part per unit of the field. A "new" concept is in no record before ``at``, a "vanished" concept in no
    record from ``at`` on; its true share there is at most ``bound``, with 95 % confidence. ``p_trend`` and
    ``p_change`` test for a trend and a change, ``p`` for either, and ``q`` is the false discovery rate within
    the family. ``examples`` are "early" and "late" records.
    """

    family: Family
    key: int | str
    label: str
    kind: Kind
    at: str | None
    shares: tuple[float, ...]
    fitted: tuple[float, ...]
    effect: float
    ci: tuple[float, float]
    slope: float
    slope_ci: tuple[float, float]
    p: float
    q: float
    p_trend: float
    p_change: float
    support: int
    feature: int | None = None
    design_effect: float = 1.0
    bound: float | None = None
    related: tuple[Trend, ...] = ()
    examples: Mapping[str, tuple[Example, ...]] = field(default_factory=dict)

    @property
    def direction(self) -> str:
        """Whether the share rises ("up") or falls ("down")."""
        return "up" if self.effect > 0 else "down"

    def row(self) -> dict[str, Any]:
        """Return the scalar cells, without the shares."""
        names = (
            "key", "label", "kind", "at", "direction", "effect", "slope", "p", "q", "p_trend", "p_change",
            "support", "design_effect", "bound",
        )  # fmt: skip
        cells = {name: getattr(self, name) for name in names}
        return cells | {
            "fitted_first": self.fitted[0], "fitted_last": self.fitted[-1], "ci_low": self.ci[0],
            "ci_high": self.ci[1], "slope_low": self.slope_ci[0], "slope_high": self.slope_ci[1],
        }  # fmt: skip


@dataclass(frozen=True, eq=False, repr=False)
class Drift(FoundByFamily):
    """The result of a drift analysis; ``findings`` by family, the largest effect first.

    Each family of evidence has its own false discovery rate ``alpha``; the rates must not be added up.
    ``per`` is the unit of slopes: 1, a year, or a step of a given order.
    """

    over: str
    periods: tuple[Period, ...]
    per: str
    alpha: float
    method: str
    level: str
    tested: Mapping[Family, int]
    findings: Mapping[Family, tuple[Trend, ...]]
    strata: tuple[str, ...] = ()
    unit: str | None = None
    notes: tuple[str, ...] = ()
    field: str = ""

    def __len__(self) -> int:
        return sum(len(found) for found in self.findings.values())

    def __iter__(self) -> Iterator[Trend]:
        return (one for found in self.findings.values() for one in found)

    def tables(self) -> dict[str, list[dict[str, Any]]]:
        """Return each family's findings and related findings with their shares, and the periods."""
        names = [one.name for one in self.periods]
        tables = {
            str(family): [
                one.row() | {f"share {name}": share for name, share in zip(names, one.shares, strict=True)}
                for first in found
                for one in (first, *first.related)
            ]
            for family, found in self.findings.items()
        }
        return tables | {"periods": [asdict(one) for one in self.periods]}
