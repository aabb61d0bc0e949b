"""The sentences of records: which are kept, where they are in the texts, and what a run encodes."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from multiprocessing.context import ForkServerContext
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from qdrant_client import QdrantClient

from saeindex import AsyncFeatureIndex, FeatureIndex, FeatureSpace, Record
from saeindex.config import MAX_SENTENCES, SentenceStorage
from saeindex.errors import InvalidInputError, MismatchError, StorageError
from saeindex.indexing import pipeline, sentences
from saeindex.indexing.points import point_id, vectors_in
from saeindex.protocols import Point
from saeindex.testing.comparison import ROWS_TOLERANCE
from tests.cli.test_cli import call, called
from tests.interrupted import index_file, processes, running, wait_for_documents
from tests.samples import RandomEncoder, RecordingEncoder, all_points, contents, sample_records, write_records

if TYPE_CHECKING:
    from saeindex.types import FloatArray

SEVERAL = (
    "It rained on Monday. \U0001f327\ufe0f Then it snowed for a week!\n\nWhy did nobody tell the children?"
)
OF_SEVERAL = [
    "It rained on Monday.",
    "\U0001f327\ufe0f Then it snowed for a week!",
    "Why did nobody tell the children?",
]
CHINESE = "今天天气很好。我们去公园吧。你觉得怎么样？"
PROMPT = "What is the weather like? Please tell me all."
RECORDS = [
    Record("one", " The bread is fresh. \n", {"n": 1}),
    Record("several", SEVERAL, {"n": 2}, {"prompt": PROMPT}),
    Record("chinese", CHINESE, {}, {"prompt": "One question only?"}),
]


@pytest.fixture
def cheap(space: FeatureSpace) -> RandomEncoder:
    return RandomEncoder(space.encoder)


def make(
    path: Path | str, space: FeatureSpace, encoder: Any, kept: SentenceStorage = "stored", **options: Any
) -> FeatureIndex:
    return FeatureIndex.create(
        path, space, encoder=encoder, fields=("prompt",), sentences=kept, **options
    )  # fmt: skip


def by_id(index: FeatureIndex) -> dict[str, Point]:
    return {point.payload["record_id"]: point for point in all_points(index)}


def cut(point: Point, field: str = "") -> list[str]:
    """Return the sentences that the spans of a point are of."""
    suffix = f"_{field}" if field else ""
    text, spans = point.payload[f"text{suffix}"], point.payload[f"spans{suffix}"]
    return [text[start:end] for start, end in zip(spans[::2], spans[1::2], strict=True)]


# What is kept -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("where", ["edge", "memory", "isolated"])
def test_each_sentence_is_stored_with_its_vector_and_its_place(
    tmp_path: Path, space: FeatureSpace, cheap: RandomEncoder, where: str
) -> None:
    client = QdrantClient(":memory:") if where == "memory" else None
    path, is_isolated = "a" if client else tmp_path / "a.idx", where == "isolated"
    with make(path, space, cheap, client=client, isolated=is_isolated) as index:
        index.upsert(RECORDS)
        points = by_id(index)
        assert index.state.store.layout.multi == {"sentences": 384, "sentences_prompt": 384}
    expected = {
        ("one", ""): ["The bread is fresh."],
        ("several", ""): OF_SEVERAL,
        ("several", "prompt"): ["What is the weather like?", "Please tell me all."],
        ("chinese", ""): ["今天天气很好。", "我们去公园吧。", "你觉得怎么样？"],
        ("chinese", "prompt"): ["One question only?"],
    }
    for (record_id, field), texts in expected.items():
        point = points[record_id]
        assert cut(point, field) == texts
        asked = [" The bread is fresh. \n"] if record_id == "one" else texts
        stored = point.vectors["sentences_prompt" if field else "sentences"]
        np.testing.assert_allclose(
            np.asarray(stored), cheap.encode_document(asked), atol=ROWS_TOLERANCE
        )  # fmt: skip
    assert not {"spans_prompt", "sentences_prompt"} & {*points["one"].payload, *points["one"].vectors}


def test_spans_alone_and_nothing_are_kept_where_that_is_asked_for(
    tmp_path: Path, space: FeatureSpace, cheap: RandomEncoder
) -> None:
    kept: dict[SentenceStorage, list[tuple[Any, ...]]] = {}
    payloads: dict[SentenceStorage, list[dict[str, Any]]] = {}
    storages: tuple[SentenceStorage, ...] = ("stored", "codes", "off")
    for storage in storages:
        with make(tmp_path / storage, space, cheap, storage) as index:
            index.upsert(RECORDS)
            kept[storage], payloads[storage] = contents(index), [dict(p.payload) for p in all_points(index)]
            assert index.state.manifest.sentences == index.info()["sentences"] == storage
    assert payloads["codes"] == payloads["stored"] != payloads["off"]
    assert space.evidence is not None
    named = set(space.evidence.features.tolist())
    for one, plain in zip(payloads["codes"], payloads["off"], strict=True):
        for field in ("", "_prompt"):
            if f"text{field}" in one:
                for key in ("spans", "evidence", "speaking"):
                    del one[key + field]
            both = (payload.pop(f"concepts{field}", []) for payload in (one, plain))
            free, same = ([code for code in codes if code // 4 not in named] for codes in both)
            assert free == same, "free features have the levels of their activations"
    assert payloads["codes"] == payloads["off"]
    vectors = {storage: [one[2:5] for one in points] for storage, points in kept.items()}
    assert vectors["stored"] == vectors["codes"] == vectors["off"], "texts have the same vectors and codes"
    assert all(one[5:] == () for storage in ("codes", "off") for one in kept[storage])


def test_a_text_of_one_sentence_is_encoded_once(
    tmp_path: Path, space: FeatureSpace, encoder: RecordingEncoder
) -> None:
    with make(tmp_path / "a.idx", space, encoder) as index:
        index.upsert([RECORDS[0], Record("again", "The bread is fresh."), Record("both", SEVERAL)])
        points = by_id(index)
    assert sorted(encoder.requested) == sorted(
        [" The bread is fresh. \n", "The bread is fresh.", SEVERAL, *OF_SEVERAL]
    )
    (row,) = np.asarray(points["one"].vectors["sentences"])
    np.testing.assert_allclose(row, np.asarray(points["one"].vectors["dense"]), atol=ROWS_TOLERANCE)


def test_a_sentence_of_several_texts_is_encoded_once(
    tmp_path: Path, space: FeatureSpace, encoder: RecordingEncoder
) -> None:
    texts = [f"{OF_SEVERAL[0]} Number {n} is here." for n in range(3)]
    with make(tmp_path / "a.idx", space, encoder) as index:
        index.upsert([Record(text[-12:], text) for text in (*texts, OF_SEVERAL[0])])
    assert sorted(encoder.requested) == sorted(
        [*texts, OF_SEVERAL[0], *(f"Number {n} is here." for n in range(3))]
    )


def test_records_of_a_split_text_have_the_sentences_of_their_own_texts(
    tmp_path: Path, space: FeatureSpace, cheap: RandomEncoder
) -> None:
    with make(tmp_path / "a.idx", space, cheap) as index:
        long = " ".join(f"Sentence {n} is about {n} stars." for n in range(40))
        index.upsert([Record("long", long, {}, {"prompt": PROMPT})], split=20)
        points = by_id(index)
    assert len(points) > 10
    assert [one for n in range(len(points)) for one in cut(points[f"long#{n}"])] == [
        f"Sentence {n} is about {n} stars." for n in range(40)
    ]
    assert all(len(np.asarray(point.vectors["sentences_prompt"])) == 2 for point in points.values())


def test_a_long_text_has_the_first_thousand_sentences_and_is_encoded_and_written_in_bounded_parts(
    tmp_path: Path, space: FeatureSpace, cheap: RandomEncoder, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = " ".join(f"The star {n} was seen by Ann." for n in range(20_000))
    encoded, written = list[int](), list[int]()
    encode = cheap.encode_document

    def counted(texts: Sequence[str]) -> FloatArray:
        encoded.append(len(texts))
        return encode(texts)

    monkeypatch.setattr(cheap, "encode_document", counted)
    with make(tmp_path / "a.idx", space, cheap) as index:
        upsert = index.state.store.upsert

        def recorded(points: Sequence[Point]) -> None:
            written.append(sum(map(vectors_in, points)))
            upsert(points)

        monkeypatch.setattr(index.state.store, "upsert", recorded)
        index.upsert([Record("whole", text)])
        (point,) = all_points(index)
        assert cut(point) == [f"The star {n} was seen by Ann." for n in range(MAX_SENTENCES)]
        assert len(np.asarray(point.vectors["sentences"])) == MAX_SENTENCES
        assert encoded == written == [MAX_SENTENCES + 1]
        report = index.upsert([Record("split", text)], split=120)
        assert written[1:] and sum(written[1:]) == report.records + 20_000
    assert max(encoded) <= sentences.ENCODED_AT_ONCE
    assert max(written) <= pipeline.PART_VECTORS


# Written again, and interrupted -----------------------------------------------------------------------


def test_an_unchanged_record_is_not_encoded_and_a_changed_one_has_its_new_sentences(
    tmp_path: Path, space: FeatureSpace, encoder: RecordingEncoder
) -> None:
    with make(tmp_path / "a.idx", space, encoder) as index:
        index.upsert(RECORDS)
        encoder.requested.clear()
        assert index.upsert(RECORDS).unchanged == len(RECORDS)
        assert encoder.requested == []
        index.upsert([Record("several", "It rained on Monday. Nothing else was said.")])
        point = by_id(index)["several"]
    assert cut(point) == ["It rained on Monday.", "Nothing else was said."]
    stored = np.asarray(point.vectors["sentences"])
    np.testing.assert_allclose(stored, encoder.encode_query(cut(point)), atol=ROWS_TOLERANCE)
    assert not {"spans_prompt", "sentences_prompt"} & {*point.payload, *point.vectors}


def test_a_run_that_failed_goes_on_with_the_same_parts(
    tmp_path: Path, space: FeatureSpace, cheap: RandomEncoder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pipeline, "PART_VECTORS", 30)
    records, parts = sample_records(60), list[list[str]]()
    encode = cheap.encode_document

    def recorded(texts: Sequence[str]) -> FloatArray:
        parts.append(list(texts))
        return encode(texts)

    monkeypatch.setattr(cheap, "encode_document", recorded)
    with make(tmp_path / "whole.idx", space, cheap) as index:
        index.upsert(records, learn_terms=False)
        whole, expected = contents(index), list(parts)
    assert len(expected) > 4 and max(map(len, expected)) <= 30
    with make(tmp_path / "a.idx", space, cheap) as index:
        upsert, written = index.state.store.upsert, list[int]()

        def failing(points: Sequence[Point]) -> None:
            if len(written) == 3:
                raise StorageError("upsert", "the disk is full", "Free some space.")
            written.append(len(points))
            upsert(points)

        with monkeypatch.context() as patch:
            patch.setattr(index.state.store, "upsert", failing)
            with pytest.raises(StorageError):
                index.upsert(records, learn_terms=False)
        parts.clear()
        index.upsert(records, learn_terms=False)
        assert parts == expected[3:]
        assert contents(index) == whole


@pytest.fixture(scope="module")
def fork_server() -> ForkServerContext:
    return processes()


@pytest.mark.slow
def test_a_killed_run_ends_with_the_points_of_one_that_was_not(
    tmp_path: Path, space: FeatureSpace, fork_server: ForkServerContext
) -> None:
    source = write_records(tmp_path / "notes.jsonl", sample_records(200, seed=3))
    found = {}
    for name, is_killed in (("whole", False), ("killed", True)):
        path = tmp_path / name
        FeatureIndex.create(path, space, sentences="stored").close()
        if is_killed:
            with running(fork_server, index_file, path, source) as (process, reports):
                wait_for_documents(reports, 320)  # of about 660, texts and sentences
                process.kill()
                process.join()
            with FeatureIndex.open(path) as index:
                assert 0 < index.count() < 200
        with running(fork_server, index_file, path, source) as (process, _):
            process.join()
        with FeatureIndex.open(path) as index:
            found[name] = contents(index)
    assert len(found["whole"]) == 200 and all(len(one) > 5 for one in found["whole"])
    assert found["killed"] == found["whole"]


# The option -------------------------------------------------------------------------------------------


def test_another_value_than_that_of_the_index_is_a_mismatch(
    tmp_path: Path, space: FeatureSpace, cheap: RandomEncoder
) -> None:
    path = tmp_path / "a.idx"
    with FeatureIndex(path, space=space, encoder=cheap, sentences="codes") as index:
        index.upsert(RECORDS[:1])
    with pytest.raises(MismatchError, match=r"made with 'codes'.*copy .* --sentences"):
        FeatureIndex(path, sentences="stored")
    for options in ({}, {"sentences": "codes"}):
        with FeatureIndex(path, encoder=cheap, **options) as index:  # type: ignore[arg-type]
            assert index.state.manifest.sentences == "codes"


@pytest.mark.parametrize("value", ["all", True, None, ["stored"]])
def test_a_value_that_is_none_of_the_three_is_refused(
    tmp_path: Path, space: FeatureSpace, value: Any
) -> None:
    with pytest.raises(InvalidInputError, match="stored, codes, off"):
        FeatureIndex.create(tmp_path / "a.idx", space, sentences=value)
    assert not (tmp_path / "a.idx").exists()


def test_the_async_twin_takes_it(tmp_path: Path, space: FeatureSpace, cheap: RandomEncoder) -> None:
    async def made() -> dict[str, Any]:
        index = await AsyncFeatureIndex.create(tmp_path / "a", space, encoder=cheap, sentences="stored")
        async with index:
            await index.upsert(RECORDS[:1])
            return await index.info()

    assert asyncio.run(made())["sentences"] == "stored"


def test_neither_records_nor_hits_nor_exports_show_spans(
    tmp_path: Path, space: FeatureSpace, cheap: RandomEncoder
) -> None:
    with make(tmp_path / "a.idx", space, cheap) as index:
        index.upsert(RECORDS)
        for found in (index.get([one.id for one in RECORDS]), index.scroll()[0]):
            assert {one.id: dict(one.metadata) for one in found} == {
                one.id: dict(one.metadata) for one in RECORDS
            }
            assert "spans" not in str([one.to_json() for one in found])
        assert all("spans" not in str(hit.to_json()) for hit in index.search("rain"))
        index.export(tmp_path / "all.jsonl", include=("vectors",))
        assert "spans" not in (tmp_path / "all.jsonl").read_text()
        with make(tmp_path / "b.idx", space, cheap) as again:
            again.upsert(tmp_path / "all.jsonl")
            assert contents(again) == contents(index)


def test_commands_make_copy_and_check_an_index_with_sentences(tmp_path: Path) -> None:
    source = write_records(tmp_path / "notes.jsonl", [Record("a", SEVERAL), Record("b", "It is dry.")])
    path, target = str(tmp_path / "a.idx"), str(tmp_path / "b.idx")
    called("index", str(source), "--into", path, "--sentences", "stored")
    done = call("index", str(source), "--into", path, "--sentences", "codes")
    assert done.returncode == 3 and "made with 'stored'" in done.stderr
    assert call("index", str(source), "--into", path, "--sentences", "some").returncode == 2
    assert call("copy", path, target, "--sentences", "codes").returncode == 0
    assert (called("info", path)["sentences"], called("info", target)["sentences"]) == ("stored", "codes")
    for name in (path, target):
        checks = {check["name"]: check for check in called("doctor", name)["checks"]}
        assert all(check["is_well"] for check in checks.values())


@pytest.mark.parametrize(
    "damage",
    [
        lambda point: point.payload.update(spans=[0, 20, 10, 50, 50, 60]),
        lambda point: point.payload.update(spans=[0, 20, 21, 50, 51, 600]),
        lambda point: point.payload.update(spans=[0, 20, 21]),
        lambda point: point.payload.pop("spans"),
    ],
)
def test_doctor_names_records_with_other_sentences(
    tmp_path: Path, space: FeatureSpace, cheap: RandomEncoder, damage: Callable[[Point], object]
) -> None:
    from saeindex.cli.doctor import _check_records

    with make(tmp_path / "a.idx", space, cheap) as index:
        index.upsert(RECORDS)
        assert _check_records(index)[0]
        (point,) = index.state.store.get([point_id("several")], with_vectors=True)
        damaged = Point(point.id, dict(point.vectors), dict(point.payload))
        damage(damaged)
        index.state.store.upsert([damaged])
        is_well, seen = _check_records(index)
    assert not is_well and seen.startswith("1 points lack a part of a record: 'several'.")
