"""Hits in groups that share a value of a field, as Qdrant groups them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Protocol, TypeAlias

from saeindex.config import DOCUMENT, MAX_LIMIT
from saeindex.errors import InvalidInputError
from saeindex.language.evaluate import found_at
from saeindex.language.fields import METADATA, RECORD_ID, as_one_name, path_of
from saeindex.protocols import Point
from saeindex.types import JsonObject

if TYPE_CHECKING:
    from saeindex.search.retrieval import Scoring

GroupValue: TypeAlias = str | int | float | bool
Members: TypeAlias = list[tuple[GroupValue, list["Ranked"]]]
# A point and its rank (from 1) before it was reordered.
Ranked = tuple[int, Point]


class Ranking(Protocol):
    """A sequence that is read from its start; reading more of it does not change the first elements."""

    def first(self, count: int) -> list[Ranked]:
        """Return the first ``count`` points of the ranking, or all if there are fewer."""


class ByPoint:
    """A ranking of points."""

    def __init__(self, scoring: Scoring, keys: Sequence[str] = ()) -> None:
        """Bind the scoring and the payload fields to read."""
        self._scoring, self._keys = scoring, list(keys)

    def first(self, count: int) -> list[Ranked]:
        """See :class:`Ranking`."""
        return list(enumerate(self._scoring.best(count, payload=self._keys or False), 1))


def check_field(field: str) -> None:
    """Raise InvalidInputError unless hits can be grouped by ``field``."""
    parts = as_one_name(field) if isinstance(field, str) else ()
    if field != DOCUMENT and (len(parts) < 2 or parts[0] != METADATA):
        raise InvalidInputError(
            f"group_by={field!r}",
            "not a field to group by",
            'Use "document" or a field like "metadata.topic".',
        )


def group_keys(field: str) -> list[str]:
    """Return the payload fields that hold a field's values: a record of no document is one by itself."""
    return [DOCUMENT, RECORD_ID] if field == DOCUMENT else [field.partition(".")[0]]


def grouped(ranking: Ranking, field: str, size: int, limit: int, offset: int) -> Members:
    """Return ``limit`` groups from ``offset`` on, the best first, each with its best ``size`` members.

    A record with several values in the field is in several groups; a record without the field is in none.
    Members are searched among the first 10,000 of the ranking, on every page.
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
    """Return the distinct scalar values of a field, in order."""
    if field == DOCUMENT:
        return [payload.get(DOCUMENT, payload[RECORD_ID])]
    found = found_at(payload, path_of(field))
    if found is None:
        found = found_at(payload, as_one_name(field))
    values = found if isinstance(found, list) else [found]
    return list({(type(v), v): v for v in values if isinstance(v, str | int | float)}.values())
