"""A query: what is asked of an index, as a dataclass and as the keywords of the methods that take it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypedDict

if TYPE_CHECKING:
    from qdrant_client.models import Filter

    from saeindex.concepts.feedback import Feedback
    from saeindex.language.ast import Expression
    from saeindex.types import (
        FusionMethod,
        JsonObject,
        LevelName,
        PropertyMethod,
        Resolve,
        Steer,
        SteeringMethod,
        Using,
    )


@dataclass(frozen=True, slots=True)
class Query:
    """A query to an index: at least one of ``text``, ``property``, ``like``, ``feedback``, ``where``.

    ``text`` ranks by topic, ``property`` by a description of the text ("sounds defensive"), which works best
    with the other values of its field in ``against``. ``like`` and ``unlike`` (record ids) describe it by
    examples. ``feedback`` is the :class:`Feedback` of an earlier search with a user's judgements. ``where``
    (text or AST) and ``query_filter`` (a ``qdrant_client.models.Filter``) select records. ``steer`` moves
    the query by at most ``max_drift``. ``using`` names the vector that ranks, or "fused" for both.
    ``exact`` scans all points instead of searching a graph (None: the planner chooses).
    """

    text: str = ""
    where: str | Expression | JsonObject | None = None
    query_filter: Filter | JsonObject | None = None
    steer: str | Sequence[Steer] | Sequence[str] = ()
    property: str | None = None
    against: Sequence[str] = ()
    like: Sequence[str] = ()
    unlike: Sequence[str] = ()
    feedback: Feedback | JsonObject | str | None = None
    using: Using = "dense"
    fusion: FusionMethod = "rrf"
    resolve: Resolve = "best"
    level: LevelName | None = None
    steering: SteeringMethod = "built"
    method: PropertyMethod = "collection"
    max_drift: float | None = None
    diversity: float = 0.0
    group_by: str | None = None
    group_size: int = 3
    limit: int = 10
    offset: int = 0
    score_threshold: float | None = None
    explain: bool = False
    with_passages: bool = False
    exact: bool | None = None
    timeout: float | None = None


class ResultKeywords(TypedDict, total=False):
    """The fields of a :class:`Query` that determine its results, by name."""

    where: str | Expression | JsonObject | None
    query_filter: Filter | JsonObject | None
    steer: str | Sequence[Steer] | Sequence[str]
    property: str | None
    against: Sequence[str]
    like: Sequence[str]
    unlike: Sequence[str]
    feedback: Feedback | JsonObject | str | None
    using: Using
    fusion: FusionMethod
    resolve: Resolve
    level: LevelName | None
    steering: SteeringMethod
    method: PropertyMethod
    max_drift: float | None
    diversity: float
    group_by: str | None
    group_size: int
    offset: int
    score_threshold: float | None
    explain: bool
    with_passages: bool
    exact: bool | None
    timeout: float | None


class QueryKeywords(ResultKeywords, total=False):
    """The fields of a :class:`Query` except its text, by name."""

    limit: int
