"""Feedback on a property search: inferred concepts and words with weights, to accept or to reject."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Annotated, Any, Literal, Self, TypeAlias

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from saeindex.config import MAX_QUERY_CHARS
from saeindex.errors import InvalidInputError, first_fault
from saeindex.report.html import Described
from saeindex.report.model import Description, describe, listing
from saeindex.report.numbers import number
from saeindex.types import Proof, one_line, shown_label

if TYPE_CHECKING:
    from saeindex.collection.sample import CollectionSample
    from saeindex.concepts.inference import Inference

SHOWN, SENTENCE_CHARS = 20, 120
MAX_JUDGED = 1_000
MAX_WEIGHT = 100.0

Verdict: TypeAlias = Literal["accepted", "rejected"]
Weight: TypeAlias = Annotated[float, Field(ge=-MAX_WEIGHT, le=MAX_WEIGHT, allow_inf_nan=False)]
_Finite: TypeAlias = Annotated[float, Field(allow_inf_nan=False)]
_Text: TypeAlias = Annotated[str, Field(max_length=MAX_QUERY_CHARS)]
_Id: TypeAlias = Annotated[str, Field(max_length=MAX_QUERY_CHARS, coerce_numbers_to_str=True)]


def check_sides(asked: str, like: Iterable[str], unlike: Iterable[str], against: Iterable[str] = ()) -> None:
    """Raise InvalidInputError for one text in place of a list, and for a record on both sides."""
    for name, given in (("against", against), ("like", like), ("unlike", unlike)):
        if isinstance(given, str):
            raise InvalidInputError(f"{asked}, {name}={given!r}", "one text", "Give a list.")
    if both := sorted({str(one) for one in like} & {str(one) for one in unlike}):
        found = f"record {both[0]!r} both in like and in unlike"
        raise InvalidInputError(asked, found, "Name it on one side.")


class _Shown(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class FeedbackConcept(_Shown):
    """An inferred concept; ``weight`` is its contribution to the score of a record that has it strongly.

    ``sentence`` is that of the hits that most surely speaks of it, "" if none does.
    """

    id: int = Field(ge=0)
    label: _Text
    weight: _Finite
    is_weak: bool = False
    verdict: Verdict | None = None
    sentence: str = ""


class FeedbackWord(_Shown):
    """An inferred word with its weight; its contribution to a score also depends on the text's length."""

    word: _Text
    weight: _Finite


class Feedback(_Shown, Described):
    """The evidence behind a property search; ``index.search(feedback=…)`` searches again with it.

    ``concepts`` and ``words`` are those of the largest weights. Judge them by :meth:`accept` and
    :meth:`reject`, or set weights by :meth:`reweighted`: the other evidence is then inferred again.
    """

    description: _Text | None = None
    against: tuple[_Text, ...] = Field(default=(), max_length=MAX_JUDGED)
    like: tuple[_Id, ...] = Field(default=(), max_length=MAX_JUDGED)
    unlike: tuple[_Id, ...] = Field(default=(), max_length=MAX_JUDGED)
    concepts: tuple[FeedbackConcept, ...] = Field(default=(), max_length=2 * MAX_JUDGED)
    words: tuple[FeedbackWord, ...] = Field(default=(), max_length=2 * MAX_JUDGED)
    judged: dict[int, Verdict] = Field(default_factory=dict, max_length=MAX_JUDGED)
    concept_weights: dict[int, Weight] = Field(default_factory=dict, max_length=MAX_JUDGED)
    word_weights: dict[_Text, Weight] = Field(default_factory=dict, max_length=MAX_JUDGED)

    @classmethod
    def read(cls, given: Any) -> Self:
        """Return a feedback from a JSON object or its text; InvalidInputError if it is not valid."""
        try:
            return cls.model_validate_json(given) if isinstance(given, str) else cls.model_validate(given)
        except ValidationError as error:
            raise InvalidInputError("feedback", first_fault(error), "Use hits.feedback.") from error

    def accept(self, *features: int) -> Self:
        """Return a feedback in which these concepts are accepted."""
        return self._changed(judged={**self.judged, **dict.fromkeys(features, "accepted")})

    def reject(self, *features: int, words: tuple[str, ...] = ()) -> Self:
        """Return a feedback in which these concepts are rejected, and these words have no weight."""
        judged = self._changed(judged={**self.judged, **dict.fromkeys(features, "rejected")})
        return judged.reweighted(words=dict.fromkeys(words, 0.0)) if words else judged

    def reweighted(
        self, concepts: Mapping[int, float] | None = None, words: Mapping[str, float] | None = None
    ) -> Self:
        """Return a feedback with these fixed weights of concepts (by id) and words."""
        for name, weight in [*(concepts or {}).items(), *(words or {}).items()]:
            if not isinstance(weight, int | float) or not math.isfinite(weight) or abs(weight) > MAX_WEIGHT:
                do = f"Use -{MAX_WEIGHT:g} to {MAX_WEIGHT:g}."
                raise InvalidInputError(f"weight {weight} of {name!r}", "out of range", do)
        lowered = {str(word).lower(): weight for word, weight in (words or {}).items()}
        return self._changed(
            concept_weights={**self.concept_weights, **(concepts or {})},
            word_weights={**self.word_weights, **lowered},
        )

    def with_sentences(self, proofs: Iterable[Proof]) -> Self:
        """Return the feedback with the surest sentence of each concept."""
        said = {one.id: one.sentence for one in sorted(proofs, key=lambda one: one.evidence)}
        shown = [one.model_copy(update={"sentence": said.get(one.id, "")}) for one in self.concepts]
        return self.model_copy(update={"concepts": tuple(shown)})

    @property
    def headline(self) -> str:
        """The evidence that it was inferred from."""
        asked = f"{self.description!r}" if self.description else "the examples"
        return f"Inferred from {asked}" + (f", against {', '.join(self.against)}" if self.against else "")

    def __repr__(self) -> str:
        return f"Feedback({self.headline}: {len(self.concepts)} concepts, {len(self.words)} words)"

    def __str__(self) -> str:
        lines = [self.headline]
        for concept in self.concepts:
            name = shown_label(f"#{concept.id} {concept.label}", concept.is_weak)
            verdict = f"  {concept.verdict}" if concept.verdict else ""
            said = f"  “{one_line(concept.sentence, SENTENCE_CHARS)}”" if concept.sentence else ""
            lines.append(f"  {concept.weight:+.3f}  {name}{verdict}{said}")
        if self.words:
            lines.append("  words: " + ", ".join(f"{w.word} {w.weight:+.2f}" for w in self.words))
        return "\n".join(lines)

    def _changed(self, **fields: Any) -> Self:
        return self.read({**self.model_dump(), **fields})


@describe.register(Feedback)
def _(feedback: Feedback) -> Description:
    concepts = {
        "Weight": lambda one: number(one.weight, 3),
        "Concept": lambda one: shown_label(f"#{one.id} {one.label}", one.is_weak),
        "Verdict": lambda one: one.verdict or "",
        "Sentence": lambda one: one_line(one.sentence, SENTENCE_CHARS),
    }
    return Description(
        question="What was inferred?",
        summary=[f"{feedback.headline}."],
        method=["Positive weights raise the score of a record, negative weights lower it."],
        sections=[
            listing("Concepts", feedback.concepts, concepts),
            listing("Words", feedback.words, {"Weight": "weight", "Word": "word"}),
        ],
    )


def with_evidence(feedback: Feedback, inferred: Inference, sample: CollectionSample) -> Feedback:
    """Return ``feedback`` with the inferred concepts and words of the largest weights, judged ones first."""
    labels = sample.space.labels
    weights = np.where(sample.space.is_named, inferred.concepts[0], 0.0)
    judged = list(dict.fromkeys([*feedback.judged, *feedback.concept_weights]))
    order = [int(i) for i in np.argsort(-np.abs(weights), kind="stable")[: SHOWN + len(judged)]]
    others = [i for i in order if i not in judged and weights[i] != 0.0]
    chosen = [*judged, *others][: max(SHOWN, len(judged))]
    concepts = tuple(
        FeedbackConcept(
            id=i,
            label=labels[i].text,
            weight=float(inferred.concepts[0][i]),
            is_weak=labels[i].is_weak,
            verdict=feedback.judged.get(i),
        )
        for i in chosen
    )
    # The contribution of a word to a text of a hundred different words.
    by_word = inferred.words[0] / 10.0
    heavy = [int(i) for i in np.argsort(-np.abs(by_word), kind="stable")[:SHOWN] if by_word[i] != 0.0]
    words = tuple(FeedbackWord(word=sample.words[i], weight=float(by_word[i])) for i in heavy)
    return feedback.model_copy(update={"concepts": concepts, "words": words})
