"""Queries of many callers, encoded together."""

from __future__ import annotations

import os
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from contextlib import AbstractContextManager, contextmanager, nullcontext
from contextvars import ContextVar
from typing import TYPE_CHECKING

import numpy as np

from saeindex.errors import StorageError
from saeindex.features.reader_space import tokens_of
from saeindex.protocols import EncoderIdentity, RowEncoder, TextEncoder

if TYPE_CHECKING:
    from saeindex.protocols import TokensSeen
    from saeindex.types import FloatArray

SECONDS_TO_END = 30
# Threads of torch for small batches: as many as there are cores take 25 times as long beside other work.
ROW_THREADS = max(1, (os.cpu_count() or 1) // 4)
# The most texts of a batch, and those of one caller that wait at a time.
MAX_BATCH, MAX_ASKED = 64, 32
# Is set when nobody waits any more for what a thread computes: it encodes no further queries. What is derived
# of records is of use to the next ones that ask.
ABANDONED: ContextVar[threading.Event | None] = ContextVar("saeindex_abandoned", default=None)


class SharedEncoder:
    """A :class:`~saeindex.protocols.TextEncoder` for threads: what they ask meanwhile is encoded together.

    What waits is encoded together, the longest first; an idle encoder starts at once. Where the encoder knows
    rows, a vector does not depend on those that it is encoded with.
    """

    def __init__(
        self, encoder: TextEncoder, on_batch: Callable[[int, float], None] = lambda size, seconds: None
    ) -> None:
        """``on_batch`` is told the size and seconds of each batch."""
        self._encoder, self._on_batch = encoder, on_batch
        self._in_rows = encoder if isinstance(encoder, RowEncoder) else None
        self._local = threading.local()
        self._changed = threading.Condition()
        self._waiting: deque[tuple[str, Future[FloatArray]]] = deque()
        self._is_closed = False
        self._thread = threading.Thread(target=self._run, name="saeindex-encoder", daemon=True)
        self._thread.start()

    @property
    def identity(self) -> EncoderIdentity:
        """That of the encoder."""
        return self._encoder.identity

    @property
    def waiting(self) -> int:
        """The number of queries that wait to be encoded."""
        return len(self._waiting)

    @contextmanager
    def indexing(self, before_batch: Callable[[], None]) -> Iterator[None]:
        """Encode documents of this thread in the fastest batches: their last bits then depend on them.

        ``before_batch`` is called before each, and may raise an error.
        """
        self._local.before_batch = before_batch
        try:
            yield
        finally:
            del self._local.before_batch

    def encode_document(self, texts: Sequence[str]) -> FloatArray:
        """Return unit vectors (n, d) float32 for texts that are indexed, or compared with such."""
        if before_batch := getattr(self._local, "before_batch", None):
            before_batch()
            self._use_threads(os.cpu_count() or 1)
            return self._encoder.encode_document(texts)
        own = self._in_rows
        encode = self._encoder.encode_document if own is None else own.encode_document_in_rows
        return self._in_parts(encode, texts)

    def read_document(self, texts: Sequence[str], seen: TokensSeen) -> FloatArray:
        """Return the vectors of texts that are indexed, whose tokens ``seen`` gets."""
        if before_batch := getattr(self._local, "before_batch", None):
            before_batch()
        self._use_threads(os.cpu_count() or 1)
        return tokens_of(self._encoder).read_document(texts, seen)

    def read_query(self, text: str) -> FloatArray:
        """Return the vectors of the tokens of a query."""
        return tokens_of(self._encoder).read_query(text)

    def encode_phrases(self, texts: Sequence[str]) -> FloatArray:
        """Return the vectors of many short texts, such as words.

        They are those of queries, bit for bit, so that what is learned of the same records is the same.
        """
        return self._in_parts(self._encode_queries, texts)

    def _encode_queries(self, texts: Sequence[str]) -> FloatArray:
        own = self._in_rows
        return self._encoder.encode_query(texts) if own is None else own.encode_query_in_rows(texts)

    def _in_parts(self, encode: Callable[[Sequence[str]], FloatArray], texts: Sequence[str]) -> FloatArray:
        self._use_threads(ROW_THREADS)
        parts = [encode(texts[at : at + MAX_BATCH]) for at in range(0, len(texts), MAX_BATCH)]
        return np.concatenate(parts) if parts else np.empty((0, self.identity.dimension), np.float32)

    @property
    def max_tokens(self) -> int:
        """The number of tokens of a text that the encoder reads."""
        return self._encoder.max_tokens

    def token_spans(self, text: str) -> Sequence[tuple[int, int]]:
        """Return the character span of each token of ``text``."""
        return self._encoder.token_spans(text)

    def encode_query(self, texts: Sequence[str]) -> FloatArray:
        """Return unit vectors (n, d) float32 for query texts."""
        known: dict[str, FloatArray] = {}
        fresh = list(dict.fromkeys(texts))
        for at in range(0, len(fresh), MAX_ASKED):  # others have their turn between
            abandoned = ABANDONED.get()
            if abandoned is not None and abandoned.is_set():
                found = "nobody waits for them any more"
                raise StorageError("texts to encode", found, "Ask for fewer.")
            asked: list[tuple[str, Future[FloatArray]]]
            asked = [(text, Future()) for text in fresh[at : at + MAX_ASKED]]
            with self._changed:
                if self._is_closed:
                    do = "Ask again, of another or later."
                    raise StorageError("encode a query", "the server ends", do)
                self._waiting.extend(asked)
                self._changed.notify()
            known |= {text: vector.result() for text, vector in asked}
        if not texts:
            return np.empty((0, self.identity.dimension), np.float32)
        return np.stack([known[text] for text in texts])

    def close(self) -> None:
        """Encode what waits, and end."""
        with self._changed:
            self._is_closed = True
            self._changed.notify()
        self._thread.join(SECONDS_TO_END)

    def _run(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._waiting or self._is_closed)
                batch = [self._waiting.popleft() for _ in range(min(len(self._waiting), MAX_BATCH))]
            if not batch:
                return
            started = time.perf_counter()
            try:
                self._use_threads(ROW_THREADS)
                found = self._encode_queries([text for text, _ in batch])
            except BaseException as error:
                for _, asked in batch:
                    asked.set_exception(error)
                continue
            self._on_batch(len(batch), time.perf_counter() - started)
            for (_, asked), vector in zip(batch, found, strict=True):
                asked.set_result(vector)

    def _use_threads(self, count: int) -> None:
        """Let torch use so many threads for what this thread asks; the last bits of a result depend on it."""
        if self._in_rows is not None:
            import torch

            torch.set_num_threads(count)


def for_records(encoder: TextEncoder, before_batch: Callable[[], None]) -> AbstractContextManager[None]:
    """Return a context in which an encoder is fastest for records; see :meth:`SharedEncoder.indexing`."""
    return encoder.indexing(before_batch) if isinstance(encoder, SharedEncoder) else nullcontext()
