"""The tools that a language model has over MCP, and how their answers fit into a budget of tokens.

As with operations, names, types, defaults and descriptions stand in the fields, once. A tool asks a
:class:`Indexes`, which performs operations for the one who calls.
"""

from __future__ import annotations

import json
import sys
from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import KW_ONLY
from typing import TYPE_CHECKING, Any, ClassVar, Protocol, TypeVar

from pydantic import Field

from saeindex.errors import MismatchError, NotFoundError
from saeindex.language.fields import METADATA, RECORD_ID
from saeindex.operations.associations import Correlate
from saeindex.operations.concepts import Find, ProfileNames
from saeindex.operations.differences import DiffGroups
from saeindex.operations.records import Count, Get, MetadataFields
from saeindex.operations.search import FindContext, Search
from saeindex.report.model import describe
from saeindex.schema import Texts, Whole, request
from saeindex.types import LINES, JsonObject, Part, Proof, cut, shown_label, visible

if TYPE_CHECKING:
    from saeindex.collection.records import MetadataField
    from saeindex.operations.operation import Operation
    from saeindex.search.context import Passage
    from saeindex.search.hits import Hit

R = TypeVar("R")
BUDGET, LEAST_BUDGET, MOST_BUDGET = 2_000, 500, 50_000
SHOWN_CONCEPTS, SHOWN_PROOFS, SHOWN_PARTS, SHOWN_VALUES = 4, 3, 3, 3
TOKEN_BYTES = 3
# The characters that a text is cut to before whole items are left out.
LEAST_CHARS = 80
# What is used again as it is, and never cut.
NAMES = ("id", "name")
WHERE = (
    "a condition with concepts in double quotes, metadata, and what texts say word for word: "
    '\'"crime" AND metadata.year >= 1990 AND NOT says("war on drugs")\''
)
STEER = "concepts to add to the query or to take away, with strengths: '+crime:2 -war:1', '+profile:NAME'"
# A question is one that somebody types: quotes, minus and "but not" mean what they say.
TYPED: dict[str, Any] = {"syntax": True, "interpret": True}
PROPERTY = "a property of the texts to rank by, in words: 'sounds defensive'"


class Indexes(Protocol):
    """Indexes, as whoever asks may use them."""

    async def names(self) -> list[str]:
        """Return the names of the indexes."""

    async def perform(self, index: str, operation: Operation[R]) -> R:
        """Return the result of an operation on the index of a name."""


@request
class Tool:
    """What a language model asks for; ``items`` names the list of the answer whose last may be left out."""

    name: ClassVar[str]
    items: ClassVar[str]

    _: KW_ONLY
    budget_tokens: Whole = Field(
        default=BUDGET, ge=LEAST_BUDGET, le=MOST_BUDGET, description="the most tokens of the answer"
    )

    async def run(self, indexes: Indexes) -> JsonObject:
        """Return the answer, of any length."""
        raise NotImplementedError


@request
class ListIndexes(Tool):
    """List the indexes that can be asked, with their numbers of records and their metadata fields."""

    name, items = "list_indexes", "indexes"

    async def run(self, indexes: Indexes) -> JsonObject:
        """List."""
        return {self.items: [await _entry(indexes, name) for name in await indexes.names()]}


@request
class IndexTool(Tool):
    """What is asked of one index."""

    _: KW_ONLY
    index: str | None = Field(
        default=None, description="the name of the index; only needed where there are several"
    )

    async def ask(self, indexes: Indexes, operation: Operation[R]) -> R:
        """Perform an operation; NotFoundError if there is no index of the name, or several without it."""
        names, index = await indexes.names(), self.index
        if index is None and len(names) == 1:
            (index,) = names
        if index not in names:
            asked = "no index" if index is None else f"index {index!r:.80}"
            found = f"there are {', '.join(names)}" if names else "there is none"
            raise NotFoundError(asked, found, "Name one of them, as list_indexes does.")
        return await indexes.perform(index, operation)


@request
class RankedTool(IndexTool):
    """What ranks records by a query, or selects them."""

    query: str = Field(
        default="",
        description='the text to search for, by meaning and words; hits have what is "in quotes", no -word',
    )
    _: KW_ONLY
    where: str | None = Field(default=None, description=WHERE)
    steer: str | None = Field(default=None, description=STEER)
    property: str | None = Field(default=None, description=PROPERTY)

    def search(self, **options: Any) -> Search:
        """Return the search."""
        read = {"where": self.where, "steer": self.steer, "property": self.property, **TYPED}
        return Search(self.query, **read, **options)


@request
class SearchRecords(RankedTool):
    """Search for records by topic, by concepts, by metadata, or by a property of the texts.

    Give a query, a condition, a property, or several of them: at least one. Each hit has the text, the
    metadata, its strongest concepts, and the sentences that prove the concepts asked for.
    """

    name, items = "search", "hits"

    _: KW_ONLY
    limit: Whole = Field(default=10, ge=1, le=100, description="the number of hits")
    order_by: str | None = Field(default=None, description="without a query, the order: 'metadata.date desc'")

    async def run(self, indexes: Indexes) -> JsonObject:
        """Search."""
        found = await self.ask(indexes, self.search(limit=self.limit, order_by=self.order_by))
        hits = []
        for hit in found:
            strongest = hit.features[:SHOWN_CONCEPTS]
            concepts = [f"#{one.id} {shown_label(one.label, one.is_weak)}" for one in strongest]
            shown = {"score": hit.score, "concepts": concepts, "evidence": _sentences(hit.evidence)}
            hits.append({**_text_of_record(hit), **shown})
        return {self.items: hits, "understood": "\n".join(found.plan.understood)}


@request
class PassagesToCite(IndexTool):
    """Get the passages to read and cite for a question: sentences of the best records on different concepts.

    Prefer this to search for answering questions: it takes the sentences that matter, within the budget.
    Cite a passage as its `cite`.
    """

    name, items = "context", "passages"

    question: str = Field(description="the question, in words")
    _: KW_ONLY
    where: str | None = Field(default=None, description=WHERE)

    async def run(self, indexes: Indexes) -> JsonObject:
        """Search, and choose; with fewer tokens of text until the answer fits."""
        tokens = self.budget_tokens
        while True:
            asked = FindContext(self.question, where=self.where, budget_tokens=tokens, **TYPED)
            found = await self.ask(indexes, asked)
            passages = [{"cite": f"[{one.number}]", **_text_of_record(one)} for one in found.passages]
            understood = "\n".join(found.understood)
            answer = {
                self.items: passages,
                "searched": found.records,
                "understood": understood,
                "left_out": "",
            }
            size = tokens_of(answer)
            if size <= self.budget_tokens or len(passages) < 2:
                return answer
            tokens = max(1, tokens * self.budget_tokens // size)


@request
class FindConcepts(IndexTool):
    """Find the concepts of an index that match a word or phrase, for conditions and steering.

    `feature` is the number that names a concept there; a `match` of about 1 is the best.
    """

    name, items = "find_concepts", "concepts"

    phrase: str = Field(description="a word or a phrase")
    _: KW_ONLY
    limit: Whole = Field(default=10, ge=1, le=100, description="the number of concepts")

    async def run(self, indexes: Indexes) -> JsonObject:
        """Find."""
        concepts = [
            {
                "feature": f"#{one.id}", "label": shown_label(one.label, one.is_weak),
                "match": one.score, "description": one.description,
            }
            for one in await self.ask(indexes, Find(self.phrase, self.limit))
        ]  # fmt: skip
        return {self.items: concepts}


@request
class ExplainHit(RankedTool):
    """Explain why a record has its score for a query: its parts, by concept, the largest first."""

    name, items = "explain_hit", "parts"

    _: KW_ONLY
    id: str = Field(description="the id of the record, such as of a hit")

    async def run(self, indexes: Indexes) -> JsonObject:
        """Search among this record, and explain."""
        only = {"must": [{"key": RECORD_ID, "match": {"value": self.id}}]}
        asked = self.search(query_filter=only, explain=True, limit=1)
        found = await self.ask(indexes, asked)
        if not found:
            if not await self.ask(indexes, Get([self.id], include=())):
                raise NotFoundError(f"record {self.id!r:.80}", "there is none", "Give the id of a hit.")
            do = "Leave out where, or ask for another."
            raise MismatchError(f"record {self.id!r:.80}", "it does not fulfil the condition", do)
        (hit,) = found
        assert hit.explanation is not None  # noqa: S101
        parts = sorted(hit.explanation.parts, key=lambda one: -abs(one.value))
        most = ", ".join(f"{_shown(one)} ({one.value:+.3f})" for one in parts[:SHOWN_PARTS])
        clauses = hit.explanation.clauses
        conditions = [f"{one.text}: {'fulfilled' if one.matched else 'not fulfilled'}" for one in clauses]
        return {
            "summary": f"It scores {hit.score:.3f}, most by {most}.",
            "conditions": "; ".join(conditions),
            "evidence": _sentences(hit.evidence),
            self.items: [{"part": _shown(one), "value": one.value} for one in parts],
        }


@request
class CompareGroups(IndexTool):
    """Compare two groups of records: which concepts, words and clusters are more frequent in one of them.

    Findings are significant, with shares, 95 % intervals and false discovery rates (`q`); `replicated` is
    whether one holds in a second half of the records. They are no causes.
    """

    name, items = "compare_groups", "findings"

    a: str = Field(description="the first group, as a condition: 'metadata.year < 1990'")
    b: str | None = Field(default=None, description="the second group; without it, all other records")

    async def run(self, indexes: Indexes) -> JsonObject:
        """Compare."""
        found = await self.ask(indexes, DiffGroups(self.a, self.b, examples=1, hints=0))
        findings = sorted((one for one in found if one.q <= found.alpha), key=lambda one: -abs(one.effect))
        shown = []
        for one in findings:
            examples = " ".join(each.text for each in one.examples.get(one.group, ()))
            of_test = {"difference": one.effect, "interval": [*one.ci], "q": one.q}
            what = {"what": one.shown, "kind": one.family, "more_in": one.group, "shares": dict(one.freq)}
            shown.append({**what, **of_test, "replicated": one.replicated, "example": examples})
        said = {"summary": describe(found).summary[0], "groups": dict(found.groups)}
        return {**said, self.items: shown, "notes": " ".join(found.notes)}


@request
class CorrelateConcepts(IndexTool):
    """Find pairs of concepts that occur together in records more often, or less often, than by chance.

    `records` have both and `expected` would by chance; `log_odds` has a 95 % interval, and `q` is the false
    discovery rate.
    """

    name, items = "correlate", "pairs"

    concepts: Texts = Field(
        default=(),
        description="properties to pair, such as 'sad=feeling sad; against: being happy'; without any, all",
    )
    _: KW_ONLY
    where: str | None = Field(default=None, description="the records to look at, as a condition")
    limit: Whole = Field(default=20, ge=1, le=100, description="the pairs of each association")

    async def run(self, indexes: Indexes) -> JsonObject:
        """Correlate."""
        found = await self.ask(indexes, Correlate(self.concepts, where=self.where, limit=self.limit))
        both = [("together", one) for one in found.results] + [("apart", one) for one in found.avoided]
        pairs = []
        for association, one in both:
            example = " ".join(each.text for each in one.examples[:1])
            counts = {"association": association, "records": one.support, "expected": one.expected}
            of_test = {"log_odds": one.log_odds, "interval": [*one.ci], "q": one.q}
            pairs.append({"a": str(one.a), "b": str(one.b), **counts, **of_test, "example": example})
        return {"summary": describe(found).summary[0], self.items: pairs}


@request
class ListProfiles(IndexTool):
    """List the steering profiles that people saved with an index; steer a search by '+profile:NAME'."""

    name, items = "list_profiles", "profiles"

    async def run(self, indexes: Indexes) -> JsonObject:
        """List."""
        return {self.items: [*await self.ask(indexes, ProfileNames())]}


_TOOLS: tuple[type[Tool], ...] = (
    ListIndexes, SearchRecords, PassagesToCite, FindConcepts, ExplainHit, CompareGroups, CorrelateConcepts,
    ListProfiles,
)  # fmt: skip
TOOLS = {one.name: one for one in _TOOLS}


async def _entry(indexes: Indexes, name: str) -> JsonObject:
    fields = "; ".join(map(_field, await indexes.perform(name, MetadataFields())))
    return {"name": name, "records": await indexes.perform(name, Count()), "fields": fields}


def _field(one: MetadataField) -> str:
    values = ", ".join(map(str, one.values[:SHOWN_VALUES] or (one.example,)))
    return f"{one.field} ({' or '.join(one.kinds)}, such as {values})"


def _text_of_record(one: Hit | Passage) -> JsonObject:
    return {"id": one.id, "document": one.document, "text": one.text, "metadata": dict(one.metadata)}


def _sentences(proofs: Sequence[Proof]) -> list[JsonObject]:
    return [
        {"concept": one.label, "probability": one.evidence, "sentence": one.sentence}
        for one in proofs[:SHOWN_PROOFS]
    ]


def _shown(part: Part) -> str:
    label = shown_label(part.label, part.is_weak)
    return label if part.feature is None else f"#{part.feature} {label}"


# What fits into a budget --------------------------------------------------------------------------------


def tokens_of(found: JsonObject) -> int:
    """Return the number of tokens that an answer counts as: three bytes of its JSON are one."""
    return -(-len(text_of(found).encode()) // TOKEN_BYTES)


def fitted(answer: JsonObject, items: str, budget: int) -> dict[str, Any]:
    """Return an answer within a budget of tokens, which says what it leaves out.

    Texts are cut to the longest length at which all fits; where that is less than 80 characters, the last
    of the list named ``items`` are left out. Characters that hide or reverse text are shown.
    """
    whole, room = _cut(_short(answer), sys.maxsize), budget * TOKEN_BYTES
    every = whole[items]

    def made(count: int, most: int) -> dict[str, Any]:
        kept = {**whole, items: every[:count]}
        found: dict[str, Any] = _cut(kept, most)
        more = [f"the last {len(every) - count} of {len(every)} {items}"] * (count < len(every))
        more += [f"texts and metadata after {most} characters"] * (found != kept)
        return {**found, "left_out": "; ".join(more)}

    def size(count: int, most: int) -> int:
        return len(text_of(made(count, most)).encode())

    counts, lengths = range(1, len(every) + 1), range(LEAST_CHARS + 1, room + 1)
    kept = bisect_right(counts, room, key=lambda count: size(count, LEAST_CHARS))
    return made(kept, LEAST_CHARS + bisect_right(lengths, room, key=lambda most: size(kept, most)))


def _short(value: Any) -> Any:
    """Return JSON with four digits of each number but of metadata: more are no help, and cost tokens."""
    if isinstance(value, list):
        return [_short(one) for one in value]
    if isinstance(value, dict):
        return {name: one if name == METADATA else _short(one) for name, one in value.items()}
    return float(f"{value:.4g}") if isinstance(value, float) else value


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
