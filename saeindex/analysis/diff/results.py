"""The result of a comparison: findings, hints, power and confirmation."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from saeindex.analysis.stats.choices import Family
from saeindex.report.model import Example
from saeindex.report.result import AnalysisResult


@dataclass(frozen=True, slots=True)
class Finding:
    """A concept, word or cluster that is more frequent in ``group`` than in ``against``.

    ``freq`` is the share of records in each group. ``effect`` is the difference between the first group and
    the second (with more than two groups: between ``group`` and the strongest other group), weighted over
    strata, with its 95 % interval ``ci``. ``q`` is the false discovery rate within the family. ``replicated``
    is whether a finding of one half of the units holds in the other half, and None if that half alone did not
    find it. ``related`` are findings of the same feature family.
    """

    family: Family
    key: int | str
    label: str
    group: str
    against: str
    freq: Mapping[str, float]
    effect: float
    ci: tuple[float, float]
    log_odds: float
    log_odds_ci: tuple[float, float]
    p: float
    q: float
    support: int
    design_effect: float = 1.0
    replicated: bool | None = None
    related: tuple[Finding, ...] = ()
    examples: Mapping[str, tuple[Example, ...]] = field(default_factory=dict)

    @property
    def shown(self) -> str:
        """The name of the finding in reports."""
        if self.family == "concepts":
            return f"#{self.key} {self.label}"
        return f"“{self.label}”" if self.family in ("words", "named") else self.label

    def to_json(self) -> dict[str, Any]:
        """Return the finding as JSON; ``feature`` is None for words and clusters."""
        examples = {name: [asdict(one) for one in each] for name, each in self.examples.items()}
        return {
            "family": self.family,
            "feature": self.key if self.family == "concepts" else None,
            **self.row(),
            "freq": dict(self.freq),
            "ci": list(self.ci),
            "log_odds_ci": list(self.log_odds_ci),
            "related": [one.to_json() for one in self.related],
            "examples": examples,
        }

    def row(self) -> dict[str, Any]:
        """Return the finding as one row of a table."""
        shares = {f"freq {name}": share for name, share in self.freq.items()}
        return {
            "key": self.key,
            "label": self.label,
            "group": self.group,
            "against": self.against,
            **shares,
            "effect": self.effect,
            "ci_low": self.ci[0],
            "ci_high": self.ci[1],
            "log_odds": self.log_odds,
            "log_odds_low": self.log_odds_ci[0],
            "log_odds_high": self.log_odds_ci[1],
            "p": self.p,
            "q": self.q,
            "support": self.support,
            "design_effect": self.design_effect,
            "replicated": self.replicated,
        }

    def rows(self) -> list[dict[str, Any]]:
        """Return this finding and its related ones, which name it in ``related_to``, as rows of a table."""
        related = [one.row() | {"related_to": self.key} for one in self.related]
        return [self.row() | {"related_to": None}, *related]


@dataclass(frozen=True, slots=True)
class Hint:
    """An apparent difference that is not a finding: not tested, without an error rate."""

    family: Family
    key: int | str
    label: str
    group: str
    log_odds: float
    support: int


@dataclass(frozen=True, slots=True)
class Detectable:
    """The ``share`` of the first group that is detected with power 0.8, at a share ``base`` of the second."""

    family: Family
    base: float
    share: float | None


@dataclass(frozen=True, slots=True)
class Confirmation:
    """The numbers of findings in one half of the units, and of those that hold in the other at p < .05."""

    family: Family
    found: int
    replicated: int


@dataclass(frozen=True, slots=True)
class StratumChange:
    """The number of findings of a family without strata, and with this field as the only stratum."""

    family: Family
    field: str
    without: int
    with_it: int
    gone: tuple[str, ...]


@dataclass(frozen=True, eq=False, repr=False)
class Diff(AnalysisResult):
    """The result of a comparison; ``findings`` by family, the largest difference first.

    Each family of evidence has its own false discovery rate ``alpha``; the rates must not be added up.
    ``findings`` has all named properties, including those with ``q`` above ``alpha``.
    """

    groups: Mapping[str, int]
    alpha: float
    method: str
    level: str
    tested: Mapping[Family, int]
    findings: Mapping[Family, tuple[Finding, ...]]
    hints: tuple[Hint, ...] = ()
    power: tuple[Detectable, ...] = ()
    confirmation: tuple[Confirmation, ...] = ()
    changes: tuple[StratumChange, ...] = ()
    strata: tuple[str, ...] = ()
    unit: str | None = None
    pairs: int | None = None
    units: Mapping[str, int] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    counted_by: str = "snapshot"
    field: str = ""
    hypotheses: tuple[Hypothesis, ...] = ()

    def __len__(self) -> int:
        return sum(one.q <= self.alpha for one in self)

    def __iter__(self) -> Any:
        return (finding for found in self.findings.values() for finding in found)

    def to_json(self) -> dict[str, Any]:
        """Return the result as JSON: ``results`` are the concepts; the other families have their own keys."""
        families = {name: [one.to_json() for one in found] for name, found in self.findings.items()}
        return {
            "groups": dict(self.groups),
            "tested": self.tested.get("concepts", sum(self.tested.values())),
            "alpha": self.alpha,
            "results": families.get("concepts", []),
            "words": families.get("words", []),
            "clusters": families.get("clusters", []),
            "named": families.get("named", []),
            "tested_by_family": dict(self.tested),
            "method": self.method,
            "level": self.level,
            "field": self.field,
            "unit": self.unit,
            "pairs": self.pairs,
            "units": dict(self.units),
            "strata": list(self.strata),
            "changes": [asdict(one) for one in self.changes],
            "confirmation": [asdict(one) for one in self.confirmation],
            "power": [asdict(one) for one in self.power],
            "hints": [asdict(one) for one in self.hints],
            "hypotheses": [asdict(one) for one in self.hypotheses],
            "counted_by": self.counted_by,
            "notes": list(self.notes),
            "revision": self.revision,
        }

    def tables(self) -> dict[str, list[dict[str, Any]]]:
        """Return every table: findings by family, hints, power, confirmation and hypotheses."""
        tables = {
            str(name): [row for one in found for row in one.rows()] for name, found in self.findings.items()
        }
        further: dict[str, Sequence[Any]] = {
            "hints": self.hints, "power": self.power, "confirmation": self.confirmation,
            "hypotheses": self.hypotheses,
        }  # fmt: skip
        return tables | {name: [asdict(one) for one in rows] for name, rows in further.items() if rows}


@dataclass(frozen=True, slots=True)
class Hypothesis:
    """A hypothesis on texts of ``group``; ``verified`` is the share of judged records that fit it, by group.

    ``p`` tests that the shares are equal, ``q`` is corrected for the number of hypotheses, and ``holds`` is
    whether ``group`` has the significantly larger share.
    """

    text: str
    group: str
    verified: dict[str, float]
    judged: dict[str, int]
    p: float
    q: float
    holds: bool
