"""One real encoder, the default space, and one index per store that tests only read."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from shutil import disk_usage, rmtree

import pytest
import torch
from qdrant_client import QdrantClient
from threadpoolctl import threadpool_limits

from saeindex import FeatureIndex, FeatureSpace, Record, open_encoder
from saeindex.config import DEFAULT_SPACE
from saeindex.encoders.cache import FOLDER_VARIABLE
from tests.samples import RecordingEncoder, sample_records

# The matrices here are small: on a busy machine several threads take ten times as long as one.
torch.set_num_threads(1)
ONE_THREAD = threadpool_limits(limits=1)
MEMORY, ENOUGH_BYTES = Path("/dev/shm"), 8 * 2**30


@pytest.hookimpl(tryfirst=True)
def pytest_configure(config: pytest.Config) -> None:
    """Keep temporary directories in memory if possible: most of the time of tests is fsync."""
    if config.option.basetemp is None and MEMORY.is_dir() and disk_usage(MEMORY).free > ENOUGH_BYTES:
        config.option.basetemp = MEMORY / f"saeindex-tests-{os.getpid()}"


def pytest_unconfigure(config: pytest.Config) -> None:
    if config.option.basetemp is not None:
        rmtree(MEMORY / f"saeindex-tests-{os.getpid()}", ignore_errors=True)


@pytest.fixture(scope="session", autouse=True)
def embedding_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Keep embeddings out of the user's cache."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(FOLDER_VARIABLE, str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture(scope="session")
def space() -> FeatureSpace:
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


@pytest.fixture(params=["papers", "memory_papers"])
def any_papers(request: pytest.FixtureRequest) -> FeatureIndex:
    """The read-only index on every store in turn."""
    index: FeatureIndex = request.getfixturevalue(request.param)
    return index
