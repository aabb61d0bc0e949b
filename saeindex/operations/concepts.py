"""Concepts of an index: found by a phrase, described, counted, renamed and hidden; and steering profiles.

A profile is a direction that is fitted on a person's judgements of records, and saved by name.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any, TypeAlias

from pydantic import BeforeValidator, Field

from saeindex.operations.operation import Change, Operation
from saeindex.operations.search import searcher_of
from saeindex.schema import Flag, Number, Texts, Whole, dumped, request
from saeindex.steering.saved_profile import Profile, fit_profile, saved_profile, with_profile, without_profile

if TYPE_CHECKING:
    from saeindex.collection.current import CurrentState
    from saeindex.collection.state import IndexState
    from saeindex.concepts.feature_card import FeatureCard
    from saeindex.concepts.resolver import Concept, FeatureMatch
    from saeindex.indexing.names import NameEdit, OwnNamesFile

FEATURE = "a feature: 1041, '#1041' or its name"
EXAMPLES = 5


@request
class Find(Operation["list[FeatureMatch]"], results="saeindex.concepts.resolver"):
    """Return the features that match a phrase, best first."""

    name = "concepts/find"

    phrase: str = Field(description="a word or a phrase")
    limit: Whole = Field(default=10, ge=1, le=1_000, description="the number of features")
    unnamed: Flag = Field(
        default=False, description="also features without a name, by the words of their texts"
    )

    def run(self, state: IndexState) -> list[FeatureMatch]:
        """Find."""
        return searcher_of(state).planner.resolver.match(self.phrase, self.limit, self.unnamed)


@request
class ResolveConcept(Operation["Concept"], results="saeindex.concepts.resolver"):
    """Return the concept that ``#id`` or a phrase names; UnknownConceptError lists the nearest labels."""

    name = "concepts/resolve"

    target: str = Field(description="a phrase, '#id' or 'family:NAME'")

    def run(self, state: IndexState) -> Concept:
        """Resolve."""
        return searcher_of(state).planner.resolver.resolve(self.target)


@request
class Card(Operation["FeatureCard"], results="saeindex.concepts.feature_card"):
    """Return the label, frequency and relations of a feature, with its strongest records."""

    name = "concepts/card"

    feature: int | str = Field(description=FEATURE)
    examples: Whole = Field(
        default=EXAMPLES, ge=0, le=100, description="records, and similar features, to show"
    )

    def run(self, state: IndexState) -> FeatureCard:
        """Describe."""
        from saeindex.concepts.feature_card import feature_card

        return feature_card(self.feature, state, self.examples)


@request
class Rename(Change[None]):
    """Give a feature a name of your own in this index; an empty one takes it back."""

    name = "concepts/rename"

    feature: int | str = Field(description=FEATURE)
    label: str = Field(max_length=200, description="the name; an empty one takes yours back")

    def change(self, current: CurrentState) -> None:
        """Rename."""
        current.edit_names({current.state.space.number(self.feature): self.label}, {})


@request
class Define(Change["FeatureCard"], results="saeindex.concepts.feature_card"):
    """Make a concept of your own of this index, by its name and by example texts, and return its card.

    It filters, counts, steers and differs as the others do, in the records that there are and in those to
    come. Defined again, it has the new definition. InvalidInputError for the name of another concept, and in
    an index that does not store the vectors of sentences.
    """

    name = "concepts/define"

    concept: str = Field(max_length=200, description="its name: a word or a phrase")
    examples: Texts = Field(default=(), max_length=100, description="texts that speak of it")
    description: str = Field(default="", max_length=2_000, description="what it is, in words")
    unlike: Texts = Field(
        default=(), max_length=100, description="texts that do not, though one may take them for it"
    )

    def change(self, current: CurrentState) -> FeatureCard:
        """Define."""
        from saeindex.concepts.feature_card import feature_card
        from saeindex.indexing.terms import Definition

        feature = current.define(Definition(self.concept, self.description, self.examples, self.unlike))
        with current.reading() as state:
            return feature_card(feature, state, EXAMPLES)


@request
class Hide(Change[None]):
    """Show a feature last, as one without a trusted name; ``hidden=False`` undoes it."""

    name = "concepts/hide"

    feature: int | str = Field(description=FEATURE)
    hidden: Flag = Field(default=True, description="false shows it again")

    def change(self, current: CurrentState) -> None:
        """Hide."""
        current.edit_names({}, {current.state.space.number(self.feature): self.hidden})


@request
class History(Operation["list[NameEdit]"], results="saeindex.indexing.names"):
    """Return what was renamed and hidden, the oldest first."""

    name = "concepts/history"

    def run(self, state: IndexState) -> list[NameEdit]:
        """List."""
        return list(state.manifest.edits.history)


@request
class Names(Operation["OwnNamesFile"], results="saeindex.indexing.names"):
    """Return your own names and the hidden features, as :class:`TakeNames` takes them over."""

    name = "concepts/names"

    def run(self, state: IndexState) -> OwnNamesFile:
        """Collect."""
        from saeindex.indexing.names import OwnNamesFile

        return OwnNamesFile.of(state.manifest.edits, state.space)


if TYPE_CHECKING:
    OwnNames: TypeAlias = Mapping[str, Any] | OwnNamesFile
else:
    OwnNames = Annotated[Mapping[str, Any], BeforeValidator(dumped)]


@request
class TakeNames(Change[int]):
    """Take over names and hidden features of another index; return the number of features.

    MismatchError if they are of an index with another feature space.
    """

    name = "concepts/take_names"

    names: OwnNames = Field(description="what `concepts/names` of the other index returned")

    def change(self, current: CurrentState) -> int:
        """Take over."""
        from saeindex.indexing.names import OwnNamesFile

        kept = OwnNamesFile.read(dumped(self.names), current.state.space, "own names")
        current.edit_names(kept.names, dict.fromkeys(kept.hidden, True))
        return len(kept.names.keys() | set(kept.hidden))


@request
class Learn(Change[None]):
    """Learn the terms of the collection now, as an ``upsert`` does when the records have changed.

    They are the words and phrases that it uses often and that name no concept yet; those that it has stay.
    """

    name = "concepts/learn"

    def change(self, current: CurrentState) -> None:
        """Learn."""
        current.learn_terms()


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
        current.change(lambda kept: {"profiles": without_profile(kept.profiles, self.profile)})


def _save(current: CurrentState, profile: Profile) -> None:
    space = current.state.space
    current.change(lambda kept: {"profiles": with_profile(kept.profiles, profile, space)})
