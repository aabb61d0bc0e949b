"""What a window of records differs in from a reference."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from math import exp
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

from saeindex.analysis.diff.results import Finding
from saeindex.analysis.stats.evidence import Family
from saeindex.report.result import AnalysisResult

if TYPE_CHECKING:
    from saeindex.analysis.monitor.options import MonitorOptions

# What the two groups are called.
WINDOW, REFERENCE = "window", "reference"
Severity: TypeAlias = Literal["none", "low", "medium", "high"]
ORDER: tuple[Severity, ...] = ("none", "low", "medium", "high")
# A change of the share from which it is medium, and from which it is high.
MEDIUM, HIGH = 0.05, 0.15


@dataclass(frozen=True, eq=False, repr=False)
class Alert(AnalysisResult):
    """What ``changed`` between a reference and a window, by family of evidence; nothing: no alert.

    ``options.alpha`` is the rate of false alerts over all looks and families together. In a finding, "window"
    is the first group: its ``effect`` is the share in the window less that of the reference.
    """

    reference: int
    window: int
    options: MonitorOptions
    tested: Mapping[Family, int]
    changed: Mapping[Family, tuple[Finding, ...]]
    method: str = ""
    strata: tuple[str, ...] = ()
    unit: str | None = None
    notes: tuple[str, ...] = ()
    field: str = ""

    def __len__(self) -> int:
        return sum(len(found) for found in self.changed.values())

    def __iter__(self) -> Iterator[Finding]:
        return (one for found in self.changed.values() for one in found)

    @property
    def severity(self) -> Severity:
        """That of the largest change."""
        return max((severity_of(one) for one in self), key=ORDER.index, default="none")

    def to_json(self) -> dict[str, Any]:
        """Return plain JSON types."""
        return {
            "alert": len(self) > 0,
            "severity": self.severity,
            "reference": self.reference,
            "window": self.window,
            "alpha": self.options.alpha,
            "looks": self.options.looks,
            "alpha_spent": self.options.spent,
            "least_effect": self.options.min_effect,
            "least_odds": self.options.min_odds_ratio,
            "tested": dict(self.tested),
            "changed": [change_of(one) | one.to_json() for one in self],
            "method": self.method,
            "field": self.field,
            "unit": self.unit,
            "strata": list(self.strata),
            "notes": list(self.notes),
        }

    def tables(self) -> dict[str, list[dict[str, Any]]]:
        """Return the changes by family, related ones included."""
        return {
            str(family): [change_of(one) | one.row() for first in found for one in (first, *first.related)]
            for family, found in self.changed.items()
        }


def is_real(one: Finding, options: MonitorOptions) -> bool:
    """Say whether a finding is as large a change as an alert asks for."""
    return abs(one.effect) >= options.min_effect and exp(abs(one.log_odds)) >= options.min_odds_ratio


def severity_of(one: Finding) -> Severity:
    """Return how large a change is."""
    size = abs(one.effect)
    return "high" if size >= HIGH else "medium" if size >= MEDIUM else "low"


def change_of(one: Finding) -> dict[str, Any]:
    """Return what an alert says of a finding besides its numbers."""
    return {"direction": "up" if one.effect > 0 else "down", "severity": severity_of(one)}
