"""Steering profiles: directions fitted on a person's judgements of records, and saved by name."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from pydantic import Field

from saeindex.operations.operation import Change, Operation
from saeindex.schema import Number, Texts, request
from saeindex.steering.saved_profile import Profile

if TYPE_CHECKING:
    from saeindex.collection.current import CurrentState
    from saeindex.collection.state import IndexState

NAME = "the name of the profile"


@request
class FitProfile(Change[Profile]):
    """Fit a profile on the ids of liked and disliked records, save it and return it."""

    name = "profiles/fit"

    profile: str = Field(description=NAME)
    like: Texts = Field(default=(), description="ids of liked records")
    unlike: Texts = Field(default=(), description="ids of disliked records")
    description: str | None = Field(default=None, description="the liked records in words")

    def change(self, current: CurrentState) -> Profile:
        """Fit and save."""
        from saeindex.steering.saved_profile import fit_profile

        with current.reading() as state:
            fitted = fit_profile(state, self.profile, self.like, self.unlike, self.description)
        _save(current, fitted)
        return fitted


@request
class ProfileNames(Operation["list[str]"]):
    """Return the names of the saved profiles."""

    name = "profiles/names"

    def run(self, state: IndexState) -> list[str]:
        """List."""
        return sorted(state.manifest.profiles)


@request
class GetProfile(Operation[Profile]):
    """Return a saved profile; NotFoundError lists the saved profiles."""

    name = "profiles/get"

    profile: str = Field(description=NAME)

    def run(self, state: IndexState) -> Profile:
        """Read."""
        from saeindex.steering.saved_profile import saved_profile

        return saved_profile(state, self.profile)


@request
class SaveProfile(Change[None]):
    """Save a profile with the index; a profile of the same name is replaced."""

    name = "profiles/save"

    profile: Profile = Field(description="the profile")

    def change(self, current: CurrentState) -> None:
        """Save."""
        _save(current, self.profile)


@request
class EditProfile(Change[Profile]):
    """Set weights of concepts in a profile, and return it; 0 removes a concept."""

    name = "profiles/edit"

    profile: str = Field(description=NAME)
    edits: Mapping[int, Number] = Field(description="weights by feature")

    def change(self, current: CurrentState) -> Profile:
        """Edit and save."""
        from saeindex.steering.saved_profile import saved_profile

        edited = saved_profile(current.state, self.profile).edited(self.edits)
        _save(current, edited)
        return edited


@request
class DeleteProfile(Change[None]):
    """Delete a saved profile; NotFoundError if no profile has this name."""

    name = "profiles/delete"

    profile: str = Field(description=NAME)

    def change(self, current: CurrentState) -> None:
        """Delete."""
        from saeindex.steering.saved_profile import without_profile

        current.change(lambda kept: {"profiles": without_profile(kept.profiles, self.profile)})


def _save(current: CurrentState, profile: Profile) -> None:
    from saeindex.steering.saved_profile import with_profile

    space = current.state.space
    current.change(lambda kept: {"profiles": with_profile(kept.profiles, profile, space)})
