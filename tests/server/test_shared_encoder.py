"""The encoder that threads share: batches, errors, and the end."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from saeindex_server.shared_encoder import SharedEncoder

from saeindex import open_encoder
from saeindex.errors import EncoderError, StorageError
from saeindex.protocols import TextEncoder
from tests.samples import RandomEncoder, sample_records

TEXTS = [f"{record.text[:40]} {i}" for i, record in enumerate(sample_records(60, seed=8))]


@pytest.fixture(scope="module")
def real() -> TextEncoder:
    return open_encoder()


def test_many_threads_get_what_one_gets_bit_for_bit_in_fewer_batches(real: TextEncoder) -> None:
    sizes: list[int] = []
    shared = SharedEncoder(real, lambda size, seconds: sizes.append(size))
    alone = [shared.encode_query([text])[0] for text in TEXTS]
    assert sizes == [1] * len(TEXTS)
    sizes.clear()
    with ThreadPoolExecutor(len(TEXTS)) as threads:
        together = list(threads.map(lambda text: shared.encode_query([text])[0], TEXTS))
    assert np.array_equal(np.stack(together), np.stack(alone))
    assert sum(sizes) == len(TEXTS)
    assert len(sizes) < len(TEXTS) / 2
    assert shared.encode_query([]).shape == (0, 384)
    assert shared.encode_query(["x", "y", "x"]).shape == (3, 384)
    shared.close()
    np.testing.assert_allclose(np.stack(alone), real.encode_query(TEXTS), atol=1e-5)


def test_an_error_reaches_all_who_wait_and_the_next_are_answered(real: TextEncoder) -> None:
    class Failing(RandomEncoder):
        fails = True

        def encode_query(self, texts: Sequence[str]) -> np.ndarray:
            if self.fails:
                raise EncoderError("a query", "no", "Wait.")
            return super().encode_query(texts)

    failing = Failing(real.identity)
    shared = SharedEncoder(failing)
    with ThreadPoolExecutor(4) as threads:
        asked = [threads.submit(shared.encode_query, [f"{i}"]) for i in range(4)]
        assert all(isinstance(one.exception(), EncoderError) for one in asked)
    failing.fails = False
    assert len(shared.encode_query(["a"])) == 1
    shared.close()


def test_after_the_end_a_query_is_an_error_and_no_thread_is_left(real: TextEncoder) -> None:
    before = threading.active_count()
    shared = SharedEncoder(real)
    shared.close()
    assert threading.active_count() == before
    with pytest.raises(StorageError):
        shared.encode_query(["a"])
