"""One real encoder, the default space, and one index per store that tests only read."""

from __future__ import annotations

import ctypes
import gc
import os
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from shutil import disk_usage, rmtree
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

# The matrices here are small: several threads take five times as long. Libraries read this as they load.
os.environ["OMP_NUM_THREADS"] = os.environ.get("OMP_NUM_THREADS", "1")
os.environ["OPENBLAS_NUM_THREADS"] = os.environ.get("OPENBLAS_NUM_THREADS", "1")

from qdrant_client import QdrantClient

from saeindex import FeatureIndex, FeatureSpace, Record, open_encoder
from saeindex.config import DEFAULT_SPACE
from saeindex.devices import PRECISION_VARIABLE
from saeindex.encoders import sentence_transformers
from saeindex.files import CACHE_VARIABLE
from tests.evidence_reference import truth_of
from tests.samples import RecordingEncoder, all_points, sample_records

if TYPE_CHECKING:
    from saeindex.encoders.sentence_transformers import SentenceTransformerEncoder
    from saeindex.types import FloatArray

# The file that says how much memory a process has, how much more it may have, and what it had at last.
RESIDENT, MUCH, _KEPT = Path("/proc/self/statm"), 200 * 2**20, [0]
# The vectors of texts, by model and precision.
ENCODED: dict[tuple[object, ...], dict[str, Any]] = {}
MEMORY, ENOUGH_BYTES = Path("/dev/shm"), 8 * 2**30
# A user's servers, keys, settings and caches; tests have their own variables.
# TEST_PRECISION=fp32 or bf16 runs the tests as on a processor where that is the faster one.
OF_THE_USER, OF_TESTS = ("SAEINDEX_", "QDRANT_", "OPENAI_", "HF_"), ("SAEINDEX_TEST_", "HF_HUB_OFFLINE")


@pytest.hookimpl(tryfirst=True)
def pytest_configure(config: pytest.Config) -> None:
    """Forget the user's settings, and keep temporary directories in memory if possible.

    Most of the time of tests is fsync.
    """
    for name in list(os.environ):
        if name.startswith(OF_THE_USER) and not name.startswith(OF_TESTS):
            del os.environ[name]
    if forced := os.environ.get("TEST_PRECISION"):
        os.environ[PRECISION_VARIABLE] = forced
    if config.option.basetemp is None and MEMORY.is_dir() and disk_usage(MEMORY).free > ENOUGH_BYTES:
        config.option.basetemp = MEMORY / f"saeindex-tests-{os.getpid()}"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with the pages of the docs: at the end one worker would run them alone."""
    items.sort(key=lambda item: item.path.name != "test_docs.py")


def pytest_unconfigure(config: pytest.Config) -> None:
    if config.option.basetemp is not None:
        rmtree(MEMORY / f"saeindex-tests-{os.getpid()}", ignore_errors=True)


@pytest.fixture(autouse=True)
def freed_memory() -> Iterator[None]:
    """Give back what tests used once it is much: the C library keeps freed memory, most of it of threads."""
    yield
    if RESIDENT.is_file() and _resident() > _KEPT[0] + MUCH:
        gc.collect()
        with suppress(OSError, AttributeError):
            ctypes.CDLL("libc.so.6").malloc_trim(0)
        _KEPT[0] = _resident()


def _resident() -> int:
    """Return the bytes of memory that this process has."""
    return int(RESIDENT.read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


@pytest.fixture(scope="module", autouse=True)
def embedding_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Keep embeddings out of the user's cache, and a RandomEncoder's out of other modules."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(CACHE_VARIABLE, str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture(scope="session", autouse=True)
def models_hashed_once() -> Iterator[None]:
    """Hash a model again only if a file of it changed: half the time of a command."""
    model_hash, known = sentence_transformers.model_hash, dict[object, str]()

    def hash_once(folder: Path) -> str:
        stats = [(path, path.stat()) for path in sorted(folder.rglob("*"))]
        files = tuple((str(path), stat.st_size, stat.st_mtime_ns) for path, stat in stats)
        if files not in known:
            known[files] = model_hash(folder)
        return known[files]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sentence_transformers, "model_hash", hash_once)
        yield


@pytest.fixture(scope="module", autouse=True)
def texts_encoded_once(request: pytest.FixtureRequest) -> Iterator[None]:
    """Encode a text once a session, but in the tests of encoders: pages and tests index the same texts."""
    kind = sentence_transformers.SentenceTransformerEncoder
    encode = kind._encode

    def encode_once(
        self: SentenceTransformerEncoder, prompt: str, texts: Sequence[str], **given: Any
    ) -> FloatArray:
        if given.get("seen") is not None:  # it is to see the tokens
            return encode(self, prompt, texts, **given)
        model = str(self.identity.signature()), str(self.dtype), prompt, str(given)
        known = ENCODED.setdefault(model, {})
        fresh = [text for text in dict.fromkeys(texts) if text not in known]
        known.update(zip(fresh, encode(self, prompt, fresh, **given), strict=True))
        return np.stack([known[text] for text in texts]) if texts else encode(self, prompt, texts, **given)

    with pytest.MonkeyPatch.context() as patch:
        if request.path.parent.name != "encoders":
            patch.setattr(kind, "_encode", encode_once)
        yield


@pytest.fixture(scope="session", autouse=True)
def space() -> FeatureSpace:
    """The default space, which all indexes of it share while it is here."""
    return FeatureSpace.load(DEFAULT_SPACE)


@pytest.fixture(scope="session")
def session_encoder() -> RecordingEncoder:
    return RecordingEncoder(open_encoder())


@pytest.fixture
def encoder(session_encoder: RecordingEncoder) -> RecordingEncoder:
    """The real encoder; ``requested`` is empty at the start of every test."""
    session_encoder.requested.clear()
    return session_encoder


@pytest.fixture(scope="session")
def records() -> list[Record]:
    return sample_records(240)


@pytest.fixture(scope="session")
def papers(
    tmp_path_factory: pytest.TempPathFactory,
    space: FeatureSpace,
    session_encoder: RecordingEncoder,
    records: list[Record],
) -> Iterator[FeatureIndex]:
    """An Edge index of ``records``, for tests that only read."""
    path = tmp_path_factory.mktemp("papers") / "papers.idx"
    with FeatureIndex.create(
        path, space, encoder=session_encoder, payload_indexes={"metadata.year": "integer-range"}
    ) as index:
        index.upsert(records)
        yield index


@pytest.fixture(scope="session")
def memory_papers(
    space: FeatureSpace, session_encoder: RecordingEncoder, records: list[Record]
) -> Iterator[FeatureIndex]:
    """The same index on the client's local mode, for tests that only read."""
    client = QdrantClient(":memory:")
    with FeatureIndex.create("papers", space, client=client, encoder=session_encoder) as index:
        index.upsert(records)
        yield index


@pytest.fixture(scope="session")
def papers_without_sentences(
    tmp_path_factory: pytest.TempPathFactory,
    space: FeatureSpace,
    session_encoder: RecordingEncoder,
    records: list[Record],
) -> Iterator[FeatureIndex]:
    """The same records where nothing is kept of sentences, for tests that only read."""
    path = tmp_path_factory.mktemp("plain") / "papers.idx"
    with FeatureIndex.create(path, space, encoder=session_encoder, sentences="off") as index:
        index.upsert(records)
        yield index


@pytest.fixture(scope="session")
def papers_codes(papers: FeatureIndex) -> dict[str, set[int]]:
    """The level codes that the records of ``papers`` must have, by id, computed again from their texts."""
    return truth_of(papers.space, papers.encoder, all_points(papers))


@pytest.fixture(params=["papers", "memory_papers"])
def any_papers(request: pytest.FixtureRequest) -> FeatureIndex:
    """The read-only index on every store in turn."""
    index: FeatureIndex = request.getfixturevalue(request.param)
    return index
