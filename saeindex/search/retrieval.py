"""Scoring of points: by a vector, by text and sentence, by fused lists, by a second pass, or unranked.

A fused score is a mean of what an index has: the cosine of the text with weight 1, that of its nearest
sentence with .5 (a long text that answers in one of its sentences is nearer by that sentence than as a
whole), and its words (see ``search/words.py``). No other hit has a say in it. The weights were chosen on
`choose` parts, where one half to one of a sentence beside the text differ by less than .002; `benchmarks rag`
and `words` have what they are worth where they were not chosen.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from itertools import chain, groupby
from operator import itemgetter
from typing import TYPE_CHECKING, Any, NamedTuple

from saeindex.config import DENSE, SAE, SENTENCES, WORDS
from saeindex.errors import InvalidInputError
from saeindex.protocols import Include, Point, PointId, SearchRequest, SparseVector, Vector, VectorStore
from saeindex.search.explain import Explainer, Explanation
from saeindex.stores.point_checks import canonical_id, id_order, to_id
from saeindex.stores.tracing import noted
from saeindex.types import Part

if TYPE_CHECKING:
    from saeindex.search.property import PropertyRanking
    from saeindex.search.words import AskedWords

# The number of candidates per source of a fused or second-pass search, and of a fused one that has words. It
# depends on neither limit nor offset, because all pages of a query must come from one ranking. Of 100,000
# reviews the first ten of 200 questions and names of products are the same with 512 and with 4,000.
POOL, WITH_WORDS = 1_000, 512
# The least and the most nearest points that a filter is applied to after the scan, by their ids.
MIN_POSTFILTERED, MAX_POSTFILTERED = 192, 4_096
# The vectors that an explanation needs.
EXPLAINED = (DENSE, SAE)


class Scoring(ABC):
    """One ranking of points. All its pages are consistent: equal scores are in id order."""

    _store: VectorStore

    # The vectors of a point that its explanation needs.
    explained: Sequence[str] = EXPLAINED

    def _first(self, count: int) -> Sequence[tuple[PointId, float]]:
        """Return the ids of the first ``count`` points, with their scores, best first."""
        raise NotImplementedError

    def best(
        self, count: int, offset: int = 0, payload: Include = True, vectors: Sequence[str] = ()
    ) -> list[Point]:
        """Return ``count`` scored points of the ranking from ``offset`` on, with this payload and vectors.

        Those that were deleted since are left out.
        """
        page = dict(self._first(offset + count)[offset:])
        if payload is False and not vectors:
            return [Point(point_id, score=score) for point_id, score in page.items()]
        points = self._store.get(list(page), payload, list(vectors))
        return [replace(point, score=page[point.id]) for point in points]

    @abstractmethod
    def explain(self, point: Point) -> Explanation:
        """Return the parts of a point's score; the point has both vectors, and may be outside the ranking."""


class Place(NamedTuple):
    """The place of a point in a ranking: its rank from 1, its score, and its id.

    The scores of words depend on what was ``counted`` when they were ranked; ``of`` tells the query.
    """

    rank: int
    score: float
    id: PointId
    counted: tuple[float, ...] = ()
    of: str = ""

    @classmethod
    def read(cls, given: str) -> Place:
        """Return the place that a text is of; InvalidInputError if it is of none."""
        rank, score, own, counted, of = (*given.split(":", 4), "", "", "", "")[:5]
        try:
            numbers = tuple(max(0.0, float(one)) for one in counted.split(",") if one)
            return cls(
                int(rank[:9]), float(score), canonical_id(int(own) if own.isdecimal() else own), numbers, of
            )
        except (ValueError, InvalidInputError):
            do = "Give what came as next with the hits before."
            raise InvalidInputError(f"after={given!r:.80}", "no place in a ranking", do) from None

    def __str__(self) -> str:
        counted = ",".join(f"{one:.15g}" for one in self.counted)
        return f"{self.rank}:{self.score!r}:{self.id}:{counted}:{self.of}"

    def after(self, ranking: Sequence[tuple[int, Point]]) -> list[tuple[int, Point]] | None:
        """Return what comes after its point in a ranking; None if that is not there."""
        at = next((at for at, (_, point) in enumerate(ranking, 1) if point.id == self.id), None)
        return None if at is None else [*ranking[at:]]

    def below(self, ranking: Sequence[tuple[int, Point]], is_listed: bool) -> list[tuple[int, Point]]:
        """Return what would come after its point, which is gone: by rank in a list, else by score and id."""
        if is_listed:
            return [*ranking[self.rank - 1 :]]
        own = -self.score, id_order(self.id)
        return [(rank, one) for rank, one in ranking if (-(one.score or 0.0), id_order(one.id)) > own]


def in_order(scores: Mapping[PointId, float], least: float | None) -> list[tuple[PointId, float]]:
    """Return points with scores of ``least`` or more, best first, equal ones by id; NaN drops a point."""
    kept = [one for one in scores.items() if not math.isnan(one[1]) and (least is None or one[1] >= least)]
    kept.sort(key=itemgetter(1), reverse=True)
    equal = (list(own) for _, own in groupby(kept, itemgetter(1)))
    by_id = (own if len(own) == 1 else sorted(own, key=lambda one: id_order(to_id(one[0]))) for own in equal)
    return list(chain.from_iterable(by_id))


class Nearest(Scoring):
    """The nearest points to one vector: one request to the store."""

    def __init__(
        self,
        store: VectorStore,
        vector: Vector,
        request: SearchRequest,
        explainer: Explainer,
        share: float | None = None,
    ) -> None:
        """Bind the vector and the request; :meth:`best` sets its page, payload and vectors.

        ``share`` is the share of points that match, if the filter is applied after the scan; else None.
        """
        self._store, self._explainer, self._share = store, explainer, share
        self.vector, self.request = vector, request

    def best(
        self, count: int, offset: int = 0, payload: Include = True, vectors: Sequence[str] = ()
    ) -> list[Point]:
        """See :class:`Scoring`."""
        postfilter = 0 if self._share is None else postfilter_depth(count + offset, self._share)
        page = replace(self.request, limit=count, offset=offset, postfilter=postfilter)
        return self._store.search(replace(page, with_payload=payload, with_vectors=list(vectors)))

    def explain(self, point: Point) -> Explanation:
        """See :class:`Scoring`."""
        return self._explainer.explain(self.vector, point)


class ByParts(Nearest):
    """The texts that have some of what is asked for: words, or features of tokens."""

    def __init__(
        self,
        store: VectorStore,
        asked: SparseVector,
        using: str,
        parts: Callable[[SparseVector, Point], list[Part]],
        request: SearchRequest,
        explainer: Explainer,
    ) -> None:
        """Bind what is asked for, and the filter, threshold and timeout of ``request``.

        ``parts`` returns those of the score of a point, which has the vector ``using``.
        """
        super().__init__(store, asked, replace(request, query=asked, using=using), explainer)
        self.explained = (SAE, using)
        self._asked, self._parts = asked, parts

    def explain(self, point: Point) -> Explanation:
        """See :class:`Scoring`."""
        parts = self._parts(self._asked, point)
        return Explanation(tuple(parts), sum(one.value for one in parts))


class Listed(Scoring):
    """All matches, in id order or in that of ``ids``, each with a score of 0: nothing ranks them."""

    def __init__(
        self, store: VectorStore, request: SearchRequest, ids: Callable[[], Sequence[PointId]] | None
    ) -> None:
        """Bind the filter and the threshold of ``request``; with a threshold above 0 there are no hits."""
        self._store, self._filter, self._ids = store, request.query_filter, ids
        self._is_empty = request.score_threshold is not None and request.score_threshold > 0.0

    def best(
        self, count: int, offset: int = 0, payload: Include = True, vectors: Sequence[str] = ()
    ) -> list[Point]:
        """See :class:`Scoring`."""
        if self._is_empty or count == 0:
            return []
        if self._ids is not None:
            return super().best(count, offset, payload, vectors)
        cursor = None
        if offset:
            # The page starts after the last point of the previous pages.
            passed = self._store.scroll(self._filter, offset, with_payload=False)
            if passed.cursor is None:
                return []
            cursor = passed.cursor
        page = self._store.scroll(
            self._filter, count, cursor, with_payload=payload, with_vectors=list(vectors)
        )
        return [replace(point, score=0.0) for point in page.points]

    def _first(self, count: int) -> Sequence[tuple[PointId, float]]:
        return [(one, 0.0) for one in self._ids()[:count]] if self._ids is not None else []

    def explain(self, point: Point) -> Explanation:
        """See :class:`Scoring`."""
        return Explanation((), 0.0)


def postfilter_depth(wanted: int, share: float) -> int:
    """Return how many nearest points to filter for ``wanted`` matches if ``share`` match; 0 if too many.

    It is four times the number needed on average, because the share near the query is known from a sample.
    """
    depth = max(MIN_POSTFILTERED, math.ceil(4 * wanted / share))
    return depth if depth <= MAX_POSTFILTERED else 0


# The weight of the nearest sentence's cosine beside that of the text.
SENTENCE = 0.5


class Fused(Scoring):
    """Texts by a mean of their cosine, their nearest sentence's, and their words.

    First the nearest texts and those with most of the words are ranked, as many as the plan says; then those
    of four times as many that are not yet, and so on to the end; each is scored by all. A text of which no
    sentence is kept is its own sentence. Without ``words``, or sentences, the others weigh as much more.
    """

    def __init__(
        self, store: VectorStore, nearest: Nearest, words: AskedWords | None, has_sentences: bool, first: int
    ) -> None:
        """Bind the search of whole texts, with the filter, and the threshold of the fused score.

        So many of each list are ranked ``first``.
        """
        self._first_depth = first
        self._store, self._nearest, self._least = store, nearest, nearest.request.score_threshold
        self._queries = {DENSE: nearest.vector}
        self._sum = 1.0
        if has_sentences:
            self._queries[SENTENCES] = nearest.vector
            self._sum += SENTENCE
        self._words = words if words is not None and words.rarity else None
        if self._words is not None:
            self._queries[WORDS] = self._words.fused
            self._sum += self._words.weight
            self.explained = (*EXPLAINED, WORDS)
        self._found: list[tuple[Any, float]] = []  # by ids of the engine's type: there are thousands
        self._seen: set[Any] = set()
        self._nearest_of: dict[Any, float] = {}
        self._shown: dict[PointId, float | None] = {}
        self._depth, self._is_whole = 0, False

    def explain(self, point: Point) -> Explanation:
        """See :class:`Scoring`: the parts of the whole, the sentence, and the words.

        What is common to all records is so to sentences, too: it is one part.
        """
        whole = self._nearest.explain(point)
        parts = list(whole.parts)
        if SENTENCES in self._queries:
            if point.id not in self._shown:
                self._shown[point.id] = next(iter(self._scored(SENTENCES, (point.id,)).values()), None)
            nearest = self._shown[point.id]
            own = whole.total if nearest is None else nearest
            common = sum(one.value for one in parts if one.kind == "bias")
            parts = [
                replace(one, value=(1 + SENTENCE) * one.value) if one.kind == "bias" else one for one in parts
            ]
            parts.append(Part("sentence", None, "its nearest sentence", SENTENCE * (own - common)))
        if self._words is not None:
            parts += self._words.parts(self._words.fused, point)
        total = self._sum
        parts = [Part(one.kind, one.feature, one.label, one.value / total, one.is_weak) for one in parts]
        return Explanation(tuple(parts), sum(one.value for one in parts))

    def _first(self, count: int) -> Sequence[tuple[PointId, float]]:
        while len(self._found) < count and not self._is_whole:
            self._go_on()
        first = [(to_id(one), one, score) for one, score in self._found[:count]]
        self._shown |= {point_id: self._nearest_of.get(one) for point_id, one, _ in first}
        return [(point_id, score) for point_id, _, score in first]

    def _go_on(self) -> None:
        """Rank what a search of further depth finds."""
        self._depth = 4 * self._depth or self._first_depth
        wholes, words = self._scored(DENSE), self._scored(WORDS)
        is_cut, lowest = len(words) == self._depth, min(words.values(), default=0.0)
        if is_cut:  # many texts have equal words: which of them the engine cut is not to matter
            words = {one: score for one, score in words.items() if score > lowest}
        # What is in neither list has no more of what they rank by than their last.
        of_sentence = SENTENCE if SENTENCES in self._queries else 0.0
        last = min(wholes.values(), default=0.0) + of_sentence
        last += lowest if is_cut else 0.0
        is_below = self._least is not None and last / self._sum < self._least
        self._is_whole = is_below or len(wholes) < self._depth
        fresh = tuple(one for one in wholes | words if one not in self._seen)
        self._seen.update(fresh)
        wholes |= self._scored(DENSE, tuple(one for one in fresh if one not in wholes))
        words |= self._scored(WORDS, tuple(one for one in fresh if one not in words)) if is_cut else {}
        self._nearest_of |= self._scored(SENTENCES, fresh)
        scores = {}
        for one in fresh:
            if (own := wholes.get(one)) is not None:  # else it was deleted meanwhile
                score = own + of_sentence * self._nearest_of.get(one, own) + words.get(one, 0.0)
                scores[one] = score / self._sum
        self._found += in_order(scores, self._least)

    def _scored(self, using: str, among: tuple[Any, ...] | None = None) -> dict[Any, float]:
        """Return the best points of one part of the score, or those of ``among`` that have a score."""
        if using not in self._queries or among == ():
            return {}
        request = replace(
            self._nearest.request,
            query=self._queries[using],
            using=using,
            among=among,
            limit=self._depth if among is None else len(among),
            score_threshold=None,
        )
        return self._store.scores(request)


class Rescored(Scoring):
    """The candidates of a property search, ranked by its second pass; other points are not ranked."""

    def __init__(self, store: VectorStore, rescorer: PropertyRanking, request: SearchRequest) -> None:
        """Bind the second pass, and the filter, threshold and timeout of ``request``."""
        self._store, self._rescorer, self._request = store, rescorer, request

    def explain(self, point: Point) -> Explanation:
        """See :class:`Scoring`."""
        return self._rescorer.explain(point)

    @cached_property
    def _ranked(self) -> list[tuple[PointId, float]]:
        given, request = self._request, self._rescorer.requests(POOL)
        prefetch = tuple(replace(each, exact=given.exact) for each in request.prefetch)
        request = replace(request, prefetch=prefetch, query_filter=given.query_filter, timeout=given.timeout)
        if not (pool := self._store.search(request)):
            return []
        scores = noted("rescore", lambda: self._rescorer.scores(pool).tolist(), asked=len(pool))
        found = zip((point.id for point in pool), scores, strict=True)
        return in_order(dict(found), self._request.score_threshold)

    def _first(self, count: int) -> Sequence[tuple[PointId, float]]:
        return self._ranked[:count]
