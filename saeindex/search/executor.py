"""Execution of a plan in stages: candidates, second pass, diversity and groups, page, explanations."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from saeindex.collection.records import check_not_documents
from saeindex.config import CONCEPTS, DENSE, DOCUMENT, FUSED, READER, SAE, SENTENCES, TEXT, WORDS
from saeindex.errors import InvalidInputError, NotFoundError
from saeindex.indexing.points import PRESENT, PROVING, Spoken, point_id, shown_features
from saeindex.language.evaluate import found_at, matched_clauses
from saeindex.language.fields import METADATA, RECORD_ID, path_of
from saeindex.protocols import Include, Point, PointId, SearchRequest, SparseVector, Vector
from saeindex.schema import check_kind
from saeindex.search.by_field import Boosted
from saeindex.search.explain import Explainer, Explanation, with_names
from saeindex.search.grouping import First, GroupValue, Ranked, diverse, group_keys, grouped
from saeindex.search.hits import Group, Hit, Hits, SteeringEffect
from saeindex.search.query import Query
from saeindex.search.rerank import Reranked
from saeindex.search.retrieval import ByParts, Fused, Listed, Nearest, Place, Rescored, Scoring
from saeindex.stores.tracing import Deadline, noted

if TYPE_CHECKING:
    from saeindex.collection.state import IndexState
    from saeindex.features.evidence import Mention
    from saeindex.search.prepared import Prepared
    from saeindex.types import FloatArray, JsonObject

Selected = list[tuple["GroupValue | None", list[Ranked]]]
# The evidence of a record, and the sentences that speak of what is asked.
Said: TypeAlias = "tuple[list[Mention], list[Spoken]]"
# Returns a hit's rank and score without and with steering.
Unsteered: TypeAlias = Callable[[Ranked], SteeringEffect]
# The payload of a hit; only the clauses of an explanation need more.
SHOWN = (RECORD_ID, DOCUMENT, TEXT, METADATA, *PROVING)
# The features of a hit, at most.
SHOWN_FEATURES = 5
NOTHING: Said = [], []
# The number of exact ranks; one request finds them.
RANKED = 1_000
# The records that may have come before a page since the one before it, until more are looked at.
MOVED = 64
# And after so many, a record that no longer ranks is not looked for any further.
FAR = 8_192


class Executor:
    """Runs plans on one state of an index."""

    def __init__(self, state: IndexState) -> None:
        """Bind the store, the space it was indexed with, and the function from a text to its vector (d,)."""
        self._store, self._space, self._encode = state.store, state.space, state.encode
        self._explainer = Explainer(state.space)

    def run(self, plan: Prepared, deadline: Deadline) -> Hits:
        """Return the hits of ``plan``; QueryTimeoutError if the time limit is exceeded."""
        started = time.perf_counter()
        scoring = self.scoring(plan, plan.vector, deadline)
        with deadline.stage("the search"):
            selected = self._selected(plan.query, scoring)
        searched = time.perf_counter()
        with deadline.stage("the explanations"):
            before = self._unsteered(plan, deadline)
            said = self._said([point for _, members in selected for _, point in members], plan)
            groups = [
                (value, [self._hit(one, said, plan, scoring, before) for one in members])
                for value, members in selected
            ]
        timings = {"search": (searched - started) * 1e3, "explain": (time.perf_counter() - searched) * 1e3}
        hits = [hit for _, members in groups for hit in members]
        named = [Group(value, tuple(members)) for value, members in groups if value is not None]
        last = [one for _, members in selected for one in members][-1:]
        is_full = len(hits) == plan.query.limit and not (plan.query.diversity or plan.query.group_by)
        following = None
        if is_full:
            (rank, point), counted = last[0], () if plan.words is None else plan.words.counted
            following = str(Place(rank, point.score or 0.0, point.id, counted, plan.query.digest))
        return Hits(tuple(hits), plan.plan, timings, tuple(named), following)

    def scoring(self, plan: Prepared, vector: FloatArray, deadline: Deadline) -> Scoring:
        """Return the scoring of points by ``plan``, with ``vector`` (d,) as its query."""
        query, boost = plan.query, plan.query.boosted
        least = None if query.rerank is not None else query.score_threshold
        found = self._scoring(plan, vector, deadline, least if boost is None else None)
        found = found if boost is None else Boosted(self._store, found, boost, least)
        if query.rerank is None:
            return found
        text, least = query.text.strip() or str(query.described), query.score_threshold
        return Reranked(self._store, found, query.rerank, text, query.depth, least)

    def _scoring(
        self, plan: Prepared, vector: FloatArray, deadline: Deadline, least: float | None
    ) -> Scoring:
        query = plan.query
        request = SearchRequest(
            vector,
            query_filter=plan.query_filter,
            score_threshold=least,
            timeout=deadline.left,
            exact=plan.choices.exact.value,
        )
        rescorer = plan.rescorer
        if rescorer is not None:
            return Rescored(self._store, rescorer, request)
        if not query.ranks:
            return Listed(self._store, request, plan.ids)
        words = plan.words
        if words is not None and vector is not plan.vector:  # the ranking without steering
            words = replace(words, gone=frozenset())
        if query.using == WORDS and words is not None:
            return ByParts(self._store, words.shares, WORDS, words.parts, request, self._explainer)
        if query.using == READER and plan.read is not None:
            asked = plan.read
            return ByParts(self._store, asked.vector, READER, asked.parts, request, self._explainer)
        if query.using in (FUSED, SENTENCES):
            nearest = self._nearest(DENSE, vector, plan, request)
            first = plan.choices.pool.value
            assert first is not None  # noqa: S101 - the plan of a fused search has a pool
            return Fused(self._store, nearest, words, SENTENCES in plan.sources, first)
        return self._nearest(query.using, vector, plan, request)

    def explained(self, plan: Prepared, record_ids: Sequence[str], deadline: Deadline) -> list[Hit]:
        """Return records as explained hits of ``plan``, even if no hits; NotFoundError for an absent one."""
        scoring = self.scoring(plan, plan.vector, deadline)
        hits = []
        for record_id in record_ids:
            check_kind(f"record {record_id!r:.80}", record_id, str, "Give the id of a record.")
            found = self._store.get([point_id(record_id)], with_vectors=list(scoring.explained))
            if not found:
                check_not_documents(self._store, [record_id])
                raise NotFoundError(
                    f"record {record_id!r}", "the index has no record with this id", "Check the id."
                )
            hit = replace(found[0], score=scoring.explain(found[0]).total)
            hits.append(self._hit((0, hit), self._said([hit], plan), plan, scoring, None))
        return hits

    def points(self, plan: Prepared, deadline: Deadline) -> list[Point]:
        """Return the points of a plan's page with their sentences' vectors, best first."""
        with deadline.stage("the search"):
            selected = self._selected(plan.query, self.scoring(plan, plan.vector, deadline))
            scores = {point.id: point.score for _, members in selected for _, point in members}
            kept = [name for name in self._store.layout.multi if name == SENTENCES]
            found = self._store.get(list(scores), SHOWN, kept)
        return [replace(point, score=scores[point.id]) for point in found]

    def coded(self, plan: Prepared, count: int, deadline: Deadline) -> list[Point]:
        """Return the first ``count`` points of a plan's ranking with their level codes, for any page."""
        with deadline.stage("the search"):
            found = ranked(self.scoring(plan, plan.vector, deadline), count)
            return self._store.get([point.id for _, point in found], [CONCEPTS])

    # Stages ------------------------------------------------------------------------------------------

    def _nearest(self, using: str, vector: FloatArray, plan: Prepared, request: SearchRequest) -> Nearest:
        searched: Vector = vector
        if using == SAE:
            own = plan.code if vector is plan.vector else None
            searched = SparseVector(*self._space.sae.encode_one(vector)) if own is None else own
        request = replace(request, query=searched, using=using)
        return Nearest(self._store, searched, request, self._explainer, plan.choices.after.value)

    def _selected(self, query: Query, scoring: Scoring) -> Selected:
        """Return the complete points of the page by group, each with its rank before it was reordered."""
        vectors = scoring.explained if query.explain else (SAE,)
        if "vectors" in query.include:
            vectors = tuple(dict.fromkeys((*vectors, DENSE)))
        payload = True if query.explain else SHOWN
        if query.after is not None:
            return [(None, self._after(query, scoring, payload, vectors))]
        if not query.diversity and query.group_by is None:
            points = scoring.best(query.limit, query.offset, payload, vectors)
            return [(None, list(enumerate(points, query.offset + 1)))]
        groups = query.grouping
        first: First = partial(ranked, scoring, keys=group_keys(groups.field) if groups else ())
        if query.diversity:
            first = diverse(first, self._store, self._space.calibration, query.diversity)
        selected: Selected
        if groups is None:
            selected = [(None, first(query.offset + query.limit)[query.offset :])]
        else:
            made = partial(grouped, first, groups.field, groups.size, query.limit, query.offset)
            selected = [*noted("group", made, groups.field)]
        ids = {point.id: None for _, members in selected for _, point in members}
        complete = {point.id: point for point in self._store.get(list(ids), payload, list(vectors))}
        return [
            (
                value,
                [(rank, replace(complete[p.id], score=p.score)) for rank, p in members if p.id in complete],
            )
            for value, members in selected
        ]

    def _after(
        self, query: Query, scoring: Scoring, payload: Include, vectors: Sequence[str]
    ) -> list[Ranked]:
        """Return the page after the last hit of another; what was added since repeats no hit."""
        place, depth = Place.read(str(query.after)), 0
        if place.of not in ("", query.digest):
            do = "Give what came as next with the hits of the same query, filter and order."
            raise InvalidInputError(f"after={query.after!r:.80}", "the place of another query", do)
        is_there, is_whole = bool(self._store.get([place.id], False)), False
        rest: list[Ranked] | None = None
        while not is_whole and len(rest or ()) < query.limit:
            depth = 2 * depth or place.rank + query.limit + MOVED
            first = ranked(scoring, depth)
            is_whole = len(first) < depth
            rest = place.after(first) if is_there else None
            is_gone = not is_there or is_whole or depth > place.rank + FAR
            if rest is None and is_gone:
                rest = place.below(first, query.order_by is not None)
        rest = rest or []
        wanted = {point.id: (rank, point.score) for rank, point in rest[: query.limit]}
        found = self._store.get([*wanted], payload, list(vectors))
        return [(wanted[one.id][0], replace(one, score=wanted[one.id][1])) for one in found]

    def _unsteered(self, plan: Prepared, deadline: Deadline) -> Unsteered | None:
        """Return what compares a hit with the ranking without steering, if the hits report its effect."""
        if not plan.reports_steering:
            return None
        free = replace(plan.query, score_threshold=None)
        before = self.scoring(replace(plan, query=free), free.encoded(self._encode), deadline)
        places = {point.id: (rank, float(point.score or 0.0)) for rank, point in ranked(before, RANKED)}

        def effect(steered: Ranked) -> SteeringEffect:
            rank, point = steered
            was, score = places.get(point.id) or (None, before.explain(point).total)
            return SteeringEffect(was, score, rank, float(point.score or 0.0))

        return effect

    def _said(self, points: Sequence[Point], plan: Prepared) -> dict[PointId, Said]:
        """Return the evidence of points that hits show; the names in their sentences are found together."""
        said: dict[PointId, Said] = {}
        if not {"features", "evidence"} & {*plan.query.include}:
            return said
        every = plan.about.mentions([point.payload for point in points])
        for point, mentions in zip(points, every, strict=True):
            said[point.id] = mentions, plan.about.spoken(point.payload, mentions)
        if self._space.evidence is not None:
            self._space.evidence.read_names([one for _, spoken in said.values() for _, _, one in spoken])
        return said

    def _hit(
        self,
        ranked: Ranked,
        of_points: Mapping[PointId, Said],
        plan: Prepared,
        scoring: Scoring,
        before: Unsteered | None,
    ) -> Hit:
        _, point = ranked
        mentions, sentences = of_points.get(point.id, NOTHING)
        query, has = plan.query, {*plan.query.include}
        spoken = [one for one in mentions if one.p >= PRESENT]
        return Hit(
            id=point.payload["record_id"],
            score=float(point.score or 0.0),
            text=point.payload["text"] if "text" in has else "",
            metadata=_included(point.payload["metadata"], query.include),
            features=shown_features(point, self._space, spoken, SHOWN_FEATURES, query.unnamed)
            if "features" in has
            else (),
            explanation=self._explanation(point, plan, scoring),
            document=point.payload.get(DOCUMENT),
            steered=None if before is None else before(ranked),
            evidence=plan.about.proofs(point.payload, self._space, plan.scans, sentences)
            if "evidence" in has
            else (),
            vector=tuple(np.asarray(point.vectors[DENSE]).tolist()) if "vectors" in has else None,
            retrieved=scoring.retrieved(point, partial(self._explanation, point, plan))
            if isinstance(scoring, Reranked)
            else None,
        )

    def _explanation(self, point: Point, plan: Prepared, scoring: Scoring) -> Explanation | None:
        if not plan.query.explain:
            return None
        explanation = scoring.explain(point)
        if not plan.query.unnamed:
            explanation = with_names(explanation, self._space, point)
        if plan.where is None:
            return explanation
        found = matched_clauses(plan.where, point.payload, plan.features_of, plan.query.level)
        return replace(explanation, clauses=tuple(found))


def _included(metadata: JsonObject, include: Sequence[str]) -> JsonObject:
    """Return what hits have of metadata: all, or some fields."""
    if METADATA in include:
        return metadata
    found: dict[str, Any] = {}
    for path in (path_of(one)[1:] for one in include if one.startswith(f"{METADATA}.")):
        if (value := found_at(metadata, path)) is not None:
            found[path[0] if len(path) == 1 else ".".join(path)] = value
    return found


def ranked(scoring: Scoring, count: int, keys: Sequence[str] = ()) -> list[Ranked]:
    """Return the first points with their ranks, from 1, and with the payload fields ``keys``."""
    return list(enumerate(scoring.best(count, payload=list(keys) or False), 1))
