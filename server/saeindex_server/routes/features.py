"""Features: found by phrase, described, renamed and hidden; and steering profiles."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

from fastapi import APIRouter, Query, Request, Response

from saeindex.concepts.resolver import FeatureMatch
from saeindex.errors import InvalidInputError, NotFoundError, UnknownConceptError
from saeindex.index import FeatureIndex
from saeindex.types import LevelName
from saeindex_server import replies
from saeindex_server.access import Caller
from saeindex_server.idempotency import changed_once
from saeindex_server.limits import CheckedRoute
from saeindex_server.replies import encoded, problems, reply
from saeindex_server.requests import EditBody, FitBody, LabelBody, NamesBody

router = APIRouter(route_class=CheckedRoute, prefix="/v1/indexes/{name}", responses=problems())
NAMES_FILE = "names.json"
Phrase = Annotated[str, Query(alias="q", min_length=1, max_length=10_000, description="a phrase")]
Limit = Annotated[int, Query(ge=1, le=1_000)]


@router.get("/features", summary="Find features", response_model=replies.MatchesReply, tags=["features"])
async def features(name: str, phrase: Phrase, access: Caller, limit: Limit = 10) -> Response:
    """Return the features that match a phrase, best first."""

    def found(index: FeatureIndex) -> Response:
        def described(matches: Sequence[FeatureMatch]) -> dict[str, Any]:
            kinds = [index.space.label(match.id).kind for match in matches]
            listed = [asdict(match) | {"kind": kind} for match, kind in zip(matches, kinds, strict=True)]
            return {"phrase": phrase, "features": listed}

        return access.answer(index.features(phrase, limit), described)

    return await access.index(name).run(found)


@router.get("/features/{feature}", summary="Describe a feature", response_model=replies.CardReply,
            tags=["features"])  # fmt: skip
async def feature(
    name: str, feature: str, access: Caller, examples: Annotated[int, Query(ge=0, le=100)] = 5
) -> Response:
    """Return the label, frequencies, strongest records and similar features of a feature."""
    found = await access.index(name).run(lambda index: index.feature(_number(index, feature), examples))
    return access.answer(found, lambda card: card.to_json())


@router.get("/features/{feature}/companions", summary="Features that occur with it",
            response_model=replies.CompanionsReply, tags=["features"])  # fmt: skip
async def companions(
    name: str,
    feature: str,
    access: Caller,
    where: str | None = None,
    level: LevelName = "typical",
    field: str = "",
    alpha: Annotated[float, Query(gt=0, lt=1)] = 0.05,
    limit: Limit = 20,
) -> Response:
    """Return the features that co-occur with a feature more often than by chance."""

    def found(index: FeatureIndex) -> list[Any]:
        options: dict[str, Any] = {"where": where, "level": level, "field": field, "alpha": alpha}
        return list(index.companions(_number(index, feature), **options, limit=limit))

    listed = await access.index(name, "analyse").run(found)
    return access.answer(listed, lambda them: {"companions": [asdict(one) for one in them]})


@router.get("/concept", summary="Resolve a phrase", response_model=replies.ConceptReply, tags=["features"])
async def concept(name: str, phrase: Phrase, access: Caller) -> Response:
    """Return the features that a phrase, or ``#id``, resolves to."""
    return access.answer(await access.index(name).run(lambda index: index.concept(phrase)), asdict)


@router.patch("/features/{feature}", summary="Rename or hide a feature", response_model=replies.LabelReply,
              responses=problems(409), tags=["features"])  # fmt: skip
async def relabel(name: str, feature: str, body: LabelBody, access: Caller, request: Request) -> Response:
    """Give a feature a name of your own in this index, or hide it; the history is kept."""
    if body.name is None and body.hidden is None:
        raise InvalidInputError("a label", "neither name nor hidden", "Give one of them.")

    def change(index: FeatureIndex) -> dict[str, Any]:
        number = _number(index, feature)
        if body.name is not None:
            index.rename(number, body.name)
        if body.hidden is not None:
            index.hide(number, body.hidden)
        label = index.space.label(number)
        return {"feature": number, "label": label.name, "kind": label.kind, "is_weak": label.is_weak}

    return await changed_once(access.index(name, "write"), request, "rename a feature", change)


@router.get("/names", summary="Your own names", response_model=replies.NamesReply, tags=["features"])
async def names(name: str, access: Caller) -> Response:
    """Return your own names and hidden features of this index, and their history."""

    def found(index: FeatureIndex) -> dict[str, Any]:
        from saeindex.indexing.names import NamesFile

        kept = NamesFile.of(index.manifest.edits, index.space)
        history = [one.model_dump(mode="json") for one in index.name_history]
        return {"names": kept.to_json(), "history": history}

    return reply(await access.index(name).run(found))


@router.put("/names", summary="Take over names", response_model=replies.NamesTakenReply,
            responses=problems(409), tags=["features"])  # fmt: skip
async def import_names(name: str, body: NamesBody, access: Caller, request: Request) -> Response:
    """Take over names and hidden features, such as those of another index of the same space."""

    def change(index: FeatureIndex) -> dict[str, Any]:
        with tempfile.TemporaryDirectory() as folder:
            file = Path(folder) / NAMES_FILE
            file.write_bytes(encoded(body.names))
            return {"features": index.import_names(file)}

    return await changed_once(access.index(name, "write"), request, "import names", change)


# Steering profiles ------------------------------------------------------------------------------------


@router.get("/profiles", summary="Steering profiles", response_model=replies.ProfilesReply, tags=["profiles"])
async def profiles(name: str, access: Caller) -> Response:
    """Return the names of the saved steering profiles."""
    return reply({"profiles": list(await access.index(name).run(lambda index: index.profiles))})


@router.post("/profiles", summary="Fit a profile", response_model=replies.ProfileReply,
             responses=problems(409), tags=["profiles"])  # fmt: skip
async def fit_profile(name: str, body: FitBody, access: Caller, request: Request) -> Response:
    """Fit a steering profile on liked and disliked records, and save it with the index."""

    def change(index: FeatureIndex) -> dict[str, Any]:
        index.fit_profile(body.name, body.like, body.unlike, body.description)
        return _profile(index, body.name)

    return await changed_once(access.index(name, "write"), request, "fit a profile", change)


@router.get("/profiles/{profile}", summary="Show a profile", response_model=replies.ProfileReply,
            tags=["profiles"])  # fmt: skip
async def steering_profile(name: str, profile: str, access: Caller) -> Response:
    """Return a saved profile, with the concepts of its direction."""

    def found(index: FeatureIndex) -> Response:
        return access.answer(index.steering_profile(profile), lambda one: _profile(index, one.name))

    return await access.index(name).run(found)


@router.patch("/profiles/{profile}", summary="Edit a profile", response_model=replies.ProfileReply,
              responses=problems(409), tags=["profiles"])  # fmt: skip
async def edit_profile(name: str, profile: str, body: EditBody, access: Caller, request: Request) -> Response:
    """Set weights of concepts in a profile; 0 removes a concept."""

    def change(index: FeatureIndex) -> dict[str, Any]:
        index.save_profile(index.steering_profile(profile).edited(body.edits))
        return _profile(index, profile)

    return await changed_once(access.index(name, "write"), request, "edit a profile", change)


@router.delete("/profiles/{profile}", summary="Delete a profile", response_model=replies.ProfilesReply,
               responses=problems(409), tags=["profiles"])  # fmt: skip
async def delete_profile(name: str, profile: str, access: Caller, request: Request) -> Response:
    """Delete a saved profile; the answer lists those that are left."""

    def change(index: FeatureIndex) -> dict[str, Any]:
        index.delete_profile(profile)
        return {"profiles": list(index.profiles)}

    return await changed_once(access.index(name, "write"), request, "delete a profile", change)


def _profile(index: FeatureIndex, name: str) -> dict[str, Any]:
    found = index.steering_profile(name)
    kept = found.model_dump(mode="json", exclude={"unit", "typical"})
    return {**kept, "direction": found.direction(index.space).to_json()}


def _number(index: FeatureIndex, feature: str) -> int:
    """Return the number of a feature in a path; NotFoundError if there is none."""
    try:
        return index.space.number(feature)
    except (InvalidInputError, UnknownConceptError) as error:
        raise NotFoundError(error.asked, error.found, error.do) from None
