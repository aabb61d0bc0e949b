"""The card of one feature in an index: label, frequencies, strongest records, similar features."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from saeindex.collection.sample import PAGE, SAMPLE
from saeindex.config import CONCEPTS, LEVEL_STRIDE, LEVELS, LEVELS_OF, SAE, TEXT
from saeindex.features.labels import CONCEPT, MANUAL, MEANING, OF_COLLECTION, SPELLING, TOKENS
from saeindex.indexing.points import PROVING, code_of, mentions_of, proofs
from saeindex.protocols import SearchRequest, SparseVector
from saeindex.report.html import Described
from saeindex.report.model import Description, describe, listing
from saeindex.report.numbers import counted, number, percent
from saeindex.schema import Result
from saeindex.stores.base import first_points
from saeindex.types import Proof, one_line, shown_label

if TYPE_CHECKING:
    from saeindex.collection.state import IndexState

# Records of a level that are read for the surest.
READ = 256
ORIGINS = {
    CONCEPT: "a named concept",
    OF_COLLECTION: "a term of this collection",
    MANUAL: "named by a person",
    TOKENS: "named by the words at which it is active",
}
OF_SPELLING = "It answers to how words are written, not to what they mean."


@dataclass(frozen=True, slots=True)
class StrongRecord:
    """A record with a high activation of the feature, or one that surely speaks of its named concept.

    ``proof`` is the sentence that does, where the index has evidence.
    """

    id: str
    text: str
    activation: float
    proof: Proof | None = None


@dataclass(frozen=True, slots=True)
class SimilarFeature:
    """A feature with a similar direction, and the cosine of the directions."""

    id: int
    label: str
    cosine: float
    is_weak: bool


@dataclass(frozen=True, slots=True)
class FeatureCard(Result, Described):
    """One feature in one index.

    ``records_at_level`` are the numbers of records in which it is present, typical, strong and, at least,
    possible. ``strongest``
    are the records with the highest activations. ``similar`` features have the nearest
    directions. ``description`` is that of the concept that the feature was made for, if it has one. ``kind``
    is "meaning", "spelling" if the feature answers to how words are written, or "hidden" by a person.
    """

    id: int
    label: str
    method: str
    trust: float | None
    f1: float | None
    is_weak: bool
    density: float
    records_at_level: tuple[int, ...]
    strongest: tuple[StrongRecord, ...]
    similar: tuple[SimilarFeature, ...]
    description: str = ""
    kind: str = MEANING

    @property
    def name(self) -> str:
        """The feature's id and label; a weak label is marked."""
        return f"#{self.id} {shown_label(self.label, self.is_weak)}"

    @property
    def origin(self) -> str:
        """Where the label comes from, and its scores as far as they are known."""
        known = {"trust": self.trust, "F1": self.f1}
        scores = [f"{name} {number(one)}" for name, one in known.items() if one is not None]
        return ", ".join([ORIGINS.get(self.method, f"labelled by {self.method}"), *scores])

    @property
    def notes(self) -> list[str]:
        """What a reader of the label should know."""
        return [OF_SPELLING] if self.kind == SPELLING else []

    def __repr__(self) -> str:
        return f"FeatureCard({self.name!r}, in {counted(self.records_at_level[0], 'record')})"


def feature_card(feature: int | str, state: IndexState, examples: int) -> FeatureCard:
    """Return the card of a feature (5 or "#5"); UnknownConceptError if the space lacks it."""
    store, space = state.store, state.space
    feature = space.number(feature)
    label = space.labels[feature]
    using, place, _ = space.stored(feature)
    code = SparseVector(np.array([place], np.int32), np.ones(1, np.float32))
    cosines = space.cosines(feature)
    order = np.argsort(-cosines, kind="stable").tolist()
    similar = [i for i in order if i != feature and space.is_named[i] and cosines[i]][:examples]
    reached = [state.code_counts.get(feature * LEVEL_STRIDE + level, 0) for level in range(LEVELS)]
    reached[-1] = max(reached[number] for number in LEVELS_OF["possible"])
    return FeatureCard(
        id=feature,
        label=label.text,
        method=label.method,
        trust=label.trust,
        f1=label.f1,
        is_weak=label.is_weak,
        density=float(space.calibration.density[feature]),
        records_at_level=tuple(reached),
        strongest=_surest(feature, state, examples)
        if feature in state.spoken
        else tuple(
            StrongRecord(p.payload["record_id"], p.payload["text"], float(p.score or 0.0))
            for p in store.search(SearchRequest(code, using=using, limit=examples))
        ),
        similar=tuple(
            SimilarFeature(i, space.labels[i].text, float(cosines[i]), space.labels[i].is_weak)
            for i in similar
        ),
        description=label.description,
        kind=label.kind,
    )


def _surest(feature: int, state: IndexState, count: int) -> tuple[StrongRecord, ...]:
    """Return records of a sample that most surely speak of a feature's concept."""
    found = list[StrongRecord]()
    sampled = first_points(state.store, SAMPLE, PAGE, [CONCEPTS])  # ids are hashes: the first are at random
    for level in ("strong", "typical", "present", "possible"):
        code = feature * LEVEL_STRIDE + LEVELS_OF[level][0]
        ids = [point.id for point in sampled if code in point.payload.get(CONCEPTS, ())][:READ]
        for point in state.store.get(ids, [*PROVING, "record_id", TEXT], [SAE]):
            said = [one for one in mentions_of(point.payload) if one.feature == feature]
            active = code_of(point).by_index
            found += [
                StrongRecord(point.payload["record_id"], point.payload[TEXT], active.get(feature, 0.0), proof)
                for proof in proofs(point.payload, state.space, said)
            ]
        if len({one.id for one in found}) >= count:
            break
    found.sort(key=lambda one: 0.0 if one.proof is None else -one.proof.evidence)
    return tuple({one.id: one for one in found}.values())[:count]


@describe.register(FeatureCard)
def _(card: FeatureCard) -> Description:
    present, typical, strong, possible = (counted(count, "record") for count in card.records_at_level)
    strongest = {
        "Activation": lambda one: number(one.activation, 3),
        "Evidence": lambda one: "" if one.proof is None else number(one.proof.evidence),
        "Text": lambda one: one_line(one.text if one.proof is None else one.proof.sentence, 160),
        "Id": lambda one: one.id,
    }
    feature = {"Feature": lambda one: f"#{one.id} {shown_label(one.label, one.is_weak)}"}
    return Description(
        question="What is this feature?",
        summary=[
            f"{card.name}: {card.origin}.",
            *([one_line(card.description, 400)] if card.description else []),
            *card.notes,
            f"Present in {present} of this index, typical in {typical}, strong in {strong}, "
            f"possible in {possible}; in "
            f"{percent(card.density, 2)} of the texts that its levels were measured on.",
        ],
        method=[],
        sections=[
            listing("Strongest records", card.strongest, strongest),
            listing("Similar features", card.similar, {"Cosine": "cosine", **feature}),
        ],
    )
