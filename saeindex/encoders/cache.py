"""A cache of embeddings on disk, with the encoder's identity and the text's hash as keys; and an encoder
that uses it.
"""

from __future__ import annotations

import hashlib
import json
import os
import sqlite3
import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import replace
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from saeindex.files import cache_folder

if TYPE_CHECKING:
    from saeindex.protocols import EncoderIdentity, TextEncoder
    from saeindex.types import FloatArray

# Texts encoded between two writes; a killed run loses at most so many.
CHUNK = 1_024
# Size in bytes above which a result is a memory-mapped temporary file.
IN_MEMORY_BYTES = 2**31


class EmbeddingCache:
    """One SQLite file per encoder, from the sha256 of a text to its vector; texts are not stored.

    Several processes may use it at the same time. Delete the folder to empty it. Where nothing can be
    written there, what is cached is forgotten at the end.
    """

    def __init__(self, folder: str | Path | None = None) -> None:
        """Use ``folder``, else :func:`saeindex.files.cache_folder`."""
        self.folder = Path(folder or cache_folder()) / "embeddings"

    def embed(
        self, texts: Sequence[str], encoder: TextEncoder, progress: Callable[[int], object] = lambda _: None
    ) -> FloatArray:
        """Return ``encoder.encode_document(texts)`` (m, d); encode only texts that are not cached.

        Equal texts get the same vector. ``progress(n)`` is called with the number of texts just encoded.
        """
        keys = list(map(_key, texts))
        with closing(self._open(encoder.identity)) as known:
            missing = _missing(keys, known)
            for start in range(0, len(missing), CHUNK):
                chunk = missing[start : start + CHUNK]
                vectors = encoder.encode_document([texts[i] for i in chunk])
                rows = ((keys[i], v.tobytes()) for i, v in zip(chunk, vectors, strict=True))
                with known:
                    known.executemany("INSERT OR IGNORE INTO vectors VALUES (?, ?)", rows)
                progress(len(chunk))
            return self._collect(keys, known, encoder.identity.dimension)

    def missing(self, texts: Sequence[str], encoder: TextEncoder) -> list[str]:
        """Return the different texts that are not cached."""
        with closing(self._open(encoder.identity)) as known:
            return [texts[row] for row in _missing(list(map(_key, texts)), known)]

    def _open(self, identity: EncoderIdentity) -> sqlite3.Connection:
        signature = json.dumps(identity.signature(), sort_keys=True)
        name = hashlib.sha256(signature.encode()).hexdigest()[:24]
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            return _table(self.folder / f"{name}.sqlite")
        except (OSError, sqlite3.OperationalError):
            return _table("")  # a private file that goes with the connection

    def _collect(self, keys: Sequence[bytes], known: sqlite3.Connection, dimension: int) -> FloatArray:
        size = (len(keys), dimension)
        if len(keys) * dimension * 4 <= IN_MEMORY_BYTES:
            found = np.empty(size, np.float32)
        else:
            place = self.folder if os.access(self.folder, os.W_OK) else None
            file = tempfile.TemporaryFile(dir=place)  # noqa: SIM115  (lives as long as the array)
            found = np.memmap(file, np.float32, "w+", shape=size)
        for i, key in enumerate(keys):
            row = known.execute("SELECT vector FROM vectors WHERE key = ?", (key,)).fetchone()
            found[i] = np.frombuffer(row[0], np.float32)
        return found


class CachedEncoder:
    """A ``TextEncoder`` that encodes each text once, and takes it from a cache then."""

    def __init__(self, encoder: TextEncoder, cache: EmbeddingCache | None = None) -> None:
        """Keep the vectors of ``encoder`` in ``cache``, by default that of the user."""
        self._encoder, self._cache = encoder, EmbeddingCache() if cache is None else cache
        self.identity, self.max_tokens = encoder.identity, encoder.max_tokens
        self.seconds = 0.0
        """The time that was spent on vectors until now."""
        self.progress: Callable[[int], object] = lambda _: None
        """Is called with the number of texts just encoded."""

    @property
    def billed(self) -> int:
        """Tokens that a service counted in all requests until now; 0 of a model that runs here."""
        return getattr(self._encoder, "billed", 0)

    def encode_document(self, texts: Sequence[str]) -> FloatArray:
        """Return unit vectors (n, d)."""
        return self._embedded(texts, self._encoder)

    def encode_query(self, texts: Sequence[str]) -> FloatArray:
        """Return unit vectors (n, d)."""
        return self._embedded(texts, self._queries)

    def missing(self, documents: Sequence[str], queries: Sequence[str]) -> list[str]:
        """Return the different texts that are not cached."""
        missing = (
            self._cache.missing(*one) for one in ((documents, self._encoder), (queries, self._queries))
        )
        return list(dict.fromkeys(chain.from_iterable(missing)))

    def _embedded(self, texts: Sequence[str], encoder: TextEncoder) -> FloatArray:
        started = time.perf_counter()
        try:
            return self._cache.embed(texts, encoder, self.progress)
        finally:
            self.seconds += time.perf_counter() - started

    @property
    def _queries(self) -> TextEncoder:
        own = self.identity
        is_as_documents = own.query_prompt == own.document_prompt and not own.input_types
        return self._encoder if is_as_documents else _Queries(self._encoder)

    def token_spans(self, text: str) -> Sequence[tuple[int, int]]:
        """Return the span of each token."""
        return self._encoder.token_spans(text)


class _Queries(CachedEncoder):
    """Queries of an encoder, as a cache takes them."""

    def __init__(self, encoder: TextEncoder) -> None:
        super().__init__(encoder)
        self.identity = replace(encoder.identity, pooling=f"{encoder.identity.pooling}, of queries")

    def encode_document(self, texts: Sequence[str]) -> FloatArray:
        return self._encoder.encode_query(texts)


def _key(text: str) -> bytes:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest()


def _missing(keys: Sequence[bytes], known: sqlite3.Connection) -> list[int]:
    """Return the first row of each key that a table lacks."""
    first = {key: i for i, key in reversed(list(enumerate(keys)))}
    is_known = "SELECT 1 FROM vectors WHERE key = ?"
    return sorted(i for key, i in first.items() if not known.execute(is_known, (key,)).fetchone())


def _table(file: Path | str) -> sqlite3.Connection:
    """Open a table of vectors, or make it; sqlite3.OperationalError where it cannot be written."""
    connection = sqlite3.connect(file, timeout=60)
    try:
        connection.execute("PRAGMA journal_mode=WAL")
        connection.execute("PRAGMA synchronous=NORMAL")
        connection.execute("CREATE TABLE IF NOT EXISTS vectors (key BLOB PRIMARY KEY, vector BLOB NOT NULL)")
        connection.execute("INSERT INTO vectors VALUES (x'', x'')")  # which a folder to read refuses
        connection.rollback()
    except BaseException:
        connection.close()
        raise
    return connection
