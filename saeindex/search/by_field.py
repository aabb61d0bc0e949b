"""Order of lists, and boosts of scores, by a number or a date that records have.

A boosted score is  (s + w f) / (1 + w)  with the score s, the weight w and f from 0 to 1: v / (v + half) of a
number v, and 2^(-age / half) of a date. What has neither has 0. Of a list the best value counts.
"""

from __future__ import annotations

import datetime as dt
import math
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from operator import itemgetter
from typing import TYPE_CHECKING, Any, NamedTuple

from saeindex.errors import InvalidInputError
from saeindex.language.ast import UNITS, moment_in
from saeindex.language.evaluate import found_at
from saeindex.language.fields import path_of
from saeindex.search.explain import Explanation
from saeindex.search.retrieval import POOL, Scoring, in_order
from saeindex.stores.base import PAGE, pages
from saeindex.types import Part

if TYPE_CHECKING:
    from qdrant_client.models import Filter

    from saeindex.protocols import Point, PointId, VectorStore
    from saeindex.search.query import Boost

_ORDER = re.compile(r"(?P<field>.+?)(?:\s+(?P<way>asc|desc)(?:ending)?)?", re.IGNORECASE | re.DOTALL)
_NUMBER = re.compile(r"[0-9]{1,15}(\.[0-9]{1,15})?(e[+-]?[0-9]{1,3})?", re.IGNORECASE)
_AGE = re.compile(rf"(\d{{1,5}})\s*({'|'.join(UNITS)})", re.IGNORECASE)


class Order(NamedTuple):
    """The field that a list is in the order of, and whether the largest value is first."""

    path: tuple[str, ...]
    is_descending: bool

    @classmethod
    def read(cls, text: str) -> Order:
        """Read ``metadata.date desc``; InvalidInputError if it names no field."""
        found = _ORDER.fullmatch(text.strip())
        if found is None:
            raise InvalidInputError("order_by", "an empty text", 'Name a field: "metadata.date desc".')
        return cls(path_of(found["field"]), (found["way"] or "").lower() == "desc")

    def ids(self, store: VectorStore, query_filter: Filter | None) -> list[PointId]:
        """Return the ids of all matches in this order; those without a value come last, equal ones by id."""
        keyed, others = list[tuple[Any, Any]](), list[Any]()
        for page in pages(store, query_filter, PAGE, [self.path[0]]):
            for point in page.points:
                keys = [_key(one) for one in _values(found_at(point.payload, self.path))]
                if keys:
                    keyed.append((max(keys) if self.is_descending else min(keys), point.id))
                else:
                    others.append(point.id)
        keyed.sort(key=itemgetter(0), reverse=self.is_descending)
        keyed.sort(key=lambda one: one[0][0])  # numbers, dates, other texts: in either direction
        return [*(one for _, one in keyed), *others]


def _values(found: Any) -> Iterable[bool | int | float | str]:
    """Return the values of a field that have an order."""
    values = found if isinstance(found, list) else [found]
    return (one for one in values if isinstance(one, bool | int | float | str))


def _key(value: bool | int | float | str) -> tuple[int, Any]:
    """Return what numbers, dates and other texts, each apart, are compared by."""
    if not isinstance(value, str):
        return 0, value
    moment = moment_in(value)
    return (2, value.casefold()) if moment is None else (1, moment)


@dataclass(frozen=True, slots=True)
class Curve:
    """How much of a boost a value has: half at that number, or at an age of that many seconds."""

    half: float
    is_age: bool

    @classmethod
    def read(cls, half: str) -> Curve:
        """Read a number above 0, or an age such as "30d"; InvalidInputError if it is neither."""
        age, number = _AGE.fullmatch(half.strip()), _NUMBER.fullmatch(half.strip())
        found = int(age[1]) * UNITS[age[2].lower()] if age else float(half) if number else 0.0
        if not 0 < found < math.inf:
            do = 'Give a number above 0, or for dates an age: "30d" (min, h, d, w).'
            raise InvalidInputError(f"boost.half={half!r:.40}", "neither a number nor an age", do)
        return cls(found, age is not None)

    def of(self, found: Any, now: dt.datetime) -> float:
        """Return the share from 0 to 1 that the values of a field have."""
        best = 0.0
        for value in _values(found):
            if self.is_age:
                moment = moment_in(value) if isinstance(value, str) else None
                age = None if moment is None else max(0.0, (now - moment).total_seconds())
                best = max(best, 0.0 if age is None else 2 ** (-age / self.half))
            elif not isinstance(value, str) and value > 0:
                best = max(best, value / (value + self.half))
        return best


def boosts(boost: Boost, values: Iterable[Any]) -> bool:
    """Return whether some of the values of a field make a difference."""
    curve, now = Curve.read(str(boost.half)), dt.datetime.now(dt.UTC)
    return any(curve.of(one, now) > 0 for one in values)


def unread_date(values: Iterable[Any]) -> str | None:
    """Return a text of the values that begins as a date or a number would, and is none that is read."""
    texts = (one for found in values for one in _values(found) if isinstance(one, str))
    return next((one for one in texts if one[:1].isdigit() and moment_in(one) is None), None)


class Boosted(Scoring):
    """Another ranking: its first 1,000 are ranked anew by their boosted scores, then the next, and so on."""

    def __init__(self, store: VectorStore, inner: Scoring, boost: Boost, least: float | None) -> None:
        """Bind a ranking without a threshold, and the least boosted score."""
        self._store, self._inner, self._boost, self._least = store, inner, boost, least
        self._path, self._curve = path_of(boost.field), Curve.read(str(boost.half))
        self._now = dt.datetime.now(dt.UTC)
        self._found: list[tuple[PointId, float]] = []
        self._depth, self._is_whole = 0, False
        self.explained = inner.explained

    def _first(self, count: int) -> Sequence[tuple[PointId, float]]:
        while len(self._found) < count and not self._is_whole:
            first, self._depth = self._depth, 4 * self._depth or POOL
            points = self._inner.best(self._depth - first, first, [self._path[0]])
            self._is_whole = len(points) < self._depth - first
            scores = {one.id: self._scaled(one.score or 0.0) + self._added(one) for one in points}
            self._found += in_order(scores, self._least)
        return self._found[:count]

    def explain(self, point: Point) -> Explanation:
        """See :class:`Scoring`: the parts of the score, and the boost."""
        found = self._inner.explain(point)
        parts = [replace(one, value=self._scaled(one.value)) for one in found.parts]
        parts.append(Part("boost", None, self._boost.field, self._added(point)))
        return replace(found, parts=tuple(parts), total=sum(one.value for one in parts))

    def _scaled(self, value: float) -> float:
        return value / (1 + self._boost.weight)

    def _added(self, point: Point) -> float:
        share = self._curve.of(found_at(point.payload, self._path), self._now)
        return self._scaled(self._boost.weight * share)
