"""Replies of a language model, read strictly: one JSON object of the asked form, or a BadReplyError."""

from __future__ import annotations

from typing import Annotated, TypeVar

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError

MAX_REPLY_CHARS = 20_000
MAX_PHRASE_CHARS = 80

Phrase = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=MAX_PHRASE_CHARS)]
Score = Annotated[float, Field(ge=0, le=100, allow_inf_nan=False)]
Form = TypeVar("Form", bound=BaseModel)


class BadReplyError(Exception):
    """Says what is wrong with a reply, in our words alone; never leaves this package."""


class InterpreterReply(BaseModel):
    """The phrase that names a feature."""

    model_config = ConfigDict(extra="forbid", strict=True)
    label: Phrase


class PredictorReply(BaseModel):
    """How likely each text has the concept, 0 to 100, in the order of the texts."""

    model_config = ConfigDict(extra="forbid", strict=True)
    scores: Annotated[list[Score], Field(max_length=1_000)]


def read_phrase(reply: str) -> str:
    """Return the label of an interpreter's reply: one printable line with a word in it."""
    phrase = _read(reply, InterpreterReply).label
    if not phrase.isprintable() or not any(c.isalnum() for c in phrase):
        raise BadReplyError("the label is not a line of words")
    return phrase


def read_scores(reply: str, count: int) -> list[float]:
    """Return the ``count`` likelihoods of a predictor's reply, 0 to 1."""
    scores = _read(reply, PredictorReply).scores
    if len(scores) != count:
        raise BadReplyError(f"{len(scores)} scores for {count} texts")
    return [score / 100 for score in scores]


def _read(reply: str, form: type[Form]) -> Form:
    if len(reply) > MAX_REPLY_CHARS:
        raise BadReplyError(f"{len(reply)} characters")
    try:
        return form.model_validate_json(reply)
    except ValidationError as error:
        # The kind and place of the first problem: what was written there may quote a text.
        first = error.errors(include_input=False, include_url=False, include_context=False)[0]
        known = [str(part) for part in first["loc"] if part in form.model_fields or isinstance(part, int)]
        place = f" at {'.'.join(known)}" if known else ""
        raise BadReplyError(first["type"].replace("_", " ") + place) from None
