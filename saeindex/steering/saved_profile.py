"""Profiles: directions fitted on a person's judgements of records, saved by name, for any query."""

from __future__ import annotations

import base64
import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Self

import numpy as np
from pydantic import BaseModel, Field, ValidationError

from saeindex.concepts.feedback import MAX_WEIGHT, Weight, check_sides
from saeindex.config import PROFILE
from saeindex.errors import InvalidInputError, MismatchError, NotFoundError, first_fault
from saeindex.steering.steering import Direction, built_direction
from saeindex.types import Steer

if TYPE_CHECKING:
    from saeindex.collection.state import IndexState
    from saeindex.features import FeatureSpace
    from saeindex.types import Doubles

MAX_PROFILES, MAX_EXAMPLES = 100, 1_000
# The maximum difference of a saved direction's length from 1 (it is float32).
UNIT_ERROR = 1e-3
_NAME = re.compile(r"[\w][\w .-]{0,63}")


class Profile(BaseModel, extra="forbid", frozen=True):
    """A saved steering direction. ``edits`` are weights of concepts set by a person; 0 removes a concept."""

    name: str
    description: str | None = Field(default=None, max_length=10_000)
    like: tuple[str, ...] = Field(default=(), max_length=MAX_EXAMPLES)
    unlike: tuple[str, ...] = Field(default=(), max_length=MAX_EXAMPLES)
    typical: float = Field(ge=0.0, allow_inf_nan=False)
    edits: dict[int, Weight] = Field(default_factory=dict, max_length=MAX_EXAMPLES)
    unit: str
    """The direction (d,) as little-endian float32 in base64, without the edits."""

    @classmethod
    def read(cls, kept: Mapping[str, Any], name: str, dimension: int) -> Self:
        """Return a saved profile; MismatchError if it is invalid or has another dimension."""
        try:
            profile = cls.model_validate(kept)
            size = len(base64.b64decode(profile.unit, validate=True))
        except ValueError as error:  # ValidationError is a ValueError, too
            raise MismatchError(f"profile {name!r}", first_fault(error), "Fit it again.") from error
        if profile.name != name:
            found = f"the profile saved under this name is {profile.name!r}"
        elif size != 4 * dimension:
            found = f"a direction of {size // 4} dimensions, not {dimension}"
        elif not abs(float(np.linalg.norm(profile.vector)) - 1.0) < UNIT_ERROR:
            found = "a direction that is not a unit vector"
        else:
            return profile
        raise MismatchError(f"profile {name!r}", found, "Fit it again.")

    @property
    def vector(self) -> Doubles:
        """The direction (d,), without the edits."""
        return np.frombuffer(base64.b64decode(self.unit), "<f4").astype(np.float64)

    def direction(self, space: FeatureSpace) -> Direction:
        """Return the direction of the profile, with its edits."""
        return Direction(f"{PROFILE}{self.name}", self.vector, self.typical, space).edited(self.edits)

    def edited(self, edits: Mapping[int, float]) -> Profile:
        """Return the profile with these further weights of concepts; 0 removes a concept."""
        return _made(**{**self.model_dump(), "edits": {**self.edits, **edits}})


def fit_profile(
    state: IndexState,
    name: str,
    like: Sequence[str] = (),
    unlike: Sequence[str] = (),
    description: str | None = None,
) -> Profile:
    """Return a profile fitted on the ids of liked and disliked records (clicks and skips)."""
    check_name(name)
    check_sides(f"profile {name!r}", like, unlike)
    description = (description or "").strip() or None
    if not like and not description:
        raise InvalidInputError(f"profile {name!r}", "no liked record", "Give like, or a description.")
    steer = Steer(description or "", like=tuple(like), unlike=tuple(unlike))
    direction = built_direction(state, steer)
    return _made(
        name=name,
        description=description,
        like=tuple(like),
        unlike=tuple(unlike),
        typical=direction.typical,
        unit=base64.b64encode(direction.unit.astype("<f4").tobytes()).decode(),
    )


def _made(**fields: Any) -> Profile:
    try:
        return Profile.model_validate(fields)
    except ValidationError as error:
        do = f"Use weights from -{MAX_WEIGHT:g} to {MAX_WEIGHT:g}, and at most {MAX_EXAMPLES:,} records."
        raise InvalidInputError(f"profile {fields['name']!r}", first_fault(error), do) from error


def check_name(name: str) -> None:
    """Raise InvalidInputError for a name that cannot be written in a steer text."""
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        do = "Use up to 64 letters, digits, spaces, dots and dashes."
        raise InvalidInputError(f"profile name {name!r}", "not a name", do)


def saved_profile(state: IndexState, name: str) -> Profile:
    """Return a profile that is saved with an index; NotFoundError lists the saved profiles."""
    profiles = state.manifest.profiles
    _check_known(profiles, name)
    return Profile.read(profiles[name], name, state.space.sae.dimension)


def profile_direction(state: IndexState, name: str) -> Direction:
    """Return the direction of a saved profile."""
    return saved_profile(state, name).direction(state.space)


def with_profile(
    profiles: Mapping[str, dict[str, Any]], profile: Profile, space: FeatureSpace
) -> dict[str, dict[str, Any]]:
    """Return saved profiles with another one, which replaces that of its name."""
    check_name(profile.name)
    Profile.read(profile.model_dump(mode="json"), profile.name, space.sae.dimension)
    profile.direction(space)  # raises for edits of unknown features or that remove all
    others = {name: kept for name, kept in profiles.items() if name != profile.name}
    if len(others) >= MAX_PROFILES:
        do = "Delete one first."
        raise InvalidInputError(f"save profile {profile.name!r}", f"{len(others)} profiles already", do)
    return {**others, profile.name: profile.model_dump(mode="json")}


def without_profile(profiles: Mapping[str, dict[str, Any]], name: str) -> dict[str, dict[str, Any]]:
    """Return saved profiles without one; NotFoundError if there is none of this name."""
    _check_known(profiles, name)
    return {other: kept for other, kept in profiles.items() if other != name}


def _check_known(profiles: Mapping[str, object], name: str) -> None:
    if name not in profiles:
        known = ", ".join(sorted(profiles)) or "none"
        do = "Fit one: index.profiles.fit(…), or `saeindex profiles fit`."
        raise NotFoundError(f"profile {name!r}", f"the index has {known}", do)
