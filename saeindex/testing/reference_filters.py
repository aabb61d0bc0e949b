"""The semantics of filters in plain Python: the oracle that stores are compared with."""

from __future__ import annotations

import datetime as dt
import re
import uuid
from collections.abc import Iterable
from typing import Any

from qdrant_client import models

from saeindex.protocols import Point


def matches(query_filter: models.Filter | None, point: Point) -> bool:
    """Return whether ``point`` satisfies ``query_filter`` (every point satisfies None)."""
    return query_filter is None or _holds(query_filter, point.payload, point)


def values_at(payload: Any, key: str) -> list[Any]:
    """Return the values at a dotted key; arrays count by element, ``[]`` enters arrays of objects."""
    head, _, rest = key.partition(".")
    name = head.removesuffix("[]")
    if not isinstance(payload, dict) or name not in payload:
        return []
    found = payload[name]
    if not rest:
        return list(found) if isinstance(found, list) else [found]
    inner = found if head.endswith("[]") and isinstance(found, list) else [found]
    return [value for each in inner for value in values_at(each, rest)]


def _holds(one: models.Filter, payload: Any, point: Point | None) -> bool:
    must, should, must_not = (_listed(clause) for clause in (one.must, one.should, one.must_not))
    if not all(_meets(each, payload, point) for each in must):
        return False
    if any(_meets(each, payload, point) for each in must_not):
        return False
    if should and not any(_meets(each, payload, point) for each in should):
        return False
    if one.min_should is None:
        return True
    met = sum(_meets(each, payload, point) for each in one.min_should.conditions)
    return met >= one.min_should.min_count


def _listed(clause: Any) -> list[Any]:
    if clause is None:
        return []
    return clause if isinstance(clause, list) else [clause]


def _meets(condition: Any, payload: Any, point: Point | None) -> bool:
    match condition:
        case models.Filter():
            met = _holds(condition, payload, point)
        case models.FieldCondition():
            met = _field(condition, payload)
        case models.NestedCondition():
            elements = payload.get(condition.nested.key, [])
            inner = [each for each in elements if isinstance(each, dict)]
            met = any(_holds(condition.nested.filter, each, None) for each in inner)
        case models.IsEmptyCondition():
            met = _is_empty(payload, condition.is_empty.key)
        case models.IsNullCondition():
            met = _is_null(payload, condition.is_null.key)
        case models.HasIdCondition():
            met = point is not None and point.id in {_id(each) for each in condition.has_id}
        case models.HasVectorCondition():
            met = point is not None and condition.has_vector in point.vectors
        case _:
            raise NotImplementedError(type(condition).__name__)
    return met


def _id(value: Any) -> Any:
    return value if isinstance(value, int) else str(uuid.UUID(str(value)))


def _is_empty(payload: Any, key: str) -> bool:
    return payload.get(key) in (None, [])


def _is_null(payload: Any, key: str) -> bool:
    if key not in payload:
        return False
    value = payload[key]
    return value is None or (isinstance(value, list) and None in value)


def _field(condition: models.FieldCondition, payload: Any) -> bool:
    if condition.is_empty is not None:
        return _is_empty(payload, condition.key) == condition.is_empty
    if condition.is_null is not None:
        return _is_null(payload, condition.key) == condition.is_null
    if condition.values_count is not None:
        value = payload.get(condition.key)
        number = len(value) if isinstance(value, list) else int(value is not None)
        return _within(number, condition.values_count)
    values = values_at(payload, condition.key)
    if condition.match is not None:
        return any(_equals(value, condition.match) for value in values)
    if isinstance(condition.range, models.DatetimeRange):
        moments = (moment_of(value) for value in values if isinstance(value, str))
        return any(_within(moment, condition.range) for moment in moments)
    if condition.range is not None:
        numbers = (value for value in values if type(value) in (int, float))
        return any(_within(number, condition.range) for number in numbers)
    raise NotImplementedError(str(condition))


def _within(value: Any, bounds: Any) -> bool:
    limits = {name: getattr(bounds, name) for name in ("gte", "gt", "lte", "lt")}
    comparable = moment_of if isinstance(value, dt.datetime) else float
    value = comparable(value)
    tests = {"gte": value.__ge__, "gt": value.__gt__, "lte": value.__le__, "lt": value.__lt__}
    return all(tests[name](comparable(limit)) for name, limit in limits.items() if limit is not None)


def moment_of(value: Any) -> dt.datetime:
    """Return a datetime, a date or ISO 8601 text as a moment, in UTC if it has no zone."""
    moment = dt.datetime.fromisoformat(value) if isinstance(value, str) else value
    if not isinstance(moment, dt.datetime):
        moment = dt.datetime(moment.year, moment.month, moment.day)
    return moment if moment.tzinfo else moment.replace(tzinfo=dt.UTC)


def _same(value: Any, other: Any) -> bool:
    return type(value) is type(other) and value == other


def _equals(value: Any, match: Any) -> bool:
    match match:
        case models.MatchValue(value=wanted):
            met = _same(value, wanted)
        case models.MatchAny(any=wanted):
            met = any(_same(value, each) for each in wanted)
        case models.MatchExcept():
            met = value is not None and not any(_same(value, each) for each in match.except_)
        case models.MatchText(text=text):
            met = bool(_words(text)) and set(_words(text)) <= set(_words(value))
        case models.MatchTextAny(text_any=text):
            met = bool(set(_words(text)) & set(_words(value)))
        case models.MatchPhrase(phrase=text):
            met = bool(_words(text)) and _runs(_words(value), _words(text))
        case _:
            raise NotImplementedError(type(match).__name__)
    return met


def _words(text: Any) -> list[str]:
    return [word.lower() for word in re.findall(r"[^\W_]+", text)] if isinstance(text, str) else []


def _runs(words: list[str], phrase: list[str]) -> bool:
    starts: Iterable[int] = range(len(words) - len(phrase) + 1)
    return any(words[start : start + len(phrase)] == phrase for start in starts)
