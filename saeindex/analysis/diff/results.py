"""The result of a comparison: findings, hints, power and confirmation."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from saeindex.analysis.stats.choices import Family
from saeindex.analysis.stats.results import FoundByFamily
from saeindex.report.model import Example


@dataclass(frozen=True, slots=True)
class Finding:
    """A concept, word or cluster that is more frequent in ``group`` than in ``against``.

    ``freq`` is the share of records in each group. ``effect`` is the difference between the first group and
    the second (with more than two groups: between ``group`` and the strongest other group), weighted over
    strata, with its 95 % interval ``ci``. ``q`` is the false discovery rate within the family. ``replicated``
    is whether a finding of one half of the units holds in the other half, and None if that half alone did not
    find it. ``related`` are findings of the same feature family.
    ``feature`` is the number of the feature of a concept.
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
    feature: int | None = None
    design_effect: float = 1.0
    replicated: bool | None = None
    related: tuple[Finding, ...] = ()
    examples: Mapping[str, tuple[Example, ...]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Note the feature of a concept."""
        if self.family == "concepts":
            object.__setattr__(self, "feature", self.key)

    @property
    def shown(self) -> str:
        """The name of the finding in reports."""
        if self.family == "concepts":
            return f"#{self.key} {self.label}"
        return f"“{self.label}”" if self.family in ("words", "style", "named") else self.label

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
class Diff(FoundByFamily):
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
