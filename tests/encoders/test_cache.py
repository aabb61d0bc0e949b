"""The embedding cache: every text is encoded only once."""

from __future__ import annotations

import sqlite3
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from saeindex.encoders import cache
from saeindex.encoders.cache import EmbeddingCache
from saeindex.files import CACHE_VARIABLE
from tests.samples import RecordingEncoder

TEXTS = ["a galaxy", "a violin", "a galaxy", "café 😀"]


def test_texts_are_encoded_once_and_read_back_equal(tmp_path: Path, encoder: RecordingEncoder) -> None:
    first = EmbeddingCache(tmp_path).embed(TEXTS, encoder)
    assert sorted(encoder.requested) == sorted(set(TEXTS))
    encoder.requested.clear()
    steps: list[int] = []
    again = EmbeddingCache(tmp_path).embed(["a violin", *TEXTS, "new"], encoder, steps.append)
    assert encoder.requested == ["new"]
    assert sum(steps) == 1
    np.testing.assert_array_equal(again[1:5], first)
    np.testing.assert_array_equal(first[0], first[2])
    np.testing.assert_allclose(first, encoder.encode_document(TEXTS), atol=0.02)


def test_a_killed_run_keeps_what_it_encoded(
    tmp_path: Path, encoder: RecordingEncoder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cache, "CHUNK", 10)
    texts = [f"text number {i}" for i in range(25)]

    def stop(done: int) -> None:
        if len(encoder.requested) >= 20:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        EmbeddingCache(tmp_path).embed(texts, encoder, stop)
    encoder.requested.clear()
    EmbeddingCache(tmp_path).embed(texts, encoder)
    assert encoder.requested == texts[20:]


def test_a_result_larger_than_memory_is_a_mapped_file(
    tmp_path: Path, encoder: RecordingEncoder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cache, "IN_MEMORY_BYTES", 1_000)
    found = EmbeddingCache(tmp_path).embed(TEXTS, encoder)
    assert isinstance(found, np.memmap)
    monkeypatch.undo()
    np.testing.assert_array_equal(found, EmbeddingCache(tmp_path).embed(TEXTS, encoder))


def test_the_folder_is_set_by_the_environment_and_contains_no_text(
    tmp_path: Path, encoder: RecordingEncoder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(CACHE_VARIABLE, str(tmp_path / "here"))
    EmbeddingCache().embed(["a very secret text"], encoder)
    files = [path for path in (tmp_path / "here").rglob("*") if path.is_file()]
    assert files
    assert not any(b"secret" in path.read_bytes() for path in files)


@pytest.mark.parametrize("kind", ["a file", "a file above", "a folder"])
def test_a_folder_where_nothing_can_be_written_does_not_matter(
    tmp_path: Path, encoder: RecordingEncoder, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = tmp_path / "cache"
    if kind == "a folder":
        (place / "embeddings").mkdir(parents=True)
        real = sqlite3.connect

        def read_only(file: Any, **options: Any) -> Any:
            return real(f"file:{file}?mode=ro", uri=True, **options) if file else real(file, **options)

        EmbeddingCache(place).embed(["one"], encoder)
        monkeypatch.setattr(sqlite3, "connect", read_only)
    else:
        place.write_text("no folder")
        place = place / "deeper" if kind == "a file above" else place
    found = EmbeddingCache(place).embed(["one", "two", "one"], encoder)
    assert np.array_equal(found, encoder.encode_document(["one", "two", "one"]))
