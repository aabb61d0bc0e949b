"""Every answer is that of one revision: histories of writes and queries, other handles, kills, syncs."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from qdrant_client import QdrantClient

from saeindex import FeatureIndex, FeatureSpace, Record
from saeindex.errors import NotFoundError
from saeindex.indexing.points import point_id
from saeindex.stores.qdrant import QdrantStore
from saeindex.stores.tracing import watched
from saeindex.stores.waiting import OwnTurns, reading_all
from tests.samples import RandomEncoder, assert_alike, sample_records, small_space

PATIENCE_S = 60.0


def opened(place: Path | None, space: FeatureSpace, client: QdrantClient | None = None) -> FeatureIndex:
    """Open or create an index that encodes at no cost: in a directory, or in local mode."""
    encoder = RandomEncoder(space.encoder)
    if place is None:
        return FeatureIndex("notes", space=space, client=client or QdrantClient(":memory:"), encoder=encoder)
    return FeatureIndex(place, space=space, encoder=encoder)


@pytest.fixture(scope="module")
def small(space: FeatureSpace) -> FeatureSpace:
    return small_space(space.encoder)


@pytest.fixture(params=["edge", "memory"])
def index(request: pytest.FixtureRequest, tmp_path: Path, small: FeatureSpace) -> Iterator[FeatureIndex]:
    with opened(tmp_path / "index" if request.param == "edge" else None, small) as made:
        yield made


# Histories --------------------------------------------------------------------------------------------


def hits(index: FeatureIndex, **query: Any) -> tuple[str, Any]:
    found = index.search(explain=True, **query)
    shown, plan = found.to_json(), found.plan
    planned = [asdict(plan.estimate), plan.warnings, str(plan.choices)]
    for hit in shown["hits"]:  # the last bits decide on the order of equal parts, and on parts of nothing
        parts = [part for part in hit["explanation"]["parts"] if abs(part["value"]) > 1e-6]
        hit["explanation"]["parts"] = sorted(
            parts, key=lambda part: (part["kind"], part["feature"] or 0, part["label"])
        )
    kept = [shown["hits"], shown.get("groups"), plan.total, planned]
    return found.revision, kept


def analysis(found: Any) -> tuple[str, Any]:
    return found.revision, replace(found, revision="").to_json()


QUESTIONS: list[Callable[[FeatureIndex], tuple[str, Any]]] = [
    lambda index: hits(index, text="rain in the valley", limit=5),
    lambda index: hits(index, text="rain", where="#7 AND NOT #12", limit=5),
    lambda index: hits(index, text="rain", where='document = "doc-3" OR metadata.year >= 2010'),
    lambda index: hits(index, text="rain", group_by={"field": "document", "size": 2}),
    lambda index: hits(index, property="sounds disappointed", like=["kept-0"], limit=5),
    lambda index: hits(index, text="rain", using="sae", steer="+#9:0.5"),
    lambda index: analysis(index.diff("metadata.year < 2005", "metadata.year >= 2005")),
    lambda index: analysis(index.correlate(min_support=3)),
]


class Mirror:
    """Records beside an index, by revision; one writer at a time."""

    def __init__(self, index: FeatureIndex) -> None:
        self.index, self.records, self.lock = index, dict[str, tuple[Record, int | None]](), threading.Lock()
        self.names = dict[int, str]()
        self.at = dict[str, tuple[list[tuple[Record, int | None]], dict[int, str]]]()

    def write(self, chance: random.Random) -> None:
        """Make one random write to both."""
        with self.lock:
            ids = [one for one in self.records if not one.startswith("kept")]
            some = chance.sample(ids, min(len(ids), 8))
            match chance.choice(
                ["new", "new", "changed", "split", "whole", "deleted", "documents", "where", "renamed"]
            ):
                case "new":
                    self._put(sample_records(12, chance.randrange(10**6)), None)
                case "changed":
                    self._put([self._record(one, chance) for one in some], None)
                case "split":
                    self._put([self._record(one, chance) for one in some], 8)
                case "whole":
                    self._put([self.records[one][0] for one in some], None)
                case "deleted":
                    whole = [one for one in some if self.records[one][1] is None]
                    self.index.delete(whole)
                    self._drop(whole)
                case "documents":
                    split = [one for one in some if self.records[one][1] is not None]
                    self.index.delete(documents=split)
                    self._drop(split)
                case "where":
                    self.index.delete(where='metadata.year = 1999 AND NOT document = ""')
                    self._drop(
                        [one for one, (kept, _) in self.records.items() if kept.metadata["year"] == 1999]
                    )
                case "renamed":
                    feature, name = chance.randrange(64), f"name {chance.randrange(10**6)}"
                    self.index.concepts.rename(feature, name)
                    self.names[feature] = name
            self.note()

    def note(self) -> None:
        """Keep what the index has at its present revision."""
        self.at[self.index.state.revision] = list(self.records.values()), dict(self.names)

    def anew(self, revision: str, place: Path | None, space: FeatureSpace) -> FeatureIndex:
        """Make an index of what there was at a revision."""
        kept, names = self.at[revision]
        made = opened(place, space)
        for split in (None, 8):
            made.upsert([record for record, own in kept if own == split], split=split, learn_terms=False)
        for feature, name in names.items():
            made.concepts.rename(feature, name)
        return made

    def _record(self, name: str, chance: random.Random) -> Record:
        text, metadata = sample_records(1, chance.randrange(10**6))[0].text, self.records[name][0].metadata
        return Record(name, f"{text} {text}", metadata)

    def _put(self, records: list[Record], split: int | None) -> None:
        self.index.upsert(records, split=split, learn_terms=False)
        for record in records:
            self.records.pop(record.id, None)
            self.records[record.id] = record, split

    def _drop(self, names: list[str]) -> None:
        for one in names:
            del self.records[one]


@pytest.mark.parametrize("seed", range(2))
def test_histories_equal_an_index_built_anew(
    index: FeatureIndex, small: FeatureSpace, tmp_path: Path, seed: int
) -> None:
    """Each answer of readers beside writers is that of a new index of the revision's records."""
    mirror = Mirror(index)
    mirror._put([replace(one, id=f"kept-{n}") for n, one in enumerate(sample_records(90, 7))], None)
    mirror.note()
    answers: list[tuple[int, str, Any]] = []
    failures: list[BaseException] = []
    is_over = threading.Event()

    def guarded(work: Callable[[random.Random], object], chance: random.Random, times: int) -> None:
        try:
            for _ in range(times):
                work(chance)
        except BaseException as error:
            failures.append(error)

    def ask(chance: random.Random) -> None:
        if not is_over.is_set():
            number = chance.randrange(len(QUESTIONS))
            answers.append((number, *QUESTIONS[number](index)))

    writers = [
        threading.Thread(target=guarded, args=(mirror.write, random.Random(seed * 10 + n), 8))
        for n in range(2)
    ]
    readers = [
        threading.Thread(target=guarded, args=(ask, random.Random(seed * 10 + 5 + n), 10**6))
        for n in range(2)
    ]
    for thread in (*writers, *readers):
        thread.start()
    for thread in writers:
        thread.join()
    is_over.set()
    for thread in readers:
        thread.join()
    assert not failures, failures
    answers += [(number, *question(index)) for number, question in enumerate(QUESTIONS)]
    assert len({revision for _, revision, _ in answers}) > 1
    anew: dict[str, FeatureIndex] = {}
    for number, revision, found in answers:
        if revision not in anew:
            place = None if index.state.folder is None else tmp_path / revision
            anew[revision] = mirror.anew(revision, place, small)
        expected = QUESTIONS[number](anew[revision])[1]
        assert_alike(found, expected, str(number))


# Second writes ----------------------------------------------------------------------------------------


def test_what_is_inferred_is_of_the_texts_that_are_there_now(tmp_path: Path) -> None:
    """All texts are replaced under their ids: the number of points is as before."""
    money, rain = (
        [Record(str(n), f"{text}, note {n}.") for n in range(120)]
        for text in ("Interest rates and the pension fund", "Frost and rain in the valley")
    )

    def told(index: FeatureIndex) -> Any:
        found = index.search(property="about the weather", limit=5)
        estimates = [index.plan("x", where=where).estimate for where in ("#1030", '"rain"')]
        assert found.feedback is not None
        return [(hit.id, hit.score) for hit in found], found.feedback.model_dump(), estimates

    with FeatureIndex(tmp_path / "index") as index, FeatureIndex(tmp_path / "new") as anew:
        index.upsert(money)
        before = told(index)
        index.upsert(rain)
        index.concepts.learn()  # an index of 120 records has learned, and one that had 120 written again has
        anew.upsert(rain)
        assert before != told(index) == told(anew)


def test_a_write_of_one_record_syncs_three_times_and_learns_no_terms(
    tmp_path: Path, small: FeatureSpace, monkeypatch: pytest.MonkeyPatch
) -> None:
    with opened(tmp_path / "index", small) as index:
        index.upsert(sample_records(80))
        learned, syncs = index.state.manifest.learned, list[str]()
        for name in ("fsync", "fdatasync"):
            monkeypatch.setattr(os, name, lambda _, name=name: syncs.append(name))
        index.upsert([Record("one", "A text.")])
        assert len(syncs) <= 3, syncs
        assert index.state.manifest.learned == learned == 80


def test_an_index_of_a_server_counts_nothing_for_a_search(small: FeatureSpace) -> None:
    with opened(None, small) as index:
        index.upsert(sample_records(70))
        with watched() as notes:
            index.search("rain")
            index.search("rain", where="#7", limit=3)
        counts = [note for note in notes if note.action == "count"]
        assert len(counts) == 1  # among a sample of its own, for the estimate of the filter
        assert index.plan("x").total == 70


# Others that write ------------------------------------------------------------------------------------


def test_what_another_process_of_ours_wrote_is_seen(
    small: FeatureSpace, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = QdrantClient(":memory:")
    with opened(None, small, client) as one, opened(None, small, client) as other:
        one.upsert(sample_records(70), learn_terms=False)
        assert (other.plan("x").total, other.state.revision) == (70, one.state.revision)
        other.concepts.rename(5, "a name")
        assert one.concepts.card(5).label == "a name"
        one.delete(["doc-1"])
        assert (len(other.state.snapshot()), other.state.revision) == (69, one.state.revision)
        monkeypatch.setattr(QdrantStore, "stale_after", 0.3)
        assert one.plan("x").total == 69
        other.delete(["doc-2"])
        time.sleep(0.3)
        assert one.plan("x").total == 68


@pytest.mark.skipif(
    "SAEINDEX_TEST_QDRANT_URL" not in os.environ,
    reason="set SAEINDEX_TEST_QDRANT_URL to run this on a Qdrant server",
)
def test_a_server_s_index_is_one_for_two_processes_within_five_seconds(small: FeatureSpace) -> None:
    name, encoder = f"saeindex-test-{uuid4().hex}", RandomEncoder(small.encoder)
    url, key = os.environ["SAEINDEX_TEST_QDRANT_URL"], os.environ.get("SAEINDEX_TEST_QDRANT_API_KEY")
    clients = [QdrantClient(url=url, api_key=key, timeout=60) for _ in range(2)]
    try:
        one, other = (FeatureIndex(name, space=small, client=each, encoder=encoder) for each in clients)
        one.upsert(sample_records(70), learn_terms=False)
        other.upsert([Record("long", "It rains in the hills. " * 20)], split=40)
        count = len(other)
        written = time.monotonic()
        while one.plan("x").total != count or one.state.revision != other.state.revision:
            assert time.monotonic() - written < 5
            time.sleep(0.1)
        other.concepts.rename(5, "a name")
        one.delete(documents=["long"])  # keeps the name that it has not seen yet
        assert (len(one), one.concepts.card(5).label) == (70, "a name")
        with watched() as notes:
            assert one.search("rain", where="#7", limit=3).revision == one.state.revision
        assert "count" not in {note.action for note in notes}
        assert not one.state.manifest.is_being_written
    finally:
        clients[0].delete_collection(name)
        for client in clients:
            client.close()


def test_what_another_program_wrote_is_seen_after_a_refresh(small: FeatureSpace) -> None:
    client = QdrantClient(":memory:")
    with opened(None, small, client) as index:
        index.upsert(sample_records(70), learn_terms=False)
        before = len(index.state.snapshot()), index.plan("x").total, index.state.revision
        client.delete("notes", [point_id("doc-3")])
        assert before == (len(index.state.snapshot()), index.plan("x").total, index.state.revision)
        index.refresh()
        assert (len(index.state.snapshot()), index.plan("x").total) == (69, 69) != before[:2]
        assert index.state.revision != before[2]


def test_an_error_of_opening_is_not_taken_for_an_absent_index(small: FeatureSpace) -> None:
    client = QdrantClient(":memory:")
    FeatureIndex.create("notes", replace(small, name="not here"), client=client)
    with pytest.raises(NotFoundError, match="not here"):
        FeatureIndex("notes", client=client)


# Interruptions ----------------------------------------------------------------------------------------

KILLED = """
import os, signal, sys, threading, time
from pathlib import Path
from saeindex import FeatureIndex, FeatureSpace, Record
from tests.collection.test_states import opened, small_space
from tests.samples import sample_records

index = opened(Path(sys.argv[1]), small_space(FeatureSpace.load("minilm-concepts").encoder))
index.upsert(sample_records(20, prefix="base"), learn_terms=False)
gates = {400: threading.Event(), 600: threading.Event()}
read = 0

def wait(count):
    global read
    read += count
    gates[read].wait() if read in gates else None

records = [*sample_records(400, prefix="first"), *sample_records(208, prefix="second")]
write = lambda: index.upsert(records, batch_size=200, learn_terms=False, progress=wait)
threading.Thread(target=write, daemon=True).start()
while len(index) < 420:
    time.sleep(0.05)
index.concepts.rename(5, "a name")
assert len(index.state.snapshot()) == 420
gates[400].set()
while len(index) < 620:
    time.sleep(0.05)
os.kill(os.getpid(), signal.SIGKILL)
"""


def test_a_kill_during_a_write_leaves_no_cache_of_before(tmp_path: Path, small: FeatureSpace) -> None:
    """Another thread saved a name and a snapshot while the write was going on."""
    place = tmp_path / "index"
    done = subprocess.run(
        [sys.executable, "-c", KILLED, str(place)], timeout=PATIENCE_S, check=False, capture_output=True
    )
    assert done.returncode == -signal.SIGKILL, done.stderr.decode()
    with opened(place, small) as index:
        assert index.concepts.card(5).label == "a name"
        assert len(index.state.snapshot()) == len(index) == 620
        assert index.state.manifest.is_being_written
        index.upsert(sample_records(20, prefix="base"))  # nothing of it is new
        assert (index.state.manifest.is_being_written, index.state.manifest.counts.records) == (False, 620)


def test_a_write_that_fails_leaves_what_it_wrote_before_and_is_over(
    index: FeatureIndex, monkeypatch: pytest.MonkeyPatch
) -> None:
    def source() -> Iterator[Record]:
        yield from sample_records(40)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        index.upsert(source(), batch_size=20, learn_terms=False)
    assert index.state.manifest.counts.records == len(index) == index.plan("x").total
    assert not index.state.manifest.is_being_written

    def fails(*_: object) -> None:
        raise OSError("no space")

    with monkeypatch.context() as patched:
        patched.setattr(index.state.store, "write_manifest", fails)
        with pytest.raises(OSError, match="no space"):
            index.upsert(sample_records(50))
    index.upsert(sample_records(50))
    assert (index.state.manifest.counts.records, index.state.manifest.is_being_written) == (50, False)


# Turns ------------------------------------------------------------------------------------------------


def test_a_reader_sees_no_write_and_a_writer_goes_before_later_readers() -> None:
    turns, order = OwnTurns(), list[str]()
    reads, waits = threading.Event(), threading.Event()

    def first() -> None:
        with turns.reading():
            reads.set()
            waits.wait(PATIENCE_S)
            with turns.reading():  # its own turn: it does not wait for the writer
                order.append("first")

    def writer() -> None:
        with turns.writing(), turns.reading(), turns.writing():
            order.append("writer")

    def later() -> None:
        with turns.reading():
            order.append("later")

    threads = [threading.Thread(target=work, daemon=True) for work in (first, writer, later)]
    threads[0].start()
    reads.wait(PATIENCE_S)
    threads[1].start()
    time.sleep(0.1)
    threads[2].start()
    time.sleep(0.1)
    assert not order
    waits.set()
    for thread in threads:
        thread.join(PATIENCE_S)
    assert order == ["first", "writer", "later"]


@pytest.mark.parametrize("other", ["reading", "writing"])
def test_a_thread_that_writes_in_a_loop_lets_the_others_come_between(other: str) -> None:
    turns, is_over, done = OwnTurns(), threading.Event(), list[int]()

    def loop() -> None:
        while not is_over.is_set():
            with turns.writing():
                pass

    def few() -> None:
        for number in range(20):
            with getattr(turns, other)():
                done.append(number)

    threads = [threading.Thread(target=work, daemon=True) for work in (loop, few)]
    for thread in threads:
        thread.start()
    threads[1].join(5)
    is_over.set()
    assert len(done) == 20
    for thread in threads:
        thread.join(PATIENCE_S)


def test_readers_of_two_collections_do_not_wait_for_each_other_for_ever() -> None:
    class Held:
        def __init__(self) -> None:
            self.turns = OwnTurns()

    one, other = Held(), Held()

    def read(*both: Any) -> None:
        for _ in range(300):
            with reading_all(both):
                pass

    def write(held: Held) -> None:
        for _ in range(300):
            with held.turns.writing():
                pass

    threads = [
        threading.Thread(target=work, args=held, daemon=True)
        for work, held in ((read, (one, other)), (read, (other, one)), (write, (one,)), (write, (other,)))
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(PATIENCE_S)
    assert not any(thread.is_alive() for thread in threads)


def test_a_writer_that_is_interrupted_while_it_waits_holds_nobody_up() -> None:
    turns, reads, ends = OwnTurns(), threading.Event(), threading.Event()

    def reader() -> None:
        with turns.reading():
            reads.set()
            ends.wait(PATIENCE_S)

    def later() -> None:
        with turns.reading():
            pass

    thread = threading.Thread(target=reader, daemon=True)
    thread.start()
    reads.wait(PATIENCE_S)
    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # a run in the background ignores it
    try:
        threading.Timer(0.2, os.kill, (os.getpid(), signal.SIGINT)).start()
        with pytest.raises(KeyboardInterrupt), turns.writing():
            pass
    finally:
        signal.signal(signal.SIGINT, before)
    last = threading.Thread(target=later, daemon=True)
    last.start()
    last.join(5)
    ends.set()
    assert not last.is_alive()
