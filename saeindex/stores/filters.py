"""Filters: the checks that both engines need, and the translation of ``models.Filter`` for Edge."""

from __future__ import annotations

import datetime as dt
import math
import uuid
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import cache, lru_cache
from math import comb
from typing import TYPE_CHECKING, Any, TypeAlias

from saeindex.errors import InvalidInputError, first_fault, kind_of
from saeindex.protocols import PointId
from saeindex.stores.point_checks import canonical_id
from saeindex.types import is_larger

if TYPE_CHECKING:
    from qdrant_client import models

# Filters that are translated, by id, with their translations: parts of a filter may be one object.
Done: TypeAlias = dict[int, tuple[Any, Any]]
MAX_DEPTH, MAX_CONDITIONS = 32, 2_000
# The lists of ids whose translations are kept: planning counts among the same sample, 4 µs an id without.
KEPT_IDS = 8
# Objects and lists of JSON in a level, and in a condition; the validation of more could take seconds.
_JSON_DEPTH, _JSON_PARTS = 4, 4

# The maximum cost of a filter, in conditions that an engine looks at; and that of a combination.
# On Edge with 10,000 points, 12 of 24 conditions (2,448) take 75 ms, of which 50 in the engine; a count of
# 16 of 30, in the engine's own form, took the memory of the machine. On a server (1.18.2) with as many points
# they take 156 ms and 13 MiB; in its own form, 10 of 20 took 17 s and 299 MiB, 11 of 22 more than a minute.
MAX_COST = 2_500
OF_COMBINATION = 2
# Values of a condition that cost as much as a condition.
VALUES = 50
# The tests of a FieldCondition. Engines use the first that is set and ignore the others.
_PREDICATES = (
    "match",
    "range",
    "geo_bounding_box",
    "geo_radius",
    "geo_polygon",
    "values_count",
    "is_empty",
    "is_null",
)

# The match classes, and the field with the value to match; Edge's classes have the same names.
_MATCHES = {
    "MatchValue": "value",
    "MatchAny": "any",
    "MatchExcept": "except_",
    "MatchText": "text",
    "MatchTextAny": "text_any",
    "MatchPhrase": "phrase",
    "MatchPrefix": "prefix",
    "MatchSubstring": "substring",
}


def as_filter(given: object) -> models.Filter | None:
    """Return a filter from a filter or a JSON object of Qdrant's REST API; InvalidInputError for others."""
    if given is None:
        return None
    from pydantic import ValidationError
    from qdrant_client import models

    if isinstance(given, models.Filter):
        return given
    if not isinstance(given, Mapping):
        raise _refusal(f"it is {kind_of(given)}", "Pass a qdrant_client.models.Filter, or its JSON object.")
    if is_larger(given, _JSON_DEPTH * MAX_DEPTH, _JSON_PARTS * MAX_CONDITIONS):
        found = (
            f"it is nested more than {MAX_DEPTH} levels deep, or has more than {MAX_CONDITIONS:,} conditions"
        )
        raise _refusal(found, "Split it, or use fewer.")
    try:
        return models.Filter.model_validate(given)
    except ValidationError as error:
        raise _refusal(first_fault(error), "Use the JSON of Qdrant's filters.") from None


def check_filter(query_filter: object) -> None:
    """Raise InvalidInputError if engines would disagree on ``query_filter`` or fail."""
    if query_filter is None:
        return
    from qdrant_client import models

    if not isinstance(query_filter, models.Filter):
        raise _refusal(f"it is {kind_of(query_filter)}", "Pass a qdrant_client.models.Filter.")
    _check(query_filter, 1)


def restricts(query_filter: models.Filter | None) -> bool:
    """Return whether a filter can leave out a point: one whose conditions are all empty filters cannot."""
    return query_filter is not None and _verdict(query_filter) is not True


def _verdict(condition: Any) -> bool | None:
    """Return True for a condition that is true of every point, False for one of no point, else None."""
    from qdrant_client import models

    if not isinstance(condition, models.Filter):
        return None
    must, should, must_not = ([_verdict(one) for one in clause] for clause in _clauses(condition))
    parts = [*must, *(None if one is None else not one for one in must_not)]
    counts = [(should, 1)] if should else []
    if condition.min_should is not None:
        wanted = condition.min_should
        counts.append(([_verdict(one) for one in wanted.conditions], wanted.min_count))
    for verdicts, least in counts:
        is_sure = verdicts.count(True) >= least
        parts.append(True if is_sure else None if len(verdicts) - verdicts.count(False) >= least else False)
    return False if False in parts else None if None in parts else True


def to_edge(filters: Sequence[models.Filter], among: Iterable[PointId] | None = None) -> Any:
    """Return the Edge filter of the AND of checked ``filters``, limited to the ids ``among``; None for all.

    Raises:
        InvalidInputError: Edge does not support a condition, or refuses a value.
    """
    import qdrant_edge as edge

    done: Done = {}
    try:
        must = [_filter(edge, bounded(one), done) for one in filters]
        if among is not None:
            must.append(_has_ids(tuple(among)))
    except (ValueError, TypeError, OverflowError) as error:
        if isinstance(error, InvalidInputError):
            raise
        raise _refusal(f"Edge refused a value: {error!s:.200}", "Correct the filter.") from None
    return edge.Filter(must=must) if must else None


@lru_cache(KEPT_IDS)
def _has_ids(ids: tuple[PointId, ...]) -> Any:
    import qdrant_edge as edge

    return edge.HasIdCondition(set(ids))


def _refusal(found: str, do: str) -> InvalidInputError:
    return InvalidInputError("a filter", found, do)


def inside(condition: Any) -> list[Any]:
    """Return the conditions that are directly in a filter, or in a nested condition; none in another."""
    from qdrant_client import models

    if isinstance(condition, models.NestedCondition):
        return [condition.nested.filter]
    if not isinstance(condition, models.Filter):
        return []
    counted = [] if condition.min_should is None else condition.min_should.conditions
    return [*(one for clause in _clauses(condition) for one in clause), *counted]


def _check(condition: Any, depth: int) -> None:
    from qdrant_client import models

    if isinstance(condition, models.Filter):
        if depth > MAX_DEPTH:
            raise _refusal(f"it is nested more than {MAX_DEPTH} levels deep", "Flatten it.")
        if condition.min_should is not None and condition.min_should.min_count < 1:
            raise _refusal(f"min_should has min_count={condition.min_should.min_count}", "Use 1 or more.")
    elif isinstance(condition, models.FieldCondition):
        _check_field(condition)
    elif isinstance(condition, models.HasIdCondition):
        for point_id in condition.has_id:
            _id(point_id)
    elif not isinstance(
        condition,
        models.IsEmptyCondition
        | models.IsNullCondition
        | models.HasVectorCondition
        | models.SliceCondition
        | models.NestedCondition,
    ):
        raise _refusal(f"a condition is {kind_of(condition)}", "Use the condition types of models.")
    for one in inside(condition):
        _check(one, depth + 1)


def _check_field(condition: models.FieldCondition) -> None:
    given = [name for name in _PREDICATES if getattr(condition, name) is not None]
    if len(given) != 1:
        found = f"the condition on {condition.key!r} has {len(given)} tests {given}"
        raise _refusal(found, "Give each test its own FieldCondition.")
    bounds = condition.range or condition.values_count
    if bounds is not None:
        limits = [getattr(bounds, name) for name in ("lt", "lte", "gt", "gte")]
        if any(isinstance(limit, float) and math.isnan(limit) for limit in limits):
            raise _refusal(f"the range on {condition.key!r} has a NaN limit", "Use a number.")
        if condition.values_count and any(limit is not None and limit < 0 for limit in limits):
            raise _refusal(f"the values_count of {condition.key!r} is negative", "Use 0 or more.")


def _filter(edge: Any, one: models.Filter, done: Done) -> Any:
    if id(one) not in done:
        minimum = one.min_should
        counted = minimum and edge.MinShould(_conditions(edge, minimum.conditions, done), minimum.min_count)
        must, should, must_not = (
            _conditions(edge, clause, done) for clause in (one.must, one.should, one.must_not)
        )
        # The filter is kept beside its translation: an id belongs to an object only while it lives.
        done[id(one)] = one, edge.Filter(must=must, should=should, must_not=must_not, min_should=counted)
    return done[id(one)][1]


def _conditions(edge: Any, clause: object, done: Done) -> list[Any] | None:
    return None if clause is None else [_condition(edge, each, done) for each in conditions_of(clause)]


def _condition(edge: Any, condition: Any, done: Done) -> Any:
    from qdrant_client import models

    match condition:
        case models.Filter():
            converted = _filter(edge, condition, done)
        case models.FieldCondition():
            converted = _field(edge, condition)
        case models.NestedCondition():
            converted = edge.NestedCondition(
                condition.nested.key, _filter(edge, condition.nested.filter, done)
            )
        case models.IsEmptyCondition():
            converted = edge.IsEmptyCondition(condition.is_empty.key)
        case models.IsNullCondition():
            converted = edge.IsNullCondition(condition.is_null.key)
        case models.HasIdCondition():
            converted = edge.HasIdCondition({_id(each) for each in condition.has_id})
        case models.HasVectorCondition():
            converted = edge.HasVectorCondition(condition.has_vector)
        case _:
            do = "Use another condition, or an index on a Qdrant server."
            raise _refusal(f"Edge has no {type(condition).__name__}", do)
    return converted


def _id(value: object) -> PointId:
    return canonical_id(str(value) if isinstance(value, uuid.UUID) else value)


def _field(edge: Any, condition: models.FieldCondition) -> Any:
    name = next(name for name in _PREDICATES if getattr(condition, name) is not None)
    value = getattr(condition, name)
    converters: dict[str, Callable[[Any, Any], Any]] = {
        "match": _match,
        "range": _range,
        "geo_bounding_box": lambda edge, box: edge.GeoBoundingBox(
            _geo(edge, box.top_left), _geo(edge, box.bottom_right)
        ),
        "geo_radius": lambda edge, circle: edge.GeoRadius(_geo(edge, circle.center), circle.radius),
        "geo_polygon": lambda edge, area: edge.GeoPolygon(
            _ring(edge, area.exterior), [_ring(edge, ring) for ring in area.interiors or []]
        ),
        "values_count": lambda edge, bounds: edge.ValuesCount(**bounds.model_dump()),
    }
    converted = converters[name](edge, value) if name in converters else value
    return edge.FieldCondition(condition.key, **{name: converted})


def _match(edge: Any, match: Any) -> Any:
    name = type(match).__name__
    if name not in _MATCHES:
        raise _refusal(f"Edge has no {name}", "Use another match.")
    value = getattr(match, _MATCHES[name])
    return getattr(edge, name)(_EdgeBool(value) if isinstance(value, bool) else value)


class _EdgeBool:
    """True or False for Edge, which reads Python's as the integers 1 and 0, and numpy's before 2.3, too."""

    def __init__(self, value: bool) -> None:
        self._value = value

    def __bool__(self) -> bool:
        return self._value


_EdgeBool.__module__, _EdgeBool.__name__ = "numpy", "bool"  # the name by which Edge knows numpy's


def _range(edge: Any, bounds: models.Range | models.DatetimeRange) -> Any:
    limits = {name: getattr(bounds, name) for name in ("gte", "gt", "lte", "lt")}
    if type(bounds).__name__ == "Range":
        return edge.RangeFloat(**limits)
    return edge.RangeDateTime(**{name: _timestamp(limit) for name, limit in limits.items()})


def _timestamp(value: dt.datetime | dt.date | None) -> str | None:
    """Return RFC 3339 text; a date means its midnight, a missing zone means UTC, as on a server."""
    if value is None:
        return None
    if not isinstance(value, dt.datetime):
        value = dt.datetime(value.year, value.month, value.day)
    return (value if value.tzinfo else value.replace(tzinfo=dt.UTC)).isoformat()


def _geo(edge: Any, point: models.GeoPoint) -> Any:
    return edge.GeoPoint(point.lon, point.lat)


def _ring(edge: Any, ring: models.GeoLineString) -> list[Any]:
    return [_geo(edge, point) for point in ring.points]


# Counting conditions: at least k of n ------------------------------------------------------------------
#
# To estimate how many points match a ``min_should``, the engines form every combination of k of its n
# conditions: 12 of 24 are 2.7 million. Halves need far fewer, because each is counted by itself: at least
# k of n are true if at least j are in one half and k - j in the other, for some j.


def bounded(query_filter: models.Filter) -> models.Filter:
    """Return an equal filter whose ``min_should`` clauses cost little.

    Raises:
        InvalidInputError: there is no such form.
    """
    return _bounded(query_filter) if _counts(query_filter) else query_filter


def _counts(condition: Any) -> bool:
    """Return whether a filter, or a filter in it, has a ``min_should``."""
    return getattr(condition, "min_should", None) is not None or any(map(_counts, inside(condition)))


def conditions_of(clause: object) -> list[Any]:
    """Return a clause of a filter as a list; in the model it can also be a single condition or None."""
    if clause is None:
        return []
    return list(clause) if isinstance(clause, Sequence) else [clause]


def _clauses(one: models.Filter) -> list[list[Any]]:
    return [conditions_of(clause) for clause in (one.must, one.should, one.must_not)]


def _bounded(condition: Any) -> Any:
    from qdrant_client import models

    if isinstance(condition, models.NestedCondition):
        nested = models.Nested(key=condition.nested.key, filter=_bounded(condition.nested.filter))
        return models.NestedCondition(nested=nested)
    if not isinstance(condition, models.Filter):
        return condition
    must, should, must_not = ([_bounded(each) for each in clause] for clause in _clauses(condition))
    if condition.min_should is not None:
        wanted = [_bounded(each) for each in condition.min_should.conditions]
        must = [*must, _at_least(condition.min_should.min_count, wanted)]
    return models.Filter(must=must or None, should=should or None, must_not=must_not or None)


def _at_least(count: int, conditions: list[Any]) -> Any:
    n = len(conditions)
    each = max(1, sum(_cost_of(one) for one in conditions) // max(1, n))
    if count <= n and each * cost(n, count) > MAX_COST:
        raise InvalidInputError(
            f"at least {count} of {n} conditions",
            f"counting them takes more than {MAX_COST:,} conditions",
            "Use fewer conditions, or a count nearer to 1 or to their number.",
        )
    return _form(count, conditions)


def _cost_of(condition: Any) -> int:
    """Return how many conditions a condition costs as much as."""
    of_parts = sum(map(_cost_of, inside(condition)))
    if (counted := getattr(condition, "min_should", None)) is not None:
        return OF_COMBINATION * comb(len(counted.conditions), counted.min_count) + of_parts
    if hasattr(condition, "must") or hasattr(condition, "nested"):
        return of_parts
    match = getattr(condition, "match", None)
    return 1 + len(getattr(match, "any", None) or getattr(match, "except_", None) or ()) // VALUES


@cache
def cost(n: int, count: int) -> int:
    """Return the cost of ``count`` of ``n`` simple conditions in the cheapest form; at most MAX_COST + 1."""
    if count <= 0 or count > n:
        return 0
    if count in (1, n):
        return n
    whole, halves = n + OF_COMBINATION * comb(n, count), 0
    for first, others in _shares(n, count):
        halves += cost(n // 2, first) + cost(n - n // 2, others)
        if halves > MAX_COST:
            break
    return min(whole, halves, MAX_COST + 1)


def _shares(n: int, count: int) -> list[tuple[int, int]]:
    """Return in how many ways ``count`` can be shared between the two halves of ``n`` conditions."""
    half = n // 2
    return [(first, count - first) for first in range(max(0, count - (n - half)), min(half, count) + 1)]


def _form(count: int, conditions: list[Any]) -> Any:
    """Return the condition that ``count`` of the ``conditions`` are true, in the cheapest form.

    Equal parts of the form are one object.
    """
    from qdrant_client import models

    @cache
    def form(count: int, start: int, end: int) -> Any:
        n, own = end - start, conditions[start:end]
        if count in (1, n):
            is_all = count == n
            return models.Filter(must=own) if is_all else models.Filter(should=own)
        if n + OF_COMBINATION * comb(n, count) <= cost(n, count):
            return models.Filter(min_should=models.MinShould(conditions=own, min_count=count))
        middle = start + n // 2
        ways = []
        for first, others in _shares(n, count):
            parts = [form(first, start, middle)] if first else []
            parts += [form(others, middle, end)] if others else []
            ways.append(parts[0] if len(parts) == 1 else models.Filter.model_construct(must=parts))
        return models.Filter.model_construct(should=ways)

    if count > len(conditions):
        return models.Filter(must=[models.HasIdCondition(has_id=[])])
    return form(count, 0, len(conditions))
