"""The tools that a language model has over MCP: each is a request, with the answer that it gets.

As with operations, names, types, defaults and descriptions stand in the fields, once. A tool asks a
:class:`Reach`, which performs operations for the one who calls.
"""

from __future__ import annotations

from dataclasses import KW_ONLY
from typing import TYPE_CHECKING, ClassVar, Protocol, TypeVar

from pydantic import Field

from saeindex.errors import MismatchError, NotFoundError
from saeindex.integrations import mcp_answers as answers
from saeindex.language.fields import RECORD_ID
from saeindex.operations.associations import Correlate
from saeindex.operations.concepts import Find, ProfileNames
from saeindex.operations.differences import DiffGroups
from saeindex.operations.records import Count, Get, MetadataFields
from saeindex.operations.search import FindContext, Search
from saeindex.report.model import describe
from saeindex.schema import Texts, Whole, request
from saeindex.types import shown_label

if TYPE_CHECKING:
    from collections.abc import Sequence

    from saeindex.collection.metadata_fields import MetadataField
    from saeindex.operations.operation import Operation
    from saeindex.types import Part, Proof

R = TypeVar("R")
BUDGET, LEAST_BUDGET, MOST_BUDGET = 2_000, 500, 50_000
SHOWN_CONCEPTS, SHOWN_PROOFS, SHOWN_PARTS, SHOWN_VALUES = 4, 3, 3, 3
WHERE = "a condition: concepts in double quotes, and metadata: '\"crime\" AND metadata.year >= 1990'"
STEER = "concepts to add to the query or to take away, with strengths: '+crime:2 -war:1', '+profile:NAME'"
PROPERTY = "a property of the texts to rank by, in words: 'sounds defensive'"


class Reach(Protocol):
    """Indexes, as whoever asks may use them."""

    async def names(self) -> list[str]:
        """Return the names of the indexes."""

    async def perform(self, index: str, operation: Operation[R]) -> R:
        """Return the result of an operation on the index of a name."""


@request
class Tool:
    """What a language model asks for."""

    name: ClassVar[str]
    answer: ClassVar[type[answers.Answer]]

    _: KW_ONLY
    budget_tokens: Whole = Field(
        default=BUDGET, ge=LEAST_BUDGET, le=MOST_BUDGET, description="the most tokens of the answer"
    )

    async def run(self, reach: Reach) -> answers.Answer:
        """Return the answer, of any length."""
        raise NotImplementedError


@request
class ListIndexes(Tool):
    """List the indexes that can be asked, with their numbers of records and their metadata fields."""

    name, answer = "list_indexes", answers.IndexList

    async def run(self, reach: Reach) -> answers.IndexList:
        """List."""
        return answers.IndexList(indexes=tuple([await _entry(reach, name) for name in await reach.names()]))


@request
class OfIndex(Tool):
    """What is asked of one index."""

    _: KW_ONLY
    index: str | None = Field(
        default=None, description="the name of the index; only needed where there are several"
    )

    async def named(self, reach: Reach) -> str:
        """Return the name of the index; NotFoundError if there is none of it, or several without it."""
        names = await reach.names()
        if self.index is None and len(names) == 1:
            return names[0]
        if self.index not in names:
            asked = "no index" if self.index is None else f"index {self.index!r:.80}"
            found = f"there are {', '.join(names)}" if names else "there is none"
            raise NotFoundError(asked, found, "Name one of them, as list_indexes does.")
        return self.index


@request
class SearchRecords(OfIndex):
    """Search for records by topic, by concepts, by metadata, or by a property of the texts.

    Give a query, a condition, a property, or several of them: at least one. Each hit has the text, the
    metadata, its strongest concepts, and the sentences that prove the concepts asked for.
    """

    name, answer = "search", answers.FoundRecords

    query: str = Field(default="", description="the text to search for, ranked by meaning")
    _: KW_ONLY
    where: str | None = Field(default=None, description=WHERE)
    steer: str | None = Field(default=None, description=STEER)
    property: str | None = Field(default=None, description=PROPERTY)
    limit: Whole = Field(default=10, ge=1, le=100, description="the number of hits")

    async def run(self, reach: Reach) -> answers.FoundRecords:
        """Search."""
        asked = Search(
            self.query, where=self.where, steer=self.steer, property=self.property, limit=self.limit
        )
        found = await reach.perform(await self.named(reach), asked)
        hits = tuple(
            answers.FoundRecord(
                id=hit.id,
                document=hit.document,
                score=_short(hit.score),
                text=hit.text,
                metadata=hit.metadata,
                concepts=tuple(
                    f"#{one.id} {shown_label(one.label, one.is_weak)}"
                    for one in hit.features[:SHOWN_CONCEPTS]
                ),
                evidence=_sentences(hit.evidence),
            )
            for hit in found
        )
        return answers.FoundRecords(hits=hits, understood="\n".join(found.plan.understood))


@request
class PassagesToCite(OfIndex):
    """Get the passages to read and cite for a question: sentences of the best records on different concepts.

    Prefer this to search for answering questions: it takes the sentences that matter, within the budget.
    """

    name, answer = "context", answers.CitedPassages

    question: str = Field(description="the question, in words")
    _: KW_ONLY
    where: str | None = Field(default=None, description=WHERE)

    async def run(self, reach: Reach) -> answers.CitedPassages:
        """Search, and choose; with fewer tokens of text until the answer fits."""
        name, tokens = await self.named(reach), self.budget_tokens
        while True:
            found = await reach.perform(
                name, FindContext(self.question, where=self.where, budget_tokens=tokens)
            )
            passages = tuple(
                answers.CitedPassage(f"[{one.number}]", one.id, one.document, one.text, one.metadata)
                for one in found.passages
            )
            answer = answers.CitedPassages(passages=passages, searched=found.records)
            size = answers.tokens_of(answer.to_json())
            if size <= self.budget_tokens or len(passages) < 2:
                return answer
            tokens = max(1, tokens * self.budget_tokens // size)


@request
class FindConcepts(OfIndex):
    """Find the concepts of an index that match a word or phrase, for conditions and steering."""

    name, answer = "find_concepts", answers.NamedFeatures

    phrase: str = Field(description="a word or a phrase")
    _: KW_ONLY
    limit: Whole = Field(default=10, ge=1, le=100, description="the number of concepts")

    async def run(self, reach: Reach) -> answers.NamedFeatures:
        """Find."""
        found = await reach.perform(await self.named(reach), Find(self.phrase, self.limit))
        return answers.NamedFeatures(
            concepts=tuple(
                answers.NamedFeature(
                    f"#{one.id}", shown_label(one.label, one.is_weak), _short(one.score), one.description
                )
                for one in found
            )
        )


@request
class ExplainHit(OfIndex):
    """Explain why a record has its score for a query: its parts, by concept, the largest first."""

    name, answer = "explain_hit", answers.ExplainedScore

    query: str = Field(description="the text of the search")
    id: str = Field(description="the id of the record, such as of a hit")
    _: KW_ONLY
    where: str | None = Field(default=None, description=WHERE)
    steer: str | None = Field(default=None, description=STEER)
    property: str | None = Field(default=None, description=PROPERTY)

    async def run(self, reach: Reach) -> answers.ExplainedScore:
        """Search among this record, and explain."""
        name = await self.named(reach)
        only = {"must": [{"key": RECORD_ID, "match": {"value": self.id}}]}
        asked = Search(
            self.query, where=self.where, steer=self.steer, property=self.property, query_filter=only,
            explain=True, limit=1,
        )  # fmt: skip
        found = await reach.perform(name, asked)
        if not found:
            if not await reach.perform(name, Get([self.id], include=())):
                raise NotFoundError(f"record {self.id!r:.80}", "there is none", "Give the id of a hit.")
            do = "Leave out where, or ask for another."
            raise MismatchError(f"record {self.id!r:.80}", "it does not fulfil the condition", do)
        (hit,) = found
        assert hit.explanation is not None  # noqa: S101
        parts = sorted(hit.explanation.parts, key=lambda one: -abs(one.value))
        most = ", ".join(f"{_shown(one)} ({one.value:+.3f})" for one in parts[:SHOWN_PARTS])
        conditions = [
            f"{one.text}: {'fulfilled' if one.matched else 'not fulfilled'}"
            for one in hit.explanation.clauses
        ]
        return answers.ExplainedScore(
            summary=f"It scores {hit.score:.3f}, most by {most}.",
            conditions="; ".join(conditions),
            evidence=_sentences(hit.evidence),
            parts=tuple(answers.ScorePart(_shown(one), _short(one.value)) for one in parts),
        )


@request
class CompareGroups(OfIndex):
    """Compare two groups of records: which concepts, words and clusters are more frequent in one of them.

    Findings are significant, with shares, 95 % intervals and false discovery rates; they are no causes.
    """

    name, answer = "compare_groups", answers.Differences

    a: str = Field(description="the first group, as a condition: 'metadata.year < 1990'")
    b: str | None = Field(default=None, description="the second group; without it, all other records")

    async def run(self, reach: Reach) -> answers.Differences:
        """Compare."""
        found = await reach.perform(await self.named(reach), DiffGroups(self.a, self.b, examples=1, hints=0))
        findings = sorted((one for one in found if one.q <= found.alpha), key=lambda one: -abs(one.effect))
        return answers.Differences(
            summary=describe(found).summary[0],
            groups=found.groups,
            findings=tuple(
                answers.Difference(
                    what=one.shown,
                    kind=one.family,
                    more_in=one.group,
                    shares={name: _short(share) for name, share in one.freq.items()},
                    difference=_short(one.effect),
                    interval=(_short(one.ci[0]), _short(one.ci[1])),
                    q=_short(one.q),
                    replicated=one.replicated,
                    example=" ".join(each.text for each in one.examples.get(one.group, ())),
                )
                for one in findings
            ),
            notes=" ".join(found.notes),
        )


@request
class CorrelateConcepts(OfIndex):
    """Find pairs of concepts that occur together in records more often, or less often, than by chance."""

    name, answer = "correlate", answers.Pairs

    concepts: Texts = Field(
        default=(),
        description="properties to pair, such as 'sad=feeling sad; against: being happy'; without any, all",
    )
    _: KW_ONLY
    where: str | None = Field(default=None, description="the records to look at, as a condition")
    limit: Whole = Field(default=20, ge=1, le=100, description="the pairs of each association")

    async def run(self, reach: Reach) -> answers.Pairs:
        """Correlate."""
        asked = Correlate(self.concepts, where=self.where, limit=self.limit)
        found = await reach.perform(await self.named(reach), asked)
        both = [("together", one) for one in found.results] + [("apart", one) for one in found.avoided]
        return answers.Pairs(
            summary=describe(found).summary[0],
            pairs=tuple(
                answers.Pair(
                    a=str(one.a),
                    b=str(one.b),
                    association=association,
                    records=_short(one.support),
                    expected=_short(one.expected),
                    log_odds=_short(one.log_odds),
                    interval=(_short(one.ci[0]), _short(one.ci[1])),
                    q=_short(one.q),
                    example=" ".join(each.text for each in one.examples[:1]),
                )
                for association, one in both
            ),
        )


@request
class ListProfiles(OfIndex):
    """List the steering profiles that people saved with an index; steer a search by '+profile:NAME'."""

    name, answer = "list_profiles", answers.ProfileList

    async def run(self, reach: Reach) -> answers.ProfileList:
        """List."""
        found = await reach.perform(await self.named(reach), ProfileNames())
        return answers.ProfileList(profiles=tuple(found))


TOOLS: dict[str, type[Tool]] = {
    one.name: one
    for one in (
        ListIndexes,
        SearchRecords,
        PassagesToCite,
        FindConcepts,
        ExplainHit,
        CompareGroups,
        CorrelateConcepts,
        ListProfiles,
    )
}


async def _entry(reach: Reach, name: str) -> answers.IndexEntry:
    fields = await reach.perform(name, MetadataFields())
    return answers.IndexEntry(name, await reach.perform(name, Count()), "; ".join(map(_field, fields)))


def _field(one: MetadataField) -> str:
    values = ", ".join(map(str, one.values[:SHOWN_VALUES] or (one.example,)))
    return f"{one.field} ({' or '.join(one.kinds)}, such as {values})"


def _sentences(proofs: Sequence[Proof]) -> tuple[answers.Sentence, ...]:
    return tuple(
        answers.Sentence(one.label, _short(one.evidence), one.sentence) for one in proofs[:SHOWN_PROOFS]
    )


def _shown(part: Part) -> str:
    label = shown_label(part.label, part.is_weak)
    return label if part.feature is None else f"#{part.feature} {label}"


def _short(value: float) -> float:
    """Return a number with four digits: more are no help to a reader, and cost tokens."""
    return float(f"{value:.4g}")
