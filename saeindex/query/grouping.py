"""Hits in groups that share a value of a field, as Qdrant groups them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, TypeAlias

from saeindex.config import MAX_LIMIT
from saeindex.errors import InvalidInputError
from saeindex.types import JsonObject

if TYPE_CHECKING:
    from saeindex.query.paging import Ranked, Ranking

RECORD_ID = "record_id"
METADATA = "metadata."

GroupValue: TypeAlias = str | int | float | bool
Members: TypeAlias = list[tuple[GroupValue, list["Ranked"]]]


def check_field(field: str) -> None:
    """Raise InvalidInputError unless hits can be grouped by ``field``."""
    if field != RECORD_ID and str(field).removeprefix(METADATA) in ("", str(field)):
        raise InvalidInputError(
            f"group_by={field!r}", "no field to group by", 'Use "record_id" or a field like "metadata.topic".'
        )


def grouped(ranking: Ranking, field: str, size: int, limit: int, offset: int) -> Members:
    """Return ``limit`` groups from ``offset`` on, each with its best ``size`` members, best group first.

    A record whose field has several values is in several groups, one without the field in none. Members
    are looked for among the first 10,000 of the ranking, on every page.
    """
    wanted = offset + limit
    reach = 4 * wanted * size
    while True:
        reach = min(reach, MAX_LIMIT)
        found = ranking.first(reach)
        groups: dict[tuple[type, GroupValue], list[Ranked]] = {}
        for ranked in found:
            for value in values_at(ranked[1].payload, field):
                groups.setdefault((type(value), value), []).append(ranked)
        members = list(groups.items())[:wanted]
        is_full = len(members) == wanted and all(len(group) >= size for _, group in members)
        if is_full or len(found) < reach or reach == MAX_LIMIT:
            return [(value, group[:size]) for (_, value), group in members[offset:]]
        reach *= 4


def values_at(payload: JsonObject, field: str) -> list[GroupValue]:
    """Return the different scalar values at a dotted path, in order."""
    found: Any = payload
    for key in field.split("."):
        found = found.get(key) if isinstance(found, Mapping) else None
    values = found if isinstance(found, list) else [found]
    return list({(type(v), v): v for v in values if isinstance(v, str | int | float)}.values())
