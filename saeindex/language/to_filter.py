"""Compilation of where expressions to native filters, exactly, combined with the user's own filter."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Sequence
from math import inf, nextafter
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol, TypeAlias, runtime_checkable

from saeindex.config import CONCEPTS, FAMILY, LEVEL_STRIDE, LEVELS_OF, TEXT
from saeindex.errors import InvalidInputError
from saeindex.language import ast
from saeindex.language.fields import RECORD_ID, is_addressable, list_in
from saeindex.protocols import PointId

if TYPE_CHECKING:
    from qdrant_client.models import FieldCondition, Filter

    from saeindex.types import LevelName


@runtime_checkable
class FoundRecords(Protocol):
    """The records that have a concept, where no feature is it."""

    def at(self, level: LevelName) -> Collection[str]:
        """Return the ids of the records that have it at a level."""


# Whole numbers from here on are not all 64-bit floats.
EXACT = 2**53
# Resolves a concept to the ids of its features, or to records, as what is said; raises UnknownConceptError.
FeaturesOf: TypeAlias = Callable[[ast.TextTerm], Sequence[int] | FoundRecords]
# Finds the points that fulfil a condition on a field that engines cannot address.
PointsThat: TypeAlias = Callable[[ast.Condition], Sequence[PointId]]


def compile_where(
    expression: ast.Expression | None,
    features_of: FeaturesOf,
    level: LevelName | None = None,
    query_filter: Filter | None = None,
    points_that: PointsThat | None = None,
) -> Filter | None:
    """Return ``expression`` AND ``query_filter`` as one filter, None if both are None.

    ``level`` (None: present) applies to concepts without a level. The user's filter stays a separate
    condition: if both were merged, the ``should`` clauses of both would become alternatives. A condition on
    a field that engines cannot address becomes the ids that ``points_that`` returns; without it, that is an
    InvalidInputError.
    """
    if expression is None:
        return query_filter
    ast.check_limits(expression)
    from qdrant_client.models import Filter

    condition = _whole(
        ast.folded(
            expression,
            lambda leaf: _leaf(leaf, features_of, level, points_that),
            _denied,
            _joined,
        )
    )
    if query_filter is not None:
        return Filter(must=[condition, query_filter])
    return condition if isinstance(condition, Filter) else Filter(must=[condition])


def target_of(node: ast.ConceptTerm) -> str:
    """Return the text that a concept is resolved from: ``#id``, ``family:NAME`` or the phrase."""
    if isinstance(node, ast.FeatureTerm):
        return f"#{node.feature}"
    return f"{FAMILY}{node.name}" if isinstance(node, ast.FamilyTerm) else node.text


def level_of(node: ast.TextTerm, default: LevelName | None) -> LevelName:
    """Return the level that a concept must have; ``default`` (None: present) is that of the query."""
    return (None if isinstance(node, ast.Says) else node.level) or default or "present"


def level_codes(node: ast.ConceptTerm, features: Iterable[int], default: LevelName | None) -> list[int]:
    """Return the level codes of which a record has one where a feature reaches the level of ``node``."""
    levels = LEVELS_OF[level_of(node, default)]
    return [one * LEVEL_STRIDE + level for one in dict.fromkeys(features) for level in levels]


class _Part(NamedTuple):
    """A condition, and whether it is negated; an AND adds a negated condition to ``must_not``."""

    condition: Any
    is_denied: bool = False


def _denied(part: _Part) -> _Part:
    return _Part(part.condition, not part.is_denied)


def _nested(node: ast.Nested) -> Any:
    from qdrant_client.models import Filter, Nested, NestedCondition

    found = _whole(ast.folded(node.part, _within, _denied, _joined))
    inner = found if isinstance(found, Filter) else Filter(must=[found])
    return NestedCondition(nested=Nested(key=node.field, filter=inner))


def _within(leaf: Any) -> _Part:
    """Return a condition on a field of an element of a list, by its name there."""
    return _Part(_metadata(leaf.model_copy(update={"field": list_in(leaf.field)[1]})))


def _whole(part: _Part) -> Any:
    """Return a part as one condition."""
    from qdrant_client.models import Filter

    return Filter(must_not=[part.condition]) if part.is_denied else part.condition


def _joined(node: ast.And | ast.Or | ast.AtLeast, parts: Sequence[_Part]) -> _Part:
    from qdrant_client.models import Filter, MinShould

    if isinstance(node, ast.And):
        denied = [part.condition for part in parts if part.is_denied]
        claimed = [part.condition for part in parts if not part.is_denied]
        return _Part(Filter(must=claimed or None, must_not=denied or None))
    conditions = [_whole(part) for part in parts]
    if isinstance(node, ast.AtLeast):
        return _Part(Filter(min_should=MinShould(conditions=conditions, min_count=node.count)))
    return _Part(Filter(should=conditions))


def _leaf(
    leaf: ast.Leaf, features_of: FeaturesOf, level: LevelName | None, points_that: PointsThat | None
) -> _Part:
    from qdrant_client.models import FieldCondition, Filter, HasIdCondition, MatchAny, MatchText, MatchValue

    if not isinstance(leaf, ast.TextTerm):
        named = leaf.leaves if isinstance(leaf, ast.Nested) else [leaf]
        if not isinstance(leaf, ast.Holds) and all(_is_asked_exactly(one) for one in named):
            return _Part(_nested(leaf) if isinstance(leaf, ast.Nested) else _metadata(leaf))
        if points_that is None:
            why = 'engines cannot address names that hold " or \\, nor compare numbers of 2**53 and more'
            raise InvalidInputError(f"the field {leaf.field}", why, "Rename the field, or use = and IN.")
        return _Part(Filter(must=[HasIdCondition(has_id=list(points_that(leaf)))]))
    found = features_of(leaf)
    if isinstance(leaf, ast.Says) and getattr(found, "is_indexed", False):
        return _Part(FieldCondition(key=TEXT, match=MatchText(text=leaf.text)))
    if isinstance(found, FoundRecords):
        ids = sorted(found.at(level_of(leaf, level)))
        return _Part(FieldCondition(key=RECORD_ID, match=MatchAny(any=ids)))
    assert not isinstance(leaf, ast.Says)  # noqa: S101
    codes = level_codes(leaf, found, level)
    match = MatchValue(value=codes[0]) if len(codes) == 1 else MatchAny(any=codes)
    return _Part(FieldCondition(key=CONCEPTS, match=match))


def _is_asked_exactly(node: ast.Condition) -> bool:
    """Return whether engines look for what a condition says: they compare numbers as 64-bit floats."""
    ordered = isinstance(node, ast.Between) or (isinstance(node, ast.Compare) and node.op not in ("=", "!="))
    bounds = [getattr(node, name, None) for name in ("low", "high", "value")] if ordered else []
    is_large = any(type(one) is int and abs(one) >= EXACT for one in bounds)
    return is_addressable(node.field) and not is_large


def _metadata(node: ast.Condition) -> Any:
    from qdrant_client.models import Filter, IsEmptyCondition, PayloadField

    match node:
        case ast.Exists():
            return Filter(must_not=[IsEmptyCondition(is_empty=PayloadField(key=node.field))])
        case ast.Between():
            return _range(node.field, ((">=", node.low), ("<=", node.high)))
        case ast.OneOf():
            return _one_of(node.field, node.values)
        case ast.Compare(op="="):
            return _equals(node.field, node.value)
        case ast.Compare(op="!="):
            return Filter(must_not=[_equals(node.field, node.value)])
        case ast.Compare():
            assert not isinstance(node.value, bool | str)  # noqa: S101  (the node refuses them)
            return _range(node.field, ((node.op, node.value),))


def _equals(field: str, value: ast.Value) -> FieldCondition:
    """Return the condition of equality; a range for floats and dates, which a match does not support.

    Engines may change a float in its last digit.
    """
    from qdrant_client.models import FieldCondition, MatchValue

    if isinstance(value, float):
        return _range(field, ((">=", nextafter(value, -inf)), ("<=", nextafter(value, inf))))
    if isinstance(value, ast.Date):
        return _range(field, ((">=", value), ("<=", value)))
    return FieldCondition(key=field, match=MatchValue(value=value))


def _one_of(field: str, values: Sequence[ast.Value]) -> Any:
    """Return the condition of membership: one match for all texts, one for all whole numbers."""
    from qdrant_client.models import FieldCondition, Filter, MatchAny

    texts = list(dict.fromkeys(value for value in values if isinstance(value, str)))
    whole = list(dict.fromkeys(value for value in values if type(value) is int))
    conditions: list[Any] = [
        FieldCondition(key=field, match=MatchAny(any=group)) for group in (texts, whole) if group
    ]
    conditions += [_equals(field, value) for value in values if isinstance(value, bool | float | ast.Date)]
    return conditions[0] if len(conditions) == 1 else Filter(should=conditions)


def _range(field: str, bounds: Sequence[tuple[str, ast.Bound]]) -> FieldCondition:
    """Return one range with all bounds: the same value of the field must be within all of them."""
    from qdrant_client.models import DatetimeRange, FieldCondition, Range

    limits = dict(_limit(operator, bound) for operator, bound in bounds)
    of_dates = isinstance(bounds[0][1], ast.Date)
    return FieldCondition(key=field, range=DatetimeRange(**limits) if of_dates else Range(**limits))


def _limit(operator: str, bound: ast.Bound) -> tuple[str, Any]:
    """Return a range's argument; ``>`` and ``<=`` of a day refer to the end of the day."""
    names = {">=": "gte", ">": "gt", "<=": "lte", "<": "lt"}
    if not isinstance(bound, ast.Date):
        return names[operator], bound
    start, end = bound.start, bound.end
    if end is not None and operator in (">", "<="):
        return ("gte" if operator == ">" else "lt"), end
    return names[operator], start
