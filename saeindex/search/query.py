"""A query: what is asked of an index, as a dataclass and as the keywords of the methods that take it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, TypedDict

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
    exact: bool | None = None
    timeout: float | None = None

    def to_json(self) -> dict[str, Any]:
        """Return the query as a JSON object: a filter as Qdrant's JSON, each steer with all its fields."""
        from pydantic import BaseModel

        from saeindex.concepts.feedback import Feedback
        from saeindex.language.parser import parse_steer
        from saeindex.stores.filters import as_filter

        described = {name: getattr(self, name) for name in self.__dataclass_fields__}
        if isinstance(self.where, BaseModel):
            described["where"] = self.where.model_dump(mode="json")
        if self.feedback is not None:
            described["feedback"] = Feedback.read(self.feedback).model_dump(mode="json")
        if (native := as_filter(self.query_filter)) is not None:
            described["query_filter"] = native.model_dump(mode="json", exclude_none=True)
        described["steer"] = [asdict(steer) for steer in parse_steer(self.steer)]
        return described


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
    exact: bool | None
    timeout: float | None


class QueryKeywords(ResultKeywords, total=False):
    """The fields of a :class:`Query` except its text, by name."""

    limit: int
