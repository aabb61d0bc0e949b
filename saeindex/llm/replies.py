"""Strict parsing of a language model's replies: one JSON object of the requested form, else BadReplyError."""

from __future__ import annotations

from typing import Annotated, TypeVar

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, StringConstraints, ValidationError

MAX_REPLY_CHARS = 20_000
MAX_PHRASE_CHARS, MAX_DESCRIPTION_CHARS = 80, 400


def _one_line(text: str) -> str:
    line = " ".join(text.split())
    if not line.isprintable() or line == "...":
        raise ValueError("not a line of text")
    return line


Phrase = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=MAX_PHRASE_CHARS)]
Description = Annotated[
    str, StringConstraints(strip_whitespace=True, max_length=MAX_DESCRIPTION_CHARS), AfterValidator(_one_line)
]
Score = Annotated[float, Field(ge=0, le=100, allow_inf_nan=False)]
Form = TypeVar("Form", bound=BaseModel)


class BadReplyError(Exception):
    """A reply is invalid, with the reason in our own words; never leaves this package."""


class InterpreterReply(BaseModel):
    """The phrase that names a feature, and a sentence on what it means, which a model may leave out."""

    model_config = ConfigDict(extra="forbid", strict=True)
    label: Phrase
    description: Description = ""


class PredictorReply(BaseModel):
    """The likelihood of the concept in each text, 0 to 100, in the order of the texts."""

    model_config = ConfigDict(extra="forbid", strict=True)
    scores: Annotated[list[Score], Field(max_length=1_000)]


def read_name(reply: str) -> InterpreterReply:
    """Return an interpreter's reply, whose label is one printable line with a word in it."""
    found = read_form(reply, InterpreterReply)
    if not found.label.isprintable() or not any(c.isalnum() for c in found.label):
        raise BadReplyError("the label is not a line of words")
    return found


def read_scores(reply: str, count: int) -> list[float]:
    """Return the ``count`` likelihoods of a predictor's reply, 0 to 1."""
    scores = read_form(reply, PredictorReply).scores
    if len(scores) != count:
        raise BadReplyError(f"{len(scores)} scores for {count} texts")
    return [score / 100 for score in scores]


def read_form(reply: str, form: type[Form]) -> Form:
    """Return a reply of a form; BadReplyError says what is wrong with it, and quotes nothing of it."""
    if len(reply) > MAX_REPLY_CHARS:
        raise BadReplyError(f"{len(reply)} characters")
    try:
        return form.model_validate_json(reply)
    except ValidationError as error:
        # Report only the kind and place of the first problem: the reply itself may quote a text.
        first = error.errors(include_input=False, include_url=False, include_context=False)[0]
        known = [str(part) for part in first["loc"] if part in form.model_fields or isinstance(part, int)]
        place = f" at {'.'.join(known)}" if known else ""
        raise BadReplyError(first["type"].replace("_", " ") + place) from None
