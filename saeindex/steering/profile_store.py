"""Saved profiles of an index, kept in its manifest."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from saeindex.errors import InvalidInputError, NotFoundError
from saeindex.steering.profile import MAX_PROFILES, Profile, check_name, fit_profile

if TYPE_CHECKING:
    from saeindex.collection.collection import Collection
    from saeindex.indexing.manifest import KeptManifest
    from saeindex.steering.direction import Direction


class ProfileStore:
    """Profiles in the index's manifest, by name; ``steer="+profile:NAME:0.5"`` applies one."""

    def __init__(self, collection: Collection, manifest: KeptManifest) -> None:
        """Take the collection that profiles are fitted on, and where they are kept."""
        self._collection, self._manifest = collection, manifest
        self._space = collection.space

    def fit(
        self,
        name: str,
        like: Sequence[str] = (),
        unlike: Sequence[str] = (),
        description: str | None = None,
    ) -> Profile:
        """Fit a profile on records that were liked and not liked (by id), and keep it with the index."""
        profile = fit_profile(self._collection, name, like, unlike, description)
        self.save(profile)
        return profile

    @property
    def names(self) -> tuple[str, ...]:
        """The names of the saved profiles."""
        return tuple(sorted(self._manifest.current.profiles))

    def get(self, name: str) -> Profile:
        """Return a saved profile; NotFoundError lists those that there are."""
        kept = self._manifest.current.profiles.get(name)
        if kept is None:
            raise self._unknown(name)
        return Profile.read(kept, name, self._space.sae.dimension)

    def save(self, profile: Profile) -> None:
        """Keep a profile with the index, in place of one of the same name."""
        check_name(profile.name)
        Profile.read(profile.model_dump(mode="json"), profile.name, self._space.sae.dimension)
        profile.direction(self._space)  # edits of features that there are, and that leave something
        others = {name: kept for name, kept in self._manifest.read().profiles.items() if name != profile.name}
        if len(others) >= MAX_PROFILES:
            raise InvalidInputError(
                f"save profile {profile.name!r}", f"{len(others)} profiles already", "Delete one first."
            )
        self._keep({**others, profile.name: profile.model_dump(mode="json")})

    def delete(self, name: str) -> None:
        """Forget a saved profile; NotFoundError where there is none of that name."""
        kept = self._manifest.read().profiles
        if name not in kept:
            raise self._unknown(name)
        self._keep({n: each for n, each in kept.items() if n != name})

    def _unknown(self, name: str) -> NotFoundError:
        known = ", ".join(self.names) or "none"
        return NotFoundError(f"profile {name!r}", f"the index has {known}", "Fit one: index.fit_profile(…).")

    def _keep(self, profiles: dict[str, dict[str, object]]) -> None:
        self._manifest.write(self._manifest.read().model_copy(update={"profiles": profiles}))

    def direction(self, name: str) -> Direction:
        """Return the step that a saved profile stands for."""
        return self.get(name).direction(self._space)
