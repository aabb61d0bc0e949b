"""Every finding that an analysis prints, checked by permutations of whole units.

Four collections: reviews with ordinary columns, speeches by year, answers to prompts, and medical questions.
What a user would ask is asked; then the groups (periods, behaviours) of whole units are permuted. A finding
fails if the 99 % lower bound of its permutation p is above twice the p that was printed. One bound in a
hundred is too high by chance, and statistics may order permutations otherwise than the printed p does: so a
finding that fails is checked again with as many fresh permutations, in which the printed p is computed each
time. Both are reported. Nothing is chosen here: the test parts are judged as they are.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
from scipy.stats import beta

from benchmarks.outcome import Figure, Outcome, at_most
from benchmarks.snapshots import as_indexed, encoder, labelled
from benchmarks.suites.audit import permutations
from saeindex.analysis.correlate.all_pairs import correlate_open
from saeindex.analysis.correlate.named_pairs import correlate_named
from saeindex.analysis.correlate.pair_tests import units_of
from saeindex.analysis.correlate.triggers import find_triggers
from saeindex.analysis.diff.diff import diff
from saeindex.analysis.drift.drift import drift, drift_design, periods_of
from saeindex.analysis.drift.trend_test import run_trends
from saeindex.analysis.stats.design import design_of
from saeindex.analysis.stats.evidence import Evidence, evidence_of
from saeindex.analysis.stats.groups import Groups
from saeindex.analysis.stats.options import CorrelateOptions, DiffOptions, DriftOptions, TriggerOptions
from saeindex.analysis.stats.unit_totals import run_tests
from saeindex.collection.snapshot import Snapshot
from saeindex.concepts.named_concept import ConceptReader, NamedConcept

if TYPE_CHECKING:
    from numpy.random import Generator
    from numpy.typing import NDArray

    from saeindex.analysis.stats.options import Family

    Doubles: TypeAlias = NDArray[np.float64]
    Ints: TypeAlias = NDArray[np.int64]
    # How often findings (c,), by their places, are as far out in permutations that a generator draws.
    Draw: TypeAlias = Callable[[Ints, Generator], Doubles]

PERMUTATIONS, QUICK = 10_000, 400
# The bound of a permutation p, and by how much it may be above the printed p.
CONFIDENCE, FACTOR = 0.99, 2.0
# The seed of the permutations that findings which fail are checked with again.
FRESH = 100
# Smaller printed values have no permutations to compare with.
SMALLEST_P = 1e-300
FAMILIES: tuple[Family, ...] = ("concepts", "words")


@dataclass(frozen=True, slots=True)
class Checked:
    """A printed finding: its ``p`` and q, and how many of the permutations were ``as_far`` out.

    ``again`` is that number among fresh permutations, None for a finding that holds without them.
    """

    collection: str
    analysis: str
    family: str
    p: float
    q: float
    as_far: float
    permutations: int
    again: float | None = None

    @property
    def bound(self) -> float:
        """The 99 % lower bound of the permutation p."""
        return self._lower(self.as_far)

    @property
    def bound_again(self) -> float:
        """The 99 % lower bound of the permutation p among fresh permutations, if there were any."""
        return self.bound if self.again is None else self._lower(self.again)

    @property
    def fails_first(self) -> bool:
        """Whether the printed p is too small for the first permutations."""
        return self.bound > FACTOR * self.p

    @property
    def fails(self) -> bool:
        """Whether the printed p is too small, also for fresh permutations."""
        return self.fails_first and self.bound_again > FACTOR * self.p

    def _lower(self, as_far: float) -> float:
        hits = int(as_far)
        return float(beta.ppf(1 - CONFIDENCE, hits, self.permutations - hits + 1)) if hits else 0.0

    def row(self) -> dict[str, Any]:
        """Return a row of the table, without any text of the collection."""
        return {
            "collection": self.collection, "analysis": self.analysis, "family": self.family,
            "p": self.p, "q": self.q, "permutation_p": self.as_far / self.permutations,
            "lower_99": self.bound, "lower_99_again": self.bound_again,
            "fails_first": self.fails_first, "fails": self.fails,
        }  # fmt: skip


def run(quick: bool) -> Outcome:
    """Check all findings of all collections."""
    count = QUICK if quick else PERMUTATIONS
    outcome = Outcome("audit", quick)
    checked: list[Checked] = []
    for audit in (reviews, speeches, prompts, questions):
        for one in audit(count):
            checked.append(one)
        print(f"{audit.__name__}: {len(checked)} findings so far", file=sys.stderr)
    outcome.tables["findings"] = [one.row() for one in checked]
    for analysis in dict.fromkeys(one.analysis for one in checked):
        own = [one for one in checked if one.analysis == analysis]
        outcome.figures[f"findings_{analysis}"] = Figure(len(own), "findings")
        outcome.figures[f"failing_first_{analysis}"] = Figure(
            sum(one.fails_first for one in own), "findings", n=len(own)
        )
        outcome.figures[f"failing_{analysis}"] = at_most(
            sum(one.fails for one in own), 0, "findings", len(own)
        )
    outcome.figures["permutations"] = Figure(count, "permutations")
    worst = max((min(one.bound, one.bound_again) / max(one.p, SMALLEST_P) for one in checked), default=0.0)
    outcome.figures["worst_bound_over_p"] = at_most(worst, FACTOR, "ratio", len(checked))
    return outcome


# Collections ------------------------------------------------------------------------------------------


def reviews(count: int) -> Iterator[Checked]:
    """Reviews of products: polarity, one product against the others, aspects that go together."""
    snapshot = labelled("product_reviews")
    yield from differences("reviews", snapshot, by_value(snapshot, "metadata.polarity"), count)
    yield from differences("reviews", snapshot, against_others(snapshot, "metadata.product", 0), count)
    yield from named_pairs("reviews", snapshot, DESCRIBED, count)
    yield from all_pairs("reviews", snapshot, count)


def speeches(count: int) -> Iterator[Checked]:
    """Speeches by year: before 1975 and after, parties, and drift."""
    snapshot = labelled("us_speeches")
    years = np.array([*snapshot.column("metadata.year").values])[snapshot.column("metadata.year").codes]
    halves = Groups(("before", "after"), (np.flatnonzero(years < 1975), np.flatnonzero(years >= 1975)))
    yield from differences("speeches", snapshot, halves, count)
    yield from differences("speeches", snapshot, by_value(snapshot, "metadata.party"), count)
    yield from drifts("speeches", snapshot, "metadata.year", count)


def prompts(count: int) -> Iterator[Checked]:
    """Fourteen answers to each prompt: what in a prompt goes with how it is answered; two models."""
    answers = labelled("alpaca_eval")
    asked = prompts_of(answers)
    unit = "metadata.instruction_id"
    for behaviour in (REFUSAL, LISTING):
        yield from triggers("prompts", asked, answers, behaviour, unit, count)
    models = answers.column("metadata.model")
    first = np.argsort(-models.counts, kind="stable")[:2]
    rows = tuple(np.flatnonzero(models.codes == code) for code in first.tolist())
    yield from differences("prompts", answers, Groups(("one", "other"), rows), count)


def questions(count: int) -> Iterator[Checked]:
    """Medical answers by the type of the question and by source."""
    snapshot = labelled("medquad")
    yield from differences(
        "questions", snapshot, against_others(snapshot, "metadata.question_type", 1), count
    )
    yield from all_pairs("questions", snapshot, count)


DESCRIBED = (
    NamedConcept("praise", "praising the product"),
    NamedConcept("fault", "a fault or a defect"),
    NamedConcept("price", "what it costs"),
    NamedConcept("battery", "the battery"),
    NamedConcept("picture", "the quality of pictures"),
)
REFUSAL = NamedConcept("refusal", "refusing to answer or saying that one cannot help")
LISTING = NamedConcept("list", "a numbered list of items", ("a paragraph of prose", "a short direct answer"))


def by_value(snapshot: Snapshot, field: str) -> Groups:
    """Return the two largest values of a field as groups."""
    column = snapshot.column(field)
    first = np.argsort(-column.counts, kind="stable")[:2].tolist()
    rows = tuple(np.flatnonzero(column.codes == code) for code in first)
    return Groups(tuple(str(column.values[code]) for code in first), rows)


def against_others(snapshot: Snapshot, field: str, place: int) -> Groups:
    """Return one value of a field against all other records."""
    column = snapshot.column(field)
    code = int(np.argsort(-column.counts, kind="stable")[place])
    is_own = column.codes == code
    return Groups((str(column.values[code]), "others"), (np.flatnonzero(is_own), np.flatnonzero(~is_own)))


def prompts_of(answers: Snapshot) -> Snapshot:
    """Return the prompt of each answer as a snapshot of the same records."""
    column = answers.column("metadata.instruction")
    texts = [str(value) for value in column.values]
    written = [texts[code] for code in column.codes.tolist()]
    instruction = answers.column("metadata.instruction_id")
    metadata = [{"instruction_id": instruction.values[code]} for code in instruction.codes.tolist()]
    return as_indexed(written, list(answers.ids), metadata, field="prompt")


# Analyses ---------------------------------------------------------------------------------------------


def differences(name: str, snapshot: Snapshot, groups: Groups, count: int) -> Iterator[Checked]:
    """Check the findings of a comparison."""
    options = DiffOptions(families=FAMILIES, confirm=False, hints=0, examples=0)
    found = diff(snapshot, groups, options)
    design = design_of(snapshot, groups)

    def p_of(own: Evidence, codes: NDArray[np.int32]) -> Doubles:
        return run_tests(own, codes, 2, design).comparison.tested.p

    for family, every, own in columns_of(snapshot, groups, found.findings):
        rng = np.random.default_rng(1)
        if design.is_paired:
            as_far = permutations.paired(own.has, groups.codes, design, rng, count)
        else:
            as_far = permutations.UnitTable.of(own.has, groups.codes, design).differences(rng, count)

        def again(columns: Ints, rng: Generator, own: Evidence = own) -> Doubles:
            return permutations.printed(own.take(columns), groups.codes, design, p_of, rng, count)

        yield from checked(name, "diff", family, every, as_far, count, again)


def drifts(name: str, snapshot: Snapshot, over: str, count: int) -> Iterator[Checked]:
    """Check the findings of a drift, by the smaller of its two p-values."""
    options = DriftOptions(families=FAMILIES, examples=0)
    found = drift(snapshot, over, options=options)
    periods = periods_of(snapshot, over)
    design = drift_design(snapshot, periods, options)
    codes = periods.groups.codes

    def p_of(own: Evidence, codes: NDArray[np.int32]) -> Doubles:
        return run_trends(own, codes, periods.scores, design).p

    for family, every, own in columns_of(snapshot, periods.groups, found.findings):
        table = permutations.UnitTable.of(own.has, codes, design)
        as_far = table.trends(periods.scores, np.random.default_rng(2), count)

        def again(columns: Ints, rng: Generator, own: Evidence = own) -> Doubles:
            return permutations.printed(own.take(columns), codes, design, p_of, rng, count)

        yield from checked(name, "drift", family, every, as_far, count, again)


def named_pairs(
    name: str, snapshot: Snapshot, concepts: Sequence[NamedConcept], count: int
) -> Iterator[Checked]:
    """Check the pairs of named concepts of independent records."""
    found = correlate_named(snapshot, concepts, encoder=encoder())
    reader = ConceptReader(snapshot, encoder())
    weights = {one.name: reader.membership(one).weights for one in concepts}
    for pair in (*found.results, *found.avoided):
        first, second = weights[pair.a.label], weights[pair.b.label]

        def draw(columns: Ints, rng: Generator, first: Doubles = first, second: Doubles = second) -> Doubles:
            return permutations.products(first[:, None][:, columns], second, rng, count)

        yield from redrawn(name, "named pairs", "named", [pair], draw, 3, count)


def all_pairs(name: str, snapshot: Snapshot, count: int) -> Iterator[Checked]:
    """Check the listed pairs of features of independent records."""
    found = correlate_open(snapshot, options=CorrelateOptions(with_trivial=True, unit=None))
    every = [*found.results, *found.avoided]
    has = snapshot.at("typical")
    frequency = np.asarray(has.sum(0), np.float64).ravel()
    of_a, of_b = (frequency[[getattr(pair, side).feature or 0 for pair in every]] for side in ("a", "b"))
    support = np.array([pair.support for pair in every])

    def draw(columns: Ints, rng: Generator) -> Doubles:
        own = support[columns], of_a[columns], of_b[columns]
        return permutations.tables(*own, found.records, rng, count)

    yield from redrawn(name, "all pairs", "concepts", every, draw, 4, count)


def triggers(
    name: str, asked: Snapshot, answers: Snapshot, behaviour: NamedConcept, unit: str, count: int
) -> Iterator[Checked]:
    """Check the triggers of a behaviour, by permutations of whole prompts."""
    found = find_triggers(
        asked, answers, behaviour, encoder=encoder(), options=TriggerOptions(unit=unit, limit=1_000)
    )
    units = units_of(asked, answers, np.arange(len(answers)), unit)
    weights = ConceptReader(answers, encoder()).membership(behaviour).weights
    every = [one.pair for one in found.results]
    has = units.means(asked.at("typical")[:, [pair.a.feature or 0 for pair in every]])

    mean = units.mean(weights)

    def draw(columns: Ints, rng: Generator) -> Doubles:
        return permutations.products(has[:, columns], mean, rng, count)

    yield from redrawn(name, "triggers", "concepts", every, draw, 5, count)


def columns_of(
    snapshot: Snapshot, groups: Groups, findings: Mapping[Family, Sequence[Any]]
) -> Iterator[tuple[Family, list[Any], Evidence]]:
    """Yield each family's findings, related ones included, and their evidence (m, f)."""
    for family in FAMILIES:
        every = [one for first in findings[family] for one in (first, *first.related)]
        evidence = evidence_of(snapshot, groups.pooled, family, "typical", DiffOptions().min_support)
        place = {key: column for column, key in enumerate(evidence.keys)}
        if every:
            yield family, every, evidence.take(np.array([place[one.key] for one in every]))


def redrawn(
    name: str, analysis: str, family: str, every: Sequence[Any], draw: Draw, seed: int, count: int
) -> Iterator[Checked]:
    """Yield findings with the hits of permutations that are drawn in one way, the first time and again."""
    as_far = draw(np.arange(len(every)), np.random.default_rng(seed))
    yield from checked(name, analysis, family, every, as_far, count, draw)


def checked(
    name: str, analysis: str, family: str, every: Sequence[Any], as_far: Doubles, count: int, again: Draw
) -> Iterator[Checked]:
    """Yield findings with the number of permutations that are as far out; those that fail, with ``again``."""
    found = [
        Checked(name, analysis, family, float(one.p), float(one.q), hits, count)
        for one, hits in zip(every, as_far.tolist(), strict=True)
    ]
    failing = np.flatnonzero([one.fails_first for one in found])
    if len(failing):
        for place, hits in zip(failing, again(failing, np.random.default_rng(FRESH)), strict=True):
            found[place] = replace(found[place], again=float(hits))
    yield from found
