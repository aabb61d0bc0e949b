"""Filters: the checks that both engines need, and the translation of ``models.Filter`` for Edge."""

from __future__ import annotations

import datetime as dt
import math
import uuid
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from saeindex.errors import InvalidInputError, first_fault, kind_of
from saeindex.protocols import PointId
from saeindex.stores.min_should import bounded, conditions_of
from saeindex.stores.point_checks import canonical_id
from saeindex.types import is_larger

if TYPE_CHECKING:
    from qdrant_client import models

# Filters that are translated, by id, with their translations: parts of a filter may be one object.
Done: TypeAlias = dict[int, tuple[Any, Any]]
MAX_DEPTH, MAX_CONDITIONS = 32, 2_000
# Objects and lists of JSON in a level, and in a condition; the validation of more could take seconds.
_JSON_DEPTH, _JSON_PARTS = 4, 4

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
    _check_clauses(query_filter, 1)


def restricts(query_filter: models.Filter | None) -> bool:
    """Return whether a filter can leave out a point: one whose conditions are all empty filters cannot."""
    return query_filter is not None and _verdict(query_filter) is not True


def _verdict(condition: Any) -> bool | None:
    """Return True for a condition that is true of every point, False for one of no point, else None."""
    from qdrant_client import models

    if not isinstance(condition, models.Filter):
        return None
    must, should, must_not = (
        [_verdict(one) for one in conditions_of(clause)]
        for clause in (condition.must, condition.should, condition.must_not)
    )
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
            must.append(edge.HasIdCondition(set(among)))
    except (ValueError, TypeError, OverflowError) as error:
        if isinstance(error, InvalidInputError):
            raise
        raise _refusal(f"Edge refused a value: {error!s:.200}", "Correct the filter.") from None
    return edge.Filter(must=must) if must else None


def _refusal(found: str, do: str) -> InvalidInputError:
    return InvalidInputError("a filter", found, do)


def _check_clauses(one: models.Filter, depth: int) -> None:
    if depth > MAX_DEPTH:
        raise _refusal(f"it is nested more than {MAX_DEPTH} levels deep", "Flatten it.")
    for clause in (one.must, one.should, one.must_not):
        for condition in conditions_of(clause):
            _check_condition(condition, depth)
    if one.min_should is not None:
        if one.min_should.min_count < 1:
            raise _refusal(f"min_should has min_count={one.min_should.min_count}", "Use 1 or more.")
        for condition in one.min_should.conditions:
            _check_condition(condition, depth)


def _check_condition(condition: Any, depth: int) -> None:
    from qdrant_client import models

    if isinstance(condition, models.Filter):
        _check_clauses(condition, depth + 1)
    elif isinstance(condition, models.NestedCondition):
        _check_clauses(condition.nested.filter, depth + 1)
    elif isinstance(condition, models.FieldCondition):
        _check_field(condition)
    elif isinstance(condition, models.HasIdCondition):
        for point_id in condition.has_id:
            _id(point_id)
    elif not isinstance(
        condition,
        models.IsEmptyCondition | models.IsNullCondition | models.HasVectorCondition | models.SliceCondition,
    ):
        raise _refusal(f"a condition is {kind_of(condition)}", "Use the condition types of models.")


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
        "geo_bounding_box": _box,
        "geo_radius": _radius,
        "geo_polygon": _polygon,
        "values_count": _count,
    }
    converted = converters[name](edge, value) if name in converters else value
    return edge.FieldCondition(condition.key, **{name: converted})


def _match(edge: Any, match: Any) -> Any:
    name = type(match).__name__
    if name not in _MATCHES:
        raise _refusal(f"Edge has no {name}", "Use another match.")
    value = getattr(match, _MATCHES[name])
    # Edge reads Python's True as the integer 1, and would match 1 instead of true.
    return getattr(edge, name)(np.bool_(value) if isinstance(value, bool) else value)


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


def _count(edge: Any, bounds: models.ValuesCount) -> Any:
    return edge.ValuesCount(lt=bounds.lt, gt=bounds.gt, lte=bounds.lte, gte=bounds.gte)


def _geo(edge: Any, point: models.GeoPoint) -> Any:
    return edge.GeoPoint(point.lon, point.lat)


def _box(edge: Any, box: models.GeoBoundingBox) -> Any:
    return edge.GeoBoundingBox(_geo(edge, box.top_left), _geo(edge, box.bottom_right))


def _radius(edge: Any, circle: models.GeoRadius) -> Any:
    return edge.GeoRadius(_geo(edge, circle.center), circle.radius)


def _polygon(edge: Any, polygon: models.GeoPolygon) -> Any:
    rings = [[_geo(edge, point) for point in ring.points] for ring in polygon.interiors or []]
    return edge.GeoPolygon([_geo(edge, point) for point in polygon.exterior.points], rings)
