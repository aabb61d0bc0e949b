"""Embedding services with the OpenAI protocol, at any base URL."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from operator import itemgetter
from typing import TYPE_CHECKING, Any, Literal
from urllib.parse import urlsplit

import numpy as np

from saeindex.errors import EncoderError, InvalidInputError, SaeIndexError, installed
from saeindex.protocols import EncoderIdentity
from saeindex.schema import check_texts
from saeindex.types import runs

if TYPE_CHECKING:
    from openai import OpenAI

    from saeindex.types import FloatArray

# Revision of every service: it gives no hash of its weights, so only name and dimension are compared.
REVISION = "service"

_PIECE = re.compile(r"[A-Za-z]{1,4}|[0-9]{1,3}|\s{2,}|\n|[^A-Za-z0-9\s]")


class OpenAIEncoder:
    """A ``TextEncoder`` over ``POST /embeddings``.

    A request has at most ``batch_texts`` texts and ``batch_tokens`` tokens. The ``openai`` client retries
    after timeouts, broken connections and the statuses 408, 409, 429 and 5xx: up to ``max_retries`` times,
    after 0.5 to 8 s (doubling, with jitter), or after the time in ``Retry-After``, up to 2 minutes.

    The tokenizer of a service is not available, so tokens are estimated, with a bias to too many: see
    :meth:`token_spans`.
    """

    def __init__(
        self,
        model: str,
        *,
        base_url: str | None = None,
        api_key: str | None = None,
        dimensions: int | None = None,
        max_length: int = 8191,
        batch_tokens: int = 100_000,
        batch_texts: int = 256,
        query_prompt: str = "",
        document_prompt: str = "",
        max_retries: int = 6,
        timeout: float = 300.0,
        encoding_format: Literal["base64", "float"] = "base64",
        input_types: str = "",
        client: OpenAI | None = None,
    ) -> None:
        """Prepare a client; no request is made yet.

        ``base_url`` and ``api_key`` default to ``OPENAI_BASE_URL`` and ``OPENAI_API_KEY``. ``dimensions``
        requests shorter vectors. Texts above ``max_length`` tokens are truncated. ``input_types`` is what
        the service is told as ``input_type`` of queries and of documents, such as ``"query,passage"``. A
        given ``client`` is used with its own address, key, retries and timeout.
        """
        limits = {"max_length": max_length, "batch_tokens": batch_tokens, "batch_texts": batch_texts}
        for name, value in limits.items():
            if value < 1:
                raise InvalidInputError(f"{name} of an encoder", str(value), "Use 1 or more.")
        self._model, self._dimensions, self._max_length = model, dimensions, max_length
        self._batch_tokens, self._batch_texts = batch_tokens, batch_texts
        self._query_prompt, self._document_prompt = query_prompt, document_prompt
        self._encoding_format = encoding_format
        self._input_types = [one.strip() for one in input_types.split(",")] if input_types else ["", ""]
        if len(self._input_types) != 2:
            do = "Give that of queries and that of documents, such as 'query,passage'."
            raise InvalidInputError("input_types of an encoder", f"{input_types!r:.80}", do)
        self.billed = 0
        """Tokens that the service counted in all requests until now."""
        self._known_dimension = dimensions
        self._client = client or new_client(base_url, api_key, max_retries, timeout)

    def __repr__(self) -> str:
        return f"OpenAIEncoder({self._model!r}, host={self._host!r}, dimensions={self._dimensions})"

    @property
    def identity(self) -> EncoderIdentity:
        """All that determines the vectors; the first use may make a request to find the dimension.

        The base URL is left out: a model gives the same vectors behind a proxy.
        """
        if self._known_dimension is None:
            self.encode_document(["dimension"])
        return EncoderIdentity(
            kind="openai",
            model=self._model,
            revision=REVISION,
            dimension=int(self._known_dimension or 0),
            max_length=self._max_length,
            pooling="service",
            normalized=True,
            query_prompt=self._query_prompt,
            document_prompt=self._document_prompt,
            input_types=",".join(self._input_types) if any(self._input_types) else "",
        )

    def encode_document(self, texts: Sequence[str]) -> FloatArray:
        """Return unit vectors (n, d) float32; raises ``EncoderError`` if the service fails permanently."""
        return self._encode(texts, self._document_prompt, self._input_types[1])

    def encode_query(self, texts: Sequence[str]) -> FloatArray:
        """Return unit vectors (n, d) float32; raises ``EncoderError`` if the service fails permanently."""
        return self._encode(texts, self._query_prompt, self._input_types[0])

    @property
    def max_tokens(self) -> int:
        """The number of estimated tokens of a document that are sent."""
        return self._max_length - len(self.token_spans(self._document_prompt))

    def token_spans(self, text: str) -> list[tuple[int, int]]:
        """Return the spans of estimated tokens.

        A token is up to 4 Latin letters or 3 digits, a punctuation mark, or a run of spaces. Any other
        character counts as one token per UTF-8 byte beyond the first, so its span is repeated.
        """
        return list(_estimated_spans(text))

    @property
    def _host(self) -> str:
        return urlsplit(str(self._client.base_url)).hostname or ""

    def _encode(self, texts: Sequence[str], prompt: str, input_type: str) -> FloatArray:
        check_texts(texts)
        if not texts:
            return np.zeros((0, self.identity.dimension), dtype=np.float32)
        for number, text in enumerate(texts):
            if not text:
                raise InvalidInputError(f"text {number} to embed", "it is empty", "Leave empty texts out.")
        prompted = (self._truncated(prompt + text) for text in texts)  # each with its number of tokens
        batches = runs(prompted, itemgetter(1), self._batch_tokens, self._batch_texts)
        return np.concatenate([self._request([text for text, _ in batch], input_type) for batch in batches])

    def _truncated(self, text: str) -> tuple[str, int]:
        """Return a text truncated to ``max_length`` tokens, and its number of tokens."""
        length = estimate_tokens(text)
        while length > self._max_length and len(text) > 1:
            text = text[: min(len(text) - 1, len(text) * self._max_length // length) or 1]
            length = estimate_tokens(text)
        return text, length

    def _request(self, batch: list[str], input_type: str) -> FloatArray:
        from openai import APIError, omit

        try:
            response = self._client.embeddings.create(
                input=batch,
                model=self._model,
                dimensions=omit if self._dimensions is None else self._dimensions,
                # The client asks for base64 by default, and then reads it.
                encoding_format="float" if self._encoding_format == "float" else omit,
                extra_body={"input_type": input_type} if input_type else None,
            )
        except (APIError, ValueError, AttributeError) as error:  # the last two of an answer that is none
            # Not chained: services quote parts of the key in their messages, and tracebacks would print them.
            raise self._error(len(batch), *failure(error, str(self._client.api_key))) from None
        vectors = self._checked_vectors(response, len(batch))
        self.billed += getattr(getattr(response, "usage", None), "total_tokens", None) or 0
        return vectors

    def _checked_vectors(self, response: Any, size: int) -> FloatArray:
        items = getattr(response, "data", None)
        if not isinstance(items, list) or len(items) != size:
            found = f"{len(items)} vectors" if isinstance(items, list) else "an answer without vectors"
            raise self._error(size, found, "Check the base URL: the service does not follow the protocol.")
        order = [getattr(item, "index", None) for item in items]
        if any(index is not None for index in order):
            if sorted(map(str, order)) != sorted(map(str, range(size))):
                raise self._error(size, "indices that are not 0 to n - 1", "Report this to the service.")
            items = sorted(items, key=lambda item: int(item.index))
        try:
            vectors = np.stack([np.asarray(item.embedding, np.float64) for item in items])
            if vectors.ndim != 2 or not vectors.size:
                raise ValueError("no lists of numbers")
        except (ValueError, TypeError, AttributeError):
            found = "vectors that are not numbers, or have unequal lengths"
            raise self._error(size, found, 'Try encoding_format="float".') from None
        return self._normalized(vectors)

    def _normalized(self, vectors: np.ndarray[Any, np.dtype[np.float64]]) -> FloatArray:
        size, dimension = vectors.shape
        if self._known_dimension not in (None, dimension):
            found = f"vectors of {dimension} dimensions, not {self._known_dimension}"
            raise self._error(size, found, "Set dimensions to the dimension of the model.")
        norms = np.linalg.norm(vectors, axis=1, keepdims=True)
        if not np.isfinite(norms).all() or not (norms > 0).all():
            raise self._error(size, "a vector that is zero or not finite", "Check the service's model.")
        self._known_dimension = dimension
        return np.asarray(vectors / norms, np.float32)

    def _error(self, size: int, found: str, do: str) -> EncoderError:
        return EncoderError(f"embeddings of {size} texts by {self._model!r} at {self._host}", found, do)


def failure(error: Any, key: str) -> tuple[str, str]:
    """Return what a failed request of a service found, without the key, and what to do."""
    status = getattr(error, "status_code", None)
    if status in (401, 403):
        do = "Check OPENAI_API_KEY and its access to the model."
        return f"status {status}: the service refuses the key", do
    if status is None:
        do = "Check the base URL, the network and the timeout."
        return f"no usable answer ({type(error).__name__})", do
    message = re.sub(r"^Error code: \d+ - |\s+", " ", str(error.message)).strip()[:300]
    is_passing = status == 429 or status >= 500
    do = "Try again later." if is_passing else "Check the model's name and its limits."
    return f"status {status}: {message.replace(key, '[key]') if key else message}", do


def estimate_tokens(text: str) -> int:
    """Return an estimate of a text's byte-pair tokens, with a bias to too many."""
    return sum(1 for _ in _estimated_spans(text))


def _estimated_spans(text: str) -> Iterator[tuple[int, int]]:
    for match in _PIECE.finditer(text):
        span = match.span()
        yield span
        if not match[0].isascii():
            for _ in range(len(match[0].encode(errors="replace")) - 2):
                yield span


def new_client(
    base_url: str | None,
    api_key: str | None,
    max_retries: int,
    timeout: float,
    purpose: str = "an embedding service",
    refused: type[SaeIndexError] = EncoderError,
) -> OpenAI:
    """Return a client; address and key default to ``OPENAI_BASE_URL`` and ``OPENAI_API_KEY``.

    Raises MissingDependencyError without openai, and ``refused`` without a key.
    """
    openai = installed("openai", purpose, "openai")
    try:
        made: OpenAI = openai.OpenAI(
            base_url=base_url, api_key=api_key, max_retries=max_retries, timeout=timeout
        )
        return made
    except openai.OpenAIError:
        do = "Set OPENAI_API_KEY or give api_key (any word if the service needs no key)."
        raise refused(f"a client for {purpose}", "no API key", do) from None
