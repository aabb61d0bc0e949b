"""Indexing again, with changes, with invalid records, and with failures."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator, Sequence
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from saeindex import FeatureIndex, FeatureSpace, Record
from saeindex.errors import EncoderError, InvalidInputError, StorageError
from saeindex.indexing import pipeline
from saeindex.indexing.sources.open_source import open_source
from saeindex.language.speech import sentence_spans
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
def plain_index(tmp_path: Path, space: FeatureSpace, encoder: RecordingEncoder) -> Iterator[FeatureIndex]:
    """An index that encodes texts alone."""
    path = tmp_path / "plain.idx"
    with FeatureIndex.create(path, space, encoder=encoder, sentences="off") as index:
        yield index


@pytest.fixture
def cheap_index(tmp_path: Path, space: FeatureSpace) -> Iterator[FeatureIndex]:
    """An index for tests that do not depend on the meaning of vectors."""
    path = tmp_path / "cheap.idx"
    with FeatureIndex.create(path, space, encoder=RandomEncoder(space.encoder)) as index:
        yield index


def rejects(index: FeatureIndex) -> list[dict[str, str]]:
    if not index.state.rejects_path.exists():
        return []
    return [json.loads(line) for line in index.state.rejects_path.read_text().splitlines()]


def stored_ids(index: FeatureIndex) -> set[str]:
    return {point.payload["record_id"] for point in all_points(index)}


# Indexing again ---------------------------------------------------------------------------------------


def test_indexing_unchanged_records_again_encodes_nothing(
    index: FeatureIndex, encoder: RecordingEncoder, records: list[Record]
) -> None:
    first = index.upsert(records[:50], batch_size=16)
    assert (first.read, first.indexed, first.unchanged, first.records) == (50, 50, 0, 50)
    before = contents(index)
    encoder.requested.clear()
    again = index.upsert(records[:50], batch_size=7)
    assert encoder.requested == []
    assert (again.read, again.indexed, again.unchanged, again.records) == (50, 0, 50, 0)
    assert contents(index) == before


def test_a_changed_record_is_encoded_alone_and_replaced(
    index: FeatureIndex, encoder: RecordingEncoder, records: list[Record]
) -> None:
    index.upsert(records[:20])
    old = records[11]
    changed = Record(old.id, f"{old.text} Changed.", {"topic": "new"})
    encoder.requested.clear()
    report = index.upsert([*records[:11], changed, *records[12:20]])
    sentences = [changed.text[start:end] for start, end in sentence_spans(changed.text)]
    assert len(sentences) > 1
    assert encoder.requested == [changed.text, *sentences]
    assert (report.indexed, report.unchanged) == (1, 19)
    assert index.count() == 20
    (stored,) = [p for p in all_points(index) if p.payload["record_id"] == old.id]
    assert stored.payload["text"] == changed.text
    assert stored.payload["metadata"] == {"topic": "new"}


def test_records_missing_in_a_later_run_stay(index: FeatureIndex, records: list[Record]) -> None:
    index.upsert(records[:5])
    index.upsert(records[5:8])
    assert stored_ids(index) == {record.id for record in records[:8]}


# Documents --------------------------------------------------------------------------------------------


def test_a_shorter_version_leaves_no_record_of_the_old_one(index: FeatureIndex) -> None:
    others = [Record("other", LONG + " Other."), Record("short", "Only a line.")]
    index.upsert([Record("long", LONG), *others], split=20)
    before = index.count('document = "long"')
    assert before > 5
    assert index.count('document = "short"') == 1, "short texts are documents, too"
    for text in (LONG[:200], "Now a single line."):
        report = index.upsert([Record("long", text), *others], split=20)
        assert (report.indexed, report.unchanged) == (1, 2)
        stored = index.get(documents=["long"], include=())
        assert len(stored) == report.records < before
        assert "".join(one.text for one in stored) == text


@pytest.mark.parametrize("splits", [(20, 60), (20, None), (None, 20), (60, 20)])
def test_another_split_replaces_all_that_was_made_of_a_text(
    index: FeatureIndex, splits: tuple[int | None, int | None]
) -> None:
    for split in splits:
        report = index.upsert([Record("long", LONG, {"n": 1}), Record("plain", "A line.")], split=split)
        assert report.indexed == 2
        assert index.upsert([Record("long", LONG, {"n": 1})], split=split).unchanged == 1
    stored = stored_ids(index)
    assert len(stored) == report.records == index.count()
    assert stored == {"long", "plain"} if splits[1] is None else "long" not in stored


def test_a_document_of_which_a_record_is_missing_is_indexed_again(index: FeatureIndex) -> None:
    index.upsert([Record("long", LONG), Record("b", LONG)], split=20)
    count = index.count()
    index.delete(["long#3"])
    report = index.upsert([Record("long", LONG), Record("b", LONG)], split=20)
    assert (report.indexed, report.unchanged, index.count()) == (1, 1, count)


def test_a_run_that_dies_between_deleting_and_writing_is_made_good(
    index: FeatureIndex, monkeypatch: pytest.MonkeyPatch
) -> None:
    index.upsert([Record("long", LONG)], split=20)

    def die(points: Sequence[Point]) -> None:
        raise StorageError("upsert", "the engine died", "Open it again.")

    with monkeypatch.context() as patch:
        patch.setattr(index.state.store, "upsert", die)
        with pytest.raises(StorageError):
            index.upsert([Record("long", LONG[:300])], split=20)
    assert index.upsert([Record("long", LONG[:300])], split=20).indexed == 1
    assert "".join(one.text for one in index.get(documents=["long"], include=())) == LONG[:300]


@pytest.mark.parametrize("split", [None, 20])
def test_an_id_of_a_stored_piece_is_no_other_record_s(index: FeatureIndex, split: int | None) -> None:
    index.upsert([Record("d", LONG)], split=20)
    before = contents(index)
    assert index.upsert([Record("d#0", "foreign")], split=split, allow_rejects=True).rejected == 1
    assert contents(index) == before
    index.delete(["d#0"])
    before = contents(index)
    assert index.upsert([Record("d#1", "foreign")], split=split, allow_rejects=True).rejected == 1
    assert contents(index) == before


def test_a_record_does_not_take_the_place_of_a_piece_nor_a_piece_that_of_a_record(
    index: FeatureIndex,
) -> None:
    index.upsert([Record("a", LONG)], split=20)
    before = contents(index)
    report = index.upsert(
        [Record("a#0", "foreign"), Record("a#99", "foreign"), Record("a#0", "x", {}, {}, "b")],
        allow_rejects=True,
    )
    assert (report.indexed, report.superseded, report.rejected) == (0, 1, 2)
    assert contents(index) == before
    assert {line["id"] for line in rejects(index)} == {"a#0", "a#99"}
    assert sum("is that of a piece of the document 'a'" in line["reason"] for line in rejects(index)) == 2
    index.upsert([Record("b#1", "was here before"), Record("issue#12", "no document of this name")])
    report = index.upsert([Record("b", LONG), Record("c", LONG)], split=20, allow_rejects=True)
    assert (report.indexed, report.rejected) == (1, 1)
    assert rejects(index)[-1]["reason"].startswith("it would replace the record 'b#1'")
    assert index.get(["b#1"], include=())[0].text == "was here before"
    assert index.count('document = "b"') == 0
    report = index.upsert([Record("d#0", "first"), Record("d", LONG)], split=20, allow_rejects=True)
    assert (report.indexed, report.rejected) == (1, 1)
    assert "which is the id of another record of this source" in rejects(index)[-1]["reason"]
    report = index.upsert(
        [Record("e#0", "a piece by itself", {}, {}, "f"), Record("e", LONG)], split=20, allow_rejects=True
    )
    assert (report.indexed, report.rejected) == (1, 1)


def test_pieces_that_a_caller_brings_are_replaced_by_id(index: FeatureIndex) -> None:
    book = [Record(f"chapter-{n}", f"Chapter {n} is about rain.", {}, {}, "book") for n in range(3)]
    assert index.upsert(book, split=20).records == 3, "they are not split again"
    changed = Record("chapter-1", "Chapter 1 is about snow.", {}, {}, "book")
    assert index.upsert([changed]).indexed == 1
    assert index.upsert([book[0], changed, book[2]]).unchanged == 3
    assert index.count('document = "book"') == 3
    assert [hit.document for hit in index.search("snow", limit=1)] == ["book"]
    rows: list[Any] = [{"id": "p1", "text": "A page on tea.", "document": "leaflet", "n": 1}]
    index.upsert(rows)
    (page,) = index.get(documents=["leaflet"], include=())
    assert (page.id, dict(page.metadata)) == ("p1", {"n": 1})
    assert index.delete(documents=["book", "none"]) == 3


def test_a_long_text_is_counted_and_warned_of_until_it_is_split(index: FeatureIndex) -> None:
    long = Record("long", "Penguins live in Antarctica. " * 60)
    report = index.upsert([long, Record("short", "A line.")])
    assert (report.indexed, report.truncated) == (2, 1)
    assert (index.info()["truncated"], index.info()["documents"]) == (1, 0)
    report = index.upsert([long], split=index.encoder.max_tokens)
    assert (report.records, report.truncated) == (2, 0)
    assert (index.info()["truncated"], index.info()["documents"]) == (0, 1)


@pytest.mark.parametrize(
    ("split", "found"),
    [(2_000, "the encoder reads 254 tokens"), (7, "too few"), (True, "whole number"), (20.0, "whole number")],
)
def test_a_split_that_is_not_possible_is_an_error_and_writes_nothing(
    index: FeatureIndex, split: Any, found: str
) -> None:
    with pytest.raises(InvalidInputError, match=found):
        index.upsert([Record("a", "text")], split=split)
    assert index.count() == 0


def test_not_means_records_of_split_texts_too(index: FeatureIndex) -> None:
    """The review's first finding: a condition and its negation, of a long text and a short one."""
    index.upsert([Record("long", LONG), Record("short", "A line about tea.")], split=20)
    total = index.count()
    feature = next(iter(index.get(["long#0"])[0].concepts)).id
    having, lacking = index.count(f"#{feature}"), index.count(f"NOT #{feature}")
    assert having > 0 and lacking > 0 and having + lacking == total
    assert index.delete(where=f"NOT #{feature}") == lacking
    assert (index.count(f"#{feature}"), index.count()) == (having, having)


# Invalid records --------------------------------------------------------------------------------------


def test_invalid_records_are_reported_with_position_and_the_rest_is_indexed(
    index: FeatureIndex, records: list[Record]
) -> None:
    source: list[Any] = [
        records[0],
        {"id": "empty", "text": "  "},
        records[1],
        Record("x", "ok", {"at": {1}}),
    ]
    report = index.upsert(source, allow_rejects=True)
    assert (report.read, report.indexed, report.unchanged, report.rejected) == (4, 2, 0, 2)
    assert stored_ids(index) == {records[0].id, records[1].id}
    assert sorted((line["position"], line["id"]) for line in rejects(index)) == [
        ("record 2", "empty"),
        ("record 4", "x"),
    ]


def test_a_record_that_the_store_refuses_is_rejected_alone(cheap_index: FeatureIndex) -> None:
    too_large = Record("large", "word " * 1_800_000, {})
    report = cheap_index.upsert(
        [Record("a", "first", {}), too_large, Record("c", "third", {})], allow_rejects=True
    )
    assert (report.read, report.indexed, report.rejected) == (3, 2, 1)
    assert stored_ids(cheap_index) == {"a", "c"}
    (line,) = rejects(cheap_index)
    assert (line["id"], line["position"]) == ("large", "record 2")
    assert "bytes" in line["reason"]


def test_a_document_with_a_refused_record_is_not_stored_in_part(index: FeatureIndex) -> None:
    class Poisoned(RandomEncoder):
        def encode_document(self, texts: Sequence[str]) -> FloatArray:
            vectors = super().encode_document(texts)
            vectors[["Sentence 9 " in text for text in texts]] = 0
            return vectors

    index.encoder = Poisoned(index.space.encoder)
    given = [Record("good", LONG[:150]), Record("bad", LONG), Record("short", "x")]
    report = index.upsert(given, split=20, allow_rejects=True)
    assert (report.indexed, report.rejected) == (2, 1)
    assert {one.partition("#")[0] for one in stored_ids(index)} == {"good", "short"}
    assert [(line["id"], line["position"]) for line in rejects(index)] == [("bad", "record 2")]
    index.encoder = RandomEncoder(index.space.encoder)
    assert index.upsert([Record("bad", LONG)], split=20).indexed == 1


# Failures ---------------------------------------------------------------------------------------------


def test_an_encoder_error_loses_nothing_that_was_encoded_before(
    plain_index: FeatureIndex, encoder: RecordingEncoder, records: list[Record]
) -> None:
    class Failing(RandomEncoder):
        def encode_document(self, texts: Sequence[str]) -> FloatArray:
            if records[40].text in texts:
                raise EncoderError("encode", "the service is down", "Try again.")
            return encoder.encode_document(texts)

    index = plain_index
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

    class Waiting:
        times = 0

        def __iter__(self) -> Iterator[Record]:
            self.times += 1
            yield from sample_records(first)
            assert self.times == 1 or has_failed.wait(20)
            yield from sample_records(100, prefix="late")

    monkeypatch.setattr(cheap_index.state.store, "upsert", refuse_the_last)
    monkeypatch.setattr(pipeline, "LEARNED_SECONDS", 0.2)
    with pytest.raises(StorageError, match="disk is full"):
        within_a_minute(lambda: cheap_index.upsert(Waiting(), batch_size=batch_size))


def test_an_error_of_the_progress_bar_ends_the_run(cheap_index: FeatureIndex) -> None:
    def broken(_: int) -> None:
        raise BrokenPipeError("nobody reads stderr")

    run = pipeline.Pipeline(
        cheap_index.state.store, lambda: cheap_index.space, cheap_index.encoder, None, print, broken, window=2
    )
    with pytest.raises(BrokenPipeError):
        within_a_minute(lambda: run.run(open_source(sample_records(60))))


def recorded_writes(index: FeatureIndex, monkeypatch: pytest.MonkeyPatch) -> list[list[Point]]:
    """Return the points of each write, as they come."""
    written: list[list[Point]] = []
    upsert = index.state.store.upsert

    def recorded(points: Sequence[Point]) -> None:
        written.append(list(points))
        upsert(points)

    monkeypatch.setattr(index.state.store, "upsert", recorded)
    return written


def test_every_upsert_is_small_enough_to_be_atomic(
    plain_index: FeatureIndex, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pipeline, "PART_VECTORS", 100)
    plain_index.encoder = RandomEncoder(plain_index.space.encoder)
    written = recorded_writes(plain_index, monkeypatch)
    records = sample_records(450)
    report = plain_index.upsert([*records, Record("", "no id", {})], batch_size=1_000)
    assert [len(points) for points in written] == [100, 100, 100, 100, 50]
    assert (report.read, report.indexed, report.rejected, report.unchanged) == (451, 450, 1, 0)
    plain_index.delete([record.id for record in records[200:]])
    resumed = plain_index.upsert(records, batch_size=1_000)
    ids = [[point.id for point in points] for points in written]
    assert ids[5:] == ids[2:5], "a resumed run encodes and writes the same parts"
    assert (resumed.read, resumed.indexed, resumed.unchanged) == (450, 250, 200)


def test_upserts_count_the_vectors_of_sentences(
    cheap_index: FeatureIndex, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pipeline, "PART_VECTORS", 100)
    written = recorded_writes(cheap_index, monkeypatch)
    records = sample_records(150)
    cheap_index.upsert(records, batch_size=1_000)
    sizes = [1 + len(sentence_spans(record.text)) for record in records]
    expected, count, size = [0], 0, 0
    for own in sizes:  # in order: a part ends before the record that would be too much
        if size + own > 100:
            expected, size = [*expected, count], 0
        count, size = count + 1, size + own
    starts = [*expected, len(records)]
    assert [len(points) for points in written] == [end - start for start, end in pairwise(starts)]
    assert len(written) > 3


@pytest.mark.parametrize("batch_size", [0, -1, "a", 2.0])
def test_a_batch_size_that_is_no_number_of_records_is_refused(index: FeatureIndex, batch_size: Any) -> None:
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


def test_records_that_came_with_a_document_are_changed_and_are_not_taken_for_pieces(
    index: FeatureIndex,
) -> None:
    given = [Record("a#0", "mine 0", {}, {}, "a"), Record("a#1", "mine 1", {}, {}, "a")]
    index.upsert([*given, Record("x", "a part of z", {}, {}, "z"), Record("b#0", "plain")])
    changed = Record("a#0", "mine, changed", {}, {}, "a")
    assert index.upsert([changed]).indexed == 1
    assert index.get(["a#0"], include=())[0].text == "mine, changed"
    assert index.upsert([Record("b#0", "a piece now", {}, {}, "b")], allow_rejects=True).rejected == 1
    for size in (1, 512):
        index.upsert([Record("a", "a summary"), changed, given[1]], batch_size=size, allow_rejects=True)
        assert len(index) == 5
    before = contents(index)
    assert index.upsert([Record("z", LONG), Record("x", LONG)], split=20, allow_rejects=True).rejected == 2
    assert contents(index) == before
    assert {"delete them first", "is not of this document"} == {
        reason for reason in ("delete them first", "is not of this document")
        if any(reason in line["reason"] for line in rejects(index))
    }  # fmt: skip
    index.upsert([Record("a", LONG)], split=20)  # the ids of pieces are those of a split
    assert "".join(one.text for one in index.get(documents=["a"], include=())) == LONG
    assert "a" not in index


def test_an_index_made_of_an_export_is_updated_from_the_source(index: FeatureIndex, tmp_path: Path) -> None:
    index.upsert([Record("a", LONG), Record("b", "Short.")], split=20)
    index.export(tmp_path / "all.jsonl")
    with FeatureIndex.create(tmp_path / "again", index.space, encoder=index.encoder) as again:
        again.upsert(tmp_path / "all.jsonl")
        assert contents(again) != contents(index)
        assert again.upsert([Record("a", LONG), Record("b", "Short, but new.")], split=20).indexed == 2
        index.upsert([Record("b", "Short, but new.")], split=20)
        assert contents(again) == contents(index)
        assert again.upsert([Record("a", LONG[:50])], split=20).records == 1
        assert again.count('document = "a"') == 1


def test_an_id_that_is_too_long_with_the_number_of_a_piece_is_rejected(index: FeatureIndex) -> None:
    report = index.upsert([Record("L" * 511, LONG), Record("M" * 500, LONG)], split=20, allow_rejects=True)
    assert (report.indexed, report.rejected) == (1, 1)
    assert "an id of its pieces has 513 characters, above 512" in rejects(index)[-1]["reason"]


def test_a_new_version_that_the_store_refuses_changes_nothing(
    index: FeatureIndex, monkeypatch: pytest.MonkeyPatch
) -> None:
    index.upsert([Record("long", LONG), Record("other", LONG)], split=20)
    before = contents(index)
    monkeypatch.setattr("saeindex.stores.point_checks.MAX_BYTES", 2_000)
    report = index.upsert(
        [Record("long", LONG[:100], {"n": "z" * 3_000}), Record("new", "fine")], split=20, allow_rejects=True
    )
    assert (report.indexed, report.rejected, report.records) == (1, 1, 1)
    assert [one for one in contents(index) if one in before] == before
    assert index.upsert([Record("long", "z" * 3_000)], allow_rejects=True).rejected == 1
    assert [one for one in contents(index) if one in before] == before
