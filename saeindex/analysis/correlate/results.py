"""What correlating finds: pairs of concepts with their statistics, as text, JSON, tables and pictures."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from saeindex.analysis.stats.two_by_two import Correction

SHOWN = 20


@dataclass(frozen=True, slots=True)
class Concept:
    """One side of a pair: a feature with its label, or (``feature`` None) a concept that was named."""

    feature: int | None
    label: str
    field: str = ""

    def __str__(self) -> str:
        number = "" if self.feature is None else f"#{self.feature} "
        return f"{number}{self.label}" + (f" [{self.field}]" if self.field else "")

    def to_json(self) -> dict[str, Any]:
        """Return plain JSON types."""
        return {"feature": self.feature, "label": self.label, "field": self.field}


@dataclass(frozen=True, slots=True)
class ConceptPair:
    """Two concepts and how many records have both.

    ``support`` and ``expected`` count records, fractions where membership is a probability; ``log_odds``
    has a 95 % interval ``ci``; ``q`` is the false discovery rate among all that was tested; ``evidence``
    is what pairs are ranked by, negative where they avoid each other. ``examples`` are ids of records that
    have both.
    """

    a: Concept
    b: Concept
    support: float
    expected: float
    lift: float
    npmi: float
    g2: float
    log_odds: float
    ci: tuple[float, float]
    p: float
    q: float
    p_b_given_a: float
    p_a_given_b: float
    evidence: float
    examples: tuple[str, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """Return plain JSON types."""
        return {"a": self.a.to_json(), "b": self.b.to_json(), **self._numbers(), "ci": list(self.ci),
                "examples": list(self.examples)}  # fmt: skip

    def row(self) -> dict[str, Any]:
        """Return the pair as scalar cells."""
        sides = {
            f"{side}_{name}": value
            for side, concept in (("a", self.a), ("b", self.b))
            for name, value in concept.to_json().items()
        }
        low, high = self.ci
        return {**sides, **self._numbers(), "log_odds_low": low, "log_odds_high": high}

    def _numbers(self) -> dict[str, float]:
        names = (
            "support", "expected", "lift", "npmi", "g2", "log_odds", "p", "q", "p_b_given_a", "p_a_given_b",
            "evidence",
        )  # fmt: skip
        return {name: getattr(self, name) for name in names}


@dataclass(frozen=True, slots=True)
class Correlations:
    """The pairs that go together (``results``) or avoid each other (``avoided``), the surest first.

    ``units`` is how many of the records are independent: these are what is counted. ``tested`` pairs
    entered the correction of the error rate ``alpha``; ``found`` is how many of them were findings, of
    which the first are listed. ``removed`` counts pairs that say nothing, by reason: those known from the
    space before the tests, those seen in the records among what would have been listed.
    """

    field: str
    other_field: str
    records: int
    units: int
    level: str
    tested: int
    found: int
    alpha: float
    method: Correction
    least: int
    removed: Mapping[str, int]
    results: tuple[ConceptPair, ...]
    avoided: tuple[ConceptPair, ...] = ()

    def __len__(self) -> int:
        return len(self.results) + len(self.avoided)

    def to_json(self) -> dict[str, Any]:
        """Return plain JSON types."""
        return {
            **self._said(),
            "removed": dict(self.removed),
            "results": [pair.to_json() for pair in self.results],
            "avoided": [pair.to_json() for pair in self.avoided],
        }

    def tables(self) -> dict[str, list[dict[str, Any]]]:
        """Return tables of scalar cells."""
        return {
            "pairs": [pair.row() for pair in self.results],
            "avoided": [pair.row() for pair in self.avoided],
            "removed": [{"reason": reason, "pairs": count} for reason, count in self.removed.items()],
        }

    def _said(self) -> dict[str, Any]:
        names = (
            "field",
            "other_field",
            "records",
            "units",
            "level",
            "tested",
            "found",
            "alpha",
            "method",
            "least",
        )
        return {name: getattr(self, name) for name in names}

    def _repr_html_(self) -> str:
        from saeindex.report.notebook import html_of

        return html_of(self)

    def __str__(self) -> str:
        fields = " × ".join(name or "text" for name in dict.fromkeys((self.field, self.other_field)))
        head = (
            f"{fields}: {self.found:,} of {self.tested:,} pairs of concepts go together or avoid each other "
            f"in {self.records:,} records (q < {self.alpha:g}, {self.method.upper()})"
        )
        if self.units < self.records:
            head += f"; {self.units:,} of them independent, each counted as one"
        left_out = "; ".join(f"{count:,} {reason}" for reason, count in self.removed.items())
        lines = [head, *([f"left out: {left_out}"] if left_out else [])]
        lines += [_line(pair) for pair in self.results[:SHOWN]]
        if self.avoided:
            lines += ["avoid each other:", *(_line(pair) for pair in self.avoided[: SHOWN // 4])]
        return "\n".join(lines)


def _line(pair: ConceptPair) -> str:
    given = f"P(b|a) {pair.p_b_given_a:.2f}  P(a|b) {pair.p_a_given_b:.2f}"
    counts = f"{pair.support:7,.0f} (chance {pair.expected:,.1f})  lift {pair.lift:6.1f}"
    return f"  {counts}  npmi {pair.npmi:5.2f}  {given}  {pair.a}  ×  {pair.b}"
