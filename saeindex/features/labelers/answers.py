"""One question to a chat service whose answer must be read: asked again, once, where it cannot be."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, TypeVar

from saeindex.errors import LabelerError
from saeindex.features.labelers.budget import BudgetReachedError
from saeindex.features.labelers.chat import RefusedError
from saeindex.features.labelers.prompts import correction
from saeindex.features.labelers.replies import BadReplyError

if TYPE_CHECKING:
    from saeindex.features.labelers.chat import Chat
    from saeindex.features.labelers.prompts import Messages

Read = TypeVar("Read")


def answered(
    chat: Chat, model: str, messages: Messages, reply_tokens: int, read: Callable[[str], Read], asked: str
) -> Read:
    """Return what ``read`` makes of an answer, which is remembered once it could be read.

    LabelerError (``asked`` for what) where the service refuses, where two answers cannot be read, and where
    the answer could cost more than the cap leaves.
    """
    try:
        try:
            return _once(chat, model, messages, reply_tokens, read)
        except BadReplyError as error:
            return _once(chat, model, correction(messages, str(error)), reply_tokens, read)
    except BadReplyError as again:
        raise LabelerError(asked, f"an answer that cannot be read: {again}", "Use a larger model.") from None
    except RefusedError as error:
        raise LabelerError(asked, str(error), "Shorten the texts, or use another model.") from None
    except BudgetReachedError:
        found = "the cap on tokens would be passed"
        raise LabelerError(asked, found, "Raise max_tokens; what was answered is cached.") from None


def _once(chat: Chat, model: str, messages: Messages, reply_tokens: int, read: Callable[[str], Read]) -> Read:
    reply = chat.ask(model, messages, reply_tokens, is_kept=False)
    found = read(reply.text)
    chat.keep(model, messages, reply)
    return found
