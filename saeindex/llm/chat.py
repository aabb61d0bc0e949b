"""Chat services with the OpenAI protocol, at any base URL, with a cache and a budget."""

from __future__ import annotations

import hashlib
import json
import re
from dataclasses import asdict, dataclass
from json import JSONDecodeError
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, cast
from urllib.parse import urlsplit

from saeindex.encoders.openai import estimate_tokens, new_client
from saeindex.errors import LabelerError
from saeindex.files import replacing
from saeindex.llm.prompts import Messages

if TYPE_CHECKING:
    from openai import OpenAI

    from saeindex.llm.budget import Ledger

# Tokens of roles and separators of a chat template, per message, with a bias to too many.
MESSAGE_TOKENS = 16
# Statuses that refuse a single request and not all requests: too long, filtered, not understood.
REFUSALS = (400, 413, 422)
LONGEST_QUOTE = 16


@dataclass(frozen=True, slots=True)
class Reply:
    """A reply's text and its cost in tokens."""

    text: str
    input_tokens: int
    output_tokens: int

    __pydantic_config__: ClassVar = {"extra": "forbid"}  # for replies read from a file


class ReplyCache:
    """One JSON file per reply, named by the hash of the model, the service's host and the messages.

    The files contain replies and counts, never the request. A file that cannot be read counts as absent.
    """

    def __init__(self, folder: Path | None) -> None:
        """``folder`` need not exist; with None nothing is cached."""
        self._folder = folder

    def get(self, model: str, host: str, messages: Messages) -> Reply | None:
        """Return what was answered before."""
        from pydantic import TypeAdapter, ValidationError

        path = self._path(model, host, messages)
        if path is None or not path.is_file():
            return None
        try:
            return TypeAdapter(Reply).validate_json(path.read_bytes(), strict=True)
        except ValidationError:
            return None

    def put(self, model: str, host: str, messages: Messages, reply: Reply) -> None:
        """Store a reply atomically, also if several processes write it."""
        path = self._path(model, host, messages)
        if path is None:
            return
        with replacing(path) as draft:
            draft.write_text(json.dumps(asdict(reply)))

    def _path(self, model: str, host: str, messages: Messages) -> Path | None:
        if self._folder is None:
            return None
        asked = json.dumps([model, host, [dict(message) for message in messages]], sort_keys=True)
        key = hashlib.sha256(asked.encode(errors="surrogatepass")).hexdigest()
        return self._folder / key[:2] / f"{key}.json"


class RefusedError(Exception):
    """The service refuses a single request; never leaves this package."""


class Chat:
    """Sends requests to a service. The ``openai`` client retries temporary failures.

    If a service refuses an option by name (some accept no temperature, no JSON mode, or another name for the
    longest reply), later requests do not have that option.
    """

    def __init__(self, client: OpenAI, cache: ReplyCache, ledger: Ledger) -> None:
        """``client`` is made by :func:`chat_client`, ``cache`` stores replies, ``ledger`` limits the cost."""
        self._client, self._cache, self.ledger = client, cache, ledger
        self._refused: set[str] = set()

    @property
    def host(self) -> str:
        """The service's host name."""
        return urlsplit(str(self._client.base_url)).hostname or ""

    def cached(self, model: str, messages: Messages) -> Reply | None:
        """Return what was answered before."""
        return self._cache.get(model, self.host, messages)

    def keep(self, model: str, messages: Messages, reply: Reply) -> None:
        """Store a reply in the cache."""
        self._cache.put(model, self.host, messages, reply)

    def ask(self, model: str, messages: Messages, reply_tokens: int, is_kept: bool = True) -> Reply:
        """Return the reply, of at most ``reply_tokens`` tokens; send a request only if it is not cached.

        A new reply is cached if ``is_kept``. Raises BudgetReachedError, RefusedError if only this request is
        refused, and LabelerError if the service fails permanently.
        """
        known = self.cached(model, messages)
        if known is not None:
            return known
        reserved = self.ledger.reserve(count_tokens(messages), reply_tokens)
        used = None
        try:
            reply = self._reply(self._request(model, messages, reply_tokens), messages)
            used = reply.input_tokens, reply.output_tokens
        finally:
            self.ledger.settle(reserved, used)
        if is_kept:
            self.keep(model, messages, reply)
        return reply

    def _request(self, model: str, messages: Messages, reply_tokens: int) -> Any:
        from openai import APIError

        while True:
            options = self._options(reply_tokens)
            try:
                return self._client.chat.completions.create(
                    model=model, messages=cast(Any, messages), **options
                )
            except (APIError, JSONDecodeError, UnicodeDecodeError) as error:
                if not self._learns(error, options):
                    # Not chained: services quote keys and texts in their messages, which tracebacks print.
                    raise self._failure(error, model, messages) from None

    def _options(self, reply_tokens: int) -> dict[str, Any]:
        limit = "max_completion_tokens" if "max_tokens" in self._refused else "max_tokens"
        options = {"temperature": 0, "response_format": {"type": "json_object"}, limit: reply_tokens}
        return {name: value for name, value in options.items() if name not in self._refused}

    def _learns(self, error: Any, options: dict[str, Any]) -> bool:
        """Return whether the service refuses one of the options by name; it is left out from then on."""
        if getattr(error, "status_code", None) not in REFUSALS:
            return False
        message = f"{getattr(error, 'param', None) or error.message}"
        named = {name for name in options if re.search(rf"\b{name}\b", message)}
        named -= {"max_completion_tokens"}  # never left out: without a limit the cost of a reply is unbounded
        self._refused |= named
        return bool(named)

    def _reply(self, response: Any, messages: Messages) -> Reply:
        choices = getattr(response, "choices", None)
        message = getattr(choices[0], "message", None) if isinstance(choices, list) and choices else None
        text = getattr(message, "content", None)
        text = text if isinstance(text, str) else ""
        usage = getattr(response, "usage", None)
        counts = getattr(usage, "prompt_tokens", None), getattr(usage, "completion_tokens", None)
        estimates = count_tokens(messages), estimate_tokens(text)
        used = [
            count if isinstance(count, int) and count >= 0 else estimate
            for count, estimate in zip(counts, estimates, strict=True)
        ]
        return Reply(text, *used)

    def _failure(self, error: Any, model: str, messages: Messages) -> Exception:
        status = getattr(error, "status_code", None)
        asked = f"labels by {model!r} at {self.host}"
        if status in (401, 403):
            return LabelerError(
                asked,
                f"status {status}: the service refuses the key",
                "Check OPENAI_API_KEY and its access to the model.",
            )
        if status is None:
            found = f"no usable answer ({type(error).__name__})"
            return LabelerError(asked, found, "Check the URL, the network and the timeout, and run it again.")
        found = f"status {status}: {self._message(error, messages)}"
        if status in REFUSALS:
            return RefusedError(found)
        do = (
            "Run it again later"
            if status == 429 or status >= 500
            else "Check the model's name and its limits"
        )
        return LabelerError(asked, found, f"{do}; cached replies are not paid for twice.")

    def _message(self, error: Any, messages: Messages) -> str:
        """Return the service's message without the key, or a note if the message quotes a text."""
        message = re.sub(r"^Error code: \d+ - |\s+", " ", str(error.message)).strip()[:300]
        key, sent = str(self._client.api_key), messages[-1]["content"]
        parts = (message[i : i + LONGEST_QUOTE] for i in range(max(1, len(message) - LONGEST_QUOTE + 1)))
        if any(len(part) == LONGEST_QUOTE and part in sent for part in parts):
            return "a message that quotes the texts (withheld)"
        return message.replace(key, "[key]") if key else message


def count_tokens(messages: Messages) -> int:
    """Return an estimate of the tokens of messages, with a bias to too many."""
    return sum(MESSAGE_TOKENS + estimate_tokens(message["content"]) for message in messages)


def chat_client(base_url: str | None, api_key: str | None, max_retries: int, timeout: float) -> OpenAI:
    """Return a client of a chat service; see :func:`saeindex.encoders.openai.new_client`."""
    return new_client(base_url, api_key, max_retries, timeout, "a language model", LabelerError)
