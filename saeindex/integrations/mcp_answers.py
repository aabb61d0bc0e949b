"""What the tools over MCP answer, and how it is made to fit into a budget of tokens.

A token is counted as three bytes of an answer's JSON: language models take fewer for most texts.
"""

from __future__ import annotations

import json
import sys
from bisect import bisect_right
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from saeindex.language.fields import METADATA
from saeindex.schema import Result
from saeindex.types import LINES, JsonObject, cut, visible

TOKEN_BYTES = 3
# The characters that a text is cut to before whole items are left out.
LEAST_CHARS = 80
# What is used again as it is, and never cut.
NAMES = ("id", "name")


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer(Result):
    """What a tool found; ``left_out`` says what did not fit into the budget.

    ``items`` names the list whose last items are left out.
    """

    items: ClassVar[str]
    left_out: str = ""


@dataclass(frozen=True, slots=True)
class IndexEntry:
    """An index: how many records it has, and the fields of their metadata with examples."""

    name: str
    records: int
    fields: str


@dataclass(frozen=True, slots=True, kw_only=True)
class IndexList(Answer):
    """The indexes."""

    items = "indexes"
    indexes: tuple[IndexEntry, ...]


@dataclass(frozen=True, slots=True)
class Sentence:
    """The sentence that speaks most for a concept, and how likely it does so clearly."""

    concept: str
    probability: float
    sentence: str


@dataclass(frozen=True, slots=True)
class FoundRecord:
    """A record that was found: its concepts, and the sentences that speak of those of the query."""

    id: str
    document: str | None
    score: float
    text: str
    metadata: JsonObject
    concepts: tuple[str, ...]
    evidence: tuple[Sentence, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class FoundRecords(Answer):
    """The best records, best first, and how the query was understood."""

    items = "hits"
    hits: tuple[FoundRecord, ...]
    understood: str


@dataclass(frozen=True, slots=True)
class CitedPassage:
    """A passage of a record, with … where sentences are left out; cite it as its ``cite``."""

    cite: str
    id: str
    document: str | None
    text: str
    metadata: JsonObject


@dataclass(frozen=True, slots=True, kw_only=True)
class CitedPassages(Answer):
    """Passages that answer a question, the nearest first; ``searched`` is the number of records read."""

    items = "passages"
    passages: tuple[CitedPassage, ...]
    searched: int


@dataclass(frozen=True, slots=True)
class NamedFeature:
    """A concept: its number for conditions and steers, its label, and how well it matches (to about 1)."""

    feature: str
    label: str
    match: float
    description: str


@dataclass(frozen=True, slots=True, kw_only=True)
class NamedFeatures(Answer):
    """Concepts that match a phrase, best first."""

    items = "concepts"
    concepts: tuple[NamedFeature, ...]


@dataclass(frozen=True, slots=True)
class ScorePart:
    """A summand of a score."""

    part: str
    value: float


@dataclass(frozen=True, slots=True, kw_only=True)
class ExplainedScore(Answer):
    """Why a record has its score: parts that sum to it, conditions, and sentences of its text."""

    items = "parts"
    summary: str
    conditions: str
    evidence: tuple[Sentence, ...]
    parts: tuple[ScorePart, ...]


@dataclass(frozen=True, slots=True)
class Difference:
    """What is more frequent in one group: its share of each, their difference with its 95 % interval.

    ``q`` is the false discovery rate within its kind; ``replicated`` whether it holds in a second half.
    """

    what: str
    kind: str
    more_in: str
    shares: Mapping[str, float]
    difference: float
    interval: tuple[float, float]
    q: float
    replicated: bool | None
    example: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Differences(Answer):
    """The significant differences between two groups, the largest first, with the records of each."""

    items = "findings"
    summary: str
    groups: Mapping[str, int]
    findings: tuple[Difference, ...]
    notes: str


@dataclass(frozen=True, slots=True)
class Pair:
    """Two concepts that occur "together" more often than by chance, or are "apart".

    ``records`` have both, ``expected`` would by chance. ``log_odds`` has a 95 % interval; ``q`` is the false
    discovery rate.
    """

    a: str
    b: str
    association: str
    records: float
    expected: float
    log_odds: float
    interval: tuple[float, float]
    q: float
    example: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Pairs(Answer):
    """Pairs of concepts, those that occur together first, each with the best evidence first."""

    items = "pairs"
    summary: str
    pairs: tuple[Pair, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class ProfileList(Answer):
    """The names of steering profiles; steer by '+profile:NAME'."""

    items = "profiles"
    profiles: tuple[str, ...]


# What fits into a budget --------------------------------------------------------------------------------


def tokens_of(found: JsonObject) -> int:
    """Return the number of tokens that an answer counts as."""
    return -(-len(text_of(found).encode()) // TOKEN_BYTES)


def fitted(answer: Answer, budget: int) -> dict[str, Any]:
    """Return the JSON of an answer within a budget of tokens, which says what it leaves out.

    Texts are cut to the longest length at which all fits; where that is less than 80 characters, the last
    items are left out. Characters that hide or reverse text are shown.
    """
    whole, room = _cut(answer.to_json(), sys.maxsize), budget * TOKEN_BYTES
    items = whole[answer.items]

    def made(count: int, most: int) -> dict[str, Any]:
        kept = {**whole, answer.items: items[:count]}
        found: dict[str, Any] = _cut(kept, most)
        more = [f"the last {len(items) - count} of {len(items)} {answer.items}"] * (count < len(items))
        more += [f"texts and metadata after {most} characters"] * (found != kept)
        return {**found, "left_out": "; ".join(more)}

    def size(count: int, most: int) -> int:
        return len(text_of(made(count, most)).encode())

    counts, lengths = range(1, len(items) + 1), range(LEAST_CHARS + 1, room + 1)
    kept = bisect_right(counts, room, key=lambda count: size(count, LEAST_CHARS))
    return made(kept, LEAST_CHARS + bisect_right(lengths, room, key=lambda most: size(kept, most)))


def _cut(value: Any, most: int, name: str = "") -> Any:
    """Return JSON with its texts cut to so many characters; of metadata, the fields that fit into them."""
    if isinstance(value, str):
        return visible(value if name in NAMES else cut(value, most), LINES)
    if isinstance(value, list):
        return [_cut(one, most, name) for one in value]
    if not isinstance(value, dict):
        return value
    fields, left = {visible(key): _cut(one, most, key) for key, one in value.items()}, most
    for key, one in [*fields.items()] if name == METADATA else []:
        if (size := len(text_of({key: one}))) <= left:
            left -= size
        else:
            del fields[key]
    return fields


def text_of(value: Any) -> str:
    """Return JSON as the text of an answer."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))
