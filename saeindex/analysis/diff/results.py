"""The results of comparisons: findings, hints, power and confirmation; of a monitor, what changed."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from math import exp
from typing import Any, Literal, Self, TypeAlias

from saeindex.analysis.stats.options import Family, MonitorOptions
from saeindex.report.model import Example
from saeindex.report.result import AnalysisResult

# The key of each family's findings in JSON.
KEYS: Mapping[Family, str] = {
    "concepts": "results", "words": "words", "clusters": "clusters", "style": "style", "named": "named"
}  # fmt: skip


class FoundByFamily(AnalysisResult):
    """A result with ``findings`` by family, and the number of ``tested`` concepts or words of each."""

    __slots__ = ()

    def to_json(self) -> dict[str, Any]:
        """Return it as JSON: ``results`` are the concepts; the other families have their own keys."""
        found = super().to_json()
        findings, tested = found.pop("findings"), found.pop("tested")
        listed = {key: findings.get(family, []) for family, key in KEYS.items()}
        count = tested.get("concepts", sum(tested.values()))
        return {**found, "tested": count, **listed, "tested_by_family": tested}

    @classmethod
    def of_schema(cls, found: dict[str, Any]) -> dict[str, Any]:
        """Return the schema of the JSON, of that of the class."""
        parts = found["properties"]
        tested, findings = parts.pop("tested"), parts.pop("findings")
        listed = findings["additionalProperties"]
        parts |= {"tested": {"type": "integer"}, **dict.fromkeys(KEYS.values(), listed)}
        parts["tested_by_family"] = tested
        return super().of_schema({name: one for name, one in found.items() if name != "required"})

    @classmethod
    def from_json(cls, given: Mapping[str, Any]) -> Self:
        """Return the result that :meth:`to_json` wrote."""
        tested = given["tested_by_family"]
        findings = {name: given[key] for name, key in KEYS.items() if given[key] or name in tested}
        others = {
            name: one for name, one in given.items() if name not in (*KEYS.values(), "tested_by_family")
        }
        return super().from_json({**others, "tested": tested, "findings": findings})


class OfFamily:
    """A finding of a family of evidence, by the ``key`` of a concept, word or cluster."""

    __slots__ = ()
    family: Family
    key: int | str
    label: str

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


@dataclass(frozen=True, slots=True)
class Finding(OfFamily):
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

    def row(self) -> dict[str, Any]:
        """Return the finding as one row of a table."""
        shares = {f"freq {name}": share for name, share in self.freq.items()}
        names = ("key", "label", "group", "against"), ("p", "q", "support", "design_effect", "replicated")
        first, last = ({name: getattr(self, name) for name in part} for part in names)
        low, high = self.log_odds_ci
        return {
            **first, **shares, "effect": self.effect, "ci_low": self.ci[0], "ci_high": self.ci[1],
            "log_odds": self.log_odds, "log_odds_low": low, "log_odds_high": high, **last,
        }  # fmt: skip

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
    ``findings`` has all named properties, including those with ``q`` above ``alpha``. Of three groups or more
    a finding sets one apart from every other; ``any_difference`` are the differences between some of them,
    each by the group that stands apart most from all others together, by which its ``effect`` is.
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
    any_difference: Mapping[Family, tuple[Finding, ...]] = field(default_factory=dict)
    counted_by: str = "snapshot"
    field: str = ""
    hypotheses: tuple[Hypothesis, ...] = ()

    def __len__(self) -> int:
        return sum(one.q <= self.alpha for one in self)

    def __iter__(self) -> Any:
        return (finding for found in self.findings.values() for finding in found)

    @property
    def has_findings(self) -> bool:
        """Whether anything differs: one group from every other, or some of the groups."""
        return len(self) > 0 or any(
            one.q <= self.alpha for found in self.any_difference.values() for one in found
        )

    def tables(self) -> dict[str, list[dict[str, Any]]]:
        """Return every table: findings and any differences by family, hints, power, and so on."""
        tables = {
            str(name): [row for one in found for row in one.rows()] for name, found in self.findings.items()
        }
        for name, found in self.any_difference.items():
            tables[f"any-{name}"] = [row for one in found for row in one.rows()]
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
                {"direction": "up" if one.effect > 0 else "down", "severity": severity_of(one)} | row
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
