"""The result of correlating: pairs of concepts with their statistics, as JSON and tables."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from saeindex.analysis.correlate.pair_tests import PairTables
from saeindex.analysis.stats.options import Correction
from saeindex.analysis.stats.stratified import agreeing
from saeindex.report.model import Example
from saeindex.report.result import AnalysisResult
from saeindex.types import shown_label

if TYPE_CHECKING:
    from saeindex.collection.snapshot import Snapshot
    from saeindex.types import Doubles


@dataclass(frozen=True, slots=True)
class PairedConcept:
    """One concept of a pair: a feature with its label, or (``feature`` None) a named concept."""

    feature: int | None
    label: str
    field: str = ""

    def __str__(self) -> str:
        number = "" if self.feature is None else f"#{self.feature} "
        return f"{number}{self.label}" + (f" [{self.field}]" if self.field else "")


@dataclass(frozen=True, slots=True)
class ConceptPair:
    """Two concepts and how many records have both.

    ``support`` and ``expected`` are numbers of records, fractional if membership is a probability.
    ``log_odds`` has the 95 % interval ``ci``. ``q`` is the false discovery rate among all tested pairs.
    Pairs are ranked by ``evidence``, which is negative if they avoid each other. ``examples`` are
    records that have both concepts, with the sentences that speak of them. ``related`` are pairs that go
    together in mostly the same records.
    """

    a: PairedConcept
    b: PairedConcept
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
    examples: tuple[Example, ...] = ()
    related: tuple[ConceptPair, ...] = ()

    def __str__(self) -> str:
        return f"{self.a} with {self.b}"

    def row(self) -> dict[str, Any]:
        """Return the pair as scalar cells."""
        sides = {
            f"{side}_{name}": value
            for side, concept in (("a", self.a), ("b", self.b))
            for name, value in asdict(concept).items()
        }
        names = (
            "support", "expected", "lift", "npmi", "g2", "log_odds", "p", "q", "p_b_given_a", "p_a_given_b",
            "evidence",
        )  # fmt: skip
        numbers = {name: getattr(self, name) for name in names}
        return {**sides, **numbers, "log_odds_low": self.ci[0], "log_odds_high": self.ci[1]}

    def rows(self) -> list[dict[str, Any]]:
        """Return this pair and its related ones, which name it in ``related_to``, as rows of a table."""
        related = [pair.row() | {"related_to": str(self)} for pair in self.related]
        return [self.row() | {"related_to": None}, *related]


@dataclass(frozen=True, slots=True, repr=False)
class Correlations(AnalysisResult):
    """The pairs that occur together (``results``) or avoid each other (``avoided``), best evidence first.

    Pairs with a weak label come last. ``units`` is the number of independent units, which are counted.
    ``tested`` is the number of pairs in the correction for the error rate ``alpha``, and ``found`` the number
    of findings, of which the first are listed. ``removed`` is the number of trivial pairs by reason; some
    reasons are known from the space before the tests, others are found in the records of the pairs that
    would be listed. ``shares`` are the shares of records that named concepts were taken to have, by name,
    where none was given.
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
    min_support: int
    removed: Mapping[str, int]
    shares: Mapping[str, float]
    results: tuple[ConceptPair, ...]
    avoided: tuple[ConceptPair, ...] = ()

    def __len__(self) -> int:
        return len(self.results) + len(self.avoided)

    def tables(self) -> dict[str, list[dict[str, Any]]]:
        """Return tables of scalar cells."""
        return {
            "pairs": [row for pair in self.results for row in pair.rows()],
            "avoided": [pair.row() for pair in self.avoided],
            "removed": [{"reason": reason, "pairs": count} for reason, count in self.removed.items()],
        }


@dataclass(frozen=True, slots=True)
class Trigger:
    """A concept of prompts that is associated with the behaviour, with example records.

    ``showing`` are records with the trigger and the behaviour, ``without_behaviour`` records with the trigger
    only, and ``without_trigger`` records with the behaviour only, each a list of different prompts. ``same``
    are triggers of nearly the same prompts. ``coverage`` is the share of the behaviour's records that have
    the trigger. ``prompts`` is the number of different prompts with the trigger, ``prompts_showing`` that of
    those with a response that shows the behaviour.
    """

    pair: ConceptPair
    coverage: float
    prompts: int
    prompts_showing: int
    showing: tuple[Example, ...]
    without_behaviour: tuple[Example, ...]
    without_trigger: tuple[Example, ...]
    same: tuple[PairedConcept, ...] = ()


@dataclass(frozen=True, slots=True, repr=False)
class Triggers(AnalysisResult):
    """The triggers of a behaviour, strongest evidence first, among ``tested`` concepts of the prompts.

    ``units`` is the number of different prompts; responses to the same prompt count together. ``having`` is
    the number of ``records`` with the behaviour (an estimate if the behaviour is a description), and
    ``units_having`` the number of prompts with such a response.
    """

    behaviour: PairedConcept
    prompt_field: str
    records: int
    units: int
    having: float
    units_having: int
    tested: int
    found: int
    alpha: float
    method: Correction
    removed: int
    results: tuple[Trigger, ...]

    def __len__(self) -> int:
        return len(self.results)

    def tables(self) -> dict[str, list[dict[str, Any]]]:
        """Return tables of scalar cells."""
        kinds = ("showing", "without_behaviour", "without_trigger")
        counts = ("coverage", "prompts", "prompts_showing")
        return {
            "triggers": [
                {**one.pair.row(), **{name: getattr(one, name) for name in counts}} for one in self.results
            ],
            "records": [
                {"trigger": str(one.pair.a), "kind": kind, "record": example.id, "text": example.text}
                for one in self.results
                for kind in kinds
                for example in getattr(one, kind)
            ],
        }


def concept_of(snapshot: Snapshot, feature: int) -> PairedConcept:
    """Return a feature as a concept of a text field."""
    label = snapshot.space.labels[feature]
    return PairedConcept(feature, shown_label(label.text, label.is_weak), snapshot.field)


def described(
    tables: PairTables,
    p: Doubles,
    q: Doubles,
    sides: Callable[[int, int], tuple[PairedConcept, PairedConcept, tuple[Example, ...]]],
) -> list[ConceptPair]:
    """Return pairs with all their statistics; ``sides`` returns the two concepts of a pair and examples."""
    value, low, high = tables.log_odds()
    low, high = agreeing(p, value, low, high)
    columns = {name: getattr(tables, name) for name in ("expected", "lift", "npmi", "g2", "evidence")} | {
        "support": tables.both, "log_odds": value, "p": p, "q": q,
        "p_b_given_a": tables.both / np.maximum(tables.of_a, 1e-12),
        "p_a_given_b": tables.both / np.maximum(tables.of_b, 1e-12),
    }  # fmt: skip
    pairs = []
    for row in range(len(tables)):
        a, b, examples = sides(int(tables.a[row]), int(tables.b[row]))
        numbers: dict[str, Any] = {name: float(column[row]) for name, column in columns.items()}
        ci = float(low[row]), float(high[row])
        pairs.append(ConceptPair(a, b, **numbers, ci=ci, examples=examples))
    return pairs
