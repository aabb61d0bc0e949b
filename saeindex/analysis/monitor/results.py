"""What a window of records differs in from a reference."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from math import exp
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

from saeindex.analysis.diff.results import Finding
from saeindex.analysis.stats.evidence import Family

if TYPE_CHECKING:
    from saeindex.analysis.monitor.monitor import MonitorOptions

# What the two groups are called.
WINDOW, REFERENCE = "window", "reference"
Severity: TypeAlias = Literal["none", "low", "medium", "high"]
ORDER: tuple[Severity, ...] = ("none", "low", "medium", "high")
# A change of the share from which it is medium, and from which it is high.
MEDIUM, HIGH = 0.05, 0.15
SHOWN = 12


@dataclass(frozen=True, eq=False)
class Alert:
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
            "least_effect": self.options.least_effect,
            "least_odds": self.options.least_odds,
            "tested": dict(self.tested),
            "changed": [told(one) | one.to_json() for one in self],
            "method": self.method,
            "field": self.field,
            "unit": self.unit,
            "strata": list(self.strata),
            "notes": list(self.notes),
        }

    def tables(self) -> dict[str, list[dict[str, Any]]]:
        """Return the changes by family, related ones included."""
        return {
            str(family): [told(one) | one.row() for first in found for one in (first, *first.related)]
            for family, found in self.changed.items()
        }

    def _repr_html_(self) -> str:
        from saeindex.report.notebook import html_of

        return html_of(self)

    def __str__(self) -> str:
        return "\n".join(_lines(self))


def is_real(one: Finding, options: MonitorOptions) -> bool:
    """Say whether a finding is as large a change as an alert asks for."""
    return abs(one.effect) >= options.least_effect and exp(abs(one.log_odds)) >= options.least_odds


def severity_of(one: Finding) -> Severity:
    """Return how large a change is."""
    size = abs(one.effect)
    return "high" if size >= HIGH else "medium" if size >= MEDIUM else "low"


def told(one: Finding) -> dict[str, Any]:
    """Return what an alert says of a finding besides its numbers."""
    return {"direction": "up" if one.effect > 0 else "down", "severity": severity_of(one)}


def _lines(alert: Alert) -> Iterator[str]:
    options = alert.options
    verdict = f"Alert ({alert.severity}): {len(alert):,} changes" if len(alert) else "No change"
    yield f"{verdict}, {alert.window:,} records against {alert.reference:,}."
    looks = f" over {options.looks} looks" if options.looks > 1 else ""
    yield (
        f"{alert.method}. False alerts in {options.alpha:.0%} of cases{looks}; a change counts from "
        f"{100 * options.least_effect:g} pp and an odds ratio of {options.least_odds:g}."
    )
    for note in alert.notes:
        yield f"Note: {note}."
    for one in list(alert)[:SHOWN]:
        shares = f"{one.freq[REFERENCE]:.1%} → {one.freq[WINDOW]:.1%}"
        also = f", with {len(one.related)} alike" if one.related else ""
        size = f"{100 * one.effect:+.1f} pp  {severity_of(one)}"
        yield f"  {size}  {one.shown}  ({shares}, q {one.q:.2g}{also})"
    if len(alert) > SHOWN:
        yield f"  … and {len(alert) - SHOWN:,} more"
