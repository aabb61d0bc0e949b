"""Indexing again, with changes, with invalid records, and with failures."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from saeindex.indexing.passages import PassageOptions

from saeindex import FeatureIndex, FeatureSpace, Record
from saeindex.errors import EncoderError, InvalidInputError, StorageError
from saeindex.indexing import pipeline
from saeindex.indexing.sources.open_source import open_source
from saeindex.protocols import Point
from tests.samples import RandomEncoder, RecordingEncoder, all_points, contents, sample_records

if TYPE_CHECKING:
    from saeindex.types import FloatArray

LONG = " ".join(f"Sentence {n} is about {topic}." for n, topic in enumerate(["stars", "bread", "tax"] * 8))


@pytest.fixture
def index(tmp_path: Path, space: FeatureSpace, encoder: RecordingEncoder) -> Iterator[FeatureIndex]:
    with FeatureIndex.create(tmp_path / "notes.idx", space, encoder=encoder) as index:
        yield index


@pytest.fixture
def split_index(tmp_path: Path, space: FeatureSpace, encoder: RecordingEncoder) -> Iterator[FeatureIndex]:
    """An index that splits texts into passages."""
    path = tmp_path / "split.idx"
    with FeatureIndex.create(path, space, encoder=encoder, passages=PassageOptions(20, 4)) as index:
        yield index


@pytest.fixture
def cheap_index(tmp_path: Path, space: FeatureSpace) -> Iterator[FeatureIndex]:
    """An index for tests that do not depend on the meaning of vectors."""
    path = tmp_path / "cheap.idx"
    with FeatureIndex.create(path, space, encoder=RandomEncoder(space.encoder)) as index:
        yield index


def rejects(index: FeatureIndex) -> list[dict[str, str]]:
    if not index.rejects_path.exists():
        return []
    return [json.loads(line) for line in index.rejects_path.read_text().splitlines()]


def stored_ids(index: FeatureIndex) -> set[str]:
    return {point.payload["record_id"] for point in all_points(index)}


# Indexing again ---------------------------------------------------------------------------------------


def test_indexing_unchanged_records_again_encodes_nothing(
    index: FeatureIndex, encoder: RecordingEncoder, records: list[Record]
) -> None:
    first = index.upsert(records[:50], batch_size=16)
    assert (first.read, first.indexed, first.unchanged, first.passages) == (50, 50, 0, 50)
    before = contents(index)
    encoder.requested.clear()
    again = index.upsert(records[:50], batch_size=7)
    assert encoder.requested == []
    assert (again.read, again.indexed, again.unchanged, again.passages) == (50, 0, 50, 0)
    assert contents(index) == before


@pytest.mark.parametrize("what", ["text", "metadata"])
def test_a_changed_record_is_encoded_alone_and_replaced(
    index: FeatureIndex, encoder: RecordingEncoder, records: list[Record], what: str
) -> None:
    index.upsert(records[:20])
    old = records[11]
    changed = Record(old.id, old.text + (" Changed." if what == "text" else ""), {"topic": "new"})
    encoder.requested.clear()
    report = index.upsert([*records[:11], changed, *records[12:20]])
    assert encoder.requested == [changed.text]
    assert (report.indexed, report.unchanged) == (1, 19)
    assert index.count() == 20
    (stored,) = [p for p in all_points(index) if p.payload["record_id"] == old.id]
    assert stored.payload["text"] == changed.text
    assert stored.payload["metadata"] == {"topic": "new"}


def test_records_missing_in_a_later_run_stay(index: FeatureIndex, records: list[Record]) -> None:
    index.upsert(records[:5])
    index.upsert(records[5:8])
    assert stored_ids(index) == {record.id for record in records[:8]}


def test_a_shorter_version_removes_old_passages(split_index: FeatureIndex) -> None:
    others = [Record("other", LONG + " Other.", {}), Record("short", "Only a line.", {})]
    split_index.upsert([Record("long", LONG, {}), *others])
    passages = {p.payload["passage"] for p in all_points(split_index) if p.payload["record_id"] == "long"}
    assert passages == set(range(len(passages)))
    assert len(passages) > 5
    for text in (LONG[:200], "Now a single line."):
        split_index.upsert([Record("long", text, {}), *others])
        stored = [p.payload for p in all_points(split_index) if p.payload["record_id"] == "long"]
        assert len(stored) < len(passages)
        assert {payload["passage"] for payload in stored} == set(range(len(stored)))
        assert all(payload["text"] in text for payload in stored)
        assert split_index.count() == 3


# Invalid records --------------------------------------------------------------------------------------


def test_invalid_records_are_reported_with_position_and_the_rest_is_indexed(
    index: FeatureIndex, records: list[Record]
) -> None:
    source: list[Any] = [
        records[0],
        {"id": "empty", "text": "  "},
        records[1],
        records[0],
        Record("x", "ok", {"at": {1}}),
    ]
    report = index.upsert(source)
    assert (report.read, report.indexed, report.unchanged, report.rejected) == (5, 2, 0, 3)
    assert stored_ids(index) == {records[0].id, records[1].id}
    assert sorted((line["position"], line["id"]) for line in rejects(index)) == [
        ("record 2", "empty"),
        ("record 4", records[0].id),
        ("record 5", "x"),
    ]
    (duplicate,) = [line for line in rejects(index) if line["position"] == "record 4"]
    assert "record 1 of this source" in duplicate["reason"]


def test_a_duplicate_is_found_across_windows_and_the_first_is_kept(
    index: FeatureIndex, records: list[Record]
) -> None:
    twice = Record(records[2].id, "another text under the same id", {})
    report = index.upsert([*records[:10], twice], batch_size=3)
    assert (report.indexed, report.rejected) == (10, 1)
    assert records[2].text in {point.payload["text"] for point in all_points(index)}
    assert rejects(index)[0]["position"] == "record 11"


def test_a_record_that_the_store_refuses_is_rejected_alone(cheap_index: FeatureIndex) -> None:
    too_large = Record("large", "word " * 1_800_000, {})
    report = cheap_index.upsert([Record("a", "first", {}), too_large, Record("c", "third", {})])
    assert (report.read, report.indexed, report.rejected) == (3, 2, 1)
    assert stored_ids(cheap_index) == {"a", "c"}
    (line,) = rejects(cheap_index)
    assert line["id"] == "large"
    assert "bytes" in line["reason"]


def test_a_record_with_a_refused_passage_is_not_stored_in_part(
    split_index: FeatureIndex,
) -> None:
    class Poisoned(RandomEncoder):
        def encode_document(self, texts: Sequence[str]) -> FloatArray:
            vectors = super().encode_document(texts)
            vectors[["Sentence 9 " in text for text in texts]] = 0
            return vectors

    split_index.encoder = Poisoned(split_index.space.encoder)
    report = split_index.upsert(
        [Record("good", LONG[:150], {}), Record("bad", LONG, {}), Record("short", "x", {})]
    )
    assert (report.indexed, report.rejected) == (2, 1)
    assert stored_ids(split_index) == {"good", "short"}
    assert [line["id"] for line in rejects(split_index)] == ["bad"]
    split_index.encoder = RandomEncoder(split_index.space.encoder)
    assert split_index.upsert([Record("bad", LONG, {})]).indexed == 1


# Failures ---------------------------------------------------------------------------------------------


def test_an_encoder_error_loses_nothing_that_was_encoded_before(
    index: FeatureIndex, encoder: RecordingEncoder, records: list[Record]
) -> None:
    class Failing(RandomEncoder):
        def encode_document(self, texts: Sequence[str]) -> FloatArray:
            if records[40].text in texts:
                raise EncoderError("encode", "the service is down", "Try again.")
            return encoder.encode_document(texts)

    index.encoder = Failing(encoder.identity)
    with pytest.raises(EncoderError, match="the service is down"):
        index.upsert(records[:60], batch_size=10)
    assert stored_ids(index) == {record.id for record in records[:40]}
    index.encoder = encoder
    encoder.requested.clear()
    assert index.upsert(records[:60], batch_size=10).indexed == 20
    assert encoder.requested == [record.text for record in records[40:60]]
    assert stored_ids(index) == {record.id for record in records[:60]}


def test_a_source_error_is_raised_after_what_was_read_is_written(
    index: FeatureIndex, records: list[Record]
) -> None:
    def broken() -> Iterator[Record]:
        yield from records[:20]
        raise OSError("the network drive went away")

    with pytest.raises(OSError, match="network drive"):
        index.upsert(broken(), batch_size=10)
    assert stored_ids(index) == {record.id for record in records[:20]}


def test_a_store_error_ends_the_run_while_the_source_is_waiting(
    cheap_index: FeatureIndex, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, batch_size = 20, 2
    upserts = 0
    has_failed = threading.Event()

    def refuse_the_last(points: Sequence[Point]) -> None:
        nonlocal upserts
        upserts += 1
        if upserts == first // batch_size:
            has_failed.set()
            raise StorageError("upsert", "the disk is full", "Free some space.")

    def waiting() -> Iterator[Record]:
        yield from sample_records(first)
        assert has_failed.wait(20)
        yield from sample_records(100, prefix="late")

    monkeypatch.setattr(cheap_index.store, "upsert", refuse_the_last)
    with pytest.raises(StorageError, match="disk is full"):
        within_a_minute(lambda: cheap_index.upsert(waiting(), batch_size=batch_size))


def test_an_error_of_the_progress_bar_ends_the_run(cheap_index: FeatureIndex) -> None:
    def broken(_: int) -> None:
        raise BrokenPipeError("nobody reads stderr")

    run = pipeline.Pipeline(
        cheap_index.store, cheap_index.space, cheap_index.encoder, None, print, broken, window=2
    )
    with pytest.raises(BrokenPipeError):
        within_a_minute(lambda: run.run(open_source(sample_records(60))))


def test_every_upsert_is_small_enough_to_be_atomic(
    cheap_index: FeatureIndex, monkeypatch: pytest.MonkeyPatch
) -> None:
    written: list[list[str]] = []
    upsert = cheap_index.store.upsert

    def recorded(points: Sequence[Point]) -> None:
        written.append([point.payload["record_id"] for point in points])
        upsert(points)

    monkeypatch.setattr(pipeline, "PART_PASSAGES", 100)
    monkeypatch.setattr(cheap_index.store, "upsert", recorded)
    records = sample_records(450)
    report = cheap_index.upsert([*records, Record("", "no id", {})], batch_size=1_000)
    assert [len(ids) for ids in written] == [100, 100, 100, 100, 50]
    assert (report.read, report.indexed, report.rejected, report.unchanged) == (451, 450, 1, 0)
    cheap_index.delete([record.id for record in records[200:]])
    resumed = cheap_index.upsert(records, batch_size=1_000)
    assert written[5:] == written[2:5], "a resumed run encodes and writes the same parts"
    assert (resumed.read, resumed.indexed, resumed.unchanged) == (450, 250, 200)


@pytest.mark.parametrize("batch_size", [0, -1])
def test_a_batch_size_below_one_is_refused(index: FeatureIndex, batch_size: int) -> None:
    with pytest.raises(InvalidInputError, match="batch_size"):
        index.upsert([], batch_size=batch_size)


def within_a_minute(call: Callable[[], object]) -> None:
    """Call ``call`` and raise its error; fail if it takes a minute."""
    raised: list[BaseException] = []

    def run() -> None:
        try:
            call()
        except BaseException as error:
            raised.append(error)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    thread.join(60)
    assert not thread.is_alive(), "it hangs"
    if raised:
        raise raised[0]
