"""Counting conditions ("at least k of n") in a form whose cost is bounded.

To estimate how many points match a ``min_should``, the engines form every combination of k of its n
conditions: 12 of 24 are 2.7 million. Halves need far fewer, because each is counted by itself: at least k of
n are true if at least j are in one half and k - j in the other, for some j.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from math import comb
from typing import TYPE_CHECKING, Any

from saeindex.errors import InvalidInputError

if TYPE_CHECKING:
    from qdrant_client import models

# The maximum cost of a filter, in conditions that an engine looks at; and that of a combination.
# On Edge with 10,000 points, 12 of 24 conditions (2,448) take 75 ms, of which 50 in the engine; a count of
# 16 of 30, in the engine's own form, took the memory of the machine. On a server (1.18.2) with as many points
# they take 156 ms and 13 MiB; in its own form, 10 of 20 took 17 s and 299 MiB, 11 of 22 more than a minute.
MAX_COST = 2_500
OF_COMBINATION = 2
# Values of a condition that cost as much as a condition.
VALUES = 50


def bounded(query_filter: models.Filter) -> models.Filter:
    """Return an equal filter whose ``min_should`` clauses cost little.

    Raises:
        InvalidInputError: there is no such form.
    """
    return _bounded(query_filter) if _counts(query_filter) else query_filter


def _counts(condition: Any) -> bool:
    """Return whether a filter, or a filter in it, has a ``min_should``."""
    from qdrant_client import models

    if isinstance(condition, models.NestedCondition):
        return _counts(condition.nested.filter)
    if not isinstance(condition, models.Filter):
        return False
    return condition.min_should is not None or any(
        _counts(each) for clause in _clauses(condition) for each in clause
    )


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
    from qdrant_client import models

    if isinstance(condition, models.NestedCondition):
        return _cost_of(condition.nested.filter)
    if isinstance(condition, models.Filter):
        inside = [each for clause in _clauses(condition) for each in clause]
        own = 0
        if (counted := condition.min_should) is not None:
            inside += counted.conditions
            own = OF_COMBINATION * comb(len(counted.conditions), counted.min_count)
        return own + sum(map(_cost_of, inside))
    if isinstance(condition, models.FieldCondition):
        values = getattr(condition.match, "any", None) or getattr(condition.match, "except_", None) or ()
        return 1 + len(values) // VALUES
    return 1


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
