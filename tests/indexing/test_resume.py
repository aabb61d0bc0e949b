"""Indexing that is killed and run again gives a bitwise equal index."""

from __future__ import annotations

import json
import signal
from collections.abc import Iterator
from multiprocessing.context import ForkServerContext
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from saeindex import FeatureIndex
from saeindex.errors import NotFoundError
from tests.interrupted import (
    BATCH_SIZE,
    INTERRUPTED,
    PATIENCE_S,
    PER_RECORD,
    index_file,
    index_until_interrupted,
    interrupt,
    only_create,
    processes,
    run_to_the_end,
    running,
    wait_for_documents,
)
from tests.samples import contents, sample_records, write_records

KILLS, RECORDS = 10, 600
BAD_LINES = ['{"id": "bad-1"}', "not json at all"]


@pytest.fixture(scope="module")
def fork_server() -> ForkServerContext:
    return processes()


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    records = sample_records(RECORDS, seed=3)
    return write_records(tmp_path_factory.mktemp("source") / "notes.jsonl", records, BAD_LINES)


@pytest.fixture(scope="module")
def uninterrupted(
    tmp_path_factory: pytest.TempPathFactory, fork_server: ForkServerContext, source: Path
) -> list[tuple[Any, ...]]:
    path = tmp_path_factory.mktemp("uninterrupted") / "notes.idx"
    run_to_the_end(fork_server, path, source)
    return read(path)


def read(path: Path) -> list[tuple[Any, ...]]:
    with FeatureIndex.open(path) as index:
        return contents(index)


@pytest.mark.slow
def test_ten_kills_at_random_moments_leave_the_index_of_an_uninterrupted_run(
    tmp_path: Path, fork_server: ForkServerContext, source: Path, uninterrupted: list[tuple[Any, ...]]
) -> None:
    rng = np.random.default_rng(17)
    path = tmp_path / "notes.idx"
    sizes = [0]
    for _ in range(KILLS):
        with running(fork_server, index_file, path, source) as (process, reports):
            wait_for_documents(reports, int(rng.integers(1, PER_RECORD * RECORDS // KILLS)))
            reports.poll(float(rng.uniform(0, 0.03)))
            process.kill()
            process.join(PATIENCE_S)
            assert process.exitcode == -signal.SIGKILL
        stored = read(path)
        assert set(map(repr, stored)) <= set(map(repr, uninterrupted))
        sizes.append(len(stored))
    assert sizes == sorted(sizes), "what was stored must never be lost"
    assert 0 < sizes[-1] < RECORDS
    run_to_the_end(fork_server, path, source)
    assert read(path) == uninterrupted
    rejects = [json.loads(line) for line in (path / "rejects.jsonl").read_text().splitlines()]
    assert [line["position"] for line in rejects] == [
        f"notes.jsonl:{RECORDS + 1}",
        f"notes.jsonl:{RECORDS + 2}",
    ]


@pytest.mark.parametrize("appearing", ["lock", "points", "points/wal/*", "layout.json", ".space.*", "space"])
def test_an_interrupted_creation_is_completed_on_the_next_run(
    tmp_path: Path, fork_server: ForkServerContext, source: Path, appearing: str
) -> None:
    path = tmp_path / "notes.idx"
    with running(fork_server, only_create, path, source) as (process, _):
        while process.is_alive() and not any(exists(path, appearing)):
            process.join(0.0005)
        process.kill()
        process.join(PATIENCE_S)
    assert path.is_dir()
    try:
        FeatureIndex.open(path).close()
    except NotFoundError:
        FeatureIndex.create(path).close()
    with FeatureIndex.open(path) as index:
        assert index.count() == 0
        assert index.space.fingerprint == index.state.manifest.space.fingerprint
    assert not list(path.glob(".space*"))


def exists(path: Path, pattern: str) -> Iterator[Path]:
    return path.glob(pattern) if path.is_dir() else iter(())


def test_ctrl_c_keeps_what_was_encoded_and_the_next_run_completes_it(
    tmp_path: Path, fork_server: ForkServerContext, source: Path, uninterrupted: list[tuple[Any, ...]]
) -> None:
    path = tmp_path / "notes.idx"
    with running(fork_server, index_until_interrupted, path, source) as (process, reports):
        wait_for_documents(reports, 5 * BATCH_SIZE * PER_RECORD)
        interrupt(process)
        process.join(PATIENCE_S)
        assert process.exitcode == INTERRUPTED
    stored = read(path)
    assert 4 * BATCH_SIZE <= len(stored) < RECORDS
    assert len(stored) % BATCH_SIZE == 0
    run_to_the_end(fork_server, path, source)
    assert read(path) == uninterrupted
