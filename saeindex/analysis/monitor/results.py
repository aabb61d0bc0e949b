"""The result of monitoring: the changes in a window of records against a reference."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from math import exp
from typing import Any, Literal, TypeAlias

from saeindex.analysis.diff.results import Finding
from saeindex.analysis.monitor.options import MonitorOptions
from saeindex.analysis.stats.choices import Family
from saeindex.report.result import AnalysisResult

# The names of the two groups.
WINDOW, REFERENCE = "window", "reference"
Severity: TypeAlias = Literal["none", "low", "medium", "high"]
ORDER: tuple[Severity, ...] = ("none", "low", "medium", "high")
# The minimum change of a share with medium severity, and with high severity.
MEDIUM, HIGH = 0.05, 0.15


@dataclass(frozen=True, eq=False, repr=False)
class Alert(AnalysisResult):
    """The findings that ``changed`` between a reference and a window, by family; no finding, no alert.

    ``options.alpha`` is the rate of false alerts over all looks and families together. In a finding, "window"
    is the first group: ``effect`` is the share in the window minus the share in the reference.
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
        """The severity of the largest change."""
        return max((severity_of(one) for one in self), key=ORDER.index, default="none")

    def to_json(self) -> dict[str, Any]:
        """Return it as JSON, with whether it is an ``alert``, and how severe."""
        return {"alert": len(self) > 0, "severity": self.severity, **super().to_json()}

    def tables(self) -> dict[str, list[dict[str, Any]]]:
        """Return the changes by family, with related changes."""
        return {
            str(family): [
                change_of(one) | row
                for first in found
                for one, row in zip((first, *first.related), first.rows(), strict=True)
            ]
            for family, found in self.changed.items()
        }


def is_real(one: Finding, options: MonitorOptions) -> bool:
    """Return whether a change reaches the minimum effect and odds ratio of an alert."""
    return abs(one.effect) >= options.min_effect and exp(abs(one.log_odds)) >= options.min_odds_ratio


def severity_of(one: Finding) -> Severity:
    """Return the severity of a change."""
    size = abs(one.effect)
    return "high" if size >= HIGH else "medium" if size >= MEDIUM else "low"


def change_of(one: Finding) -> dict[str, Any]:
    """Return the direction and the severity of a change."""
    return {"direction": "up" if one.effect > 0 else "down", "severity": severity_of(one)}
