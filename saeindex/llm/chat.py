"""Chat services with the OpenAI protocol, at any base URL, with a cache of replies and a cap on tokens."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from json import JSONDecodeError
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING, Any, TypedDict, TypeVar, cast
from urllib.parse import urlsplit

from saeindex.encoders.openai import estimate_tokens, failure, new_client
from saeindex.errors import InvalidInputError, LabelerError
from saeindex.files import replacing
from saeindex.llm.messages import BadReplyError, Messages, correction

if TYPE_CHECKING:
    from openai import OpenAI

Read = TypeVar("Read")
# Tokens of roles and separators of a chat template, per message, with a bias to too many.
MESSAGE_TOKENS = 16
# Statuses that refuse a single request and not all requests: too long, filtered, not understood.
REFUSALS = (400, 413, 422)
LONGEST_QUOTE = 16


class ServiceKeywords(TypedDict, total=False):
    """Where a service is, and what it may cost.

    Address and key default to ``OPENAI_BASE_URL`` and ``OPENAI_API_KEY``; ``cache`` is a folder of replies;
    ``max_tokens`` limits the tokens of all requests, in and out; ``timeout`` is in seconds.
    """

    base_url: str | None
    api_key: str | None
    cache: str | Path | None
    max_tokens: int | None
    max_retries: int
    timeout: float
    client: OpenAI | None


@dataclass(frozen=True, slots=True)
class CostEstimate:
    """The estimate of a run: requests that are not cached, and their tokens, with a bias to too many.

    ``skipped`` features have too few texts. Requests that are repeated after a bad reply are not included.
    """

    features: int
    skipped: int
    requests: int
    cached: int
    input_tokens: int
    output_tokens: int

    def __str__(self) -> str:
        rest = [f"{self.cached:,} replies are cached"] if self.cached else []
        rest += [f"{self.skipped:,} features have too few texts"] if self.skipped else []
        return (
            f"{self.features:,} features: {self.requests:,} requests, about {self.input_tokens:,} input and "
            f"{self.output_tokens:,} output tokens{''.join(f'; {part}' for part in rest)}"
        )


class BudgetReachedError(Exception):
    """The next request could exceed the cap; never leaves this package."""


class RefusedError(Exception):
    """The service refuses a single request; never leaves this package."""


class Ledger:
    """Counts tokens; refuses the first request that could exceed the cap, and every later request.

    A request reserves its estimated input and its longest reply before it is sent; afterwards the reservation
    is replaced by the service's count. If a service counts more than was estimated, later reservations grow
    by that factor.
    """

    def __init__(self, max_tokens: int | None = None) -> None:
        """The cap is for tokens, in and out together."""
        if max_tokens is not None and max_tokens <= 0:
            raise InvalidInputError(f"max_tokens={max_tokens}", "no request is possible", "Use more than 0.")
        self._max_tokens = max_tokens
        self._requests = self._input = self._output = self._reserved = 0
        self._growth, self._is_closed, self._lock = 1.0, False, Lock()

    @property
    def spent(self) -> dict[str, int]:
        """The settled cost so far; cached replies cost nothing."""
        return {"requests": self._requests, "input_tokens": self._input, "output_tokens": self._output}

    def reserve(self, input_tokens: int, output_tokens: int) -> tuple[int, int]:
        """Reserve tokens and return their numbers; BudgetReachedError if they could exceed the cap."""
        with self._lock:
            wanted = round(input_tokens * self._growth), output_tokens
            taken = self._input + self._output + self._reserved + sum(wanted)
            if self._is_closed or (self._max_tokens is not None and taken > self._max_tokens):
                self._is_closed = True
                raise BudgetReachedError
            self._reserved += sum(wanted)
            return wanted

    def settle(self, reserved: tuple[int, int], used: Sequence[int] | None) -> None:
        """Replace a reservation by the used tokens; None if there was no reply."""
        with self._lock:
            self._reserved -= sum(reserved)
            if used is not None:
                self._requests += 1
                self._input += used[0]
                self._output += used[1]
                self._growth *= max(1.0, used[0] / max(1, reserved[0]))


class Chat:
    """Sends requests to a service. The ``openai`` client retries temporary failures.

    If a service refuses an option by name (some accept no temperature, no JSON mode, or another name for the
    longest reply), later requests do not have that option.
    """

    def __init__(
        self,
        base_url: str | None = None,
        api_key: str | None = None,
        cache: str | Path | None = None,
        max_tokens: int | None = None,
        max_retries: int = 3,
        timeout: float = 60.0,
        client: OpenAI | None = None,
    ) -> None:
        """Open a client of a service; see :class:`ServiceKeywords`. No request is made yet."""
        self._folder, self.ledger = None if cache is None else Path(cache), Ledger(max_tokens)
        purpose = "a language model"
        self._client = client or new_client(base_url, api_key, max_retries, timeout, purpose, LabelerError)
        self._refused: set[str] = set()

    @property
    def host(self) -> str:
        """The service's host name."""
        return urlsplit(str(self._client.base_url)).hostname or ""

    def cached(self, model: str, messages: Messages) -> str | None:
        """Return what was answered before; a file that cannot be read counts as absent."""
        try:
            kept = None if self._folder is None else json.loads(self._file(model, messages).read_bytes())
        except (OSError, ValueError):
            return None
        text = kept.get("text") if isinstance(kept, dict) else None
        return text if isinstance(text, str) else None

    def ask(self, model: str, messages: Messages, reply_tokens: int, read: Callable[[str], Read]) -> Read:
        """Return the reply, of at most ``reply_tokens`` tokens, parsed by ``read``, and cache it.

        It is asked for once more, with the reason, if it cannot be parsed. Raises BadReplyError if neither
        can, BudgetReachedError, RefusedError if only this request is refused, and LabelerError if the service
        fails permanently.
        """
        try:
            return self._once(model, messages, reply_tokens, read)
        except BadReplyError as error:
            again = correction(messages, str(error))
        return self._once(model, again, reply_tokens, read)

    def answer(
        self, model: str, messages: Messages, reply_tokens: int, read: Callable[[str], Read], asked: str
    ) -> Read:
        """Return what :meth:`ask` does; every failure is a LabelerError, with ``asked``."""
        try:
            return self.ask(model, messages, reply_tokens, read)
        except BadReplyError as again:
            do = "Use a larger model."
            raise LabelerError(asked, f"a reply that cannot be read: {again}", do) from None
        except RefusedError as error:
            raise LabelerError(asked, str(error), "Shorten the texts, or use another model.") from None
        except BudgetReachedError:
            found = "the cap on tokens would be exceeded"
            raise LabelerError(asked, found, "Raise max_tokens; earlier replies are cached.") from None

    def _once(self, model: str, messages: Messages, reply_tokens: int, read: Callable[[str], Read]) -> Read:
        if (known := self.cached(model, messages)) is not None:
            return read(known)
        reserved, used = self.ledger.reserve(count_tokens(messages), reply_tokens), None
        try:
            text, *used = self._reply(self._request(model, messages, reply_tokens), messages)
        finally:
            self.ledger.settle(reserved, used)
        found = read(text)
        if self._folder is not None:
            with replacing(self._file(model, messages)) as draft:
                draft.write_text(json.dumps({"text": text}))
        return found

    def _file(self, model: str, messages: Messages) -> Path:
        """Return the file of a reply, by the hash of the request, of which it has nothing."""
        assert self._folder is not None  # noqa: S101
        asked = json.dumps([model, self.host, messages], sort_keys=True)
        key = hashlib.sha256(asked.encode(errors="surrogatepass")).hexdigest()
        return self._folder / key[:2] / f"{key}.json"

    def _request(self, model: str, messages: Messages, reply_tokens: int) -> Any:
        from openai import APIError

        while True:
            limit = "max_completion_tokens" if "max_tokens" in self._refused else "max_tokens"
            wanted = {"temperature": 0, "response_format": {"type": "json_object"}, limit: reply_tokens}
            options: dict[str, Any] = {name: wanted[name] for name in wanted if name not in self._refused}
            try:
                return self._client.chat.completions.create(
                    model=model, messages=cast(Any, messages), **options
                )
            except (APIError, JSONDecodeError, UnicodeDecodeError) as error:
                if not self._learns(error, options):
                    # Not chained: services quote keys and texts in their messages, which tracebacks print.
                    raise self._failure(error, model, messages) from None

    def _learns(self, error: Any, options: dict[str, Any]) -> bool:
        """Return whether the service refuses one of the options by name; it is left out from then on."""
        if getattr(error, "status_code", None) not in REFUSALS:
            return False
        message = f"{getattr(error, 'param', None) or error.message}"
        named = {name for name in options if re.search(rf"\b{name}\b", message)}
        named -= {"max_completion_tokens"}  # never left out: without a limit the cost of a reply is unbounded
        self._refused |= named
        return bool(named)

    def _reply(self, response: Any, messages: Messages) -> tuple[str, int, int]:
        """Return the text of a reply, and its tokens, in and out; estimated if the service does not say."""
        choices = getattr(response, "choices", None)
        message = getattr(choices[0], "message", None) if isinstance(choices, list) and choices else None
        text = getattr(message, "content", None)
        text = text if isinstance(text, str) else ""
        usage = getattr(response, "usage", None)
        used = [getattr(usage, name, None) for name in ("prompt_tokens", "completion_tokens")]
        said, written = (one if isinstance(one, int) and one >= 0 else None for one in used)
        return (
            text,
            count_tokens(messages) if said is None else said,
            estimate_tokens(text) if written is None else written,
        )

    def _failure(self, error: Any, model: str, messages: Messages) -> Exception:
        said, do = failure(error, str(self._client.api_key))
        message, sent = said.partition(": ")[2], messages[-1]["content"]
        status = getattr(error, "status_code", None)
        parts = (message[i : i + LONGEST_QUOTE] for i in range(len(message) - LONGEST_QUOTE + 1))
        quotes = f"status {status}: a message that quotes the texts (withheld)"
        found = quotes if any(part in sent for part in parts) else said
        if status in REFUSALS:
            return RefusedError(found)
        asked = f"a reply of {model!r} at {self.host}"
        return LabelerError(asked, found, f"{do} Cached replies are not paid for twice.")


def count_tokens(messages: Messages) -> int:
    """Return an estimate of the tokens of messages, with a bias to too many."""
    return sum(MESSAGE_TOKENS + estimate_tokens(message["content"]) for message in messages)
