"""A snapshot equals the content of the index, and is read again when that changes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest

from saeindex import FeatureIndex, Record
from saeindex.collection.rows import tokens
from saeindex.config import DENSE, SAE
from saeindex.errors import InvalidInputError, NotFoundError
from saeindex.indexing.points import point_id

if TYPE_CHECKING:
    from saeindex import FeatureSpace
    from saeindex.types import LevelName
    from tests.samples import RecordingEncoder


def test_rows_are_the_records_of_the_index(any_papers: FeatureIndex, records: list[Record]) -> None:
    snapshot = any_papers.state.snapshot()
    assert sorted(snapshot.ids) == sorted(record.id for record in records)
    by_id = {record.id: record for record in records}
    points = any_papers.state.store.get([point_id(one) for one in snapshot.ids[:40]], True, [DENSE, SAE])
    for row, point in enumerate(points):
        record = by_id[snapshot.ids[row]]
        assert snapshot.vectors[row] == pytest.approx(np.asarray(point.vectors[DENSE]), abs=1e-6)
        code = snapshot.activations[row]
        assert sorted(code.indices.tolist()) == point.vectors[SAE].indices.tolist()  # type: ignore[union-attr]
        words = {snapshot.vocabulary[column] for column in snapshot.words[row].indices}
        assert words == tokens(record.text)
        assert snapshot.lengths[row] == len(record.text.split())
        kept = json.loads(snapshot.metadata[row])  # engines keep numbers to sixteen digits
        assert kept["score"] == pytest.approx(record.metadata["score"])
        assert {**kept, "score": 0} == {**record.metadata, "score": 0}
    assert snapshot.texts([3, 0]) == [by_id[snapshot.ids[row]].text for row in (3, 0)]


def test_levels_are_the_codes_that_filters_use(papers: FeatureIndex) -> None:
    snapshot = papers.state.snapshot()
    levels: tuple[LevelName, ...] = ("present", "typical", "strong")
    for number, level in enumerate(levels):
        present = snapshot.at(level)
        for row, point in enumerate(papers.state.store.get([point_id(one) for one in snapshot.ids[:20]])):
            codes = {code // 4 for code in point.payload["concepts"] if code % 4 == number}
            assert set(present[row].indices.tolist()) == codes
    with pytest.raises(InvalidInputError, match="no such level"):
        snapshot.at("loud")  # type: ignore[arg-type]


def test_columns_have_values_and_mark_missing_ones(papers: FeatureIndex, records: list[Record]) -> None:
    snapshot = papers.state.snapshot()
    years = snapshot.column("metadata.year")
    assert years.is_numeric and list(years.values) == sorted(years.values)
    by_id = {record.id: record.metadata for record in records}
    assert [years.values[code] for code in years.codes] == [by_id[one]["year"] for one in snapshot.ids]
    with pytest.raises(NotFoundError, match=r"metadata\.topic"):
        snapshot.column("metadata.nothing")


def test_lists_count_as_their_elements(
    space: FeatureSpace, tmp_path: Path, encoder: RecordingEncoder
) -> None:
    records = [
        Record("a", "red and blue", {"colour": ["red", "blue"]}),
        Record("b", "red", {"colour": "red"}),
    ]
    records.append(Record("c", "none"))
    with FeatureIndex.create(tmp_path / "x.idx", space, encoder=encoder) as index:
        index.upsert(records)
        values, member = index.state.snapshot().membership("metadata.colour")
        rows = index.state.snapshot().rows_of(["a", "b", "c"])
        assert values == ("blue", "red")
        assert member[rows].toarray().tolist() == [[1, 1], [0, 1], [0, 0]]


def test_a_write_invalidates_the_snapshot(
    space: FeatureSpace, tmp_path: Path, encoder: RecordingEncoder
) -> None:
    path = tmp_path / "x.idx"
    with FeatureIndex.create(path, space, encoder=encoder) as index:
        with pytest.raises(InvalidInputError, match="empty"):
            index.state.snapshot()
        index.upsert([Record("a", "a violin concerto"), Record("b", "tax reform")])
        first = index.state.snapshot()
        assert index.state.snapshot() is first
        index.upsert([Record("a", "a violin concerto")])
        assert index.state.snapshot() is first  # nothing changed
        index.upsert([Record("a", "a broken guitar string", {"year": 3})])
        assert index.state.snapshot().texts(index.state.snapshot().rows_of(["a"])) == [
            "a broken guitar string"
        ]
        index.delete(["b"])
        assert tuple(index.state.snapshot().ids) == ("a",)
    kept = (path / "cache" / "snapshot" / "vectors.bin").stat().st_mtime_ns
    with FeatureIndex.open(path, encoder=encoder) as index:
        assert tuple(index.state.snapshot().ids) == ("a",)
    assert (path / "cache" / "snapshot" / "vectors.bin").stat().st_mtime_ns == kept  # not written again
    assert not list((path / "cache").glob("*.part"))


def test_records_know_their_document_and_documents_are_units(
    space: FeatureSpace, tmp_path: Path, encoder: RecordingEncoder
) -> None:
    long = "Dark matter halos and spiral galaxies. " * 3 + "A lentil soup with roasted peppers. " * 3
    with FeatureIndex.create(tmp_path / "x.idx", space, encoder=encoder) as index:
        index.upsert([Record("long", long), Record("other", long + " Again.")], split=16)
        index.upsert([Record("short", "tax reform")])
        snapshot = index.state.snapshot()
        assert len(snapshot) == index.count() > 6
        assert snapshot.has_documents
        of = dict(zip(snapshot.ids, snapshot.documents, strict=True))
        assert of["short"] is None and of["long#0"] == of["long#1"] == "long"
        column = snapshot.column("document")
        assert column.values == ("long", "other")
        assert column.codes[snapshot.rows_of(["short"])].tolist() == [-1]
        pieces = sorted((one for one in snapshot.ids if of[one] == "long"), key=lambda one: int(one[5:]))
        assert "".join(snapshot.texts(snapshot.rows_of(pieces))) == long
    with FeatureIndex.open(tmp_path / "x.idx", encoder=encoder) as index:
        assert list(index.state.snapshot().documents) == list(snapshot.documents)


def test_a_snapshot_stays_what_it_is_while_records_change(
    space: FeatureSpace, tmp_path: Path, encoder: RecordingEncoder
) -> None:
    with FeatureIndex.create(tmp_path / "x.idx", space, encoder=encoder) as index:
        index.upsert([Record("a", "a violin concerto"), Record("b", "tax reform 🎻")])
        first = index.state.snapshot()
        index.upsert([Record("b", "something else")])
        index.delete(["a"])
        assert first.texts(first.rows_of(["b", "a"])) == ["tax reform 🎻", "a violin concerto"]
