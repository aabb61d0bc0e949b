"""Saved profiles of an index: the half of :class:`saeindex.index.FeatureIndex` that keeps them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from saeindex.errors import InvalidInputError, NotFoundError
from saeindex.steering.profile import MAX_PROFILES, Profile, check_name, fit_profile

if TYPE_CHECKING:
    from saeindex.features import FeatureSpace
    from saeindex.indexing.manifest import Manifest
    from saeindex.protocols import VectorStore
    from saeindex.search.planner import Planner
    from saeindex.steering.direction import Direction


class Profiling:
    """Profiles in the index's manifest, by name; ``steer="+profile:NAME:0.5"`` applies one."""

    store: VectorStore
    space: FeatureSpace
    manifest: Manifest
    planner: Planner
    _kept_manifest: Callable[[], Manifest]

    def fit_profile(
        self,
        name: str,
        like: Sequence[str] = (),
        unlike: Sequence[str] = (),
        description: str | None = None,
    ) -> Profile:
        """Fit a profile on records that were liked and not liked (by id), and keep it with the index."""
        profile = fit_profile(self.planner.collection, name, like, unlike, description)
        self.save_profile(profile)
        return profile

    @property
    def profiles(self) -> tuple[str, ...]:
        """The names of the saved profiles."""
        return tuple(sorted(self.manifest.profiles))

    def steering_profile(self, name: str) -> Profile:
        """Return a saved profile; NotFoundError lists those that there are."""
        kept = self.manifest.profiles.get(name)
        if kept is None:
            raise self._unknown(name)
        return Profile.read(kept, name, self.space.sae.dimension)

    def save_profile(self, profile: Profile) -> None:
        """Keep a profile with the index, in place of one of the same name."""
        check_name(profile.name)
        Profile.read(profile.model_dump(mode="json"), profile.name, self.space.sae.dimension)
        profile.direction(self.space)  # edits of features that there are, and that leave something
        others = {name: kept for name, kept in self._kept_manifest().profiles.items() if name != profile.name}
        if len(others) >= MAX_PROFILES:
            raise InvalidInputError(
                f"save profile {profile.name!r}", f"{len(others)} profiles already", "Delete one first."
            )
        self._keep({**others, profile.name: profile.model_dump(mode="json")})

    def delete_profile(self, name: str) -> None:
        """Forget a saved profile; NotFoundError where there is none of that name."""
        kept = self._kept_manifest().profiles
        if name not in kept:
            raise self._unknown(name)
        self._keep({n: each for n, each in kept.items() if n != name})

    def _unknown(self, name: str) -> NotFoundError:
        known = ", ".join(self.profiles) or "none"
        return NotFoundError(f"profile {name!r}", f"the index has {known}", "Fit one: index.fit_profile(…).")

    def _keep(self, profiles: dict[str, dict[str, object]]) -> None:
        self.manifest = self._kept_manifest().model_copy(update={"profiles": profiles})
        self.store.write_manifest(self.manifest.model_dump(mode="json"))

    def _saved_direction(self, name: str) -> Direction:
        return self.steering_profile(name).direction(self.space)
