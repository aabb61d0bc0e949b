"""A query that is ready to run: what it resolved to, its vectors and choices, and the plan that says so."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, NamedTuple

from saeindex.config import DENSE, SENTENCES, WORDS
from saeindex.indexing.points import PRESENT, Spoken, mentions_in, proof_of, spoken_in
from saeindex.language.to_text import to_text
from saeindex.search.plan import Choices, Estimate, Plan, PlannedSteer, Step, headline
from saeindex.search.rerank import name_of
from saeindex.search.retrieval import POOL, SENTENCE, postfilter_depth

if TYPE_CHECKING:
    from qdrant_client.models import Filter

    from saeindex.concepts.feedback import Feedback
    from saeindex.concepts.resolver import Concept, FeatureMatch
    from saeindex.concepts.scan import Scan
    from saeindex.features.evidence import Mention
    from saeindex.features.reader_space import AskedTokens
    from saeindex.features.space import Space
    from saeindex.language.ast import Expression
    from saeindex.language.to_filter import FeaturesOf
    from saeindex.protocols import PointId, SparseVector
    from saeindex.search.property import PropertyRanking
    from saeindex.search.query import Query
    from saeindex.search.words import Absent, AskedWords
    from saeindex.steering.steering import ResolvedSteer
    from saeindex.types import FloatArray, Proof

SHOWN_PARTS, SHOWN_NAMES = 6, 3
# The concepts of a hit, at most, that only its query's text or property is about.
SHOWN_PROOFS = 3


class AskedConcepts(NamedTuple):
    """The features of the named concepts that a query is about, and those that its filter and steers ask for.

    ``least`` is the least evidence of each that a hit shows: less where the filter asks for what is possible.
    """

    asked: frozenset[int] = frozenset()
    least: Mapping[int, float] = MappingProxyType({})

    def mentions(self, payloads: Sequence[Mapping[str, Any]]) -> list[list[Mention]]:
        """Return the evidence of each record that a hit shows, and all that is present."""
        return mentions_in(payloads, least=min([PRESENT, *self.least.values()]))

    def spoken(self, payload: Mapping[str, Any], said: Iterable[Mention]) -> list[Spoken]:
        """Return the sentences of a record that speak of what the query is about, of its :meth:`mentions`."""
        about = [one for one in said if one.p >= self.least.get(one.feature, math.inf)]
        asked, rest = ([one for one in about if (one.feature in self.asked) is of] for of in (True, False))
        return [*spoken_in(payload, asked), *spoken_in(payload, rest)[:SHOWN_PROOFS]]

    def proofs(
        self, payload: Mapping[str, Any], space: Space, scans: Iterable[Scan], spoken: Sequence[Spoken]
    ) -> tuple[Proof, ...]:
        """Return what a record speaks of, with its sentences: first what is asked for, the surest first.

        ``spoken`` are its :meth:`spoken` sentences.
        """
        found = [(one[0].feature in self.asked, proof_of(space, *one)) for one in spoken]
        asked, rest = ([proof for is_asked, proof in found if is_asked is wanted] for wanted in (True, False))
        return (*asked, *(proof for scan in scans for proof in scan.proofs(payload)), *rest)


@dataclass(frozen=True, eq=False)
class Prepared:
    """A query that is ready to run.

    ``vector`` is the steered query (d,), ``code`` its sparse form if this is not simply its code, ``words``
    are those that are asked for if these rank, ``read`` what its tokens ask for, ``sources`` what ranks, and
    ``rescorer`` is the second pass of a property search; ``ids`` finds all matches in another order.
    ``estimate`` is the estimated number of matches among ``total`` points, ``matching`` the exact number, or
    None if it was not counted. ``revision`` is the index's that it was made for.
    """

    query: Query
    vector: FloatArray
    where: Expression | None
    concepts: tuple[Concept, ...]
    features_of: FeaturesOf
    steers: tuple[ResolvedSteer, ...]
    query_filter: Filter | None
    drift: float
    total: int
    estimate: Estimate
    choices: Choices
    warnings: tuple[str, ...] = ()
    matching: int | None = None
    revision: str = ""
    code: SparseVector | None = None
    words: AskedWords | None = None
    read: AskedTokens | None = None
    absent: tuple[Absent, ...] = ()
    unwanted: str = ""
    sources: tuple[str, ...] = ()
    ids: Callable[[], Sequence[PointId]] | None = None
    rescorer: PropertyRanking | None = None
    about: AskedConcepts = field(default_factory=AskedConcepts)
    scans: tuple[Scan, ...] = ()

    @property
    def feedback(self) -> Feedback | None:
        """The concepts and words that a property search inferred; None for other searches."""
        return None if self.rescorer is None else self.rescorer.shown

    @property
    def asked(self) -> str:
        """The ranking part of the query in words: for 'galaxies', by 'sounds defensive'; "" if none."""
        text = [f"for {self.query.text!r}"] if self.query.text.strip() else []
        text += ["for a vector"] if self.query.vector is not None and not text else []
        if self.rescorer is not None:
            text.append(f"by {self.rescorer.feedback.description or 'examples'!r}")
        return " ".join(text)

    @property
    def reports_steering(self) -> bool:
        """Whether hits say what their ranks are without steering."""
        is_first = self.rescorer is None and self.query.rerank is None
        has_effect = self.drift > 0 and is_first and self.query.is_near
        return self.query.explain and has_effect

    @cached_property
    def plan(self) -> Plan:
        """The plan: what will be run, as data."""
        steers = tuple(PlannedSteer.of(one.direction, one.strength) for one in self.steers)
        parts = *_selection(self), *_steering(self), *_ranking(self), *_reordering(self), _page(self)
        steps = Step("search", headline(self.query, self.asked), expected=_page_size(self), parts=parts)
        return Plan(
            query=self.query, asked=self.asked, exact=self.choices.exact.value, where=self.where,
            concepts=self.concepts, steer=steers, feedback=self.feedback, drift=float(self.drift),
            query_filter=self.query_filter, matching=self.matching, estimate=self.estimate, total=self.total,
            choices=self.choices, requests=_requests_of(self), steps=steps, warnings=self.warnings,
            revision=self.revision, absent=self.absent, unwanted=self.unwanted,
        )  # fmt: skip


def _selection(plan: Prepared) -> Iterator[Step]:
    if plan.query_filter is None:
        return
    matching, total = plan.estimate.points, plan.total
    shown, why = str(plan.estimate), plan.estimate.why
    if plan.matching is not None:
        matching, shown, why = plan.matching, f"{plan.matching:,}", f"counted; expected {plan.estimate}"
    where = "" if plan.where is None else f"\n  {to_text(plan.where)}"
    if plan.query.native is not None:
        where += "\n  and a native filter"
    what = f"Filter: {shown} of {total:,} points match, {matching / max(1, total):.1%}"
    concepts = tuple(_concept(concept) for concept in plan.concepts)
    yield Step("filter", f"{what} [{why}]{where}", expected=matching, parts=concepts)


def _concept(concept: Concept) -> Step:
    named = ", ".join(f"{m.shown} {m.score:.2f}" for m in concept.features)
    what, why = f"Concept {concept.phrase!r} ({concept.resolved}) = {named}", _named_by(concept.named)
    if concept.records is not None:
        expected = f"expected precision {concept.precision:.2f}, recall {concept.recall:.2f}"
        what = f"Phrase {concept.phrase!r} = {concept.counted} present, {expected}"
        why = "no concept is it" + (f"; {why.replace('named', 'near')}" if why else "")
    return Step("concept", what, why)


def _named_by(named: Sequence[FeatureMatch]) -> str:
    """Return which features' names say a phrase; "" for none."""
    first = ", ".join(match.shown for match in named[:SHOWN_NAMES])
    more = f" and {len(named) - SHOWN_NAMES} more" if len(named) > SHOWN_NAMES else ""
    return f"named by {first}{more}" if first else ""


def _steering(plan: Prepared) -> Iterator[Step]:
    for steer in plan.steers:
        named = ", ".join(str(part) for part in steer.direction.parts[:SHOWN_PARTS])
        what = f"Steer {steer.direction.target!r} by {steer.strength:+g} along {named}"
        yield Step("steer", what, _named_by(steer.direction.named))
    if plan.steers:
        yield Step("steer", f"Drift: {plan.drift:.4f}")
    if plan.feedback is not None:
        yield Step("feedback", str(plan.feedback))


def _ranking(plan: Prepared) -> Iterator[Step]:
    if not plan.query.ranks:
        order = "id" if plan.query.order_by is None else plan.query.order_by
        yield Step("scan", f"List by {order}", "nothing ranks", plan.estimate.points)
        return
    exact, after = plan.choices.exact, plan.choices.after
    how = "Scan exactly" if exact.value else "Search the graph, approximately"
    sources = _sources(plan)
    if len(sources) == 1:
        yield Step("scan", how, exact.why, plan.estimate.points)
        if after.value is not None or plan.query_filter is not None:
            yield Step(
                "scan", "Filter after the scan" if after.value else "Filter within the scan", after.why
            )
        return
    pool = plan.choices.pool
    if plan.rescorer is None:
        listed = [f"{pool.value:,} by {name}" for name in sources if name != SENTENCES]
        weights = {DENSE: 1.0, SENTENCES: SENTENCE, WORDS: 0.0 if plan.words is None else plan.words.weight}
        mean = " + ".join(f"{weights[name]:.3g} {name}" for name in weights if name in sources)
        yield Step("scan", how, exact.why, plan.estimate.points)
        yield Step("fusion", f"Score the first {' and the first '.join(listed)}: {mean}", pool.why)
        return
    expected = min(pool.value or plan.total, plan.estimate.points)
    prefetched = [Step("prefetch", f"Prefetch {name}, {pool.value:,}", expected=expected) for name in sources]
    why = "reciprocal ranks: needs no scale of the scores"
    fused = (Step("scan", how, exact.why), *prefetched)
    yield Step("fusion", f"Fuse {len(sources)} lists by rrf", why, expected, fused)
    what = f"Rescore up to {pool.value:,} candidates by the property and their neighbours"
    yield Step("rescore", what, pool.why, expected)


def _reordering(plan: Prepared) -> Iterator[Step]:
    query = plan.query
    if (boost := query.boosted) is not None:
        what = f"Boost by {boost.field}: up to {boost.weight:g} beside 1 of the score, half at {boost.half}"
        yield Step("rescore", what, f"the first {POOL:,}, then more, for further pages")
    if query.rerank is not None:
        what = f"Rerank the first {query.rerank_limit:,} by {name_of(query.rerank)}"
        yield Step("rescore", what, "it reads the query with each text")
    if query.diversity:
        what = f"Diversify by concepts, {query.diversity:g}"
        yield Step("diversify", what, "the first 500, the same for every page")
    if query.grouping is not None:
        yield Step("group", f"Group by {query.grouping.field}, {query.grouping.size} each")


def _page(plan: Prepared) -> Step:
    query = plan.query
    counted = "groups" if query.group_by is not None else "hits"
    what = f"Page: {counted} {query.offset + 1:,} to {query.offset + query.limit:,}"
    if query.explain:
        what += ", each score explained"
    asked = _requests_of(plan)
    parts = (Step("requests", f"{len(asked)} request{'s' if len(asked) > 1 else ''}: {'; '.join(asked)}"),)
    return Step("page", what, expected=_page_size(plan), parts=parts)


def _page_size(plan: Prepared) -> float | None:
    """Return the expected number of hits; None if it is not known."""
    if plan.query.group_by is not None or plan.query.score_threshold is not None:
        return None
    reached = plan.estimate.points
    if len(_sources(plan)) > 1 and plan.rescorer is not None:
        reached = min(reached, plan.choices.pool.value or reached)
    reached = min(reached, plan.query.depth)
    return min(float(plan.query.limit), max(0.0, reached - plan.query.offset))


def _sources(plan: Prepared) -> tuple[str, ...]:
    """Return the searched vectors: one, or several whose lists are fused."""
    if plan.rescorer is not None:
        return tuple(each.using for each in plan.rescorer.requests(1).prefetch)
    return plan.sources if plan.query.ranks else ()


def _requests_of(plan: Prepared) -> tuple[str, ...]:
    """Return the requests to the engine, without those of the planning, whose results are cached."""
    query, after, is_grouped = plan.query, plan.choices.after.value, plan.query.group_by is not None
    if not query.ranks:
        listed = ("scroll to the page", "scroll") if query.offset else ("scroll",)
        return (*listed, *_completing(plan))
    sources = _sources(plan)
    if len(sources) == 1 and after is not None:
        depth = postfilter_depth(query.depth, after)
        asked = [f"search {sources[0]} unfiltered, {depth:,}", f"search {sources[0]} among these, filtered"]
    else:
        wider = ", wider if groups lack hits" if is_grouped else ""
        asked = [f"search {name}{wider}" for name in sources]
    if plan.rescorer is not None:
        asked.append("get the candidates")
    if len(sources) > 1 and (is_grouped or not query.diversity):
        asked.append("get their fields" if is_grouped else "get the page")
    if plan.reports_steering:
        asked += [f"search {name} unsteered" for name in sources]
    return (*asked, *_completing(plan))


def _completing(plan: Prepared) -> tuple[str, ...]:
    """Return the further requests if more than the page is read."""
    query = plan.query
    if query.diversity:
        return "get the codes of the first 500", "get the page"
    return ("get the page",) if query.group_by is not None or query.rerank is not None else ()
