"""Indexing in separate processes that tests kill; they use the public interface."""

from __future__ import annotations

import multiprocessing
import os
import signal
import socket
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from multiprocessing.connection import Connection
from multiprocessing.context import ForkServerContext, ForkServerProcess
from pathlib import Path
from typing import TYPE_CHECKING

from saeindex import FeatureIndex
from saeindex.encoders.sentence_transformers import SentenceTransformerEncoder
from saeindex.errors import NotFoundError

if TYPE_CHECKING:
    from saeindex.types import FloatArray

BATCH_SIZE = 20
# At most so many documents are encoded of a sample record: its text, and its two sentences.
PER_RECORD = 3
INTERRUPTED = 130
PRELOADED = ["torch", "qdrant_edge", "qdrant_client.models", "tests.interrupted"]
PATIENCE_S = 60.0


class ReportingEncoder(SentenceTransformerEncoder):
    """Reports the number of documents that it has received, before it encodes them."""

    def __init__(self, reports: Connection, waits_after: float = float("inf")) -> None:
        super().__init__()
        self._reports, self._given, self._waits_after = reports, 0, waits_after

    def encode_document(self, texts: Sequence[str]) -> FloatArray:
        self._given += len(texts)
        if self._given < self._waits_after:
            self._reports.send(self._given)
        else:
            self._report_and_wait()
        return super().encode_document(texts)

    def _report_and_wait(self) -> None:
        """Report, and wait for Ctrl-C: otherwise the run could end before it.

        The number of the signal is written to the wake-up socket, whichever thread receives it.
        """
        waiting, wakeup = socket.socketpair()
        wakeup.setblocking(False)
        signal.set_wakeup_fd(wakeup.fileno())
        self._reports.send(self._given)
        waiting.recv(1)


def create_or_open(path: Path) -> FeatureIndex:
    try:
        return FeatureIndex.open(path)
    except NotFoundError:
        return FeatureIndex.create(path)


def index_until_interrupted(path: Path, source: Path, reports: Connection) -> None:
    """Index at least five batches of ``source`` into ``path``, and wait in the last of them for a signal."""
    # A shell starts background processes with Ctrl-C ignored.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    index_file(path, source, reports, waits_after=5 * BATCH_SIZE * PER_RECORD)


def index_file(path: Path, source: Path, reports: Connection, waits_after: float = float("inf")) -> None:
    """Index ``source`` into ``path``, which may have no index, a part of it, or all of it."""
    import torch

    torch.set_num_threads(1)
    try:
        with create_or_open(path) as index:
            index.encoder = ReportingEncoder(reports, waits_after)
            index.upsert(source, batch_size=BATCH_SIZE, learn_terms=False)
    except KeyboardInterrupt:
        sys.exit(INTERRUPTED)


def only_create(path: Path, source: Path, reports: Connection) -> None:
    """Make an empty index."""
    create_or_open(path).close()


Command = Callable[[Path, Path, Connection], None]


def processes() -> ForkServerContext:
    """Return a context whose processes share the slow imports and nothing else."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(PRELOADED)
    return context


@contextmanager
def running(
    context: ForkServerContext, command: Command, path: Path, source: Path
) -> Iterator[tuple[ForkServerProcess, Connection]]:
    """Run a command in a process, and kill it at the end if it still runs."""
    reports, theirs = context.Pipe(duplex=False)
    process = context.Process(target=command, args=(path, source, theirs))
    process.start()
    theirs.close()
    try:
        yield process, reports
    finally:
        if process.is_alive():
            process.kill()
        process.join(PATIENCE_S)
        reports.close()


def run_to_the_end(context: ForkServerContext, path: Path, source: Path) -> None:
    """Index without interruption."""
    with running(context, index_file, path, source) as (process, _):
        process.join(PATIENCE_S)
        assert process.exitcode == 0


def wait_for_documents(reports: Connection, at_least: int) -> None:
    """Wait until the encoder has received so many documents."""
    given = 0
    while given < at_least:
        assert reports.poll(PATIENCE_S), "the process says nothing"
        given = reports.recv()


def interrupt(process: ForkServerProcess) -> None:
    """Send the signal of Ctrl-C."""
    assert process.pid is not None
    os.kill(process.pid, signal.SIGINT)
