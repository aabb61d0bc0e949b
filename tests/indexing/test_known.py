"""Vectors that exist already: own ones, those of an export, and those of another index."""

from __future__ import annotations

import base64
import csv
import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from saeindex import Columns, FeatureIndex, FeatureSpace, Record
from saeindex.config import LEVEL_STRIDE
from saeindex.errors import InvalidInputError, MismatchError
from saeindex.indexing.points import mentions_of, point_id
from tests.cli.test_cli import call
from tests.samples import RecordingEncoder, all_points, dense, sample_records

RECORDS = sample_records(90)
KEPT = ("spans", "content_hash", "text", "metadata")


@pytest.fixture
def own(encoder: RecordingEncoder) -> RecordingEncoder:
    """An encoder of which each request counts."""
    return RecordingEncoder(encoder)


@pytest.fixture(scope="module")
def source(
    tmp_path_factory: pytest.TempPathFactory, space: FeatureSpace, session_encoder: RecordingEncoder
) -> Iterator[FeatureIndex]:
    path = tmp_path_factory.mktemp("known") / "source.idx"
    with FeatureIndex.create(path, space, encoder=session_encoder) as made:
        made.upsert(RECORDS)
        assert made.info()["terms"]
        yield made


@pytest.fixture
def empty(tmp_path: Path, space: FeatureSpace, own: RecordingEncoder) -> Iterator[FeatureIndex]:
    with FeatureIndex.create(tmp_path / "new.idx", space, encoder=own) as made:
        yield made


def told(index: FeatureIndex) -> dict[str, dict[str, Any]]:
    """Return what points tell, without terms, which each index has of its own."""
    first = index.state.space.without_terms().n_features
    found = {}
    for point in all_points(index):
        kept = {name: point.payload.get(name) for name in KEPT}
        kept["concepts"] = [code for code in point.payload["concepts"] if code // LEVEL_STRIDE < first]
        kept["mentions"] = [one for one in mentions_of(point.payload) if one.feature < first]
        found[point.payload["record_id"]] = kept | {"dense": dense(point).tobytes()}
    return found


def rows(index: FeatureIndex, records: list[Record] = RECORDS, noise: float = 0.0) -> list[dict[str, Any]]:
    vectors = index.encoder.encode_document([one.text for one in records])
    vectors = vectors + noise * np.roll(vectors, 1, axis=1)
    return [
        {"id": one.id, "text": one.text, "topic": one.metadata["topic"], "embedding": vector.tolist()}
        for one, vector in zip(records, vectors, strict=True)
    ]


def test_own_vectors_are_used_and_a_sample_is_compared(
    source: FeatureIndex, tmp_path: Path, space: FeatureSpace, own: RecordingEncoder
) -> None:
    with FeatureIndex.create(tmp_path / "a.idx", space, encoder=own, sentences="off") as index:
        given = rows(source)
        report = index.upsert(given, columns={"vector": "embedding"}, learn_terms=False)
        assert report.indexed == 90 and len(own.requested) == 8 and not report.left_out
        assert {*own.requested} <= {one.text for one in RECORDS}
        assert index.get(["doc-3"])[0].metadata == {"topic": RECORDS[3].metadata["topic"]}
        here, there = told(index), told(source)
        for one in here:
            ours, theirs = (np.frombuffer(own[one]["dense"], np.float32) for own in (here, there))
            np.testing.assert_allclose(ours, theirs, atol=1e-6)
        assert index.upsert(given, columns={"vector": "embedding"}).unchanged == 90


@pytest.mark.parametrize("form", ["jsonl", "parquet", "frame", "records"])
def test_own_vectors_of_every_kind_of_source(
    form: str, source: FeatureIndex, empty: FeatureIndex, own: RecordingEncoder, tmp_path: Path
) -> None:
    given: Any = rows(source, RECORDS[:12])
    columns: Any = {"vector": "embedding"}
    if form == "jsonl":
        path = tmp_path / "rows.jsonl"
        path.write_text("".join(json.dumps(one) + "\n" for one in given))
        given = path
    elif form == "parquet":
        given = tmp_path / "rows.parquet"
        pd.DataFrame(rows(source, RECORDS[:12])).to_parquet(given)
    elif form == "frame":
        given = pd.DataFrame(given).assign(embedding=[np.array(one["embedding"]) for one in given])
    else:
        given, columns = (
            iter([Record(one["id"], one["text"], vector=one["embedding"]) for one in given]),
            None,
        )
    assert empty.upsert(given, columns=columns, learn_terms=False).indexed == 12
    texts = {one.text for one in RECORDS[:12]}
    assert sum(text in texts for text in own.requested) == 8  # and the sentences of others
    assert told(empty)["doc-3"]["concepts"] == told(source)["doc-3"]["concepts"]


def test_columns_of_vectors_are_left_out_and_said(source: FeatureIndex, empty: FeatureIndex) -> None:
    report = empty.upsert(rows(source, RECORDS[:5]), learn_terms=False)
    assert report.indexed == 5
    assert report.left_out == ("column embedding: vectors; columns={'vector': 'embedding'} uses them",)
    assert empty.get(["doc-0"])[0].metadata.keys() == {"topic"}
    short = [{"id": "s", "text": "A series.", "values": [0.5] * 20}]
    empty.upsert(short)
    assert empty.get(["s"])[0].metadata == {"values": [0.5] * 20}


def test_vectors_of_another_encoder_are_refused(source: FeatureIndex, empty: FeatureIndex) -> None:
    with pytest.raises(MismatchError, match=r"the vector of record 'doc-\d+': its cosine .* is 0\.\d\d"):
        empty.upsert(rows(source, noise=0.5), columns={"vector": "embedding"})
    assert empty.count() == 0


@pytest.mark.parametrize(
    ("vector", "says"),
    [
        ([1.0] * 3, "its vector has 3 dimensions, not 384"),
        ([0.0] * 384, "the vector is zero"),
        ([float("nan")] * 384, "not a list of finite numbers"),
        ([[1.0] * 384], "not a list of finite numbers"),
        ("[1, 2]", "its vector has 2 dimensions, not 384"),
        ("[1, 2", "not a list of numbers"),
    ],
)
def test_what_is_no_vector_of_the_index_is_rejected(vector: Any, says: str, empty: FeatureIndex) -> None:
    report = empty.upsert(
        [{"id": "a", "text": "Rain fell.", "v": vector}], columns={"vector": "v"}, allow_rejects=True
    )
    assert says in report.reasons[0] and empty.count() == 0


def test_a_text_that_is_split_has_no_vector(source: FeatureIndex, empty: FeatureIndex) -> None:
    report = empty.upsert(
        rows(source, RECORDS[:3]), columns={"vector": "embedding"}, split=20, allow_rejects=True
    )
    assert report.rejected == 3 and "whole text, which is split" in report.reasons[0]


def test_ids_that_are_made_do_not_depend_on_vectors(source: FeatureIndex, empty: FeatureIndex) -> None:
    given = [{"text": one["text"], "embedding": one["embedding"]} for one in rows(source, RECORDS[:3])]
    empty.upsert(given, columns={"vector": "embedding"}, learn_terms=False)
    assert empty.upsert([{"text": one["text"]} for one in given]).unchanged == 3


@pytest.mark.parametrize("ending", ["jsonl", "parquet"])
def test_an_export_of_all_is_imported_without_encoding(
    ending: str, source: FeatureIndex, empty: FeatureIndex, own: RecordingEncoder, tmp_path: Path
) -> None:
    path = tmp_path / f"all.{ending}"
    assert source.export(path, include="all") == 90
    assert empty.upsert(path, learn_terms=False).indexed == 90
    assert not own.requested
    assert told(empty) == told(source)
    assert source.upsert(path).unchanged == 90
    assert empty.get(["doc-5"])[0].metadata == RECORDS[5].metadata
    empty.concepts.learn()
    assert empty.info()["terms"] == source.info()["terms"]


def test_what_does_not_hold_of_an_export_is_encoded(
    source: FeatureIndex, empty: FeatureIndex, own: RecordingEncoder, tmp_path: Path
) -> None:
    path = tmp_path / "all.jsonl"
    source.export(path, include="all")
    changed = [json.loads(line) for line in path.read_text().splitlines()[:4]]
    changed[0]["text"] += " And more."
    changed[1]["known"]["encoder"] = "another"
    changed[2]["known"]["vectors"]["dense"] = [384, "????"]
    short = {**changed[3], "id": "short"}
    three = [3, base64.b64encode(np.ones(3, "<f4").tobytes()).decode()]
    mentions = {"": [10**9, 90, 0, 5, 90, 99]}
    short["known"] = {**short["known"], "vectors": {"dense": three}, "mentions": mentions}
    report = empty.upsert([*changed, short], allow_rejects=True, learn_terms=False)
    assert (report.indexed, report.rejected) == (4, 1) and "damaged" in report.reasons[0]
    there, own_text = told(empty), {"dense": None, "content_hash": None}
    assert {**there["short"], **own_text} == {**there[changed[3]["id"]], **own_text}
    assert changed[0]["text"] in own.requested and changed[1]["text"] in own.requested
    assert "known" not in empty.get([changed[3]["id"]])[0].metadata


@pytest.mark.parametrize("merge", ["replace", "keep"])
def test_two_indexes_are_merged(
    merge: Any, source: FeatureIndex, empty: FeatureIndex, own: RecordingEncoder
) -> None:
    theirs = [
        Record("doc-1", "It is cold in Norway.", {"n": 1}),
        Record("own", "It is hot in Chad.", {"n": 2}),
    ]
    empty.upsert(theirs, source="notes")
    own.requested.clear()
    path = empty.name
    empty.close()
    report = source.copy(path, merge=merge, encoder=own)
    assert not {one.text for one in RECORDS} & {*own.requested}
    with FeatureIndex.open(path, encoder=own) as merged:
        assert merged.count() == 91 and report.records == (90 if merge == "replace" else 89)
        assert merged.get(["doc-1"])[0].text == (RECORDS[1].text if merge == "replace" else theirs[0].text)
        here, there = told(merged), told(source)
        assert {one: here[one] for one in there if one != "doc-1"} == {
            one: there[one] for one in there if one != "doc-1"
        }
        assert merged.info()["terms"]


def test_a_merge_needs_an_index_and_no_settings(source: FeatureIndex, tmp_path: Path) -> None:
    with pytest.raises(InvalidInputError, match="settings of a new index"):
        source.copy(tmp_path / "b.idx", merge="keep", words="off")
    with pytest.raises(InvalidInputError, match="no such way"):
        source.copy(tmp_path / "b.idx", merge="theirs")  # type: ignore[arg-type]


def test_a_merge_on_the_command_line(source: FeatureIndex, empty: FeatureIndex, tmp_path: Path) -> None:
    first, second = tmp_path / "first.idx", empty.name
    source.copy(first)
    empty.close()
    said = call("copy", str(first), str(second), "--merge", "keep")
    assert said.returncode == 0 and "90 records" in said.stdout
    path = tmp_path / "x.jsonl"
    assert call("export", str(first), "--to", str(path), "--with", "all").returncode == 0
    assert json.loads(path.read_text().splitlines()[0])["known"]


def test_a_search_by_vector_is_that_of_its_text(source: FeatureIndex) -> None:
    text = "a distant quasar"
    vector = source.encoder.encode_query([text])[0]
    by_text, by_vector = source.search(text, using="dense"), source.search(vector=vector, using="dense")
    assert [one.id for one in by_vector] == [one.id for one in by_text]
    assert "for a vector" in str(by_vector.plan)
    assert source.search(vector=(3 * vector).tolist(), using="sentences", steer="+music", explain=True)[
        0
    ].steered
    assert source.search(vector=vector)[0].id == source.search(text, using="sentences")[0].id
    assert source.search(text, vector=vector)[0].id == source.search(text)[0].id
    assert source.search_many([text], vector=vector, using="sae")[0][0].score > 0
    for wrong, says in ((vector[:3], "3 numbers, not 384"), (0 * vector, "zero")):
        with pytest.raises(InvalidInputError, match=says):
            source.search(vector=wrong)


def test_columns_name_a_vector() -> None:
    assert Columns(vector="v").vector == "v"
    with pytest.raises(InvalidInputError):
        Columns(vector=3)  # type: ignore[arg-type]


def test_another_vector_of_a_stored_text_is_written(source: FeatureIndex, empty: FeatureIndex) -> None:
    given = rows(source)
    empty.upsert(given, columns={"vector": "embedding"}, learn_terms=False)
    far = list(given[3]["embedding"])[::-1]
    store = empty.state.store
    (stored,) = store.get([point_id(given[3]["id"])], with_vectors=True)
    store.upsert([replace(stored, vectors={**stored.vectors, "dense": np.array(far, np.float32)})])
    empty.refresh()
    report = empty.upsert(given, columns={"vector": "embedding"}, learn_terms=False)
    assert (report.indexed, report.unchanged) == (1, len(given) - 1)
    (one,) = empty.get([given[3]["id"]])
    assert one.dense is not None
    np.testing.assert_allclose(one.dense, given[3]["embedding"], atol=1e-6)


def test_vectors_in_a_table_are_lists_in_text(
    source: FeatureIndex, empty: FeatureIndex, tmp_path: Path
) -> None:
    file = tmp_path / "a.csv"
    with file.open("w", newline="") as opened:
        writer = csv.DictWriter(opened, ["id", "text", "embedding"])
        writer.writeheader()
        for one in rows(source, RECORDS[:20]):
            writer.writerow({"id": one["id"], "text": one["text"], "embedding": json.dumps(one["embedding"])})
    report = empty.upsert(file, learn_terms=False)
    assert "column embedding: vectors" in report.left_out[0]
    assert "embedding" not in empty.get([RECORDS[0].id])[0].metadata
    used = empty.upsert(file, columns={"vector": "embedding"}, learn_terms=False)
    assert (used.unchanged, used.rejected) == (20, 0)


@pytest.mark.parametrize("way", ["replace", "keep", "import"])
def test_a_document_in_other_pieces_is_never_mixed(
    way: str, tmp_path: Path, space: FeatureSpace, own: RecordingEncoder
) -> None:
    long = [" ".join(one.text for one in RECORDS[at : at + 6]) for at in (0, 10)]
    with FeatureIndex.create(tmp_path / "a.idx", space, encoder=own) as there:
        there.upsert([Record("d", long[0]), Record("e", RECORDS[20].text)], split=24, learn_terms=False)
        before = [one.text for one in there.get(documents=["d"], include=())]
    with FeatureIndex.create(tmp_path / "b.idx", space, encoder=own) as other:
        other.upsert([Record("d", long[1]), Record("f", RECORDS[21].text)], split=60, learn_terms=False)
        after = [one.text for one in other.get(documents=["d"], include=())]
        assert len(before) > len(after) > 1
        if way != "import":
            other.copy(tmp_path / "a.idx", merge=way, encoder=own)  # type: ignore[arg-type]
        other.export(tmp_path / "b.jsonl", include="all")
    with FeatureIndex.open(tmp_path / "a.idx", encoder=own) as there:
        if way == "import":
            there.upsert(tmp_path / "b.jsonl", learn_terms=False)
        found = [one.text for one in there.get(documents=["d"], include=())]
        assert found == (before if way == "keep" else after)
        assert len(there) == len(found) + 2


@pytest.mark.parametrize("way", ["replace", "keep", "import"])
@pytest.mark.parametrize("there", ["whole", "without the first piece"])
def test_a_document_replaces_what_is_there_of_it_or_is_left_out(
    way: str, there: str, tmp_path: Path, space: FeatureSpace, own: RecordingEncoder
) -> None:
    record = Record("d", " ".join(one.text for one in RECORDS[:6]), {"of": "source"})
    with FeatureIndex.create(tmp_path / "a.idx", space, encoder=own) as target:
        if there == "whole":
            target.upsert([Record("d", RECORDS[9].text)], learn_terms=False)
        else:
            target.upsert(
                [Record("d", " ".join(one.text for one in RECORDS[9:16]))], split=24, learn_terms=False
            )
            target.delete(["d#0"])
        before = {one.id: one.text for one in target.scroll(limit=99)[0]}
    with FeatureIndex.create(tmp_path / "b.idx", space, encoder=own) as other:
        other.upsert([record], split=24, learn_terms=False)
        after = {one.id: one.text for one in other.scroll(limit=99)[0]}
        if way != "import":
            other.copy(tmp_path / "a.idx", merge=way, encoder=own)  # type: ignore[arg-type]
        other.export(tmp_path / "b.jsonl", include="all")
    with FeatureIndex.open(tmp_path / "a.idx", encoder=own) as target:
        if way == "import":
            target.upsert(tmp_path / "b.jsonl", learn_terms=False)
        assert {one.id: one.text for one in target.scroll(limit=99)[0]} == (
            before if way == "keep" else after
        )
        if way != "keep":  # it is known as a whole text
            again = target.upsert([record], split=24, learn_terms=False, source="notes", prune=True)
            assert (again.indexed, again.updated + again.unchanged, len(again.pruned)) == (0, 1, 0)


def test_part_of_a_document_does_not_mix_with_another_text_of_it(
    tmp_path: Path, space: FeatureSpace, own: RecordingEncoder
) -> None:
    texts = [" ".join(one.text for one in RECORDS[at : at + 6]) for at in (0, 10)]
    with FeatureIndex.create(tmp_path / "b.idx", space, encoder=own) as other:
        other.upsert([Record("d", texts[0])], split=24, learn_terms=False)
        other.delete(["d#1"])
        part = {one.id: one.text for one in other.scroll(limit=99)[0]}
        other.export(tmp_path / "b.jsonl", include="all")
    for name, text, found in (("a", texts[1], part), ("c", texts[0], None)):
        with FeatureIndex.create(tmp_path / f"{name}.idx", space, encoder=own) as target:
            target.upsert([Record("d", text)], split=24, learn_terms=False)
            before = {one.id: one.text for one in target.scroll(limit=99)[0]}
            target.upsert(tmp_path / "b.jsonl", learn_terms=False)
            assert {one.id: one.text for one in target.scroll(limit=99)[0]} == (found or before)


@pytest.mark.parametrize("scale", [1e38, 1e-30, 3.0])
def test_vectors_of_any_length_are_directions(
    scale: float, source: FeatureIndex, empty: FeatureIndex
) -> None:
    given = [
        {**one, "embedding": (np.array(one["embedding"], float) * scale).tolist()} for one in rows(source)[:9]
    ]
    assert empty.upsert(given, columns={"vector": "embedding"}, learn_terms=False).indexed == 9
    with pytest.raises(InvalidInputError, match="vector"):
        empty.search(vector=[])


@pytest.mark.parametrize("way", ["replace", "keep", "import"])
def test_a_document_is_not_written_in_part(
    way: str, tmp_path: Path, space: FeatureSpace, own: RecordingEncoder
) -> None:
    with FeatureIndex.create(tmp_path / "a.idx", space, encoder=own) as target:
        target.upsert([Record("d#1", RECORDS[9].text)], learn_terms=False)
    with FeatureIndex.create(tmp_path / "b.idx", space, encoder=own) as other:
        text = " ".join(one.text for one in RECORDS[:6])
        other.upsert([Record("d", text), Record("e", RECORDS[7].text)], split=24, learn_terms=False)
        if way != "import":
            report = other.copy(tmp_path / "a.idx", merge=way, encoder=own)  # type: ignore[arg-type]
            assert "not of this document" in report.skipped[0]
        other.export(tmp_path / "b.jsonl", include="all")
    with FeatureIndex.open(tmp_path / "a.idx", encoder=own) as target:
        if way == "import":
            target.upsert(tmp_path / "b.jsonl", learn_terms=False, allow_rejects=True)
        assert sorted(one.id for one in target) == ["d#1", "e#0"]


@pytest.mark.parametrize("way", ["replace", "import"])
@pytest.mark.parametrize("name", ["theirs", None])
def test_a_record_is_of_the_source_that_gave_it_last(
    way: str, name: str | None, tmp_path: Path, space: FeatureSpace, own: RecordingEncoder
) -> None:
    with FeatureIndex.create(tmp_path / "a.idx", space, encoder=own) as target:
        target.upsert([Record("r", RECORDS[0].text), Record("s", RECORDS[1].text)], source="ours")
    with FeatureIndex.create(tmp_path / "b.idx", space, encoder=own) as other:
        other.upsert([Record("r", RECORDS[2].text)], source=name)
        if way == "replace":
            other.copy(tmp_path / "a.idx", merge="replace", encoder=own)
        other.export(tmp_path / "b.jsonl", include="all")
    with FeatureIndex.open(tmp_path / "a.idx", encoder=own) as target:
        if way == "import":
            target.upsert(tmp_path / "b.jsonl", learn_terms=False)
        assert not target.upsert([Record("s", RECORDS[1].text)], source="ours", prune=True).pruned
        if name is not None:
            pruned = target.upsert([], source=name, prune=True, max_prune=1).pruned
            assert pruned == ("r",)
