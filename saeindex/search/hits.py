"""The result of a search: hits, best first, with the plan and the timings."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from typing import TYPE_CHECKING, Any, ClassVar, NotRequired, overload

from typing_extensions import TypedDict

from saeindex.concepts.feedback import Feedback
from saeindex.errors import InvalidInputError, MismatchError
from saeindex.report.html import Described
from saeindex.report.model import Description, Section, describe, listing
from saeindex.report.numbers import Number, counted, number
from saeindex.report.result import data_frame
from saeindex.schema import Result
from saeindex.search.explain import Comparison, Difference, Explanation
from saeindex.search.plan import Plan
from saeindex.search.query import Query
from saeindex.search.rerank import Retrieved
from saeindex.types import Activation, JsonObject, Part, PartKind, Proof, one_line, shortened, shown_label

if TYPE_CHECKING:
    from pandas import DataFrame


# Limits of tables: characters of a text, concepts of a hit, parts of a score; hits in a repr.
TEXT_CHARS, SHOWN_CONCEPTS, SHOWN_PARTS, NAMED_HITS = 160, 4, 12, 3


@dataclass(frozen=True, slots=True)
class SteeringEffect:
    """The rank (from 1) and score of a hit without steering and with it.

    The rank before is None if it is beyond the first thousand; the score before may then be None, too.
    """

    rank_before: int | None
    score_before: float | None
    rank_after: int
    score_after: float


@dataclass(frozen=True, slots=True)
class Hit(Result, Described):
    """A scored record; ``document`` is the longer text that it is a piece of, if it is one.

    ``evidence`` has the concepts of the query that the record speaks of, each with its sentence: those of the
    filter and of steers first, the surest of each first. What the query does not ``include`` is empty; the
    ``vector`` (d,) of the text is there if it does. The score of a query with ``rerank`` is the reranker's,
    and ``retrieved`` has the one before.
    """

    id: str
    score: float
    text: str
    metadata: JsonObject
    features: tuple[Activation, ...] = ()
    explanation: Explanation | None = None
    document: str | None = None
    steered: SteeringEffect | None = None
    evidence: tuple[Proof, ...] = ()
    vector: tuple[float, ...] | None = None
    retrieved: Retrieved | None = None

    def __repr__(self) -> str:
        return f"Hit({self.id!r}, {self.score:.3f}, {one_line(self.text, 60)!r})"


@dataclass(frozen=True, slots=True)
class Group:
    """The best hits that share a value of the ``group_by`` field, best first."""

    value: str | int | float | bool
    hits: tuple[Hit, ...]


class GroupJson(TypedDict):
    """A group in JSON: its value, and the ids of its hits, which are in this order among all hits."""

    value: str | int | float | bool
    hits: list[str]


class HitsJson(TypedDict):
    """Hits in JSON: best first, with the query, its plan and the time of each stage."""

    query: Query
    plan: Plan
    drift: float
    revision: str
    feedback: Feedback | None
    hits: list[Hit]
    groups: list[GroupJson]
    next: NotRequired[str | None]
    timings_ms: dict[str, float]


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class Hits(Sequence[Hit], Described):
    """The hits of one query, best first, with the plan and the time of each stage in milliseconds.

    If the query has ``group_by``, the hits are in the order of their groups, and ``groups`` has each group.
    A slice of hits is hits. They are plain data: what is kept of them keeps nothing of the index. ``next``
    goes on after the last of them (``search(…, after=hits.next)``), whatever was added before it since;
    None if there are no more.
    """

    hits: tuple[Hit, ...]
    plan: Plan
    timings_ms: Mapping[str, float]
    groups: tuple[Group, ...] = ()
    next: str | None = None
    json_kind: ClassVar = HitsJson

    @property
    def drift(self) -> float:
        """The drift 1 - cos(q, q') of the query by steering (0 without steering)."""
        return self.plan.drift

    @property
    def total(self) -> int | None:
        """How many records match the conditions; None with conditions that were not counted (``total``)."""
        return self.plan.matching

    @property
    def revision(self) -> str:
        """The revision of the index that was searched."""
        return self.plan.revision

    @property
    def feedback(self) -> Feedback | None:
        """The concepts and words that a property search inferred, with sentences; None for other searches."""
        found = self.plan.feedback
        return None if found is None else found.with_sentences(one for hit in self for one in hit.evidence)

    def to_json(self) -> dict[str, Any]:
        """Return the hits, the query, the plan and the timings as a JSON object."""
        plan = self.plan.to_json()
        return {
            "query": plan["query"],
            "plan": plan,
            "drift": self.drift,
            "revision": self.revision,
            "feedback": None if (found := self.feedback) is None else found.model_dump(mode="json"),
            "hits": [hit.to_json() for hit in self],
            "groups": [
                {"value": group.value, "hits": [hit.id for hit in group.hits]} for group in self.groups
            ],
            "next": self.next,
            "timings_ms": {stage: round(ms, 3) for stage, ms in self.timings_ms.items()},
        }

    @classmethod
    def from_json(cls, given: Mapping[str, Any]) -> Hits:
        """Return the hits that :meth:`to_json` wrote; MismatchError for others."""
        if not isinstance(given, Mapping) or not HitsJson.__required_keys__ <= given.keys():
            raise MismatchError("hits", "no JSON of hits", "Give what Hits.to_json returned.")
        hits = tuple(Hit.from_json(one) for one in given["hits"])
        waiting, groups = iter(hits), []
        for one in given["groups"]:  # the hits are in the order of their groups
            groups.append(Group(one["value"], tuple(islice(waiting, len(one["hits"])))))
        timings = dict(given["timings_ms"])
        return cls(hits, Plan.from_json(given["plan"]), timings, tuple(groups), given.get("next"))

    def to_pandas(self) -> DataFrame:
        """Return a pandas DataFrame: id, score, text, document, the names of the concepts, and the metadata.

        A metadata field is a column with its name in filters: ``metadata.year``. If the hits are grouped,
        the column ``group`` is the value that they share.
        """
        group_of = {id(hit): group.value for group in self.groups for hit in group.hits}
        return data_frame([({"group": group_of[id(hit)]} if group_of else {}) | _row(hit) for hit in self])

    @overload
    def __getitem__(self, index: int) -> Hit: ...
    @overload
    def __getitem__(self, index: slice) -> Hits: ...
    def __getitem__(self, index: int | slice) -> Hit | Hits:
        if not isinstance(index, slice):
            return self.hits[index]
        kept = self.hits[index]
        ours = {id(hit) for hit in kept}
        groups = [Group(one.value, tuple(hit for hit in one.hits if id(hit) in ours)) for one in self.groups]
        return replace(self, hits=kept, groups=tuple(one for one in groups if one.hits))

    def __len__(self) -> int:
        return len(self.hits)

    def __repr__(self) -> str:
        best = [f"{hit.id!r} {hit.score:.3f}" for hit in self[:NAMED_HITS]] or [*self.plan.warnings]
        best += ["…"] if len(self) > NAMED_HITS else []
        return f"Hits({f'{len(self)} {self.plan.asked}'.strip()}{': ' * bool(best)}{', '.join(best)})"


def compare(a: Hit, b: Hit) -> Comparison:
    """Return why ``a`` ranks above or below ``b``; both must be explained hits of the same query."""
    if a.explanation is None or b.explanation is None:
        raise InvalidInputError(
            f"compare hits {a.id!r} and {b.id!r}", "they have no explanations", "Search with explain=True."
        )

    def keyed(parts: Sequence[Part]) -> dict[tuple[PartKind, int | str], Part]:
        return {(part.kind, part.label if part.feature is None else part.feature): part for part in parts}

    ours, theirs = keyed(a.explanation.parts), keyed(b.explanation.parts)
    differences = []
    for key in ours | theirs:
        part = ours.get(key) or theirs[key]
        in_a, in_b = (found[key].value if key in found else 0.0 for found in (ours, theirs))
        differences.append(Difference(part.kind, part.feature, part.label, in_a, in_b, part.is_weak))
    differences.sort(key=lambda part: -abs(part.value))
    return Comparison(a.id, b.id, a.explanation.total, b.explanation.total, tuple(differences))


# In a notebook ----------------------------------------------------------------------------------------


@describe.register(Hits)
def _(hits: Hits) -> Description:
    asked = hits.plan.asked
    summary = [f"{counted(len(hits), 'hit')}{f' {asked}' if asked else ''}."]
    if hits.drift > 0:
        summary.append(f"Steering moved the query by {hits.drift:.3f} (1 − cosine).")
    by = hits.plan.query.grouping
    if by is None:
        sections = [_listing(hits, "Hits", hits.drift > 0)]
    else:
        sections = [
            _listing(group.hits, f"{by.field} = {group.value}", hits.drift > 0) for group in hits.groups
        ]
    return Description(
        question="Which records match best?",
        summary=summary,
        method=[str(hits.plan)],
        sections=sections,
        notes=[warning.rstrip(".") for warning in hits.plan.warnings],
    )


@describe.register(Hit)
def _(hit: Hit) -> Description:
    document = f", of the document {hit.document}" if hit.document is not None else ""
    return Description(
        question="What is this hit?",
        summary=[f"{hit.id}{document}, score {number(hit.score, 3)}", hit.text],
        method=[],
        sections=list(_of_hit(hit)),
    )


def _of_hit(hit: Hit) -> Iterator[Section]:
    if hit.metadata:
        value = {"Value": lambda field: shortened(str(field[1]), TEXT_CHARS)}
        yield listing("Metadata", hit.metadata.items(), {"Field": lambda field: field[0], **value})
    if hit.evidence:
        sentence = {"Sentence": lambda proof: " ".join(proof.sentence.split())}
        evidence = {"Evidence": lambda proof: number(proof.evidence)}
        yield listing("Speaks of", hit.evidence, {"Concept": "label", **evidence, **sentence})
    if hit.features:
        yield listing("Concepts", hit.features, {"Concept": _shown, "Activation": "activation"})
    if hit.explanation is not None:
        yield _parts(hit.explanation)
    if hit.retrieved is not None and hit.retrieved.explanation is not None:
        yield _parts(hit.retrieved.explanation, f"Why rank {hit.retrieved.rank:,} before it was reranked")


def _parts(explanation: Explanation, title: str = "Why this score") -> Section:
    """Return the parts of a score, the largest first."""
    parts = sorted(explanation.parts, key=lambda part: -abs(part.value))
    rows = [(shown_label(part.label, part.is_weak), part.value) for part in parts[:SHOWN_PARTS]]
    if rest := parts[SHOWN_PARTS:]:
        rows.append((f"{len(rest)} more", sum(part.value for part in rest)))
    rows.append(("Score", explanation.total))
    columns = {"Part of the score": lambda row: row[0], "Value": lambda row: number(row[1], 4)}
    return listing(title, rows, columns)


def _listing(hits: Sequence[Hit], name: str, is_steered: bool) -> Section:
    columns: dict[str, Any] = {"Score": lambda hit: number(hit.score, 3)}
    if is_steered and any(hit.steered for hit in hits):
        columns["Rank before steering"] = lambda hit: _rank_before(hit.steered)
    if any(hit.retrieved for hit in hits):
        columns["Rank before"] = lambda hit: Number(f"{hit.retrieved.rank:,}" if hit.retrieved else "")
    columns |= {
        "Text": lambda hit: one_line(hit.text, TEXT_CHARS),
        "Concepts": lambda hit: " · ".join(_shown(one) for one in hit.features[:SHOWN_CONCEPTS]),
        "Id": "id",
        "Metadata": _metadata,
    }
    return listing(name, hits, columns)


def _metadata(hit: Hit) -> str:
    return " · ".join(f"{key}: {shortened(str(value), 40)}" for key, value in hit.metadata.items())


def _rank_before(effect: SteeringEffect | None) -> Number:
    rank = None if effect is None else effect.rank_before
    return Number("beyond 1,000" if rank is None else f"{rank:,}")


def _shown(active: Activation) -> str:
    return shown_label(active.label, active.is_weak)


def _row(hit: Hit) -> dict[str, Any]:
    return {
        "id": hit.id,
        "score": hit.score,
        "text": hit.text,
        "document": hit.document,
        "concepts": [_shown(one) for one in hit.features],
        **{f"metadata.{name}": value for name, value in hit.metadata.items()},
    }
