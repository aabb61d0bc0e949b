"""Strict parsing of a language model's replies: one JSON object of the requested form, else BadReplyError."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Annotated, TypeVar

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, StringConstraints, ValidationError

from saeindex.errors import LabelerError
from saeindex.llm.budget import BudgetReachedError
from saeindex.llm.chat import RefusedError
from saeindex.llm.prompts import correction

if TYPE_CHECKING:
    from saeindex.llm.chat import Chat
    from saeindex.llm.prompts import Messages

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
Read = TypeVar("Read")


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
    found = _read(reply, InterpreterReply)
    if not found.label.isprintable() or not any(c.isalnum() for c in found.label):
        raise BadReplyError("the label is not a line of words")
    return found


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
        # Report only the kind and place of the first problem: the reply itself may quote a text.
        first = error.errors(include_input=False, include_url=False, include_context=False)[0]
        known = [str(part) for part in first["loc"] if part in form.model_fields or isinstance(part, int)]
        place = f" at {'.'.join(known)}" if known else ""
        raise BadReplyError(first["type"].replace("_", " ") + place) from None


def answered(
    chat: Chat, model: str, messages: Messages, reply_tokens: int, read: Callable[[str], Read], asked: str
) -> Read:
    """Return the reply parsed by ``read``; it is cached only if it can be parsed.

    Raises LabelerError (with ``asked``) if the service refuses, if two replies cannot be parsed, or if the
    reply could exceed the remaining budget.
    """
    try:
        try:
            return _once(chat, model, messages, reply_tokens, read)
        except BadReplyError as error:
            return _once(chat, model, correction(messages, str(error)), reply_tokens, read)
    except BadReplyError as again:
        raise LabelerError(asked, f"a reply that cannot be read: {again}", "Use a larger model.") from None
    except RefusedError as error:
        raise LabelerError(asked, str(error), "Shorten the texts, or use another model.") from None
    except BudgetReachedError:
        found = "the cap on tokens would be exceeded"
        raise LabelerError(asked, found, "Raise max_tokens; earlier replies are cached.") from None


def _once(chat: Chat, model: str, messages: Messages, reply_tokens: int, read: Callable[[str], Read]) -> Read:
    reply = chat.ask(model, messages, reply_tokens, is_kept=False)
    found = read(reply.text)
    chat.keep(model, messages, reply)
    return found
