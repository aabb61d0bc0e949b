"""Analyses in a process of their own, which reads an index through the server's engine and encoder.

The server stays quick while one runs, and can stop it; a thread takes them one after another. Messages are
msgpack, without pickle: the process asks for parts of the index ("store") and of its encoder ("encode",
"spans", "limit"), and ends each analysis with "done" or "failed".
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import replace
from functools import partial, partialmethod
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from saeindex import errors
from saeindex.errors import EngineDiedError, SaeIndexError, StorageError, rebuilt
from saeindex.files import replacing
from saeindex.index import FeatureIndex, index_of
from saeindex.indexing.create_open import parts_of
from saeindex.indexing.manifest import Manifest
from saeindex.operations.surfaces import OPERATIONS
from saeindex.protocols import EncoderIdentity, Layout
from saeindex.schema import check_texts, from_json
from saeindex.search.rerank import offer
from saeindex.stores.engine_process import RelayedEngine, limit_memory, packed, receive, send
from saeindex.stores.isolated import IsolatedStore
from saeindex.stores.waiting import reading_all
from saeindex_server.hosts import HostedIndex, Hosts, filter_of
from saeindex_server.logs import start_logging
from saeindex_server.problems import failure_of
from saeindex_server.schemas import encoded

if TYPE_CHECKING:
    from saeindex.types import FloatArray
    from saeindex_server.jobs import Job, Jobs

# The folders of the two packages come last, so that they hide nothing.
_PROGRAM = "import sys; sys.path += sys.argv[1:3]; from saeindex_server.analysis_process import main; main()"
# The option that names a second index.
OTHER = "other"
# Indexes and parts of them that the process keeps, with their snapshots.
KEPT = 4


class AnalysisStopped(SaeIndexError):
    """An analysis was cancelled, or took too long."""


class AnalysisProcess:
    """Runs one analysis at a time in a child process, which is started when it is first needed."""

    def __init__(self, memory: int = 0, rerankers: Sequence[str] = ()) -> None:
        """``memory`` limits the bytes that the process may allocate; 0 for no limit.

        The models of ``rerankers`` are the only ones that queries may name.
        """
        self._arguments = str(memory), *rerankers
        self._process: subprocess.Popen[bytes] | None = None
        self._running = threading.Lock()

    def run(
        self,
        method: str,
        arguments: Mapping[str, Any],
        indexes: Sequence[HostedIndex],
        condition: str | None,
        seconds: float,
        is_stopped: Callable[[], bool],
    ) -> bytes:
        """Return what an analysis of the first of the indexes found, as JSON.

        Raises:
            AnalysisStopped: it took longer, or ``is_stopped``.
            StorageError: the process died, such as of the limit of its memory.
        """
        with self._running:
            process = self._started()
            with _watched(process, seconds, is_stopped) as reasons:
                try:
                    return self._asked(process, method, arguments, indexes, condition)
                except (EOFError, OSError) as error:
                    self._process = None
                    code = process.wait()
                    if reasons:
                        asked = f"the analysis {method!r}"
                        raise AnalysisStopped(asked, reasons[0], "Ask for less.") from None
                    ended = f"its process ended with code {code}; its memory may be used up"
                    do = "Ask for less: fewer records, or fewer pairs."
                    if code == -signal.SIGBUS:  # a file that is mapped had no room to grow
                        ended, do = "the disk of the index is full", "Ask again when there is room."
                    raise StorageError(f"the analysis {method!r}", ended, do) from error

    def close(self) -> None:
        """End the process."""
        process, self._process = self._process, None
        if process is not None:
            process.kill()
            process.wait()

    def _asked(
        self,
        process: subprocess.Popen[bytes],
        method: str,
        arguments: Mapping[str, Any],
        indexes: Sequence[HostedIndex],
        condition: str | None,
    ) -> bytes:
        assert process.stdin is not None  # noqa: S101
        assert process.stdout is not None  # noqa: S101
        wholes = [hosted.whole() for hosted in indexes]
        # No write comes between until the process has read what it needs.
        with reading_all(whole.state.store for whole in wholes) as turn:
            places = [_place(hosted, whole) for hosted, whole in zip(indexes, wholes, strict=True)]
            send(process.stdin, packed([method, json.dumps(arguments), places, condition]))
            while True:
                kind, number, *asked = receive(process.stdout)
                if kind == "done":
                    return bytes(asked[0])
                if kind == "failed":
                    raise rebuilt(*asked) or StorageError(*asked[1:])
                if kind == "read":
                    turn.close()
                    continue
                try:
                    answer = [False, _answered(kind, wholes[number], asked)]
                except SaeIndexError as error:
                    answer = [True, list(error.parts)]
                    if isinstance(error, EngineDiedError):
                        process.kill()
                        raise
                send(process.stdin, packed(answer))

    def _started(self) -> subprocess.Popen[bytes]:
        if self._process is None or self._process.poll() is not None:
            folders = [str(Path(__file__).parents[1]), str(Path(errors.__file__).parents[1])]
            self._process = subprocess.Popen(  # noqa: S603 - this Python with a fixed program
                [sys.executable, "-P", "-c", _PROGRAM, *folders, *self._arguments],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
            )
        return self._process


@contextmanager
def _watched(
    process: subprocess.Popen[bytes], seconds: float, is_stopped: Callable[[], bool]
) -> Iterator[list[str]]:
    """Kill the process of an analysis that is stopped or takes too long; what is yielded says why."""
    reasons: list[str] = []
    done, end = threading.Event(), time.monotonic() + seconds

    def watch() -> None:
        while not reasons and not done.wait(0.2):
            if is_stopped():
                reasons.append("it was stopped")
            elif time.monotonic() > end:
                reasons.append(f"it took longer than {seconds:g} s")
        if reasons:
            process.kill()

    thread = threading.Thread(target=watch, daemon=True)
    thread.start()
    try:
        yield reasons
    finally:
        done.set()
        thread.join()


def _place(hosted: HostedIndex, whole: FeatureIndex) -> list[Any]:
    """Return what the process needs to know of an index."""
    store, revision = whole.state.store, whole.state.revision
    if isinstance(store, IsolatedStore):
        manifest = whole.state.manifest.model_dump_json()
        return [hosted.name, str(hosted.folder), None, revision, store.layout, manifest]
    return [hosted.name, hosted.place, hosted.url, revision, None, ""]


def _answered(kind: str, whole: FeatureIndex, asked: list[Any]) -> Any:
    if kind == "store":
        assert isinstance(whole.state.store, IsolatedStore)  # noqa: S101
        return whole.state.store.relay(asked[0])
    if kind == "limit":
        return whole.encoder.max_tokens
    if kind == "spans":
        return [list(span) for span in whole.encoder.token_spans(asked[0])]
    assert kind == "encode", kind  # noqa: S101
    return getattr(whole.encoder, asked[0])(asked[1])


# The child --------------------------------------------------------------------------------------------


def main() -> None:
    """Run analyses until the server ends."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # what a library prints must not get between the messages
    start_logging()
    limit_memory(int(sys.argv[3]))
    offer(sys.argv[4:])
    with suppress(EOFError, BrokenPipeError):
        _Analyst(sys.stdin.buffer, answers).serve()


class _Analyst:
    """The process's end: indexes that ask the server for what they need."""

    def __init__(self, requests: IO[bytes], answers: IO[bytes]) -> None:
        self._requests, self._answers = requests, answers
        self._kept: OrderedDict[tuple[Any, ...], FeatureIndex] = OrderedDict()
        self._turns = _HeldTurns(lambda: send(self._answers, packed(["read", 0])))

    def serve(self) -> None:
        """Answer analyses until there are no more."""
        while True:
            method, arguments, places, condition = receive(self._requests)
            try:
                answer = ["done", 0, self._found(method, json.loads(arguments), places, condition)]
            except SaeIndexError as error:
                answer = ["failed", 0, *error.parts]
            except MemoryError:
                do = "Ask for less: fewer records, or fewer pairs."
                answer = ["failed", 0, "StorageError", f"the analysis {method!r}", "no memory is left", do]
            except Exception as error:
                ours = failure_of("an analysis", f"the analysis {method!r}", error)
                answer = ["failed", 0, *ours.parts]
            send(self._answers, packed(answer))

    def _found(
        self, method: str, arguments: dict[str, Any], places: list[list[Any]], condition: str | None
    ) -> bytes:
        kind = OPERATIONS[method]
        assert kind.is_analysis, method  # noqa: S101
        operation = from_json(kind, arguments)
        self._turns.is_analysing = False
        index, *others = [self._opened(number, place, condition) for number, place in enumerate(places)]
        self._turns.is_analysing = True
        if others:
            operation = replace(operation, other=others[0])
        return encoded(kind.result_json(index.perform(operation)))

    def _opened(self, number: int, place: list[Any], condition: str | None) -> FeatureIndex:
        """Return an index as it is now; its snapshots are kept with it."""
        name, where, url, revision, layout, manifest = place
        key = (number, name, revision, condition)
        if key not in self._kept:
            whole = self._whole(number, name, where, url, layout, manifest)
            part = whole if condition is None else whole.part(query_filter=filter_of(condition))
            for old in [old for old in self._kept if old[1] == name and old[2] != revision]:
                del self._kept[old]
            self._kept[key] = part
        self._kept.move_to_end(key)
        while len(self._kept) > KEPT:
            self._kept.popitem(last=False)
        return self._kept[key]

    def _whole(
        self, number: int, name: str, where: str, url: str | None, layout: Layout | None, manifest: str
    ) -> FeatureIndex:
        if layout is None:
            index = FeatureIndex.open(where, url=url)
        else:
            engine = RelayedEngine(lambda request: self._ask(["store", number, request]))
            store = IsolatedStore(Path(where), layout, engine)
            store.turns = self._turns
            # What a write in progress has stored is not its state.
            kept = Manifest.model_validate_json(manifest)
            index = index_of(name, parts_of(store, kept, where, Path(where)))
        index.encoder = _RelayedEncoder(
            index.space.encoder, lambda asked: self._ask([asked[0], number, *asked[1:]])
        )
        return index

    def _ask(self, message: list[Any]) -> Any:
        send(self._answers, packed(message))
        is_error, answer = receive(self._requests)
        if is_error:
            raise rebuilt(*answer) or StorageError(*answer[1:])
        return answer


class _HeldTurns:
    """The turn that the server keeps for an analysis, until it has read what it needs."""

    def __init__(self, end: Callable[[], None]) -> None:
        self._end, self._depth, self.is_analysing = end, 0, False

    @contextmanager
    def reading(self) -> Iterator[None]:
        self._depth += 1
        try:
            yield
        finally:
            self._depth -= 1
            if self.is_analysing and not self._depth:
                self.is_analysing = False
                self._end()

    def writing(self) -> AbstractContextManager[None]:
        raise AssertionError("an analysis writes nothing")


class _RelayedEncoder:
    def __init__(self, identity: EncoderIdentity, ask: Callable[[list[Any]], Any]) -> None:
        self.identity, self._ask = identity, ask

    @property
    def max_tokens(self) -> int:
        return int(self._ask(["limit"]))

    def token_spans(self, text: str) -> Sequence[tuple[int, int]]:
        return [(start, end) for start, end in self._ask(["spans", text])]

    def _vectors(self, method: str, texts: Sequence[str]) -> FloatArray:
        check_texts(texts)
        found: FloatArray = self._ask(["encode", method, list(texts)])
        return found.reshape(len(texts), self.identity.dimension)

    encode_document = partialmethod(_vectors, "encode_document")
    encode_query = partialmethod(_vectors, "encode_query")
    encode_phrases = partialmethod(_vectors, "encode_phrases")


class AnalysisThread:
    """Takes analyses of the queue, and keeps what they find as files."""

    def __init__(self, jobs: Jobs, hosts: Hosts, process: AnalysisProcess, seconds: float) -> None:
        """``seconds`` limit each analysis."""
        self._jobs, self._hosts, self._seconds = jobs, hosts, seconds
        self._process = process
        self._thread = threading.Thread(target=self._run, name="saeindex-analysis", daemon=True)

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def stop(self, seconds: float) -> None:
        """Wait for the end, after the jobs were closed; what runs then is queued again."""
        self._thread.join(seconds)
        self._process.close()

    def _run(self) -> None:
        while (job := self._jobs.take_analysis()) is not None:
            try:
                self._analyse(job)
            except BaseException as error:
                self._jobs.finish(job.id, "failed", error=failure_of(job.id, job.kind, error))

    def _analyse(self, job: Job) -> None:
        asked: dict[str, Any] = dict(job.asked)
        indexes = [self._hosts.get(job.index)]
        if (other := asked.get(OTHER)) is not None:
            indexes.append(self._hosts.get(other))
        is_stopped = partial(self._jobs.is_to_stop, job.id)
        try:
            found = self._process.run(job.kind, asked, indexes, job.condition, self._seconds, is_stopped)
        except AnalysisStopped as error:
            if is_stopped():
                self._jobs.stopped(job.id)
            else:
                self._jobs.finish(job.id, "failed", error=error)
        else:
            with replacing(self._jobs.result_file(job.id)) as draft:
                draft.write_bytes(found)
            self._jobs.finish(job.id, "done", {"bytes": len(found)})
