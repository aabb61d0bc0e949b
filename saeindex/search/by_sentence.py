"""Search by text and sentence: a score is the text's own cosine, and that of its nearest sentence.

A long text that answers in one of its sentences is nearer by that sentence than as a whole. The weights were
chosen on questions of MedQuAD's `choose` part, where one half to one of a sentence beside the text differ by
less than .002; `benchmarks rag` has what they are worth where they were not chosen.
"""

from __future__ import annotations

from dataclasses import replace
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from saeindex.config import DENSE, SENTENCES
from saeindex.protocols import Point, SearchRequest
from saeindex.search.explain import Explanation
from saeindex.search.retrieval import POOL, InOrder
from saeindex.stores.point_checks import id_order
from saeindex.stores.tracing import noted
from saeindex.types import Part

if TYPE_CHECKING:
    from saeindex.protocols import PointId, VectorStore
    from saeindex.search.retrieval import Nearest

# The share of a text's own cosine in its score; the rest is that of its nearest sentence.
WHOLE = 2 / 3


class BySentence(InOrder):
    """The 1,000 nearest texts, by their own cosine and their nearest sentence's; others are not ranked.

    A text of which no sentence is kept is its own sentence.
    """

    def __init__(self, store: VectorStore, nearest: Nearest) -> None:
        """Bind the search of whole texts, with the threshold of the combined score."""
        self._store, self._nearest = store, nearest

    def explain(self, point: Point) -> Explanation:
        """See :class:`saeindex.search.retrieval.Scoring`: the parts of the whole, and the sentence."""
        whole = self._nearest.explain(point)
        parts = [replace(one, value=WHOLE * one.value) for one in whole.parts]
        nearest = self._cosine(point, whole.total)
        parts.append(Part("sentence", None, "its nearest sentence", (1 - WHOLE) * nearest))
        return Explanation(tuple(parts), sum(one.value for one in parts))

    def _cosine(self, point: Point, whole: float) -> float:
        if point.id in self._sentences:
            return self._sentences[point.id]
        for found in self._store.get([point.id], False, [SENTENCES]):
            if SENTENCES in found.vectors:
                rows = np.asarray(found.vectors[SENTENCES])
                return float((rows @ self._nearest.request.query).max())
        return whole

    @cached_property
    def _whole(self) -> SearchRequest:
        request = replace(self._nearest.request, using=DENSE, limit=POOL, offset=0, score_threshold=None)
        return replace(request, with_payload=False, with_vectors=False)

    @cached_property
    def _sentences(self) -> dict[PointId, float]:
        request = replace(self._whole, using=SENTENCES, prefetch=(self._whole,), query_filter=None)
        return {point.id: float(point.score or 0.0) for point in self._store.search(request)}

    @cached_property
    def _ranked(self) -> list[tuple[PointId, float]]:
        wholes = {point.id: float(point.score or 0.0) for point in self._store.search(self._whole)}
        nearest = noted("sentences", lambda: self._sentences, asked=len(wholes))
        least = self._nearest.request.score_threshold
        scores = {one: WHOLE * own + (1 - WHOLE) * nearest.get(one, own) for one, own in wholes.items()}
        kept = [(one, score) for one, score in scores.items() if least is None or score >= least]
        return sorted(kept, key=lambda one: (-one[1], id_order(one[0])))
