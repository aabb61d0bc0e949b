"""The context of a question, for a language model: sentences that cover different concepts, each to be cited.

Sentences of the records that a search finds are chosen one after another, within a budget of tokens: the one
that adds most for its length is the next. A record is worth

    w = exp((score - best) / (SPREAD (best - least)))

by its score among those found. A sentence adds w for each concept that it is the first to speak of (less what
a sentence of a record of less worth has covered of it), w for itself, and OPENING w if it is the first of its
record; all that times its own cosine to the question, by its tokens and SHORT more. This is weighted maximum
coverage, greedily by gain for cost (Khuller, Moss & Naor 1999, IPL 70). The constants were chosen on the
questions of MedQuAD's `choose` part, by the relevant texts and concepts that 500 and 1,000 tokens have. Where
words rank, what its words add to a fused score is added to a sentence's cosine: rare names are seldom missed.
"""

from __future__ import annotations

import math
import re
from bisect import bisect_right
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from heapq import heapify, heappop, heappush
from itertools import accumulate, groupby
from operator import attrgetter
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from saeindex.config import DOCUMENT, SENTENCES, SPANS, TEXT
from saeindex.errors import NotFoundError
from saeindex.indexing.points import PRESENT, mentions_of
from saeindex.indexing.sentences import spans_from, spans_in
from saeindex.language.fields import METADATA, RECORD_ID
from saeindex.language.speech import masked
from saeindex.report.html import Described
from saeindex.report.model import Description, describe, listing
from saeindex.report.numbers import counted
from saeindex.schema import Result
from saeindex.types import JsonObject, one_line, visible

if TYPE_CHECKING:
    from saeindex.collection.state import IndexState
    from saeindex.features.space import Space
    from saeindex.protocols import Point, TextEncoder
    from saeindex.search.prepared import Prepared
    from saeindex.search.words import AskedWords
    from saeindex.types import FloatArray

# See above.
SPREAD, OPENING, SHORT = 0.2, 3.0, 10
# The tokens that a citation takes; what stands for sentences that are left out.
CITATION, GAP = 4, "…"
# The characters of a token, at most: languages have four or five.
CHARS = 8
LEAST, SHOWN, TEXT_CHARS = 1e-6, 3, 160
# What is in brackets; what citations have there: [1], [2, 3], [4-6], [passage 1], [p. 2], 【5†source】.
_BRACKETS = re.compile(r"[\[【]([^\[\]【】]+)[\]】]")
_OF_CITATIONS = re.compile(
    r"†[\w ]*|\b(?:passages?|sources?|references?|refs?|citations?|pages?|pp?|no|nr|docs?|documents?|records?"
    r"|results?|see|cf|and|to)\b|\.(?!\d)|[\d\s,;:#^–—-]+",
    re.IGNORECASE,
)
_NUMBERS = re.compile(r"(\d+)(?:\s*(?:[–—-]|to)\s*(\d+))?", re.IGNORECASE)
_DIGITS = 9


@dataclass(frozen=True, slots=True)
class Spoken:
    """A concept that a sentence speaks of, with the ``evidence``: how likely it does so clearly."""

    id: int
    label: str
    evidence: float


@dataclass(frozen=True, slots=True)
class ContextSentence:
    """A sentence on one line: where it begins in the text of its record, in characters; what it speaks of.

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
    of the text, as the encoder of the index counts them, or an eighth of its characters if that is more.
    ``records`` were found, for the question as it is ``understood``: filters, steers, words that no text has,
    what is left out. Where it does not fulfil a condition on it, ``withheld`` says so, and nothing was looked
    for.
    """

    question: str
    text: str
    tokens: int
    budget_tokens: int
    records: int
    passages: tuple[Passage, ...] = ()
    withheld: str = ""
    understood: tuple[str, ...] = ()

    def cited(self, answer: str) -> list[Passage]:
        """Return the passages that an answer cites, in the order of its citations: [1], [2, 3], [4-6].

        NotFoundError for a number that no passage has.
        """
        found: dict[int, Passage] = {}
        for cited in filter(_is_cited, _BRACKETS.findall(answer)):
            for first, last in _NUMBERS.findall(cited):
                for number in (first, last or first):
                    if len(number) > _DIGITS or not 1 <= int(number) <= len(self.passages):
                        has = f"the context has {counted(len(self.passages), 'passage')}"
                        do = "Do not trust what it is to prove."
                        raise NotFoundError(f"the citation [{number[:_DIGITS]}]", has, do)
                for number in range(int(first), int(last or first) + 1):
                    found[number] = self.passages[number - 1]
        return [*found.values()]

    def __repr__(self) -> str:
        passages = counted(len(self.passages), "passage")
        return f"Context({passages}, {self.tokens:,} of {self.budget_tokens:,} tokens, for {self.question!r})"


class _Candidate(NamedTuple):
    """A sentence that may be taken: of which record, where, what, how long, of what, and how near it is."""

    row: int
    place: int
    text: str
    tokens: int
    features: tuple[int, ...]
    nearness: float


def choose_context(
    question: str, vector: FloatArray, points: Sequence[Point], plan: Prepared, state: IndexState, budget: int
) -> Context:
    """Return the context of a question, by its vector (d,), of the points that its plan finds, best first.

    They have their payloads, and the vectors of their sentences if these are kept.
    """
    space, encoder, first = state.space, state.encoder, plan.query.offset + 1
    records = [_Record.of(point, space) for point in points]
    candidates = [
        _Candidate(row, place, record.sentences[place], tokens, record.features.get(place, ()), nearness)
        for row, record in enumerate(records)
        for place, (tokens, nearness) in enumerate(
            zip(record.lengths(encoder), record.nearness(vector, plan.words), strict=True)
        )
    ]
    chosen = [*_chosen(candidates, _worths([point.score or 0.0 for point in points]), budget)]
    while True:
        passages, new = list[Passage](), _new(chosen)
        for row, taken in groupby(sorted(chosen), attrgetter("row")):
            passages.append(records[row].passage(len(passages) + 1, first + row, [*taken], new, space))
        text = "\n".join(f"[{one.number}] {one.text}" for one in passages)
        if (tokens := _count(text, encoder)) <= budget:
            understood = tuple(plan.plan.understood)
            return Context(
                question, text, tokens, budget, len(points), tuple(passages), understood=understood
            )
        chosen.pop()  # tokens of parts may be fewer than those of the whole


class _Record(NamedTuple):
    """A record that was found: its sentences as they are shown, where they are, and what each speaks of."""

    point: Point
    spans: Sequence[tuple[int, int]]
    sentences: Sequence[str]
    features: Mapping[int, tuple[int, ...]]

    @classmethod
    def of(cls, point: Point, space: Space) -> _Record:
        """Take the sentences that the index knows, or find them."""
        text = masked(point.payload[TEXT])
        spans = spans_from(point.payload.get(SPANS, ())) or spans_in(text)
        return cls(
            point, spans, [_shown(text[start:end]) for start, end in spans], _features_of(point, space)
        )

    def lengths(self, encoder: TextEncoder) -> Sequence[int]:
        """Return the number of tokens of each sentence."""
        starts = [0, *accumulate(len(one) + 1 for one in self.sentences)]
        counts = [0] * len(self.sentences)
        for start, _ in encoder.token_spans(" ".join(self.sentences)):
            counts[bisect_right(starts, start) - 1] += 1
        return [max(count, _least(one)) for count, one in zip(counts, self.sentences, strict=True)]

    def nearness(self, vector: FloatArray, words: AskedWords | None) -> Sequence[float]:
        """Return the cosine of each sentence to the question, 1 where no vectors are kept, and its words."""
        rows, near = self.point.vectors.get(SENTENCES), np.ones(len(self.spans))
        if isinstance(rows, np.ndarray) and len(rows) == len(self.spans) and vector.any():
            near = np.maximum(rows @ vector, LEAST)
        found: list[float] = (near + (words.of_texts(self.sentences) if words else 0.0)).tolist()
        return found

    def passage(
        self,
        number: int,
        rank: int,
        taken: Sequence[_Candidate],
        new: Mapping[_Candidate, frozenset[int]],
        space: Space,
    ) -> Passage:
        """Return what is taken of it."""
        said = {one.feature: one.p for one in mentions_of(self.point.payload, least=PRESENT)}
        parts, after = list[str](), 0
        sentences, adds = list[ContextSentence](), dict[str, float]()
        for one in taken:
            surest = sorted(one.features, key=lambda feature: -said[feature])
            spoken = tuple(Spoken(each, space.labels[each].text, said[each]) for each in surest)
            first = tuple(each.label for each in spoken if each.id in new[one])
            adds |= {each.label: each.evidence for each in spoken if each.label in first}
            sentences.append(
                ContextSentence(self.sentences[one.place], self.spans[one.place][0], spoken, first)
            )
            parts += [GAP] * (one.place > after) + [self.sentences[one.place]]
            after = one.place + 1
        is_cut = after < len(self.spans) or self.point.payload[TEXT][self.spans[-1][1] :].strip()
        payload, score = self.point.payload, float(self.point.score or 0.0)
        return Passage(
            number=number,
            id=payload[RECORD_ID],
            document=payload.get(DOCUMENT),
            rank=rank,
            score=score,
            text=" ".join([*parts, *[GAP] * bool(is_cut)]),
            why=f"rank {rank}, score {score:.3f}{_added(adds)}",
            sentences=tuple(sentences),
            metadata=payload[METADATA],
        )


def _added(adds: Mapping[str, float]) -> str:
    """Return what a passage is the first to speak of, the surest first; "" for nothing."""
    if not adds:
        return ""
    first = sorted(adds, key=lambda label: -adds[label])
    more = f" and {len(first) - SHOWN} more" if len(first) > SHOWN else ""
    return f"; the first to speak of {', '.join(first[:SHOWN])}{more}"


def _shown(text: str) -> str:
    """Return a text on one line, which hides nothing, and cites nothing: its own [1] is (1)."""
    line = visible(" ".join(text.split()))
    return _BRACKETS.sub(lambda found: f"({found[1]})" if _is_cited(found[1]) else found[0], line)


def _is_cited(said: str) -> bool:
    return any(one.isdigit() for one in said) and not _OF_CITATIONS.sub("", said)


def _least(text: str) -> int:
    """Return the number of tokens that a text has at least: an encoder may read a long word as one."""
    return math.ceil(len(text) / CHARS)


def _count(text: str, encoder: TextEncoder) -> int:
    return max(len(encoder.token_spans(text)), _least(text)) if text else 0


def _features_of(point: Point, space: Space) -> dict[int, tuple[int, ...]]:
    """Return the named concepts that sentences of a record speak of, by the sentence that does most."""
    found: dict[int, tuple[int, ...]] = {}
    for one in mentions_of(point.payload, least=PRESENT):
        if space.is_named[one.feature]:
            found[one.sentence] = (*found.get(one.sentence, ()), one.feature)
    return found


def _worths(scores: Sequence[float]) -> list[float]:
    spread = SPREAD * (max(scores) - min(scores)) if scores else 0.0
    return [math.exp((one - max(scores)) / spread) if spread else 1.0 for one in scores]


def _chosen(candidates: Sequence[_Candidate], worths: Sequence[float], budget: int) -> Iterator[_Candidate]:
    """Yield different sentences within the budget, the one that adds most for its length first."""
    covered: dict[int, float] = {}
    said: set[str] = set()
    opened: set[int] = set()

    def cost(one: _Candidate) -> int:
        return one.tokens + 1 + (0 if one.row in opened else CITATION)  # one for a gap

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
        if cost(one) > budget or one.text in said:
            continue
        now = -gain(one)
        if waiting and now > waiting[0][0]:  # it adds less than when it was put there
            heappush(waiting, (now, number))
            continue
        budget -= cost(one)
        opened.add(one.row)
        said.add(one.text)
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
        summary=[*context.understood, context.withheld or said],
        method=[],
        sections=[listing("Passages", context.passages, columns)],
    )
