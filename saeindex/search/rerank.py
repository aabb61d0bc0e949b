"""Reranking: what a search finds first is ranked anew by a model that reads the query with each text.

A *reranker* is a function of a query and texts that returns a score of each, or a CrossEncoder of
sentence-transformers, or the name or folder of one. Its scores are of its own scale.
"""

from __future__ import annotations

import math
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np

from saeindex.config import TEXT
from saeindex.errors import InvalidInputError, MismatchError, kind_of
from saeindex.language.speech import readable
from saeindex.protocols import Point, PointId, VectorStore
from saeindex.search.explain import Explanation
from saeindex.search.retrieval import Scoring
from saeindex.types import Part

Reranker: TypeAlias = Callable[[str, Sequence[str]], Sequence[float]]
# Models that are kept loaded.
MODELS = 4
# In a server the names that queries may give, and the models of these; None where a name is loaded.
_offered: Mapping[str, str] | None = None


@dataclass(frozen=True, slots=True)
class Retrieved:
    """How a hit was found before a reranker read it: its rank from 1, its score, and the score's parts."""

    rank: int
    score: float
    explanation: Explanation | None = None


def checked(given: Any) -> Any:
    """Return a reranker, or the name of one; InvalidInputError for anything else."""
    is_named = isinstance(given, str) and bool(given.strip())
    if is_named or (not isinstance(given, str) and (hasattr(given, "predict") or callable(given))):
        return given
    do = "Give a CrossEncoder, the name of one, or a function of a query and texts that returns scores."
    raise InvalidInputError(f"rerank={given!r:.80}", f"no reranker, but {kind_of(given)}", do)


def name_of(reranker: Any) -> str:
    """Return the name of a reranker, without the folder that it is in."""
    if isinstance(reranker, str):
        return Path(reranker).name if Path(reranker).is_dir() else reranker
    model = getattr(getattr(reranker, "config", None), "_name_or_path", "")
    own = Path(model).name if model and Path(model).is_dir() else model
    return own or getattr(reranker, "__name__", "") or type(reranker).__name__


def offer(models: Sequence[str] | None) -> None:
    """Let names in queries be those of these models alone, as a server does; None lets any be loaded."""
    global _offered  # noqa: PLW0603 - one server is one process
    _offered = None if models is None else {name_of(one): one for one in models}


def place_of(name: str) -> str:
    """Return the name or folder of the model that a query names; InvalidInputError if a server has none."""
    if _offered is None:
        return name
    if name not in _offered:
        do = f"Use {', '.join(_offered)}." if _offered else "Start it with --rerankers."
        raise InvalidInputError(f"rerank={name!r:.80}", "no reranker that this server has", do)
    return _offered[name]


def opened(given: Any) -> Reranker:
    """Return a reranker as a function; one that is named is loaded once.

    Raises:
        InvalidInputError: no model of this name can be loaded, or the server offers none.
    """
    if isinstance(given, str):
        return _loaded(place_of(given))
    if hasattr(given, "predict"):
        return lambda query, texts: given.predict([(query, text) for text in texts])
    function: Reranker = given
    return function


@lru_cache(MODELS)
def _loaded(place: str) -> Reranker:
    from sentence_transformers import CrossEncoder

    try:
        model = CrossEncoder(place)
    except (OSError, ValueError) as error:
        found = f"no model can be loaded: {' '.join(str(error).split())[:200]}"
        do = "Give the folder of a CrossEncoder, or the name of one that is on this machine."
        raise InvalidInputError(f"rerank={place!r:.80}", found, do) from None
    lock = threading.Lock()  # a tokenizer is of one thread at a time

    def scores(query: str, texts: Sequence[str]) -> Sequence[float]:
        with lock:
            found: Sequence[float] = model.predict([(query, text) for text in texts], show_progress_bar=False)
        return found

    return scores


class Reranked(Scoring):
    """The first of another ranking, ranked anew by a reranker; others are not ranked."""

    def __init__(
        self, store: VectorStore, inner: Scoring, reranker: Any, text: str, depth: int, least: float | None
    ) -> None:
        """Bind a ranking, what reads ``text`` with its first ``depth``, and the least of its scores."""
        self._store, self.inner, self._text, self._depth, self._least = store, inner, text, depth, least
        self._name, self._score = name_of(reranker), opened(reranker)
        self.explained = inner.explained

    def retrieved(self, point: Point, explain: Callable[[Scoring], Explanation | None]) -> Retrieved | None:
        """Return how a point was found, explained by what ``explain`` makes of the ranking before."""
        rank, score = self._found[1].get(point.id, (0, 0.0))
        return Retrieved(rank, score, explain(self.inner)) if rank else None

    def explain(self, point: Point) -> Explanation:
        """See :class:`Scoring`: one part, as the model gives no other."""
        known = dict(self._found[0]).get(point.id)
        score = self._scores([point.payload[TEXT]])[0] if known is None else known
        return Explanation((Part("reranker", None, self._name, score),), score)

    def _first(self, count: int) -> Sequence[tuple[PointId, float]]:
        return self._found[0][:count]

    @cached_property
    def _found(self) -> tuple[list[tuple[PointId, float]], dict[PointId, tuple[int, float]]]:
        """The points with their scores, best first, equal ones as they were; and how each was found."""
        points = self.inner.best(self._depth, payload=[TEXT])
        before = {one.id: (rank, one.score or 0.0) for rank, one in enumerate(points, 1)}
        scored = zip(before, self._scores([one.payload[TEXT] for one in points]), strict=True)
        kept = [one for one in scored if self._least is None or one[1] >= self._least]
        return sorted(kept, key=lambda one: -one[1]), before

    def _scores(self, texts: Sequence[str]) -> list[float]:
        if not texts:
            return []
        found = np.asarray(self._score(self._text, [readable(one) for one in texts]))
        if found.shape != (len(texts),) or found.dtype.kind not in "fiu":
            what = f"{found.dtype} of shape {found.shape} for {len(texts)} texts"
            raise MismatchError(f"the reranker {self._name!r:.80}", what, "Let it return a number for each.")
        scores: list[float] = found.astype(float).tolist()
        if not all(map(math.isfinite, scores)):
            raise MismatchError(f"the reranker {self._name!r:.80}", "a score that is not finite", "Mend it.")
        return scores
