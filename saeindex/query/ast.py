"""The where expression as data: for programs, for JSON, and as what the planner compiles."""

from __future__ import annotations

from typing import Annotated, Literal, TypeAlias

from pydantic import BaseModel, ConfigDict, Field


class _Node(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class FeatureTerm(_Node):
    """``#1041``: the feature is active."""

    kind: Literal["feature"] = "feature"
    feature: int = Field(ge=0)


class Phrase(_Node):
    """``"dark matter"``: one of the features that the phrase resolves to is active."""

    kind: Literal["phrase"] = "phrase"
    text: str = Field(min_length=1, max_length=1_000)


class Not(_Node):
    """The part does not hold."""

    kind: Literal["not"] = "not"
    part: Expression


class And(_Node):
    """All parts hold."""

    kind: Literal["and"] = "and"
    parts: tuple[Expression, ...] = Field(min_length=2)


class Or(_Node):
    """At least one part holds."""

    kind: Literal["or"] = "or"
    parts: tuple[Expression, ...] = Field(min_length=2)


Expression: TypeAlias = Annotated[FeatureTerm | Phrase | Not | And | Or, Field(discriminator="kind")]

Not.model_rebuild()
And.model_rebuild()
Or.model_rebuild()
