"""The context of a question, for a language model: sentences that cover different concepts, each to be cited.

Sentences of the records that a search finds are chosen one after another, within a budget of tokens: the one
that adds most for its length is the next. A record is worth

    w = exp((score - best) / (SPREAD (best - least)))

by its score among those found. A sentence adds w for each concept that it is the first to speak of (less what
a sentence of a record of less worth has covered of it), w for itself, and OPENING w if it is the first of its
record; all that times its own cosine to the question, by its tokens and SHORT more. This is weighted maximum
coverage, greedily by gain for cost (Khuller, Moss & Naor 1999, IPL 70). The constants were chosen on the
questions of MedQuAD's `choose` part, by the relevant texts and concepts that 500 and 1,000 tokens have.
"""

from __future__ import annotations

import math
import re
from bisect import bisect_right
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from heapq import heapify, heappop, heappush
from itertools import groupby
from operator import attrgetter
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from saeindex.config import DOCUMENT, SENTENCES, SPANS, TEXT
from saeindex.errors import NotFoundError
from saeindex.indexing.proof import PRESENT, mentions_of
from saeindex.indexing.sentences import spans_from, spans_in
from saeindex.language.fields import METADATA, RECORD_ID
from saeindex.report.html import Described
from saeindex.report.model import Description, describe, listing
from saeindex.report.numbers import counted
from saeindex.schema import Result
from saeindex.types import JsonObject, one_line

if TYPE_CHECKING:
    from saeindex.features.space import Space
    from saeindex.protocols import Point, TextEncoder
    from saeindex.types import FloatArray

# See above.
SPREAD, OPENING, SHORT = 0.2, 3.0, 10
# The tokens that a citation, and what stands for sentences that are left out, may take.
CITATION, GAP = 4, 1
LEAST, SHOWN, TEXT_CHARS = 1e-6, 3, 160
_CITED = re.compile(r"\[(\d+(?:\s*[,;]\s*\d+)*)\]")


@dataclass(frozen=True, slots=True)
class Spoken:
    """A concept that a sentence speaks of, with the ``evidence``: how likely it does so clearly."""

    id: int
    label: str
    evidence: float


@dataclass(frozen=True, slots=True)
class ContextSentence:
    """A sentence: where it begins in the text of its record, in characters, and what it speaks of.

    ``new`` are the concepts that no sentence chosen before it speaks of.
    """

    text: str
    start: int
    concepts: tuple[Spoken, ...]
    new: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Passage:
    """What is taken of a record, and cited as ``[number]``: its ``text`` has … where sentences are left out.

    ``rank`` (from 1) and ``score`` are those of the record in the search, ``why`` says what it adds.
    """

    number: int
    id: str
    document: str | None
    rank: int
    score: float
    text: str
    why: str
    sentences: tuple[ContextSentence, ...]
    metadata: JsonObject


@dataclass(frozen=True, slots=True, repr=False)
class Context(Result, Described):
    """The passages that answer a question, the nearest first, of at most ``budget_tokens``.

    ``text`` is what a language model reads: a line for each passage, with its number. ``tokens`` are those
    of the text, as the encoder of the index counts them; those of a language model are some more or fewer.
    ``records`` were found. Where the question does not fulfil a condition on it, ``withheld`` says so, and
    nothing was looked for.
    """

    question: str
    text: str
    tokens: int
    budget_tokens: int
    records: int
    passages: tuple[Passage, ...] = ()
    withheld: str = ""

    def cited(self, answer: str) -> list[Passage]:
        """Return the passages that an answer cites, such as by [1] or [2, 3], in the order of its citations.

        NotFoundError for a number that no passage has.
        """
        numbers = [int(one) for found in _CITED.findall(answer) for one in re.findall(r"\d+", found)]
        for wrong in (one for one in numbers if not 1 <= one <= len(self.passages)):
            found = f"the context has {counted(len(self.passages), 'passage')}"
            raise NotFoundError(f"the citation [{wrong}]", found, "Do not trust what it is to prove.")
        return [self.passages[one - 1] for one in dict.fromkeys(numbers)]

    def __repr__(self) -> str:
        passages = counted(len(self.passages), "passage")
        return f"Context({passages}, {self.tokens:,} of {self.budget_tokens:,} tokens, for {self.question!r})"


class _Candidate(NamedTuple):
    """A sentence that may be taken: of which record, where, how long, of what, and how near it is."""

    row: int
    place: int
    tokens: int
    features: tuple[int, ...]
    nearness: float


def choose_context(
    question: str,
    vector: FloatArray,
    points: Sequence[Point],
    space: Space,
    encoder: TextEncoder,
    budget: int,
) -> Context:
    """Return the context of a question, by its vector (d,), of the points that it finds, best first.

    They have their payloads, and the vectors of their sentences if these are kept.
    """
    spans = [spans_from(point.payload.get(SPANS, ())) or spans_in(point.payload[TEXT]) for point in points]
    said = [_features_of(point, space) for point in points]
    candidates = [
        _Candidate(row, place, tokens, said[row].get(place, ()), nearness)
        for row, point in enumerate(points)
        for place, (tokens, nearness) in enumerate(
            zip(
                _lengths(point.payload[TEXT], spans[row], encoder),
                _nearness(point, vector, len(spans[row])),
                strict=True,
            )
        )
    ]
    chosen = list(_chosen(candidates, _worths([point.score or 0.0 for point in points]), budget))
    passages: list[Passage] = []
    new = _new(chosen)
    for row, taken in groupby(sorted(chosen), attrgetter("row")):
        own = [_sentence(points[row], space, spans[row], one, new) for one in taken]
        passages.append(_passage(len(passages) + 1, row, points[row], own, spans[row]))
    text = "\n".join(f"[{one.number}] {one.text}" for one in passages)
    tokens = len(encoder.token_spans(text)) if text else 0
    return Context(question, text, tokens, budget, len(points), tuple(passages))


def _features_of(point: Point, space: Space) -> dict[int, tuple[int, ...]]:
    """Return the named concepts that sentences of a record speak of, by the sentence that does most."""
    found: dict[int, tuple[int, ...]] = {}
    for one in mentions_of(point.payload, least=PRESENT):
        if space.is_named[one.feature]:
            found[one.sentence] = (*found.get(one.sentence, ()), one.feature)
    return found


def _lengths(text: str, spans: Sequence[tuple[int, int]], encoder: TextEncoder) -> list[int]:
    """Return the number of tokens of each sentence."""
    starts, counts = [start for start, _ in spans], [0] * len(spans)
    for start, _ in encoder.token_spans(text):
        counts[max(0, bisect_right(starts, start) - 1)] += 1
    return counts


def _nearness(point: Point, vector: FloatArray, count: int) -> Sequence[float]:
    """Return the cosine of each sentence to the question; 1 for all where their vectors are not kept."""
    rows = point.vectors.get(SENTENCES)
    if not isinstance(rows, np.ndarray) or len(rows) != count or not vector.any():
        return [1.0] * count
    cosines: list[float] = np.maximum(rows @ vector, LEAST).tolist()
    return cosines


def _worths(scores: Sequence[float]) -> list[float]:
    spread = SPREAD * (max(scores) - min(scores)) if scores else 0.0
    return [math.exp((one - max(scores)) / spread) if spread else 1.0 for one in scores]


def _chosen(candidates: Sequence[_Candidate], worths: Sequence[float], budget: int) -> Iterator[_Candidate]:
    """Yield sentences within the budget, the one that adds most for its length first."""
    covered: dict[int, float] = {}
    opened: set[int] = set()

    def cost(one: _Candidate) -> int:
        return one.tokens + GAP + (0 if one.row in opened else CITATION)

    def gain(one: _Candidate) -> float:
        worth = worths[one.row]
        new = sum(max(0.0, worth - covered.get(feature, 0.0)) for feature in one.features)
        own = worth * (1.0 if one.row in opened else 1.0 + OPENING)
        return (new + own) * one.nearness / (cost(one) + SHORT)

    waiting = [(-gain(one), number) for number, one in enumerate(candidates)]
    heapify(waiting)
    while waiting:
        _, number = heappop(waiting)
        one = candidates[number]
        if cost(one) > budget:
            continue
        now = -gain(one)
        if waiting and now > waiting[0][0]:  # it adds less than when it was put there
            heappush(waiting, (now, number))
            continue
        budget -= cost(one)
        opened.add(one.row)
        for feature in one.features:
            covered[feature] = max(covered.get(feature, 0.0), worths[one.row])
        yield one


def _new(chosen: Sequence[_Candidate]) -> Mapping[_Candidate, frozenset[int]]:
    """Return the features that each sentence is the first to speak of, as they are read."""
    seen: set[int] = set()
    found = {}
    for one in sorted(chosen):
        found[one] = frozenset(one.features) - seen
        seen |= found[one]
    return found


def _sentence(
    point: Point,
    space: Space,
    spans: Sequence[tuple[int, int]],
    one: _Candidate,
    new: Mapping[_Candidate, frozenset[int]],
) -> ContextSentence:
    start, end = spans[one.place]
    own = sorted(mentions_of(point.payload, least=PRESENT), key=lambda each: -each.p)
    spoken = [each for each in own if each.sentence == one.place and each.feature in one.features]
    label = space.labels
    return ContextSentence(
        " ".join(point.payload[TEXT][start:end].split()),
        start,
        tuple(Spoken(each.feature, label[each.feature].text, each.p) for each in spoken),
        tuple(label[each.feature].text for each in spoken if each.feature in new[one]),
    )


def _passage(
    number: int,
    row: int,
    point: Point,
    own: Sequence[ContextSentence],
    spans: Sequence[tuple[int, int]],
) -> Passage:
    places = {start: place for place, (start, _) in enumerate(spans)}
    parts, last = list[str](), -1
    for one in own:
        parts += ["…"] * (places[one.start] > last + 1) + [one.text]
        last = places[one.start]
    parts += ["…"] * (last < len(spans) - 1)
    sure = sorted((each for one in own for each in one.concepts), key=lambda each: -each.evidence)
    first = {label for one in own for label in one.new}
    new = [label for label in dict.fromkeys(each.label for each in sure) if label in first]
    more = f" and {len(new) - SHOWN} more" if len(new) > SHOWN else ""
    adds = f"the first to speak of {', '.join(new[:SHOWN])}{more}" if new else "more on what others speak of"
    payload, score = point.payload, float(point.score or 0.0)
    return Passage(
        number=number,
        id=payload[RECORD_ID],
        document=payload.get(DOCUMENT),
        rank=row + 1,
        score=score,
        text=" ".join(parts),
        why=f"rank {row + 1}, score {score:.3f}; {adds}",
        sentences=tuple(own),
        metadata=payload[METADATA],
    )


@describe.register(Context)
def _(context: Context) -> Description:
    columns = {
        "Cited as": lambda one: f"[{one.number}]",
        "Record": "id",
        "Text": lambda one: one_line(one.text, TEXT_CHARS),
        "Why": "why",
    }
    said = f"{context.tokens:,} of {context.budget_tokens:,} tokens, of {counted(context.records, 'record')}."
    return Description(
        question=f"What do the records say to {context.question!r}?",
        summary=[context.withheld or said],
        method=[],
        sections=[listing("Passages", context.passages, columns)],
    )
