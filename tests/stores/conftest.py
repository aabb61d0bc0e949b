"""Directories for indexes, and readable assertions in the conformance suite."""

import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from saeindex.protocols import Layout
from saeindex.stores.edge import EdgeStore

pytest.register_assert_rewrite("saeindex.testing")

MEMORY = Path("/dev/shm")


@pytest.fixture
def index_path() -> Iterator[Path]:
    """A directory for an index, in memory if possible: most of the time of a test is fsync."""
    where = MEMORY if MEMORY.is_dir() else None
    with tempfile.TemporaryDirectory(prefix="saeindex-test-", dir=where) as directory:
        yield Path(directory)


LAYOUT = Layout({"dense": 4}, ("sae",), {"group": "integer"})
ONES = np.ones(4, dtype=np.float32)


@pytest.fixture
def store(index_path: Path) -> Iterator[EdgeStore]:
    store = EdgeStore.create(index_path / "index", LAYOUT)
    yield store
    store.close()
