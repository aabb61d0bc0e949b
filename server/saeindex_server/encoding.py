"""Queries of many callers, encoded together and remembered."""

from __future__ import annotations

import os
import queue
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from saeindex.errors import StorageError

if TYPE_CHECKING:
    from saeindex.protocols import EncoderIdentity, TextEncoder
    from saeindex.types import FloatArray

SECONDS_TO_END = 30
# Threads of torch for small batches: as many as there are cores take 25 times as long beside other work.
ROW_THREADS = max(1, (os.cpu_count() or 1) // 4)


@dataclass(slots=True)
class _Asked:
    texts: list[str]
    found: Future[FloatArray] = field(default_factory=Future)


class SharedEncoder:
    """A :class:`~saeindex.protocols.TextEncoder` for threads: what they ask meanwhile is encoded together.

    While a batch is encoded, further queries wait and form the next one; an idle encoder starts at once. A
    vector does not depend on the batch that it was computed in where the encoder has
    ``encode_query_in_rows``.
    """

    def __init__(
        self,
        encoder: TextEncoder,
        max_batch: int = 64,
        kept: int = 20_000,
        on_batch: Callable[[int, float], None] = lambda size, seconds: None,
    ) -> None:
        """``kept`` vectors are remembered; ``on_batch`` is told the size and seconds of each batch."""
        self._encoder, self._max_batch, self._size, self._on_batch = encoder, max_batch, kept, on_batch
        self._together = getattr(encoder, "encode_query_in_rows", encoder.encode_query)
        self._kept: OrderedDict[str, FloatArray] = OrderedDict()
        self._lock, self._local = threading.Lock(), threading.local()
        self._waiting: queue.SimpleQueue[_Asked | None] = queue.SimpleQueue()
        self._is_closed = False
        self._thread = threading.Thread(target=self._run, name="saeindex-encoder", daemon=True)
        self._thread.start()

    @property
    def identity(self) -> EncoderIdentity:
        """That of the encoder."""
        return self._encoder.identity

    @property
    def waiting(self) -> int:
        """The number of requests that wait to be encoded."""
        return self._waiting.qsize()

    @contextmanager
    def indexing(self) -> Iterator[None]:
        """Encode documents of this thread in the fastest batches: their last bits then depend on them."""
        self._local.is_indexing = True
        try:
            yield
        finally:
            self._local.is_indexing = False

    def encode_document(self, texts: Sequence[str]) -> FloatArray:
        """Return unit vectors (n, d) float32 for texts that are indexed, or compared with such."""
        if getattr(self._local, "is_indexing", False):
            self._use_threads(os.cpu_count() or 1)
            return self._encoder.encode_document(texts)
        own = self._encoder
        return self._in_parts(getattr(own, "encode_document_in_rows", own.encode_document), texts)

    def encode_phrases(self, texts: Sequence[str]) -> FloatArray:
        """Return the vectors of many short texts, such as words; they are not remembered.

        They are those of queries, bit for bit, so that what is learned of the same records is the same.
        """
        return self._in_parts(self._together, texts)

    def _in_parts(self, encode: Callable[[Sequence[str]], FloatArray], texts: Sequence[str]) -> FloatArray:
        self._use_threads(ROW_THREADS)
        places = range(0, len(texts), self._max_batch)
        parts = [encode(texts[at : at + self._max_batch]) for at in places]
        return np.concatenate(parts) if parts else np.empty((0, self.identity.dimension), np.float32)

    def token_spans(self, text: str) -> Sequence[tuple[int, int]]:
        """Return the character span of each token of ``text``."""
        return self._encoder.token_spans(text)

    def encode_query(self, texts: Sequence[str]) -> FloatArray:
        """Return unit vectors (n, d) float32 for query texts."""
        known = self._remembered(texts)
        fresh = [text for text in dict.fromkeys(texts) if text not in known]
        for start in range(0, len(fresh), self._max_batch):
            part = fresh[start : start + self._max_batch]
            known |= zip(part, self._encoded(part), strict=True)
        if not texts:
            return np.empty((0, self.identity.dimension), np.float32)
        return np.stack([known[text] for text in texts])

    def close(self) -> None:
        """Encode what waits, and end."""
        self._is_closed = True
        self._waiting.put(None)
        self._thread.join(SECONDS_TO_END)

    def _encoded(self, texts: list[str]) -> FloatArray:
        if self._is_closed:
            raise StorageError("encode a query", "the server ends", "Ask again, of another or later.")
        asked = _Asked(texts)
        self._waiting.put(asked)
        return asked.found.result()

    def _run(self) -> None:
        ends = False
        while not ends:
            batch: list[_Asked] = []
            first = self._waiting.get()
            while first is not None:
                batch.append(first)
                if sum(len(one.texts) for one in batch) >= self._max_batch or self._waiting.empty():
                    break
                first = self._waiting.get()
            ends = first is None
            if batch:
                self._answer(batch)
        while not self._waiting.empty():  # what came with the end
            if (late := self._waiting.get()) is not None:
                self._answer([late])

    def _answer(self, batch: list[_Asked]) -> None:
        texts = list(dict.fromkeys(text for one in batch for text in one.texts))
        started = time.perf_counter()
        try:
            self._use_threads(ROW_THREADS)
            vectors = dict(zip(texts, self._together(texts), strict=True))
        except BaseException as error:
            for one in batch:
                one.found.set_exception(error)
            return
        self._on_batch(len(texts), time.perf_counter() - started)
        self._remember(vectors)
        for one in batch:
            one.found.set_result(np.stack([vectors[text] for text in one.texts]))

    def _use_threads(self, count: int) -> None:
        """Let torch use so many threads for what this thread asks; the last bits of a result depend on it."""
        if hasattr(self._encoder, "encode_query_in_rows"):
            import torch

            torch.set_num_threads(count)

    def _remembered(self, texts: Sequence[str]) -> dict[str, FloatArray]:
        with self._lock:
            found = {text: self._kept[text] for text in texts if text in self._kept}
            for text in found:
                self._kept.move_to_end(text)
        return found

    def _remember(self, vectors: dict[str, FloatArray]) -> None:
        with self._lock:
            self._kept.update(vectors)
            while len(self._kept) > self._size:
                self._kept.popitem(last=False)


def for_records(encoder: TextEncoder) -> AbstractContextManager[None]:
    """Return a context in which an encoder is fastest for records."""
    return encoder.indexing() if isinstance(encoder, SharedEncoder) else nullcontext()
