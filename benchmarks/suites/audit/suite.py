"""Every finding that an analysis prints, checked by permutations of whole units.

Four collections: reviews with ordinary columns, speeches by year, answers to prompts, and medical questions.
What a user would ask is asked; then the groups (periods, behaviours) of whole units are permuted. A finding
fails if the 99 % lower bound of its permutation p is above twice the p that was printed. Nothing is chosen
here: the test parts are judged as they are.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy.stats import beta

from benchmarks.outcome import Figure, Outcome, at_most
from benchmarks.snapshots import default_space, encoder, labelled
from benchmarks.suites.audit import permutations
from saeindex.analysis.correlate.all_pairs import correlate_open
from saeindex.analysis.correlate.named_pairs import correlate_named
from saeindex.analysis.correlate.triggers import find_triggers
from saeindex.analysis.correlate.units import units_of
from saeindex.analysis.diff.diff import diff
from saeindex.analysis.diff.options import DiffOptions
from saeindex.analysis.drift.drift import drift, drift_design
from saeindex.analysis.drift.options import DriftOptions
from saeindex.analysis.drift.periods import periods_of
from saeindex.analysis.stats.design import design_of
from saeindex.analysis.stats.evidence import evidence_of
from saeindex.analysis.stats.groups import Groups
from saeindex.collection.snapshot import Snapshot
from saeindex.concepts.named_concept import ConceptReader, NamedConcept

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from scipy.sparse import csr_matrix

    from saeindex.analysis.stats.choices import Family

    Doubles = NDArray[np.float64]

PERMUTATIONS, QUICK = 10_000, 400
# The bound of a permutation p, and by how much it may be above the printed p.
CONFIDENCE, FACTOR = 0.99, 2.0
# Smaller printed values have no permutations to compare with.
SMALLEST_P = 1e-300
FAMILIES: tuple[Family, ...] = ("concepts", "words")


@dataclass(frozen=True, slots=True)
class Checked:
    """A printed finding: its ``p`` and q, and how many of the permutations were ``as_far`` out."""

    collection: str
    analysis: str
    family: str
    p: float
    q: float
    as_far: float
    permutations: int

    @property
    def bound(self) -> float:
        """The 99 % lower bound of the permutation p."""
        hits = int(self.as_far)
        return float(beta.ppf(1 - CONFIDENCE, hits, self.permutations - hits + 1)) if hits else 0.0

    @property
    def fails(self) -> bool:
        """Whether the printed p is too small."""
        return self.bound > FACTOR * self.p

    def row(self) -> dict[str, Any]:
        """Return a row of the table, without any text of the collection."""
        return {
            "collection": self.collection, "analysis": self.analysis, "family": self.family,
            "p": self.p, "q": self.q, "permutation_p": self.as_far / self.permutations,
            "lower_99": self.bound, "fails": self.fails,
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
        outcome.figures[f"failing_{analysis}"] = at_most(
            sum(one.fails for one in own), 0, "findings", len(own)
        )
    outcome.figures["permutations"] = Figure(count, "permutations")
    worst = max((one.bound / max(one.p, SMALLEST_P) for one in checked), default=0.0)
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
    x = encoder().encode_document(texts)[column.codes]
    space = default_space()
    written = [texts[code] for code in column.codes.tolist()]
    instruction = answers.column("metadata.instruction_id")
    metadata = [{"instruction_id": instruction.values[code]} for code in instruction.codes.tolist()]
    code = space.sae.encode(x).to_csr()
    return Snapshot.in_memory(space, list(answers.ids), x, code, written, metadata, "prompt")


# Analyses ---------------------------------------------------------------------------------------------


def differences(name: str, snapshot: Snapshot, groups: Groups, count: int) -> Iterator[Checked]:
    """Check the findings of a comparison."""
    options = DiffOptions(families=FAMILIES, confirm=False, hints=0, examples=0)
    found = diff(snapshot, groups, options)
    design = design_of(snapshot, groups)
    for family, every, has in columns_of(snapshot, groups, found.findings):
        rng = np.random.default_rng(1)
        if design.is_paired:
            as_far = permutations.paired(has, groups.codes, design, rng, count)
        else:
            as_far = permutations.UnitTable.of(has, groups.codes, design).differences(rng, count)
        yield from checked(name, "diff", family, every, as_far, count)


def drifts(name: str, snapshot: Snapshot, over: str, count: int) -> Iterator[Checked]:
    """Check the findings of a drift, by the smaller of its two p-values."""
    options = DriftOptions(families=FAMILIES, examples=0)
    found = drift(snapshot, over, options=options)
    periods = periods_of(snapshot, over)
    design = drift_design(snapshot, periods, options)
    for family, every, has in columns_of(snapshot, periods.groups, found.findings):
        table = permutations.UnitTable.of(has, periods.groups.codes, design)
        as_far = table.trends(periods.scores, np.random.default_rng(2), count)
        yield from checked(name, "drift", family, every, as_far, count)


def named_pairs(
    name: str, snapshot: Snapshot, concepts: Sequence[NamedConcept], count: int
) -> Iterator[Checked]:
    """Check the pairs of named concepts of independent records."""
    found = correlate_named(snapshot, concepts, encoder=encoder())
    reader = ConceptReader(snapshot, encoder())
    weights = {one.name: reader.membership(one).weights for one in concepts}
    for pair in (*found.results, *found.avoided):
        first, second = weights[pair.a.label], weights[pair.b.label]
        as_far = permutations.products(first[:, None], second, np.random.default_rng(3), count)
        yield from checked(name, "named pairs", "named", [pair], as_far, count)


def all_pairs(name: str, snapshot: Snapshot, count: int) -> Iterator[Checked]:
    """Check the listed pairs of features of independent records."""
    found = correlate_open(snapshot, with_trivial=True)
    every = [*found.results, *found.avoided]
    has = snapshot.at("typical")
    frequency = np.asarray(has.sum(0), np.float64).ravel()
    of_a, of_b = (frequency[[getattr(pair, side).feature or 0 for pair in every]] for side in ("a", "b"))
    support = np.array([pair.support for pair in every])
    as_far = permutations.tables(support, of_a, of_b, found.records, np.random.default_rng(4), count)
    yield from checked(name, "all pairs", "concepts", every, as_far, count)


def triggers(
    name: str, asked: Snapshot, answers: Snapshot, behaviour: NamedConcept, unit: str, count: int
) -> Iterator[Checked]:
    """Check the triggers of a behaviour, by permutations of whole prompts."""
    found = find_triggers(asked, answers, behaviour, encoder=encoder(), unit=unit, limit=1_000)
    units = units_of(asked, answers, np.arange(len(answers)), unit)
    weights = ConceptReader(answers, encoder()).membership(behaviour).weights
    every = [one.pair for one in found.results]
    has = units.means(asked.at("typical")[:, [pair.a.feature or 0 for pair in every]])
    as_far = permutations.products(has, units.mean(weights), np.random.default_rng(5), count)
    yield from checked(name, "triggers", "concepts", every, as_far, count)


def columns_of(
    snapshot: Snapshot, groups: Groups, findings: Mapping[Family, Sequence[Any]]
) -> Iterator[tuple[Family, list[Any], csr_matrix]]:
    """Yield each family's findings, related ones included, and which records have them (m, f)."""
    for family in FAMILIES:
        every = [one for first in findings[family] for one in (first, *first.related)]
        evidence = evidence_of(snapshot, groups.pooled, family, "typical", DiffOptions().min_support)
        place = {key: column for column, key in enumerate(evidence.keys)}
        if every:
            yield family, every, evidence.has[:, [place[one.key] for one in every]]


def checked(
    name: str, analysis: str, family: str, every: Sequence[Any], as_far: Doubles, count: int
) -> Iterator[Checked]:
    """Yield findings with the number of permutations that are as far out."""
    for one, hits in zip(every, as_far.tolist(), strict=True):
        yield Checked(name, analysis, family, float(one.p), float(one.q), hits, count)
